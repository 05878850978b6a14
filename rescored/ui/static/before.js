// Owns what is said of a chosen recording before it is transcribed: its length, how long that will take, who
// waits; the passage to transcribe, drawn on its outline; and the quick look at its loudest seconds.

import { clock, h, inWords, onTheme, sharpCanvas, themed } from "./dom.js";
import { paintOutline } from "./outline.js";

const QUICK_S = 10, SHORTEST_S = 1, GRIP_PX = 12, MOVED_PX = 4;

export function mount({ element, props, trigger, watch }) {
  const facts = h("p", { class: "rs-before-facts", "aria-live": "polite" });
  const canvas = h("canvas", { "aria-hidden": "true" });
  const shades = [h("div", { class: "rs-shade" }), h("div", { class: "rs-shade" })];
  const grips = ["Begin of the passage", "End of the passage"].map((label, side) =>
    h("div", { class: "rs-grip", role: "slider", tabindex: "0", "aria-label": label, onkeydown: (event) => onKey(event, side) }));
  const outline = h("div", { class: "rs-before-outline", title: "Drag to choose a passage" }, canvas, ...shades, ...grips);
  const chosen = h("span", {});
  const all = h("button", { type: "button", class: "rs-linkbutton", onclick: () => choose(0, length_s()) }, "All of it");
  const quick = h("button", { type: "button", class: "rs-button", onclick: lookQuickly }, "Quick look: the loudest 10 seconds");
  const passage = h("div", { class: "rs-before-passage" }, chosen, all);
  const box = h("section", { class: "rs-before", hidden: true, "aria-label": "The chosen recording" }, facts, outline, passage, quick);
  element.append(box);
  let width = 0, height = 0, start_s = 0, end_s = 0, drag = null, color = "", shown = "", typed = "undefined", peaks = [];

  const length_s = () => props.value?.duration_s || 0;
  const x = (time_s) => (time_s / length_s()) * width;
  const until_s = () => Math.min(end_s, length_s());
  const isAll = () => start_s <= 0 && end_s >= length_s();
  const wanted = () => (isAll() ? null : [start_s, until_s()].map((time_s) => Math.round(time_s * 10) / 10));
  const within = (time_s) => Math.min(Math.max(0, time_s), length_s());

  function show() {
    const value = props.value || {};
    box.hidden = !value.kind && !value.problem;
    box.classList.toggle("rs-bad", Boolean(value.problem));
    if (box.hidden) return;
    if (shown !== value.file) [peaks, start_s, end_s] = [[], 0, Infinity];
    if (typed !== String(value.typed)) [start_s, end_s] = value.typed || [0, Infinity];
    if (value.outline?.length) peaks = value.outline;
    shown = value.file;
    typed = String(value.typed);
    // What the server sends may have been asked for before the passage was drawn.
    if (String(value.passage || null) !== String(wanted())) props.value = { ...value, passage: wanted() };
    const drawn = peaks.length > 0;
    outline.hidden = passage.hidden = !drawn;
    quick.hidden = !drawn || length_s() <= 1.5 * QUICK_S;
    if (drawn) paint();
    say();
  }

  function say() {
    const { problem, pace, waiting, longest_s } = props.value || {};
    if (problem) {
      facts.textContent = problem;
      return;
    }
    const part_s = until_s() - start_s;
    facts.replaceChildren(...[
      length_s() ? h("b", {}, clock(length_s())) : null,
      !length_s() ? h("span", {}, "Reading it ...") : part_s > longest_s ? h("span", {}, `longer than ${longest_s / 60} minutes: choose a passage`)
        : h("span", {}, `takes ${inWords((part_s / 60) * pace)} here`),
      waiting ? h("span", {}, waiting === 1 ? "one is waiting before you" : `${waiting} are waiting before you`) : h("span", {}, "nobody is waiting"),
    ].filter(Boolean));
    chosen.textContent = isAll() ? "All of it is transcribed. Drag for a passage." : `Only ${clock(start_s)} to ${clock(end_s)}`;
    all.hidden = isAll();
    grips.forEach((grip, side) => {
      const time_s = side ? until_s() : start_s;
      grip.style.left = `${x(time_s)}px`;
      grip.setAttribute("aria-valuemin", 0);
      grip.setAttribute("aria-valuemax", Math.ceil(length_s()));
      grip.setAttribute("aria-valuenow", Math.round(time_s));
      grip.setAttribute("aria-valuetext", clock(time_s));
    });
    shades[0].style.width = `${x(start_s)}px`;
    shades[1].style.left = `${x(until_s())}px`;
  }

  function paint() {
    if (width) paintOutline(canvas.getContext("2d"), peaks, peaks.length / width, { width, height, color });
  }

  function move(from_s, to_s) {
    start_s = within(Math.min(from_s, to_s));
    end_s = within(Math.max(from_s, to_s));
    say();
  }

  // The server hears of it at once, since Transcribe may be pressed next.
  function choose(from_s, to_s) {
    move(from_s, Math.abs(to_s - from_s) < SHORTEST_S ? from_s + SHORTEST_S : to_s);
    props.value = { ...props.value, passage: wanted() };
    trigger("passage_chosen", { start_s: wanted()?.[0] ?? 0, end_s: wanted()?.[1] ?? 0 });
  }

  function onKey(event, side) {
    const step_s = (event.shiftKey ? 10 : 1) * ({ ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key] || 0);
    if (!step_s) return;
    if (side) choose(start_s, Math.max(until_s() + step_s, start_s + SHORTEST_S));
    else choose(Math.min(start_s + step_s, end_s - SHORTEST_S), end_s);
    event.preventDefault();
    event.stopPropagation();
  }

  // The loudest seconds of the passage, by the outline's root mean squares.
  function lookQuickly() {
    const column_s = length_s() / peaks.length;
    const n = Math.max(1, Math.round(QUICK_S / column_s)), first = Math.floor(start_s / column_s), last = Math.ceil(until_s() / column_s);
    const power = (i) => peaks[i][2] ** 2;
    let sum = 0, best = -1, at = first;
    for (let i = first; i < Math.min(last, peaks.length); i++) {
      sum += power(i);
      if (i - n >= first) sum -= power(i - n);
      if (i - first >= n - 1 && sum > best) [best, at] = [sum, i - n + 1];
    }
    const from_s = Math.max(0, Math.min(at * column_s, until_s() - QUICK_S));
    trigger("quick_look", { start_s: from_s, end_s: Math.min(from_s + QUICK_S, length_s()) });
  }

  const time = (event) => within(((event.clientX - outline.getBoundingClientRect().left) / width) * length_s());
  outline.addEventListener("pointerdown", (event) => {
    const px = x(time(event));
    const near = [start_s, until_s()].map((time_s) => Math.abs(x(time_s) - px));
    const side = near[0] < near[1] ? 0 : 1;
    drag = { x: event.clientX, at: near[side] < GRIP_PX ? (side ? start_s : until_s()) : time(event), moved: near[side] < GRIP_PX };
    outline.setPointerCapture(event.pointerId);
  });
  outline.addEventListener("pointermove", (event) => {
    if (!drag || (!drag.moved && Math.abs(event.clientX - drag.x) < MOVED_PX)) return;
    drag.moved = true;
    move(drag.at, time(event));
  });
  outline.addEventListener("pointerup", (event) => {
    if (drag?.moved) choose(drag.at, time(event));
    drag = null;
  });
  outline.addEventListener("pointercancel", () => { drag = null; });

  sharpCanvas(canvas, (w, hgt) => { [width, height] = [w, hgt]; paint(); say(); });
  const readColor = () => { color = themed(element, "--body-text-color-subdued"); paint(); };
  onTheme(readColor);
  readColor();
  watch("value", show);
  show();
}

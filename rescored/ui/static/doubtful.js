// Owns the walk through the measures that are least sure: one key goes to the next, loops its sound, shows it in
// the roll and in the score; "fine as it is" or corrected, it is ticked off. What is ticked off is in the edits.

import { clock, h, icon, write } from "./dom.js";
import { edit } from "./edits.js";
import { emit, on, select, session } from "./session.js";
import { player } from "./player.js";
import { reveal } from "./view.js";

const DOUBTFUL = 0.8; // of a measure's confidence
const FEWEST = 3; // are shown even where all is sure: the worst of them
const MOST = 0.25; // of all measures

const pressing = (text) => h("span", { class: "rs-key" }, text);

export function mountDoubtful({ element, open }) {
  const progress = h("p", { class: "rs-walk-progress", role: "status" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Measures checked" });
  const next = h("button", { type: "button", class: "rs-button rs-primary", onclick: () => go() }, "Next", pressing(" (N)"));
  const fine = h("button", { type: "button", class: "rs-button", disabled: true, onclick: tick }, "Fine as it is", pressing(" (Enter)"));
  const list = h("ol", { class: "rs-walk" });
  element.append(h("p", { class: "rs-note" }, "The measures we are least sure of, the worst first. Listen, correct what is wrong, and go on."),
    progress, bar, h("div", { class: "rs-row" }, next, fine), list);

  let walk = [], here = null, laidFor = "";

  // The list stays as it is while its measures are corrected; another metre makes another one.
  function lay() {
    const measures = session.song?.content.score?.measures || [];
    const key = session.job + measures.map((measure) => measure.ql).join();
    if (key === laidFor) return;
    laidFor = key;
    here = null;
    const at = new Map(session.song.measures.map((measure, i) => [measure.number,
      { start_s: measure.time_s, end_s: session.song.measures[i + 1]?.time_s ?? Math.max(session.song.end_s, measure.time_s + 0.5) }]));
    const ranked = measures.filter((measure) => at.has(measure.number)).sort((one, other) => one.confidence - other.confidence);
    const doubtful = ranked.filter((measure) => measure.confidence < DOUBTFUL).length;
    const count = Math.min(ranked.length, Math.max(FEWEST, Math.min(doubtful, Math.ceil(ranked.length * MOST))));
    walk = ranked.slice(0, count).map(({ number, confidence }) => ({ number, confidence, ...at.get(number) }));
    for (const { start_s, end_s } of edit.list.filter((entry) => entry.edit === "check")) { // checked in an earlier visit
      const known = session.song.measureAt((start_s + end_s) / 2);
      if (known && !walk.some(({ number }) => number === known.number)) {
        walk.push({ number: known.number, confidence: 1, start_s: known.time_s, end_s: known.end_s });
      }
    }
  }

  function isFine({ start_s, end_s }) {
    const middle_s = (start_s + end_s) / 2;
    return edit.list.some((entry) => entry.edit === "check" && entry.start_s <= middle_s && middle_s < entry.end_s);
  }

  function isCorrected({ start_s, end_s }) {
    return edit.list.some((entry) => [entry.note, ...(entry.notes || [])].some((note) => note && note.onset_s >= start_s - 0.03 && note.onset_s < end_s - 0.03));
  }

  const isDone = (measure) => isFine(measure) || isCorrected(measure);

  function go(measure) {
    if (!edit.possible || !walk.length) return;
    open();
    const left = walk.filter((one) => !isDone(one) && one !== here);
    const target = measure || left[0] || (here && !isDone(here) ? here : null);
    if (!target) {
      leave();
      return show();
    }
    here = target;
    select("", "doubtful");
    reveal(here.start_s);
    player.setLoop({ start_s: Math.max(0, here.start_s), end_s: here.end_s });
    player.seek(here.start_s);
    player.play();
    emit("reveal", { number: here.number });
    show();
  }

  function leave() {
    if (!here) return;
    here = null;
    player.setLoop(null);
    player.pause();
    emit("reveal", { number: null });
  }

  function tick() {
    if (!here) return;
    if (!isFine(here)) edit.check(here.start_s, here.end_s);
    go();
  }

  function show() {
    const done = walk.filter(isDone).length;
    write(progress, !walk.length ? "" : done === walk.length ? `All ${done} checked. Well done.` : `${done} of ${walk.length} checked`);
    bar.max = walk.length || 1;
    bar.value = done;
    next.disabled = walk.length === done;
    fine.disabled = !here;
    list.replaceChildren(...walk.map((measure) => h("li", { "aria-current": measure === here ? "true" : null },
      h("button", { type: "button", onclick: () => go(measure) },
        h("span", {}, measure.number > 0 ? `Measure ${measure.number}` : "Pickup"), h("small", {}, clock(measure.start_s)),
        h("meter", { min: 0, max: 1, value: measure.confidence, "aria-label": "How sure" }),
        h("small", {}, ...(isDone(measure) ? [icon("check"), isFine(measure) ? "fine" : "corrected"] : []))))));
    const before = session.doubtful;
    session.doubtful = { left: walk.length - done, total: walk.length };
    if (before?.left !== session.doubtful.left || before?.total !== walk.length) emit("doubtful");
  }

  document.addEventListener("keydown", (event) => {
    if (!edit.possible || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest?.("input, textarea, select, [contenteditable='true']")) return;
    if (event.key.toLowerCase() === "n") go();
    else if (event.key === "Enter" && here && !event.target.closest?.("button, a, summary")) tick();
    else if (event.key === "Escape" && here) {
      leave();
      show();
    } else return;
    event.preventDefault();
  });

  function refresh() {
    if (!edit.possible) return;
    lay();
    show();
  }
  on("open", () => {
    walk = [];
    here = null;
    laidFor = "";
    show();
  });
  on("notes", refresh);
  on("edit", refresh);
}

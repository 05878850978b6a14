// Owns the piano roll's panel: pitch over time, coloured by part, shaded by confidence, with bar lines and
// beats; its zoom, its playhead, and what a click or the wheel does.
//
// The playhead is an element of its own that the browser moves over the canvases: a frame paints nothing
// unless the notes that sound have changed.

import { h, iconButton, onTheme, sharpCanvas } from "./dom.js";
import { onFrame, player } from "./player.js";
import { paintBase, paintOver, partColor, readColors } from "./roll_paint.js";
import { GUTTER, noteAt, plane, reach, RULER } from "./roll_plane.js";
import { on, select, session } from "./session.js";
import { fit, followTo, pan, resize, view, zoom } from "./view.js";

export function mount({ element }) {
  const canvas = h("canvas", { class: "rs-roll", tabindex: "0", role: "img", "aria-label": "Piano roll" });
  const over = h("canvas", { class: "rs-roll-over", "aria-hidden": "true" });
  const playhead = h("div", { class: "rs-playhead" });
  const legend = h("div", { class: "rs-legend" });
  const follow = iconButton("follow", "Follow the playhead", () => { view.follow = !view.follow; showFollow(); });
  const tools = h("div", { class: "rs-tools" }, legend,
    iconButton("minus", "Zoom out", () => zoom(1 / 1.5)), iconButton("plus", "Zoom in", () => zoom(1.5)),
    iconButton("fit", "Show all of it", fit), follow);
  const box = h("section", { class: "rs-panel", hidden: true, "aria-label": "Notes" },
    h("header", {}, h("h3", {}, "Notes"), tools), h("div", { class: "rs-roll-box" }, canvas, over, playhead));
  element.append(box);

  let dirty = true, marked = true, sounding = null;

  function showFollow() {
    follow.setAttribute("aria-pressed", view.follow);
  }

  function showColors() {
    readColors(element);
    dirty = true;
    showLegend();
  }

  function showLegend() {
    const { song } = session;
    const names = !song ? [] : song.parts.length > 1 ? song.parts.map((part) => part.name)
      : song.notes.some((note) => note.staff === 2) ? ["right hand", "left hand"] : [];
    legend.replaceChildren(...names.map((name, i) => {
      const dot = h("i");
      dot.style.background = partColor(i);
      return h("span", {}, dot, name);
    }));
  }

  function showNotes() {
    const { song } = session;
    box.hidden = !song;
    if (!song) return;
    reach();
    canvas.setAttribute("aria-label", `Piano roll of ${song.notes.length} notes`);
    showLegend();
    dirty = true;
  }

  function draw(time_s) {
    if (!plane.width || box.hidden || !session.song) return;
    if (player.playing) followTo(time_s);
    if (dirty) paintBase(canvas.getContext("2d"));
    const now = player.playing ? session.song.at(time_s) : [];
    if (dirty || marked || (now !== sounding && (now.length || sounding.length))) {
      const selected = session.song.byId.get(session.selected);
      paintOver(over.getContext("2d"), now, selected ? [selected] : []);
      sounding = now;
    }
    dirty = marked = false;
    const x = plane.x(time_s);
    playhead.style.transform = `translateX(${x < GUTTER ? -2 : x - 0.75}px)`;
    canvas.dataset.playheadX = x.toFixed(1);
  }

  let drag = null;
  const place = (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    drag = { x: place(event)[0], start_s: view.start_s, moved: false };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const [px] = place(event);
    if (!drag.moved && Math.abs(px - drag.x) < 4) return;
    drag.moved = true;
    pan(drag.start_s - (px - drag.x) / view.scale - view.start_s);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (drag && !drag.moved) {
      const [px, py] = place(event);
      const note = py > RULER ? noteAt(px, py) : null;
      select(note?.id || "", "roll");
      player.seek(note ? note.onset_s : Math.max(0, plane.time(px)));
    }
    drag = null;
  });
  canvas.addEventListener("wheel", (event) => {
    if (event.ctrlKey || event.metaKey) zoom(Math.exp(-event.deltaY * 0.003), place(event)[0] - GUTTER);
    else if (event.deltaX || event.shiftKey) pan((event.deltaX || event.deltaY) / view.scale);
    else return; // the page scrolls
    event.preventDefault();
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
  });

  on("open", showNotes);
  on("notes", showNotes);
  on("view", () => { dirty = true; });
  on("mix", () => { dirty = true; }); // the loop
  on("select", () => { marked = true; });
  sharpCanvas(canvas, (width, height) => {
    Object.assign(plane, { width, height });
    dirty = true;
    resize(width - GUTTER);
  });
  sharpCanvas(over, () => { marked = true; });
  onTheme(showColors);
  showColors();
  showFollow();
  onFrame(canvas, draw);
}

// Owns the piano roll's panel: pitch over time, coloured by part, shaded by confidence, with bar lines and
// beats; its zoom and its playhead. What pointers do is in roll_pointer.js, tools and keys in roll_tools.js.
//
// The playhead is an element of its own that the browser moves over the canvases: a frame paints nothing
// unless the notes that sound have changed.

import { h, iconButton, onTheme, sharpCanvas } from "./dom.js";
import { onFrame, player } from "./player.js";
import { paintBase, paintOver, partColor, readColors } from "./roll_paint.js";
import { GUTTER, plane, reach } from "./roll_plane.js";
import { attachPointer, gesture } from "./roll_pointer.js";
import { KEYS, onKey, tools } from "./roll_tools.js";
import { on, session } from "./session.js";
import { fit, followTo, pan, resize, view, zoom } from "./view.js";

export function mount({ element }) {
  const canvas = h("canvas", { class: "rs-roll", tabindex: "0", role: "img", "aria-label": "Piano roll", "aria-description": KEYS });
  const over = h("canvas", { class: "rs-roll-over", "aria-hidden": "true" });
  const playhead = h("div", { class: "rs-playhead" });
  const legend = h("div", { class: "rs-legend" });
  const follow = iconButton("follow", "Follow the playhead", () => { view.follow = !view.follow; showFollow(); });
  const editing = tools();
  const bar = h("div", { class: "rs-tools" }, legend, editing.bar,
    iconButton("minus", "Zoom out", () => zoom(1 / 1.5)), iconButton("plus", "Zoom in", () => zoom(1.5)),
    iconButton("fit", "Show all of it", fit), follow);
  const box = h("section", { class: "rs-panel", hidden: true, "aria-label": "Notes" },
    h("header", {}, h("h3", {}, "Notes"), bar), h("div", { class: "rs-roll-box" }, canvas, over, playhead));
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
      const selected = [...session.selection].map((id) => session.song.byId.get(id)).filter(Boolean);
      paintOver(over.getContext("2d"), now, selected, gesture);
      sounding = now;
    }
    dirty = marked = false;
    const x = plane.x(time_s);
    playhead.style.transform = `translateX(${x < GUTTER ? -2 : x - 0.75}px)`;
    canvas.dataset.playheadX = x.toFixed(1);
  }

  attachPointer(canvas, () => { marked = true; });
  canvas.addEventListener("wheel", (event) => {
    if (event.ctrlKey || event.metaKey) zoom(Math.exp(-event.deltaY * 0.003), event.clientX - canvas.getBoundingClientRect().left - GUTTER);
    else if (event.deltaX || event.shiftKey) pan((event.deltaX || event.deltaY) / view.scale);
    else return; // the page scrolls
    event.preventDefault();
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (onKey(event, editing.togglePen)) event.preventDefault();
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

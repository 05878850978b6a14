// Owns the piano roll: pitch over time, coloured by part, shaded by confidence, with bar lines and beats.
//
// Notes are drawn on a hidden canvas when something changes; a frame only copies it and draws the
// playhead and the notes that sound.

import { h, iconButton, onTheme, sharpCanvas, themed } from "./dom.js";
import { lowerBound, on, select, session } from "./session.js";
import { onFrame, player } from "./player.js";
import { fit, followTo, pan, resize, view, zoom } from "./view.js";

const GUTTER = 34, RULER = 18, COLORS = 8;
const BLACK = new Set([1, 3, 6, 8, 10]);

export function mount({ element }) {
  const canvas = h("canvas", { class: "rs-roll", tabindex: "0", role: "img", "aria-label": "Piano roll" });
  const legend = h("div", { class: "rs-legend" });
  const follow = iconButton("follow", "Follow the playhead", () => { view.follow = !view.follow; showFollow(); });
  const tools = h("div", { class: "rs-tools" }, legend,
    iconButton("minus", "Zoom out", () => zoom(1 / 1.5)), iconButton("plus", "Zoom in", () => zoom(1.5)),
    iconButton("fit", "Show all of it", fit), follow);
  const box = h("section", { class: "rs-panel", hidden: true, "aria-label": "Notes" },
    h("header", {}, h("h3", {}, "Notes"), tools), canvas);
  element.append(box);

  const base = document.createElement("canvas");
  let width = 0, height = 0, low = 48, high = 72, dirty = true, color = {};
  const rowHeight = () => (height - RULER) / (high - low + 1);
  const y = (pitch) => RULER + (high - pitch) * rowHeight();
  const x = (time_s) => GUTTER + view.x(time_s);
  const colorOf = (note) => color.parts[(session.song.parts.length === 1 && note.staff ? note.staff - 1 : session.song.partIndex.get(note.part) ?? 0) % COLORS];

  function showFollow() {
    follow.setAttribute("aria-pressed", view.follow);
  }

  function readColors() {
    const get = (name) => themed(element, name);
    color = {
      back: get("--rs-roll"), black: get("--rs-roll-black"), line: get("--rs-roll-line"), bar: get("--rs-roll-bar"),
      gutter: get("--rs-roll-gutter"), text: get("--body-text-color-subdued"), head: get("--rs-playhead"), loop: get("--rs-loop"),
      select: get("--body-text-color"), parts: Array.from({ length: COLORS }, (_, i) => get(`--rs-part-${i + 1}`)),
    };
    dirty = true;
    showLegend();
  }

  function showLegend() {
    const { song } = session;
    legend.replaceChildren();
    const names = !song ? [] : song.parts.length > 1 ? song.parts.map((part) => part.name)
      : song.notes.some((note) => note.staff === 2) ? ["right hand", "left hand"] : [];
    names.forEach((name, i) => {
      const dot = h("i");
      dot.style.background = color.parts[i % COLORS];
      legend.append(h("span", {}, dot, name));
    });
  }

  function showNotes() {
    const { song } = session;
    box.hidden = !song;
    if (!song) return;
    const pitches = song.notes.map((note) => note.pitch);
    low = Math.min(60, ...pitches) - 2;
    high = Math.max(64, ...pitches) + 2;
    canvas.setAttribute("aria-label", `Piano roll of ${song.notes.length} notes`);
    showLegend();
    dirty = true;
  }

  function drawBase() {
    base.width = canvas.width;
    base.height = canvas.height;
    const pen = base.getContext("2d");
    pen.scale(canvas.width / width, canvas.height / height);
    pen.fillStyle = color.back;
    pen.fillRect(0, 0, width, height);
    const row = rowHeight();
    pen.fillStyle = color.black;
    for (let pitch = low; pitch <= high; pitch++) if (BLACK.has(pitch % 12)) pen.fillRect(GUTTER, y(pitch), width, row);
    pen.fillStyle = color.line;
    for (let pitch = low; pitch <= high; pitch++) if (pitch % 12 === 0) pen.fillRect(GUTTER, y(pitch) + row, width, 1);
    drawGrid(pen);
    drawNotes(pen, row);
    drawGutter(pen, row);
    dirty = false;
  }

  function drawGrid(pen) {
    const { beats, measures } = session.song;
    const first = Math.max(0, lowerBound(beats, (beat) => beat.time_s >= view.start_s) - 1);
    const beatWidth = beats.length > 1 ? ((beats.at(-1).time_s - beats[0].time_s) / beats.length) * view.scale : 0;
    for (let i = first; i < beats.length && beats[i].time_s <= view.end_s; i++) {
      const isBar = beats[i].measure !== beats[i - 1]?.measure;
      if (!isBar && beatWidth < 9) continue;
      pen.fillStyle = isBar ? color.bar : color.line;
      pen.fillRect(Math.round(x(beats[i].time_s)), RULER, 1, height);
    }
    pen.fillStyle = color.gutter;
    pen.fillRect(0, 0, width, RULER);
    pen.fillStyle = color.text;
    pen.font = "10px system-ui, sans-serif";
    pen.textBaseline = "middle";
    let free = GUTTER;
    for (const measure of measures) {
      const at = x(measure.time_s);
      if (at < free || at > width || measure.number < 1) continue;
      pen.fillText(measure.number, at + 3, RULER / 2 + 1);
      free = at + 30;
    }
  }

  function drawNotes(pen, row) {
    const { notes, longest } = session.song;
    const thick = Math.max(2, Math.min(row - 1, 12));
    for (let i = session.song.from(view.start_s - longest); i < notes.length; i++) {
      const note = notes[i];
      if (note.onset_s > view.end_s) break;
      if (note.offset_s < view.start_s) continue;
      const left = Math.max(GUTTER, x(note.onset_s));
      pen.globalAlpha = 0.3 + 0.7 * (note.confidence ?? 1);
      pen.fillStyle = colorOf(note);
      pen.fillRect(left, y(note.pitch) + (row - thick) / 2, Math.max(2, x(note.offset_s) - left - 1), thick);
    }
    pen.globalAlpha = 0.45;
    for (const note of session.song.candidates) {
      if (note.onset_s > view.end_s || note.offset_s < view.start_s || note.pitch < low || note.pitch > high) continue;
      const left = Math.max(GUTTER, x(note.onset_s));
      pen.strokeStyle = colorOf(note);
      pen.strokeRect(left + 0.5, y(note.pitch) + (row - thick) / 2 + 0.5, Math.max(2, x(note.offset_s) - left - 2), thick - 1);
    }
    pen.globalAlpha = 1;
  }

  function drawGutter(pen, row) {
    pen.fillStyle = color.gutter;
    pen.fillRect(0, RULER, GUTTER, height);
    pen.fillStyle = color.text;
    pen.font = "10px system-ui, sans-serif";
    pen.textBaseline = "middle";
    for (let pitch = low; pitch <= high; pitch++) {
      if (pitch % 12 === 0) pen.fillText(`C${pitch / 12 - 1}`, 6, y(pitch) + row / 2);
    }
    pen.fillStyle = color.bar;
    pen.fillRect(GUTTER - 1, 0, 1, height);
    pen.fillRect(0, RULER - 1, width, 1);
  }

  function draw(time_s) {
    if (!width || box.hidden || !session.song) return;
    if (player.playing) followTo(time_s);
    if (dirty) drawBase();
    const pen = canvas.getContext("2d");
    pen.drawImage(base, 0, 0, width, height);
    pen.save();
    pen.beginPath();
    pen.rect(GUTTER, 0, width, height);
    pen.clip();
    if (player.loop) {
      pen.fillStyle = color.loop;
      pen.fillRect(x(player.loop.start_s), 0, x(player.loop.end_s) - x(player.loop.start_s), RULER);
    }
    const row = rowHeight(), thick = Math.max(2, Math.min(row - 1, 12));
    const outline = (note, grow) => pen.strokeRect(x(note.onset_s) - grow, y(note.pitch) + (row - thick) / 2 - grow,
      Math.max(2, (note.offset_s - note.onset_s) * view.scale - 1) + 2 * grow, thick + 2 * grow);
    pen.strokeStyle = color.select;
    if (player.playing) for (const note of session.song.at(time_s)) outline(note, 0.5);
    const selected = session.song.byId.get(session.selected);
    pen.lineWidth = 2;
    if (selected) outline(selected, 2);
    pen.fillStyle = color.head;
    pen.fillRect(x(time_s) - 0.75, 0, 1.5, height);
    pen.restore();
    canvas.dataset.playheadX = x(time_s).toFixed(1);
  }

  function noteAt(px, py) {
    const time_s = view.time(px - GUTTER);
    const pitch = high - Math.floor((py - RULER) / rowHeight());
    const slack = 3 / view.scale; // short notes are hard to hit
    const { notes, longest } = session.song;
    for (let i = session.song.from(time_s - longest - slack); i < notes.length && notes[i].onset_s <= time_s + slack; i++) {
      if (notes[i].pitch === pitch && notes[i].offset_s >= time_s - slack) return notes[i];
    }
    return null;
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
      player.seek(note ? note.onset_s : Math.max(0, view.time(px - GUTTER)));
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
  sharpCanvas(canvas, (w, h) => { width = w; height = h; dirty = true; resize(w - GUTTER); });
  onTheme(readColors);
  readColors();
  showFollow();
  onFrame(canvas, draw);
}

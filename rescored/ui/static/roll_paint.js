// Owns how the piano roll looks: rows, bar lines and notes on one canvas, which is painted when the view or
// the notes change; what sounds and what is selected on another above it, painted when that changes.

import { themed } from "./dom.js";
import { player } from "./player.js";
import { boxOf, GUTTER, plane, RULER } from "./roll_plane.js";
import { lowerBound, session } from "./session.js";
import { view } from "./view.js";

const COLORS = 8, FONT = "10px system-ui, sans-serif";
const CLOSEST_BEATS_PX = 9, NUMBERS_PX = 30;
const BLACK = new Set([1, 3, 6, 8, 10]);

let color = {};

export function readColors(element) {
  const get = (name) => themed(element, name);
  color = {
    back: get("--rs-roll"), black: get("--rs-roll-black"), line: get("--rs-roll-line"), bar: get("--rs-roll-bar"),
    gutter: get("--rs-roll-gutter"), text: get("--body-text-color-subdued"), loop: get("--rs-loop"), window: get("--rs-window"),
    select: get("--body-text-color"), parts: Array.from({ length: COLORS }, (_, i) => get(`--rs-part-${i + 1}`)),
  };
}

export const partColor = (index) => color.parts[index % COLORS];

// By part, or by hand where there is one part only.
function colorOf(note) {
  const { parts, partIndex } = session.song;
  return partColor(parts.length === 1 && note.staff ? note.staff - 1 : partIndex.get(note.part) ?? 0);
}

export function paintBase(pen) {
  const { width, height, low, high, row } = plane;
  pen.fillStyle = color.back;
  pen.fillRect(0, 0, width, height);
  for (let pitch = low; pitch <= high; pitch++) {
    pen.fillStyle = color.black;
    if (BLACK.has(pitch % 12)) pen.fillRect(GUTTER, plane.y(pitch), width, row);
    pen.fillStyle = color.line;
    if (pitch % 12 === 0) pen.fillRect(GUTTER, plane.y(pitch) + row, width, 1);
  }
  paintGrid(pen);
  paintNotes(pen);
  paintCandidates(pen);
  paintGutter(pen);
}

function paintGrid(pen) {
  const { beats, measures } = session.song;
  const first = Math.max(0, lowerBound(beats, (beat) => beat.time_s >= view.start_s) - 1);
  const beatWidth = beats.length > 1 ? ((beats.at(-1).time_s - beats[0].time_s) / beats.length) * view.scale : 0;
  for (let i = first; i < beats.length && beats[i].time_s <= view.end_s; i++) {
    const isBar = beats[i].measure !== beats[i - 1]?.measure;
    if (!isBar && beatWidth < CLOSEST_BEATS_PX) continue;
    pen.fillStyle = isBar ? color.bar : color.line;
    pen.fillRect(Math.round(plane.x(beats[i].time_s)), RULER, 1, plane.height);
  }
  pen.fillStyle = color.gutter;
  pen.fillRect(0, 0, plane.width, RULER);
  if (player.loop) {
    pen.fillStyle = color.loop;
    pen.fillRect(plane.x(player.loop.start_s), 0, (player.loop.end_s - player.loop.start_s) * view.scale, plane.height);
  }
  pen.fillStyle = color.text;
  pen.font = FONT;
  pen.textBaseline = "middle";
  let free = GUTTER;
  for (const measure of measures) {
    const at = plane.x(measure.time_s);
    if (at < free || at > plane.width || measure.number < 1) continue;
    pen.fillText(measure.number, at + 3, RULER / 2 + 1);
    free = at + NUMBERS_PX;
  }
}

function paintNotes(pen) {
  const { notes, longest } = session.song;
  for (let i = session.song.from(view.start_s - longest); i < notes.length; i++) {
    const note = notes[i];
    if (note.onset_s > view.end_s) break;
    if (note.offset_s < view.start_s) continue;
    pen.globalAlpha = 0.3 + 0.7 * (note.confidence ?? 1);
    pen.fillStyle = colorOf(note);
    const { left, top, width, height } = boxOf(note);
    pen.fillRect(left, top, width, height);
  }
  pen.globalAlpha = 1;
}

function paintCandidates(pen) {
  pen.globalAlpha = 0.45;
  for (const note of session.song.candidates) {
    if (note.onset_s > view.end_s || note.offset_s < view.start_s) continue;
    const { left, top, width, height } = boxOf(note);
    pen.strokeStyle = colorOf(note);
    pen.strokeRect(left + 0.5, top + 0.5, Math.max(1, width - 1), height - 1);
  }
  pen.globalAlpha = 1;
}

function paintGutter(pen) {
  pen.fillStyle = color.gutter;
  pen.fillRect(0, RULER, GUTTER, plane.height);
  pen.fillStyle = color.text;
  pen.font = FONT;
  pen.textBaseline = "middle";
  for (let pitch = plane.low; pitch <= plane.high; pitch++) {
    if (pitch % 12 === 0) pen.fillText(`C${pitch / 12 - 1}`, 6, plane.y(pitch) + plane.row / 2);
  }
  pen.fillStyle = color.bar;
  pen.fillRect(GUTTER - 1, 0, 1, plane.height);
  pen.fillRect(0, RULER - 1, plane.width, 1);
}

// `sounding` and `selected`: notes; `ghosts`: notes as they would become; `band`: {x, y, x2, y2}.
export function paintOver(pen, sounding, selected, { ghosts, band }) {
  pen.clearRect(0, 0, plane.width, plane.height);
  pen.save();
  pen.beginPath();
  pen.rect(GUTTER, RULER, plane.width, plane.height);
  pen.clip();
  pen.strokeStyle = color.select;
  pen.lineWidth = 1;
  for (const note of sounding) outline(pen, note, 0.5);
  pen.lineWidth = 2;
  for (const note of selected) outline(pen, note, 2);
  for (const note of ghosts) {
    const { left, top, width, height } = boxOf(note);
    pen.fillStyle = colorOf(note);
    pen.fillRect(left, top, width, height);
    outline(pen, note, 1);
  }
  if (band) {
    pen.lineWidth = 1;
    pen.fillStyle = color.window;
    pen.fillRect(band.x, band.y, band.x2 - band.x, band.y2 - band.y);
    pen.strokeRect(band.x + 0.5, band.y + 0.5, band.x2 - band.x, band.y2 - band.y);
  }
  pen.restore();
}

function outline(pen, note, grow) {
  const { left, top, width, height } = boxOf(note);
  pen.strokeRect(left - grow, top - grow, width + 2 * grow, height + 2 * grow);
}

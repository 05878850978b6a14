// Owns the tools above the piano roll (pen, grid, split, join, part) and the keys of the roll; those of
// selected notes everywhere (pitch, hand, delete, undo) are in actions.js.

import { chosen, hear } from "./actions.js";
import { h, iconButton } from "./dom.js";
import { edit } from "./edits.js";
import { player } from "./player.js";
import { partAt, tool } from "./roll_pointer.js";
import { on, select, session } from "./session.js";
import { floored, snap, stepped } from "./snap.js";

const GRIDS = [[1, "snap to beats"], [2, "to ½ beats"], [3, "to ⅓ beats"], [4, "to ¼ beats"], [8, "to ⅛ beats"], [0, "free"]];
export const KEYS = "comma and full stop: previous and next note; arrows: move; Shift and arrows: longer, shorter, octaves; " +
  "Alt and arrows: finely; A: add; C: accept a candidate; S: split; J: join; Control A: all; P: pen";
const FREE_LENGTH_S = 0.25;

export function tools() {
  const pen = iconButton("pen", `Pen: draw notes (P). Keys: ${KEYS}`, togglePen, { "aria-pressed": "false" });
  const grid = h("select", { class: "rs-select", "aria-label": "Notes snap to", title: "What edits in time snap to; Alt leaves it aside",
    onchange: () => { snap.division = Number(grid.value); } }, ...GRIDS.map(([value, name]) => h("option", { value }, name)));
  grid.value = snap.division;
  const cut = iconButton("cut", "Split at the playhead (S)", split);
  const join = iconButton("join", "Join notes of one pitch (J)", merge);
  const part = h("select", { class: "rs-select", "aria-label": "Part of the selected notes",
    onchange: () => edit.setPart([...session.selection], part.value) });
  const bar = h("div", { class: "rs-tools rs-roll-tools", role: "toolbar", "aria-label": "Editing notes", hidden: true }, pen, grid, cut, join, part);

  function togglePen() {
    tool.pen = !tool.pen;
    pen.setAttribute("aria-pressed", tool.pen);
  }

  function show() {
    bar.hidden = !edit.possible;
    if (bar.hidden) return;
    const notes = chosen(), { parts } = session.song;
    cut.disabled = !notes.length;
    join.disabled = notes.length < 2;
    part.hidden = parts.length < 2 || !notes.length;
    if (part.hidden) return;
    if (part.options.length !== parts.length || parts.some(({ id }, i) => part.options[i].value !== id)) {
      part.replaceChildren(...parts.map(({ id, name }) => h("option", { value: id }, name)));
    }
    part.value = notes.at(-1).part;
  }

  for (const name of ["edit", "select", "notes", "snapshot", "open"]) on(name, show);
  show();
  return { bar, togglePen };
}

// Notes are split where the playhead crosses them, else in the middle.
function split() {
  for (const note of chosen()) {
    const inside = player.time_s > note.onset_s && player.time_s < note.offset_s;
    edit.split(note.id, inside ? player.time_s : (note.onset_s + note.offset_s) / 2);
  }
}

// Each pitch of each part by itself.
function merge() {
  const groups = new Map();
  for (const note of chosen()) {
    const key = `${note.part} ${note.pitch}`;
    groups.set(key, [...(groups.get(key) || []), note.id]);
  }
  for (const ids of groups.values()) if (ids.length > 1) edit.merge(ids);
}

function addHere() {
  const onset_s = floored(player.time_s), before = chosen().at(-1);
  const pitch = before?.pitch ?? session.song.notes[Math.max(0, session.song.from(onset_s) - 1)]?.pitch ?? 60;
  const offset_s = snap.division ? stepped(onset_s, 1) : onset_s + FREE_LENGTH_S;
  const id = edit.add({ onset_s, offset_s, pitch, part: partAt(onset_s, pitch) });
  select(id, "roll");
  hear();
}

// The candidate that begins nearest to the playhead.
function acceptHere() {
  const far = (note) => Math.abs(note.onset_s - player.time_s);
  const [nearest] = [...session.song.candidates].sort((one, other) => far(one) - far(other));
  if (!nearest || !edit.accept([nearest.id])) return;
  select(nearest.id, "roll");
  player.seek(nearest.onset_s);
  hear();
}

// The next note in time, or the one before; without a selection, from the playhead.
function walk(by) {
  const { notes } = session.song, at = notes.findIndex((note) => note.id === session.selected);
  const next = at >= 0 ? at + by : by > 0 ? session.song.from(player.time_s - 1e-3) : session.song.from(player.time_s) - 1;
  const note = notes[Math.min(Math.max(0, next), notes.length - 1)];
  if (!note) return;
  select(note.id, "roll");
  player.seek(note.onset_s);
  if (!player.playing) hear();
}

// Left and right move what is selected by a step of the grid, with Shift its end, with Alt finely.
function shift(event, direction) {
  const notes = chosen();
  if (!notes.length) return false;
  const ids = notes.map((note) => note.id), { onset_s, offset_s } = notes.at(-1);
  const by = (time_s) => (event.altKey ? 0.01 * direction : stepped(time_s, direction) - time_s);
  if (event.shiftKey) edit.resize(ids, by(offset_s));
  else edit.move(ids, by(onset_s), 0);
  return true;
}

// Whether the key was one of the roll's.
export function onKey(event, togglePen) {
  if (!session.song) return false;
  const command = event.ctrlKey || event.metaKey, key = event.key.toLowerCase();
  if (key === "." || key === ",") walk(key === "." ? 1 : -1);
  else if (command && key === "a") select(session.song.notes.map((note) => note.id), "roll");
  else if (!edit.possible || command) return false;
  else if (key === "arrowleft" || key === "arrowright") return shift(event, key === "arrowleft" ? -1 : 1);
  else if (key === "a") addHere();
  else if (key === "c") acceptHere();
  else if (key === "s") split();
  else if (key === "j") merge();
  else if (key === "p") togglePen();
  else return false;
  return true;
}

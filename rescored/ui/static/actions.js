// Owns what can be done with the selected notes, wherever they were selected: the toolbar of the score and the
// inspector show these actions, and the keyboard reaches them (views that have keys of their own come first).

import { edit } from "./edits.js";
import { emit, on, select, session } from "./session.js";
import { tone } from "./tone.js";

const NATURAL = { C: 0, D: 2, E: 4, F: 5, G: 7, A: 9, B: 11 };
const PLAIN = [1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1, 3 / 2, 2, 3, 4, 6, 8];
const TRIPLET = [1 / 12, 1 / 6, 1 / 3, 2 / 3, 4 / 3, 8 / 3];
const SIGNS = { "-2": "𝄫", "-1": "♭", 0: "", 1: "♯", 2: "𝄪" };
const same = (one, other) => Math.abs(one - other) < 1e-6;

export const chosen = () => [...session.selection].map((id) => session.song?.byId.get(id)).filter(Boolean);
const ids = () => chosen().map((note) => note.id);
const written = () => chosen().filter((note) => note.onset_ql !== undefined);
const partOf = (note) => session.song.content.score?.parts.find(({ id }) => id === note.part);

export function nameOf({ step, alter, octave, pitch }) {
  if (!step) return ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"][pitch % 12] + (Math.floor(pitch / 12) - 1);
  return `${step}${SIGNS[alter]}${octave}`;
}

export function hear(notes = chosen()) {
  for (const note of notes.slice(0, 6)) tone(note.pitch, note.velocity, partOf(note)?.percussion);
}

export function movePitch(semitones) {
  if (edit.move(ids(), 0, semitones)) hear();
}

// The names that a pitch may have, simple ones first.
export function spellings(pitch) {
  const all = Object.entries(NATURAL).flatMap(([step, natural]) => {
    const alter = ((((pitch - natural) % 12) + 18) % 12) - 6;
    return Math.abs(alter) <= 2 ? [{ step, alter, octave: Math.floor((pitch - alter) / 12) - 1 }] : [];
  }).sort((one, other) => Math.abs(one.alter) - Math.abs(other.alter));
  const simple = all.filter(({ alter }) => Math.abs(alter) <= 1);
  return simple.length > 1 ? simple : all;
}

function respell() {
  for (const note of written()) {
    const names = spellings(note.pitch), at = names.findIndex(({ step }) => step === note.step);
    const next = names[(at + 1) % names.length];
    edit.respell(note.id, next.step, next.alter);
  }
}

function lengthen(by) {
  const note = written().find((one) => !one.grace);
  if (!note) return;
  const values = PLAIN.some((value) => same(value, note.duration_ql)) ? PLAIN
    : TRIPLET.some((value) => same(value, note.duration_ql)) ? TRIPLET : PLAIN;
  const next = by > 0 ? values.find((value) => value > note.duration_ql + 1e-6)
    : values.findLast((value) => value < note.duration_ql - 1e-6);
  if (next) edit.setDuration(ids(), next);
}

function otherHand() {
  const twoHands = written().filter((note) => partOf(note)?.staves === 2);
  for (const staff of [1, 2]) {
    const there = twoHands.filter((note) => note.staff === staff).map((note) => note.id);
    if (there.length) edit.setHand(there, 3 - staff);
  }
}

function remove() {
  const notes = ids();
  select("", "actions");
  edit.remove(notes);
}

// {id, label, keys: as shown, text: on the button, run, possible}
export const actions = [
  { id: "up", text: "♯", label: "A semitone up", keys: "↑", run: () => movePitch(1) },
  { id: "down", text: "♭", label: "A semitone down", keys: "↓", run: () => movePitch(-1) },
  { id: "respell", text: "♯↔♭", label: "Another name, same pitch", keys: "E", run: respell,
    possible: () => written().some((note) => note.written_pitch === note.pitch && !partOf(note)?.percussion) },
  { id: "shorter", text: "♩→♪", label: "Written shorter", keys: "[", run: () => lengthen(-1), possible: () => written().some((note) => !note.grace) },
  { id: "longer", text: "♪→♩", label: "Written longer", keys: "]", run: () => lengthen(1), possible: () => written().some((note) => !note.grace) },
  { id: "hand", text: "⇅", label: "The other hand", keys: "H", run: otherHand,
    possible: () => written().some((note) => partOf(note)?.staves === 2) },
  { id: "delete", icon: "bin", label: "Delete", keys: "Delete", run: remove },
];

export const can = (action) => edit.possible && session.selection.size > 0 && (!action.possible || action.possible());
const act = (id) => {
  const action = actions.find((one) => one.id === id);
  if (!can(action)) return false;
  action.run();
  return true;
};

const KEYS = { e: "respell", "[": "shorter", "]": "longer", h: "hand", delete: "delete", backspace: "delete" };

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || !edit.possible) return;
  if (event.target.closest?.("input, textarea, select, [contenteditable='true']")) return;
  const key = event.key.toLowerCase(), command = event.ctrlKey || event.metaKey;
  let done = false;
  if (command && key === "z") done = event.shiftKey ? edit.redo() : edit.undo();
  else if (command && key === "y") done = edit.redo();
  else if (event.altKey || (command && !key.startsWith("arrow"))) return;
  else if (key === "arrowup" || key === "arrowdown") {
    done = session.selection.size > 0;
    if (done) movePitch((key === "arrowup" ? 1 : -1) * (event.shiftKey || command ? 12 : 1));
  } else if (key === "escape" && session.selection.size) {
    select("", "actions");
    done = true;
  } else if (KEYS[key]) done = act(KEYS[key]);
  if (done) event.preventDefault();
});

// The sound of the transcription follows once no more is changed for a while.
let timer = 0, silentSince = null;
on("written", () => {
  silentSince = session.job;
  clearTimeout(timer);
  timer = setTimeout(sound, 1500);
});

async function sound() {
  const job = session.job;
  if (silentSince !== job || edit.saving) return;
  const answer = await fetch(new URL(`jobs/${job}/sound`, document.baseURI), { method: "POST" }).catch(() => null);
  const tracks = answer?.ok && (await answer.json());
  if (!tracks || job !== session.job) return;
  session.tracks = tracks;
  emit("tracks");
}

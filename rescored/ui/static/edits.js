// Owns the corrections of the transcription that is open: the list, undo and redo without limit, what is not
// saved yet, and what the views show until the server has written the score anew.
//
// Every function below takes note ids, changes the list, shows the change in `session.song` at once (event
// "notes") and has the score engraved behind (event "score"). Ids that are no note are ignored. Each returns
// whether anything was changed.
//
//   edit.add({onset_s, offset_s, pitch, velocity?, part?})  -> the new note's id ("" if it cannot be)
//   edit.remove(ids)                    edit.accept(candidateIds)
//   edit.move(ids, dt_s, semitones)     edit.resize(ids, dt_s)         the offset moves
//   edit.split(id, at_s)                edit.merge(ids)                notes of one pitch and part
//   edit.setPart(ids, part)             edit.setHand(ids, staff)       1 = upper staff
//   edit.respell(id, step, alter)       edit.setDuration(ids, ql)      its chord gets the same length
//   edit.check(start_s, end_s, fine)    a measure, by where it sounds, is fine (or not after all)
//   edit.set({"section.name": value})   settings of notation; undone and redone like the rest
//   edit.undo()  edit.redo()
//
//   edit.possible                       whether there is a finished transcription to edit
//   edit.canUndo  edit.canRedo  edit.saving  edit.problem
//   edit.list                           the edits in force; edit.settings: the settings in force
//
// Event "edit": any of these changed. What is selected is `session.selection` (session.js).
//
// Changes go to the server one request at a time, each with the whole list and the revision it is based on; what
// is changed meanwhile goes with the next. An example belongs to nobody: the first change makes a copy of it.

import { emit, on, reopen, session, show, Song } from "./session.js";

const RETRY_MS = [1000, 2000, 5000, 10000];
const NATURAL = { C: 0, D: 2, E: 4, F: 5, G: 7, A: 9, B: 11 };
const SHORTEST_S = 0.02;

// A state is {edits, settings, notes, candidates}; arrays are never changed, only replaced.
let now = blank(), past = [], future = [];
let revision = 0, base = {}; // of the server; `base`: all settings, as they were before `now.settings`
let ready = false, loading = false, sending = false, failures = 0, problem = "", saved = now, carried = null;
let visiblePage = () => 1; // the score says which page is to come first
let copyExample = () => {};

function blank() {
  return { edits: [], settings: {}, notes: null, candidates: null };
}

export const edit = {
  add, remove, move, resize, split, merge, accept, setPart, setHand, respell, setDuration, check, undo, redo,
  set: (changes) => commit({ ...now, settings: { ...now.settings, ...changes } }),
  get possible() { return Boolean(session.song?.content.score) && session.snapshot?.state === "done"; },
  get canUndo() { return past.length > 0 || now.edits.length > 0; },
  get canRedo() { return future.length > 0; },
  get saving() { return sending || now !== saved; },
  get problem() { return problem; },
  get list() { return now.edits; },
  get settings() { return { ...base, ...now.settings }; },
  set visiblePage(find) { visiblePage = find; },
  set copyExample(copy) { copyExample = copy; },
};

// ---------------------------------------------------------------- the edits

const noted = (ids) => [...new Set(ids)].map((id) => session.song?.byId.get(id)).filter(Boolean);
const ref = ({ id, onset_s, pitch, part }) => ({ id, onset_s, pitch, part });
const newId = () => `e${Math.random().toString(36).slice(2, 10)}`;
const sure = (note, changes) => ({ ...note, ...changes, confidence: 1 });

function add({ onset_s, offset_s, pitch, velocity = 70, part = session.song?.parts[0]?.id }) {
  const note = { id: newId(), onset_s: Math.max(0, onset_s), offset_s, pitch, velocity, confidence: 1, part };
  if (!(offset_s - note.onset_s >= SHORTEST_S) || pitch < 0 || pitch > 127) return "";
  return make({ edit: "add", note }, { changed: [note] }) ? note.id : "";
}

function accept(ids) {
  const wanted = new Set(ids);
  const found = (session.song?.candidates || []).filter((note) => wanted.has(note.id));
  return make({ edit: "accept", notes: found.map(ref) }, {
    changed: found.map((note) => sure(note)),
    candidates: session.song.candidates.filter((note) => !found.includes(note)) }, found);
}

function remove(ids) {
  const notes = noted(ids);
  return make({ edit: "delete", notes: notes.map(ref) }, { gone: notes }, notes);
}

function move(ids, dt_s, semitones = 0) {
  const notes = noted(ids).filter(({ pitch }) => pitch + semitones >= 0 && pitch + semitones <= 127);
  if (!dt_s && !semitones) return false;
  return make({ edit: "move", notes: notes.map(ref), dt_s, semitones }, { changed: notes.map((note) => {
    const by_s = Math.max(dt_s, -note.onset_s);
    return sure(note, { onset_s: note.onset_s + by_s, offset_s: note.offset_s + by_s, pitch: note.pitch + semitones });
  }) }, notes);
}

function resize(ids, dt_s) {
  const notes = noted(ids);
  if (!dt_s) return false;
  return make({ edit: "resize", notes: notes.map(ref), dt_s }, { changed: notes.map((note) =>
    sure(note, { offset_s: Math.max(note.offset_s + dt_s, note.onset_s + SHORTEST_S) })) }, notes);
}

function split(id, at_s) {
  const [note] = noted([id]);
  if (!note || at_s < note.onset_s + SHORTEST_S || at_s > note.offset_s - SHORTEST_S) return false;
  const second = sure(note, { id: newId(), onset_s: at_s });
  return make({ edit: "split", note: ref(note), at_s, new_id: second.id }, { changed: [sure(note, { offset_s: at_s }), second] });
}

function merge(ids) {
  const notes = noted(ids).sort((one, other) => one.onset_s - other.onset_s);
  if (notes.length < 2 || notes.some((note) => note.pitch !== notes[0].pitch || note.part !== notes[0].part)) return false;
  const whole = sure(notes[0], { offset_s: Math.max(...notes.map((note) => note.offset_s)) });
  return make({ edit: "merge", notes: notes.map(ref) }, { changed: [whole], gone: notes.slice(1) });
}

function setPart(ids, part) {
  const notes = noted(ids).filter((note) => note.part !== part);
  if (!session.song?.partIndex.has(part)) return false;
  return make({ edit: "part", notes: notes.map(ref), part }, { changed: notes.map((note) => sure(note, { part })) }, notes);
}

function setHand(ids, staff) {
  const staves = (note) => session.song.content.score.parts.find(({ id }) => id === note.part)?.staves || 1;
  const notes = noted(ids).filter((note) => note.staff !== staff && staff >= 1 && staff <= staves(note));
  return make({ edit: "staff", notes: notes.map(ref), staff }, { changed: notes.map((note) => ({ ...note, staff })) }, notes);
}

function respell(id, step, alter) {
  const [note] = noted([id]);
  if (!note || note.written_pitch !== note.pitch || (((NATURAL[step] + alter - note.pitch) % 12) + 12) % 12 !== 0) return false;
  return make({ edit: "respell", note: ref(note), step, alter },
    { changed: [{ ...note, step, alter, octave: Math.floor((note.pitch - alter) / 12) - 1 }] });
}

function setDuration(ids, duration_ql) {
  const chosen = noted([ids].flat()).filter((note) => note.onset_ql !== undefined && !note.grace);
  const chord = (note) => session.song.notes.filter((other) => other.onset_ql === note.onset_ql && other.part === note.part &&
    other.staff === note.staff && other.voice === note.voice && !other.grace);
  const notes = [...new Set(chosen.flatMap(chord))];
  return duration_ql > 0 && make({ edit: "duration", notes: notes.map(ref), duration_ql },
    { changed: notes.map((note) => ({ ...note, duration_ql })) }, notes);
}

function check(start_s, end_s, fine = true) {
  if (fine) return make({ edit: "check", start_s, end_s }, {});
  const rest = now.edits.filter((done) => done.edit !== "check" || done.start_s >= end_s || done.end_s <= start_s);
  return rest.length < now.edits.length && commit({ ...now, edits: rest });
}

// Adds an edit to the list and shows what it does; `about`: the notes without which it would be empty.
function make(entry, { changed = [], gone = [], candidates }, about) {
  if (!edit.possible || (about && !about.length)) return false;
  const without = new Set([...changed, ...gone].map((note) => note.id));
  const notes = without.size ? [...session.song.notes.filter((note) => !without.has(note.id)), ...changed] : session.song.notes;
  return commit({ ...now, edits: [...now.edits, entry], notes, candidates: candidates || session.song.candidates });
}

// ---------------------------------------------------------------- undo, redo

function commit(state) {
  if (!edit.possible) return false;
  past.push(now);
  future = [];
  return go(state);
}

function undo() {
  if (!edit.possible || !edit.canUndo) return false;
  future.push(now);
  // Beyond what was done on this page, the list itself tells what came before.
  return go(past.pop() || { ...blank(), edits: now.edits.slice(0, -1), settings: now.settings });
}

function redo() {
  if (!edit.possible || !future.length) return false;
  past.push(now);
  return go(future.pop());
}

function go(state) {
  now = state;
  problem = "";
  if (state.notes) showNotes(state);
  emit("edit");
  send();
  return true;
}

function showNotes({ notes, candidates }) {
  if (notes === session.song.notes && candidates === session.song.candidates) return;
  const { content } = session.song;
  session.song = new Song({ ...content, notes: [...notes], unwritten: [], performance: { ...content.performance, candidates } });
  emit("notes");
}

// ---------------------------------------------------------------- the server

const address = () => new URL(`jobs/${session.job}/changes`, document.baseURI);

async function send() {
  if (sending || !ready || now === saved) return;
  if (session.example) { // the copy takes it from here
    carried = now;
    copyExample(session.job);
    return;
  }
  const job = session.job, sent = now;
  sending = true;
  emit("edit");
  let answer = null;
  try {
    const body = { revision, edits: sent.edits, settings: sent.settings, layout: session.layout, page: visiblePage() };
    answer = await fetch(address(), { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    await take(answer.status, await answer.json(), job, sent);
  } catch {
    if (job === session.job) retry();
  }
  sending = false;
  emit("edit");
  if (job === session.job && answer && now !== saved) send();
}

async function take(status, content, job, sent) {
  if (job !== session.job) return;
  failures = 0;
  if (status === 200) {
    revision = content.revision;
    saved = sent;
    if (now !== sent) return; // the next answer is on its way
    showSong(content);
  } else if (status >= 500) {
    throw new Error(content.problem);
  } else {
    problem = content.problem ? `${content.problem} ${content.remedy || ""}` : "This change could not be made.";
    if (status === 409) reopen(); // another window was faster: take what it made
    else {
      now = past.pop() || saved;
      if (now.notes) showNotes(now);
      if (now !== saved) past = past.filter((state) => state !== now);
    }
  }
}

function showSong({ song, score, page, svg }) {
  const fresh = new Song(song);
  now.notes = fresh.notes;
  now.candidates = fresh.candidates;
  show(fresh, score, { page, svg });
}

function retry() {
  problem = "The server cannot be reached: this change is not saved yet.";
  setTimeout(send, RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]);
}

// What the server has of this job: its revision, the edits, and the settings before and after them.
async function load(job) {
  loading = true;
  const answer = await fetch(address()).catch(() => null);
  const content = answer?.ok && (await answer.json());
  if (job !== session.job) return;
  loading = false;
  if (!content) return;
  revision = content.revision;
  base = content.base;
  now = saved = { edits: content.edits, settings: content.settings, notes: session.song?.notes, candidates: session.song?.candidates };
  past = [];
  future = [];
  ready = true;
  const mine = carried;
  carried = null;
  emit("edit");
  if (mine && !session.example) commit({ ...mine, notes: null, candidates: null });
}

on("open", () => {
  now = saved = blank();
  past = [];
  future = [];
  ready = sending = loading = false;
  failures = revision = 0;
  base = {};
  problem = "";
  emit("edit");
});
const loadOnce = () => edit.possible && !ready && !loading && load(session.job);
on("snapshot", loadOnce);
on("notes", loadOnce);

addEventListener("beforeunload", (event) => {
  if (edit.saving && ready) event.preventDefault();
});

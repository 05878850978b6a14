// Owns which transcription the page shows and what is known of it so far; every panel listens here.
//
// Events: "open" (another job), "snapshot" (how it stands), "tracks", "notes", "score", "files",
// "select" (notes: {id, ids, from}), "gone", "edit" (edits.js), "written" (anew, after a change), "doubtful" (how
// many measures are left to check), "reveal" ({number}: a measure that is to be shown), "room" (one of the workshop's,
// by its id, is wanted). The server's stream of snapshots says what can be fetched already, and reconnects by itself.

const bus = new EventTarget();
let stream = null;

export const session = {
  job: "",
  example: false, // it is one of those that ship
  snapshot: null,
  tracks: null, // tracks.json
  song: null, // Song, from notes.json at first and from song.json in the end
  score: null, // index.json of the layout that suits the screen
  layout: "score", // the folder of the pages
  selection: new Set(), // ids of notes
  doubtful: null, // {left, total}: measures that are to be checked
  selected: "", // the one of them that was selected last, or ""
};

export const on = (name, callback) => bus.addEventListener(name, (event) => callback(event.detail));
export const emit = (name, detail) => bus.dispatchEvent(new CustomEvent(name, { detail }));
export const media = (path) => new URL(`media/${session.job}/${path}`, document.baseURI).href;

// Narrow screens get shorter lines, not smaller notes.
const layout = () => (innerWidth < 600 ? "score-narrow" : "score");

export function open(job, example = false) {
  if (job === session.job) return;
  stream?.close();
  Object.assign(session, { job, example, layout: layout(), snapshot: null, tracks: null, song: null, score: null, selected: "", selection: new Set() });
  emit("open", job);
  if (!job) return;
  let made = {};
  stream = new EventSource(new URL(`jobs/${job}/events`, document.baseURI));
  stream.onmessage = ({ data }) => {
    const snapshot = JSON.parse(data);
    const fresh = (thing) => (snapshot.made[thing] || 0) > (made[thing] || 0);
    if (fresh("sound")) fetchInto(job, "tracks", "tracks.json");
    if (fresh("files")) fetchInto(job, "song", "song.json", "files");
    else if (fresh("notes") && !snapshot.made.files) fetchInto(job, "song", "notes.json");
    if (fresh("score")) fetchInto(job, "score", `${session.layout}/index.json`);
    made = snapshot.made;
    session.snapshot = snapshot;
    emit("snapshot", snapshot);
    if (["done", "failed", "cancelled"].includes(snapshot.state)) stream.close();
  };
  stream.onerror = () => {
    if (stream.readyState === EventSource.CLOSED) emit("gone", job);
  };
}

// Fetches all of it again: somebody else has changed it.
export function reopen() {
  const { job, example } = session;
  session.job = "";
  open(job, example);
}

async function fetchInto(job, field, path, also) {
  const answer = await fetch(media(path), { cache: "no-cache" });
  if (!answer.ok) return;
  const content = await answer.json();
  if (job !== session.job) return; // another transcription was opened meanwhile
  if (path === "notes.json" && session.song?.content.score) return; // and so was the finished one
  session[field] = field === "song" ? new Song(content) : content;
  emit(field === "song" ? "notes" : field);
  if (also) emit(also);
}

// Selects a note, or none (""), or several; `from`: the view that it was done in.
export function select(ids, from) {
  const chosen = [ids].flat().filter(Boolean);
  session.selection = new Set(chosen);
  session.selected = chosen.at(-1) || "";
  emit("select", { id: session.selected, ids: session.selection, from });
}

// Shows a transcription that was written anew; `first`: {page, svg}, a page of the score that is here already.
export function show(song, score, first) {
  session.song = song;
  session.score = score;
  const kept = [...session.selection].filter((id) => song.byId.has(id));
  if (kept.length < session.selection.size) select(kept);
  emit("notes");
  emit("score", first);
  emit("written");
}

// The notes by time, the beats, and the measures that the beats make.
export class Song {
  constructor(content) {
    this.content = content;
    const notes = [...content.notes, ...(content.unwritten || [])];
    this.notes = notes.sort((a, b) => a.onset_s - b.onset_s || a.pitch - b.pitch);
    this.byId = new Map(this.notes.map((note) => [note.id, note]));
    this.parts = content.performance.parts;
    this.candidates = content.performance.candidates || []; // what the detector was not sure enough of
    this.partIndex = new Map(this.parts.map((part, index) => [part.id, index]));
    this.beats = content.beats || [];
    this.measures = []; // {number, time_s}
    for (const beat of this.beats) {
      if (beat.measure !== this.measures.at(-1)?.number) this.measures.push({ number: beat.measure, time_s: beat.time_s });
    }
    this.longest = this.notes.reduce((most, note) => Math.max(most, note.offset_s - note.onset_s), 0);
    this.end_s = this.notes.reduce((most, note) => Math.max(most, note.offset_s), 0);
  }

  // Index of the first note at or after a time.
  from(time) {
    return lowerBound(this.notes, (note) => note.onset_s >= time);
  }

  // The notes that sound at a time; the same array for as long as they are the same.
  at(time) {
    if (this.sounding && time >= this.sounding.from_s && time < this.sounding.until_s) return this.sounding.notes;
    const notes = [];
    let i = this.from(time - this.longest), until_s = Infinity;
    for (; i < this.notes.length && this.notes[i].onset_s <= time; i++) {
      if (this.notes[i].offset_s <= time) continue;
      notes.push(this.notes[i]);
      until_s = Math.min(until_s, this.notes[i].offset_s);
    }
    if (i < this.notes.length) until_s = Math.min(until_s, this.notes[i].onset_s);
    this.sounding = { notes, from_s: time, until_s };
    return notes;
  }

  // The measure at a time, as {number, time_s, end_s}, or null before there are beats.
  measureAt(time) {
    if (!this.measures.length) return null;
    const index = Math.max(0, lowerBound(this.measures, (measure) => measure.time_s > time + 1e-6) - 1);
    const end_s = this.measures[index + 1]?.time_s ?? Math.max(this.end_s, this.measures[index].time_s + 1);
    return { ...this.measures[index], end_s };
  }

  beatAt(time) {
    const index = lowerBound(this.beats, (beat) => beat.time_s > time + 1e-6) - 1;
    return this.beats[Math.max(0, index)] || null;
  }
}

export function lowerBound(items, isBehind) {
  let low = 0, high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBehind(items[middle])) high = middle; else low = middle + 1;
  }
  return low;
}

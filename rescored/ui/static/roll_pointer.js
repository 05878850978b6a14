// Owns what a pointer does on the piano roll.
//
// Anyone: a click seeks and selects, dragging along the ruler marks a loop. A finger, and the middle button, scroll.
// With a mouse or a pen, and once the transcription is finished: drag notes in time and pitch, drag their end, draw a band to select
// several, double-click or the pen tool to add, click a candidate to accept it. Alt leaves the grid aside.

import { hear } from "./actions.js";
import { edit } from "./edits.js";
import { player } from "./player.js";
import { boxOf, candidateAt, noteAt, plane, RULER } from "./roll_plane.js";
import { select, session } from "./session.js";
import { floored, snap, snapped, stepped } from "./snap.js";
import { pan, view } from "./view.js";

const MOVED_PX = 4, END_PX = 6;

export const gesture = { ghosts: [], band: null }; // what is being done, for the painter: notes, and {x, y, x2, y2}
export const tool = { pen: false };

// Of a new note: the part of what is selected, else of the nearest note.
export function partAt(time_s, pitch) {
  const chosen = session.song.byId.get(session.selected);
  if (chosen) return chosen.part;
  let best = null, least = Infinity;
  for (const note of session.song.notes) {
    const far = Math.abs(note.onset_s - time_s) * 4 + Math.abs(note.pitch - pitch);
    if (far < least) [best, least] = [note, far];
  }
  return best?.part ?? session.song.parts[0].id;
}

// Notes as a drag would leave them.
export function moved(notes, dt_s, semitones) {
  return notes.map((note) => ({ ...note, onset_s: Math.max(0, note.onset_s + dt_s), offset_s: note.offset_s + dt_s, pitch: note.pitch + semitones }));
}

export function attachPointer(canvas, changed) {
  let drag = null;
  const place = (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  };
  const may = (event) => edit.possible && event.pointerType !== "touch";
  const atEnd = (note, x) => {
    const { left, width } = boxOf(note);
    return x > left + width - Math.min(END_PX, width / 3);
  };
  const selection = () => [...session.selection].map((id) => session.song.byId.get(id)).filter(Boolean);

  function begin(event) {
    const at = place(event);
    canvas.focus({ preventScroll: true });
    if (event.button > 1) return;
    canvas.setPointerCapture(event.pointerId);
    drag = { ...at, moved: false, kind: "pan", start_s: view.start_s };
    if (event.pointerType === "touch" || event.button === 1 || !session.song) return;
    if (at.y < RULER) drag.kind = "loop";
    if (drag.kind === "loop" || !may(event)) return;
    const note = noteAt(at.x, at.y);
    const several = event.shiftKey || event.ctrlKey || event.metaKey;
    if (note) {
      if (!several && !session.selection.has(note.id)) select(note.id, "roll");
      Object.assign(drag, { kind: several ? "toggle" : atEnd(note, at.x) ? "resize" : "move", note });
      if (!several) hear([note]);
    } else if (tool.pen) {
      const pitch = plane.pitch(at.y), onset_s = event.altKey ? plane.time(at.x) : floored(plane.time(at.x));
      Object.assign(drag, { kind: "draw", note: { onset_s, pitch, part: partAt(onset_s, pitch) } });
      hear([{ ...drag.note, velocity: 70 }]);
      extend(event, at);
    } else {
      Object.assign(drag, { kind: "band", kept: several ? [...session.selection] : [] });
    }
  }

  function go(event) {
    const at = place(event);
    if (!drag) return hover(event, at);
    if (!drag.moved && Math.hypot(at.x - drag.x, at.y - drag.y) < MOVED_PX) return;
    drag.moved = true;
    if (drag.kind === "loop") markLoop(at);
    else if (drag.kind === "pan") pan(drag.start_s - (at.x - drag.x) / view.scale - view.start_s);
    else if (drag.kind === "move") carry(event, at);
    else if (drag.kind === "resize" || drag.kind === "draw") extend(event, at);
    else if (drag.kind === "band") gesture.band = { x: Math.min(drag.x, at.x), y: Math.min(drag.y, at.y), x2: Math.max(drag.x, at.x), y2: Math.max(drag.y, at.y) };
    changed();
  }

  function markLoop(at) {
    const [one, other] = [plane.time(drag.x), plane.time(at.x)];
    player.setLoop({ start_s: Math.max(0, Math.min(one, other)), end_s: Math.max(one, other) });
  }

  function carry(event, at) {
    const dx = at.x - drag.x, { note } = drag;
    const wanted_s = note.onset_s + dx / view.scale;
    const notes = selection();
    drag.dt_s = Math.abs(dx) < MOVED_PX ? 0 : (event.altKey ? wanted_s : snapped(wanted_s)) - note.onset_s;
    drag.dt_s = Math.max(drag.dt_s, -Math.min(...notes.map((one) => one.onset_s)));
    const semitones = plane.pitch(at.y) - plane.pitch(drag.y);
    const lowest = Math.min(...notes.map((one) => one.pitch)), highest = Math.max(...notes.map((one) => one.pitch));
    const before = drag.semitones || 0;
    drag.semitones = Math.min(Math.max(semitones, -lowest), 127 - highest);
    gesture.ghosts = moved(notes, drag.dt_s, drag.semitones);
    if (drag.semitones !== before) hear(moved([note], 0, drag.semitones));
    canvas.style.cursor = "grabbing";
  }

  // The end of the notes, or of the one that is drawn, follows the pointer.
  function extend(event, at) {
    const { note } = drag;
    const time_s = event.altKey ? plane.time(at.x) : snapped(plane.time(at.x));
    const least_s = event.altKey || !snap.division ? note.onset_s + 0.03 : stepped(note.onset_s, 1);
    const offset_s = Math.max(time_s, least_s);
    if (drag.kind === "draw") {
      gesture.ghosts = [drag.note = { ...note, offset_s }];
    } else {
      drag.dt_s = offset_s - note.offset_s;
      gesture.ghosts = selection().map((one) => ({ ...one, offset_s: Math.max(one.onset_s + 0.02, one.offset_s + drag.dt_s) }));
    }
  }

  function end(event) {
    const done = drag;
    forget();
    if (!done) return;
    if (done.kind === "pan" || done.kind === "loop") {
      if (!done.moved) point(event, done);
    } else if (done.kind === "toggle") {
      const ids = new Set(session.selection);
      if (!ids.delete(done.note.id)) ids.add(done.note.id);
      select([...ids], "roll");
    } else if (done.kind === "draw") {
      select(edit.add(done.note), "roll");
    } else if (done.kind === "band") {
      if (done.moved) select([...new Set([...done.kept, ...inBand(done, place(event))])], "roll");
      else point(event, done);
    } else if (!done.moved) {
      if (session.selection.size > 1) select(done.note.id, "roll");
      player.seek(done.note.onset_s);
    } else if (done.kind === "move") {
      edit.move([...session.selection], done.dt_s, done.semitones);
    } else {
      edit.resize([...session.selection], done.dt_s);
    }
  }

  // A click: a candidate is accepted; a note is selected; the playhead goes there.
  function point(event, { x, y }) {
    if (!session.song) return;
    const note = y > RULER ? noteAt(x, y) : null;
    const candidate = !note && y > RULER && may(event) ? candidateAt(x, y) : null;
    if (candidate && edit.accept([candidate.id])) {
      hear([candidate]);
      select(candidate.id, "roll");
    } else {
      if (y > RULER) select(note?.id || "", "roll");
      player.seek(note ? note.onset_s : Math.max(0, plane.time(x)));
    }
  }

  function inBand(from, to) {
    const start_s = plane.time(Math.min(from.x, to.x)), end_s = plane.time(Math.max(from.x, to.x));
    const highest = plane.pitch(Math.min(from.y, to.y)), lowest = plane.pitch(Math.max(from.y, to.y));
    return session.song.notes.filter((note) => note.pitch >= lowest && note.pitch <= highest && note.onset_s < end_s && note.offset_s > start_s)
      .map((note) => note.id);
  }

  function hover(event, { x, y }) {
    const note = session.song && y > RULER ? noteAt(x, y) : null;
    if (y < RULER || !session.song) canvas.style.cursor = "pointer";
    else if (!may(event)) canvas.style.cursor = note ? "pointer" : "default";
    else if (note) canvas.style.cursor = event.shiftKey ? "copy" : atEnd(note, x) ? "ew-resize" : "grab";
    else canvas.style.cursor = candidateAt(x, y) ? "copy" : tool.pen ? "crosshair" : "default";
  }

  function forget() {
    drag = null;
    gesture.ghosts = [];
    gesture.band = null;
    canvas.style.cursor = "";
    changed();
  }

  canvas.addEventListener("pointerdown", begin);
  canvas.addEventListener("pointermove", go);
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", forget);
  canvas.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !drag) return;
    forget();
    event.preventDefault();
  });
  canvas.addEventListener("dblclick", (event) => {
    const { x, y } = place(event);
    if (!edit.possible || tool.pen || y < RULER || noteAt(x, y) || candidateAt(x, y)) return;
    const onset_s = event.altKey ? plane.time(x) : floored(plane.time(x)), pitch = plane.pitch(y);
    const offset_s = snap.division ? stepped(onset_s, 1) : onset_s + 0.25;
    const note = { onset_s, offset_s, pitch, part: partAt(onset_s, pitch) };
    hear([{ ...note, velocity: 70 }]);
    select(edit.add(note), "roll");
  });
}

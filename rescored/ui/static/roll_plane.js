// Owns where times and pitches lie on the piano roll, in CSS pixels.

import { session } from "./session.js";
import { view } from "./view.js";

export const GUTTER = 34, RULER = 18;
const THICKEST = 12;

export const plane = {
  width: 0, height: 0,
  low: 48, high: 72, // the pitches in sight
  get row() { return (plane.height - RULER) / (plane.high - plane.low + 1); },
  get thick() { return Math.max(2, Math.min(plane.row - 1, THICKEST)); }, // a note's height
  x: (time_s) => GUTTER + view.x(time_s),
  y: (pitch) => RULER + (plane.high - pitch) * plane.row,
  time: (x) => view.time(x - GUTTER),
  pitch: (y) => plane.high - Math.floor((y - RULER) / plane.row),
};

// Where a note is drawn, cut off at the gutter.
export function boxOf({ onset_s, offset_s, pitch }) {
  const left = Math.max(GUTTER, plane.x(onset_s));
  return { left, top: plane.y(pitch) + (plane.row - plane.thick) / 2, width: Math.max(2, plane.x(offset_s) - left - 1), height: plane.thick };
}

// Makes room for every pitch of the song.
export function reach() {
  const { notes, candidates } = session.song;
  let low = 60, high = 64;
  for (const list of [notes, candidates]) {
    for (const { pitch } of list) {
      if (pitch < low) low = pitch;
      if (pitch > high) high = pitch;
    }
  }
  plane.low = Math.max(0, low - 2);
  plane.high = Math.min(127, high + 2);
}

// The note at a point, the uppermost of several: those drawn last. Short notes are hard to hit, hence the slack.
export function noteAt(x, y, slackPx = 3) {
  const time_s = plane.time(x), pitch = plane.pitch(y), slack_s = slackPx / view.scale;
  const { notes, longest } = session.song;
  let found = null;
  for (let i = session.song.from(time_s - longest - slack_s); i < notes.length && notes[i].onset_s <= time_s + slack_s; i++) {
    if (notes[i].pitch === pitch && notes[i].offset_s >= time_s - slack_s) found = notes[i];
  }
  return found;
}

export function candidateAt(x, y, slackPx = 3) {
  const time_s = plane.time(x), pitch = plane.pitch(y), slack_s = slackPx / view.scale;
  return session.song.candidates.find((note) => note.pitch === pitch && note.onset_s - slack_s <= time_s && note.offset_s + slack_s >= time_s) || null;
}

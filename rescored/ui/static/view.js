// Owns the stretch of time that roll and waveform show, and whether it follows the playhead.

import { emit, on, session } from "./session.js";
import { player } from "./player.js";

const WIDEST = 800, USUAL = 80; // pixels a second

export const view = {
  start_s: 0,
  scale: USUAL, // pixels a second
  width: 1, // of the roll, in pixels
  follow: true,
  get end_s() { return view.start_s + view.width / view.scale; },
  x: (time_s) => (time_s - view.start_s) * view.scale,
  time: (x) => view.start_s + x / view.scale,
};

const end_s = () => Math.max(player.end_s, session.song?.end_s || 0, player.begin_s + 1);
const narrowest = () => view.width / (end_s() - player.begin_s + 1); // all of it in sight

export function resize(width) {
  view.width = width;
  set(view.start_s, view.scale);
}

export function set(start_s, scale) {
  view.scale = Math.min(WIDEST, Math.max(narrowest(), scale));
  view.start_s = Math.max(player.begin_s, Math.min(start_s, end_s() + 0.5 - view.width / view.scale));
  emit("view");
}

export const pan = (seconds) => set(view.start_s + seconds, view.scale);

// Keeps the time under `x` where it is.
export function zoom(factor, x = view.width / 2) {
  const time_s = view.time(x);
  const scale = Math.min(WIDEST, Math.max(narrowest(), view.scale * factor));
  set(time_s - x / scale, scale);
}

export const fit = () => set(0, 0);

export function reveal(time_s) {
  if (time_s < view.start_s || time_s > view.end_s) set(time_s - (0.1 * view.width) / view.scale, view.scale);
}

// Turns the page when the playhead nears the right edge.
export function followTo(time_s) {
  if (view.follow && (time_s > view.start_s + (0.92 * view.width) / view.scale || time_s < view.start_s)) {
    set(time_s - (0.08 * view.width) / view.scale, view.scale);
  }
}

let fresh = true; // the length of what was opened is not known yet
on("open", () => { fresh = true; });
on("tracks", () => {
  if (fresh) set(player.begin_s, USUAL);
  fresh = false;
});
on("notes", () => { // which come before any sound where a performance is read, and may be of a passage
  if (fresh && session.song.notes.length) reveal(session.song.notes[0].onset_s);
});
on("seek", reveal);

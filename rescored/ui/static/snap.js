// Owns the grid that edits in time snap to: the beats that were found, and parts of them.

import { lowerBound, session } from "./session.js";

const FREE_STEP_S = 0.02;

export const snap = { division: 4 }; // parts of a beat; 0 = free

// The grid point at a place counted in steps from the first beat; beyond the ends it goes on at the same pace.
function point(index) {
  const { beats } = session.song, last = beats.length - 2;
  const beat = Math.min(Math.max(0, Math.floor(index / snap.division)), last);
  const length_s = beats[beat + 1].time_s - beats[beat].time_s;
  return beats[beat].time_s + ((index - beat * snap.division) / snap.division) * length_s;
}

// ... and the place, in steps, of a time.
function place(time_s) {
  const { beats } = session.song;
  const beat = Math.min(Math.max(0, lowerBound(beats, (one) => one.time_s > time_s) - 1), beats.length - 2);
  return snap.division * (beat + (time_s - beats[beat].time_s) / (beats[beat + 1].time_s - beats[beat].time_s));
}

const isFree = () => !snap.division || session.song.beats.length < 2;

export const snapped = (time_s) => (isFree() ? time_s : point(Math.round(place(time_s))));

// The grid point before a time, or the time itself.
export const floored = (time_s) => (isFree() ? time_s : point(Math.floor(place(time_s) + 1e-6)));

// The time that many grid points away, forward or back.
export function stepped(time_s, steps) {
  if (isFree()) return time_s + steps * FREE_STEP_S;
  const at = place(time_s);
  return point(steps > 0 ? Math.floor(at + 1e-3) + steps : Math.ceil(at - 1e-3) + steps);
}

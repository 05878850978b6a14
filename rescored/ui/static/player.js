// Owns the sound: one clock for the original, its stems, the transcription and its parts.
//
// Each track is an <audio> element through a gain. Tracks have two sides, the recording's and the
// transcription's, between which one slider crossfades; on each side either the whole or its single
// tracks are heard. Only tracks that can be heard are played; those that drift are nudged back.

import { on, session, emit, media } from "./session.js";

const NUDGE_S = 0.015, RESET_S = 0.25;
let context = null;
let playing = false;
let rest_s = 0; // where the clock stands while nothing plays
const frames = new Set();

export const player = {
  tracks: [], // {id, name, kind, side, audio, gain, volume, muted, solo}
  begin_s: 0, // of the passage in the recording, where all tracks begin; the clock counts in the recording
  end_s: 0,
  rate: 1,
  blend: 0, // 0 = the recording, 1 = the transcription
  loop: null, // {start_s, end_s}
  get playing() { return playing; },
  get time_s() {
    const lead = playing && leader();
    return lead ? player.begin_s + lead.audio.currentTime : rest_s;
  },
  play, pause, seek, setRate, setBlend, setLoop, mute, solo, setVolume, heard,
  toggle: () => (playing ? pause() : play()),
};

// Calls back for every frame of the screen for as long as `element` is on the page, all with one time.
export function onFrame(element, callback) {
  frames.add({ element, callback });
  if (frames.size === 1) requestAnimationFrame(frame);
}

function frame() {
  const { time_s } = player;
  for (const entry of frames) {
    if (entry.element.isConnected) entry.callback(time_s);
    else frames.delete(entry);
  }
  if (frames.size) requestAnimationFrame(frame);
}

const sideOf = (kind) => (kind === "original" || kind === "stem" ? "recording" : "transcription");
const isWhole = (track) => track.kind === "original" || track.kind === "transcription";
const audible = () => player.tracks.filter(heard);
// The longest audible track leads; there is always one while something plays.
const leader = () => audible().reduce((best, track) => (!best || track.audio.duration > best.audio.duration ? track : best), null);

// Whether a track is heard on its side, the crossfade apart.
function heard(track) {
  const anySolo = player.tracks.some((other) => other.side === track.side && other.solo);
  return anySolo ? track.solo : !track.muted;
}

on("open", () => {
  pause();
  for (const track of player.tracks) track.audio.removeAttribute("src");
  Object.assign(player, { tracks: [], begin_s: 0, end_s: 0, loop: null, blend: 0 });
  rest_s = 0;
  emit("mix");
});

on("tracks", () => {
  const known = new Map(player.tracks.map((track) => [track.id, track]));
  player.tracks = session.tracks.tracks.map((entry) => {
    const before = known.get(entry.id);
    if (!before) return newTrack(entry);
    if (before.version === entry.version) return before;
    const track = newTrack(entry);
    track.audio.currentTime = before.audio.currentTime;
    before.audio.removeAttribute("src"); // it sounds otherwise now, in the same place of the mixer
    return Object.assign(track, { volume: before.volume, muted: before.muted, solo: before.solo });
  });
  player.begin_s = session.tracks.begin_s;
  player.end_s = player.begin_s + session.tracks.duration_s;
  rest_s = Math.max(rest_s, player.begin_s);
  if (!player.tracks.some((track) => track.side === "recording")) player.blend = 1; // a MIDI file
  mix();
});

function newTrack({ id, name, kind, file, version }) {
  const audio = new Audio(media(version ? `${file}?v=${version}` : file));
  audio.preload = isWhole({ kind }) ? "auto" : "metadata";
  audio.preservesPitch = true;
  audio.addEventListener("ended", () => { if (playing && audio === leader()?.audio) finish(); });
  return { id, name, kind, version, side: sideOf(kind), audio, gain: null, volume: 1, muted: !isWhole({ kind }), solo: false };
}

function finish() {
  if (player.loop) return seek(player.loop.start_s);
  pause();
  rest_s = player.end_s;
}

function connect(track) {
  if (track.gain) return;
  track.gain = context.createGain();
  context.createMediaElementSource(track.audio).connect(track.gain).connect(context.destination);
}

// Gains and running elements as the strips and the crossfade say.
function mix() {
  const time_s = player.time_s;
  for (const track of player.tracks) {
    const angle = (player.blend * Math.PI) / 2;
    const share = track.side === "recording" ? Math.cos(angle) : Math.sin(angle);
    track.level = heard(track) ? track.volume * share : 0;
    if (!context) continue;
    connect(track);
    track.gain.gain.setTargetAtTime(track.level, context.currentTime, 0.015);
    if (playing && heard(track) && track.audio.paused && time_s - player.begin_s < (track.audio.duration || Infinity)) {
      track.audio.currentTime = time_s - player.begin_s;
      track.audio.playbackRate = player.rate;
      track.audio.play().catch(() => {});
    } else if (!heard(track) || !playing) {
      track.audio.pause();
    }
  }
  emit("mix");
}

function play() {
  if (playing || !audible().length) return;
  context ||= new AudioContext();
  context.resume();
  if (rest_s >= player.end_s - 0.05) rest_s = player.begin_s;
  for (const track of audible()) track.audio.currentTime = rest_s - player.begin_s;
  playing = true;
  mix();
}

function pause() {
  if (!playing) return;
  rest_s = player.time_s;
  playing = false;
  mix();
}

function seek(time_s) {
  rest_s = Math.min(Math.max(player.begin_s, time_s), player.end_s);
  if (playing) {
    for (const track of audible()) {
      track.audio.currentTime = rest_s - player.begin_s;
      if (track.audio.paused) track.audio.play().catch(() => {});
    }
  }
  emit("seek", rest_s);
}

function setRate(rate) {
  player.rate = Math.min(1, Math.max(0.25, rate));
  for (const track of player.tracks) track.audio.playbackRate = player.rate;
  emit("mix");
}

function setBlend(blend) {
  player.blend = Math.min(1, Math.max(0, blend));
  mix();
}

function setLoop(loop) {
  player.loop = loop && loop.end_s - loop.start_s > 0.05 ? loop : null;
  if (player.loop && (player.time_s < player.loop.start_s || player.time_s > player.loop.end_s)) seek(player.loop.start_s);
  emit("mix");
}

// Unmuting a stem silences the whole and the other way round: they are the same sound twice.
function mute(track, muted = !track.muted) {
  track.muted = muted;
  if (!muted) {
    for (const other of player.tracks) {
      if (other.side === track.side && isWhole(other) !== isWhole(track)) other.muted = true;
    }
  }
  mix();
}

function solo(track, solo = !track.solo) {
  track.solo = solo;
  mix();
}

function setVolume(track, volume) {
  track.volume = volume;
  mix();
}

setInterval(() => {
  if (!playing) return;
  const lead = leader();
  if (!lead) return pause();
  if (player.loop && player.time_s >= player.loop.end_s) return seek(player.loop.start_s);
  for (const track of audible()) {
    if (track === lead || track.audio.paused) continue;
    const ahead_s = track.audio.currentTime - lead.audio.currentTime;
    if (Math.abs(ahead_s) > RESET_S) track.audio.currentTime = lead.audio.currentTime;
    const nudge = Math.abs(ahead_s) > NUDGE_S ? -0.01 * Math.sign(ahead_s) : 0;
    track.audio.playbackRate = player.rate * (1 + nudge);
  }
}, 40);

// Owns the bar at the bottom (play, time, measure, speed, loop, crossfade) and the keyboard.

import { clock, h, icon, iconButton, write } from "./dom.js";
import { on, session } from "./session.js";
import { onFrame, player } from "./player.js";

const SPEEDS = [1, 0.9, 0.75, 0.5, 0.25];
const STEP_S = 2;

export function mount({ element }) {
  const play = iconButton("play", "Play (space)", () => player.toggle(), { class: "rs-iconbutton rs-play" });
  const start = iconButton("start", "To the beginning (Home)", () => player.seek(player.loop?.start_s ?? player.begin_s));
  const time = h("span", { class: "rs-time" });
  const place = h("span", { class: "rs-place" });
  const speed = h("select", { "aria-label": "Speed", title: "Speed, at the same pitch", onchange: () => player.setRate(Number(speed.value)) },
    ...SPEEDS.map((rate) => h("option", { value: rate }, rate === 1 ? "full speed" : `${rate * 100} % speed`)));
  const loop = iconButton("loop", "Loop: the selected notes, the marked stretch, or these measures (L)", toggleLoop);
  const blend = h("input", { type: "range", min: "0", max: "1", step: "0.01", "aria-label": "From the recording to the transcription",
    oninput: () => player.setBlend(Number(blend.value)) });
  const end = (label, value) => h("button", { type: "button", class: "rs-end", onclick: () => player.setBlend(value) }, label);
  const bar = h("div", { class: "rs-transport", role: "toolbar", "aria-label": "Player", hidden: true }, start, play,
    h("div", { class: "rs-clock" }, time, place), loop, speed,
    h("div", { class: "rs-blend" }, end("Recording", 0), blend, end("Transcription", 1)));
  element.append(bar);

  let shownPlaying = null, lastLoop = null;
  on("open", () => { lastLoop = null; });

  function toggleLoop() {
    if (player.loop) {
      lastLoop = player.loop;
      player.setLoop(null);
      return;
    }
    const chosen = [...session.selection].map((id) => session.song?.byId.get(id)).filter(Boolean);
    if (chosen.length > 1) {
      return player.setLoop({ start_s: Math.min(...chosen.map((note) => note.onset_s)), end_s: Math.max(...chosen.map((note) => note.offset_s)) });
    }
    const inside = (l) => l && player.time_s >= l.start_s && player.time_s <= l.end_s;
    const here = session.song?.measureAt(player.time_s);
    if (inside(lastLoop) || !here) return player.setLoop(lastLoop);
    const next = session.song.measureAt(here.end_s + 0.01);
    player.setLoop({ start_s: Math.max(0, here.time_s), end_s: Math.max(next.end_s, here.end_s) });
  }

  function showMix() {
    bar.hidden = !player.tracks.length;
    document.body.classList.toggle("rs-has-transport", !bar.hidden);
    blend.value = player.blend;
    speed.value = player.rate;
    loop.setAttribute("aria-pressed", Boolean(player.loop));
    const sides = new Set(player.tracks.map((track) => track.side));
    blend.parentElement.hidden = sides.size < 2;
  }

  function showTime(time_s) {
    if (bar.hidden) return;
    write(time, `${clock(time_s, 1)} / ${clock(player.end_s)}`);
    const beat = session.song?.beatAt(time_s);
    write(place, beat ? `${beat.measure ? `measure ${beat.measure}` : "pickup"}, beat ${beat.beat}` : "");
    if (shownPlaying !== player.playing) {
      shownPlaying = player.playing;
      play.replaceChildren(icon(shownPlaying ? "pause" : "play"));
      play.setAttribute("aria-label", shownPlaying ? "Pause (space)" : "Play (space)");
    }
  }

  function toMeasure(step) {
    const here = session.song?.measureAt(player.time_s);
    if (!here) return player.seek(player.time_s + step * STEP_S);
    const back = player.time_s - here.time_s > 0.3 ? here.time_s : (session.song.measureAt(here.time_s - 0.01)?.time_s ?? player.begin_s);
    player.seek(step > 0 ? here.end_s + 0.001 : back);
  }

  document.addEventListener("keydown", (event) => {
    if (!bar.isConnected || bar.hidden || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const typing = event.target.closest?.("input, textarea, select, [contenteditable='true']");
    if (typing) return;
    const onButton = event.target.closest?.("button, a, [role='tab'], [role='radio']");
    const track = player.tracks[Number(event.key) - 1];
    if (event.key === " " && !onButton) player.toggle();
    else if (event.key === "ArrowLeft") event.shiftKey ? toMeasure(-1) : player.seek(player.time_s - STEP_S);
    else if (event.key === "ArrowRight") event.shiftKey ? toMeasure(1) : player.seek(player.time_s + STEP_S);
    else if (event.key === "Home") player.seek(player.begin_s);
    else if (event.key.toLowerCase() === "l") toggleLoop();
    else if (event.key.toLowerCase() === "m") player.setBlend(player.blend < 0.5 ? 1 : 0);
    else if (/^[1-6]$/.test(event.key) && track) player.solo(track);
    else return;
    event.preventDefault();
  });

  on("mix", showMix);
  showMix();
  onFrame(bar, showTime);
}

// Owns the outline of the whole recording: where one is, what the roll shows, and the loop, which is
// drawn by dragging. The outline is painted once; what moves over it are elements.

import { clock, h, onTheme, sharpCanvas, themed } from "./dom.js";
import { on, session } from "./session.js";
import { onFrame, player } from "./player.js";
import { paintOutline } from "./outline.js";
import { view } from "./view.js";

const PEAKS_HZ = 50; // of the outline in tracks.json (service/sounds.py)
const STEP_S = 2, PAGE_S = 15;

export function mount({ element }) {
  const canvas = h("canvas", { class: "rs-waveform" });
  const seen = h("div", { class: "rs-seen" }), loop = h("div", { class: "rs-looped", hidden: true });
  const playhead = h("div", { class: "rs-playhead" });
  const box = h("div", { class: "rs-waveform-box", role: "slider", tabindex: "0", hidden: true, "aria-label": "Place in the recording" },
    seen, loop, canvas, playhead);
  element.append(box);
  let width = 0, height = 0, dirty = true, drag = null, second = -1, color = "";

  const length_s = () => Math.max(player.end_s - player.begin_s, 0.1);
  const x = (time_s) => ((time_s - player.begin_s) / length_s()) * width;
  const time = (event) => {
    const { left } = box.getBoundingClientRect();
    return player.begin_s + Math.min(Math.max(0, (event.clientX - left) / width), 1) * length_s();
  };
  const lay = (bar, start_s, end_s) => {
    bar.style.left = `${x(start_s)}px`;
    bar.style.width = `${Math.max(2, x(end_s) - x(start_s))}px`;
  };

  function showSpans() {
    lay(seen, view.start_s, Math.min(view.end_s, player.end_s));
    loop.hidden = !player.loop;
    if (player.loop) lay(loop, player.loop.start_s, player.loop.end_s);
  }

  function draw(time_s) {
    if (!width || box.hidden) return;
    if (dirty) {
      paintOutline(canvas.getContext("2d"), session.tracks?.peaks || [], (length_s() * PEAKS_HZ) / width, { width, height, color });
      showSpans();
      dirty = false;
    }
    playhead.style.transform = `translateX(${Math.min(x(time_s), width - 2)}px)`;
    if (Math.floor(time_s) !== second) {
      second = Math.floor(time_s);
      box.setAttribute("aria-valuenow", second);
      box.setAttribute("aria-valuetext", `${clock(time_s)} of ${clock(player.end_s)}`);
    }
  }

  box.addEventListener("pointerdown", (event) => {
    box.setPointerCapture(event.pointerId);
    drag = { at: time(event), x: event.clientX };
  });
  box.addEventListener("pointermove", (event) => {
    if (!drag || Math.abs(event.clientX - drag.x) < 5) return;
    const now = time(event);
    drag.loop = { start_s: Math.min(drag.at, now), end_s: Math.max(drag.at, now) };
    player.loop = drag.loop;
    showSpans();
  });
  box.addEventListener("pointerup", () => {
    if (drag?.loop) player.setLoop(drag.loop);
    else if (drag) player.seek(drag.at);
    drag = null;
  });
  box.addEventListener("pointercancel", () => { drag = null; });
  box.addEventListener("keydown", (event) => {
    const to_s = { ArrowUp: player.time_s + STEP_S, ArrowDown: player.time_s - STEP_S, PageUp: player.time_s + PAGE_S,
      PageDown: player.time_s - PAGE_S, End: player.end_s }[event.key];
    if (to_s === undefined) return; // left, right and Home are the page's
    player.seek(to_s);
    event.preventDefault();
  });

  on("open", () => { box.hidden = true; });
  on("tracks", () => {
    box.hidden = false;
    box.setAttribute("aria-valuemin", Math.floor(player.begin_s));
    box.setAttribute("aria-valuemax", Math.ceil(player.end_s));
    dirty = true;
  });
  on("view", showSpans);
  on("mix", showSpans);
  sharpCanvas(canvas, (w, h) => { width = w; height = h; dirty = true; });
  const readColor = () => { color = themed(element, "--body-text-color-subdued"); dirty = true; };
  onTheme(readColor);
  readColor();
  onFrame(box, draw);
}

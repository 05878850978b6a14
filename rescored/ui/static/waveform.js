// Owns the outline of the whole recording: where one is, what the roll shows, and the loop, which is
// drawn by dragging.

import { h, onTheme, sharpCanvas, themed } from "./dom.js";
import { on, session } from "./session.js";
import { onFrame, player } from "./player.js";
import { view } from "./view.js";

const PEAKS_HZ = 50; // of the outline in tracks.json (service/sounds.py)

export function mount({ element }) {
  const canvas = h("canvas", { class: "rs-waveform", role: "slider", tabindex: "0", "aria-label": "Place in the recording" });
  const box = h("div", { class: "rs-waveform-box", hidden: true }, canvas);
  element.append(box);
  const base = document.createElement("canvas");
  let width = 0, height = 0, dirty = true, drag = null, color = {};

  const length_s = () => Math.max(player.end_s - player.begin_s, 0.1);
  const x = (time_s) => ((time_s - player.begin_s) / length_s()) * width;
  const time = (event) => {
    const { left } = canvas.getBoundingClientRect();
    return player.begin_s + Math.min(Math.max(0, (event.clientX - left) / width), 1) * length_s();
  };

  function readColors() {
    color = { wave: themed(element, "--body-text-color-subdued"), window: themed(element, "--rs-window"), loop: themed(element, "--rs-loop"), head: themed(element, "--rs-playhead") };
    dirty = true;
  }

  function drawBase() {
    base.width = canvas.width;
    base.height = canvas.height;
    const pen = base.getContext("2d");
    pen.scale(canvas.width / width, canvas.height / height);
    pen.fillStyle = color.wave;
    const { peaks = [] } = session.tracks || {};
    const middle = height / 2, reach = height / 2 - 2;
    for (let column = 0; column < width; column++) {
      const from = Math.floor((column / width) * length_s() * PEAKS_HZ);
      const to = Math.max(from + 1, Math.floor(((column + 1) / width) * length_s() * PEAKS_HZ));
      let low = 0, high = 0;
      for (let i = from; i < to && i < peaks.length; i++) {
        low = Math.min(low, peaks[i][0]);
        high = Math.max(high, peaks[i][1]);
      }
      const top = middle - (high / 127) * reach;
      pen.fillRect(column, top, 1, Math.max(1, ((high - low) / 127) * reach));
    }
    dirty = false;
  }

  function draw(time_s) {
    if (!width || box.hidden) return;
    if (dirty) drawBase();
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = color.window;
    pen.fillRect(x(view.start_s), 0, Math.max(2, x(view.end_s) - x(view.start_s)), height);
    if (player.loop) {
      pen.fillStyle = color.loop;
      pen.fillRect(x(player.loop.start_s), 0, x(player.loop.end_s) - x(player.loop.start_s), height);
    }
    pen.drawImage(base, 0, 0, width, height);
    pen.fillStyle = color.head;
    pen.fillRect(Math.min(x(time_s), width - 2), 0, 2, height);
    canvas.setAttribute("aria-valuenow", time_s.toFixed(1));
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    drag = { at: time(event), x: event.clientX };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag || Math.abs(event.clientX - drag.x) < 5) return;
    const now = time(event);
    drag.loop = { start_s: Math.min(drag.at, now), end_s: Math.max(drag.at, now) };
    player.loop = drag.loop;
  });
  canvas.addEventListener("pointerup", () => {
    if (drag?.loop) player.setLoop(drag.loop);
    else if (drag) player.seek(drag.at);
    drag = null;
  });

  on("open", () => { box.hidden = true; });
  on("tracks", () => {
    box.hidden = false;
    canvas.setAttribute("aria-valuemin", player.begin_s.toFixed(1));
    canvas.setAttribute("aria-valuemax", player.end_s.toFixed(1));
    dirty = true;
  });
  sharpCanvas(canvas, (w, h) => { width = w; height = h; dirty = true; });
  onTheme(readColors);
  readColors();
  onFrame(canvas, draw);
}

// Owns the strips: one for every track, with mute, solo, volume.

import { h } from "./dom.js";
import { on } from "./session.js";
import { player } from "./player.js";

export function mount({ element }) {
  const sides = {
    recording: h("div", { class: "rs-strips" }),
    transcription: h("div", { class: "rs-strips" }),
  };
  const box = h("div", { class: "rs-mixer", hidden: true },
    h("section", { "aria-label": "Recording" }, h("h3", {}, "Recording"), sides.recording),
    h("section", { "aria-label": "Transcription" }, h("h3", {}, "Transcription"), sides.transcription));
  element.append(box);
  let strips = [];

  function strip(track, index) {
    const digit = index < 6 ? ` (${index + 1})` : "";
    const toggle = (letter, label, onclick) =>
      h("button", { type: "button", class: `rs-toggle rs-toggle-${letter}`, "aria-label": `${label} ${track.name}`, title: `${label}${letter === "S" ? digit : ""}`, onclick }, letter);
    const mute = toggle("M", "Mute", () => player.mute(track));
    const solo = toggle("S", "Solo", () => player.solo(track));
    const volume = h("input", { type: "range", min: "0", max: "1.5", step: "0.01", value: "1", "aria-label": `Volume of ${track.name}`,
      oninput: (event) => player.setVolume(track, Number(event.target.value)),
      ondblclick: (event) => { event.target.value = 1; player.setVolume(track, 1); } });
    const row = h("div", { class: "rs-strip" }, h("span", { class: "rs-strip-name", title: track.name }, track.name), mute, solo, volume);
    return { track, row, mute, solo };
  }

  function show() {
    box.hidden = !player.tracks.length;
    if (strips.map((s) => s.track).some((track, i) => track !== player.tracks[i]) || strips.length !== player.tracks.length) {
      strips = player.tracks.map(strip);
      for (const [side, list] of Object.entries(sides)) {
        list.replaceChildren(...strips.filter((s) => s.track.side === side).map((s) => s.row));
        list.parentElement.hidden = !list.childElementCount;
      }
    }
    for (const { track, row, mute, solo } of strips) {
      mute.setAttribute("aria-pressed", track.muted);
      solo.setAttribute("aria-pressed", track.solo);
      row.classList.toggle("rs-silent", !player.heard(track));
    }
  }

  on("mix", show);
  show();
}

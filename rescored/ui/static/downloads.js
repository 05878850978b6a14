// Owns the links to the files of a finished transcription.

import { h, icon } from "./dom.js";
import { on, media, session } from "./session.js";

const FILES = [
  ["song.pdf", "PDF", "to print"],
  ["song.musicxml", "MusicXML", "for notation programs"],
  ["song.mxl", "MXL", "the same, compressed"],
  ["song.mid", "MIDI, as played", "performed timing"],
  ["song.score.mid", "MIDI, as written", "on the grid"],
  ["song.json", "JSON", "everything, for programs"],
];

export function mount({ element }) {
  const links = h("div", { class: "rs-downloads" });
  const box = h("section", { class: "rs-panel", hidden: true, "aria-label": "Downloads" }, h("header", {}, h("h3", {}, "Take it with you")), links);
  element.append(box);

  function show() {
    box.hidden = !session.snapshot?.made.files;
    if (box.hidden) return;
    const files = [...FILES];
    const content = session.song?.content;
    if (content?.lead_sheet) files.splice(1, 0, ["song.lead.pdf", "Lead sheet", "melody and chords, to print"], ["song.lead.musicxml", "Lead sheet, MusicXML", "for notation programs"]);
    if (content?.score?.parts.length > 1) files.push(["song.parts.zip", "Parts", "PDF and MusicXML, in a ZIP"]);
    if (session.snapshot.made.stems) files.push(["stems.zip", "Stems", "FLAC, in a ZIP"]);
    links.replaceChildren(...files.map(([file, name, use]) => h("a", { class: "rs-download", href: `${media(file)}?download`, download: "" },
      icon("file"), h("span", {}, h("b", {}, name), h("small", {}, use)))));
  }

  on("open", show);
  on("snapshot", show);
  on("notes", show);
}

// Owns what is known of the selected notes, and shows what can be done with them.

import { actions, can, chosen, nameOf, spellings } from "./actions.js";
import { h, icon } from "./dom.js";
import { edit } from "./edits.js";
import { on, session } from "./session.js";

const VALUES = [[8, "breve"], [6, "dotted whole"], [4, "whole"], [3, "dotted half"], [2, "half"], [1.5, "dotted quarter"], [1, "quarter"],
  [0.75, "dotted eighth"], [0.5, "eighth"], [0.375, "dotted 16th"], [0.25, "16th"], [0.125, "32nd"], [2 / 3, "triplet quarter"],
  [1 / 3, "triplet eighth"], [1 / 6, "triplet 16th"]];

export function mountInspector({ element }) {
  const empty = h("p", { class: "rs-note" }, "Click a note in the score or in the roll. Shift-click takes more.");
  const facts = h("dl", { class: "rs-facts rs-note-facts" });
  const handles = actions.map((action) => ({ action, button: h("button", { type: "button", class: "rs-action", onclick: () => action.run() },
    h("b", {}, action.icon ? icon(action.icon) : action.text), h("span", {}, action.label), h("kbd", {}, action.keys)) }));
  const tools = h("div", { class: "rs-actions" }, ...handles.map(({ button }) => button));
  const part = h("select", { "aria-label": "Part", onchange: () => edit.setPart(chosen().map(({ id }) => id), part.value) });
  const name = h("select", { "aria-label": "Name", onchange: () => {
    const [note] = chosen(), way = spellings(note.pitch)[name.selectedIndex];
    edit.respell(note.id, way.step, way.alter);
  } });
  const length = h("select", { "aria-label": "Written length", onchange: () => edit.setDuration(chosen().map(({ id }) => id), Number(length.value)) });
  const field = (label, input) => h("label", { class: "rs-field" }, h("span", {}, label), input);
  const fields = { part: field("Part", part), name: field("Name", name), length: field("Written length", length) };
  const body = h("div", {}, facts, ...Object.values(fields), tools);
  element.append(empty, body);

  const options = (select, pairs, value) => {
    select.replaceChildren(...pairs.map(([own, text]) => h("option", { value: own }, text)));
    select.value = value;
  };

  function show() {
    const notes = edit.possible ? chosen() : [];
    empty.hidden = notes.length > 0;
    body.hidden = !notes.length;
    if (!notes.length) return;
    const [note] = notes, one = notes.length === 1;
    const parts = session.song.parts, staves = session.song.content.score.parts.find(({ id }) => id === note.part)?.staves;
    const rows = one ? [
      ["Note", nameOf(note)], ["Measure", note.measure], ["Hand", staves === 2 && note.staff ? (note.staff === 1 ? "right" : "left") : ""],
      ["Begins", `${note.onset_s.toFixed(2)} s`], ["Sounds for", `${(note.offset_s - note.onset_s).toFixed(2)} s`],
      ["Velocity", note.velocity], ["Sure", `${Math.round(100 * note.confidence)} %`], ["", note.grace ? "grace note" : ""],
    ] : [["Notes", notes.length]];
    facts.replaceChildren(...rows.filter(([, value]) => value || value === 0).map(([label, value]) =>
      h("div", {}, h("dt", {}, label), h("dd", {}, String(value)))));
    fields.part.hidden = parts.length < 2;
    options(part, parts.map((own) => [own.id, own.name]), note.part);
    fields.name.hidden = !one || !note.step || note.written_pitch !== note.pitch;
    if (!fields.name.hidden) options(name, spellings(note.pitch).map((way) => [nameOf(way), nameOf(way)]), nameOf(note));
    fields.length.hidden = note.grace || !note.duration_ql;
    if (!fields.length.hidden) {
      const known = VALUES.find(([ql]) => Math.abs(ql - note.duration_ql) < 1e-3);
      options(length, known ? VALUES : [[note.duration_ql, `${Number(note.duration_ql.toFixed(2))} quarters`], ...VALUES], known ? known[0] : note.duration_ql);
    }
    for (const { action, button } of handles) button.disabled = !can(action);
  }

  for (const event of ["select", "notes", "edit", "open"]) on(event, show);
  show();
}

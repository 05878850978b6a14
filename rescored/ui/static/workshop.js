// Owns the panel at the right, folded away until it is wanted: notation, doubtful measures, the selected note.
// Undo and redo stay in sight, and so does what is not saved yet.

import { h, iconButton, write } from "./dom.js";
import { edit } from "./edits.js";
import { on, session } from "./session.js";
import { mountDoubtful } from "./doubtful.js";
import { mountInspector } from "./inspector.js";
import { mountRenotate } from "./renotate.js";

const ROOMS = [
  { id: "notation", icon: "tune", name: "Notation", mount: mountRenotate },
  { id: "doubtful", icon: "doubt", name: "Doubtful measures", mount: mountDoubtful },
  { id: "note", icon: "note", name: "Selected note", mount: mountInspector },
];

export function mount({ element, props, trigger }) {
  let shown = "";
  const rooms = ROOMS.map((room) => {
    const body = h("section", { class: "rs-room", id: `rs-room-${room.id}`, "aria-label": room.name, hidden: true },
      h("header", {}, h("h3", {}, room.name), iconButton("close", "Fold away", () => open(""))));
    room.mount({ element: body, controls: props.value.controls, bundles: props.value.readability, open: () => open(room.id) });
    const button = iconButton(room.icon, room.name, () => {
      open(shown === room.id ? "" : room.id);
      if (shown && matchMedia("(max-width: 820px)").matches) box.scrollIntoView(); // there it lies below all else
    },
      { "aria-expanded": "false", "aria-controls": body.id });
    return { ...room, body, button };
  });
  const undo = iconButton("undo", "Undo (Ctrl+Z)", () => edit.undo());
  const redo = iconButton("redo", "Redo (Ctrl+Shift+Z)", () => edit.redo());
  const state = h("p", { class: "rs-saving", role: "status" });
  const rail = h("div", { class: "rs-rail", role: "toolbar", "aria-label": "Editing" },
    ...rooms.map(({ button }) => button), h("i"), undo, redo);
  const box = h("aside", { class: "rs-workshop", "aria-label": "Editing", hidden: true }, rail, state,
    h("div", { class: "rs-rooms" }, ...rooms.map(({ body }) => body)));
  element.append(box);

  function open(id) {
    shown = id;
    for (const { id: own, body, button } of rooms) {
      body.hidden = own !== id;
      button.setAttribute("aria-expanded", own === id);
    }
    box.classList.toggle("rs-open", Boolean(id));
  }

  function show() {
    box.hidden = !edit.possible;
    undo.disabled = !edit.canUndo;
    redo.disabled = !edit.canRedo;
    write(state, edit.problem);
    box.dataset.saving = edit.saving;
  }

  edit.copyExample = (job) => trigger("copy_job", { job });
  let told = "";
  on("written", () => { // the controls at the left say the same as these
    const settings = session.song.content.settings, text = JSON.stringify(settings);
    if (text !== told) trigger("settings_changed", { job: session.job });
    told = text;
  });
  on("open", () => { told = ""; });
  on("room", (id) => {
    open(id);
    box.scrollIntoView({ block: "nearest" });
    rooms.find((room) => room.id === id).body.querySelector("button").focus({ preventScroll: true });
  });
  for (const name of ["edit", "snapshot", "notes", "open"]) on(name, show);
  show();
}

// Owns the ways to count a transcription, the one that was found and the likeliest others; a press takes one.
// They are asked for when they are first seen, and again when the user has said something that bears on them.

import { h, write } from "./dom.js";
import { edit } from "./edits.js";
import { on, session } from "./session.js";

const BEARING = ["metre.file_beats", "metre.beat_one_s", "metre.taps_s", "metre.sound_weight", "metre.slowest_bpm", "metre.fastest_bpm"];
const ASKING = "listening …";
const HALF = "\uECA3", QUARTER = "\uECA5", DOT = "\uECB7"; // in the music font (SMuFL)

// What lasts a beat in a time signature.
function beatOf(signature) {
  const [count, unit] = signature.split("/").map(Number);
  return unit >= 8 && count % 3 === 0 ? QUARTER + DOT : unit === 2 ? HALF : QUARTER;
}

// Tempi differ a little once the user has said more.
const alike = (one, other) => one === other || (typeof other === "number" && Math.abs(Math.log2(one / other)) < 0.15);

// `room`: where it is seen; `row()`: what is hidden while there is no choice.
export function metreChoices(room, row) {
  const said = h("span", { class: "rs-said", role: "status" }, ASKING);
  const box = h("div", { class: "rs-metres" }, said);
  let seen = false, asked = "", buttons = [];

  async function ask() {
    if (!seen || !edit.possible || edit.saving || edit.settings[BEARING[0]] === undefined) return;
    const wanted = JSON.stringify([session.job, ...BEARING.map((name) => edit.settings[name])]);
    if (wanted === asked) return;
    asked = wanted;
    write(said, buttons.length ? "" : ASKING); // those of before stay until there are others
    const choices = await fetch(new URL(`jobs/${session.job}/metres`, document.baseURI))
      .then((answer) => (answer.ok ? answer.json() : null)).catch(() => null);
    if (wanted !== asked) return; // it is about another one by now
    if (!choices) asked = "";
    tell(choices || []);
    write(said, choices ? "" : "could not be asked");
    row().hidden = Boolean(choices) && choices.length < 2;
  }

  function tell(choices) {
    buttons = choices.map(({ time_signatures, bpm, found, settings }) => ({ settings,
      button: h("button", { type: "button", class: "rs-choice", title: found ? "As it was found" : "Count it so",
        "aria-label": `${time_signatures.join(", ")}, ${bpm} beats a minute`, onclick: () => isTaken(settings) || edit.set(settings) },
      `${time_signatures.join(", ")} `, h("span", { class: "rs-music" }, beatOf(time_signatures[0])), ` ${bpm}`) }));
    box.replaceChildren(...buttons.map(({ button }) => button), said);
    press();
  }

  const isTaken = (settings) => Object.entries(settings).every(([name, value]) => alike(edit.settings[name], value));

  function press() {
    for (const { settings, button } of buttons) button.setAttribute("aria-pressed", isTaken(settings));
  }

  new IntersectionObserver((entries) => {
    seen = entries.at(-1).isIntersecting;
    ask();
  }).observe(room);
  for (const name of ["edit", "written", "snapshot", "notes"]) {
    on(name, () => {
      press();
      ask();
    });
  }
  on("open", () => {
    asked = "";
    row().hidden = false;
    tell([]);
    write(said, ASKING);
  });
  return box;
}

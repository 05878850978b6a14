// Owns the controls by which a score is notated otherwise: generated from the settings tree (`controls`, from
// panel "workshop"), those that want an ear or an eye drawn by hand. Each takes effect at once.

import { h, iconButton, write } from "./dom.js";
import { edit } from "./edits.js";
import { chosen, nameOf } from "./actions.js";
import { metreChoices } from "./metre_choices.js";
import { on, session } from "./session.js";
import { player } from "./player.js";

// What most people look for comes first, in this order; all else is under "More".
const FIRST = [
  ["Metre and tempo", ["metre.file_beats", "metre.time_signature", "metre.tempo_bpm", "metre.tempo_factor", "metre.beat_one_s", "metre.taps_s"]],
  ["Note values", ["quantise.finest", "quantise.triplets", "quantise.swing"]],
  ["Key and hands", ["spelling.key", "hands.file_tracks", "hands.split", "hands.fixed_pitch", "hands.split_curve"]],
  ["Score", ["score.transpose", "score.pitch", "score.instruments", "score.title", "score.composer"]],
];
const NEAR_S = 0.12; // a beat is meant to be where a note begins
const IDLE_S = 2.5; // taps that come later begin anew
const READABILITY = { "as-played": "As played", clean: "Clean", easy: "Easy" };
const TEMPO = [["1/2", "÷2"], ["1", "as found"], ["2", "×2"]];
const LABELS = { "metre.file_beats": "File's beats", "metre.time_signature": "Metre", "metre.tempo_bpm": "BPM, 0 = found", "metre.tempo_factor": "Tempo", "metre.beat_one_s": "Beat one", "metre.taps_s": "Tapped",
  "quantise.finest": "Shortest note", "hands.file_tracks": "File's hands", "hands.split": "Hands", "hands.fixed_pitch": "Split at", "hands.split_curve": "Split", "score.pitch": "Parts" };

export function mountRenotate({ element, controls, bundles }) {
  const byName = new Map(controls.map((control) => [control.name, control]));
  const shows = []; // each brings a control up to date
  const hand = { "metre.tempo_factor": tempo, "metre.beat_one_s": beatOne, "metre.taps_s": taps,
    "hands.split_curve": splitCurve, "score.instruments": instruments };

  if (Object.keys(bundles).length) element.append(field("Readability", readability()));
  const first = new Set();
  for (const [title, names] of FIRST) {
    const own = names.filter((name) => byName.has(name));
    if (!own.length) continue;
    element.append(h("h4", {}, title), ...(own.includes("metre.time_signature") ? [counted()] : []), ...own.map(draw));
    for (const name of own) first.add(name);
  }
  const rest = controls.filter(({ name }) => !first.has(name));
  if (rest.length) {
    element.append(h("details", {}, h("summary", {}, "More"), ...rest.map(({ name }) => draw(name))));
  }
  element.append(h("button", { type: "button", class: "rs-button", onclick: () => edit.set(defaults()) }, "All as it was found"));

  function draw(name) {
    const control = byName.get(name);
    const row = field(LABELS[name] || control.label, (hand[name] || plain)(control), control.help);
    if (/[.]file_/.test(name)) shows.push(() => { row.hidden = session.song.content.source.kind !== "midi"; });
    if (name === "hands.fixed_pitch") shows.push((settings) => { row.hidden = settings["hands.split"] !== "fixed"; });
    return row;
  }

  function counted() {
    const row = field("Counted in", metreChoices(element, () => row), "Other metres and tempi that it may be written in");
    return row;
  }

  function field(label, input, help) {
    const named = input.matches("input, select");
    return h(named ? "label" : "div", { class: "rs-field", title: help || null, role: named ? null : "group", "aria-label": named ? null : label },
      h("span", {}, label), input);
  }

  function plain({ name, kind, of, lo, hi, unit }) {
    let input;
    const set = (value) => edit.set({ [name]: value });
    if (of) {
      input = h("select", { onchange: () => set(of[input.selectedIndex]) }, ...of.map((value) => h("option", { value }, String(value))));
      shows.push((settings) => { input.value = settings[name]; });
    } else if (kind === "bool") {
      input = h("input", { type: "checkbox", onchange: () => set(input.checked) });
      shows.push((settings) => { input.checked = settings[name]; });
    } else if (kind === "str") {
      input = h("input", { type: "text", maxlength: 200, onchange: () => set(input.value) });
      shows.push((settings) => { if (document.activeElement !== input) input.value = settings[name]; });
    } else {
      const step = kind === "int" ? 1 : "any";
      input = h("input", { type: "number", min: lo, max: hi, step, title: unit || null,
        onchange: () => { // nothing, or what is out of range, is never left standing as if it were in force
          const was = edit.settings[name], value = input.value === "" ? was : Number(input.value);
          input.value = Math.min(Math.max(kind === "int" ? Math.round(value) : value, lo), hi);
          if (Number(input.value) !== was) set(Number(input.value));
        } });
      shows.push((settings) => { if (document.activeElement !== input) input.value = settings[name]; });
    }
    input.dataset.setting = name;
    return input;
  }

  function choices(names, pick) {
    const buttons = names.map(([value, text]) =>
      h("button", { type: "button", class: "rs-choice", "data-value": value, "aria-pressed": "false", onclick: () => pick(value) }, text));
    return { box: h("div", { class: "rs-choices" }, ...buttons), press: (value) => {
      for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.value === value);
    } };
  }

  // A bundle sets what it names, and what the other bundles name goes back to the default.
  function readability() {
    const all = Object.fromEntries(Object.values(bundles).flatMap(Object.keys).map((name) => [name, byName.get(name)?.default]));
    const full = (name) => ({ ...all, ...bundles[name] });
    const names = Object.keys(bundles).map((name) => [name, READABILITY[name] || name]);
    const { box, press } = choices(names, (name) => edit.set(full(name)));
    shows.push((settings) => press(Object.keys(bundles).find((name) => Object.entries(full(name)).every(([key, value]) => settings[key] === value))));
    return box;
  }

  function tempo({ name }) {
    const { box, press } = choices(TEMPO, (value) => edit.set({ [name]: value }));
    shows.push((settings) => press(String(settings[name])));
    return box;
  }

  function beatOne({ name }) {
    const said = h("span", { class: "rs-said" });
    const clear = iconButton("close", "Find it by itself", () => edit.set({ [name]: -1 }));
    const here = h("button", { type: "button", class: "rs-button", onclick: () => {
      const near = session.song.notes.filter((note) => Math.abs(note.onset_s - player.time_s) < NEAR_S)
        .sort((one, other) => Math.abs(one.onset_s - player.time_s) - Math.abs(other.onset_s - player.time_s))[0];
      edit.set({ [name]: Number((near?.onset_s ?? player.time_s).toFixed(3)) });
    } }, "Beat one is here");
    const moved = [[-1, "earlier"], [1, "later"]].map(([by, way]) => iconButton(way, `All bar lines one beat ${way}`,
      () => edit.set({ [name]: Number(beatBeside(by).toFixed(3)) })));
    shows.push((settings) => {
      const at_s = settings[name];
      write(said, at_s >= 0 ? `${at_s.toFixed(1)} s` : "found");
      clear.hidden = at_s < 0;
      for (const button of moved) button.disabled = edit.saving; // the next press counts from where they will be
    });
    return h("div", {}, h("div", { class: "rs-row" }, here), h("div", { class: "rs-row" }, ...moved, said, clear));
  }

  // When the beat sounds that is so many beats after the begin of the measure that is played now.
  function beatBeside(by) {
    const { beats } = session.song, playing = beats.indexOf(session.song.beatAt(player.time_s));
    const begins = beats.map((beat, i) => i).filter((i) => beats[i].beat === 1 && beats[i + by]);
    const at = begins.findLast((i) => i <= playing) ?? begins[0] ?? 0;
    return (beats[at + by] || beats[at]).time_s;
  }

  // Tapping along with the music, by this button or the key T.
  function taps({ name }) {
    let times = [], last = 0;
    const said = h("span", { class: "rs-said", role: "status" });
    const use = h("button", { type: "button", class: "rs-button", hidden: true, onclick: () => {
      edit.set({ [name]: times.map((time_s) => time_s.toFixed(3)).join(" ") });
      times = [];
      tell();
    } }, "Use these beats");
    const clear = iconButton("close", "Forget the taps", () => {
      times = [];
      if (edit.settings[name]) edit.set({ [name]: "" });
      tell();
    });
    const tap = () => {
      if (!player.playing) return write(said, "press play first");
      if (performance.now() - last > IDLE_S * 1000) times = [];
      last = performance.now();
      times = [...times.filter((time_s) => time_s < player.time_s - 0.1), player.time_s];
      tell();
    };
    const button = h("button", { type: "button", class: "rs-button", title: "Key T", onpointerdown: tap,
      onclick: (event) => { if (event.detail === 0) tap(); } }, "Tap along");
    function tell() {
      const set = String(edit.settings[name] || "").split(/\s+/).filter(Boolean).length;
      const gaps = times.slice(1).map((time_s, i) => time_s - times[i]).sort((a, b) => a - b);
      write(said, times.length > 1 ? `${times.length} taps, ${Math.round(60 / gaps[gaps.length >> 1])} BPM` :
        times.length ? "1 tap" : set ? `${set} beats tapped` : "");
      use.hidden = times.length < 4;
      clear.hidden = !times.length && !set;
    }
    shows.push(tell);
    document.addEventListener("keydown", (event) => {
      if (event.key.toLowerCase() !== "t" || event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (!edit.possible || !player.playing || event.target.closest?.("input, textarea, select, [contenteditable='true']")) return;
      tap();
      event.preventDefault();
    });
    return h("div", { class: "rs-row" }, button, use, said, clear);
  }

  // Where the right hand begins, from a time on: "time_s:pitch time_s:pitch ...".
  function splitCurve({ name }) {
    const list = h("ul", { class: "rs-points" });
    const read = () => String(edit.settings[name] || "").split(/\s+/).filter(Boolean).map((point) => point.split(":").map(Number));
    const write_ = (points) => edit.set({ [name]: points.sort((a, b) => a[0] - b[0]).map(([time_s, pitch]) => `${Number(time_s.toFixed(2))}:${pitch}`).join(" ") });
    const addPoint = h("button", { type: "button", class: "rs-button", onclick: () => {
      const [note] = chosen();
      const time_s = note?.onset_s ?? player.time_s, pitch = note?.pitch ?? 60;
      write_([...read().filter(([at]) => Math.abs(at - time_s) > 0.05), [time_s, pitch]]);
    } }, "Right hand from the selected note up");
    shows.push(() => list.replaceChildren(...read().map(([time_s, pitch]) => h("li", {}, `${time_s.toFixed(1)} s: ${nameOf({ pitch })} and up`,
      iconButton("close", "Remove", () => write_(read().filter(([at]) => at !== time_s)))))));
    return h("div", {}, addPoint, list);
  }

  // One choice of an instrument a part: "part=instrument, ...".
  function instruments({ name, instruments: names }) {
    const box = h("div", { class: "rs-parts" });
    const read = () => Object.fromEntries(String(edit.settings[name] || "").split(",").filter((entry) => entry.includes("="))
      .map((entry) => entry.split("=").map((text) => text.trim())));
    shows.push(() => box.replaceChildren(...session.song.parts.filter((part) => !part.percussion).map((part) => {
      const select = h("select", { "aria-label": `Instrument of ${part.name}`, onchange: () => {
        const all = { ...read(), [part.id]: select.value };
        edit.set({ [name]: Object.entries(all).filter(([, instrument]) => instrument).map((pair) => pair.join("=")).join(", ") });
      } }, h("option", { value: "" }, part.name), ...(names || []).map((instrument) => h("option", { value: instrument }, instrument)));
      select.value = read()[part.id] || "";
      return select;
    })));
    return box;
  }

  function defaults() {
    return Object.fromEntries(controls.filter(({ name }) => !/title|composer/.test(name)).map((control) => [control.name, control.default]));
  }

  function show() {
    if (!edit.possible) return;
    const settings = { ...session.song.content.settings, ...edit.settings };
    for (const update of shows) update(settings);
  }

  on("edit", show);
  on("notes", show);
}

// Owns the line that sums up a transcription (title, key, metre, tempo, measures, warnings), and what
// the page says while there is nothing to show yet.

import { h, clock } from "./dom.js";
import { emit, on, session } from "./session.js";

const MAJOR = ["C♭", "G♭", "D♭", "A♭", "E♭", "B♭", "F", "C", "G", "D", "A", "E", "B", "F♯", "C♯"];
const MINOR = ["A♭", "E♭", "B♭", "F", "C", "G", "D", "A", "E", "B", "F♯", "C♯", "G♯", "D♯", "A♯"];

export function keyName({ fifths, mode }) {
  return `${(mode === "minor" ? MINOR : MAJOR)[fifths + 7]} ${mode}`;
}

export function mount({ element }) {
  const title = h("h2", { class: "rs-title" });
  const facts = h("dl", { class: "rs-facts" });
  const warnings = h("ul", { class: "rs-warnings" });
  const hint = h("p", { class: "rs-hint" }, "An example. Press play, slide from the recording to the transcription, " +
    "click on a note; then choose your own recording.");
  const line = h("div", { class: "rs-summary", hidden: true }, title, facts, warnings, hint);
  const welcome = h("div", { class: "rs-welcome" },
    h("h2", {}, "From a recording to the music stand"),
    h("p", {}, "Choose a recording, say what plays in it, and press Transcribe. You will hear its instruments apart, " +
      "see every note over time, and read it as a score that you can print or open in your notation program."));
  element.append(welcome, line);

  const otherwise = h("button", { type: "button", class: "rs-otherwise", title: "Other ways to count it", "aria-label": "Other ways to count it",
    onclick: () => emit("room", "notation") }, "or …");
  const fact = (name, ...value) => value[0] && facts.append(h("div", {}, h("dt", {}, name), h("dd", {}, ...value)));

  function show() {
    const { snapshot, song, tracks } = session;
    welcome.hidden = Boolean(session.job);
    line.hidden = !session.job;
    hint.hidden = !session.example;
    title.textContent = snapshot?.title || "";
    facts.replaceChildren();
    warnings.replaceChildren();
    const content = song?.content || {};
    if (content.keys) fact("Key", list(content.keys.map(keyName)));
    const byFile = content.grid?.stated && h("span", { class: "rs-key" }, " (the file's)");
    if (content.time_signatures) fact("Metre", list(content.time_signatures.map((t) => `${t.numerator}/${t.denominator}`)), byFile || (content.score ? otherwise : ""));
    const tempo = content.tempi?.[0];
    if (tempo) fact("Tempo", `${content.tempi.length > 1 ? "from " : ""}${Math.round(tempo.bpm)} BPM`);
    const measures = content.score?.measures || song?.measures || []; // before there is a score, those that the beats make
    if (measures.length) fact("Measures", String(measures.filter((m) => m.number > 0).length));
    const { left, total } = session.doubtful || {};
    if (total && left) fact("Doubtful", `${left} of ${total} measures to check`, h("span", { class: "rs-key" }, " (N)"));
    else if (total) fact("Doubtful", "all checked");
    if (song) fact("Notes", song.notes.length.toLocaleString());
    // What rescored plays rings on for a while; a recording's own length counts from the begin of the passage.
    const whole_s = content.source?.duration_s - tracks?.begin_s;
    if (tracks) fact("Length", clock(Math.min(tracks.duration_s, whole_s || tracks.duration_s)));
    for (const warning of content.warnings || []) warnings.append(h("li", {}, warning));
  }

  for (const name of ["open", "snapshot", "tracks", "notes", "doubtful"]) on(name, show);
  show();
}

function list(items) {
  const different = items.filter((item, index) => item !== items[index - 1]);
  return different.length > 3 ? `${different.slice(0, 3).join(", ")} …` : different.join(", ");
}

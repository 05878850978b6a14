// Owns the line that says how the job stands: stage in words, fraction, time left, cancel, failure.

import { h, iconButton, inWords } from "./dom.js";
import { on, open, session } from "./session.js";

const PHONE = 820; // as in workbench.css: the results lie below the choices

export function mount({ element, props, trigger, watch }) {
  const text = h("span", { class: "rs-progress-text" });
  const left = h("span", { class: "rs-progress-left" });
  const bar = h("div", { class: "rs-bar-fill" });
  const track = h("div", { class: "rs-bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", "aria-label": "Progress" }, bar);
  const cancel = iconButton("close", "Stop this transcription", () => trigger("cancel_job", { job: session.job }));
  const line = h("div", { class: "rs-progress", hidden: true, "aria-live": "polite" }, h("div", { class: "rs-progress-line" }, text, left, cancel), track);
  element.append(line);

  function show(snapshot) {
    const running = snapshot.state === "queued" || snapshot.state === "running";
    line.hidden = snapshot.state === "done";
    line.dataset.state = snapshot.state;
    track.hidden = !running;
    cancel.hidden = !running || session.example; // an example is nobody's to stop
    left.textContent = "";
    if (snapshot.state === "queued") {
      text.textContent = snapshot.place > 1 ? `Waiting: place ${snapshot.place} in the queue` : "Next in the queue";
    } else if (snapshot.state === "running") {
      text.textContent = snapshot.text || "Beginning";
      left.textContent = snapshot.left_s == null ? "" : `${inWords(snapshot.left_s)} left`;
    } else if (snapshot.state === "failed") {
      text.textContent = `${snapshot.problem} ${snapshot.remedy}`;
    } else if (snapshot.state === "cancelled") {
      text.textContent = "Stopped. What was finished is kept: transcribe again to go on from there.";
    }
    const percent = Math.round(100 * snapshot.fraction);
    bar.style.width = `${percent}%`;
    track.setAttribute("aria-valuenow", percent);
  }

  let news = false; // the job was asked for just now, or seen running: its failure is said aloud
  on("snapshot", (snapshot) => {
    show(snapshot);
    if (snapshot.state === "failed" && news) trigger("job_failed", { job: snapshot.job });
    news = snapshot.state === "queued" || snapshot.state === "running";
  });
  on("open", (job) => {
    line.hidden = true;
    line.dataset.state = "";
    news = Boolean(props.value?.new);
    if (job && !session.example && innerWidth <= PHONE) element.closest("#rs-bench").scrollIntoView();
  });
  on("gone", () => {
    line.hidden = false;
    line.dataset.state = "failed";
    cancel.hidden = track.hidden = true;
    text.textContent = "This transcription is not on the server any more.";
  });
  const follow = () => open(props.value?.job || "", props.value?.example);
  watch("value", follow);
  follow();
}

// Owns the list of one's transcriptions: open one again, delete one with all its files.

import { h, iconButton } from "./dom.js";
import { on, session } from "./session.js";

const STATES = { queued: "waiting", running: "running", failed: "failed", cancelled: "stopped" };

export function mount({ element, props, trigger, watch }) {
  const list = h("ul", { class: "rs-recents" });
  const heading = h("h3", {}, "Recent");
  const note = h("p", { class: "rs-note" });
  const box = h("section", { hidden: true, "aria-label": "Recent transcriptions" }, heading, list, note);
  element.append(box);

  function show() {
    const { jobs = [], keep_days } = props.value || {};
    box.hidden = keep_days === undefined;
    heading.hidden = !jobs.length;
    note.textContent = `What you transcribe is kept for ${keep_days} days, then deleted. You can delete it at any time.`;
    list.replaceChildren(...jobs.map(({ job, title, asked_at, state }) => {
      const now = job === session.job && session.snapshot ? session.snapshot : { state, title };
      const when = new Date(asked_at * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
      const detail = STATES[now.state] ? `${when}, ${STATES[now.state]}` : when;
      return h("li", { "aria-current": job === session.job ? "true" : null },
        h("button", { type: "button", class: "rs-recent", onclick: () => trigger("open_job", { job }) },
          h("span", {}, now.title || title || "Untitled"), h("small", {}, detail)),
        iconButton("bin", `Delete ${title || "this transcription"} and all its files`, () => trigger("delete_job", { job })));
    }));
  }

  let shown = "";
  on("open", show);
  on("snapshot", ({ state, title }) => {
    if (shown !== state + title) show();
    shown = state + title;
  });
  watch("value", show);
  show();
}

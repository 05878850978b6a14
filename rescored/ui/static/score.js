// Owns the engraved score: pages fetched when they come into sight, the playhead on the staves, clicks on
// noteheads, which sound and are selected, and what can be done with them. Noteheads carry the ids of the notes
// they were made from. A score that is written anew comes page by page into the place of the old one.

import { actions, can, hear } from "./actions.js";
import { h, icon, iconButton, write } from "./dom.js";
import { edit } from "./edits.js";
import { on, media, select, session } from "./session.js";
import { onFrame, player } from "./player.js";
import { Lights } from "./score_lights.js";

const NEAR_PX = 14, SAME_SYSTEM_PX = 120;
const NOTHING = [];
const ZOOMS = [0.5, 0.65, 0.8, 1, 1.25, 1.6, 2];

// The note's id from the id of any of its noteheads (output/ids.py writes them).
export function noteId(elementId) {
  const base = elementId.replace(/-t\d+$/, "");
  return base.startsWith("id-") ? base.slice(3).replace(/_([0-9a-f]+)_/g, (_, code) => String.fromCodePoint(parseInt(code, 16))) : base;
}

export function mount({ element }) {
  const pages = h("div", { class: "rs-pages" });
  const head = h("div", { class: "rs-score-head", hidden: true });
  const scroller = h("div", { class: "rs-score", tabindex: "0", "aria-label": "Score" }, pages);
  const number = h("span", { class: "rs-page-number" });
  let zoom = 3, follow = true;
  const followButton = iconButton("follow", "Follow the playhead", () => { follow = !follow; followButton.setAttribute("aria-pressed", follow); }, { "aria-pressed": "true" });
  const handles = actions.map((action) => {
    const label = `${action.label} (${action.keys})`;
    return { action, button: h("button", { type: "button", class: "rs-iconbutton", "aria-label": label, title: label,
      "data-action": action.id, onclick: () => action.run() }, action.icon ? icon(action.icon) : action.text) };
  });
  const editing = h("div", { class: "rs-tools rs-editing", role: "toolbar", "aria-label": "Selected notes", hidden: true },
    ...handles.map(({ button }) => button));
  const tools = h("div", { class: "rs-tools" }, editing, number, iconButton("minus", "Smaller", () => setZoom(zoom - 1)),
    iconButton("plus", "Larger", () => setZoom(zoom + 1)), followButton);
  const box = h("section", { class: "rs-panel", hidden: true, "aria-label": "Score" }, h("header", {}, h("h3", {}, "Score"), tools), scroller);
  element.append(box);

  let heads = new Map(); // note id -> its noteheads on the pages that are drawn
  let places = new Map(); // note id -> {page, system, x, top, bottom, right} of its first notehead, in shares of the page
  let lights = new Lights(), litFor = null, selected = [];
  let offsets = []; // of the pages in the scroller, in pixels

  function setZoom(index) {
    zoom = Math.min(ZOOMS.length - 1, Math.max(0, index));
    pages.style.width = `${100 * ZOOMS[zoom]}%`;
  }

  const observer = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) draw(target);
  }, { root: scroller, rootMargin: "100% 0%" });

  // `first`: {page, svg} of a score that was written anew; what is on the screen stays until it is drawn again.
  function show(first) {
    const before = first ? [...pages.querySelectorAll(".rs-page")].map((page) => page.querySelector("svg")) : [];
    const top = first ? scroller.scrollTop : 0;
    observer.disconnect();
    pages.replaceChildren(head);
    heads = new Map();
    places = new Map();
    lights = new Lights();
    selected = [];
    litFor = span = null;
    if (!first) marked = null;
    box.hidden = !session.score;
    if (!session.score) return;
    const sizes = session.score.pages, count = sizes.length;
    for (let n = 1; n <= count; n++) {
      const page = h("div", { class: "rs-page", "data-page": n, role: "group", "aria-label": `Page ${n} of ${count}` });
      page.style.aspectRatio = sizes[n - 1].join(" / ");
      if (before[n - 1]) page.append(before[n - 1]);
      pages.append(page);
      if (n === first?.page) fill(page, first.svg);
      else observer.observe(page);
    }
    scroller.scrollTop = top;
    measurePages();
    showNumber();
  }

  function draw(page) {
    page.dataset.drawn ||= "asked";
    return (page.asked ||= fetchPage(page));
  }

  async function fetchPage(page) {
    const answer = await fetch(media(`${session.layout}/${page.dataset.page}.svg`));
    const text = answer.ok && (await answer.text());
    if (text && page.isConnected) fill(page, text);
  }

  function fill(page, text) {
    const svg = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    const box = svg.getAttribute("viewBox")?.split(" ");
    if (box) page.style.aspectRatio = `${box[2]} / ${box[3]}`;
    page.replaceChildren(document.importNode(svg, true));
    page.dataset.drawn = "yes";
    page.asked ||= Promise.resolve();
    for (const group of page.querySelectorAll("g.note")) {
      const id = noteId(group.id);
      heads.set(id, [...(heads.get(id) || []), group]);
    }
    measurePages();
    survey(page);
    litFor = null;
    mark();
    if (marked) markMeasure(page);
  }

  // Where the noteheads of a page are, read once: while it plays, nothing is asked of the layout.
  function survey(page) {
    const origin = page.getBoundingClientRect();
    const share = ({ x, y }) => ({ x: (x - origin.x) / origin.width, y: (y - origin.y) / origin.height });
    for (const system of page.querySelectorAll("g.system")) {
      const staves = [...system.querySelectorAll("g.staff > path")].map((path) => path.getBoundingClientRect());
      if (!staves.length) continue;
      const top = share({ x: 0, y: Math.min(...staves.map((r) => r.top)) }).y;
      const { x: right, y: bottom } = share({ x: Math.max(...staves.map((r) => r.right)), y: Math.max(...staves.map((r) => r.bottom)) });
      for (const group of system.querySelectorAll("g.note")) {
        const id = noteId(group.id);
        if (places.has(id)) continue;
        const head = (group.querySelector(".notehead") || group).getBoundingClientRect();
        places.set(id, { page, system, top, bottom, right, x: share({ x: head.x + head.width / 2, y: 0 }).x });
      }
    }
  }

  function measurePages() {
    offsets = [...pages.querySelectorAll(".rs-page")].map((page) =>
      ({ page, left: page.offsetLeft, top: page.offsetTop, width: page.clientWidth, height: page.clientHeight }));
  }

  function showNumber() {
    const { score } = session;
    if (!score) return;
    const middle = scroller.scrollTop + scroller.clientHeight / 2;
    const at = offsets.filter(({ top }) => top <= middle).length;
    write(number, `page ${Math.max(1, at)} of ${score.pages.length}`);
  }

  // The playhead: from the noteheads that sound last to those that come next, on the same system.
  function placeOf(notes) {
    const place = notes.map((note) => places.get(note.id)).find(Boolean);
    const at = place && offsets[Number(place.page.dataset.page) - 1];
    if (!at) return null;
    return { system: place.system, x: at.left + place.x * at.width, right: at.left + place.right * at.width,
      top: at.top + place.top * at.height, bottom: at.top + place.bottom * at.height };
  }

  let span = null; // {from_s, to_s, x0, x1, top, bottom, system}
  function findSpan(time_s) {
    const { song } = session;
    const after = song.from(time_s + 1e-3);
    const onset_s = song.notes[after - 1]?.onset_s;
    if (onset_s === undefined) return null;
    const now = song.notes.slice(song.from(onset_s - 0.03), after);
    const next = song.notes.slice(after, after + 12).filter((note) => note.onset_s < (song.notes[after]?.onset_s ?? 0) + 0.03);
    const here = placeOf(now);
    if (!here) return null;
    const there = next.length ? placeOf(next) : null;
    const onward = there && there.system === here.system && there.x >= here.x;
    return { from_s: onset_s, to_s: next[0]?.onset_s ?? onset_s + 1, x0: here.x, x1: onward ? there.x : here.right, ...here };
  }

  function followScore(time_s) {
    if (box.hidden || !session.song) return;
    const sounding = player.playing || time_s > player.begin_s ? session.song.at(time_s) : NOTHING;
    if (sounding !== litFor || !span || time_s < span.from_s || time_s >= span.to_s) {
      if (sounding !== litFor) light(sounding);
      span = findSpan(time_s);
      if (!span) turnTo(time_s);
      else if (follow && player.playing) keepInSight(span);
    }
    if (head.hidden !== !span) head.hidden = !span;
    if (!span) return;
    const share = Math.min(1, Math.max(0, (time_s - span.from_s) / Math.max(span.to_s - span.from_s, 1e-3)));
    head.style.transform = `translate(${span.x0 + share * (span.x1 - span.x0)}px, ${span.top - 6}px)`;
    const tall = `${Math.round(span.bottom - span.top + 12)}px`;
    if (head.style.height !== tall) head.style.height = tall;
  }

  function light(sounding) {
    lights.show(sounding.flatMap((note) => heads.get(note.id) || []));
    litFor = sounding;
  }

  function keepInSight({ top, bottom }) {
    const view = scroller.clientHeight;
    if (top < scroller.scrollTop || bottom > scroller.scrollTop + view) scroller.scrollTo({ top: Math.max(0, top - 0.15 * view), behavior: "smooth" });
  }

  // The note's page is not drawn yet: scroll there, and it will be.
  function turnTo(time_s) {
    if (!follow || !player.playing || !session.score) return;
    const note = session.song.notes[session.song.from(time_s) - 1];
    const page = note && session.score.page_of[note.id];
    const target = page && pages.querySelector(`[data-page="${page}"]`);
    if (target && !target.dataset.drawn) scroller.scrollTo({ top: target.offsetTop });
  }

  function mark() {
    for (const group of selected) group.classList.remove("selected");
    selected = [...session.selection].flatMap((id) => heads.get(id) || []);
    for (const group of selected) group.classList.add("selected");
  }

  let marked = null; // the number of the measure that is looked at
  function markMeasure(page) {
    const old = page.querySelector(".rs-measure-mark");
    old?.remove();
    const measure = page.querySelector(`[id="measure-${marked}"]`);
    if (!measure) return null;
    const staves = [...measure.querySelectorAll(":scope > g.staff")].map((staff) => staff.getBBox());
    if (!staves.length) return null;
    const left = Math.min(...staves.map((b) => b.x)), right = Math.max(...staves.map((b) => b.x + b.width));
    const top = Math.min(...staves.map((b) => b.y)), bottom = Math.max(...staves.map((b) => b.y + b.height));
    const mark = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [name, value] of Object.entries({ x: left, y: top, width: right - left, height: bottom - top })) mark.setAttribute(name, value);
    mark.classList.add("rs-measure-mark");
    measure.prepend(mark);
    return mark;
  }

  async function reveal(number) {
    for (const old of pages.querySelectorAll(".rs-measure-mark")) old.remove();
    marked = number;
    const note = session.song?.notes.find((one) => one.measure === number);
    const page = note && session.score && pages.querySelector(`[data-page="${session.score.page_of[note.id]}"]`);
    if (!page) return;
    await draw(page);
    const mark = markMeasure(page);
    if (!mark) return;
    const box = mark.getBoundingClientRect(), view = scroller.getBoundingClientRect();
    if (box.top < view.top || box.bottom > view.bottom) scroller.scrollBy({ top: box.top - view.top - 0.2 * view.height });
  }

  function showEditing() {
    editing.hidden = !edit.possible || !session.selection.size;
    if (!editing.hidden) for (const { action, button } of handles) button.disabled = !can(action);
  }

  // The page that is to be there first when the score is written anew: where the selected note is, or what is in sight.
  edit.visiblePage = () => {
    const middle = scroller.scrollTop + scroller.clientHeight / 2;
    const place = places.get(session.selected);
    return place ? Number(place.page.dataset.page) : Math.max(1, offsets.filter(({ top }) => top <= middle).length);
  };

  // A click selects the notehead under it or next to it, and else seeks to the nearest note of the measure.
  pages.addEventListener("click", ({ target, clientX, clientY, shiftKey, ctrlKey, metaKey }) => {
    const within = target.closest("g.note") || target.closest("g.measure") || target.closest(".rs-page"); // a half note is hollow
    const groups = within?.matches("g.note") ? [within] : [...(within?.querySelectorAll("g.note") || [])];
    const found = groups.map((group) => {
      const box = (group.querySelector(".notehead") || group).getBoundingClientRect();
      const dx = Math.abs(box.left + box.width / 2 - clientX), dy = Math.abs(box.top + box.height / 2 - clientY);
      return { id: noteId(group.id), dx, far: Math.hypot(dx, dy), hit: groups.length === 1 || Math.hypot(dx, dy) < NEAR_PX };
    }).filter(({ far }) => far < SAME_SYSTEM_PX).sort((one, other) => other.hit - one.hit || (one.hit ? one.far - other.far : one.dx - other.dx))[0];
    const note = found && session.song?.byId.get(found.id);
    if (!note) return;
    if (found.hit && (shiftKey || ctrlKey || metaKey)) {
      select(session.selection.has(note.id) ? [...session.selection].filter((id) => id !== note.id) : [...session.selection, note.id], "score");
    } else {
      select(found.hit ? note.id : "", "score");
      player.seek(note.onset_s);
    }
    if (found.hit && !player.playing) hear([note]);
  });
  scroller.addEventListener("scroll", showNumber, { passive: true });
  new ResizeObserver(() => {
    span = null;
    measurePages();
    showNumber();
  }).observe(pages);

  on("open", () => show());
  on("score", show);
  on("edit", showEditing);
  on("reveal", ({ number }) => reveal(number));
  on("select", async ({ id, from }) => {
    showEditing();
    const page = session.score && pages.querySelector(`[data-page="${session.score.page_of[id]}"]`);
    if (page && from !== "score") await draw(page);
    mark();
    if (from !== "score" && selected.length) {
      const place = placeOf([{ id }]);
      if (place) keepInSight(place);
    }
  });
  onFrame(scroller, followScore);
}

// Owns the engraved score: pages fetched when they come into sight, the playhead on the staves, and
// clicks on noteheads. Noteheads carry the ids of the notes they were made from.

import { h, iconButton, write } from "./dom.js";
import { on, media, select, session } from "./session.js";
import { onFrame, player } from "./player.js";
import { Lights } from "./score_lights.js";

const NEAR_PX = 14;
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
  const tools = h("div", { class: "rs-tools" }, number, iconButton("minus", "Smaller", () => setZoom(zoom - 1)),
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

  function show() {
    observer.disconnect();
    pages.replaceChildren(head);
    heads = new Map();
    places = new Map();
    lights = new Lights();
    selected = [];
    litFor = span = null;
    box.hidden = !session.score;
    if (!session.score) return;
    const sizes = session.score.pages, count = sizes.length;
    for (let n = 1; n <= count; n++) {
      const page = h("div", { class: "rs-page", "data-page": n, role: "group", "aria-label": `Page ${n} of ${count}` });
      page.style.aspectRatio = sizes[n - 1].join(" / ");
      pages.append(page);
      observer.observe(page);
    }
    scroller.scrollTop = 0;
    measurePages();
    showNumber();
  }

  async function draw(page) {
    if (page.dataset.drawn) return;
    page.dataset.drawn = "asked";
    const answer = await fetch(media(`${session.layout}/${page.dataset.page}.svg`));
    if (!answer.ok || !page.isConnected) return;
    const svg = new DOMParser().parseFromString(await answer.text(), "image/svg+xml").documentElement;
    page.replaceChildren(document.importNode(svg, true));
    page.dataset.drawn = "yes";
    for (const group of page.querySelectorAll("g.note")) {
      const id = noteId(group.id);
      heads.set(id, [...(heads.get(id) || []), group]);
    }
    survey(page);
    litFor = null;
    mark(session.selected);
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

  function mark(id) {
    for (const group of selected) group.classList.remove("selected");
    selected = heads.get(id) || [];
    for (const group of selected) group.classList.add("selected");
  }

  // A click selects the notehead under it or next to it, and else seeks to the nearest note of the measure.
  pages.addEventListener("click", ({ target, clientX, clientY }) => {
    const groups = target.closest("g.note") ? [target.closest("g.note")] : [...(target.closest("g.measure")?.querySelectorAll("g.note") || [])];
    const found = groups.map((group) => {
      const box = (group.querySelector(".notehead") || group).getBoundingClientRect();
      const dx = Math.abs(box.left + box.width / 2 - clientX), dy = Math.abs(box.top + box.height / 2 - clientY);
      return { id: noteId(group.id), dx, hit: groups.length === 1 || Math.hypot(dx, dy) < NEAR_PX };
    }).sort((one, other) => other.hit - one.hit || one.dx - other.dx)[0];
    const note = found && session.song?.byId.get(found.id);
    if (!note) return;
    select(found.hit ? note.id : "", "score");
    player.seek(note.onset_s);
  });
  scroller.addEventListener("scroll", showNumber, { passive: true });
  new ResizeObserver(() => {
    span = null;
    measurePages();
    showNumber();
  }).observe(pages);

  on("open", show);
  on("score", show);
  on("select", async ({ id, from }) => {
    const page = session.score && pages.querySelector(`[data-page="${session.score.page_of[id]}"]`);
    if (page && from !== "score") await draw(page);
    mark(id);
    if (from !== "score" && selected.length) {
      const place = placeOf([{ id }]);
      if (place) keepInSight(place);
    }
  });
  onFrame(scroller, followScore);
}

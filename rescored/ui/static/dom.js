// Small helpers for every panel: elements without markup strings, icons, times in words.
// Text from outside (titles, names) only ever goes through textContent.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

const PATHS = {
  play: "M7 4v16l13-8z",
  pause: "M6 4h4v16H6zM14 4h4v16h-4z",
  start: "M6 5h2v14H6zM20 5v14L9 12z",
  loop: "M7 7h9V3l6 6-6 6v-4H9v4H5V9a2 2 0 0 1 2-2zM17 17H8v4l-6-6 6-6v4h7V9h4v6a2 2 0 0 1-2 2z",
  earlier: "M15.500 5 8 12l7.500 7z",
  later: "M8.500 5 16 12l-7.500 7z",
  minus: "M5 11h14v2H5z",
  plus: "M11 5h2v6h6v2h-6v6h-2v-6H5v-2h6z",
  fit: "M3 5h2v14H3zM19 5h2v14h-2zM7 12l4-4v3h2V8l4 4-4 4v-3h-2v3z",
  follow: "M11 2h2v20h-2zM15 8l5 4-5 4z",
  bin: "M9 3h6l1 2h4v2H4V5h4zM6 9h12l-1 12H7z",
  file: "M6 2h8l5 5v15H6zM13 3.5V8h4.5z",
  close: "M6 4.6 12 10.6 18 4.6 19.4 6 13.4 12 19.4 18 18 19.4 12 13.4 6 19.4 4.6 18 10.6 12 4.6 6z",
  undo: "M9 5 3 10.5 9 16v-4h6a4 4 0 0 1 0 8h-4v2h4a6 6 0 0 0 0-12H9z",
  redo: "M15 5l6 5.5-6 5.5v-4H9a4 4 0 0 0 0 8h4v2H9A6 6 0 0 1 9 10h6z",
  tune: "M4 6h9V4h2v6h-2V8H4zM17 6h3v2h-3zM4 11h3V9h2v6H7v-2H4zM11 11h9v2h-9zM4 16h9v-2h2v6h-2v-2H4zM17 16h3v2h-3z",
  doubt: "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20zm-1 14h2v2h-2zm1-10a4 4 0 0 1 4 4c0 2.5-3 2.7-3 5h-2c0-3.300 3-3.400 3-5a2 2 0 0 0-4 0H8a4 4 0 0 1 4-4z",
  note: "M10 3v10.600A4 3.400 0 1 0 12 16.500V8h5V3z",
  check: "M9.500 18.500 3.500 12.500l1.500-1.500 4.500 4.500L19 6l1.500 1.500z",
  pen: "M4 20l1-5L16 4l4 4L9 19zM6 16l2 2",
  cut: "M11 3h2v18h-2zM3 9h6v6H3zM15 9h6v6h-6z",
  join: "M3 9h18v6H3zM11 3h2v4h-2zM11 17h2v4h-2z",
  theme: "M12 3a9 9 0 1 0 9 9 7 7 0 0 1-9-9z",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("rs-icon");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

// A button that shows an icon; `label` is read aloud and shown on hovering.
export function iconButton(name, label, onclick, attributes = {}) {
  return h("button", { type: "button", class: "rs-iconbutton", "aria-label": label, title: label, onclick, ...attributes },
    icon(name));
}

export function clock(seconds, decimals = 0) {
  const s = Math.max(0, seconds || 0);
  const rest = (s % 60).toFixed(decimals).padStart(decimals ? 3 + decimals : 2, "0");
  return `${Math.floor(s / 60)}:${rest}`;
}

export function inWords(seconds) {
  if (seconds < 5) return "a few seconds";
  if (seconds < 55) return `about ${Math.ceil(seconds / 5) * 5} seconds`;
  const minutes = Math.round(seconds / 60);
  return minutes <= 1 ? "about a minute" : `about ${minutes} minutes`;
}

// Sets an element's text if it is not that already: the same text again would still be laid out again.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A value of the theme, for drawing on a canvas.
export function themed(element, name) {
  return getComputedStyle(element).getPropertyValue(name).trim();
}

// Calls back when the page turns dark or light.
export function onTheme(callback) {
  new MutationObserver(callback).observe(document.body, { attributes: true, attributeFilter: ["class"] });
}

// A canvas as sharp as the screen; `resized(width, height)` in CSS pixels.
export function sharpCanvas(canvas, resized) {
  const fit = () => {
    const { width, height } = canvas.getBoundingClientRect();
    if (!width || !height) return;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    resized(width, height);
  };
  new ResizeObserver(fit).observe(canvas);
  fit();
}

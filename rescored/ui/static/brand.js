// Owns the name at the top and the switch between light and dark.

import { h, iconButton } from "./dom.js";

const KEY = "rescored-theme";

export function mount({ element }) {
  const set = (dark) => document.body.classList.toggle("dark", dark);
  const kept = localStorage.getItem(KEY);
  if (kept) set(kept === "dark");
  const toggle = iconButton("theme", "Light or dark", () => {
    const dark = !document.body.classList.contains("dark");
    set(dark);
    localStorage.setItem(KEY, dark ? "dark" : "light");
  });
  element.append(h("div", { class: "rs-brand" },
    h("div", {}, h("h1", {}, "rescored"), h("p", {}, "a recording in, sheet music out")), toggle));
}

// Owns the colour of the notes that sound: copies of their noteheads on a sheet of glass above the page.
// Colouring the page itself would have the browser paint the whole page again for every note.

const SHOWN = "playing";

export class Lights {
  constructor() {
    this.glass = new Map(); // page -> the group on its glass that holds the copies
    this.copies = new Map(); // notehead -> its copy
    this.lit = new Set(); // pages
  }

  // Lights these noteheads and no others.
  show(heads) {
    const byPage = new Map([...this.lit].map((page) => [page, []]));
    for (const head of heads) {
      const page = head.closest(".rs-page");
      if (!page) continue; // drawn anew meanwhile
      if (!byPage.has(page)) byPage.set(page, []);
      byPage.get(page).push(this.copyOf(head));
    }
    for (const [page, copies] of byPage) this.glassOf(page).replaceChildren(...copies);
    this.lit = new Set([...byPage].filter(([, copies]) => copies.length).map(([page]) => page));
  }

  copyOf(head) {
    if (!this.copies.has(head)) {
      const copy = head.cloneNode(true);
      copy.dataset.note = head.id;
      for (const element of [copy, ...copy.querySelectorAll("[id]")]) element.removeAttribute("id");
      copy.classList.add(SHOWN);
      this.copies.set(head, copy);
    }
    return this.copies.get(head);
  }

  glassOf(page) {
    if (!this.glass.get(page)?.isConnected) {
      const margin = page.querySelector("g.page-margin");
      let glass = margin.cloneNode(false);
      this.glass.set(page, glass);
      for (let around = margin.parentElement; around !== page; around = around.parentElement) {
        const shell = around.cloneNode(false);
        shell.append(glass);
        glass = shell;
      }
      glass.classList.add("rs-glass");
      glass.setAttribute("aria-hidden", "true");
      page.append(glass);
    }
    return this.glass.get(page);
  }
}

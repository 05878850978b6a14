"""How the page feels: smoothness with 5,000 notes, how soon an edit is in the score and there is sound, weight.

A real server and a real browser (Debian's Chromium without a GPU: the processor does all drawing).
`make bench-page` prints a table of what was measured and what it should be.
"""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pretty_midi
from playwright.sync_api import sync_playwright
from served import CHROMIUM, FLAGS, Server, until

from rescored.examples import performance

NOTES, SECONDS, BPM = 5000, 180.0, 120.0
PLAY_MS, STEP_MS, JOB_MS = 10_000, 60_000, 600_000
EDITS = 9

# When each frame came, and what all its callbacks took.
WATCH_FRAMES = """(() => {
    const ask = window.requestAnimationFrame.bind(window);
    window.framesSeen = [];
    window.requestAnimationFrame = (callback) => ask((now) => {
        const began = performance.now();
        callback(now);
        const took = performance.now() - began, last = window.framesSeen.at(-1);
        if (last && last.at === now) last.took += took;
        else window.framesSeen.push({ at: now, took });
    });
})()"""

ALL = "all of it in sight"

Row = tuple[str, str, str]


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        server = Server(folder)
        server.start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            rows = measure(browser, server, folder)
        finally:
            browser.close()
            server.stop()
    print(f"\n## Page (load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)\n")
    print("| | measured | target |\n|---|--:|--:|")
    for what, measured, target in rows:
        print(f"| {what} | {measured} | {target} |")


def measure(browser: Any, server: Server, folder: Path) -> list[Row]:
    """All rows, in the order of a visit."""
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    page.set_default_timeout(STEP_MS)
    page.add_init_script(WATCH_FRAMES)
    page.goto(server.url)
    page.locator(".rs-brand").wait_for()
    page.locator("#rs-examples button", has_text="Ode").click()
    page.locator(".rs-page svg g.note").first.wait_for(timeout=JOB_MS)
    rows = weight(browser, server)
    transcribe(page, write_dense(folder / "Dense.mid"))
    rows += [*frames(page, "following"), *frames(page, ALL), *first_sound(page)]
    transcribe(page, write_minuet(folder / "Minuet.mid"))
    return rows + edits(page)


def write_dense(path: Path) -> Path:
    """Three minutes of sixteenths in chords of three and four, for both hands: 5,000 notes."""
    midi = pretty_midi.PrettyMIDI(initial_tempo=BPM)
    piano = pretty_midi.Instrument(0)
    step_s = 60 / BPM / 4
    scale = [0, 2, 4, 5, 7, 9, 11]
    for i in range(NOTES):
        slot = i * int(SECONDS / step_s) // NOTES
        degree = slot % 14 + 2 * (i % 4)
        pitch = (36, 43, 67, 72)[i % 4] + 12 * (degree // 7 % 2) + scale[degree % 7]
        piano.notes.append(pretty_midi.Note(50 + i % 4 * 15, pitch, slot * step_s, (slot + 0.9) * step_s))
    midi.instruments.append(piano)
    midi.write(str(path))
    return path


def write_minuet(path: Path) -> Path:
    """The Minuet in G four times, as performed: three minutes."""
    played = performance("minuet")
    midi = pretty_midi.PrettyMIDI()
    piano = pretty_midi.Instrument(0)
    for repeat in range(4):
        begin_s = repeat * played.duration_s
        piano.notes += [pretty_midi.Note(n.velocity, n.pitch, begin_s + n.onset_s, begin_s + n.offset_s)
                        for n in played.notes]
    midi.instruments.append(piano)
    midi.write(str(path))
    return path


def transcribe(page: Any, file: Path) -> None:
    """Upload a file, and wait for its score."""
    page.set_input_files("#rs-file input[type=file]", file)
    page.locator("#rs-file .file-preview").wait_for()
    page.click("#rs-transcribe")
    page.locator(".rs-title", has_text=file.stem).wait_for(timeout=JOB_MS)
    page.locator(".rs-progress[data-state=done]").wait_for(state="attached", timeout=JOB_MS)
    page.locator(".rs-page svg g.note").first.wait_for()


def frames(page: Any, how: str) -> list[Row]:
    """Time from frame to frame while it plays, and what of it our own code takes."""
    page.keyboard.press("Home")
    if how == ALL:
        page.get_by_role("button", name="Show all of it").click()
    page.locator(".rs-play").click()
    until(page, "player.time_s > 1")
    seen = page.evaluate(f"""async () => {{
        window.framesSeen = [];
        await new Promise((over) => setTimeout(over, {PLAY_MS}));
        return window.framesSeen; }}""")
    page.locator(".rs-play").click()
    gaps = sorted(later["at"] - frame["at"] for frame, later in itertools.pairwise(seen))
    took = sorted(frame["took"] for frame in seen)
    return [(f"frame while playing {NOTES:,} notes, {how}: median / 95 % / worst",
             f"{statistics.median(gaps):.1f} / {high(gaps):.1f} / {gaps[-1]:.1f} ms", "95 % < 16.7 ms"),
            ("... of it our own code", f"{statistics.median(took):.2f} / {high(took):.2f} / {took[-1]:.2f} ms", "")]


def edits(page: Any) -> list[Row]:
    """From an edit to the score that is drawn anew, all over the piece."""
    until(page, "edit.possible")
    taken = sorted(page.evaluate(f"""async (count) => {{
        const [{{session, on}}, {{edit}}] = await Promise.all(
            ['session', 'edits'].map((name) => import(`./workbench/${{name}}.js`)));
        let drawn = () => {{}};
        on('score', () => requestAnimationFrame(() => drawn()));
        const taken = [];
        for (let i = 0; i < count; i++) {{
            const {{notes}} = session.song, began = performance.now();
            const written = new Promise((resolve, reject) => {{ drawn = resolve; setTimeout(reject, {STEP_MS}); }});
            edit.move([notes[Math.floor(((i + 0.5) / count) * notes.length)].id], 0, 1);
            await written;
            taken.push((performance.now() - began) / 1000);
        }}
        return taken; }}""", EDITS))
    return [("from an edit to the new score, a three-minute piece: median / worst",
             f"{statistics.median(taken):.2f} / {taken[-1]:.2f} s", "median < 1 s")]


def first_sound(page: Any) -> list[Row]:
    """From a click on an example that is transcribed already, play pressed as soon as it can be, to the first sound."""
    taken = []
    for _ in range(5):
        page.locator(".rs-recent").first.click()
        page.locator(".rs-title", has_text="Dense").wait_for()
        began = time.perf_counter()
        page.locator("#rs-examples button", has_text="Ode").click()
        page.locator(".rs-title", has_text="Ode").wait_for()
        until(page, "player.tracks.length")
        page.locator(".rs-play").click()
        until(page, "player.time_s > 0")
        taken.append(time.perf_counter() - began)
        page.locator(".rs-play").click()
    return [("from a click on an example to the first sound", f"{statistics.median(taken):.2f} s", "< 2 s")]


def weight(browser: Any, server: Server) -> list[Row]:
    """What a first visit fetches, over the wire, by whose it is."""
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    fetched: list[Any] = []
    page.on("requestfinished", lambda request: fetched.append(request))
    page.goto(server.url)
    page.locator(".rs-page svg g.note").first.wait_for(timeout=STEP_MS)
    page.wait_for_load_state("networkidle")
    sums = {"the workbench's own code": 0, "the example (score, notes, sound)": 0, "Gradio": 0}
    for request in fetched:
        path = request.url.removeprefix(server.url)
        whose = ("the workbench's own code" if path.startswith("workbench/")
                 else "the example (score, notes, sound)" if path.startswith(("media/", "jobs/")) else "Gradio")
        sizes = request.sizes()
        sums[whose] += sizes["responseBodySize"] + sizes["responseHeadersSize"]
    page.context.close()
    return [(f"first visit: {whose}", f"{size / 1000:.0f} kB", "") for whose, size in sums.items()]


def high(values: list[float]) -> float:
    """The 95th percentile of sorted values."""
    return values[min(int(0.95 * len(values)), len(values) - 1)]


if __name__ == "__main__":
    main()

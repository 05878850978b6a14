"""Editing on the page: what is clicked is heard, selected, changed, engraved anew, undone, and there after a reload."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from media import midi, notes_track
from playwright.sync_api import expect
from served import CHROMIUM, Server
from test_page import STEP_MS, finish, job_of, transcribe, until

pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM, reason="no Chromium")]

COUNT_TONES = """window.tones = 0; const start = OscillatorNode.prototype.start;
    OscillatorNode.prototype.start = function (...when) { window.tones += 1; return start.apply(this, when); };"""
SAVED = "import('./workbench/edits.js').then(({ edit }) => edit.possible && !edit.saving)"


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve measures for two hands."""
    melody = [72, 74, 76, 77, 79, 77, 76, 74] * 6
    notes = [(240 * k, 220, pitch, 80) for k, pitch in enumerate(melody)]
    notes += [(960 * k, 900, pitch, 70) for k, pitch in enumerate([48, 43, 45, 48] * 3)]
    path = tmp_path_factory.mktemp("song") / "Two hands.mid"
    path.write_bytes(midi(notes_track(sorted(notes))))
    return path


@pytest.fixture(scope="module")
def page(server: Server, browser: Any, song: Path) -> Iterator[Any]:
    page = browser.new_context(viewport={"width": 1500, "height": 1000}, accept_downloads=True).new_page()
    page.mishaps = []
    page.on("pageerror", lambda error: page.mishaps.append(str(error)))
    page.on("response", lambda answer: answer.status >= 400 and page.mishaps.append(answer.url))
    page.set_default_timeout(STEP_MS)
    page.add_init_script(COUNT_TONES)
    page.goto(server.url)
    page.locator(".rs-brand").wait_for()
    transcribe(page, song, "A piano alone")
    finish(page)
    page.locator(".rs-workshop").wait_for()
    until(page, SAVED)
    yield page
    page.context.close()


def note(page: Any, id: str) -> Any:
    return page.evaluate(
        "id => import('./workbench/session.js').then(({ session }) => session.song.byId.get(id) ?? null)", id)


def edits(page: Any) -> list[str]:
    return list(page.evaluate(
        "import('./workbench/edits.js').then(({ edit }) => edit.list.map((entry) => entry.edit))"))


def click_head(page: Any, id: str) -> None:
    head = page.locator(f".rs-page g.note[id='{id}'] .notehead")
    head.evaluate("head => head.scrollIntoView({ block: 'center' })")  # not below the bar at the bottom
    head.click(force=True)
    until(page, "id => import('./workbench/session.js').then(({ session }) => session.selected === id)", id)


def some_note(page: Any, staff: int) -> str:
    return str(page.evaluate("""staff => import('./workbench/session.js').then(({ session }) =>
        session.song.notes.filter((note) => note.staff === staff && !note.grace)[3].id)""", staff))


def settled(page: Any, condition: str, argument: Any) -> None:
    """Wait until the server has written the score, and this holds for a note of it."""
    until(page, SAVED)
    until(page, f"id => import('./workbench/session.js').then(({{ session }}) => ((note) => {condition})"
                "(session.song.byId.get(id)))", argument)


def test_a_notehead_is_heard_selected_and_edited(page: Any) -> None:
    id = some_note(page, 1)
    click_head(page, id)
    assert page.evaluate("window.tones") > 0
    assert "selected" in page.locator(f".rs-page g.note[id='{id}']").get_attribute("class")
    before, head = note(page, id), page.locator(f".rs-page g.note[id='{id}'] .notehead")
    height = head.bounding_box()["y"]
    page.keyboard.press("Shift+ArrowUp")
    assert note(page, id)["pitch"] == before["pitch"] + 12  # at once; the score follows
    settled(page, f"note.written_pitch === {before['pitch'] + 12} && note.octave === {before['octave'] + 1}", id)
    until(page, "([id, y]) => document.querySelector(`.rs-page g.note[id='${id}'] .notehead`)"
                "?.getBoundingClientRect().y < y - 5", [id, height])
    page.keyboard.press("ArrowUp")
    settled(page, f"note.written_pitch === {before['pitch'] + 13} && note.alter !== 0", id)
    step = note(page, id)["step"]
    page.keyboard.press("e")
    settled(page, f"note.step !== '{step}' && note.written_pitch === {before['pitch'] + 13}", id)
    page.keyboard.press("[")
    settled(page, f"note.duration_ql < {before['duration_ql']}", id)
    assert edits(page) == ["move", "move", "respell", "duration"]


def test_the_inspector_says_what_it_is_and_gives_it_to_the_other_hand(page: Any) -> None:
    id = some_note(page, 2)
    click_head(page, id)
    page.get_by_role("button", name="Selected note", exact=True).click()
    facts = page.locator(".rs-note-facts")
    assert facts.locator("dd").nth(2).inner_text() == "left"
    page.locator(".rs-action", has_text="The other hand").click()
    settled(page, "note.staff === 1", id)
    assert facts.locator("dd").nth(2).inner_text() == "right"
    page.keyboard.press("Delete")
    until(page, SAVED)
    until(page, "id => !document.querySelector(`.rs-page g.note[id='${id}']`)", id)
    assert note(page, id) is None


def test_everything_is_undone_and_done_again(page: Any) -> None:
    made = edits(page)
    for _ in made:
        page.keyboard.press("Control+z")
    assert edits(page) == []
    until(page, SAVED)
    assert page.get_by_role("button", name=re.compile("^Undo")).is_disabled()
    heads = page.locator(".rs-page g.note").count()
    for _ in made:
        page.keyboard.press("Control+Shift+z")
    until(page, SAVED)
    assert edits(page) == made
    until(page, "heads => document.querySelectorAll('.rs-page g.note').length < heads", heads)


def test_in_six_eight_without_hearing_again(server: Server, page: Any) -> None:
    store = Path(server.env["RESCORED_STORE"], "stages")
    before = {path for path in store.glob("*/*") if path.suffix == ".zip"}
    page.get_by_role("button", name="Notation", exact=True).click()
    page.locator("[data-setting='metre.time_signature']").select_option("6/8")
    page.locator(".rs-facts dd", has_text="6/8").wait_for()
    until(page, SAVED)
    drawn = page.evaluate("""import('./workbench/session.js').then(({ session }) =>
        session.song.content.score.measures.filter((measure) => measure.number > 0).length)""")
    assert page.locator(".rs-facts div", has_text=re.compile("^Measures")).locator("dd").inner_text() == str(drawn)
    assert {path for path in store.glob("*/*") if path.suffix == ".zip"} == before
    assert len(edits(page)) == 6  # all corrections are still there
    for fold in ("Fine tuning", "Metre and tempo"):  # the left side says the same, for when it is transcribed again
        page.locator("#rs-tuning button.label-wrap", has_text=fold).click()
    until(page, "Promise.resolve(document.querySelector('#rs-metre-time_signature input')?.value === '6/8')")
    page.locator("#rs-tuning button.label-wrap", has_text="Fine tuning").click()


def test_another_way_to_count_is_one_press_away(page: Any) -> None:
    made = edits(page)
    choices = page.locator(".rs-metres button")
    expect(page.get_by_role("group", name="Counted in")).to_have_count(0)  # hidden: the file's own beats hold
    page.locator("[data-setting='metre.file_beats']").select_option("never")
    choices.first.wait_for()
    until(page, SAVED)
    other = choices.nth(1)
    signature = other.inner_text().split()[0]
    other.click()
    page.locator(".rs-facts dd", has_text=re.compile(f"^{signature}")).wait_for()
    expect(other).to_have_attribute("aria-pressed", "true")
    expect(choices.first).to_have_attribute("aria-pressed", "false")
    for _ in (signature, "never"):
        page.locator(".rs-rail [aria-label^='Undo']").click()
        until(page, SAVED)
    expect(page.locator(".rs-facts dd", has_text="6/8")).to_be_visible()
    assert edits(page) == made


def test_all_bar_lines_move_by_a_beat(page: Any) -> None:
    downbeats = """import('./workbench/session.js').then(({ session }) =>
        session.song.beats.filter(({ beat, measure }) => beat === 1 && measure > 0).map(({ time_s }) => time_s))"""
    page.locator("[data-setting='metre.time_signature']").select_option("4/4")
    until(page, SAVED)
    before = page.evaluate(downbeats)
    step_s = (before[2] - before[1]) / 4
    page.get_by_role("button", name="All bar lines one beat later").click()
    until(page, SAVED)
    after = page.evaluate(downbeats)
    inner = [t for t in after if before[1] < t < before[-1]]
    assert len(inner) >= len(before) - 3
    assert all(min(abs(t - step_s - known) for known in before) < 0.05 for t in inner)
    page.get_by_role("button", name="All bar lines one beat earlier").click()
    until(page, SAVED)
    assert page.evaluate(downbeats)[1:-1] == pytest.approx(before[1:-1], abs=0.05)
    for _ in ("earlier", "later", "4/4"):
        page.locator(".rs-rail [aria-label^='Undo']").click()
        until(page, SAVED)
    expect(page.locator(".rs-facts dd", has_text="6/8")).to_be_visible()


def test_a_number_out_of_range_is_brought_into_it_and_none_changes_nothing(page: Any) -> None:
    field = page.locator("[data-setting='score.transpose']")
    for given, taken in (("99", "24"), ("", "24"), ("-1.2", "-1"), ("0", "0")):
        field.fill(given)
        field.press("Tab")
        expect(field).to_have_value(taken)
        until(page, SAVED)
        assert page.evaluate("import('./workbench/edits.js').then(({ edit }) => "
                             "String(edit.settings['score.transpose']))") == taken


def test_doubtful_measures_are_walked_through(page: Any) -> None:
    page.locator(".rs-roll").focus()
    page.keyboard.press("n")
    page.locator(".rs-measure-mark").wait_for(state="attached")
    loop = page.evaluate("import('./workbench/player.js').then(({ player }) => player.loop)")
    [measure] = page.evaluate("""loop => import('./workbench/session.js').then(({ session }) =>
        session.song.measures.filter(({ time_s }) => Math.abs(time_s - loop.start_s) < 1e-6))""", loop)
    assert page.locator(".rs-walk [aria-current]").inner_text().startswith(f"Measure {measure['number']}")
    worst = page.evaluate("""import('./workbench/session.js').then(({ session }) =>
        Math.min(...session.song.content.score.measures.map(({ confidence }) => confidence)))""")
    shown = page.locator(".rs-walk meter").first.get_attribute("value")
    assert float(shown) == pytest.approx(worst)
    done, all_of_it = map(int, re.findall(r"\d+", page.locator(".rs-walk-progress").inner_text()))
    page.locator(".rs-roll").focus()
    page.keyboard.press("Enter")
    said = re.compile(f"{done + 1} of {all_of_it} checked" if done + 1 < all_of_it else f"All {all_of_it} checked")
    page.locator(".rs-walk-progress", has_text=said).wait_for()
    assert edits(page)[-1] == "check"
    page.keyboard.press("Escape")
    until(page, "import('./workbench/player.js').then(({ player }) => !player.loop && !player.playing)")
    until(page, SAVED)


def test_a_reload_finds_the_edits_and_can_undo_them(page: Any) -> None:
    made, job = edits(page), job_of(page)
    page.reload()
    page.locator(".rs-page svg g.note").first.wait_for()
    page.locator(".rs-workshop").wait_for()
    until(page, "import('./workbench/edits.js').then(({ edit }) => edit.list.length)")
    assert edits(page) == made and job_of(page) == job
    expect(page.locator(".rs-facts dd", has_text="6/8")).to_be_visible()
    page.locator(".rs-roll").focus()
    page.keyboard.press("Control+z")
    until(page, SAVED)
    assert edits(page) == made[:-1]
    page.keyboard.press("Control+Shift+z")
    until(page, SAVED)
    assert page.mishaps == []


def test_the_saved_song_opens_with_its_edits(page: Any, tmp_path: Path) -> None:
    made = edits(page)
    with page.expect_download() as download:
        page.locator(".rs-download").filter(has=page.get_by_text("JSON", exact=True)).click()
    saved = tmp_path / "saved.json"
    download.value.save_as(saved)
    assert [entry["edit"] for entry in json.loads(saved.read_text())["edits"]] == made
    transcribe(page, saved, "A piano alone")
    finish(page)
    until(page, "import('./workbench/edits.js').then(({ edit }) => edit.list.length)")
    assert edits(page) == made
    expect(page.locator(".rs-facts dd", has_text="6/8")).to_be_visible()


def test_who_edits_an_example_gets_a_copy(server: Server, browser: Any) -> None:
    visitor = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    visitor.set_default_timeout(STEP_MS)
    visitor.goto(server.url)
    visitor.locator(".rs-page svg g.note").first.wait_for()
    visitor.locator(".rs-workshop").wait_for()
    example = job_of(visitor)
    id = visitor.evaluate("import('./workbench/session.js').then(({ session }) => session.song.notes[4].id)")
    pitch = note(visitor, id)["pitch"]
    click_head(visitor, id)
    visitor.keyboard.press("ArrowDown")
    until(visitor, "job => import('./workbench/session.js').then(({ session }) => session.job !== job)", example)
    until(visitor, SAVED)
    settled(visitor, f"note.written_pitch === {pitch - 1}", id)
    kept = json.loads(server.get(f"media/{example}/song.json"))
    assert next(n for n in kept["notes"] if n["id"] == id)["pitch"] == pitch
    expect(visitor.locator(".rs-recents li")).to_have_count(1)
    visitor.context.close()

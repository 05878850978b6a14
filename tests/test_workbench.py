"""The page as a workbench: what is said beforehand, editing in the roll, keyboards, screen readers, phones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from media import scale
from playwright.sync_api import expect
from served import Server, ask, until

from rescored import examples
from rescored.errors import InputError
from rescored.service.glance import first_glance, second_glance

pytestmark = pytest.mark.slow

JOB_MS, STEP_MS = 240_000, 30_000


@pytest.fixture(scope="module")
def page(server: Server, browser: Any) -> Iterator[Any]:
    """A visitor who has opened an example."""
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    page.set_default_timeout(STEP_MS)
    page.goto(server.url)
    page.locator(".rs-brand").wait_for()
    page.locator("#rs-examples button", has_text="Ode").click()  # the landing example may not have been asked for yet
    page.locator("#rs-preset label.selected", has_text="One melody").wait_for()  # it is open: nothing is cleared later
    page.locator(".rs-page svg g.note").first.wait_for(timeout=JOB_MS)
    yield page
    page.context.close()


def finish(page: Any, title: str) -> None:
    """Wait for the transcription of this title, and for all of it to be on the page."""
    page.locator(".rs-title", has_text=re.compile(title)).wait_for(timeout=JOB_MS)
    until(page, "session.snapshot?.state === 'done' && session.song?.content.score && session.score && session.tracks")
    page.locator(".rs-page svg g.note").first.wait_for()


# ---------------------------------------------------------------- before one starts


def test_a_glance_tells_length_and_where_it_is_loud(tmp_path: Path) -> None:
    path = examples.path("ode")
    first, second = first_glance(path), second_glance(path)
    assert first.kind == "audio" and first.duration_s == pytest.approx(second.duration_s, abs=0.1)
    low, high, rms = zip(*second.outline, strict=True)
    assert max(high) == 127 or min(low) == -127
    assert all(a <= 0 <= b and c <= max(-a, b) for a, b, c in second.outline) and max(rms) > 4 * rms[0]
    midi = tmp_path / "scale.mid"
    midi.write_bytes(scale())
    played = first_glance(midi)
    assert played.kind == "midi" and 15 < (played.duration_s or 0) < 17
    scales = [top for _, top, power in played.outline[: len(played.outline) // 4] if power]
    assert scales == sorted(scales) and len(set(scales)) == 8, "a rising scale rises"
    (tmp_path / "text.mp3").write_text("this is no sound at all")
    with pytest.raises(InputError):
        second_glance(tmp_path / "text.mp3")


def test_what_is_chosen_is_described_and_a_passage_of_it_is_transcribed(page: Any, tmp_path: Path) -> None:
    page.set_input_files("#rs-file input[type=file]", examples.path("ode"))
    page.get_by_label("One melody").check()
    box = page.locator(".rs-before")
    box.locator("canvas").wait_for()
    assert re.search(r"0:1[6-9].*takes .* here.*waiting", box.locator(".rs-before-facts").inner_text(), re.DOTALL)
    outline = box.locator(".rs-before-outline").bounding_box()
    y = outline["y"] + 20
    page.mouse.move(outline["x"] + outline["width"] / 4, y)
    page.mouse.down()
    page.mouse.move(outline["x"] + outline["width"] / 2, y, steps=4)
    page.mouse.up()
    box.get_by_text(re.compile(r"Only 0:0[3-5] to 0:0[7-9]")).wait_for()
    end = box.get_by_label("End of the passage")
    before = end.get_attribute("aria-valuetext")
    end.press("ArrowRight")
    assert end.get_attribute("aria-valuetext") != before
    page.click("#rs-transcribe")
    until(page, "session.job && !session.example")
    finish(page, "Ode to Joy")
    onsets = ask(page, "session.song.notes.map((note) => note.onset_s)")
    assert min(onsets) >= 3 and max(onsets) <= 10.5 and ask(page, "player.begin_s") == pytest.approx(4.3, abs=0.3)


def test_a_quick_look_is_a_result_of_its_own(page: Any) -> None:
    page.locator("#rs-file button[aria-label*='lear'], #rs-file button[aria-label*='emove']").first.click()
    page.set_input_files("#rs-file input[type=file]", examples.path("greensleeves"))
    page.locator(".rs-before-facts b", has_text="0:32").wait_for()
    page.locator(".rs-before").get_by_role("button", name="Quick look").click()
    finish(page, r"Quick look: Greensleeves, 0:\d\d to 0:\d\d")
    length_s = ask(page, "player.end_s - player.begin_s")
    assert 9.9 <= length_s <= 13 and ask(page, "session.song.notes.length") > 30
    expect(page.locator("#rs-file .file-preview")).to_be_visible()  # the whole can be transcribed next


# ---------------------------------------------------------------- editing in the roll; goes on with the quick look


def notes(page: Any) -> dict[str, dict[str, Any]]:
    return {note["id"]: note for note in ask(page, "session.song.notes")}


def selected(page: Any) -> list[str]:
    return list(ask(page, "[...session.selection]"))


def spot(page: Any, note: str, share: float = 0.4) -> tuple[float, float]:
    """Where a note lies on the screen: at this share of its length."""
    box = ask(page, f"boxOf(session.song.byId.get('{note}') || session.song.candidates.find((c) => c.id === '{note}'))")
    roll = page.locator(".rs-roll").bounding_box()
    return roll["x"] + box["left"] + share * box["width"], roll["y"] + box["top"] + box["height"] / 2


def drag(page: Any, start: tuple[float, float], dx: float, dy: float) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + dx, start[1] + dy, steps=5)
    page.mouse.up()


def saved(page: Any) -> None:
    """Wait until the server has written the score anew."""
    until(page, "!edit.saving && !edit.problem")


def in_score(page: Any, note: str) -> Any:
    return page.locator(f".rs-page svg:not(.rs-glass) g.note[id='{note}']")


@pytest.fixture
def roll(page: Any) -> Any:
    """The roll, all of it in sight, and every correction of the test taken back in the end."""
    page.get_by_role("button", name="Show all of it").click()
    before = notes(page)
    roll = page.locator(".rs-roll")
    roll.scroll_into_view_if_needed()
    yield roll
    for _ in range(30):
        if notes(page) == before or not ask(page, "edit.undo()"):
            break
    saved(page)
    assert {(n["onset_s"], n["offset_s"], n["pitch"]) for n in notes(page).values()} == {
        (n["onset_s"], n["offset_s"], n["pitch"]) for n in before.values()}


def test_a_note_is_drawn_moved_stretched_and_deleted(page: Any, roll: Any) -> None:
    before = notes(page)
    lowest = min(n["pitch"] for n in before.values())
    beats = ask(page, "session.song.beats.map((beat) => beat.time_s)")
    x, y = ask(page, f"[plane.x({(3 * beats[3] + 5 * beats[4]) / 8}), plane.y({lowest - 1}) + plane.row / 2]")
    box = roll.bounding_box()
    page.mouse.dblclick(box["x"] + x, box["y"] + y)
    [new] = selected(page)
    drawn = notes(page)[new]
    middle = (beats[3] + beats[4]) / 2
    assert new not in before and drawn["pitch"] == lowest - 1
    assert drawn["onset_s"] == pytest.approx(middle, abs=1e-3)  # on the grid of quarters of a beat
    in_score(page, new).first.wait_for(state="attached")

    row, scale = ask(page, "[plane.row, plane.x(1) - plane.x(0)]")
    drag(page, spot(page, new, 0.3), (beats[5] - beats[4]) * scale, -3 * row)
    moved = notes(page)[new]
    assert moved["pitch"] == lowest + 2 and moved["onset_s"] == pytest.approx((beats[4] + beats[5]) / 2, abs=0.03)
    drag(page, spot(page, new, 0.97), 1.5 * (beats[5] - beats[4]) * scale, 0)
    assert notes(page)[new]["offset_s"] > moved["offset_s"] + 0.9 * (beats[5] - beats[4])
    assert notes(page)[new]["onset_s"] == moved["onset_s"]

    page.keyboard.press("Delete")
    assert notes(page).keys() == before.keys()
    page.keyboard.press("Control+z")
    assert new in notes(page)
    page.keyboard.press("Control+Shift+z")
    assert new not in notes(page)
    saved(page)
    expect(in_score(page, new)).to_have_count(0)


def test_a_click_accepts_a_candidate(page: Any, roll: Any) -> None:
    candidates = ask(page, """session.song.candidates.filter((c) => !session.song.notes.some((n) =>
        n.pitch === c.pitch && n.onset_s < c.offset_s && n.offset_s > c.onset_s))""")
    chosen = candidates[0]["id"]
    page.mouse.click(*spot(page, chosen))
    accepted = next(n for n in notes(page).values() if n["id"] == chosen)
    assert accepted["pitch"] == candidates[0]["pitch"] and accepted["confidence"] == 1
    assert chosen not in ask(page, "session.song.candidates.map((c) => c.id)")


def test_several_notes_are_chosen_and_changed_together(page: Any, roll: Any) -> None:
    before = notes(page)
    box = roll.bounding_box()
    drag(page, (box["x"] + 36, box["y"] + 20), box["width"] - 40, box["height"] - 24)  # a band around everything
    assert set(selected(page)) == set(before)
    ids = sorted(before, key=lambda id: before[id]["onset_s"])
    page.mouse.click(*spot(page, ids[-1]))
    assert selected(page) == [ids[-1]]
    page.keyboard.down("Shift")
    page.mouse.click(*spot(page, ids[-2]))
    page.keyboard.up("Shift")
    assert set(selected(page)) == {ids[-1], ids[-2]}
    page.keyboard.press("Control+a")
    assert set(selected(page)) == set(before)
    page.keyboard.press("ArrowUp")
    assert all(n["pitch"] == before[id]["pitch"] + 1 for id, n in notes(page).items())
    page.mouse.click(*spot(page, ids[0]))
    page.keyboard.press("s")  # a split note is one more, and joined again it is what it was
    halves = [id for id in notes(page) if id not in before or id == ids[0]]
    assert len(halves) == 2
    page.evaluate("ids => import('./workbench/session.js').then(({ select }) => select(ids, 'roll'))", halves)
    page.keyboard.press("j")
    assert notes(page).keys() == before.keys()
    assert notes(page)[ids[0]]["offset_s"] == before[ids[0]]["offset_s"]


def test_the_keyboard_alone_edits(page: Any, roll: Any) -> None:
    before = notes(page)
    page.keyboard.press("Home")
    roll.focus()
    page.keyboard.press("Escape")
    page.keyboard.press(".")
    [first] = selected(page)
    assert before[first]["onset_s"] == min(n["onset_s"] for n in before.values())
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    moved = notes(page)[first]
    assert moved["onset_s"] > before[first]["onset_s"] and moved["pitch"] == before[first]["pitch"] - 1
    page.keyboard.press("Shift+ArrowRight")
    assert notes(page)[first]["offset_s"] > moved["offset_s"] and notes(page)[first]["onset_s"] == moved["onset_s"]
    page.keyboard.press("a")
    assert len(notes(page)) == len(before) + 1
    page.keyboard.press("c")
    assert len(notes(page)) == len(before) + 2


def test_a_finger_scrolls_and_edits_nothing(page: Any, roll: Any) -> None:
    before = notes(page)
    page.get_by_role("button", name="Zoom in").click(click_count=4)
    inside = "session.song.notes.find((n) => plane.x(n.onset_s) > 200 && plane.x(n.offset_s) < 700).id"
    x, y = spot(page, ask(page, inside))
    start = ask(page, "plane.time(100)")
    touch = page.context.new_cdp_session(page)
    for kind, at in [("Start", [x]), *(("Move", [x - 15 * i]) for i in range(1, 8)), ("End", [])]:
        touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": [{"x": x, "y": y} for x in at]})
    until(page, f"plane.time(100) > {start}")
    assert notes(page) == before


def test_keys_are_named_only_where_there_is_a_mouse(page: Any, server: Server, browser: Any) -> None:
    expect(page.locator(".rs-summary .rs-key")).to_be_visible()
    phone = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True).new_page()
    phone.goto(server.url)
    doubtful = phone.locator(".rs-summary .rs-facts div", has_text="measures to check")
    doubtful.wait_for(timeout=JOB_MS)
    expect(doubtful.locator(".rs-key")).to_be_hidden()
    phone.context.close()


def test_loops_come_from_selected_notes_and_from_the_ruler(page: Any, roll: Any) -> None:
    before = notes(page)
    ids = sorted(before, key=lambda id: before[id]["onset_s"])[2:6]
    page.evaluate("ids => import('./workbench/session.js').then(({ select }) => select(ids, 'roll'))", ids)
    roll.focus()
    page.keyboard.press("l")
    assert ask(page, "player.loop") == {
        "start_s": min(before[id]["onset_s"] for id in ids), "end_s": max(before[id]["offset_s"] for id in ids)}
    page.keyboard.press("l")
    box = roll.bounding_box()
    drag(page, (box["x"] + 100, box["y"] + 8), 150, 0)
    loop = ask(page, "player.loop")
    assert loop["end_s"] - loop["start_s"] == pytest.approx(ask(page, "plane.time(250) - plane.time(100)"), rel=0.05)
    page.keyboard.press("l")


# ---------------------------------------------------------------- for everybody


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_axe_finds_nothing_serious(page: Any, look: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page.set_viewport_size({"width": 390, "height": 844} if look == "phone" else {"width": 1400, "height": 1000})
    page.evaluate("dark => document.body.classList.toggle('dark', dark)", look == "dark")
    page.wait_for_function("!document.getAnimations().some((one) => one instanceof CSSTransition)")
    found = axe.Axe().run(page).response["violations"]
    page.evaluate("document.body.classList.remove('dark')")
    serious = [(v["id"], [n["target"] for n in v["nodes"]]) for v in found if v["impact"] in ("serious", "critical")]
    assert serious == []

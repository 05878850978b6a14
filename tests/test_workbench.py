"""The page as a workbench: what is said beforehand, editing in the roll, keyboards, screen readers, phones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from media import scale
from served import Server

from rescored import examples
from rescored.errors import InputError
from rescored.service.glance import first_glance, second_glance

pytestmark = pytest.mark.slow

JOB_MS, STEP_MS = 240_000, 30_000


@pytest.fixture(scope="module")
def page(server: Server, browser: Any) -> Iterator[Any]:
    """A visitor who has just come; the landing example is transcribed."""
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    page.set_default_timeout(STEP_MS)
    page.goto(server.url)
    page.locator(".rs-page svg g.note").first.wait_for(timeout=JOB_MS)
    yield page
    page.context.close()


def ask(page: Any, expression: str) -> Any:
    """What an expression over `session`, `player` and `view` gives."""
    return page.evaluate(f"""async () => {{
        const [{{session}}, {{player}}, {{view}}] = await Promise.all(
            ['session', 'player', 'view'].map((name) => import(`./workbench/${{name}}.js`)));
        return {expression}; }}""")


def finish(page: Any, title: str) -> None:
    """Wait for the transcription of this title, and for all of it to be on the page."""
    page.locator(".rs-title", has_text=re.compile(title)).wait_for(timeout=JOB_MS)
    page.wait_for_function("""import('./workbench/session.js').then(({ session }) =>
        session.snapshot?.state === 'done' && session.song?.content.score && session.score && session.tracks)""",
                           timeout=JOB_MS)
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
    assert first_glance(midi).kind == "midi" and 15 < (first_glance(midi).duration_s or 0) < 17
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
    landing = ask(page, "session.job")
    page.click("#rs-transcribe")
    page.wait_for_function("job => import('./workbench/session.js').then((m) => m.session.job !== job)", arg=landing)
    finish(page, "Ode to Joy")
    onsets = ask(page, "session.song.notes.map((note) => note.onset_s)")
    assert min(onsets) >= 3 and max(onsets) <= 10.5 and ask(page, "player.begin_s") == pytest.approx(4.3, abs=0.3)


def test_a_quick_look_is_a_result_of_its_own(page: Any) -> None:
    page.locator(".rs-before").get_by_role("button", name="All of it").click()
    page.locator(".rs-before").get_by_role("button", name="Quick look").click()
    finish(page, r"Quick look: Ode to Joy, 0:0\d to 0:\d\d")
    length_s = ask(page, "player.end_s - player.begin_s")
    assert 10 <= length_s <= 13 and ask(page, "session.song.notes.length") > 8
    assert page.locator("#rs-file .file-preview").is_visible()  # the whole can be transcribed next

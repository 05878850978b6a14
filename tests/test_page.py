"""The page, as its users meet it: a real server, a real browser, real recordings."""

from __future__ import annotations

import json
import re
import shutil
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from served import Server
from test_bad_input import FILES, LINKS, a_folder, absent, name_of_300_characters

from rescored import Settings, examples

pytestmark = pytest.mark.slow

JOB_MS, STEP_MS = 240_000, 60_000


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A violin melody, under a name that tries to be markup."""
    name = "Ode ‘to’ ${alert(1)} <img src=x onerror=alert(2)> joy.flac"
    return Path(shutil.copy(examples.path("ode"), tmp_path_factory.mktemp("upload") / name))


@pytest.fixture(scope="module")
def page(server: Server, browser: Any) -> Iterator[Any]:
    """One visitor, whose requests are all seen."""
    page = browser.new_context(viewport={"width": 1400, "height": 1000}, accept_downloads=True).new_page()
    page.strangers, page.mishaps = [], []
    ours = (server.url, "data:", "blob:")
    page.on("request", lambda asked: None if asked.url.startswith(ours) else page.strangers.append(asked.url))
    page.on("dialog", lambda dialog: (page.mishaps.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("pageerror", lambda error: page.mishaps.append(str(error)))
    page.set_default_timeout(STEP_MS)
    page.goto(server.url)
    yield page
    page.context.close()


def transcribe(page: Any, file: Path, preset: str) -> None:
    remove = page.locator("#rs-file button[aria-label*='lear'], #rs-file button[aria-label*='emove']")
    if remove.count():
        remove.first.click()
    page.set_input_files("#rs-file input[type=file]", file)
    page.get_by_label(preset).check()
    page.locator("#rs-file .file-preview").wait_for()
    before = job_of(page)
    page.click("#rs-transcribe")
    until(page, "job => import('./workbench/session.js').then((m) => m.session.job !== job)", before)


def finish(page: Any) -> None:
    line = page.locator(".rs-progress")
    page.locator(".rs-progress:is([data-state=done], [data-state=failed])").wait_for(state="attached", timeout=JOB_MS)
    assert line.get_attribute("data-state") == "done", line.inner_text()
    page.locator(".rs-page svg g.note").first.wait_for()
    until(page, "import('./workbench/session.js').then((m) => Boolean(m.session.song?.content.score))")


@pytest.fixture(scope="module")
def result(page: Any, recording: Path) -> Any:
    """The visitor after a transcription."""
    page.locator(".rs-brand").wait_for()
    transcribe(page, recording, "One melody")
    finish(page)
    return page


def test_a_recording_becomes_a_score_on_the_page(result: Any) -> None:
    facts = dict(zip(result.locator(".rs-facts dt").all_inner_texts(), result.locator(".rs-facts dd").all_inner_texts(),
                     strict=True))
    assert facts["Key"] == "D major" and re.fullmatch(r"\d+/\d+.*", facts["Metre"]) and "BPM" in facts["Tempo"]
    assert 4 <= int(facts["Measures"]) <= 20 and 25 <= int(facts["Notes"]) <= 40
    expect(result.locator(".rs-strip-name")).to_have_text(["Original", "Transcription"])
    song = result.evaluate("async () => (await import('./workbench/session.js')).session.song.notes.map((n) => n.id)")
    heads = result.eval_on_selector_all(".rs-page g.note", "heads => heads.map((head) => head.id)")
    assert {re.sub(r"-t\d+$", "", head) for head in heads} == set(song)
    result.wait_for_function("""() => {
        const canvas = document.querySelector('.rs-roll');
        const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(data.buffer)).size > 4; }""")  # colours: the roll is not blank


def test_every_file_can_be_taken_away(result: Any) -> None:
    links = result.locator(".rs-download")
    assert links.locator("b").all_inner_texts() == [
        "PDF", "MusicXML", "MXL", "MIDI, as played", "MIDI, as written", "JSON"]
    starts = {"PDF": b"%PDF", "MusicXML": b"<?xml", "MXL": b"PK", "MIDI, as played": b"MThd",
              "MIDI, as written": b"MThd", "JSON": b"{"}
    for name, start in starts.items():
        with result.expect_download() as download:
            links.filter(has=result.get_by_text(name, exact=True)).click()
        assert Path(download.value.path()).read_bytes().startswith(start)
        assert download.value.suggested_filename.startswith("Ode") and "/" not in download.value.suggested_filename


def test_playing_moves_roll_score_and_clock_together(result: Any) -> None:
    result.keyboard.press("Home")
    result.locator(".rs-play").click()
    result.wait_for_function("document.querySelectorAll('g.note.playing').length > 0")
    until(result, """import('./workbench/player.js').then(({player}) => {
        const at = player.tracks.filter((t) => !t.audio.paused).map((t) => t.audio.currentTime);
        return player.time_s > 1 && at.length === 2 && Math.abs(at[0] - at[1]) < 0.05; })""")
    assert shown(result)["playing"]
    result.locator(".rs-roll").focus()
    result.keyboard.press(" ")
    expect(result.get_by_role("button", name="Play (space)")).to_be_visible()
    at_rest = shown(result)
    assert not at_rest["playing"] and at_rest["before_s"] == at_rest["after_s"] > 1


def shown(page: Any) -> Any:
    """What roll and score show, asserted to be due between a look at the clock before and one after it.

    On a busy machine frames are far apart.
    """
    state = page.evaluate("""async () => {
        const names = ['player', 'view', 'session'].map((name) => import(`./workbench/${name}.js`));
        const [{player}, {view}, {session}] = await Promise.all(names);
        const before_s = player.time_s;
        for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
        return {before_s, roll_s: view.time(Number(document.querySelector('.rs-roll').dataset.playheadX) - 34),
                lit: [...document.querySelectorAll('g.note.playing')].map((g) => g.dataset.note.replace(/-t\\d+$/, '')),
                after_s: player.time_s, playing: player.playing, notes: session.song.notes}; }""")
    from_s, to_s = state["before_s"], state["after_s"]
    assert from_s - 0.05 < state["roll_s"] < to_s + 0.05
    all_along = {n["id"] for n in state["notes"] if n["onset_s"] < from_s - 0.02 and n["offset_s"] > to_s + 0.02}
    at_times = {n["id"] for n in state["notes"] if n["onset_s"] < to_s + 0.02 and n["offset_s"] > from_s - 0.02}
    assert all_along <= set(state["lit"]) <= at_times
    return state


def test_a_notehead_is_found_in_the_sound_and_in_the_roll(result: Any) -> None:
    head = result.locator(".rs-page g.note").nth(5)
    head.locator(".notehead").click(force=True)
    note, time_s = result.evaluate("""async () => {
        const {session} = await import('./workbench/session.js');
        const {player} = await import('./workbench/player.js');
        return [session.song.byId.get(session.selected), player.time_s]; }""")
    assert note["id"] == re.sub(r"-t\d+$", "", head.get_attribute("id"))
    assert time_s == pytest.approx(note["onset_s"], abs=0.02)
    expect(head).to_have_class(re.compile(r"\bselected\b"))


def test_mute_solo_crossfade_speed_and_loop_by_keyboard(result: Any) -> None:
    def player(expression: str) -> Any:
        return result.evaluate(f"import('./workbench/player.js').then(({{ player }}) => {expression})")

    result.locator(".rs-roll").focus()
    result.keyboard.press("m")
    assert player("player.blend") == 1
    assert player("player.tracks.map((t) => Math.round(t.level))") == [0, 1]
    result.keyboard.press("m")
    assert player("player.tracks.map((t) => Math.round(t.level))") == [1, 0]
    result.keyboard.press("1")
    assert player("player.tracks[0].solo")
    result.keyboard.press("1")
    result.get_by_role("button", name="Mute Original").click()
    assert player("player.tracks[0].level") == 0
    result.get_by_role("button", name="Mute Original").click()
    result.get_by_label("Speed").select_option("0.5")
    assert player("[player.tracks[0].audio.playbackRate, player.tracks[0].audio.preservesPitch]") == [0.5, True]
    result.get_by_label("Speed").select_option("1")
    result.locator(".rs-roll").focus()
    result.keyboard.press("l")
    loop = player("player.loop")
    measures = result.evaluate("async () => (await import('./workbench/session.js')).session.song.measures")
    assert loop["start_s"] in [max(0, m["time_s"]) for m in measures] and loop["end_s"] > loop["start_s"]
    result.keyboard.press("l")
    assert player("player.loop") is None


def test_the_player_seeks_in_files_by_ranges(server: Server, result: Any) -> None:
    path = f"media/{job_of(result)}/original.ogg"
    assert fetched(server, result, path, Range="bytes=0-3").body() == b"OggS"
    assert len(fetched(server, result, path).body()) > 10_000


def test_nobody_fetches_without_the_jobs_id_nor_outside_its_folder(server: Server, result: Any) -> None:
    job = job_of(result)
    for path in (f"media/{'A' * 24}/song.json", f"media/{job}/source.flac", f"media/{job}/../history.sqlite",
                 f"media/{job}/%2e%2e/history.sqlite", f"media/{job}/..%2fhistory.sqlite", "jobs/x/events"):
        assert fetched(server, result, path).status == 404
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.get(f"media/{job}/song.json")  # which another browser's cookie would open
    assert refused.value.code == 404


def test_titles_are_text_and_never_markup(result: Any) -> None:
    assert "alert(1)" in result.locator(".rs-title").inner_text()
    assert result.locator("img[src=x]").count() == 0
    assert result.mishaps == []


def test_another_setting_does_only_what_depends_on_it(server: Server, result: Any) -> None:
    before = job_of(result)
    for fold in ("Fine tuning", "Score, parts and chord symbols"):
        result.locator("#rs-tuning button.label-wrap", has_text=fold).click()
    result.locator("#rs-score-composer :is(input, textarea)").fill("L. v. Beethoven")
    result.keyboard.press("Tab")
    kept = stage_results(server)
    result.click("#rs-transcribe")
    result.locator(".rs-page text", has_text="Beethoven").wait_for()
    finish(result)
    assert job_of(result) != before
    assert 1 <= len(stage_results(server) - kept) <= 2, "the score was written anew, and nothing before it"
    results = Path(server.env["RESCORED_STORE"], "results")
    sounds = [json.loads((results / job / "sounds.json").read_text()) for job in (before, job_of(result))]
    assert sounds[0]["original.ogg"] == sounds[1]["original.ogg"], "it was encoded once"
    result.locator("#rs-tuning button.label-wrap", has_text="Fine tuning").click()


def test_a_reload_finds_everything_again(result: Any) -> None:
    job, title = job_of(result), result.locator(".rs-title").inner_text()
    result.reload()
    result.locator(".rs-page svg g.note").first.wait_for()
    expect(result.locator(".rs-title")).to_have_text(title)
    assert job_of(result) == job
    expect(result.locator(".rs-recents li")).to_have_count(2)


def test_a_restart_of_the_server_loses_nothing(server: Server, result: Any) -> None:
    job = job_of(result)
    server.stop()
    server.start()
    result.reload()
    result.locator(".rs-page svg g.note").first.wait_for()
    assert job_of(result) == job
    expect(result.locator(".rs-recents li")).to_have_count(2)


def test_a_bad_file_is_refused_in_words_and_the_last_result_can_be_opened_again(result: Any, tmp_path: Path) -> None:
    bad = tmp_path / "notes.mp3"
    bad.write_text("this is no sound at all")
    transcribe(result, bad, "One melody")
    line = result.locator(".rs-progress[data-state=failed]")
    line.wait_for(timeout=JOB_MS)
    assert line.inner_text().count(".") >= 2 and "Traceback" not in line.inner_text()
    result.locator(".toast-wrap, .toast-body").first.wait_for()
    result.locator(".rs-recent", has_text="Ode").first.click()
    result.locator(".rs-page svg g.note").first.wait_for()
    result.get_by_role("button", name=re.compile("Delete notes")).click()
    result.locator(".rs-recent", has_text="notes").wait_for(state="detached")


def test_a_band_is_heard_apart(server: Server, result: Any) -> None:
    transcribe(result, examples.path("ode"), "A band, and I want all of it")
    result.locator(".rs-strip-name", has_text="Drums").first.wait_for(timeout=JOB_MS)
    finish(result)
    names = result.locator(".rs-strip-name").all_inner_texts()
    assert {"Original", "Drums", "Bass", "Other", "Vocals"} <= set(names)
    job = job_of(result)
    assert fetched(server, result, f"media/{job}/stems.zip").body().startswith(b"PK")
    recording = result.get_by_role("region", name="Recording", exact=True)  # its drums; those heard have a strip, too
    recording.get_by_role("button", name="Mute Drums").click()  # unmuting a stem silences the whole
    expect(result.get_by_role("button", name="Mute Original")).to_have_attribute("aria-pressed", "true")


def test_a_phone_shows_it_without_scrolling_sideways(server: Server, browser: Any, result: Any) -> None:
    result.set_viewport_size({"width": 390, "height": 844})
    result.wait_for_function("innerWidth <= 390 && document.documentElement.scrollWidth <= 390")
    expect(result.locator(".rs-play")).to_be_visible()
    result.set_viewport_size({"width": 1400, "height": 1000})


def test_a_first_visitor_finds_an_example_transcribed(server: Server, browser: Any, result: Any) -> None:
    visitor = browser.new_context().new_page()
    visitor.goto(server.url)
    visitor.locator(".rs-page svg g.note").first.wait_for(timeout=JOB_MS)
    expect(visitor.locator(".rs-title")).to_have_text("Ode to Joy")
    expect(visitor.locator(".rs-hint")).to_be_visible()
    visitor.click("#rs-transcribe")
    visitor.get_by_text("There is nothing to transcribe yet").wait_for()
    assert visitor.locator(".rs-recents li").count() == 0
    visitor.context.close()


def test_a_preset_from_a_notebook_is_loaded_by_a_click(server: Server, browser: Any, tmp_path: Path) -> None:
    tuned, wrong = tmp_path / "tuned.preset.json", tmp_path / "wrong.json"
    Settings.preset("melody").changed({"notes.onset_threshold": 0.62, "quantise.finest": 8}).save(tuned)
    wrong.write_text('{"quantise.fines": 8}')
    visitor = browser.new_context().new_page()
    visitor.set_default_timeout(STEP_MS)
    visitor.goto(server.url)
    for fold in ("Fine tuning", "Hearing notes", "Note values"):
        visitor.locator("#rs-tuning button.label-wrap", has_text=fold).click()
    for file in (tuned, wrong):
        with visitor.expect_file_chooser() as chooser:
            visitor.get_by_role("button", name="Load a preset").click()
        chooser.value.set_files(file)
        if file == wrong:
            expect(visitor.locator(".toast-body")).to_contain_text("Did you mean quantise.finest")
        expect(visitor.locator("#rs-notes-onset_threshold input[type=number]")).to_have_value("0.62")
        expect(visitor.locator("#rs-quantise-finest input")).to_have_value("8")
        expect(visitor.get_by_label("One melody")).to_be_checked()
    visitor.context.close()


def test_no_request_leaves_the_machine(result: Any) -> None:
    assert result.strangers == [] and result.mishaps == []


def test_programs_can_call_the_whole_thing(server: Server, recording: Path) -> None:
    from gradio_client import Client, handle_file

    client = Client(server.url, verbose=False, analytics_enabled=False)
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {"/transcribe", "/settings"}
    job = client.submit(recording=handle_file(recording), preset="melody",
                        settings={"quantise.finest": 8, "audio.start_s": 4, "audio.end_s": 14}, api_name="/transcribe")
    status, files = job.result(timeout=JOB_MS / 1000)
    assert status["state"] == "done" and 10 <= status["notes"] <= 25
    assert {"".join(Path(f).suffixes) for f in files} == {".musicxml", ".mxl", ".mid", ".score.mid", ".pdf", ".json"}
    written = json.loads(next(Path(f) for f in files if f.endswith(".json")).read_text())
    assert written["settings"]["quantise.finest"] == 8 and min(n["onset_s"] for n in written["notes"]) >= 4
    tracks = json.loads(server.get(f"media/{status['job']}/tracks.json"))
    assert tracks["begin_s"] == 4 and 10 <= tracks["duration_s"] <= 13  # both begin with the passage
    assert any(status["state"] == "running" and status["text"] for status, _ in job.outputs()[:-1])
    with pytest.raises(Exception, match=r"Did you mean quantise\.finest"):
        client.predict(recording=handle_file(recording), settings={"quantise.fines": 8}, api_name="/transcribe")
    for wrong in ([1], "{"):
        with pytest.raises(Exception, match=r"no settings.*section\.name"):
            client.predict(recording=handle_file(recording), settings=wrong, api_name="/transcribe")
    assert {"name", "default", "help", "takes"} <= set(client.predict(api_name="/settings")[0])


def test_every_kind_of_bad_input_is_refused_in_words(server: Server, tmp_path: Path) -> None:
    """What test_bad_input.py tries by API and command line, through the page's server."""
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    client, logged = Client(server.url, verbose=False, analytics_enabled=False), server.log.stat().st_size
    files = [make(tmp_path) for make in FILES if make not in (a_folder, absent, name_of_300_characters)]
    asked: list[dict[str, Any]] = [{"recording": handle_file(file)} for file in files]
    asked += [{"link": link, "recording": None} for link in LINKS]
    for given in asked:
        with pytest.raises(AppError) as refused:
            client.predict(**given, api_name="/transcribe")
        words = str(refused.value)
        assert words.endswith(".") and words.count(". ") >= 1, words  # the problem, and what to do
        assert str(tmp_path) not in words and "Traceback" not in words
    assert b"Traceback" not in server.log.read_bytes()[logged:]


def fetched(server: Server, page: Any, path: str, **headers: str) -> Any:
    """What the server answers to this page's browser."""
    return page.context.request.get(server.url + path, headers=headers)


def job_of(page: Any) -> str:
    return str(page.evaluate("async () => (await import('./workbench/session.js')).session.job"))


def until(page: Any, condition: str, argument: Any = None) -> None:
    """Wait for a promise that holds; Playwright's own wait takes every promise for true."""
    end = time.monotonic() + STEP_MS / 1000
    while not page.evaluate(condition, argument):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)


def stage_results(server: Server) -> set[Path]:
    return set(Path(server.env["RESCORED_STORE"], "stages").glob("*/*.zip"))

"""A finished transcription changed: at once, without models, and nothing of it lost."""

from __future__ import annotations

import io
import json
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from media import scale

from rescored.errors import InputError, SettingsError
from rescored.music import Delete, Move, NoteRef
from rescored.output.files import load
from rescored.service.changes import in_force
from rescored.service.jobs import Jobs
from rescored.service.owners import COOKIE, Owners
from rescored.service.renotate import Outdated, Renotator
from rescored.service.work import work
from rescored.settings import Settings
from rescored.store import Store
from rescored.ui.server import create_app

SETTINGS = Settings().as_dict()
NAME = "the cookie of a browser"
ME = Owners().of({}, {COOKIE: NAME})


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    store = Store(tmp_path_factory.mktemp("store"))
    return Jobs(store.bucket, partial(work, store=store))


@pytest.fixture
def job(jobs: Jobs, tmp_path: Path) -> str:
    song = tmp_path / "song.mid"
    song.write_bytes(scale())
    job = jobs.submit(song, SETTINGS, title="Scale", owner=ME)
    jobs.result(job)
    return job


def first(jobs: Jobs, job: str) -> NoteRef:
    note = load(jobs.file(job, "song.json")).performance.notes[0]
    return NoteRef(note.id, note.onset_s, note.pitch, note.part)


def pitches(jobs: Jobs, renotator: Renotator, job: str) -> dict[str, int]:
    return {n.id: n.pitch for n in load(renotator.make(job, "song.json")).score.notes}


def test_an_edit_is_in_the_answer_in_the_files_and_after_a_restart(jobs: Jobs, job: str) -> None:
    note, renotator = first(jobs, job), Renotator(jobs)
    before = jobs.file(job, "song.mid").read_bytes()
    answer = renotator.change(job, 0, (Move((note,), 0.0, 12),), {})
    [shown] = [n for n in answer["song"]["notes"] if n["id"] == note.id]
    assert shown["pitch"] == note.pitch + 12 and answer["revision"] == 1
    assert f'id="{note.id}"' in answer["svg"] and answer["score"]["page_of"][note.id] == 1
    assert not jobs.bucket.exists(f"results/{job}/song.pdf")  # made when it is asked for
    for maker in (renotator, Renotator(jobs)):
        assert pitches(jobs, maker, job)[note.id] == note.pitch + 12
        assert maker.make(job, "score/1.svg").read_text().startswith("<svg")
        assert maker.make(job, "song.pdf").read_bytes().startswith(b"%PDF")
        assert jobs.file(job, "song.mid").read_bytes() != before
        assert maker.state(job)["revision"] == 1
    Renotator(jobs).change(job, 1, (), {})
    assert pitches(jobs, Renotator(jobs), job)[note.id] == note.pitch
    assert jobs.file(job, "song.mid").read_bytes() == before


def test_other_settings_need_no_hearing(jobs: Jobs, job: str) -> None:
    renotator = Renotator(jobs)
    answer = renotator.change(job, 0, (), {"metre.time_signature": "3/4", "score.title": "Up and down"})
    assert answer["song"]["time_signatures"][0]["numerator"] == 3
    assert answer["song"]["score"]["title"] == "Up and down"
    assert in_force(jobs.bucket, jobs.order(job))["metre.time_signature"] == "3/4"
    with pytest.raises(SettingsError):
        renotator.change(job, 1, (), {"notes.lowest": 60})
    with pytest.raises(SettingsError):
        renotator.change(job, 1, (), {"metre.time_signature": "13/17"})
    assert renotator.state(job)["revision"] == 1 and renotator.state(job)["settings"]["score.title"] == "Up and down"


def test_a_change_of_what_is_not_there_any_more_is_refused(jobs: Jobs, job: str) -> None:
    note, renotator = first(jobs, job), Renotator(jobs)
    renotator.change(job, 0, (Delete((note,)),), {})
    with pytest.raises(Outdated):
        Renotator(jobs).change(job, 0, (), {})
    assert note.id not in pitches(jobs, renotator, job)


def test_the_sound_follows_and_the_recording_stays(jobs: Jobs, job: str) -> None:
    renotator = Renotator(jobs)
    before = jobs.file(job, "transcription.ogg").read_bytes()
    renotator.change(job, 0, (Move((first(jobs, job),), 0.0, 12),), {})
    tracks = renotator.sound(job)
    assert [t["id"] for t in tracks["tracks"]] == ["transcription"] and tracks["tracks"][0]["version"]
    assert jobs.file(job, "transcription.ogg").read_bytes() != before
    assert renotator.sound(job) == tracks


def test_corrections_go_with_the_recording_that_is_transcribed_again(jobs: Jobs, job: str) -> None:
    note = first(jobs, job)
    Renotator(jobs).change(job, 0, (Delete((note,)),), {"metre.time_signature": "3/4"})
    again = jobs.again(job, {**SETTINGS, "notes.lowest": 22}, owner="me")
    jobs.result(again)
    made = load(jobs.file(again, "song.json"))
    assert len(made.edits) == 1 and note.id not in made.score.note and made.heard is not None
    assert Renotator(jobs).state(again)["edits"] == Renotator(jobs).state(job)["edits"]


def test_a_saved_song_opens_as_a_job_with_its_edits(jobs: Jobs, job: str, tmp_path: Path) -> None:
    note, renotator = first(jobs, job), Renotator(jobs)
    renotator.change(job, 0, (Delete((note,)),), {"metre.time_signature": "3/4"})
    saved = tmp_path / "saved.json"
    saved.write_bytes(renotator.make(job, "song.json").read_bytes())
    opened = jobs.submit(saved, in_force(jobs.bucket, jobs.order(job)), title="Saved")
    jobs.result(opened)
    assert jobs.file(opened, "song.musicxml").read_bytes() == renotator.make(job, "song.musicxml").read_bytes()
    state = Renotator(jobs).state(opened)
    assert [e["edit"] for e in state["edits"]] == ["delete"]
    Renotator(jobs).change(opened, 0, (), {})
    assert note.id in pitches(jobs, Renotator(jobs), opened)


def test_a_job_that_is_not_done_cannot_be_changed(jobs: Jobs) -> None:
    with pytest.raises(InputError):
        Renotator(jobs).state("A" * 24)


@pytest.mark.parametrize(("body", "status"), [
    ({"revision": 0, "edits": [], "settings": {}, "page": 1, "layout": "score"}, 200),
    ({"revision": 7, "edits": [], "settings": {}, "page": 1, "layout": "score"}, 409),
    ({"revision": 0, "edits": [{"edit": "explode"}], "settings": {}, "page": 1, "layout": "score"}, 400),
    ({"revision": 0, "edits": [], "settings": {"score.nothing": 1}, "page": 1, "layout": "score"}, 400),
    ({"revision": 0, "edits": [], "settings": {}, "page": 1, "layout": "../.."}, 400),
    ({"revision": 0, "edits": [], "settings": {}, "page": -4, "layout": "score"}, 200),
    ([], 400), ({"revision": {}}, 400), ({"revision": float("inf")}, 400), ("x" * 9 * 2**20, 413)])
def test_what_the_route_answers(jobs: Jobs, job: str, client: TestClient, body: Any, status: int) -> None:
    answer = client.post(f"/jobs/{job}/changes", content=json.dumps(body))
    assert answer.status_code == status
    assert status == 200 or (answer.json()["problem"] and answer.json()["remedy"])


def test_who_may_change_what(jobs: Jobs, job: str, client: TestClient, tmp_path: Path) -> None:
    body = {"revision": 0, "edits": [], "settings": {}, "page": 1, "layout": "score"}
    assert client.post(f"/jobs/{'A' * 24}/changes", json=body).status_code == 404
    assert client.get("/jobs/..%2f..%2fetc/changes").status_code == 404
    example = jobs.submit(tmp_path / "song.mid", SETTINGS, title="Example", owner="examples")
    jobs.result(example)
    assert client.post(f"/jobs/{example}/changes", json=body).status_code == 403
    assert client.get(f"/jobs/{example}/changes").json()["revision"] == 0


def test_another_way_to_count_is_offered_and_taken(jobs: Jobs, job: str, client: TestClient) -> None:
    assert client.get(f"/jobs/{job}/metres").json() == []  # the file's own beats hold
    free = {"metre.file_beats": "never"}

    def change(revision: int, settings: dict[str, Any]) -> Any:
        body = {"revision": revision, "edits": [], "settings": settings, "page": 1, "layout": "score"}
        return client.post(f"/jobs/{job}/changes", json=body).json()

    found = change(0, free)["song"]["time_signatures"][0]
    choices = client.get(f"/jobs/{job}/metres").json()
    assert [c["found"] for c in choices] == [True] + [False] * (len(choices) - 1)
    assert choices[0]["time_signatures"][0] == f"{found['numerator']}/{found['denominator']}"
    other = next(c for c in choices if c["time_signatures"] != choices[0]["time_signatures"])
    taken = change(1, {**free, **other["settings"]})["song"]["time_signatures"]
    assert {f"{t['numerator']}/{t['denominator']}" for t in taken if t["measure"] > 0} == {*other["time_signatures"]}
    assert client.get(f"/jobs/{job}/metres").json() == choices
    assert change(2, {**free, **choices[0]["settings"]})["song"]["time_signatures"][0] == found
    assert client.get(f"/jobs/{'A' * 24}/metres").status_code == 404


def test_parts_and_lead_sheet_are_those_of_the_score_as_it_stands(jobs: Jobs, job: str, client: TestClient) -> None:
    def parts() -> list[str]:
        answer = client.get(f"/media/{job}/song.parts.zip")
        assert answer.status_code == 200 and "Scale.parts.zip" in answer.headers["content-disposition"]
        return zipfile.ZipFile(io.BytesIO(answer.content)).namelist()

    assert parts() == ["Scale.parts/01-Piano.musicxml", "Scale.parts/01-Piano.pdf"]
    assert client.get(f"/media/{job}/song.lead.musicxml").status_code == 404
    settings = {"score.instruments": "piano=trumpet", "score.lead_sheet": "yes"}
    body = {"revision": 0, "edits": [], "settings": settings, "page": 1, "layout": "score"}
    assert client.post(f"/jobs/{job}/changes", json=body).json()["song"]["lead_sheet"] is True
    assert parts() == ["Scale.parts/01-Trumpet in Bb.musicxml", "Scale.parts/01-Trumpet in Bb.pdf"]
    assert b"Trumpet in" in client.get(f"/media/{job}/song.lead.musicxml").content
    for unknown in ("song.other.zip", "nothing.ogg"):
        assert client.get(f"/media/{job}/{unknown}").status_code == 404


@pytest.fixture(scope="module")
def client(jobs: Jobs) -> TestClient:
    return TestClient(create_app(jobs), cookies={COOKIE: NAME})

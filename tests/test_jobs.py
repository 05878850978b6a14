"""Jobs: durable, in order, as many at once as there are slots, and nothing of what they made is lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from media import scale

from rescored.errors import Cancelled, InputError, LinkError, RescoredError
from rescored.service.history import History
from rescored.service.jobs import Desk, Jobs
from rescored.service.progress import Progress
from rescored.service.work import work
from rescored.settings import Settings
from rescored.stage import Event
from rescored.store import Store

PATIENCE_S = 60.0


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "My ‘song’ / x".replace("/", "-")
    path.write_bytes(b"sound")
    return path.rename(path.with_suffix(".WAV"))


class Steps:
    """Work that goes on one step at a time, when the test lets it."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.most_at_once = 0
        self.finished: list[str] = []
        self.go = threading.Event()

    def __call__(self, desk: Desk) -> None:
        self.running.append(desk.order.title)
        self.most_at_once = max(self.most_at_once, len(self.running))
        try:
            (desk.folder / "notes.json").write_text("[]")
            desk.made("notes")
            while not self.go.wait(0.01):
                desk.tell(fraction=0.5)
            self.finished.append(desk.order.title)
        finally:
            self.running.remove(desk.order.title)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def test_a_job_is_watched_from_the_queue_to_its_result(tmp_path: Path, recording: Path) -> None:
    def work(desk: Desk) -> None:
        assert desk.source().read_bytes() == b"sound"
        desk.tell(title="Found title", text="Hearing the notes", fraction=0.3, left_s=4.0)
        desk.made("notes")
        (desk.folder / "song.json").write_text("{}")
        desk.made("files")

    jobs = Jobs(tmp_path / "jobs", work)
    job = jobs.submit(recording, {"notes.lowest": 30}, title="Given title")
    seen = list(jobs.watch(job))
    assert [s.number for s in seen] == sorted({s.number for s in seen})
    assert seen[-1].state == "done" and seen[-1].fraction == 1.0 and seen[-1].title == "Found title"
    assert seen[-1].made == {"notes": 1, "files": 1}
    assert (jobs.result(job) / "song.json").read_text() == "{}"
    assert jobs.order(job).settings == {"notes.lowest": 30}


def test_the_name_of_an_upload_never_reaches_the_disk(tmp_path: Path, recording: Path) -> None:
    jobs = Jobs(tmp_path / "jobs", lambda desk: None)
    job = jobs.submit(recording, {}, title=recording.stem)
    assert [p.name for p in tmp_path.glob("jobs/uploads/*/*")] == ["source.wav"]
    assert jobs.order(job).source == "source.wav"


def test_two_jobs_share_one_slot_in_the_order_asked(tmp_path: Path, recording: Path) -> None:
    steps = Steps()
    jobs = Jobs(tmp_path / "jobs", steps, slots=1)
    first, second, third = (jobs.submit(recording, {}, title=t) for t in ("first", "second", "third"))
    until(lambda: jobs.snapshot(first).made == {"notes": 1})
    assert [(jobs.snapshot(j).state, jobs.snapshot(j).place) for j in (first, second, third)] == [
        ("running", 0), ("queued", 1), ("queued", 2)]
    jobs.cancel(second)
    assert (jobs.snapshot(second).state, jobs.snapshot(third).place) == ("cancelled", 1)
    steps.go.set()
    jobs.result(third)
    assert steps.finished == ["first", "third"] and steps.most_at_once == 1


def test_two_slots_run_two_jobs_at_once(tmp_path: Path, recording: Path) -> None:
    steps = Steps()
    jobs = Jobs(tmp_path / "jobs", steps, slots=2)
    both = [jobs.submit(recording, {}, title=t) for t in ("a", "b")]
    until(lambda: len(steps.running) == 2)
    steps.go.set()
    assert all(jobs.result(job).is_dir() for job in both)


def test_cancelling_a_running_job_frees_its_slot_and_keeps_what_it_made(tmp_path: Path, recording: Path) -> None:
    steps = Steps()
    jobs = Jobs(tmp_path / "jobs", steps)
    job = jobs.submit(recording, {}, title="unwanted")
    until(lambda: jobs.snapshot(job).made == {"notes": 1})
    jobs.cancel(job)
    with pytest.raises(Cancelled):
        jobs.result(job)
    assert (jobs.job_folder(job) / "notes.json").is_file() and jobs.snapshot(job).made == {"notes": 1}
    steps.go.set()
    assert jobs.result(jobs.submit(recording, {}, title="next")).is_dir()


def test_a_failure_says_what_to_do_and_keeps_what_was_made(tmp_path: Path, recording: Path) -> None:
    def work(desk: Desk) -> None:
        desk.made("sound")
        raise InputError("The recording is silent.", "Check the input level.")

    jobs = Jobs(tmp_path / "jobs", work)
    job = jobs.submit(recording, {})
    with pytest.raises(RescoredError, match=r"The recording is silent\. Check the input level\."):
        jobs.result(job)
    assert jobs.snapshot(job).made == {"sound": 1}


def test_a_bug_does_not_stop_the_worker_and_is_logged(
    tmp_path: Path, recording: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    def work(desk: Desk) -> None:
        if desk.order.title == "bad":
            raise ZeroDivisionError("secret detail")

    jobs = Jobs(tmp_path / "jobs", work)
    bad = jobs.submit(recording, {}, title="bad")
    assert jobs.result(jobs.submit(recording, {}, title="good")).is_dir()
    assert jobs.snapshot(bad).state == "failed" and "secret" not in jobs.snapshot(bad).problem
    assert "ZeroDivisionError" in caplog.text


def test_a_restart_resumes_what_was_cut_short_and_reopens_what_was_done(tmp_path: Path, recording: Path) -> None:
    steps = Steps()
    before = Jobs(tmp_path / "jobs", steps)
    cut, waiting = (before.submit(recording, {"notes.lowest": 40}, title=t, owner="me") for t in ("cut", "waiting"))
    until(lambda: before.snapshot(cut).made == {"notes": 1})

    done: list[str] = []
    beside = Jobs(tmp_path / "jobs", lambda desk: done.append(desk.order.title))  # while the first one lives
    assert beside.snapshot(cut).state == "running"
    (tmp_path / "jobs" / "lock").unlink()  # as if the first server had died
    after = Jobs(tmp_path / "jobs", lambda desk: done.append(desk.order.title))
    after.result(cut)
    after.result(waiting)
    assert done == ["cut", "waiting"]
    assert after.snapshot(cut).made == {"notes": 1}
    assert [order.title for order, _ in after.history.of_owner("me")] == ["waiting", "cut"]

    (tmp_path / "jobs" / "lock").unlink()
    reopened = Jobs(tmp_path / "jobs", lambda desk: pytest.fail("it was done already"))
    assert reopened.result(cut) == after.job_folder(cut)
    before.cancel(cut)


def test_the_same_recording_again_with_other_settings(tmp_path: Path, recording: Path) -> None:
    heard: list[object] = []

    def work(desk: Desk) -> None:
        heard.append((desk.source().read_bytes(), dict(desk.order.settings)))

    jobs = Jobs(tmp_path / "jobs", work)
    first = jobs.submit(recording, {"quantise.finest": 16}, title="song")
    jobs.result(first)
    recording.unlink()
    second = jobs.again(first, {"quantise.finest": 8})
    jobs.result(second)
    assert heard == [(b"sound", {"quantise.finest": 16}), (b"sound", {"quantise.finest": 8})]
    assert jobs.order(second).title == "song"


def test_deleting_leaves_nothing(tmp_path: Path, recording: Path) -> None:
    steps = Steps()
    jobs = Jobs(tmp_path / "jobs", steps)
    running, waiting = (jobs.submit(recording, {}, title=t, owner="me") for t in ("running", "waiting"))
    until(lambda: jobs.snapshot(running).made == {"notes": 1})
    jobs.delete(waiting)
    jobs.delete(running)
    until(lambda: not jobs.job_folder(running).exists() and not jobs.job_folder(waiting).exists())
    assert jobs.history.of_owner("me") == []
    with pytest.raises(InputError, match="no such transcription"):
        jobs.snapshot(waiting)


def test_work_that_takes_too_long_ends_when_it_next_says_how_far_it_is(tmp_path: Path, recording: Path) -> None:
    def work(desk: Desk) -> None:
        Desk(jobs, desk.order, limit_s=60).tell(fraction=0.5)
        Desk(jobs, desk.order, limit_s=-1).tell(fraction=0.6)

    jobs = Jobs(tmp_path / "jobs", work)
    job = jobs.submit(recording, {})
    with pytest.raises(RescoredError, match="took longer"):
        jobs.result(job)
    assert jobs.snapshot(job).fraction == 0.5


@pytest.mark.parametrize("job", ["", "x", "../../etc/passwd", "a" * 24 + "/..", "A" * 24])
def test_an_unknown_job_is_an_error_and_no_path(tmp_path: Path, job: str) -> None:
    jobs = Jobs(tmp_path / "jobs", lambda desk: None)
    for ask in (jobs.snapshot, jobs.order, jobs.result):
        with pytest.raises(InputError, match="no such transcription"):
            ask(job)


def test_results_go_when_they_are_too_old(tmp_path: Path, recording: Path) -> None:
    go = threading.Event()
    go.set()
    jobs = Jobs(tmp_path / "jobs", lambda desk: go.wait(PATIENCE_S) and None, keep_days=0.0)
    old = jobs.submit(recording, {}, owner="me")
    jobs.result(old)
    until(lambda: jobs.snapshot(old).over)
    go.clear()  # one that is not done is kept, however old
    new = jobs.submit(recording, {}, owner="me")
    assert not jobs.job_folder(old).exists() and new in [order.job for order, _ in jobs.history.of_owner("me")]
    go.set()


def test_progress_only_grows_and_ends_at_one() -> None:
    progress = Progress(Settings.preset("full-band"), "audio", {})
    fractions = []
    for name in ("open_source", "decode", "find_separator", "separate"):
        for event in (Event(name, "running"), Event(name, "running", 0.5), Event(name, "done", 1.0)):
            progress.update(event)
            fractions.append(progress.fraction)
    assert progress.left_s is None
    progress.minutes = 2.0
    progress.hear_stems(3)
    for stem in ("vocals", "bass", "other"):
        for event in (Event(f"detect_notes:{stem}", "running", 0.9), Event(f"detect_notes:{stem}", "done", 1.0)):
            progress.update(event)
            fractions.append(progress.fraction)
            assert stem in progress.text
    for name in ("track_pulse", "assemble", "find_metre", "quantise", "split_hands", "find_voices", "spell",
                 "write_score", "engrave", "sound"):
        progress.update(Event(name, "done", 1.0))
        fractions.append(progress.fraction)
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1.0)
    assert progress.left_s == pytest.approx(0.0, abs=0.01)


def test_time_left_follows_this_machines_own_pace(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    settings = Settings.preset("solo-piano")
    before = Progress(settings, "audio", history.pace())
    before.minutes = 1.0
    before.learn(Event("detect_notes:mix", "done", 1.0, seconds=300.0), history)
    before.learn(Event("track_pulse", "done", 1.0, seconds=500.0, cached=True), history)
    after = Progress(settings, "audio", history.pace())
    after.minutes = 1.0
    assert before.left_s is not None and after.left_s is not None
    assert after.left_s - before.left_s == pytest.approx((300 - 30) / 2, abs=1)


@pytest.mark.parametrize("link", ["/etc/hosts", "../other/source.wav", "song.wav", "C:\\song.wav"])
def test_a_link_never_names_a_file_of_this_machine(tmp_path: Path, link: str) -> None:
    jobs = Jobs(tmp_path / "jobs", lambda desk: None)
    with pytest.raises(LinkError):
        jobs.submit(link, {})


def test_a_recording_is_called_as_its_user_calls_it(tmp_path: Path, recording: Path) -> None:
    store = Store(tmp_path / "store")
    jobs = Jobs(tmp_path / "jobs", partial(work, store=store))
    job = jobs.submit(recording, Settings().as_dict(), title="My song")
    with pytest.raises(RescoredError, match=r"^My song could not be read"):
        jobs.result(job)


def test_a_passage_of_a_performance_sounds_from_its_begin(tmp_path: Path) -> None:
    path = tmp_path / "scale.mid"
    path.write_bytes(scale())
    jobs = Jobs(tmp_path / "jobs", partial(work, store=Store(tmp_path / "store")))
    folder = jobs.result(jobs.submit(path, {"audio.start_s": 4.0, "audio.end_s": 9.0}, title="Scale"))
    tracks = json.loads((folder / "tracks.json").read_text())
    first_s = min(note["onset_s"] for note in json.loads((folder / "song.json").read_text())["notes"])
    assert tracks["begin_s"] == 4.0 and 4.0 <= first_s < 4.6
    assert 5.0 <= tracks["duration_s"] < 8.0, "the passage and its last note's sound"


def test_a_disk_that_takes_nothing_is_said_in_words_and_no_worker_is_lost(tmp_path: Path, recording: Path) -> None:
    jobs = Jobs(tmp_path / "store", lambda desk: None)
    (results := tmp_path / "store" / "results").write_text("a file where a folder should be")
    with pytest.raises(RescoredError, match="cannot be used") as refused:
        jobs.result(jobs.submit(recording, {}))
    assert "RESCORED_STORE" in refused.value.remedy
    results.unlink()
    jobs.result(jobs.submit(recording, {}))


def test_a_history_that_cannot_be_written_loses_no_worker_and_no_end(tmp_path: Path, recording: Path) -> None:
    full = threading.Event()

    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA query_only = {int(full.is_set())}")

    sa.event.listen(sa.Engine, "begin", begin)
    try:
        steps = Steps()
        jobs = Jobs(tmp_path / "store", steps)
        job = jobs.submit(recording, {}, title="one")
        until(lambda: jobs.snapshot(job).fraction == 0.5)
        full.set()
        steps.go.set()
        jobs.result(job)
        with pytest.raises(RescoredError, match="list of transcriptions cannot be written"):
            jobs.submit(recording, {}, title="two")
        full.clear()
        jobs.result(jobs.submit(recording, {}, title="three"))
        assert steps.finished == ["one", "three"]
    finally:
        sa.event.remove(sa.Engine, "begin", begin)

"""The work of one job: the pipeline, with every result on the job's shelf as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import Any

from ..bucket import Bucket, default_folder
from ..codec import decode, encode, fingerprint
from ..errors import RescoredError
from ..hearing.links import is_link
from ..hearing.sources import open_source
from ..hearing.transcribe import stems_to_hear
from ..music import Audio, BeatGrid, Note, Part, Performance, Recording, Span, Transcription
from ..notation.arrange import arrange
from ..output.files import save
from ..output.sound import render
from ..pipeline import transcribe
from ..settings import Settings
from ..stage import Event, Runner
from ..store import Store
from . import telemetry
from .jobs import Desk
from .logs import keep_private
from .progress import Progress
from .shelf import SONG, Kind, Shelf, put_pages

HEAVY = frozenset({"find_separator", "separate", "detect_notes", "find_tracker", "track_pulse"})
QUEUES = ("gpu", "cpu")


class Elsewhere(Exception):
    """The next stage is for workers of another queue; what was made so far is in the store."""

    def __init__(self, queue: str):
        super().__init__(queue)
        self.queue = queue


def work(desk: Desk, store: Store, queue: str = "") -> None:
    """Transcribe what the desk's order asks for. Raises RescoredError, and Cancelled when told to stop.

    With `queue` one of `QUEUES`, only what workers of that queue do; then raises `Elsewhere`.
    """
    try:
        _Transcribing(desk, store, queue).run()
    except RescoredError as error:  # the user knows the recording by its title, not by the server's name for the file
        if not desk.order.title:
            raise
        named = error.problem.replace(PurePath(desk.order.source).name, desk.order.title)
        error.args = (named, *error.args[1:])
        raise


class _Passing:
    """What one job's machines found out about themselves (stage.py), kept beside what it made.

    What comes with a warning is not to be handed on to another job: things may be better by then.
    """

    def __init__(self, bucket: Bucket, job: str):
        self.bucket, self._room = bucket, f"results/{job}/passing"

    def get(self, key: str, kind: Any) -> Any | None:
        """As `Store` does."""
        for name in (f"{self._room}/sure/{key}", f"{self._room}/{key}"):
            with suppress(FileNotFoundError):
                return decode(self.bucket.read(name), kind)
        return None

    def put(self, key: str, value: Any, kind: Any) -> Any:
        """As `Store` does."""
        sure = "" if getattr(value, "warnings", ()) else "/sure"
        self.bucket.write(f"{self._room}{sure}/{key}", encode(value))
        return value


class _Reopen(Exception):
    """The source itself is needed after all."""


class _Transcribing:
    """Listens to one run of the pipeline, puts what it makes on the shelf and tells how far it is."""

    def __init__(self, desk: Desk, store: Store, queue: str):
        self.desk, self.store, self.queue = desk, store, queue
        self.settings = Settings().changed(desk.order.settings)
        self.shelf = Shelf(desk.folder, desk.order.job, desk.sounds)
        self.progress = Progress(self.settings, "audio", desk.history.pace())
        self.went_on = self.shelf.has_notes  # the job was begun before
        self.least = desk.fraction  # progress never goes back, though finished stages are gone through again
        self.performance: Performance | None = None
        self.heard: tuple[Note, ...] = ()
        self.passing = _Passing(store.bucket, desk.order.job) if queue else None
        self.remembered: Recording | None = self.passing.get("recording", Recording) if self.passing else None

    def run(self) -> None:
        """All of it, from the order to the files."""
        try:
            self.transcribe()
        except _Reopen:
            self.remembered = None
            self.transcribe()

    def transcribe(self) -> None:
        """The same; `_Reopen` where what is remembered of the source does not do."""
        self.step("open_source")
        recording = self.remembered or self.open()
        keep_private(recording.title)
        self.desk.tell(title=recording.title)
        self.progress = Progress(self.settings, recording.kind, self.desk.history.pace())
        run = Runner(self.store, self.listen, passing=self.passing, before=self.before)
        try:
            result = transcribe(recording, self.settings, edits=self.desk.edits(), run=run)
            self.here("cpu")
        except Elsewhere:
            if self.passing:
                self.passing.put("recording", recording, Recording)
            raise
        self.step("engrave")
        self.engrave(result)
        self.step("sound")
        self.sound(result.performance)
        if result.stems and result.stems.separator != "none":
            self.shelf.put_stems(result.stems, result.source.title)
            self.desk.made("stems")

    def open(self) -> Recording:
        """The source that the order names."""
        order = self.desk.order
        return open_source(
            order.source if is_link(order.source) else self.desk.source(), title=order.title,
            max_minutes=self.settings.audio.max_minutes, fetched=default_folder() / "fetched",
            report=partial(self.step, "open_source"))

    def before(self, stage: str) -> None:
        """A stage is about to be made: is it for workers like this one?"""
        self.here("gpu" if stage in HEAVY else "cpu")
        if self.remembered and stage in ("decode", "read_midi"):
            raise _Reopen

    def here(self, queue: str) -> None:
        """Go on only if this is work for workers of this queue."""
        if self.queue not in ("", queue):
            raise Elsewhere(queue)

    def step(self, stage: str, fraction: float = 0.0, _: str = "") -> None:
        """Something outside the pipeline begins or gets on."""
        self.listen(Event(stage, "running", fraction))

    def listen(self, event: Event) -> None:
        """Take in what happened; raises Cancelled when the job is not wanted any more."""
        telemetry.stage(event)
        self.progress.update(event)
        self.least = max(self.least, self.progress.fraction)
        self.desk.tell(stage=event.stage, text=self.progress.text, fraction=self.least,
                       left_s=self.progress.left_s)
        if event.state == "done":
            self.keep(event.stage.partition(":")[0], event.result, event.cached)
            self.progress.learn(event, self.desk.history)
            if not event.cached:
                self.desk.history.add_timing(self.desk.order.job, event.stage, event.seconds)

    def keep(self, stage: str, result: Any, cached: bool) -> None:
        """Put a stage's result on the shelf where the page can show it."""
        shown = cached and self.went_on  # the page need not see it grow again
        if stage == "decode":
            self.progress.minutes = result.duration_s / 60
            self.shelf.begin_s = result.offset_s
            self.track("original", "Original", "original", fingerprint(result), partial(_same, result))
        elif stage == "separate" and result.separator != "none":
            self.progress.hear_stems(len(stems_to_hear(result, self.settings.notes)))
            for name, audio in result.audio.items():
                self.track(name, name.capitalize(), "stem", fingerprint(audio), partial(_same, audio))
        elif stage == "detect_notes":
            self.heard += result.notes
            if not shown:
                self.notes(Performance(
                    tuple(replace(note, id=str(i)) for i, note in enumerate(self.heard)),
                    tuple(Part(id, id.capitalize()) for id in dict.fromkeys(note.part for note in self.heard))))
        elif stage in ("assemble", "read_midi"):
            self.performance = result
            if stage == "read_midi":
                self.shelf.begin_s = self.settings.audio.start_s
            self.progress.minutes = self.progress.minutes or result.duration_s / 60
            if not shown:
                self.notes(result)
        elif stage == "find_metre" and self.performance and not shown:
            self.notes(self.performance, result)

    def notes(self, performance: Performance, grid: BeatGrid | None = None) -> None:
        """Show the notes as they stand."""
        self.shelf.put_notes(performance, grid)
        self.desk.made("notes")

    def track(self, track: str, name: str, kind: Kind, key: str, make: Callable[[], Audio]) -> None:
        """Let a sound be heard."""
        if self.shelf.put_sound(track, name, kind, key, make):
            self.desk.made("sound")

    def engrave(self, result: Transcription) -> None:
        """The files to take away, and the score's pages."""
        save(result, self.desk.folder, SONG)
        self.desk.made("files")
        put_pages(self.desk.folder, "score")
        self.desk.made("score")

    def sound(self, performance: Performance) -> None:
        """How the transcription sounds, whole and part by part."""
        for track, name, kind, sounding, make in played(performance, self.settings, self.shelf.begin_s):
            self.track(track, name, kind, fingerprint(sounding), make)


def played(
    performance: Performance, settings: Settings, begin_s: float
) -> Iterator[tuple[str, str, Kind, Performance, Callable[[], Audio]]]:
    """The tracks that play a transcription from `begin_s` on, whole and part by part: track, name, kind, what it
    plays, and how to make its sound."""
    performance = _from(arrange(performance, settings=settings.score), begin_s)
    yield "transcription", "Transcription", "transcription", performance, partial(render, performance)
    for part in performance.parts if len(performance.parts) > 1 else ():
        alone = replace(performance, notes=tuple(n for n in performance.notes if n.part == part.id))
        yield f"part-{part.id}", part.name, "part", alone, partial(render, alone)


def _from(performance: Performance, begin_s: float) -> Performance:
    """The performance with its times counted from here on."""
    notes = (replace(n, onset_s=max(n.onset_s - begin_s, 0.0), offset_s=n.offset_s - begin_s)
             for n in performance.notes)
    pedal = (Span(max(span.start_s - begin_s, 0.0), span.end_s - begin_s) for span in performance.pedal)
    return replace(performance, notes=tuple(notes), pedal=tuple(pedal), duration_s=performance.duration_s - begin_s)


def _same(sound: Audio) -> Audio:
    return sound

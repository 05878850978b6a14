"""How far a job is and how long it will take, from the stages' events and this machine's own pace."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ..settings import Settings
from ..stage import Event
from .history import History

# Every stage in order: what a musician reads while it runs, and a first guess of its seconds of work
# for a minute of sound (2 CPU cores), until this machine has been measured.
WORDS = {
    "open_source": "Fetching the recording",
    "decode": "Reading the recording",
    "find_separator": "Looking for the separator",
    "separate": "Taking the instruments apart",
    "detect_notes": "Hearing the notes",
    "find_tracker": "Looking for the beat tracker",
    "track_pulse": "Feeling the pulse",
    "assemble": "Putting the parts together",
    "read_midi": "Reading the performance",
    "find_metre": "Finding beats and bar lines",
    "arrange": "Setting out the instruments",
    "quantise": "Choosing note values",
    "split_hands": "Sharing out the hands",
    "find_voices": "Leading the voices",
    "spell": "Finding the key and naming the notes",
    "find_chords": "Naming the chords",
    "write_score": "Writing the score",
    "write_lead_sheet": "Writing the lead sheet",
    "engrave": "Engraving",
    "sound": "Playing it back",
}
FIRST_GUESS = {
    "open_source": 0.5, "decode": 0.3, "separate": 40.0, "detect_notes": 3.0, "track_pulse": 1.5,
    "find_metre": 1.0, "quantise": 0.5, "engrave": 2.0, "sound": 1.0,
}
TRANSKUN_GUESS = 30.0
SMALL = 0.1
USUAL_STEMS = {"band": 3}  # that notes are heard in, before it is known


class Progress:
    """Turns stage events into a fraction of the whole and seconds left."""

    def __init__(self, settings: Settings, kind: str, pace: Mapping[str, float]):
        heard = {"decode", "find_separator", "separate", "detect_notes", "find_tracker", "track_pulse",
                 "assemble"}
        skipped = heard if kind == "midi" else {"read_midi"}
        if kind == "saved":
            skipped = heard | {"read_midi"}
        if settings.separate.model == "none":
            skipped |= {"find_separator", "separate"}
        self._settings = settings
        self._expected = {s: pace.get(self.pace_key(s), self._guess(s)) for s in WORDS if s not in skipped}
        separated = settings.separate.model != "none"
# Stems that notes are heard in: detect_notes runs so often.
        self._stems = USUAL_STEMS.get(settings.notes.instruments, 1) if separated else 1
        self._stems_done = 0
        self._done: set[str] = set()
        self._stage, self._stage_fraction, self._began = "", 0.0, time.monotonic()
        self.minutes: float | None = None  # length of the recording, once it is known
        self.text = ""

    def pace_key(self, stage: str) -> str:
        """Under which name a stage's pace is kept: models differ by orders of magnitude."""
        if stage == "separate":
            return f"{stage}/{self._settings.separate.model}"
        if stage == "detect_notes":
            return f"{stage}/{self._settings.notes.transcriber}/{self._settings.notes.instruments}"
        return stage

    def _guess(self, stage: str) -> float:
        notes = self._settings.notes
        piano = notes.transcriber == "transkun" or (notes.transcriber == "auto" and "piano" in notes.instruments)
        return TRANSKUN_GUESS if stage == "detect_notes" and piano else FIRST_GUESS.get(stage, SMALL)

    def hear_stems(self, count: int) -> None:
        """Notes are heard in this many stems."""
        self._stems = max(count, 1)

    def update(self, event: Event) -> None:
        """Take in what happened."""
        stage, _, label = event.stage.partition(":")
        if stage not in self._expected:
            return
        if stage != self._stage:
            self._stage, self._began = stage, time.monotonic()
        share = 1 / self._stems if stage == "detect_notes" else 1.0
        if event.state == "done":
            self._stems_done += stage == "detect_notes"
            self._stage_fraction = self._stems_done * share if stage == "detect_notes" else 1.0
            if self._stage_fraction > 0.999:
                self._done.add(stage)
        else:
            before = self._stems_done * share if stage == "detect_notes" else 0.0
            self._stage_fraction = before + event.fraction * share
        named = f" ({label})" if label and self._stems > 1 else ""
        self.text = WORDS[stage] + named

    def learn(self, event: Event, history: History) -> None:
        """Move a stage's pace half-way to what was measured, unless its result came from the store.

        Half-way, since the first run of a process also loads and compiles.
        """
        stage = event.stage.partition(":")[0]
        if self.minutes and not event.cached and stage in self._expected:
            measured = event.seconds / max(self.minutes, 0.25)
            before = history.pace().get(self.pace_key(stage), self._guess(stage))
            history.set_pace(self.pace_key(stage), (before + measured) / 2)

    @property
    def fraction(self) -> float:
        """Of the whole job, 0..1."""
        return 1 - self._left(self._stage_fraction) / max(self.pace, 1e-9)

    @property
    def pace(self) -> float:
        """Work on the whole, in seconds a minute of sound."""
        return sum(map(self._work, self._expected))

    @property
    def left_s(self) -> float | None:
        """Seconds left; None while the length of the recording is not known."""
        if self.minutes is None:
            return None
        planned = self._left(self._stage_fraction) * self.minutes
        if self._stage in self._expected and self._stage not in self._done and self._stage_fraction > 0.1:
            # This stage's own speed so far says more than the plan.
            elapsed = time.monotonic() - self._began
            left_here = elapsed * (1 - self._stage_fraction) / self._stage_fraction
            planned += left_here - self._work(self._stage) * (1 - self._stage_fraction) * self.minutes
        return max(planned, 0.0)

    def _left(self, stage_fraction: float) -> float:
        """Work that is still to do, in seconds a minute of sound; stages before the running one are over."""
        stages = list(self._expected)
        at = stages.index(self._stage) if self._stage in stages else 0
        here = self._work(stages[at]) * (1 - stage_fraction)
        return here + sum(map(self._work, stages[at + 1 :]))

    def _work(self, stage: str) -> float:
        """Of one stage, in seconds a minute of sound; its pace is that of a single stem."""
        return self._expected[stage] * (self._stems if stage == "detect_notes" else 1)

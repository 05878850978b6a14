"""READ FIRST: the whole way from a recording to a score, every stage in order.

    recording -> audio -> stems -> notes  \\
                     \\--> pulse ---------> performance -> grid -> places -> hands -> voices
    MIDI file ---------------------------/               -> spelling -> score

`hear` works in seconds, `notate` in quarter lengths; they meet only in `Performance`. Each stage is
a pure function run by `Runner`, which keeps its result by content and settings (stage.py, store.py).
"""

from __future__ import annotations

from pathlib import Path

from .hearing.assemble import assemble
from .hearing.audio import decode
from .hearing.midi import read_midi
from .hearing.pulse import find_tracker, track_pulse
from .hearing.separate import find_separator, separate
from .hearing.sources import open_source
from .hearing.transcribe import detect_notes, stems_to_hear
from .music import BeatGrid, Performance, Recording, Score, Source, Stems, Transcription
from .notation.hands import split_hands
from .notation.metre import find_metre
from .notation.quantise import quantise
from .notation.score import write_score
from .notation.spelling import spell
from .notation.voices import find_voices
from .settings import Settings
from .stage import Listener, Runner, unheard
from .store import Store


def transcribe(
    source: str | Path | Recording,
    settings: Settings | None = None,
    *,
    store: Store | None = None,
    listen: Listener = unheard,
) -> Transcription:
    """A recording (audio or video file, performance MIDI, link) as a score.

    `store` keeps every stage's result, so that a second run with one setting changed only re-runs
    what depends on it; None keeps nothing. `listen` gets an `Event` for everything that happens and
    may raise `Cancelled`. Raises `RescoredError` for anything that the user can put right.
    """
    settings = settings or Settings()
    run = Runner(store, listen)
    recording = source if isinstance(source, Recording) else open_source(source, max_minutes=settings.audio.max_minutes)
    performance, stems, heard_by = hear(recording, settings, run)
    grid, score = notate(performance, settings, run, title=recording.title)
    return Transcription(
        source=Source(
            title=recording.title, kind=recording.kind, sha256=recording.sha256, url=recording.url,
            duration_s=performance.duration_s, separator=stems.separator if stems else "none",
            transcribers=heard_by, tracker=performance.pulse.tracker if performance.pulse else "",
        ),
        settings=settings.as_dict(), performance=performance, grid=grid, score=score,
        warnings=performance.warnings, stems=stems,
    )


def hear(recording: Recording, settings: Settings, run: Runner) -> tuple[Performance, Stems | None, tuple[str, ...]]:
    """Sound (or a MIDI file) to performed notes; also the stems, and the names of the listeners."""
    if recording.kind == "midi":
        passage_s = (settings.audio.start_s, settings.audio.end_s)
        return run(read_midi, recording, passage_s, settings=settings.notes), None, ()
    audio = run(decode, recording, settings=settings.audio)
    separator = run(find_separator, settings=settings.separate)
    stems = run(separate, audio, separator, settings=settings.separate)
    heard = {
        stem: run(detect_notes, stems.audio[stem], stem, settings=settings.notes, label=stem)
        for stem in stems_to_hear(stems, settings.notes)
    }
    pulse = run(track_pulse, audio, find_tracker(settings.pulse), settings=settings.pulse)
    performance = run(assemble, audio, stems.warnings, heard, pulse, settings=settings.notes)
    return performance, stems, tuple(sorted({h.transcriber for h in heard.values()}))


def notate(performance: Performance, settings: Settings, run: Runner, *, title: str = "") -> tuple[BeatGrid, Score]:
    """Performed notes to a score, and the grid that maps between their times and its measures."""
    grid = run(find_metre, performance, settings=settings.metre)
    return grid, notate_on(grid, performance, settings, run, title=title)


def notate_on(grid: BeatGrid, performance: Performance, settings: Settings, run: Runner, *, title: str = "") -> Score:
    """Performed notes to a score on beats and measures that are known."""
    placed = run(quantise, performance, grid, settings=settings.quantise)
    staved = run(split_hands, placed, performance, settings=settings.hands)
    voiced = run(find_voices, staved, grid, performance, settings=settings.voices)
    spelled = run(spell, voiced, grid, performance.parts, settings=settings.spelling)
    return run(write_score, spelled, grid, performance, title, settings=settings.score)

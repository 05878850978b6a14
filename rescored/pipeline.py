"""READ FIRST: the whole way from a recording to a score, every stage in order.

    recording -> audio -> stems -> notes  \\
                     \\--> pulse ---------> performance -> grid -> arranged -> places -> hands -> voices
    MIDI file ---------------------------/      ^        -> spelling -> chords -> score -> lead sheet
                                              edits

`hear` works in seconds, `notate` in quarter lengths; they meet only in `Performance`. Each stage is
a pure function run by `Runner`, which keeps its result by content and settings (stage.py, store.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .edits import replay
from .hearing.assemble import assemble
from .hearing.audio import decode
from .hearing.midi import read_midi
from .hearing.pulse import find_tracker, track_pulse
from .hearing.separate import find_separator, separate
from .hearing.sources import open_source
from .hearing.transcribe import detect_notes, heard_beside, stems_to_hear
from .music import (
    NO_WISHES,
    BeatGrid,
    Edit,
    Edited,
    MetreChoice,
    Performance,
    Recording,
    Score,
    Source,
    Stems,
    Transcription,
)
from .notation.arrange import arrange
from .notation.chords import find_chords
from .notation.hands import split_hands
from .notation.lead import wants_lead_sheet, write_lead_sheet
from .notation.metre import find_metre
from .notation.metre_choices import taken, unasked, weigh_metres
from .notation.quantise import quantise
from .notation.score import write_score
from .notation.spelling import spell
from .notation.voices import find_voices
from .output.files import load
from .settings import Settings
from .stage import Listener, Runner, unheard
from .store import Store


def transcribe(
    source: str | Path | Recording,
    settings: Settings | None = None,
    *,
    edits: tuple[Edit, ...] | None = None,
    store: Store | None = None,
    listen: Listener = unheard,
    run: Runner | None = None,
) -> Transcription:
    """A recording (audio or video file, performance MIDI, link) as a score.

    `edits` are replayed on what was heard. A saved transcription (song.json) is written anew from what was
    heard then, where `settings` and `edits` of None mean its own. `store` keeps every stage's result, so that a
    second run with one setting changed only re-runs what depends on it; None keeps nothing. `listen` gets an
    `Event` for everything that happens and may raise `Cancelled`; `run` is what runs the stages instead. Raises
    `RescoredError` for anything that the user can put right.
    """
    limits = settings or Settings()
    run = run or Runner(store, listen)
    recording = source if isinstance(source, Recording) else open_source(source, max_minutes=limits.audio.max_minutes)
    if recording.kind == "saved":
        saved = load(recording.path)
        return renotate(saved, settings or saved_settings(saved), saved.edits if edits is None else edits, run)
    heard, stems, heard_by = hear(recording, limits, run)
    about = Source(
        title=recording.title, kind=recording.kind, sha256=recording.sha256, url=recording.url,
        duration_s=heard.duration_s, separator=stems.separator if stems else "none",
        transcribers=heard_by, tracker=heard.pulse.tracker if heard.pulse else "",
    )
    return _written(about, heard, limits, edits or (), run, stems)


def renotate(transcription: Transcription, settings: Settings, edits: tuple[Edit, ...], run: Runner) -> Transcription:
    """The transcription written anew from what was heard, with these edits and no others; no model runs."""
    heard = transcription.heard or transcription.performance
    return _written(transcription.source, heard, settings, edits, run, transcription.stems)


def saved_settings(transcription: Transcription) -> Settings:
    """The settings that a transcription was made with, as far as they still exist."""
    known = Settings().as_dict()
    return Settings().changed({name: value for name, value in transcription.settings.items() if name in known})


def _written(
    source: Source, heard: Performance, settings: Settings, edits: tuple[Edit, ...], run: Runner, stems: Stems | None
) -> Transcription:
    edited = run(replay, heard, edits)
    grid, score = notate(heard, settings, run, title=source.title, edited=edited)
    return Transcription(
        source=source, settings=settings.as_dict(), performance=edited.performance, grid=grid, score=score,
        warnings=(*edited.performance.warnings, *_beyond_range(score)), stems=stems, edits=edits,
        heard=heard if edits else None,
        lead=run(write_lead_sheet, score, edited.performance) if wants_lead_sheet(score, settings.score) else None,
    )


def _beyond_range(score: Score) -> Iterator[str]:
    """What to say of notes that an instrument does not have."""
    count = Counter(score.note[n].part for n in score.unplayable)
    for part in score.parts:
        if count[part.id]:
            notes = "One note is" if count[part.id] == 1 else f"{count[part.id]} notes are"
            yield f"{notes} beyond the range of {part.name}, and red in the score."


def hear(recording: Recording, settings: Settings, run: Runner) -> tuple[Performance, Stems | None, tuple[str, ...]]:
    """Sound (or a MIDI file) to performed notes; also the stems, and the names of the listeners."""
    if recording.kind == "midi":
        passage_s = (settings.audio.start_s, settings.audio.end_s)
        return run(read_midi, recording, passage_s, settings=settings.notes), None, ()
    audio = run(decode, recording, settings=settings.audio)
    separator = run(find_separator, settings=settings.separate)
    stems = run(separate, audio, separator, settings=settings.separate)
    wanted = stems_to_hear(stems, settings.notes)
    heard = {
        stem: run(detect_notes, wanted[stem], stem, heard_beside(stems, audio), settings=settings.notes,
                  label=stem)
        for stem in sorted(wanted, key=lambda stem: stem != "piano")  # which says most, so it can be seen first
    }
    heard = {stem: heard[stem] for stem in wanted}
    pulse = run(track_pulse, audio, run(find_tracker, settings=settings.pulse), settings=settings.pulse)
    performance = run(assemble, audio, stems.warnings, heard, pulse, settings=settings.notes)
    return performance, stems, tuple(sorted({h.transcriber for h in heard.values()}))


def notate(
    performance: Performance, settings: Settings, run: Runner, *, title: str = "", edited: Edited | None = None
) -> tuple[BeatGrid, Score]:
    """Performed notes to a score, and the grid that maps between their times and its measures.

    `edited` is the performance with corrections, which move no bar lines: those go by what was heard.
    """
    grid = run(find_metre, performance, settings=settings.metre)
    return grid, notate_on(grid, performance, settings, run, title=title, edited=edited)


def metre_choices(performance: Performance, settings: Settings, run: Runner) -> list[tuple[MetreChoice, Settings]]:
    """Ways to count what was heard, likeliest first, and settings by which `notate` writes it so; none where a MIDI
    file's own beats hold."""
    choices = run(weigh_metres, performance, settings=unasked(settings.metre))
    return [(choice, replace(settings, metre=taken(settings.metre, choice))) for choice in choices]


def notate_on(
    grid: BeatGrid, performance: Performance, settings: Settings, run: Runner, *, title: str = "",
    edited: Edited | None = None,
) -> Score:
    """Performed notes, or those that are `edited`, to a score on beats and measures that are known."""
    performance, wishes = (edited.performance, edited.wishes) if edited else (performance, NO_WISHES)
    performance = run(arrange, performance, settings=settings.score)
    if settings.score.transpose % 12:  # the names that were wished for, and the keys, are those of other pitches
        wishes = replace(wishes, spelling={})
        grid = replace(grid, keys=tuple(key.transposed(settings.score.transpose) for key in grid.keys))
    placed = run(quantise, performance, grid, settings=settings.quantise)
    staved = run(split_hands, placed, performance, wishes, settings=settings.hands)
    voiced = run(find_voices, staved, grid, performance, wishes, settings=settings.voices)
    spelled = run(spell, voiced, grid, performance.parts, wishes, settings=settings.spelling)
    chords = run(find_chords, spelled, grid, performance.parts)
    return run(write_score, spelled, grid, performance, title, chords, settings=settings.score)

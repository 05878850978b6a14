"""Stage `detect_notes`: which notes sound in one stem. One module a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...music import Audio, Heard, Note, Stems
from ...plugins import transcribers
from ...settings import NoteSettings
from ...stage import Report, silent, stage

SILENT = 1e-4  # peak of a stem in which nothing plays, -80 dBFS
BESIDE_DB = 35.0  # a stem this much weaker than the loudest is what separation left behind


def stems_to_hear(stems: Stems, settings: NoteSettings) -> tuple[str, ...]:
    """The stems that become parts, in score order; those in which nothing plays are left out."""
    wanted = {
        "piano-in-band": ("piano", "other", "mix"),  # the first of these
        "band": ("mix", "vocals", "guitar", "piano", "other", "bass"),
    }.get(settings.instruments, ("mix",))
    here = [name for name in wanted if name in stems.audio]
    if settings.instruments == "piano-in-band":
        here = here[:1]
    loudness = {name: _level(audio) for name, audio in stems.audio.items()}
    floor = max(loudness.values()) * 10 ** (-BESIDE_DB / 20)
    return tuple(name for name in here if len(here) == 1 or loudness[name] > floor)


def _level(audio: Audio) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(audio.samples)))) if audio.samples.size else 0.0


@stage(version=3)
def detect_notes(audio: Audio, stem: str, *, settings: NoteSettings, report: Report = silent) -> Heard:
    """The notes of one stem, in seconds from its begin, each with velocity and confidence (0..1).

    Near-misses, which the user may accept, are the result's `candidates`. A silent stem has no notes.
    """
    transcriber = _transcriber(stem, settings)
    if np.abs(audio.samples).max(initial=0.0) < SILENT:
        return Heard((), transcriber=transcriber)
    if transcriber == "drums":
        from .drums import hear_drums

        heard, settings = hear_drums(audio, report), replace(settings, lowest=0, highest=127)  # these are no pitches
    elif transcriber in transcribers:
        heard = transcribers[transcriber](audio, settings, report)
    elif transcriber == "transkun":
        from .transkun import hear_piano

        heard = hear_piano(audio, report)
    else:
        from .basic_pitch import hear_any
        from .monophonic import RANGES, hear_line

        heard = (hear_line(audio, stem, settings, report) if stem in RANGES else hear_any(audio, settings, report))
    return replace(heard, notes=_named(heard.notes, "n", settings), candidates=_named(heard.candidates, "c", settings))


def _transcriber(stem: str, settings: NoteSettings) -> str:
    if stem == "drums":
        return "drums"
    if settings.transcriber != "auto":
        return settings.transcriber
    piano = settings.instruments in ("piano", "piano-in-band") or stem == "piano"
    return "transkun" if piano else "basic-pitch"


def _named(notes: tuple[Note, ...], prefix: str, settings: NoteSettings) -> tuple[Note, ...]:
    """The notes within the range, in order of time, numbered."""
    wanted = [n for n in notes if settings.lowest <= n.pitch <= settings.highest]
    wanted.sort(key=lambda n: (n.onset_s, n.pitch))
    return tuple(replace(n, id=f"{prefix}{i}") for i, n in enumerate(wanted, 1))

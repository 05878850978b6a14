"""Stage `detect_notes`: which notes sound in one stem. One module a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...models import turn_at_gpu
from ...music import Audio, Heard, Note, Stems
from ...plugins import transcribers
from ...room import blocks, loudest, zeros
from ...settings import NoteSettings
from ...stage import Report, silent, stage
from ..audio import QUIETEST
from ..weights import BUILT_IN

OF_A_BAND = ("mix", "vocals", "guitar", "piano", "other", "bass", "drums")  # stems, in score order
BESIDE_DB = 35.0  # a stem this much weaker than the loudest is what separation left behind
DRUMS_BESIDE_DB = 25.0  # stricter: whatever else is struck or plucked there would be heard as drums


def stems_to_hear(stems: Stems, settings: NoteSettings) -> dict[str, Audio]:
    """The sounds that become parts, by name, in score order; those in which nothing plays are left out.

    Drums are heard in stems that Demucs (or a plugin) made. In those of the separator that ships so much else
    is left that most snares and hi-hats heard there would be false.
    A piano in a band is heard in all that is neither voice, bass nor drums. htdemucs_6s tells piano from
    guitar badly (its authors say so): with its stems, both are heard together.
    """
    if settings.instruments == "piano-in-band":
        return _around_a_piano(stems)
    wanted = OF_A_BAND if settings.instruments == "band" else ("mix",)
    here = {name: stems.audio[name] for name in wanted if name in stems.audio}
    if stems.separator == BUILT_IN:
        here.pop("drums", None)
    loudest = max(map(_level, stems.audio.values()))
    return {name: sound for name, sound in here.items() if len(here) == 1 or _level(sound) > loudest * _share(name)}


def _share(stem: str) -> float:
    """Of the loudest stem's level: what a stem in which something plays has at least."""
    return float(10 ** (-(DRUMS_BESIDE_DB if stem == "drums" else BESIDE_DB) / 20))


def _around_a_piano(stems: Stems) -> dict[str, Audio]:
    if "piano" in stems.audio and "guitar" in stems.audio:
        piano, guitar = stems.audio["piano"], stems.audio["guitar"]
        both = zeros(piano.samples.shape)
        for start, block in blocks(both):
            end = start + block.shape[1]
            block[:] = piano.samples[:, start:end] + guitar.samples[:, start:end]
        return {"piano + guitar": replace(piano, samples=both)}
    name = next((name for name in ("piano", "other", "mix") if name in stems.audio), None)
    return {name: stems.audio[name]} if name else {}


def _level(audio: Audio) -> float:
    """Root mean square."""
    squares = sum(float(np.square(block, dtype=np.float64).sum()) for _, block in blocks(audio.samples))
    return float(np.sqrt(squares / max(audio.samples.size, 1)))


@stage(version=7)
def detect_notes(audio: Audio, stem: str, *, settings: NoteSettings, report: Report = silent) -> Heard:
    """The notes of one stem, in seconds from its begin, each with velocity and confidence (0..1).

    Near-misses, which the user may accept, are the result's `candidates`. A silent stem has no notes.
    """
    transcriber = _transcriber(stem, settings)
    if loudest(audio.samples) < QUIETEST:
        return Heard((), transcriber=transcriber)
    if transcriber == "drums":
        from .drums import hear_drums

        heard, settings = hear_drums(audio, report), replace(settings, lowest=0, highest=127)  # these are no pitches
    elif transcriber in transcribers:
        heard = transcribers[transcriber](audio, settings, report)
    elif transcriber == "transkun":
        from .transkun import hear_piano

        with turn_at_gpu(report):
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

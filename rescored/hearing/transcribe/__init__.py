"""Stage `detect_notes`: which notes sound in one stem. One module a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...models import turn_at_gpu
from ...music import Audio, Heard, Note, Stems
from ...plugins import transcribers
from ...room import blocks, let_go, loudest, zeros
from ...settings import NoteSettings
from ...stage import Report, silent, stage
from ..audio import QUIETEST
from ..weights import BUILT_IN

OF_A_BAND = ("mix", "vocals", "guitar", "piano", "other", "bass", "drums")  # stems, in score order
BESIDE_DB = 35.0  # a stem this much weaker than the loudest is what separation left behind
DRUMS_BESIDE_DB = 25.0  # stricter: whatever else is struck or plucked there would be heard as drums

# Of the voice's stem, in the accompaniment's, where stems are rough. None finds .35 of the accompaniment (onset F1, the
# example and the four bands of tools/bench_bands.py) and .54 of the melody, half .59 and .51, all .58 and .15. Of a
# piano in three of them none finds .33, half .48.
ROUGH_VOICE = 0.5


def stems_to_hear(stems: Stems, settings: NoteSettings) -> dict[str, Audio]:
    """The sounds that become parts, by name, in score order; those in which nothing plays are left out.

    The separator that ships tells a voice from the middle of its accompaniment badly: some of the voice sounds along
    with the rest, and notes that both then have stay where they are louder.
    A piano in a band is heard in all that is neither voice, bass nor drums, with as much of a rough voice.
    htdemucs_6s tells piano from guitar badly (its authors say so): with its stems, both are heard together.
    """
    if settings.instruments == "piano-in-band":
        return _around_a_piano(stems)
    wanted = OF_A_BAND if settings.instruments == "band" else ("mix",)
    here = {name: stems.audio[name] for name in wanted if name in stems.audio}
    loudest = max(map(_level, stems.audio.values()))
    here = {name: sound for name, sound in here.items() if len(here) == 1 or _level(sound) > loudest * _share(name)}
    if stems.separator == BUILT_IN and {"vocals", "other"} <= here.keys():
        here["other"] = _together(here["other"], here["vocals"], ROUGH_VOICE)
    return here


def heard_beside(stems: Stems, mix: Audio) -> Audio | None:
    """The whole recording, where stems are too rough to be heard alone: those of the separator that ships."""
    return mix if stems.separator == BUILT_IN else None


def _share(stem: str) -> float:
    """Of the loudest stem's level: what a stem in which something plays has at least."""
    return float(10 ** (-(DRUMS_BESIDE_DB if stem == "drums" else BESIDE_DB) / 20))


def _around_a_piano(stems: Stems) -> dict[str, Audio]:
    if "piano" in stems.audio and "guitar" in stems.audio:
        return {"piano + guitar": _together(stems.audio["piano"], stems.audio["guitar"])}
    if stems.separator == BUILT_IN and {"vocals", "other"} <= stems.audio.keys():
        return {"other": _together(stems.audio["other"], stems.audio["vocals"], ROUGH_VOICE)}
    name = next((name for name in ("piano", "other", "mix") if name in stems.audio), None)
    return {name: stems.audio[name]} if name else {}


def _together(one: Audio, other: Audio, share: float = 1.0) -> Audio:
    """One sound and a share of the other."""
    both = zeros(one.samples.shape)
    for start, block in blocks(both):
        end = start + block.shape[1]
        block[:] = one.samples[:, start:end] + share * other.samples[:, start:end]
        let_go(one.samples)
        let_go(other.samples)
    return replace(one, samples=both)


def _level(audio: Audio) -> float:
    """Root mean square."""
    squares = sum(float(np.square(block, dtype=np.float64).sum()) for _, block in blocks(audio.samples))
    return float(np.sqrt(squares / max(audio.samples.size, 1)))


@stage(version=9)
def detect_notes(
    audio: Audio, stem: str, beside: Audio | None = None, *, settings: NoteSettings, report: Report = silent
) -> Heard:
    """The notes of one stem, in seconds from its begin, each with velocity and confidence (0..1).

    `beside` is the whole recording, where `heard_beside` gives it. Near-misses, which the user may accept, are the
    result's `candidates`. A silent stem has no notes.
    """
    transcriber = _transcriber(stem, settings)
    if loudest(audio.samples) < QUIETEST:
        return Heard((), transcriber=transcriber)
    if transcriber == "drums":
        from .drums import hear_drums

        heard = hear_drums(audio, beside, report)
        settings = replace(settings, lowest=0, highest=127)  # these are no pitches
    elif transcriber in transcribers:
        heard = transcribers[transcriber](audio, settings, report)
    elif transcriber == "transkun":
        from .transkun import hear_piano

        with turn_at_gpu(report):
            heard = hear_piano(audio, report)
    else:
        from .basic_pitch import hear_any
        from .monophonic import RANGES, hear_line

        heard = (hear_line(audio, stem, settings, report, rough=beside is not None) if stem in RANGES
                 else hear_any(audio, settings, report))
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

"""Stage `assemble`: what was heard in every stem, and in the whole sound, as one performance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..music import PIANO, Audio, Heard, Note, Part, Performance, Pulse, Span
from ..settings import NoteSettings
from ..stage import Report, silent, stage

SAME_ONSET_S = 0.05  # of one note that two stems have
SELDOM = 0.01  # share of the recording: a part that sounds for less is none
FLICKER = 0.1  # share of an accompaniment's time: another that sounds for less is the same, strayed into its stem
ACCOMPANIMENT = ("guitar", "piano", "other")
LOUD = 100  # velocity of the loud notes (95th percentile) where velocities are levels of the recording

_STEMS = {
    "vocals": Part("vocals", "Voice", program=52),
    "guitar": Part("guitar", "Guitar", program=25),
    "piano": PIANO,
    "other": Part("other", "Accompaniment", staves=2),
    "bass": Part("bass", "Bass", program=33),
    "drums": Part("drums", "Drums", percussion=True),
}
_WHOLE = {  # the recording as it is, by what plays in it
    "piano": PIANO,
    "melody": Part("melody", "Melody", program=73),
    "guitar": _STEMS["guitar"],
    "piano-in-band": PIANO,
    "band": Part("band", "Band", staves=2),
}


@stage(version=2)
def assemble(
    audio: Audio, stem_warnings: tuple[str, ...], heard: Mapping[str, Heard], pulse: Pulse,
    *, settings: NoteSettings, report: Report = silent,
) -> Performance:
    """One performance of all stems, in score order, at the times of the whole recording.

    A note that two stems have (same pitch, onsets within 50 ms) has leaked from one into the other
    and is kept where it is louder; a stem of nothing else gives no part. A stem with hardly any notes
    gives none of its own (`_settled`). Raises `InputError` if no notes were heard at all.
    """
    heard = _settled(heard, audio.duration_s)
    parts = {stem: _part(stem, settings.instruments) for stem, h in heard.items() if h.notes}
    if not parts:
        raise InputError("No notes were heard in this recording.",
                         "Choose what plays in it, or lower notes.onset_threshold.")
    begin_s = audio.offset_s
    notes = {stem: _placed(heard[stem].notes, part, begin_s, len(parts)) for stem, part in parts.items()}
    near = [_placed(heard[stem].candidates, part, begin_s, len(parts)) for stem, part in parts.items()]
    pedal = sorted((s for h in heard.values() for s in h.pedal), key=lambda s: s.start_s)
    measured = {p.id for stem, p in parts.items() if heard[stem].transcriber == "basic-pitch"}
    warnings = [w for h in heard.values() for w in h.warnings]
    own = _brought_up(_without_bleed([n for found in notes.values() for n in found]), measured)
    sounding = {n.part for n in own}
    return Performance(
        notes=own,
        parts=tuple(p for p in parts.values() if p.id in sounding),
        pedal=tuple(Span(s.start_s + begin_s, s.end_s + begin_s) for s in pedal),
        pulse=_later(pulse, begin_s),
        candidates=tuple(n for found in near for n in found if n.part in sounding),
        duration_s=begin_s + audio.duration_s,
        warnings=tuple(dict.fromkeys((*audio.warnings, *stem_warnings, *warnings))),
    )


def _settled(heard: Mapping[str, Heard], duration_s: float) -> dict[str, Heard]:
    """Without instruments that flicker in and out: separation moves an accompaniment between stems for
    moments, and leaves scraps in stems of what does not play."""
    sounding_s = {stem: sum(n.offset_s - n.onset_s for n in h.notes) for stem, h in heard.items()}
    result = dict(heard)
    accompaniment = [stem for stem in ACCOMPANIMENT if sounding_s.get(stem)]
    for stem in accompaniment:
        main = max(accompaniment, key=lambda s: sounding_s[s])
        if sounding_s[stem] < FLICKER * sounding_s[main]:
            strayed = result.pop(stem)
            new = [replace(n, id=f"{stem}-{n.id}") for n in strayed.notes if not _any_like(n, result[main].notes)]
            result[main] = replace(result[main], notes=(*result[main].notes, *new))
    seldom = [stem for stem in result if 0 < sounding_s[stem] < SELDOM * duration_s]
    if len(seldom) < len(result):
        for stem in seldom:
            del result[stem]
    return result


def _any_like(note: Note, others: Iterable[Note]) -> bool:
    """Whether one of the others has this pitch and onset."""
    return any(o.pitch == note.pitch and abs(o.onset_s - note.onset_s) <= SAME_ONSET_S for o in others)


def _part(stem: str, instruments: str) -> Part:
    """A stem's part; the stem that a piano in a band was heard in is a piano, whatever its name."""
    return _WHOLE[instruments] if stem == "mix" or instruments == "piano-in-band" else _STEMS[stem]


def _placed(notes: tuple[Note, ...], part: Part, begin_s: float, parts: int) -> tuple[Note, ...]:
    """The notes in their part and at the recording's times; ids are told apart where there are several parts."""
    prefix = f"{part.id}-" if parts > 1 else ""
    return tuple(
        replace(n, id=prefix + n.id, part=part.id, onset_s=n.onset_s + begin_s, offset_s=n.offset_s + begin_s)
        for n in notes
    )


def _without_bleed(notes: list[Note]) -> tuple[Note, ...]:
    kept: list[Note] = []
    by_pitch: dict[int, list[Note]] = {}
    for note in sorted(notes, key=lambda n: -n.velocity):
        if note.part == _STEMS["drums"].id:  # its numbers are drums, not pitches
            kept.append(note)
            continue
        others = by_pitch.setdefault(note.pitch, [])
        if not _any_like(note, (o for o in others if o.part != note.part)):
            others.append(note)
            kept.append(note)
    return tuple(kept)


def _brought_up(notes: tuple[Note, ...], measured: set[str]) -> tuple[Note, ...]:
    """Velocities that were measured as levels, all by one factor, so that a soft recording is not all pianissimo."""
    levels = [n.velocity for n in notes if n.part in measured]
    factor = LOUD / float(np.percentile(levels, 95)) if levels else 1.0
    return tuple(
        replace(n, velocity=max(1, min(127, round(n.velocity * factor)))) if n.part in measured else n for n in notes
    )


def _later(pulse: Pulse, begin_s: float) -> Pulse:
    """The pulse counted from the begin of the recording: nothing is known of what lies before."""
    before = np.zeros(round(begin_s * pulse.rate_hz))
    return replace(pulse, beat=np.concatenate([before, pulse.beat]), downbeat=np.concatenate([before, pulse.downbeat]))

"""How a transcription sounds: its notes played by a General MIDI soundfont."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ..music import Audio, Note, Performance, Span
from ..room import BLOCK, blocks, let_go, loudest, zeros
from .midi import channels, key_presses, keyboards

_TAIL_S = 2.0  # after the last note: what still rings
_DRUM_BANK = 128
_OFF, _ON = range(2)  # in this order at equal times


def render(performance: Performance, rate_hz: int = 44100) -> Audio:
    """The performance as stereo sound, brought down to full scale where it exceeds that.

    Played by TinySoundFont with TimGM6mb, the soundfont in pretty_midi's wheel. TinySoundFont knows
    no pedal, so notes that it holds are lengthened.
    """
    import tinysoundfont

    synth = tinysoundfont.Synth(samplerate=rate_hz, gain=0)
    font = synth.sfload(str(_soundfont()))
    pedalled = keyboards(performance.parts)
    events: list[tuple[int, int, int, int, int]] = []  # frame, kind, channel, pitch, velocity
    for part, channel in zip(performance.parts, channels(performance.parts), strict=True):
        synth.program_select(channel, font, _DRUM_BANK if part.percussion else 0, part.program, part.percussion)
        pedal = performance.pedal if part.id in pedalled else ()
        notes = [(round(n.onset_s * rate_hz), round(_silenced_s(n, pedal) * rate_hz), n.pitch, n.velocity)
                 for n in performance.notes if n.part == part.id]
        for on, off, pitch, velocity in key_presses(notes):
            events += [(on, _ON, channel, pitch, velocity), (off, _OFF, channel, pitch, 0)]
    last = max((frame for frame, *_ in events), default=0)
    end = max(round(performance.duration_s * rate_hz), last + round(_TAIL_S * rate_hz))
    sound = zeros((2, end))
    now = shown = 0
    for frame, kind, channel, pitch, velocity in [*sorted(events), (end, _OFF, 0, 0, 0)]:
        while now < frame:
            until = min(frame, now + BLOCK)
            sound[:, now:until] = np.frombuffer(synth.generate(until - now), dtype=np.float32).reshape(-1, 2).T
            now = until
        if now - shown >= BLOCK:
            let_go(sound)
            shown = now
        if kind == _ON:
            synth.noteon(channel, pitch, velocity)
        else:
            synth.noteoff(channel, pitch)
    if (peak := loudest(sound)) > 1.0:
        for _, block in blocks(sound):
            block /= peak
    return Audio(sound, rate_hz)


def _silenced_s(note: Note, pedal: Sequence[Span]) -> float:
    """When the note stops: when it is let go, or when the pedal that is down then comes up."""
    i = bisect_right(pedal, note.offset_s, key=lambda span: span.start_s) - 1
    return max(note.offset_s, pedal[i].end_s) if i >= 0 else note.offset_s


def _soundfont() -> Path:
    spec = find_spec("pretty_midi")
    assert spec and spec.origin
    return Path(spec.origin).parent / "TimGM6mb.sf2"

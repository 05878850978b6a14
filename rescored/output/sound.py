"""How a transcription sounds: its notes played by a General MIDI soundfont."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ..music import Audio, Performance
from .midi import channels, key_presses, keyboards

_TAIL_S = 2.0  # after the last note: what still rings
_DRUM_BANK = 128
_OFF, _PEDAL, _ON = range(3)  # in this order at equal times


def render(performance: Performance, rate_hz: int = 44100) -> Audio:
    """The performance as stereo sound, brought down to full scale where it exceeds that.

    Played by TinySoundFont with TimGM6mb, the soundfont in pretty_midi's wheel.
    """
    import tinysoundfont

    synth = tinysoundfont.Synth(samplerate=rate_hz, gain=0)
    font = synth.sfload(str(_soundfont()))
    pedalled = keyboards(performance.parts)
    events: list[tuple[int, int, int, int, int]] = []  # frame, kind, channel, number, value
    for part, channel in zip(performance.parts, channels(performance.parts), strict=True):
        synth.program_select(channel, font, _DRUM_BANK if part.percussion else 0, part.program, part.percussion)
        notes = [(round(n.onset_s * rate_hz), round(n.offset_s * rate_hz), n.pitch, n.velocity)
                 for n in performance.notes if n.part == part.id]
        for on, off, pitch, velocity in key_presses(notes):
            events += [(on, _ON, channel, pitch, velocity), (off, _OFF, channel, pitch, 0)]
        if part.id in pedalled:
            for span in performance.pedal:
                events += [(round(span.start_s * rate_hz), _PEDAL, channel, 64, 127),
                           (round(span.end_s * rate_hz), _PEDAL, channel, 64, 0)]
    last_s = max((n.offset_s for n in performance.notes), default=0.0)
    sound = np.zeros((round(max(performance.duration_s, last_s + _TAIL_S) * rate_hz), 2), dtype=np.float32)
    now = 0
    for frame, kind, channel, number, value in [*sorted(events), (len(sound), _OFF, 0, 0, 0)]:
        if frame > now:
            sound[now:frame] = np.frombuffer(synth.generate(frame - now), dtype=np.float32).reshape(-1, 2)
            now = frame
        if kind == _ON:
            synth.noteon(channel, number, value)
        elif kind == _OFF:
            synth.noteoff(channel, number)
        else:
            synth.control_change(channel, number, value)
    return Audio(sound.T / max(1.0, float(np.abs(sound).max(initial=0.0))), rate_hz)


def _soundfont() -> Path:
    spec = find_spec("pretty_midi")
    assert spec and spec.origin
    return Path(spec.origin).parent / "TimGM6mb.sf2"

"""What a drum kit says about the beat: the bass drum begins measures, the snare answers it on other beats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..music import Floats, Performance

NEAR_S = 0.04  # strokes this close are one, and fall on the onset of another instrument
# Log odds that a stroke adds: for a beat, and then for a downbeat. Rock's back beat and its relatives: the
# bass drum on one (and three), the snare on two and four, a crash where a phrase begins.
KICK, SNARE, CRASH = (1.0, 1.0), (1.4, -1.0), (0.5, 1.8)
ODDS = {35: KICK, 36: KICK, 37: SNARE, 38: SNARE, 39: SNARE, 40: SNARE, 49: CRASH, 55: CRASH, 57: CRASH}


@dataclass(frozen=True)
class DrumBeats:
    """Strokes that say something: `times_s`, and the log odds that each adds for a beat and for a downbeat."""

    times_s: Floats
    beat: Floats
    downbeat: Floats


def hear_drums(performance: Performance) -> DrumBeats:
    """The strokes of the kit, those struck together as one."""
    kits = {p.id for p in performance.parts if p.percussion}
    strokes = [(n.onset_s, n.pitch) for n in performance.notes if n.part in kits and n.pitch in ODDS]
    together: list[tuple[float, set[tuple[float, float]]]] = []
    for at, pitch in strokes:
        if not together or at - together[-1][0] > NEAR_S:
            together.append((at, set()))
        together[-1][1].add(ODDS[pitch])
    times = np.array([at for at, _ in together])
    beat = np.array([sum(b for b, _ in said) for _, said in together])
    return DrumBeats(times, beat, beat + np.array([sum(d for _, d in said) for _, said in together]))

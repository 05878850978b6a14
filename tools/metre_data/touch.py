"""For how long pianists hold keys, and how long notes sound.

Touch is drawn widely: real pianists let go of keys at a fifth of a note's value under the pedal and hold others
far into the next ones, by hand, passage and note (Repp 1995, 1997; Bresin & Battel 2000), so that how long a key
is held tells little by itself.
"""

from __future__ import annotations

import numpy as np

Random = np.random.Generator


def touch(
    onset_s: np.ndarray, length_s: np.ndarray, staff: np.ndarray, measure_s: float, random: Random
) -> tuple[np.ndarray, np.ndarray]:
    """For how long keys are held and notes sound, (n,) seconds each, of notes sorted by onset.

    Octaves off the written length by piece, hand, passage, chord and note; overlaps of some hundredths of a second;
    keys let go under the pedal, or held on through a figure. `staff` is 1 or 2.
    """
    n = len(onset_s)
    chord = np.unique(np.round(onset_s * 1000), return_inverse=True)[1] * 2 + staff
    octaves = np.full(n, random.normal(-0.5, 0.55))
    for hand in (1, 2):
        own = staff == hand
        octaves[own] += random.normal(0.0, 0.45)
        places_s = np.arange(onset_s[0], onset_s[-1] + 20.0, random.uniform(0.8, 6.0))
        walk = random.standard_t(4, len(places_s)) * random.uniform(0.0, 1.0)
        at = onset_s[own]
        octaves[own] += walk[np.searchsorted(places_s, at, side="right") - 1] if random.random() < 0.5 else np.interp(
            at, places_s, walk)
    octaves += random.normal(0.0, random.uniform(0.05, 0.4), chord.max() + 1)[chord]
    octaves += random.normal(0.0, random.uniform(0.05, 0.6), n)
    early = random.random(n) < random.uniform(0.0, 0.4)
    octaves = np.minimum(octaves, random.uniform(-0.1, 0.4)) - early * random.gamma(1.8, 0.9, n)
    octaves -= random.uniform(0.0, 0.5) * np.maximum(np.log2(length_s / 0.6), 0.0)  # long notes fade anyhow
    held = length_s * 2.0 ** np.clip(octaves, -4.5, 1.0)
    held += (random.random(n) < random.uniform(0.2, 1.0)) * random.gamma(1.5, random.uniform(0.0, 0.05), n)
    if random.random() < 0.35:  # fingers that stay on a figure's keys
        stay = (random.random(n) < random.uniform(0.0, 0.5)) & (staff == (random.integers(1, 3)))
        held = np.where(stay, np.maximum(held, length_s * random.uniform(1.0, 3.0, n)), held)
    held = np.maximum(held, random.uniform(0.04, 0.09))
    heard = held.copy()
    if random.random() < 0.75:
        step_s = measure_s * float(random.choice([1.0, 0.5, 0.25, 2.0]))
        first = np.arange(onset_s[0], onset_s[-1] + 8.0 + step_s, step_s)
        down = first + random.uniform(0.0, 0.2) + random.normal(0, 0.04, len(first))
        up = np.append(first[1:], first[-1] + step_s) + random.normal(0.0, 0.05, len(first))
        up -= (random.random(len(first)) < 0.4) * random.uniform(0.0, 0.6, len(first)) * step_s
        used = random.random(len(first)) < random.uniform(0.2, 1.0)
        k = np.clip(np.searchsorted(first, onset_s + held, side="right") - 1, 0, None)
        release = onset_s + held
        caught = used[k] & (release > down[k]) & (release < up[k])
        heard = np.where(caught, up[k] - onset_s, held)
    # where neither key nor pedal sounds, long notes are not let go by a share of their value
    least = length_s - random.uniform(0.2, 0.9) * random.uniform(0.4, 1.0, n)
    held = np.where(heard < least, least, held)
    return held, np.maximum(heard, held)

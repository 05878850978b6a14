"""Ways to count a performance beside the one that was found.

Much music may be written either way: in 6/8 or 12/8, in 2/4 or 4/4, in quarters or alla breve. No evidence decides
what its composer wrote, but a musician does at a glance. So the search is asked for the best path in every metre, by
itself and at half and at twice the tempo, on one and the same evidence, and the likeliest of these are offered.
Metres that are only found where they are asked for are none of them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..music import MetreChoice, Performance
from ..settings import MetreSettings
from ..stage import Report, silent, stage
from .beat_search import ALL_METRES, Path, search
from .metre import beat_range, file_metre, search_weights
from .rhythm import as_told, hear_rhythm
from .rhythm_net import METRES

CHOSEN = ("time_signature", "tempo_factor", "tempo_bpm")  # settings that a choice sets
MOST = 5  # choices
ALIKE_OCTAVES = 0.3  # of tempo, within which two choices in one metre are the same
LEVELS = (0.5, 2.0)  # of the beat that was found, beside what a metre finds by itself
NARROW = 1.55  # how many times as long or short as at such a level beats may be
WORST = 6.0  # nats a second of the music by which a choice may be less likely than the best path


def unasked(settings: MetreSettings) -> MetreSettings:
    """These settings but for what a choice sets."""
    free = MetreSettings()
    return replace(settings, **{name: getattr(free, name) for name in CHOSEN})


def taken(settings: MetreSettings, choice: MetreChoice) -> MetreSettings:
    """Settings with which `find_metre` counts so."""
    free = unasked(settings)
    return free if choice.found else replace(free, time_signature=choice.time_signatures[0], tempo_bpm=choice.bpm)


@stage(version=1)
def weigh_metres(
    performance: Performance, *, settings: MetreSettings, report: Report = silent
) -> tuple[MetreChoice, ...]:
    """Ways to count a performance: the one that is found first, then others, the likeliest first.

    None where the beats of a MIDI file hold, or too little sounds. `settings` are to be `unasked`: what a choice
    sets is not heeded here, but all else that the user says is.
    """
    rhythm = hear_rhythm(performance, settings, report)
    if rhythm is None or file_metre(performance, rhythm.evidence, settings) is not None:
        return ()
    evidence, weights = as_told(rhythm.evidence, settings), search_weights(settings)
    shortest, longest = beat_range(settings)
    found = search(evidence, METRES, shortest, longest, weights, lambda path: rhythm.revised(evidence, path))
    if len(found.times_s) < 2:
        return ()
    told = replace(evidence, position=rhythm.revised(evidence, found))
    step_s = _step_s(found)
    ranges = [(shortest, longest)] + [(max(step_s * x / NARROW, shortest), min(step_s * x * NARROW, longest))
                                      for x in LEVELS]
    best, paths = search(told, METRES, shortest, longest, weights), []
    for k, metre in enumerate(METRES):
        report(0.4 + 0.6 * k / len(METRES), f"counting in {metre}")
        paths += [search(told, (metre,), a, b, weights) for a, b in ranges if b > 1.15 * a]
    least = best.score - WORST * float(told.times_s[-1] - told.times_s[0])
    likely = sorted((p for p in paths if len(p.times_s) > 1 and p.score >= least), key=lambda p: -p.score)
    choices: list[MetreChoice] = []
    for path in [found, *likely]:
        signatures = tuple(dict.fromkeys(ALL_METRES[m] for m in path.metre.tolist()))
        choice = MetreChoice(signatures, float(round(60.0 / _step_s(path))), found=path is found)
        if len(choices) < MOST and not any(_alike(choice, other) for other in choices):
            choices.append(choice)
    return tuple(choices)


def _step_s(path: Path) -> float:
    return float(np.median(np.diff(path.times_s)))


def _alike(one: MetreChoice, other: MetreChoice) -> bool:
    return (one.time_signatures == other.time_signatures
            and abs(np.log2(one.bpm / other.bpm)) <= ALIKE_OCTAVES)

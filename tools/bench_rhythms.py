"""How many measures of the thirty rhythms of tests/rhythms.py come back note for note: `make bench-rhythms`.

Each is performed with three seeds. Also with the true beats, which tells what is left to the metre.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from rescored.pipeline import notate, notate_on
from rescored.settings import Settings
from rescored.stage import Runner

sys.path[:0] = [str(Path(__file__).parents[1] / "tests")]

from rhythms import RHYTHMS, measures_right, play  # noqa: E402

SEEDS = 3


def main() -> None:
    table = {}
    print("## Rhythms: share of measures that come back\n")
    print("| rhythm | metre | found beats, seeds 0 1 2 | known beats | metre found |\n|---|---|--:|--:|---|")
    for name, rhythm in RHYTHMS.items():
        found, known, metres = [], [], []
        for seed in range(SEEDS):
            performance, grid = play(rhythm, seed)
            _, score = notate(performance, Settings(), Runner())
            found.append(measures_right(score, rhythm.score))
            known.append(measures_right(notate_on(grid, performance, Settings(), Runner()), rhythm.score))
            metres.append(f"{score.measures[-1].numerator}/{score.measures[-1].denominator}")
        wanted = rhythm.score.measures[-1]
        print(f"| {name} | {wanted.numerator}/{wanted.denominator} | {_row(found)} | {_row(known)} "
              f"| {' '.join(metres)} |", flush=True)
        table[name] = (np.mean(found), np.mean(known))
    found, known = np.mean(list(table.values()), axis=0)
    print(f"| **mean** | | **{found:.3f}** | **{known:.3f}** | |")


def _row(shares: list[float]) -> str:
    return " ".join(f"{x:.2f}" for x in shares)


if __name__ == "__main__":
    main()

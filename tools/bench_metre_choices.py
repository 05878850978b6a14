"""How soon the published metre is among the ways to count that are offered, and what taking it gives.

    python tools/bench_metre_choices.py --data ../shared/data

On the performances of `asap_dev`: the place of the published time signature among `weigh_metres`, and F of beats and
downbeats (70 ms) and the number of measures against the published one, as found and once it is taken.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from oracle import asap

from rescored.evaluate.notes import beat_figures
from rescored.evaluate.pieces import of_performance
from rescored.evaluate.reading import longest
from rescored.music import BeatGrid, Performance
from rescored.notation.metre import find_metre
from rescored.notation.metre_choices import taken, weigh_metres
from rescored.settings import MetreSettings

FREE = MetreSettings()


def metre_of(grid: BeatGrid) -> str:
    """The time signature that is in force for longest."""
    changes = [(float(s.ql), f"{s.numerator}/{s.denominator}") for s in grid.time_signatures]
    return longest(changes, float(grid.ql[-1])) or ""


def figures(performance: Performance, grid: BeatGrid, true: BeatGrid) -> tuple[float, float, float]:
    """F of beats, F of downbeats, and the share of measures that there are too many or too few."""
    found, reference = (of_performance(performance, g).beats for g in (grid, true))
    return *beat_figures(found, reference).values(), len(found.downbeats_s) / len(reference.downbeats_s) - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    args = parser.parse_args()
    places, rows = [], []
    print("| piece | published | offered: F of beats and downbeats |\n|---|---|---|")
    for name, performance, true, _ in asap(args.data):
        choices, wanted = weigh_metres(performance, settings=FREE), metre_of(true)
        grids = [find_metre(performance, settings=taken(FREE, c)) for c in choices]
        got, metres = [figures(performance, g, true) for g in grids], [metre_of(g) for g in grids]
        places.append(metres.index(wanted) if wanted in metres else len(choices))
        best = max(got, key=lambda row: row[0] + row[1])
        rows.append((got[0], got[places[-1]] if places[-1] < len(got) else got[0], best))
        offered = "; ".join(f"{', '.join(c.time_signatures)} {c.bpm:.0f}: {row[0]:.2f} {row[1]:.2f}"
                            for c, row in zip(choices, got, strict=True))
        print(f"| {name} | {wanted} | {offered} |", flush=True)
    at = np.array(places)
    print(f"\npublished metre first {np.mean(at == 0):.3f}, among two {np.mean(at < 2):.3f}, "
          f"three {np.mean(at < 3):.3f}, five {np.mean(at < 5):.3f}")
    kinds = ("as found", "with the published metre, where it is offered", "with the best that is offered")
    for what, of_kind in zip(kinds, np.array(rows).transpose(1, 2, 0), strict=True):
        print(f"{what}: beats {of_kind[0].mean():.3f}, downbeats {of_kind[1].mean():.3f}, "
              f"measures within 10 % in {np.mean(np.abs(of_kind[2]) <= 0.1):.3f} of the pieces")


if __name__ == "__main__":
    main()

"""Fit the weights of rescored/notation/confidence.py on simulated performances, and measure them elsewhere.

    python tools/fit_confidence.py --data ../shared/data [--pieces 16]

A measure is wrong if fewer than 60 % of its notes have the right interval to the note before. Prints the
weights, and what share of the wrong measures is among the tenth that is ranked worst: on the pieces that
were fitted on (every other one is held out) and on asap_dev, on which nothing is fitted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from oracle import asap, corpus, found, written

from rescored.evaluate.reading import Written
from rescored.evaluate.scores import Alignment
from rescored.notation import confidence
from rescored.pipeline import notate_on
from rescored.settings import Settings
from rescored.stage import Runner

RIGHT, TENTH = 0.6, 0.1
FREEDOM = 2.5  # so irregular are the performances, that enough measures come out wrong
FACTORS = (1.0, 0.5, 2.0, 0.25, 4.0)


def wrong_measures(made: Written, true: Written) -> np.ndarray:
    """For every measure whether it is wrong; nan where it has no corresponding notes."""
    pairs = Alignment(made, true).notes
    onset, true_onset = (np.array([pair[side].onset_ql for pair in pairs]) for side in (0, 1))
    hits = max((np.abs(f * np.diff(onset) - np.diff(true_onset)) <= 0.03 for f in FACTORS), key=np.sum)
    starts = np.array([at for at, _ in made.measures.measures])
    k = np.clip(np.searchsorted(starts, onset[1:] + 1e-6) - 1, 0, len(starts) - 1)
    count = np.bincount(k, minlength=len(starts))
    share = np.bincount(k, weights=hits, minlength=len(starts)) / np.maximum(count, 1)
    return np.where(count > 0, share < RIGHT, np.nan)


def gather(pieces, cache: Path, name: str) -> list[tuple[np.ndarray, np.ndarray]]:  # type: ignore[no-untyped-def]
    result = []
    for piece, performance, _, reference in pieces:
        grid = found(piece, performance, cache.parent / f"grids-{name}.pkl")
        score = notate_on(grid, performance, Settings(), Runner())
        wrong = wrong_measures(written(score), reference)
        x = confidence.evidence(score.measures, score.notes, grid, performance)
        known = ~np.isnan(wrong)
        result.append((x[known], wrong[known]))
        print(piece, f"{np.mean(wrong[known]):.2f} of the measures wrong", flush=True)
    return result


def stack(rows: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([x for x, _ in rows]), np.concatenate([y for _, y in rows])


def fit(x: np.ndarray, y: np.ndarray, ridge: float = 1.0) -> tuple[np.ndarray, float]:
    """Logistic regression by Newton steps; weights stay at or above 0, for evidence never speaks in favour."""
    weights, bias = np.zeros(x.shape[1]), 0.0
    for _ in range(400):
        p = 1.0 / (1.0 + np.exp(-(x @ weights + bias)))
        gradient = x.T @ (p - y) + ridge * weights
        scale = (p * (1 - p)) @ (x**2) + ridge
        weights = np.maximum(weights - 0.5 * gradient / scale, 0.0)
        bias -= 0.5 * np.sum(p - y) / max(np.sum(p * (1 - p)), 1e-6)
    return weights, bias


def caught(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """Share of the wrong measures among the tenth that is ranked worst."""
    worst = np.argsort(-(x @ weights), kind="stable")[:max(round(TENTH * len(y)), 1)]
    return float(y[worst].sum() / max(y.sum(), 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, default=Path("build/piano_scores.pkl"))
    parser.add_argument("--pieces", type=int, default=16)
    args = parser.parse_args()
    simulated = [p for _, p in zip(range(args.pieces), corpus(args.cache, 1, FREEDOM), strict=False)]
    rows = gather(simulated, args.cache, "corpus")
    weights, bias = fit(*stack(rows[::2]))
    for name, weight in zip(confidence.NAMES, weights, strict=True):
        print(f"{name:<24}{weight:8.2f}")
    print(f"{'bias':<24}{bias:8.2f}")
    sets = {"fitted on": rows[::2], "held out": rows[1::2], "asap_dev": gather(asap(args.data), args.cache, "asap_dev")}
    for name, some in sets.items():
        x, y = stack(some)
        print(f"{name}: {len(y)} measures, {y.mean():.2f} wrong, {caught(x, y, weights):.2f} of them in the worst "
              f"tenth (as it is now {caught(x, y, confidence.WEIGHTS):.2f}; by chance 0.10, at best "
              f"{min(TENTH / max(y.mean(), 1e-6), 1):.2f})")


if __name__ == "__main__":
    main()

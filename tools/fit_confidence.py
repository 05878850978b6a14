"""Fit the weights of rescored/notation/confidence.py on the development performances, and say how well they rank.

    python tools/fit_confidence.py --data ../shared/data [--simulated 16]

A measure is wrong if fewer than 60 % of its notes have the right interval to the note before. Prints the
weights, and what share of the wrong measures is among the tenth that is ranked worst: with the weights
fitted on all pieces of asap_dev, with every piece ranked by weights that were fitted on the others, and,
where asked for, on simulated performances, which are not fitted on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

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


def fit(x: np.ndarray, y: np.ndarray, ridge: float = 30.0) -> tuple[np.ndarray, float]:
    """Logistic regression; weights stay at or above 0, for evidence never speaks in favour."""
    scale = x.std(axis=0) + 1e-3
    z = x / scale

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        against = z @ w[:-1] + w[-1]
        p = 1.0 / (1.0 + np.exp(-against))
        value = np.sum(np.logaddexp(0.0, against) - y * against) + 0.5 * ridge * np.sum(w[:-1] ** 2)
        return float(value), np.append(z.T @ (p - y) + ridge * w[:-1], np.sum(p - y))

    bounds = [(0.0, None)] * x.shape[1] + [(None, None)]
    found = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, bounds=bounds, method="L-BFGS-B").x
    return found[:-1] / scale, float(found[-1])


def left_out(rows: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """What speaks against every measure by weights that were fitted on the other pieces."""
    result = []
    for k, (x, _) in enumerate(rows):
        weights, bias = fit(*stack(rows[:k] + rows[k + 1:]))
        result.append(x @ weights + bias)
    return np.concatenate(result)


def caught(against: np.ndarray, y: np.ndarray) -> float:
    """Share of the wrong measures among the tenth that is ranked worst."""
    worst = np.argsort(-against, kind="stable")[:max(round(TENTH * len(y)), 1)]
    return float(y[worst].sum() / max(y.sum(), 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, default=Path("build/piano_scores.pkl"))
    parser.add_argument("--simulated", type=int, default=0, help="how many simulated performances to measure, too")
    args = parser.parse_args()
    rows = gather(asap(args.data), args.cache, "asap_dev")
    x, y = stack(rows)
    weights, bias = fit(x, y)
    for name, weight in zip(confidence.NAMES, weights, strict=True):
        print(f"{name:<24}{weight:8.2f}")
    print(f"{'bias':<24}{bias:8.2f}")
    print(f"asap_dev: {len(y)} measures, {y.mean():.2f} wrong; in the worst tenth by weights fitted on them "
          f"{caught(x @ weights, y):.2f}, on the other pieces {caught(left_out(rows), y):.2f}, as they are now "
          f"{caught(x @ confidence.WEIGHTS, y):.2f}; by chance .10, at best {min(TENTH / max(y.mean(), 1e-6), 1):.2f}")
    if args.simulated:
        pieces = [p for _, p in zip(range(args.simulated), corpus(args.cache, 1, FREEDOM), strict=False)]
        x, y = stack(gather(pieces, args.cache, "corpus"))
        print(f"simulated: {len(y)} measures, {y.mean():.2f} wrong, {caught(x @ confidence.WEIGHTS, y):.2f}")


if __name__ == "__main__":
    main()

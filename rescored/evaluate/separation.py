"""How well stems were taken apart: the signal-to-distortion ratio of the field's evaluation campaigns."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..music import Audio

WINDOW_S = 1.0  # museval's


def sdr_db(estimate: Audio, reference: Audio) -> float:
    """Median over windows of a second of the energy of the stem over the energy of the error, in dB.

    That is SDR as in BSS Eval v4 (`museval`; Stöter, Liutkus & Ito, "The 2018 Signal Separation Evaluation
    Campaign", LVA/ICA 2018): of a stem as it sounds in the mix, so that no filter is allowed for. Windows in
    which either is silent do not count (museval leaves them out of all stems); nan if none is left, inf where
    the two are the same. Raises ValueError where rates or channels differ.
    """
    if estimate.rate_hz != reference.rate_hz or len(estimate.samples) != len(reference.samples):
        raise ValueError("the two sounds must have the same rate and channels")
    window = round(WINDOW_S * reference.rate_hz)
    n = min(estimate.samples.shape[1], reference.samples.shape[1])
    heard, true = (_windows(audio.samples[:, :n], window) for audio in (estimate, reference))
    signal, error = _energy(true), _energy(true - heard)
    both = (signal > 0) & (_energy(heard) > 0)
    with np.errstate(divide="ignore"):
        ratios = 10 * np.log10(signal[both] / error[both])
    return float(np.median(ratios)) if len(ratios) else float("nan")


def sdrs_db(estimate: Mapping[str, Audio], reference: Mapping[str, Audio]) -> dict[str, float]:
    """The same for every stem that both have."""
    return {name: sdr_db(estimate[name], audio) for name, audio in reference.items() if name in estimate}


def _windows(samples: NDArray[np.float32], window: int) -> NDArray[np.float64]:
    """Whole windows, shape (windows, channels, samples); one short window where the sound is shorter."""
    count = max(samples.shape[1] // window, 1)
    return np.stack(np.split(samples[:, : count * window].astype(np.float64), count, axis=1))


def _energy(windows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.square(windows).sum(axis=(1, 2)))

"""Figures on what was heard: notes and beats in seconds, by mir_eval (Raffel et al., ISMIR 2014)."""

from __future__ import annotations

import numpy as np

from ..music import Floats
from .reading import Beats, Harmony, Played

_LAG_WINDOW_S = 0.15  # how far labels are looked for when their constant lag is estimated


def note_figures(estimate: Played, reference: Played) -> dict[str, float]:
    """Note F1: onsets within 50 ms, with offsets (20 % of the length or 50 ms), and both without lag.

    Labels made by alignment, or by another microphone, may be late or early as a whole: `_lag`
    figures take away the median difference first.
    """
    lag_s = _lag_s(estimate, reference)
    onset, offset = _f1(estimate, reference, 0.0)
    onset_lag, offset_lag = _f1(estimate, reference, lag_s)
    return {"onset_f1": onset, "offset_f1": offset, "onset_f1_lag": onset_lag, "offset_f1_lag": offset_lag}


def _f1(estimate: Played, reference: Played, lag_s: float) -> tuple[float, float]:
    from mir_eval.transcription import precision_recall_f1_overlap
    from mir_eval.util import midi_to_hz

    if not len(estimate.pitches) or not len(reference.pitches):
        return 0.0, 0.0
    moved = estimate.intervals_s - lag_s
    zero_s = min(moved.min(), 0.0)  # mir_eval takes no negative times
    notes = (reference.intervals_s - zero_s, midi_to_hz(reference.pitches),
             moved - zero_s, midi_to_hz(estimate.pitches))
    onset, offset = (precision_recall_f1_overlap(*notes, offset_ratio=ratio)[2] for ratio in (None, 0.2))
    return float(onset), float(offset)


def _lag_s(estimate: Played, reference: Played) -> float:
    from mir_eval.transcription import match_note_onsets

    if not len(estimate.pitches) or not len(reference.pitches):
        return 0.0
    begun = np.maximum(estimate.intervals_s, 0.0)
    pairs = match_note_onsets(reference.intervals_s, begun, onset_tolerance=_LAG_WINDOW_S)
    lags = [estimate.intervals_s[j, 0] - reference.intervals_s[i, 0] for i, j in pairs
            if abs(estimate.pitches[j] - reference.pitches[i]) < 0.5]
    return float(np.median(lags)) if lags else 0.0


def beat_figures(estimate: Beats, reference: Beats) -> dict[str, float]:
    """F1 of beats and of downbeats within 70 ms, from the first second on (nothing is trimmed)."""
    return {"beat_f1": _beat_f1(estimate.beats_s, reference.beats_s),
            "downbeat_f1": _beat_f1(estimate.downbeats_s, reference.downbeats_s)}


def chord_figures(estimate: Harmony, reference: Harmony) -> dict[str, float]:
    """Weighted overlap of chords over the time of the reference; what the estimate leaves open is no chord."""
    from mir_eval.chord import evaluate

    found = evaluate(reference.intervals_s, list(reference.labels), estimate.intervals_s, list(estimate.labels))
    return {"chords": float(found["majmin"]), "chords_sevenths": float(found["sevenths"])}


def _beat_f1(estimate: Floats, reference: Floats) -> float:
    from mir_eval.beat import f_measure

    if not len(estimate) or not len(reference):
        return 0.0
    return float(f_measure(np.unique(reference), np.unique(estimate)))

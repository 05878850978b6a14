"""Notation apart from the metre: scores from performances whose beats and measures are known.

    python tools/oracle.py asap_dev --data ../shared/data [--only NAME ...] [--out FOLDER]
    python tools/oracle.py corpus [--seeds 2]

`asap_dev`: real performances with the annotated beats; measured only, never fitted on. `corpus`: piano
scores and chorales of music21's corpus, performed by `expressive.py` in random manners.
Prints one row a piece; figures as in `rescored.evaluate.FIGURES`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import pickle
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from metre_data.simulate import random_style

from rescored.evaluate.reading import CLUTTER, Measures, Printed, ScoreNote, Written, read
from rescored.evaluate.scores import score_figures
from rescored.expressive import perform
from rescored.hearing.midi import read_midi
from rescored.hearing.sources import open_source
from rescored.music import PIANO, BeatGrid, Note, Performance, Score, TimeSignature
from rescored.notation.metre import find_metre
from rescored.output.readability import readability
from rescored.pipeline import notate_on
from rescored.settings import Settings
from rescored.stage import Runner

SHOWN = ("ioi", "duration", "staff", "spelling", "voices", "clutter")
CORPUS = ("mozart/k545", "chopin", "joplin", "cpebach", "schoenberg/opus19", "schumann_clara", "schumann_robert",
          "schubert", "beach", "johnson_j_r", "weber", "demos")
CHORALES = 24
LET_GO_S = 0.35  # before a note's written end


def written(score: Score) -> Written:
    """As a reader of its file would see it."""
    zero = score.measures[0].ql
    notes = sorted((ScoreNote(float(n.onset_ql - zero), float(n.duration_ql), n.pitch, n.step, n.alter, n.staff,
                              str(4 * (n.staff - 1) + n.voice)) for n in score.notes if not n.grace),
                   key=lambda n: (n.onset_ql, n.pitch))
    figures = readability(score)
    signs = Counter({kind: round(getattr(figures, kind) * len(notes)) for kind in CLUTTER if kind != "accidentals"})
    signs["accidentals"] = _needed_accidentals(score)
    metres = [(float(m.ql - zero), m.numerator, m.denominator) for m in score.measures]
    return Written(
        tuple(notes),
        Measures(tuple((float(m.ql - zero), float(m.length_ql)) for m in score.measures),
                 tuple(next(g) for _, g in groupby(metres, key=lambda m: m[1:]))),
        tuple((float(k.ql - zero), k.fifths) for k in score.keys), Printed(signs, figures.voices))


def _needed_accidentals(score: Score) -> int:
    """Accidentals without reminders, as `rescored.evaluate` counts them."""
    starts = np.array([float(m.ql) for m in score.measures])
    fifths = {k.measure: k.fifths for k in score.keys}
    of_measure, now = [], 0
    for m in score.measures:
        now = fifths.get(m.number, now)
        of_measure.append(now)
    count, state = 0, {}
    for n in sorted(score.notes, key=lambda n: (n.onset_ql, not n.grace)):
        m = max(int(np.searchsorted(starts, float(n.onset_ql) + 1e-9, side="right")) - 1, 0)
        sharps, flats = "FCGDAEB"[:max(of_measure[m], 0)], "BEADGCF"[:max(-of_measure[m], 0)]
        place = (m, n.staff, n.step, n.octave)
        count += state.get(place, (n.step in sharps) - (n.step in flats)) != n.alter
        state[place] = n.alter
    return count


# ---------------------------------------------------------------- real performances


def grid_of(times_s: np.ndarray, ql: np.ndarray, bar: np.ndarray, beat: np.ndarray,
            metres: list[tuple[float, int, int]]) -> BeatGrid:
    """Annotated beats as a grid; places count from the first full measure."""
    keep = np.concatenate([[True], (np.diff(times_s) > 0.02) & (np.diff(ql) > 1e-6)])
    times_s, ql, bar, beat = (x[keep] for x in (times_s, ql, bar, beat))
    zero = ql[np.argmax(beat == 1)]
    number = bar - bar[np.argmax(beat == 1)] + 1
    signatures = []
    for at, numerator, denominator in metres:
        k = int(np.searchsorted(ql, at - 1e-6))
        place = Fraction(at - zero).limit_denominator(96) if signatures else Fraction(0)
        signatures.append(TimeSignature(int(number[min(k, len(number) - 1)]), place, numerator, denominator))
    return BeatGrid(times_s, ql - zero, number, beat, tuple(signatures))


def asap(data: Path) -> Iterator[tuple[str, Performance, BeatGrid, Written]]:
    """The development set."""
    import json

    for piece in json.loads((data / "asap_dev/index.json").read_text())["pieces"]:
        folder = data / "asap_dev" / piece["name"]
        reference = read(folder / "score.musicxml").written
        beats = json.loads((folder / "timed.json").read_text())["beats"]
        columns = (np.array([float(b[k]) for b in beats]) for k in ("time_s", "ql", "bar", "beat"))
        grid = grid_of(*columns, list(reference.measures.metres))
        recording = open_source(str(folder / "performance.mid"), max_minutes=60)
        performance = read_midi(recording, settings=Settings().notes)
        yield piece["name"], performance, grid, reference


# ---------------------------------------------------------------- simulated performances


def piano_scores(cache: Path) -> list[tuple[str, Written]]:
    """Two-staff scores of music21's corpus, read from MusicXML that music21 wrote."""
    if cache.exists():
        return list(pickle.loads(cache.read_bytes()))
    import music21 as m21

    root = Path(m21.__file__).parent / "corpus"
    paths = [p for folder in CORPUS for p in sorted((root / folder).rglob("*"))
             if p.suffix in {".mxl", ".xml", ".musicxml", ".krn"}]
    paths += sorted((root / "bach").glob("bwv*.mxl"))[::12][:CHORALES]
    result = []
    for path in paths:
        with contextlib.suppress(Exception):  # a corpus has files that its reader cannot read
            score = m21.converter.parse(str(path), forceSource=True)
            parts = list(score.parts)
            if len(parts) == 4 and path.parent.name == "bach":
                one = _chorale(score)
            elif len(parts) >= 2 and parts[-1].recurse().notes:
                one = m21.stream.Score()
                for part in parts[-2:]:
                    one.insert(0, part)
            else:
                continue
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                file = one.write("musicxml", Path(folder) / "a.musicxml")
                known = read(file).written
            staves = sorted({n.staff for n in known.notes})
            if len(staves) == 2 and len(known.notes) >= 80 and known.measures.metres:
                result.append((f"{path.parent.name}/{path.stem}", known))
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_bytes(pickle.dumps(result))
    return result


def _chorale(score):  # type: ignore[no-untyped-def]
    """Four voices on two staves."""
    import music21 as m21

    result = m21.stream.Score()
    parts = list(score.parts)
    for pair in (parts[:2], parts[2:]):
        staff = m21.stream.PartStaff()
        for above, below in zip(pair[0].getElementsByClass("Measure"), pair[1].getElementsByClass("Measure"),
                                strict=True):
            measure = m21.stream.Measure(number=above.number)
            for item in above.getElementsByClass(("Clef", "KeySignature", "TimeSignature")):
                measure.insert(item.offset, item)
            for name, source in (("1", above), ("2", below)):
                voice = m21.stream.Voice(id=name)
                for item in source.notesAndRests:
                    voice.insert(item.offset, item)
                measure.insert(0, voice)
            staff.append(measure)
        result.insert(0, staff)
    result.insert(0, m21.layout.StaffGroup(list(result.parts), symbol="brace"))
    return result


def corpus(cache: Path, seeds: int, freedom: float = 1.0) -> Iterator[tuple[str, Performance, BeatGrid, Written]]:
    """Every score in `seeds` manners; `freedom` times as irregular as usual."""
    for name, score in piano_scores(cache):
        for seed in range(seeds):
            random = np.random.default_rng([seed, int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)])
            yield f"{name}:{seed}", *simulated(score, random, freedom), score


def simulated(
    score: Written, random: np.random.Generator, freedom: float = 1.0
) -> tuple[Performance, BeatGrid]:
    """A pianist's performance and its true grid."""
    first = list(score.measures.measures)
    metres = list(score.measures.metres)
    _, numerator, denominator = metres[0]
    signature = TimeSignature(1, Fraction(0), numerator, denominator)
    beat = float(signature.beat_ql)
    zero = first[1][0] if len(first) > 1 and first[0][1] < float(signature.measure_ql) - 1e-6 else first[0][0]
    onset, length, pitch = (np.array([getattr(n, k) for n in score.notes])
                            for k in ("onset_ql", "duration_ql", "pitch"))
    usual = random_style(random)
    style = replace(
        usual, drift=freedom * usual.drift, unsteadiness=freedom * usual.unsteadiness,
        phrase_depth=min(freedom * usual.phrase_depth, 0.4), jitter_ms=freedom * usual.jitter_ms)
    played = perform(onset, length, pitch, bpm=float(random.uniform(60, 130)) * min(1.0, 1.0 / beat), beat_ql=beat,
                     measures_ql=[m[0] for m in first], style=style, seed=int(random.integers(2**31)))
    ends_s = _let_go(played.onset_s, played.offset_s, played.seconds_at(onset + length), pitch)
    notes = tuple(Note(f"n{i}", float(a), float(b), int(p), int(v)) for i, (a, b, p, v) in
                  enumerate(zip(played.onset_s, ends_s, pitch, played.velocity, strict=True)))
    rows = []
    for k, (at, size) in enumerate(first):
        metre = next(TimeSignature(1, Fraction(0), n, d) for a, n, d in reversed(metres)
                     if a <= at + 1e-6 or a == metres[0][0])
        step, full = float(metre.beat_ql), float(metre.measure_ql)
        missing = full - size if at < zero else 0.0
        for j, x in enumerate(np.arange(at, at + size - 1e-6, step)):
            rows.append((x - zero, k + (1 if zero == first[0][0] else 0), j + 1 + round(missing / step)))
    ql, number, place = (np.array(c) for c in zip(*rows, strict=True))
    signatures = tuple(
        TimeSignature(int(number[np.searchsorted(ql, max(a - zero, 0) - 1e-6).clip(0, len(ql) - 1)]),
                      Fraction(max(a - zero, 0.0)).limit_denominator(96), n, d) for a, n, d in metres)
    grid = BeatGrid(played.seconds_at(ql + zero), ql, number, place, signatures)
    return Performance(notes, (PIANO,), pedal=played.pedal, duration_s=float(played.offset_s.max())), grid


def _let_go(onset_s: np.ndarray, offset_s: np.ndarray, end_s: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """When keys come up: of long notes not for a share of their value too early, but by so much at most."""
    until = np.maximum(offset_s, end_s - LET_GO_S)
    again: dict[int, float] = {}
    for i in np.argsort(-onset_s, kind="stable"):
        until[i] = max(min(until[i], again.get(int(pitch[i]), np.inf)), onset_s[i] + 0.02)
        again[int(pitch[i])] = float(onset_s[i])
    return until


# ---------------------------------------------------------------- figures


def found(name: str, performance: Performance, cache: Path) -> BeatGrid:
    """The grid that the program finds by itself."""
    grids = pickle.loads(cache.read_bytes()) if cache.exists() else {}
    if name not in grids:
        grids[name] = find_metre(performance, settings=Settings().metre)
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_bytes(pickle.dumps(grids))
    return grids[name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=("asap_dev", "corpus"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, default=Path("build/piano_scores.pkl"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--found", action="store_true", help="beats as `find_metre` finds them (kept beside the cache)")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--change", dest="changes", action="append", default=[], metavar="SECTION.NAME=VALUE")
    args = parser.parse_args()
    settings = Settings().changed(dict(change.split("=", 1) for change in args.changes))
    pieces = asap(args.data) if args.set == "asap_dev" else corpus(args.cache, args.seeds)
    print("signs a note: ours less the reference's\n" + f"{'':<46}"
          + "".join(f"{name[:7]:>8}" for name in (*SHOWN, *CLUTTER, "s")))
    rows = []
    for name, performance, grid, reference in pieces:
        if args.only and not any(part in name for part in args.only):
            continue
        if args.found:
            grid = found(name, performance, args.cache.parent / f"grids-{args.set}.pkl")
        began = time.process_time()
        score = notate_on(grid, performance, settings, Runner())
        seconds = time.process_time() - began
        mine = written(score)
        figures = score_figures(mine, reference)
        more = [mine.printed.signs[k] / len(mine.notes) - reference.printed.signs[k] / len(reference.notes)
                for k in CLUTTER]
        rows.append([figures.get(k, np.nan) for k in SHOWN] + more + [seconds])
        print(f"{name[:45]:<46}" + "".join(f"{x:8.3f}" for x in rows[-1]), flush=True)
    print(f"{'MEAN':<46}" + "".join(f"{x:8.3f}" for x in np.nanmean(np.array(rows), axis=0)))


if __name__ == "__main__":
    main()

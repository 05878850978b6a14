"""Scores whose licence lets a model that was fitted on them ship, as plain arrays.

music21's public-domain corpus (chorales, quartets, piano pieces, folk tunes) and OpenEWLD's lead
sheets. Reading takes some minutes, so that `read_all` keeps what it read in a cache file.
"""

from __future__ import annotations

import pickle
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass
class Bar:
    """A written measure: where it begins and what is written at its time signature."""

    ql: float
    numerator: int
    denominator: int


@dataclass
class Chord:
    """A chord symbol: pitch classes, the bass first."""

    ql: float
    pitch_classes: tuple[int, ...]


@dataclass
class Sheet:
    """A score: arrays of one length, `part` counted from the top; `bars` in order, the first may be a pickup."""

    name: str
    style: str
    onset_ql: np.ndarray
    duration_ql: np.ndarray
    pitch: np.ndarray
    part: np.ndarray
    bars: list[Bar]
    end_ql: float
    chords: list[Chord] = field(default_factory=list)
    bpm: tuple[float, float] | None = None  # slowest and quickest natural tempo, where it is known


METRES = {(2, 4), (3, 4), (4, 4), (2, 2), (3, 8), (6, 8), (9, 8), (12, 8)}

CORPUS = {  # folder of music21's corpus -> style
    "bach": "chorale", "beethoven": "quartet", "mozart": "quartet", "haydn": "quartet", "corelli": "baroque",
    "cpebach": "piano", "joplin": "piano", "chopin": "piano", "schumann_clara": "romantic",
    "schumann_robert": "romantic", "schubert": "romantic", "beach": "romantic", "handel": "baroque",
    "johnson_j_r": "romantic", "liliuokalani": "romantic", "weber": "romantic", "verdi": "romantic",
    "leadSheet": "lead",
}
TUNES = {"ryansMammoth": 1100, "airdsAirs": 1300, "oneills1850": 2100, "essenFolksong": 5000}


def sheet_of(score: object, name: str, style: str) -> Sheet | None:
    """A music21 score as a `Sheet`; None where its measures cannot be read."""
    import music21 as m21

    parts = list(score.parts) or [score]  # type: ignore[attr-defined]
    bars: list[Bar] = []
    now = (4, 4)
    for measure in parts[0].getElementsByClass(m21.stream.Measure):
        signatures = list(measure.getElementsByClass(m21.meter.TimeSignature))
        if signatures:
            now = (signatures[0].numerator, signatures[0].denominator)
        if bars and measure.offset <= bars[-1].ql:
            continue
        bars.append(Bar(float(measure.offset), *now))
    rows, chords = [], []
    for number, part in enumerate(parts):
        flat = part.stripTies().flatten() if len(parts) < 8 else part.flatten()
        for item in flat.notes:
            if isinstance(item, m21.harmony.ChordSymbol):
                tones = [p.pitchClass for p in item.pitches]
                if tones:
                    chords.append(Chord(float(item.offset), tuple(dict.fromkeys(tones))))
                continue
            if item.duration.isGrace or item.quarterLength <= 0:
                continue
            rows += [(float(item.offset), float(item.quarterLength), p.midi, number) for p in item.pitches]
    if len(rows) < 12 or len(bars) < 4:
        return None
    rows = sorted(set(rows))
    table = np.array(rows, dtype=float)
    end = float((table[:, 0] + table[:, 1]).max())
    pitch, number = table[:, 2].astype(int), table[:, 3].astype(int)
    return Sheet(name, style, table[:, 0], table[:, 1], pitch, number, joined(bars, end), end, chords)


def joined(bars: list[Bar], end_ql: float) -> list[Bar]:
    """Measures that a repeat sign or the end of a verse's line cuts in two are one."""
    out = bars[:1]
    for bar, stop in zip(bars[1:], [*[b.ql for b in bars[2:]], end_ql], strict=True):
        before, full = out[-1], 4.0 * bar.numerator / bar.denominator
        cut = bar.ql - before.ql < full - 1e-3 and abs(stop - before.ql - full) < 1e-3
        same = (before.numerator, before.denominator) == (bar.numerator, bar.denominator)
        if not (cut and same and len(out) > 1):
            out.append(bar)
    return out


def _root() -> Path:
    import music21 as m21

    return Path(m21.__file__).parent / "corpus"


def _corpus_files() -> Iterator[tuple[str, Path]]:
    root = _root()
    for folder, style in CORPUS.items():
        seen: set[Path] = set()
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in {".mxl", ".xml", ".musicxml", ".krn"} and path.with_suffix("") not in seen:
                seen.add(path.with_suffix(""))
                yield style, path


def _tunes() -> Iterator[tuple[str, str]]:
    """(name, text) of a fair share of every book of tunes."""
    import music21 as m21

    root = Path(m21.__file__).parent / "corpus"
    choose = random.Random(1)
    for folder, count in TUNES.items():
        tunes = []
        for path in sorted((root / folder).rglob("*.abc")):
            text = path.read_text(encoding="utf-8", errors="ignore")
            pieces = re.split(r"(?m)^(?=X:)", text)
            tunes += [(f"{folder}/{path.stem}/{k}", piece) for k, piece in enumerate(pieces) if piece.startswith("X:")]
        choose.shuffle(tunes)
        yield from tunes[:count]


def read_all(cache: Path, openewld: Path) -> list[Sheet]:
    """Every sheet, in a fixed order; read once and kept in `cache`."""
    if cache.exists():
        return list(pickle.loads(cache.read_bytes()))
    import music21 as m21

    sheets: list[Sheet] = []

    def add(source: object, name: str, style: str, **kind: str) -> None:
        try:
            parsed = m21.converter.parse(source, forceSource=True, **kind)
            scores = list(parsed.scores) if isinstance(parsed, m21.stream.Opus) else [parsed]
            for score in scores:
                if sheet := sheet_of(score, name, style):
                    sheets.append(sheet)
        except Exception as error:  # a corpus has files that its reader cannot read; they are left out
            print(f"{name}: {error!r}"[:150], file=sys.stderr)

    for path in sorted(openewld.glob("*.mxl")):
        add(str(path), path.stem, "lead")
    print("lead sheets:", len(sheets), flush=True)
    for style, path in _corpus_files():
        add(str(path), f"{path.relative_to(_root()).with_suffix('')}", style)
    print("with the corpus:", len(sheets), flush=True)
    for name, text in _tunes():
        add(text, name, "tune", format="abc")
    print("with the tunes:", len(sheets), flush=True)
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_bytes(pickle.dumps(sheets))
    return sheets

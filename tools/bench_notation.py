"""Processor time of everything after transcription, for 500, 5,000 and 50,000 notes: it grows in proportion.

    python tools/bench_notation.py [--notes 500 5000 50000]

The notes are a simulated performance of a written-out accompaniment under a melody, on one core.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict

import numpy as np

from rescored.expressive import perform
from rescored.music import PIANO, Note, Performance, Span
from rescored.output.engraving import Engraving
from rescored.output.musicxml import to_musicxml
from rescored.pipeline import notate
from rescored.settings import Settings
from rescored.stage import Event, Runner

ENGRAVED = 10_000  # notes beyond which Verovio, which is not ours, is left out


def performance(count: int) -> Performance:
    """About `count` notes in 4/4: broken chords in eighths under a melody in quarters and eighths."""
    random = np.random.default_rng(1)
    rows: list[tuple[float, float, int]] = []
    measure = 0
    while len(rows) < count:
        root = int(random.choice([0, 5, 7, 9]))
        rows += [(4 * measure + k / 2, 0.5, 48 + root + (0, 7, 4, 7)[k % 4]) for k in range(8)]
        at = 0.0
        while at < 4:
            length = float(random.choice([0.5, 1.0, 1.5]))
            rows.append((4 * measure + at, min(length, 4 - at), 67 + int(random.choice([0, 2, 4, 5, 7, 9]))))
            at += length
        measure += 1
    onset, length, pitch = (np.array(column) for column in zip(*rows[:count], strict=True))
    played = perform(onset, length, pitch.astype(int), bpm=100, measures_ql=np.arange(0.0, 4.0 * measure, 4.0))
    notes = tuple(
        Note(f"n{i}", float(a), float(b), int(p), int(v)) for i, (a, b, p, v) in
        enumerate(zip(played.onset_s, played.offset_s, pitch, played.velocity, strict=True)))
    return Performance(notes, (PIANO,), (Span(0.0, 1.0),), duration_s=float(played.offset_s.max()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=int, nargs="*", default=[500, 5000, 50_000])
    args = parser.parse_args()
    notate(performance(200), Settings(), Runner())  # compiled once
    table: dict[str, list[str]] = defaultdict(list)
    for count in args.notes:
        played = performance(count)
        began: dict[str, float] = {}
        spent: dict[str, float] = {}

        def listen(event: Event, began: dict[str, float] = began, spent: dict[str, float] = spent) -> None:
            now = time.process_time()
            if event.state == "done":
                spent[event.stage] = now - began[event.stage]
            else:
                began.setdefault(event.stage, now)

        _, score = notate(played, Settings(), Runner(listen=listen))
        spent["all to a Score"] = sum(spent.values())
        start = time.process_time()
        xml = to_musicxml(score)
        spent["MusicXML"] = time.process_time() - start
        if count <= ENGRAVED:
            start = time.process_time()
            Engraving(xml).svg(1)
            spent["first page of SVG"] = time.process_time() - start
        for name in spent:
            table[name].append(f"{spent[name]:.2f}")
    print("processor time, s\n\n| | " + " | ".join(f"{n:,} notes" for n in args.notes) + " |")
    print("|---|" + "--:|" * len(args.notes))
    for name, cells in table.items():
        print(f"| {name} | " + " | ".join(cells + ["–"] * (len(args.notes) - len(cells))) + " |")


if __name__ == "__main__":
    main()

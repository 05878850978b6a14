"""What songs gain that wait together for one GPU, by the scheduler of the product and a model of the GPU.

    python tools/simulate_together.py [--call-ms 37 --segment-ms 30 --host-ms 9] [--batch 16]

The network is one that only sleeps: so long a call and so long a segment. Both are solved from the two figures for
one H200 in docs/scale.md (3 minutes, 26 segments, fp32: 2.0 s one at a time, 1.1 s sixteen at a time); what a
segment costs beside the GPU (cut, cross-faded) was measured on one core. Songs come at the same moment.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from dataclasses import dataclass, field

import numpy as np

from rescored.hearing.overlap import Level, Samples, offsets, overlap_add
from rescored.hearing.together import Batches, Song

SEGMENT, OVERLAP = 390, 0.1  # 7.8 s at 50 samples a second: only their number counts
MIXES = {"4 of 20 s": [20] * 4, "8 of 20 s": [20] * 8, "4 of 1 min": [60] * 4, "4 of 3 min": [180] * 4,
         "one of 10 min, then 3 of 20 s": [600, 20, 20, 20]}


@dataclass
class Sleeping:
    """A network as far as its batches see it."""

    call_s: float
    segment_s: float
    batch: int
    warnings: tuple[str, ...] = ()
    on_gpu: bool = False
    sizes: list[int] = field(default_factory=list)

    def begin(self) -> None:
        """It is where it is."""

    def compute(self, windows: Samples, wanted: tuple[int, ...]) -> Samples:
        """The windows themselves, late."""
        self.sizes.append(len(windows))
        time.sleep(self.call_s + self.segment_s * len(windows))
        return windows[:, None]


def take_apart(song: Song, seconds: float, batch: int, host_s: float) -> None:
    """As `separate` does it."""
    samples = np.zeros((2, int(seconds * 50)), dtype=np.float32)
    for _ in overlap_add(song, samples, Level(0.0, 1.0), segment=SEGMENT, overlap=OVERLAP, batch=batch):
        time.sleep(host_s)


def run(lengths: list[float], network: Sleeping, host_s: float, *, together: bool) -> list[float]:
    """When each song is done, in seconds."""
    batches, ends, began = Batches(network), [0.0] * len(lengths), time.perf_counter()

    def one(k: int) -> None:
        with batches.song([0]) as song:
            take_apart(song, lengths[k], network.batch, host_s)
        ends[k] = time.perf_counter() - began

    threads = [threading.Thread(target=one, args=(k,)) for k in range(len(lengths))]
    for thread in threads:
        thread.start()
        if not together:
            thread.join()
        time.sleep(0.002)  # so that the order is that of the list
    for thread in threads:
        thread.join()
    return ends


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--call-ms", type=float, default=37.0, help="of the GPU, whatever the batch")
    parser.add_argument("--segment-ms", type=float, default=30.0, help="of the GPU, for each segment")
    parser.add_argument("--host-ms", type=float, default=9.0, help="beside the GPU, for each segment")
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    print("| songs | | calls | segments a call | last done, s | done on average, s |\n|---|---|--:|--:|--:|--:|")
    for name, lengths in MIXES.items():
        for together in (False, True):
            network = Sleeping(options.call_ms / 1e3, options.segment_ms / 1e3, options.batch)
            ends = run(lengths, network, options.host_ms / 1e3, together=together)
            assert sum(network.sizes) == sum(len(offsets(int(s * 50), SEGMENT, OVERLAP)) for s in lengths)
            how = "together" if together else "one by one"
            print(f"| {name} | {how} | {len(network.sizes)} | {statistics.mean(network.sizes):.1f} "
                  f"| {max(ends):.2f} | {statistics.mean(ends):.2f} |", flush=True)


if __name__ == "__main__":
    main()

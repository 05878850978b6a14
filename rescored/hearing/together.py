"""Songs that go through one network at the same time fill its batches together.

A GPU takes nearly as long for three segments as for eight, and does nothing while one song's stems are cross-faded:
where several songs wait, their segments share batches, and one song's are computed while another's are put
together. No thread does that alone: whoever waits for stems and finds the network free computes the next batch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..models import count_gpu_s, freed_memory_kept
from ..room import Samples
from ..stage import Report, silent

POLL_S = 0.5  # how often who waits asks whether the song is still wanted


class Computing(Protocol):
    """What batches need of a network."""

    batch: int
    warnings: tuple[str, ...]

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU computes."""

    def begin(self) -> None:
        """Go to the best device; nobody is at work."""

    def compute(self, windows: Samples, wanted: tuple[int, ...]) -> Samples | None:
        """The wanted stems of at most `batch` windows; None if they were too many, and `batch` is smaller now."""


class _Segment:
    """A window (channels, segment) and, once they are computed, its stems (stems, channels, segment)."""

    def __init__(self, window: Samples):
        self.window = window
        self.stems: NDArray[np.float32] | None = None


class Song:
    """One song's way through a network that others may share. `warnings`: what went wrong with it there."""

    def __init__(self, batches: Batches, wanted: tuple[int, ...]):
        self.wanted = wanted
        self.warnings: tuple[str, ...] = ()
        self._batches = batches
        self.waiting: list[_Segment] = []
        self.error: Exception | None = None
        self.gpu_s = 0.0

    def __call__(self, windows: Samples, still_wanted: Callable[[], None] = lambda: None) -> Samples:
        """Wanted stems (batch, stems, channels, segment) of windows (batch, channels, segment).

        `still_wanted` is asked while they wait; if it raises, they wait no more. Raises what the network raised.
        """
        segments = [_Segment(window) for window in windows]
        self._batches.wait_for(self, segments, still_wanted)
        count_gpu_s(self.gpu_s)
        self.gpu_s = 0.0
        if self.error:
            raise self.error
        return np.stack([segment.stems for segment in segments if segment.stems is not None])


class Batches:
    """Lets songs into a network and forms its batches of their segments, those of who came first before others'."""

    def __init__(self, network: Computing):
        self._network = network
        self._songs: list[Song] = []  # at work, in the order in which they came
        self._changed = threading.Condition()  # of the songs, of what waits, of the network
        self._busy = False  # while it is not, no segment that waits is being computed

    @contextmanager
    def song(self, wanted: Sequence[int], report: Report = silent) -> Iterator[Song]:
        """A song at work. Where batches hold one segment, nothing is gained by sharing: then one after the other."""
        song = Song(self, tuple(wanted))
        while not self._came_in(song):
            report(0.0, "waiting for another separation")
        try:
            with freed_memory_kept():
                yield song
        finally:
            with self._changed:
                self._songs.remove(song)
                self._changed.notify_all()

    def _came_in(self, song: Song) -> bool:
        with self._changed:
            if self._songs and self._network.batch == 1:
                self._changed.wait(POLL_S)
                return False
            if not self._songs:
                self._network.begin()
            self._songs.append(song)
            return True

    def wait_for(self, song: Song, segments: list[_Segment], still_wanted: Callable[[], None]) -> None:
        """Until these segments of a song have their stems, or the song its error; computes what waits meanwhile."""
        with self._changed:
            song.waiting = list(segments)
        try:
            while song.waiting:
                if self._begin_computing():
                    try:
                        if song.waiting:
                            self._compute(self._next())
                    finally:
                        self._end_computing()
                if song.waiting:
                    still_wanted()
        finally:
            with self._changed:
                song.waiting = []

    def _begin_computing(self) -> bool:
        """Whether the network is this thread's now; if it is busy, waits for a change of that, or of what waits."""
        with self._changed:
            if self._busy:
                self._changed.wait(POLL_S)
                return False
            self._busy = True
            return True

    def _end_computing(self) -> None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()

    def _next(self) -> list[tuple[Song, _Segment]]:
        """A batch of segments that wait for the same stems as the first one does."""
        with self._changed:
            waiting = [(song, segment) for song in self._songs for segment in song.waiting]
            return [pair for pair in waiting if pair[0].wanted == waiting[0][0].wanted][: self._network.batch]

    def _compute(self, batch: list[tuple[Song, _Segment]]) -> None:
        """Give a batch's segments their stems, and none if the memory was too small; a song that fails fails alone."""
        songs = {song: sum(one is song for one, _ in batch) for song, _ in batch}
        began = time.perf_counter()
        try:
            windows = np.stack([segment.window for _, segment in batch])
            stems = self._network.compute(windows, batch[0][0].wanted)
        except Exception as error:
            if len(songs) > 1:
                for song in songs:
                    self._compute([pair for pair in batch if pair[0] is song])
                return
            [song] = songs
            song.error, stems = error, None
            with self._changed:
                song.waiting = []
        if stems is None:
            return
        seconds = time.perf_counter() - began if self._network.on_gpu else 0.0
        for (_, segment), of_it in zip(batch, stems, strict=True):
            segment.stems = of_it
        with self._changed:
            for song, count in songs.items():
                song.gpu_s += seconds * count / len(batch)
                song.warnings = self._network.warnings
                song.waiting = [segment for segment in song.waiting if segment.stems is None]

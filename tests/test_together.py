"""Songs that share a network: the same stems as alone, fewer batches, and none suffers from what another does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from servers import until
from test_separate import QUICK, RATE_HZ, music, save_models

from rescored import models
from rescored.errors import Cancelled
from rescored.hearing import network as network_module
from rescored.hearing.network import Network, network
from rescored.hearing.separate import separate
from rescored.music import Audio, Separator, Stems
from rescored.settings import SeparateSettings
from rescored.stage import Report, silent

HTDEMUCS = Separator("htdemucs")
SEGMENT_S = 1.5 * 0.9  # of the tiny network, overlap taken off


class Device:
    """A GPU as far as sharing goes, though the CPU computes: batches of `batch`, each of them written down."""

    def __init__(self, batch: int):
        self.batch = batch
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.sizes: list[int] = []
        self.before: Callable[[np.ndarray], None] = lambda windows: None

    def install(self, patch: pytest.MonkeyPatch) -> None:
        run, device = Network._run, self

        def move(net: Network, to: str) -> None:
            net._device, net.batch = to, 1 if to == "cpu" else device.batch

        def spied(net: Network, windows: np.ndarray, wanted: tuple[int, ...], dtype: Any) -> np.ndarray:
            assert device.goes_on.wait(60)
            device.before(windows)
            device.sizes.append(len(windows))
            where, net._device = net._device, "cpu"
            try:
                return run(net, windows, wanted, dtype)
            finally:
                net._device = where

        patch.setattr(Network, "_run", spied)
        patch.setattr(Network, "_move", move)
        patch.setattr(network_module, "device", lambda: "cpu" if device.batch == 1 else "gpu")
        patch.setattr(network_module, "SAME_DB", -np.inf)  # always in 32 bits

    def start(self, *songs: Audio | tuple[Audio, SeparateSettings], reports: Any = ()) -> Started:
        """Separate all these at once: a song of one segment first and alone, and the others wait for it in this order.

        Nothing is computed before `Started.results`.
        """
        net = network("htdemucs")
        self.goes_on.clear()
        started = Started(self)
        for k, song in enumerate((PLUG, *songs)):
            audio, settings = song if isinstance(song, tuple) else (song, QUICK)
            started.add(audio, settings, dict(reports).get(k - 1, silent))
            if self.batch > 1:
                until(lambda k=k: sum(bool(song.waiting) for song in net._batches._songs) == k + 1, "all songs")
        return started

    def separated(self, *songs: Audio | tuple[Audio, SeparateSettings], reports: Any = ()) -> list[Stems | Exception]:
        """The same, to its end."""
        self.sizes.clear()
        return self.start(*songs, reports=reports).results()


class Started:
    """Songs that are being separated."""

    def __init__(self, device: Device):
        self.device, self.threads = device, list[threading.Thread]()
        self.became: dict[int, Stems | Exception] = {}

    def add(self, audio: Audio, settings: SeparateSettings, report: Report) -> None:
        number = len(self.threads)

        def separated() -> None:
            try:
                self.became[number] = separate(audio, HTDEMUCS, settings=settings, report=report)
            except Exception as error:
                self.became[number] = error

        self.threads.append(threading.Thread(target=separated))
        self.threads[-1].start()

    def results(self) -> list[Stems | Exception]:
        self.device.goes_on.set()
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads)
        return [self.became[number] for number in range(1, len(self.threads))]


@pytest.fixture
def device(tmp_path, monkeypatch):
    monkeypatch.setenv("RESCORED_MODELS", str(save_models(tmp_path / "weights")))
    models.let_go_all()
    network("htdemucs")
    device = Device(batch=4)
    device.install(monkeypatch)
    yield device
    models.let_go_all()


def song(seconds: float, turn: float = 0.0) -> Audio:
    """Each one sounds different."""
    return Audio(np.roll(music(seconds).samples, int(turn * RATE_HZ), axis=1) * (1 + turn), RATE_HZ)


PLUG = song(0.3, 0.1)
SONGS = (song(0.4), song(3.2, 0.3), song(9.0, 0.7))  # 1, 3 and 7 segments


def same(found: Stems | Exception, alone: Stems) -> bool:
    assert isinstance(found, Stems), repr(found)
    loudest = max(float(np.abs(stem.samples).max()) for stem in alone.audio.values())
    return list(found.audio) == list(alone.audio) and all(
        np.abs(found.audio[name].samples - stem.samples).max() < 1e-5 * loudest for name, stem in alone.audio.items())


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_songs_of_any_length_sound_as_alone(device, order):
    alone = [separate(audio, HTDEMUCS, settings=QUICK) for audio in SONGS]
    found = device.separated(*(SONGS[k] for k in order))
    assert all(same(stems, alone[k]) for stems, k in zip(found, order, strict=True))


def test_short_songs_that_wait_together_fill_the_batches(device):
    short = [song(seconds, turn=k / 7) for k, seconds in enumerate((0.3, 1.0, 2.5, 3.6, 2.0))]
    alone = [separate(audio, HTDEMUCS, settings=QUICK) for audio in short]
    assert device.sizes == [1, 1, 2, 3, 2]
    found = device.separated(*short)
    assert all(same(*pair) for pair in zip(found, alone, strict=True))
    assert device.sizes == [1, 4, 4, 1]


def test_on_a_cpu_one_goes_after_the_other_and_nothing_changes_by_a_bit(device):
    device.batch = 1
    alone = [separate(audio, HTDEMUCS, settings=QUICK) for audio in SONGS]
    told: list[int] = []
    reports = {k: lambda fraction, text, k=k: told.append(k) if text.startswith("segment") else None for k in range(3)}
    found = device.separated(*SONGS, reports=reports)
    for stems, expected in zip(found, alone, strict=True):
        assert isinstance(stems, Stems)
        assert all(np.array_equal(stems.audio[name].samples, stem.samples) for name, stem in expected.audio.items())
    assert set(device.sizes) == {1} and len(list(groupby(told))) == 3


def test_songs_that_want_other_stems_are_never_in_one_batch(device):
    bass = SeparateSettings(model="htdemucs", stems="bass")
    alone = separate(SONGS[1], HTDEMUCS, settings=bass), separate(SONGS[1], HTDEMUCS, settings=QUICK)
    found = device.separated((SONGS[1], bass), (SONGS[1], QUICK))
    assert all(same(*pair) for pair in zip(found, alone, strict=True))
    assert device.sizes == [1, 3, 3]


def test_a_cancelled_song_is_computed_no_further_and_the_others_are(device):
    alone = separate(SONGS[1], HTDEMUCS, settings=QUICK)

    def report(fraction: float, text: str = "") -> None:
        if fraction > 0.3:
            raise Cancelled

    gone, found = device.separated(song(60.0), SONGS[1], reports={0: report})
    assert isinstance(gone, Cancelled) and same(found, alone)
    assert sum(device.sizes) < 0.3 * 60 / SEGMENT_S + 3 * 4
    assert same(device.separated(SONGS[1])[0], alone), "nothing is left locked"


def test_a_song_is_cancelled_while_the_network_is_at_another_s(device):
    asked = threading.Event()

    def report(fraction: float, text: str = "") -> None:
        if asked.is_set():
            raise Cancelled

    device.sizes.clear()
    started = device.start(SONGS[2], SONGS[1], reports={0: report})
    asked.set()
    started.threads[1].join(60)
    assert isinstance(started.became[1], Cancelled) and started.threads[0].is_alive()
    assert isinstance(started.results()[1], Stems) and sum(device.sizes) == 1 + 3


def test_a_full_gpu_makes_smaller_batches_for_all_and_then_the_cpu_goes_on(device):
    alone = [separate(audio, HTDEMUCS, settings=QUICK) for audio in SONGS]
    net = network("htdemucs")

    def full(windows: np.ndarray) -> None:
        if net._device == "gpu" and len(windows) > room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    device.before = full
    for room in (2, 0):
        found = device.separated(*SONGS)
        assert all(same(*pair) for pair in zip(found, alone, strict=True))
        assert max(device.sizes) == max(room, 1)
        assert [any("CPU" in warning for warning in stems.warnings) for stems in found] == [room == 0] * 3
    device.before = lambda windows: None
    assert not device.separated(SONGS[0])[0].warnings, "the next song has the GPU again"


def test_whoever_fails_fails_alone(device):
    """In the network, or on the way there."""
    alone = separate(SONGS[1], HTDEMUCS, settings=QUICK)
    told: list[float] = []

    def picky(windows: np.ndarray) -> None:
        if np.abs(windows).max() > 100:
            raise ValueError("a spike")

    def broken(fraction: float, text: str = "") -> None:
        told.append(fraction)
        if len(told) > 1:
            raise OSError("the disk is gone")

    device.before = picky
    spike = np.where(np.arange(2 * RATE_HZ) == RATE_HZ, 999.0, music(2.0).samples)
    bad = Audio(spike.astype(np.float32), RATE_HZ)
    failed, found, torn = device.separated(bad, SONGS[1], song(9.0), reports={2: broken})
    assert str(failed) == "a spike" and str(torn) == "the disk is gone" and same(found, alone)


def test_a_gpu_is_for_one_listener_at_a_time_and_who_waits_may_leave(monkeypatch):
    monkeypatch.setattr(models, "device", lambda: "cuda")
    said: list[str] = []

    def report(fraction: float, text: str) -> None:
        said.append(text)
        raise Cancelled

    def enter() -> None:
        with suppress(Cancelled), models.turn_at_gpu(report):
            said.append("entered")

    with models.turn_at_gpu(silent):
        waits = threading.Thread(target=enter)
        waits.start()
        waits.join(60)
    enter()
    assert said == ["waiting for the GPU", "entered"]


def test_a_gpu_is_known_without_torch(monkeypatch):
    import pynvml

    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    for count, chosen, known in ((1, "", True), (1, "cuda:0", True), (1, "cpu", False), (0, "auto", False)):
        monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda count=count: count)
        monkeypatch.setenv("RESCORED_DEVICE", chosen)
        assert models.has_gpu() is known

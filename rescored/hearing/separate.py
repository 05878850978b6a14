"""The recording taken apart: drums, bass, voice and the rest, each on its own."""

from __future__ import annotations

import random
import tempfile
from dataclasses import replace
from functools import partial

import numpy as np

from ..errors import ModelUnavailable, SettingsError
from ..music import Audio, Separator, Stems
from ..plugins import separators
from ..settings import SeparateSettings
from ..stage import Report, silent, stage
from .network import Network, network
from .overlap import Level, Samples, offsets, overlap_add
from .resample import resample
from .together import Song
from .weights import BUILT_IN

SPILL_BYTES = 1 << 30  # stems larger than this in all lie in a temporary file


@stage(version=1, kept=False)
def find_separator(*, settings: SeparateSettings, report: Report = silent) -> Separator:
    """The separator that was asked for, its weights fetched and loaded, or the one that ships, with a warning."""
    name = _demucs_name(settings)
    if name == "none" or name in separators:
        return Separator(name)
    try:
        network(name, report)
    except ModelUnavailable as error:
        instead = f"{BUILT_IN}, which ships with rescored, took the recording apart instead: its stems are rougher."
        return Separator(BUILT_IN, (f"{error.problem} {instead} {error.remedy}",))
    return Separator(name)


def _demucs_name(settings: SeparateSettings) -> str:
    fine = settings.quality == "fine" and settings.model == "htdemucs"
    return "htdemucs_ft" if fine else settings.model


@stage(version=2)
def separate(
    audio: Audio, separator: Separator | None = None, *, settings: SeparateSettings, report: Report = silent
) -> Stems:
    """Take the recording apart with Demucs; stems have its length, rate and channels.

    `separator` is what `find_separator` found (None = ask it). "none" gives the one stem "mix".
    Hybrid Transformer Demucs: Rouard, Massa & Défossez, ICASSP 2023. Averaging shifted passes:
    Défossez et al., "Music source separation in the waveform domain", 2019.
    """
    separator = separator or find_separator(settings=settings, report=report)
    if separator.name == "none":
        return Stems({"mix": audio}, "none", separator.warnings)
    if separator.name in separators:
        return Stems(separators[separator.name](audio, settings, report), separator.name, separator.warnings)
    net = network(separator.name, report)
    names = _wanted(net.stems, settings.stems)
    with net.at_work(report, names) as song:
        samples = _as_heard(audio, net)
        stems = _take_apart(samples, net, song, settings, report)
        sounds = {name: _as_recorded(stem, net, audio) for name, stem in zip(names, stems, strict=True)}
        return Stems(sounds, separator.name, separator.warnings + song.warnings)


def _wanted(there: tuple[str, ...], chosen: str) -> tuple[str, ...]:
    """The stems that `separate.stems` names, in the network's order; SettingsError for one that is not there."""
    named = {name.strip().lower() for name in chosen.split(",")} - {""}
    if not named or named == {"all"}:
        return there
    if unknown := sorted(named - set(there)):
        remedy = f"separate.stems takes all, or some of {', '.join(there)}."
        raise SettingsError(f"There is no stem {unknown[0]!r}.", remedy)
    return tuple(name for name in there if name in named)


def _take_apart(
    samples: Samples, net: Network, song: Song, settings: SeparateSettings, report: Report
) -> Samples:
    """Stems (stems, channels, n) of samples (channels, n), at the network's rate."""
    fine = settings.quality == "fine"
    overlap = max(settings.overlap, 0.25) if fine else settings.overlap
    origins = _origins(max(settings.shifts, 2) if fine else settings.shifts, net.rate_hz)
    n, level = samples.shape[1], Level.of(samples)
    total = sum(len(offsets(n, net.segment, overlap, origin)) for origin in origins)
    done = 0

    def estimate(windows: Samples) -> Samples:
        nonlocal done
        tell = partial(report, done / total, f"segment {done + 1} of {total}")
        tell()
        done += len(windows)
        return song(windows, tell)

    stems = _room((len(song.wanted), *samples.shape))
    for origin in origins:
        for start, block in overlap_add(
            estimate, samples, level, segment=net.segment, overlap=overlap, batch=net.batch, origin=origin
        ):
            stems[..., start : start + block.shape[-1]] += block / len(origins)
    return stems


def _origins(shifts: int, rate_hz: int) -> list[int]:
    """Where the grid of segments begins in each pass: up to half a second before the sound."""
    chance, furthest = random.Random(0), rate_hz // 2
    return [chance.randint(0, furthest) - furthest for _ in range(shifts)] or [0]


def _room(shape: tuple[int, ...]) -> Samples:
    """Zeros; from `SPILL_BYTES` on in a nameless file, so that long recordings do not fill the memory."""
    if np.prod(shape) * 4 < SPILL_BYTES:
        return np.zeros(shape, dtype=np.float32)
    with tempfile.TemporaryFile(prefix="rescored") as file:
        return np.memmap(file, np.float32, "w+", shape=shape)


def _as_heard(audio: Audio, net: Network) -> Samples:
    """The samples at the network's rate and in its channels."""
    samples = resample(audio.samples, audio.rate_hz, net.rate_hz)
    if len(samples) != net.channels:
        samples = np.broadcast_to(samples.mean(axis=0, keepdims=True), (net.channels, samples.shape[1]))
    return samples


def _as_recorded(stem: Samples, net: Network, audio: Audio) -> Audio:
    """A stem at the recording's rate, length and channels."""
    channels, n = audio.samples.shape
    if channels != len(stem):
        stem = np.broadcast_to(stem.mean(axis=0, keepdims=True, dtype=np.float32), (channels, stem.shape[1]))
    stem = resample(stem, net.rate_hz, audio.rate_hz)
    stem = np.pad(stem, ((0, 0), (0, max(n - stem.shape[1], 0))))[:, :n] if stem.shape[1] != n else stem
    return replace(audio, samples=stem)


"""The recording taken apart: drums, bass, voice and the rest, each on its own."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

import numpy as np

from ..errors import ModelUnavailable, SettingsError
from ..music import Audio, Separator, Stems
from ..plugins import separators
from ..room import Samples, blocks, let_go, zeros
from ..settings import SeparateSettings
from ..stage import Report, silent, stage
from .network import Network, network
from .overlap import Level, offsets, overlap_add
from .resample import mono_at, resample
from .together import Song
from .weights import BUILT_IN


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

    stems = zeros((len(song.wanted), *samples.shape))
    for origin in origins:
        for start, block in overlap_add(
            estimate, samples, level, segment=net.segment, overlap=overlap, batch=net.batch, origin=origin
        ):
            stems[..., start : start + block.shape[-1]] += block / len(origins)
            let_go(stems)
    return stems


def _origins(shifts: int, rate_hz: int) -> list[int]:
    """Where the grid of segments begins in each pass: up to half a second before the sound."""
    chance, furthest = random.Random(0), rate_hz // 2
    return [chance.randint(0, furthest) - furthest for _ in range(shifts)] or [0]


def _as_heard(audio: Audio, net: Network) -> Samples:
    """The samples at the network's rate and in its channels."""
    if len(audio.samples) == net.channels:
        return resample(audio.samples, audio.rate_hz, net.rate_hz)
    mono = mono_at(audio, net.rate_hz)
    return np.broadcast_to(mono, (net.channels, len(mono)))


def _as_recorded(stem: Samples, net: Network, audio: Audio) -> Audio:
    """A stem at the recording's rate, length and channels."""
    if len(stem) != len(audio.samples):
        stem = mono_at(Audio(stem, net.rate_hz), audio.rate_hz)[None]
    stem = resample(stem, net.rate_hz, audio.rate_hz)
    if stem.shape == audio.samples.shape:
        return replace(audio, samples=stem)
    whole = zeros(audio.samples.shape)
    for start, block in blocks(stem[:, : whole.shape[1]]):
        whole[:, start : start + block.shape[1]] = block
    return replace(audio, samples=whole)


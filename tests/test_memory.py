"""Memory does not grow with the length of the sound, from the file to the stems and notes that are written."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rescored import room
from rescored.errors import RescoredError
from rescored.hearing.frames import BLOCK, cut, frames
from rescored.hearing.resample import mono_at, resample
from rescored.hearing.transcribe.note_odds import HOP, Posteriors, begins
from rescored.music import Audio

# All that touches sound; of the networks, only what they cost in time is spared.
WHOLE_WAY = """
import json, sys, threading
from pathlib import Path
import numpy as np
from rescored import Settings, room
from rescored.hearing import network
from rescored.hearing.audio import decode
from rescored.hearing.pulse import track_pulse
from rescored.hearing.separate import find_separator, separate
from rescored.hearing.sources import open_source
from rescored.hearing.transcribe import basic_pitch, detect_notes
from rescored.output.files import zip_stems
from rescored.service.sounds import peaks
from rescored.stage import Runner
from rescored.store import Store

room.SPILL_BYTES = 1 << 20
network.Network._run = lambda self, windows, *_: (windows[:, None] / 4).repeat(4, axis=1)

class Silent:
    def run(self, names, given):
        windows = len(given["serving_default_input_2:0"])
        return [np.zeros((windows, 172, keys), np.float32) for keys in (88, 88, 264)]

basic_pitch.load = Silent
folder, song = Path(sys.argv[1]), sys.argv[2]
settings = Settings.preset("full-band").changed({"separate.model": "rescored-small"})
run, peak, over = Runner(Store(folder / "store")), 0, threading.Event()

def look():
    global peak
    while not over.wait(0.005):
        status = Path("/proc/self/status").read_text()
        peak = max(peak, int(status.partition("RssAnon:")[2].split()[0]))

def hear(source):
    audio = run(decode, open_source(source, max_minutes=15), settings=settings.audio)
    stems = run(separate, audio, find_separator(settings=settings.separate), settings=settings.separate)
    for stem, sound in stems.audio.items():
        run(detect_notes, sound, stem, settings=settings.notes)
        peaks(sound)
    run(track_pulse, audio, "onset-strength", settings=settings.pulse)
    with (folder / "stems.zip").open("wb") as file:
        zip_stems(stems, "song", file)

hear(sys.argv[3])  # loads everything
threading.Thread(target=look, daemon=True).start()
hear(song)
over.set()
print(json.dumps(peak / 1024))
"""


def write_noise(path: Path, seconds: float) -> Path:
    """Stereo, in which drums are heard now and then, as FLAC."""
    chance = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", 44100, 2, format="FLAC") as file:
        for _ in range(round(seconds)):
            file.write(chance.normal(0, 0.1, (44100, 2)) * np.exp(-np.arange(44100) / 4000)[:, None])
    return path


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's own memory")
def test_a_longer_recording_takes_no_more_memory(tmp_path):
    code = tmp_path / "whole_way.py"
    code.write_text(WHOLE_WAY)
    brief = write_noise(tmp_path / "brief.flac", 3)
    peak_mb = {}
    for seconds in (45, 225):
        song = write_noise(tmp_path / f"{seconds}.flac", seconds)
        command = [sys.executable, str(code), str(tmp_path / str(seconds)), str(song), str(brief)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        peak_mb[seconds] = json.loads(done.stdout.splitlines()[-1])
    once_mb = (225 - 45) * 44100 * 2 * 4 / 2**20  # what one more copy of the sound would take
    assert peak_mb[225] - peak_mb[45] < once_mb / 2, peak_mb


def test_samples_on_disk_are_samples(monkeypatch):
    monkeypatch.setattr(room, "SPILL_BYTES", 1000)
    chance = np.random.default_rng(1)
    given = chance.normal(0, 0.1, (2, 3000)).astype(np.float32)
    kept = room.zeros(given.shape)
    assert not kept.any()
    kept[:] = given
    room.let_go(kept[1, 5:])
    assert np.array_equal(kept, given)  # what was let go of is asked for again
    monkeypatch.setattr(room, "BLOCK", 700)
    for rate_hz in (44100, 22050, 48000):
        assert np.array_equal(mono_at(Audio(kept, 44100), rate_hz), resample(given.mean(axis=0), 44100, rate_hz))
    assert room.loudest(kept) == np.abs(given).max()


def test_a_full_disk_is_said_in_words(monkeypatch):
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(room, "SPILL_BYTES", 1000)
    monkeypatch.setattr(room, "_ALLOCATE", full)
    with pytest.raises(RescoredError, match="no room on the disk") as caught:
        room.zeros((2, 3000))
    assert "TMPDIR" in caught.value.remedy


@pytest.mark.parametrize("n", [0, 1, 255, 5000, 300_000])
def test_frames_in_blocks_are_those_of_the_whole_sound(n):
    sound = np.random.default_rng(n).normal(size=n).astype(np.float32)
    whole = np.pad(sound, 600)
    count = n // 256 + 1
    assert n < 300_000 or count > BLOCK
    got = [(first + k, frame) for first, some in frames(sound, 1000, 256) for k, frame in enumerate(some)]
    assert [i for i, _ in got] == list(range(count))
    assert all(np.array_equal(frame, whole[i * 256 + 100 :][:1000]) for i, frame in got)


@pytest.mark.parametrize(("begin", "expected"), [(-5, [0, 0, 0]), (-2, [0, 0, 1]), (1, [2, 3, 4]), (3, [4, 0, 0]),
                                                 (9, [0, 0, 0])])
def test_beyond_its_ends_a_sound_is_silent(begin, expected):
    assert cut(np.array([1, 2, 3, 4], np.float32), begin, 3).tolist() == expected


def test_begins_in_blocks_are_those_of_the_whole(monkeypatch):
    chance = np.random.default_rng(2)
    sounding, onsets = np.full((2, 900, 88), 0.1, np.float32)
    for first in range(20, 860, 20):
        key = chance.integers(20, 60)
        sounding[first : first + 30, key], onsets[first - 1 : first + 2, key] = 0.9, 0.8
    heard = Posteriors(sounding, onsets, sounding.repeat(3, axis=1))
    samples = chance.normal(0, 0.1, 899 * HOP).astype(np.float32)
    whole = begins(heard, samples)
    monkeypatch.setattr("rescored.hearing.transcribe.note_odds.BLOCK", 100)
    parts = begins(heard, samples)
    for a, b in zip(vars(whole).values(), vars(parts).values(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert (whole.probability > 0.5).sum() > 20

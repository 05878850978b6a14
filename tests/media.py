"""Small sounds and MIDI files, made when a test wants them."""

import struct
import subprocess

import numpy as np
import soundfile

from rescored.hearing.audio import ffmpeg


def sine(hz=440.0, seconds=1.0, rate_hz=44100, channels=1, level=0.5):
    """A sine, shape (frames, channels); the right channel is half as loud."""
    wave = level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)
    return wave[:, None] * np.array([1.0, 0.5])[:channels]


def write_wav(path, samples, rate_hz=44100, subtype="PCM_16"):
    soundfile.write(path, samples, rate_hz, format="WAV", subtype=subtype)
    return path


def run_ffmpeg(*arguments):
    subprocess.run([ffmpeg(), "-nostdin", "-v", "error", "-y", *map(str, arguments)], check=True)


def convert(source, target, *arguments):
    """The same sound in the format of the target's suffix."""
    run_ffmpeg("-i", source, *arguments, target)
    return target


def write_mute_video(path):
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=d=1:s=64x64:r=5", path)
    return path


def write_sparse_wav(path, seconds, rate_hz=8000):
    """A WAV of 8 bits that takes no room on the disk, however long."""
    n = round(seconds * rate_hz)
    path.write_bytes(struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", min(36 + n, 2**32 - 1), b"WAVEfmt ", 16, 1, 1, rate_hz,
                                 rate_hz, 1, 8, b"data", min(n, 2**32 - 1)))
    with path.open("r+b") as file:
        file.truncate(44 + n)
    return path


# ---------------------------------------------------------------- MIDI, byte by byte


def number(value):
    """MIDI's number of variable length."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))


def track(*events, end=True):
    """A track from (delta ticks, *bytes) events."""
    body = b"".join(number(delta) + bytes(message) for delta, *message in events)
    body += b"\x00\xff\x2f\x00" if end else b""
    return b"MTrk" + struct.pack(">I", len(body)) + body


def midi(*tracks, division=480):
    """A MIDI file; at the default tempo, 480 ticks are half a second."""
    return b"MThd" + struct.pack(">IHHh", 6, 1, len(tracks), division) + b"".join(tracks)


def notes_track(notes, channel=0, program=None):
    """A track of (onset tick, length in ticks, pitch, velocity)."""
    events = [(on, 1, 0x90 | channel, pitch, velocity) for on, _, pitch, velocity in notes]
    events += [(on + length, 0, 0x80 | channel, pitch, 0) for on, length, pitch, _ in notes]
    timed, now = [(0, 0xC0 | channel, program)] if program is not None else [], 0
    for tick, _, *message in sorted(events):
        timed.append((tick - now, *message))
        now = tick
    return track(*timed)


def scale(pitches=(60, 62, 64, 65, 67, 69, 71, 72), repeats=4):
    """A scale in quarters, up to 32 notes: enough to find a metre in."""
    return midi(notes_track([(480 * i, 440, p, 90 if i % 4 == 0 else 64) for i, p in enumerate(pitches * repeats)]))

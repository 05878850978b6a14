"""Stage `decode`: any audio or video file to samples, by ffmpeg in a process that cannot run away.

A file from a stranger is hostile until it is decoded: ffmpeg may open nothing but this one file
(protocols), read it as nothing but a sound container (formats: no playlists, which name other files),
and gets a limit on memory, processor time, wall-clock time and the length of what it puts out.
"""

from __future__ import annotations

import math
import re
import shutil
import signal
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from .. import room
from ..errors import InputError, RescoredError, SettingsError
from ..music import Audio, Recording
from ..settings import AudioSettings
from ..stage import Report, silent, stage
from .sources import short_name

RATE_HZ = 44_100
SHORTEST_S = 0.3
QUIETEST = 1e-4  # peak: -80 dBFS
_DEMUXERS = "wav,w64,aiff,caf,flac,mp3,ogg,aac,mov,matroska,webm,avi,asf,mpeg,mpegts,flv,wv,amr"
_MEMORY_KB = 1_500_000  # address space; ffmpeg takes about a fifth of it
_BLOCK_BYTES = 1 << 20
_OVERVIEW_HZ = 50
_OVERVIEW_S = 4 * 3600.0  # of a longer recording, no more is looked at
_LOG_BYTES = 1 << 16
_LAST_WORDS_S = 5
_CONVERT = "Convert it to WAV, FLAC or MP3."


@stage(version=1)
def decode(recording: Recording, *, settings: AudioSettings, report: Report = silent) -> Audio:
    """The recording's sound, or a passage of it: 44.1 kHz, one or two channels, |samples| <= 1.

    Time 0 of the result, and of all that is heard in it, is the begin of the passage, which lies at
    `Audio.offset_s` in the recording; `assemble` adds it, so that a `Performance` is in the
    recording's own time. More than two channels are mixed down to two. A file that is damaged or cut
    off is read as far as it goes, and `Audio.warnings` says so. Samples are made 44.1 kHz by soxr, in
    a stream, and long sounds lie on disk (rescored/room.py), so that memory does not grow with the length.

    Raises `InputError` if there is nothing to transcribe: not audio, no audio track, longer than
    `max_minutes` (a passage counts by its own length), shorter than 0.3 s, silent.
    """
    name = short_name(recording.path)
    limit_s = settings.max_minutes * 60
    wanted_s = _passage_s(settings)
    if not Path(recording.path).is_file():
        raise InputError(f"{name} is no longer there.", "Give the file again.")
    # Half a second more than is allowed: enough to see that it is too long, and room for an encoder's padding.
    longest_s = min(wanted_s, limit_s + 0.5)
    frames, channels, peak = 0, 1, 0.0
    with room.kept_aside(), room.aside() as kept:
        with _Decoder(recording.path, settings.start_s, longest_s, patience_s=60 + limit_s) as decoder:
            for block in _resampled(decoder):
                kept.write(block.tobytes())
                frames, channels = frames + len(block), block.shape[1]
                peak = max(peak, float(np.abs(block).max(initial=0.0)))
                if frames > (limit_s + 0.25) * RATE_HZ:
                    remedy = "Choose a passage (audio.start_s, audio.end_s), or raise audio.max_minutes."
                    raise InputError(f"{name} is longer than {settings.max_minutes:g} minutes.", remedy)
                report(min(frames / RATE_HZ / min(wanted_s, decoder.declared_s or limit_s), 1.0), "decoding")
        _check(decoder, name, settings, frames, peak)
        samples = _joined(kept, (channels, frames), peak)
    return Audio(samples, RATE_HZ, settings.start_s, _damage(decoder, settings, frames / RATE_HZ))


def _check(decoder: _Decoder, name: str, settings: AudioSettings, frames: int, peak: float) -> None:
    """Raise `InputError` if there is nothing to transcribe in what was decoded."""
    if decoder.timed_out:
        raise InputError(f"{name} takes too long to decode.", _CONVERT)
    heard_s = frames / RATE_HZ
    if not decoder.rate_hz and "matches no streams" in decoder.log:
        raise InputError(f"{name} has no audio track.", "Give a recording with sound.")
    if frames == 0 and settings.start_s > 0 and decoder.declared_s:
        raise InputError(f"The passage begins after the end of {name}.", f"It lasts {clock(decoder.declared_s)}.")
    if frames == 0:
        raise InputError(f"{name} could not be read as audio.", _CONVERT)
    if heard_s < SHORTEST_S:
        raise InputError(f"{name} lasts only {heard_s:.2f} s.", f"At least {SHORTEST_S} s are needed.")
    if peak < QUIETEST:
        raise InputError(f"{name} is silent.", "Check the input level, or choose another passage.")


def duration_s(path: str | Path) -> float | None:
    """What the file says about its own length, without decoding it; None if it does not say.

    Good for estimates only: a header may lie, and one without a length is estimated by ffmpeg.
    """
    try:
        done = subprocess.run(_bounded(_input(path), seconds=20), stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return None
    return _declared_s(done.stderr.decode(errors="replace"))


def overview(path: str | Path, *, columns: int, patience_s: int = 90) -> tuple[float, NDArray[np.float32]]:
    """Length in seconds, and the lowest sample, highest sample and root mean square of `columns` equal stretches.

    The array has shape (columns, 3). Read in a stream, so that any length takes little memory; what takes
    longer than `patience_s` is looked at as far as it went. Raises `InputError` if it holds no sound.
    """
    name = short_name(path)
    stretches: list[NDArray[np.float32]] = []
    left = np.empty(0, np.float32)
    frames = 0
    with _Decoder(str(path), 0.0, _OVERVIEW_S, patience_s=patience_s) as decoder:
        for block in decoder.blocks():
            frames += len(block)
            mono = np.concatenate([left, block.mean(axis=1, dtype=np.float32)])
            hop = max(decoder.rate_hz // _OVERVIEW_HZ, 1)
            whole = mono[: len(mono) // hop * hop].reshape(-1, hop)
            left = mono[whole.size :]
            stretches.append(np.stack([whole.min(axis=1), whole.max(axis=1), np.square(whole).mean(axis=1)], axis=1))
    if frames < SHORTEST_S * max(decoder.rate_hz, 1):
        raise InputError(f"{name} could not be read as audio.", _CONVERT)
    fine = np.concatenate(stretches)
    begins = np.linspace(0, len(fine), min(columns, len(fine)), endpoint=False).astype(int)
    counts = np.diff([*begins, len(fine)])
    rms = np.sqrt(np.add.reduceat(fine[:, 2], begins) / counts)
    lows, highs = np.minimum.reduceat(fine[:, 0], begins), np.maximum.reduceat(fine[:, 1], begins)
    return frames / decoder.rate_hz, np.stack([lows, highs, rms], axis=1).astype(np.float32)


def clock(seconds: float) -> str:
    """A time as people write it: 3:05, or 1:03:05."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _passage_s(settings: AudioSettings) -> float:
    """Length of the passage that is wanted; infinite without an end."""
    if not settings.end_s:
        return float("inf")
    length_s = settings.end_s - settings.start_s
    if length_s < SHORTEST_S:
        remedy = f"audio.end_s must be at least {SHORTEST_S} s later than audio.start_s."
        raise SettingsError("The passage has no length.", remedy)
    return length_s


def _joined(kept: IO[bytes], shape: tuple[int, int], peak: float) -> room.Samples:
    """Bytes of frames as (channels, n); a float file's peaks over full scale are scaled down."""
    samples = room.zeros(shape)
    kept.seek(0)
    for _, block in room.blocks(samples):
        read = np.frombuffer(kept.read(block.nbytes), dtype=np.float32).reshape(-1, len(block))
        block[:] = read.T / max(peak, 1.0)
    return samples


def _damage(decoder: _Decoder, settings: AudioSettings, heard_s: float) -> tuple[str, ...]:
    """A warning where the file ends before its header says, or ffmpeg saw it break off.

    Without the file's name: the result is kept by content, and may serve someone who named it otherwise.
    """
    expected_s = 0.0
    if decoder.declared_s and "Estimating duration from bitrate" not in decoder.log:
        expected_s = min(decoder.declared_s, settings.end_s or float("inf")) - settings.start_s
    short = heard_s < expected_s - max(0.5, 0.01 * expected_s)
    broken = any(sign in decoder.log for sign in ("ended prematurely", "corrupt input packet", "decode_frame() failed"))
    if short:
        end, whole = clock(settings.start_s + heard_s), clock(settings.start_s + expected_s)
        return (f"The sound ends at {end} of {whole}: the recording may be damaged or cut off.",)
    return ("The recording is damaged or cut off: what could be read of it was used.",) if broken else ()


def _resampled(decoder: _Decoder) -> Iterator[NDArray[np.float32]]:
    """The decoder's blocks at 44.1 kHz."""
    blocks = decoder.blocks()
    first = next(blocks, None)
    if first is None:
        return
    if decoder.rate_hz == RATE_HZ:
        yield first
        yield from blocks
        return
    import soxr

    stream = soxr.ResampleStream(decoder.rate_hz, RATE_HZ, first.shape[1], dtype="float32", quality="HQ")
    yield stream.resample_chunk(first)
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty((0, first.shape[1]), np.float32), last=True)


class _Decoder:
    """ffmpeg decoding one file to a pipe; leaving the context kills it if it still runs."""

    def __init__(self, path: str, start_s: float, length_s: float, *, patience_s: float):
        seek = ["-ss", f"{start_s:.6f}"] if start_s else []
        # Sun's AU: the one format of float samples whose header has a fixed place for rate and channels.
        output = ["-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-t", f"{length_s:.6f}",
                  "-af", "aformat=sample_fmts=flt:channel_layouts=mono|stereo",
                  "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
        self.rate_hz = 0
        self.timed_out = False
        self._log = bytearray()
        self._process = subprocess.Popen(
            _bounded([*seek, *_input(path), *output], seconds=math.ceil(patience_s)),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._watch = threading.Timer(patience_s, self._give_up)

    def __enter__(self) -> Self:
        self._listener.start()
        self._watch.daemon = True
        self._watch.start()
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        self._watch.cancel()
        if failure is None:  # its output is at an end, and so is it in a moment
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_LAST_WORDS_S)
        ended_by = self._process.poll()
        self._process.kill()
        self._process.wait()
        self._listener.join()
        # The limit of processor time kills it, or warns it first (macOS), which ffmpeg notes and obeys.
        self.timed_out |= ended_by in (-signal.SIGKILL, -signal.SIGXCPU) or "received signal" in self.log
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()

    @property
    def log(self) -> str:
        """What ffmpeg says; whole only after the context."""
        return self._log.decode(errors="replace")

    @property
    def declared_s(self) -> float | None:
        """Length by the file's own header."""
        return _declared_s(self.log)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The samples, shape (frames, channels); `rate_hz` is known from the first block on."""
        pipe = self._process.stdout
        assert pipe
        header = pipe.read(24)
        if len(header) < 24 or header[:4] != b".snd":
            return
        offset, _, _, self.rate_hz, channels = struct.unpack(">5I", header[4:])
        pipe.read(offset - 24)
        frame = 4 * channels
        while data := pipe.read(_BLOCK_BYTES // frame * frame):
            whole = data[: len(data) // frame * frame]
            samples = np.frombuffer(whole, ">f4").astype(np.float32).reshape(-1, channels)
            # Float files can hold anything; nothing but finite numbers may reach a resampler.
            yield np.nan_to_num(samples, copy=False, nan=0.0, posinf=0.0, neginf=0.0)

    def _listen(self) -> None:
        pipe = self._process.stderr
        assert pipe
        while data := pipe.read1(4096):  # type: ignore[attr-defined]
            self._log += data[: max(_LOG_BYTES - len(self._log), 0)]

    def _give_up(self) -> None:
        self.timed_out = True
        self._process.kill()


def _input(path: str | Path) -> list[str]:
    return ["-protocol_whitelist", "file,pipe", "-format_whitelist", _DEMUXERS, "-threads", "1",
            "-i", f"file:{Path(path).absolute()}"]


def _bounded(arguments: list[str], *, seconds: int) -> list[str]:
    """A command for ffmpeg under limits; a shell sets them, since Python code after a fork is not thread-safe.

    macOS knows no limit of the address space: there, only the time limits hold.
    """
    limits = f"ulimit -v {_MEMORY_KB} 2>/dev/null; ulimit -t {seconds} 2>/dev/null; exec \"$@\""
    return ["/bin/sh", "-c", limits, "sh", ffmpeg(), "-nostdin", "-hide_banner", "-nostats", *arguments]


@lru_cache(maxsize=1)
def ffmpeg() -> str:
    """The system's ffmpeg, else the one in imageio-ffmpeg's wheel."""
    if found := shutil.which("ffmpeg"):
        return found
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return str(get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise RescoredError("There is no ffmpeg on this machine.", "Install ffmpeg.") from error


def _declared_s(log: str) -> float | None:
    found = re.search(r"^  Duration: (\d+):(\d\d):(\d\d\.\d+)", log, re.MULTILINE)
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else None

"""Decoding: what goes in as a sound comes out as that sound, and a hostile file comes to nothing."""

import signal

import numpy as np
import pytest
import soundfile
from media import convert, run_ffmpeg, sine, write_mute_video, write_sparse_wav, write_wav
from scipy.signal import correlate

from rescored import Cancelled, InputError, SettingsError, codec
from rescored.hearing import audio
from rescored.hearing.audio import RATE_HZ, clock, decode, duration_s
from rescored.hearing.sources import open_source
from rescored.music import Audio, Recording
from rescored.settings import AudioSettings

FORMATS = ("wav", "flac", "mp3", "ogg", "opus", "m4a", "webm", "mp4", "aiff", "caf", "avi", "wma", "flv", "ts", "mpg",
           "wv")


def heard(path, report=None, **settings):
    recording = open_source(path, max_minutes=1)
    extra = {"report": report} if report else {}
    return decode(recording, settings=AudioSettings(**settings), **extra)


def pitch_hz(samples):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    k = int(spectrum.argmax())
    a, b, c = np.log(spectrum[k - 1 : k + 2])
    return (k + 0.5 * (a - c) / (a - 2 * b + c)) * RATE_HZ / len(samples)  # parabola through the peak


@pytest.fixture(params=["system", "wheel"])
def either_ffmpeg(request, monkeypatch):
    """The ffmpeg of the system and the one of imageio-ffmpeg's wheel: releases apart, messages and all."""
    if request.param == "wheel":
        import imageio_ffmpeg

        path = imageio_ffmpeg.get_ffmpeg_exe()
        monkeypatch.setattr(audio, "ffmpeg", lambda: path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_back_pitch_length_and_channels(tmp_path, suffix, either_ffmpeg):
    wav = write_wav(tmp_path / "a.wav", sine(440.0, seconds=2.0, channels=2))
    sound = heard(wav if suffix == "wav" else convert(wav, tmp_path / f"a.{suffix}"))
    assert sound.rate_hz == RATE_HZ and sound.offset_s == 0 and sound.warnings == ()
    assert sound.duration_s == pytest.approx(2.0, abs=0.06)  # AAC pads with up to two frames
    left, right = sound.samples[:, 10_000:70_000]
    assert pitch_hz(left) == pytest.approx(440.0, abs=0.2)
    assert np.abs(left).max() == pytest.approx(0.5, abs=0.03)
    assert np.abs(right).max() == pytest.approx(0.25, abs=0.03)


def test_pcm_is_decoded_exactly(tmp_path):
    samples = np.random.default_rng(1).integers(-(2**15), 2**15, (22_050, 2)).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ)
    assert (samples == heard(tmp_path / "a.wav").samples.T * 2**15).all()


@pytest.mark.parametrize("rate_hz", [8000, 22_050, 48_000, 96_000])
def test_any_rate_becomes_44100(tmp_path, rate_hz):
    sound = heard(write_wav(tmp_path / "a.wav", sine(1000.0, 1.5, rate_hz), rate_hz))
    assert sound.samples.shape[0] == 1, "mono stays mono"
    assert sound.duration_s == pytest.approx(1.5, abs=1e-3)
    middle = sound.samples[0, 5000:-5000]
    assert pitch_hz(middle) == pytest.approx(1000.0, abs=0.05)
    expected = sine(1000.0, 1.5)[5000 : 5000 + len(middle), 0]
    assert np.abs(middle - expected).max() < 2e-3, "not a sample late"


def test_surround_is_mixed_down_and_video_is_looked_past(tmp_path):
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=d=1:s=64x64:r=5", "-f", "lavfi",
               "-i", "sine=330:d=1,aformat=channel_layouts=5.1", tmp_path / "a.mp4")
    sound = heard(tmp_path / "a.mp4")
    assert sound.samples.shape[0] == 2
    assert pitch_hz(sound.mono) == pytest.approx(330.0, abs=0.5)


def test_a_float_file_is_made_finite_and_fits_full_scale(tmp_path):
    samples = 4.0 * sine()
    samples[100], samples[200] = np.nan, np.inf
    sound = heard(write_wav(tmp_path / "a.wav", samples, subtype="FLOAT"))
    assert np.isfinite(sound.samples).all()
    assert np.abs(sound.samples).max() == pytest.approx(1.0, abs=1e-6)
    assert pitch_hz(sound.mono) == pytest.approx(440.0, abs=0.2)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "m4a"])
def test_a_passage_is_that_part_of_the_whole(tmp_path, suffix):
    rng = np.random.default_rng(0)
    noise = np.convolve(rng.normal(size=6 * RATE_HZ), np.hanning(64), "same")[:, None]
    wav = write_wav(tmp_path / "a.wav", 0.5 * noise / np.abs(noise).max())
    path = wav if suffix == "wav" else convert(wav, tmp_path / f"a.{suffix}")
    whole, part = heard(path), heard(path, start_s=2.5, end_s=4.0)
    assert part.offset_s == 2.5
    assert part.duration_s == pytest.approx(1.5, abs=0.03)
    match = correlate(whole.samples[0, 80_000:200_000], part.samples[0, 8000:40_000], "valid", method="fft")
    at_s = (80_000 + int(match.argmax()) - 8000) / RATE_HZ
    assert at_s == pytest.approx(2.5, abs=0.03)  # encoders' delays: ffmpeg counts them in or not


def test_an_open_passage_runs_to_the_end(tmp_path):
    wav = write_wav(tmp_path / "a.wav", sine(seconds=3))
    assert heard(wav, start_s=1.0).duration_s == pytest.approx(2.0)
    beyond = heard(wav, start_s=1.0, end_s=99.0)
    assert beyond.duration_s == pytest.approx(2.0) and beyond.warnings == ()


def test_the_limit_is_on_the_passage_not_the_file(tmp_path):
    wav = write_sparse_wav(tmp_path / "long.wav", 100.0)
    noisy = wav.read_bytes()[:44] + np.random.default_rng(0).integers(0, 255, 800_000, dtype=np.uint8).tobytes()
    wav.write_bytes(noisy)
    with pytest.raises(InputError, match="longer than 1 minutes") as caught:
        heard(wav, max_minutes=1)
    assert "passage" in caught.value.remedy
    with pytest.raises(InputError, match="longer than 1 minutes"):
        heard(wav, max_minutes=1, start_s=10, end_s=90)
    assert heard(wav, max_minutes=1, start_s=50, end_s=90).duration_s == pytest.approx(40, abs=0.01)
    assert heard(wav, max_minutes=1, start_s=60).duration_s == pytest.approx(40, abs=0.01)


def test_exactly_the_limit_is_accepted(tmp_path):
    wav = write_wav(tmp_path / "a.wav", sine(seconds=6))
    assert heard(wav, max_minutes=0.1).duration_s == pytest.approx(6.0)


@pytest.mark.parametrize("settings", [{"start_s": 5, "end_s": 4}, {"start_s": 5, "end_s": 5.1}])
def test_a_passage_without_length_is_a_wrong_setting(tmp_path, settings):
    with pytest.raises(SettingsError, match="no length"):
        heard(write_wav(tmp_path / "a.wav", sine()), **settings)


@pytest.mark.parametrize(("suffix", "keep"), [("wav", 0.5), ("flac", 0.5), ("mp3", 0.5), ("webm", 0.5), ("aiff", 0.5)])
def test_a_file_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path, suffix, keep, either_ffmpeg):
    rng = np.random.default_rng(0)
    wav = write_wav(tmp_path / "a.wav", sine(seconds=6) + 0.01 * rng.normal(size=(6 * RATE_HZ, 1)))
    path = wav if suffix == "wav" else convert(wav, tmp_path / f"a.{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) + 1])
    sound = heard(path)
    assert 2.0 < sound.duration_s < 4.5
    assert pitch_hz(sound.mono[:60_000]) == pytest.approx(440, abs=0.2)
    (warning,) = sound.warnings
    assert "cut off" in warning and "a." not in warning, "kept results do not tell the file's name"


def test_an_intact_passage_of_a_damaged_file_has_no_warning(tmp_path):
    flac = convert(write_wav(tmp_path / "a.wav", sine(seconds=6)), tmp_path / "a.flac")
    flac.write_bytes(flac.read_bytes()[: flac.stat().st_size // 2])
    assert heard(flac, start_s=0.5, end_s=1.5).warnings == ()


REFUSED = {
    "text.mp3": "could not be read as audio", "hls.mp3": "could not be read as audio",
    "concat.mp3": "could not be read as audio", "mute.mp4": "has no audio track", "silent.wav": "is silent",
    "faint.wav": "is silent", "short.wav": r"lasts only 0\.10 s", "header.wav": "could not be read as audio",
    "cut.m4a": "could not be read as audio", "noise.flac": "could not be read as audio",
    "picture.png": "could not be read as audio", "midi.mp3": "could not be read as audio",
}


def refused(folder, name):
    """A file that cannot be transcribed; the playlists point at a sound that lies beside them."""
    path, other = folder / name, write_wav(folder / "other.wav", sine())
    if name == "text.mp3":
        path.write_text("This is no sound.\n" * 200)
    elif name == "hls.mp3":
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{other}\n#EXT-X-ENDLIST\n")
    elif name == "concat.mp3":
        path.write_text(f"ffconcat version 1.0\nfile {other.name}\n")
    elif name == "mute.mp4":
        write_mute_video(path)
    elif name == "silent.wav":
        write_wav(path, np.zeros((44_100, 1)))
    elif name == "faint.wav":
        write_wav(path, sine(level=5e-5), subtype="FLOAT")
    elif name == "short.wav":
        write_wav(path, sine(seconds=0.1))
    elif name == "header.wav":
        path.write_bytes(other.read_bytes()[:44])
    elif name == "cut.m4a":
        path.write_bytes(convert(other, folder / "whole.m4a").read_bytes()[:2000])
    elif name == "noise.flac":
        path.write_bytes(np.random.default_rng(0).bytes(50_000))
    elif name == "picture.png":
        run_ffmpeg("-f", "lavfi", "-i", "testsrc=d=1:s=64x64:r=1", "-frames:v", "1", path)
    elif name == "midi.mp3":
        path.write_bytes(b"RIFF\x00\x00\x00\x00RMIDdata")
    return path


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_nothing_to_transcribe_is_refused_in_words(tmp_path, name, either_ffmpeg):
    path = refused(tmp_path, name)
    with pytest.raises(InputError, match=REFUSED[name]) as caught:
        heard(path)
    assert name in caught.value.problem and caught.value.remedy
    assert str(tmp_path) not in str(caught.value)


def test_a_passage_behind_the_end(tmp_path):
    with pytest.raises(InputError, match="begins after the end") as caught:
        heard(write_wav(tmp_path / "a.wav", sine(seconds=65)), start_s=90)
    assert "1:05" in caught.value.remedy


def test_a_file_that_has_gone(tmp_path):
    with pytest.raises(InputError, match="no longer there"):
        decode(Recording(str(tmp_path / "gone.wav"), "gone", "audio", "0" * 64), settings=AudioSettings())


@pytest.mark.parametrize("name", ["-i.wav", "it's \"quoted\".wav", "a:b.wav", "%03d.wav", "two  words \\ .wav",
                                  "🎹 é 中.wav", "http:--x.wav", "x" * 251 + ".wav", "a\nb.wav", "$(id);`id`.wav",
                                  "*?[a].wav"])
def test_any_name_that_a_file_can_have(tmp_path, name, monkeypatch):
    write_wav(tmp_path / "plain", sine()).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert heard(name).duration_s == pytest.approx(1.0)


def test_an_hour_of_silence_is_refused_after_minutes(tmp_path, monkeypatch):
    hour = tmp_path / "hour.flac"
    with soundfile.SoundFile(hour, "w", 8000, 1) as file:
        for _ in range(60):
            file.write(np.zeros(480_000))
    assert hour.stat().st_size < 200_000, "its size says nothing"
    resampled, frames = audio._resampled, []

    def counted(decoder):
        for block in resampled(decoder):
            frames.append(len(block))
            yield block

    monkeypatch.setattr(audio, "_resampled", counted)
    with pytest.raises(InputError, match="longer than 2 minutes"):
        heard(hour, max_minutes=2)
    assert 120 < sum(frames) / RATE_HZ < 121


def instead_of_ffmpeg(folder, monkeypatch, script):
    fake = folder / "ffmpeg"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setattr(audio, "ffmpeg", lambda: str(fake))


def test_a_stuck_decoder_is_given_up(tmp_path, monkeypatch):
    class Hasty(audio._Decoder):
        def __init__(self, *arguments, patience_s):
            super().__init__(*arguments, patience_s=0.2)

    instead_of_ffmpeg(tmp_path, monkeypatch, "exec sleep 600")
    monkeypatch.setattr(audio, "_Decoder", Hasty)
    with pytest.raises(InputError, match="too long to decode"):
        heard(write_wav(tmp_path / "a.wav", sine()))


def test_a_decoder_that_uses_up_its_processor_time_is_no_unreadable_file(tmp_path, monkeypatch):
    bounded = audio._bounded
    monkeypatch.setattr(audio, "_bounded", lambda arguments, seconds: bounded(arguments, seconds=1))
    instead_of_ffmpeg(tmp_path, monkeypatch, "while :; do :; done")
    with pytest.raises(InputError, match="too long to decode"):
        heard(write_wav(tmp_path / "a.wav", sine()))


def test_cancelling_ends_the_decoder_at_once(tmp_path, monkeypatch):
    class Seen(audio._Decoder):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            processes.append(self._process)

    def cancel(fraction, text=""):
        raise Cancelled

    processes = []
    monkeypatch.setattr(audio, "_Decoder", Seen)
    with pytest.raises(Cancelled):
        heard(write_wav(tmp_path / "a.wav", sine(seconds=30)), report=cancel)
    assert [process.returncode for process in processes] == [-signal.SIGKILL]


def test_progress_grows_to_one(tmp_path):
    fractions = []
    heard(write_wav(tmp_path / "a.wav", sine(seconds=40)), report=lambda fraction, text="": fractions.append(fraction))
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1.0, abs=0.01)
    assert len(fractions) > 2


def test_a_memory_limit_holds(tmp_path):
    import subprocess

    command = audio._bounded([], seconds=5)
    shell = [*command[:4], "/bin/sh", "-c", "ulimit -v; ulimit -t"]
    limits = subprocess.run(shell, capture_output=True, text=True, check=True).stdout.split()
    if limits[0] == "unlimited":
        pytest.skip("this system knows no limit of the address space")
    assert limits == [str(audio._MEMORY_KB), "5"]


def test_the_length_by_the_header(tmp_path):
    wav = write_wav(tmp_path / "a.wav", sine(seconds=2.5))
    assert duration_s(wav) == pytest.approx(2.5, abs=0.01)
    assert duration_s(convert(wav, tmp_path / "a.m4a")) == pytest.approx(2.5, abs=0.05)
    assert duration_s(write_sparse_wav(tmp_path / "day.wav", 86_400)) == pytest.approx(86_400, abs=1)
    (tmp_path / "text.wav").write_text("no sound")
    assert duration_s(tmp_path / "text.wav") is None


def test_clock():
    assert [clock(t) for t in (0, 59.9, 65, 3725)] == ["0:00", "0:59", "1:05", "1:02:05"]


def test_a_warning_survives_the_store():
    sound = Audio(np.full((1, 10), 0.5), RATE_HZ, 2.0, ("cut off",))
    back = codec.decode(codec.encode(sound), Audio)
    assert (back.offset_s, back.warnings, back.samples.shape) == (2.0, ("cut off",), (1, 10))

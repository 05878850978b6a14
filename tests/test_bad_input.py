"""Every kind of bad input: an error with a remedy in the API, exit code 2 in the command line, nothing left behind."""

import tempfile

import numpy as np
import pytest
from media import convert, midi, run_ffmpeg, scale, sine, track, write_mute_video, write_sparse_wav, write_wav

import rescored
from rescored import InputError, LinkError, RescoredError
from rescored.cli import main


@pytest.fixture(autouse=True)
def temp(tmp_path, monkeypatch):
    """A temp folder and a store of this test's own."""
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("RESCORED_STORE", str(tmp_path / "store"))
    return folder


def empty(folder):
    (folder / "empty.mp3").touch()
    return folder / "empty.mp3"


def truncated(folder):
    whole = convert(write_wav(folder / "whole.wav", sine()), folder / "truncated.m4a")
    whole.write_bytes(whole.read_bytes()[:1500])  # its index stood at the end
    return whole


def silent(folder):
    return write_wav(folder / "silent.wav", np.zeros((44_100, 2)))


def tenth_of_a_second(folder):
    return write_wav(folder / "short.wav", sine(seconds=0.1))


def a_day(folder):
    return write_sparse_wav(folder / "day.wav", 86_400, rate_hz=1000)


def text(folder):
    (folder / "text.mp3").write_text("Not a sound at all.\n" * 50)
    return folder / "text.mp3"


def hls_playlist(folder):
    secret = write_wav(folder / "secret.wav", sine())
    (folder / "hls.mp3").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n")
    return folder / "hls.mp3"


def concat_playlist(folder):
    write_wav(folder / "secret.wav", sine())
    (folder / "concat.mp3").write_text("ffconcat version 1.0\nfile secret.wav\n")
    return folder / "concat.mp3"


def mute_video(folder):
    return write_mute_video(folder / "mute.mp4")


def picture(folder):
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=d=1:s=32x32:r=1", "-frames:v", "1", folder / "picture.png")
    return folder / "picture.png"


def strange_name(folder):
    path = folder / "it's \"🎹\" [bold]; $(rm -rf).mp3"
    path.write_text("not a sound")
    return path


def name_of_300_characters(folder):
    return folder / ("x" * 296 + ".mp3")


def wrong_midi(folder):
    write_wav(folder / "wrong.mid", sine())
    return folder / "wrong.mid"


def midi_without_notes(folder):
    (folder / "none.mid").write_bytes(midi(track((0, 0xFF, 0x03, 4, *b"Solo"))))
    return folder / "none.mid"


def cut_midi(folder):
    (folder / "cut.mid").write_bytes(scale()[:20])
    return folder / "cut.mid"


def a_folder(folder):
    return folder


def absent(folder):
    return folder / "absent.wav"


FILES = [empty, truncated, silent, tenth_of_a_second, a_day, text, hls_playlist, concat_playlist, mute_video, picture,
         strange_name, name_of_300_characters, wrong_midi, midi_without_notes, cut_midi, a_folder, absent]
LINKS = ["http://127.0.0.1:7860/file.mp3", "http://192.168.0.1/", "http://[fd00::1]/x.wav", "http://localhost:22/",
         "https://example.org/song.mp3", "file:///etc/passwd", "https://www.youtube.com/playlist?list=PL0123456789"]


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
def test_a_bad_file(tmp_path, temp, make, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    source = make(folder)
    with pytest.raises(InputError) as caught:
        rescored.transcribe(source)
    error = caught.value
    assert error.problem.endswith(".") and error.remedy.endswith(".")
    assert str(tmp_path) not in str(error), "where files lie on a server is nobody's business"
    refused_by_the_command_line(str(source), error, tmp_path, capsys)
    assert not list(temp.iterdir())


@pytest.mark.parametrize("link", LINKS)
def test_a_bad_link(tmp_path, temp, link, capsys):
    with pytest.raises(LinkError) as caught:
        rescored.transcribe(link)
    assert caught.value.remedy.endswith(".")
    refused_by_the_command_line(link, caught.value, tmp_path, capsys)
    assert not list(temp.iterdir())
    assert not (tmp_path / "store").exists()


def refused_by_the_command_line(source, error: RescoredError, folder, capsys):
    out = folder / "out"
    assert main(["transcribe", source, "--out", str(out)]) == 2
    printed = capsys.readouterr()
    assert error.problem in printed.out and error.remedy in printed.out
    assert "Traceback" not in printed.out + printed.err
    assert not list(out.iterdir())

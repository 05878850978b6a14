"""The command line: what it writes, what it says, and how it ends."""

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from media import convert, midi, notes_track, scale, sine, write_sparse_wav, write_wav

import rescored
from rescored import PRESETS, Settings, cli
from rescored.cli import main
from rescored.music import Recording

ENDINGS = (".musicxml", ".mxl", ".mid", ".score.mid", ".pdf", ".json")


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("RESCORED_STORE", str(tmp_path / "store"))


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.mid"
    path.write_bytes(scale())
    return path


def transcribed(folder):
    return {p.name for p in folder.iterdir()}


def files_of(*names):
    return {name + ending for name in names for ending in ENDINGS}


# ---------------------------------------------------------------- what it says


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["settings"], ["transcribe", "--help"]])
def test_it_answers_without_loading_what_is_heavy(arguments):
    code = ("import sys; from rescored.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n"
            "heavy = {'numpy', 'torch', 'rich', 'librosa', 'music21', 'gradio', 'yt_dlp'} & set(sys.modules)\n"
            "assert not heavy, heavy")
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_who_reads_its_first_line_only_sees_no_traceback():
    code = "import sys; from rescored.cli import main; sys.exit(main(['settings']))"
    done = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    done.stdout.close()
    assert done.stderr.read() == b""
    assert done.wait() == 0


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"rescored {rescored.__version__}\n"


def test_settings_lists_the_whole_tree(capsys):
    assert main(["settings"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == list(Settings().as_dict())
    assert all(len(row) == 4 and all(row) for row in rows)
    (limit,) = [row for row in rows if row[0] == "audio.max_minutes"]
    assert limit[1:] == ["15.0", "a number from 0.1 to 240 min", "Longest recording that is accepted"]


def test_on_a_terminal_the_settings_are_a_table(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["settings"]) == 0
    printed = capsys.readouterr().out
    assert "\t" not in printed and "notes.onset_threshold" in printed and "──" in printed


# ---------------------------------------------------------------- wrong options: before any work


@pytest.mark.parametrize(("options", "says"), [
    (["--preset", "banjo"], "There is no preset 'banjo'. Choose solo-piano"),
    (["--set", "notes.onset_treshold=0.5"], "Did you mean notes.onset_threshold?"),
    (["--set", "notes.onset_threshold=2"], "a number from 0.05 to 0.95"),
    (["--set", "notes.onset_threshold"], "section.name=value"),
    (["--passage", "one-two"], "0:30-1:10"), (["--passage", "1:10-0:30"], "ends before it begins"),
    (["--passage", "-"], "0:30-1:10"),
    (["--out", "{folder}/song.mid/x"], "cannot be made"),
])
def test_wrong_options_are_refused_before_any_work(song, options, says, capsys, monkeypatch):
    monkeypatch.setattr(cli, "_one", None)
    options = [option.format(folder=song.parent) for option in options]
    assert main(["transcribe", str(song), *options]) == 2
    printed = capsys.readouterr()
    assert says in printed.err and not printed.out
    assert "Traceback" not in printed.err


@pytest.mark.parametrize(("text", "start_s", "end_s"), [
    ("0:30-1:10", 30, 70), ("90-", 90, 0), ("1:02:03.5-1:02:10", 3723.5, 3730), (" 5 - 7.25 ", 5, 7.25),
    ("-0:45", 0, 45),
])
def test_passages(text, start_s, end_s):
    assert cli._passage(text) == {"audio.start_s": start_s, "audio.end_s": end_s}


def test_options_reach_the_settings(song, monkeypatch):
    seen = []
    monkeypatch.setattr(cli, "_one", lambda source, folder, taken, settings, *_, **files: seen.append(settings) or "")
    options = ["--preset", "guitar", "--set", "notes.lowest=45", "--set", "spelling.key=F#", "--passage", "1-2"]
    assert main(["transcribe", str(song), "--out", str(song.parent), *options]) == 0
    assert seen == [Settings.preset("guitar").changed(
        {"notes.lowest": 45, "spelling.key": "F#", "audio.start_s": 1, "audio.end_s": 2})]


def test_every_preset_is_named_in_the_help(capsys):
    with pytest.raises(SystemExit):
        main(["transcribe", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert all(name in printed for name in PRESETS)


# ---------------------------------------------------------------- whole runs


def test_one_performance_becomes_its_files(song, tmp_path, capsys):
    assert main(["transcribe", str(song), "--out", str(tmp_path / "out")]) == 0
    assert transcribed(tmp_path / "out") == files_of("song")
    printed = capsys.readouterr()
    assert printed.out.startswith(f"done: {song}: ") and "C major" in printed.out
    assert printed.err == "", "quiet when not a terminal"


def test_one_bad_input_does_not_stop_the_others(song, tmp_path, capsys):
    (tmp_path / "bad.mp3").write_text("no sound")
    other = tmp_path / "other.mid"
    other.write_bytes(scale((60, 64, 67, 72, 67, 64, 60, 55)))
    sources = [str(tmp_path / "bad.mp3"), str(song), "http://10.0.0.1/x.mp3", str(other)]
    assert main(["transcribe", *sources, "--out", str(tmp_path / "out")]) == 2
    assert transcribed(tmp_path / "out") == files_of("song", "other")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines if not line.startswith(" ")] == ["failed", "done", "failed", "done"]


@pytest.mark.parametrize("where", ["store", "out"])
def test_a_folder_that_takes_nothing_is_said_in_words(where, song, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "out" / "song.musicxml").mkdir(parents=True)
    monkeypatch.setenv("RESCORED_STORE", str(tmp_path / ("file" if where == "store" else "store")))
    out = tmp_path / ("out" if where == "out" else "elsewhere")
    assert main(["transcribe", str(song), "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert "cannot be used" in said.out and "Traceback" not in said.err


def test_inputs_of_one_name_do_not_overwrite_each_other(song, tmp_path):
    sources = [song]
    for folder, name in (("a", "song.mid"), ("b", "SONG.midi"), ("c", "song.score.mid")):
        (tmp_path / folder).mkdir()
        sources.append(tmp_path / folder / name)
        sources[-1].write_bytes(scale())
    assert main(["transcribe", *map(str, sources), "--out", str(tmp_path / "out")]) == 0
    written = transcribed(tmp_path / "out")
    assert len(written) == 4 * len(ENDINGS)
    assert files_of("song", "song-2", "SONG-3", "song.score-2") == written


@pytest.mark.parametrize("name", ["it's \"quoted\" [bold].mid", "🎹 é 中文.mid", "-n.mid", "x" * 251 + ".mid",
                                  "..mid.mid"])
def test_any_file_name_gives_files(tmp_path, name, capsys):
    (tmp_path / name).write_bytes(scale())
    assert main(["transcribe", str(tmp_path / name), "--out", str(tmp_path / "out")]) == 0
    written = transcribed(tmp_path / "out")
    assert len(written) == len(ENDINGS)
    assert all("/" not in n and len(n.encode()) < 255 for n in written)


def test_a_title_with_a_slash_is_no_folder():
    video = Recording("x.m4a", "AC/DC: ../../etc “Live”", "audio", "0" * 64, url="https://www.youtube.com/watch?v=x")
    name = cli._free_name(video.url, video, set())
    assert name.startswith("AC_DC") and "/" not in name


def test_long_names_that_are_cut_alike_stay_apart(tmp_path):
    sources = [tmp_path / ("é" * 120 + f"{i}.mid") for i in range(3)]
    for source in sources:
        source.write_bytes(scale())
    assert main(["transcribe", *map(str, sources), "--out", str(tmp_path / "out")]) == 0
    assert len(transcribed(tmp_path / "out")) == 3 * len(ENDINGS)


def test_a_passage_of_a_performance(tmp_path):
    tune = tmp_path / "long.mid"
    tune.write_bytes(midi(notes_track([(480 * i, 440, 60 + i % 12, 80) for i in range(64)])))
    assert main(["transcribe", str(tune), "--out", str(tmp_path / "out"), "--passage", "0:08-0:24"]) == 0
    from rescored.output.files import load

    onsets = [n.onset_s for n in load(tmp_path / "out" / "long.json").performance.notes]
    assert onsets == pytest.approx([8 + 0.5 * i for i in range(32)]), "in the recording's own time"


@pytest.mark.slow
def test_a_saved_song_is_written_anew_but_not_heard_anew(song, tmp_path, capsys):
    assert main(["transcribe", str(song), "--out", str(tmp_path)]) == 0
    saved = str(tmp_path / "song.json")
    assert main(["transcribe", saved, "--set", "score.transpose=2", "--out", str(tmp_path / "higher")]) == 0
    capsys.readouterr()
    assert main(["transcribe", saved, "--passage", "0:01-0:02", "--out", str(tmp_path / "part")]) == 2
    assert "Give the recording itself" in capsys.readouterr().out


def test_a_sound_becomes_its_files(tmp_path, capsys):
    rng = np.random.default_rng(0)
    tones = [sine(440 * 2 ** ((p - 69) / 12), 0.5, level=0.4)[:, 0] * np.exp(-4 * np.arange(22_050) / 22_050)
             for p in (60, 62, 64, 65, 67, 69, 71, 72) * 2]
    wave = np.concatenate(tones) + 1e-4 * rng.normal(size=22_050 * 16)
    mp3 = convert(write_wav(tmp_path / "a.wav", wave), tmp_path / "scale.mp3")
    options = ["--preset", "melody", "--stems", "--out", str(tmp_path / "out")]
    assert main(["transcribe", str(mp3), *options]) == 0
    assert files_of("scale") <= transcribed(tmp_path / "out")
    from rescored.output.files import load

    heard = load(tmp_path / "out" / "scale.json").score.notes
    assert {60, 62, 64, 65, 67, 69, 71, 72} <= {n.pitch for n in heard}


def test_a_bug_in_one_does_not_stop_the_others_and_shows_its_traceback(song, tmp_path, capsys, monkeypatch):
    whole = cli._one

    def fails_on_the_first(source, *arguments, **options):
        if source == "first":
            raise ZeroDivisionError("what is this")
        return whole(source, *arguments, **options)

    monkeypatch.setattr(cli, "_one", fails_on_the_first)
    assert main(["transcribe", "first", str(song), str(tmp_path / "absent"), "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert "Traceback" in printed.err and "ZeroDivisionError" in printed.err
    assert [line.split(": ")[0] for line in printed.out.splitlines()] == ["broken", "done", "failed"]
    assert transcribed(tmp_path / "out") == files_of("song")


def test_on_a_terminal_there_are_bars_and_a_table(song, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["transcribe", str(song), str(song.parent / "[red]absent.wav"), "--out", str(song.parent / "out")]) == 2
    printed = capsys.readouterr()
    assert "Writing the score" in printed.err
    assert "done" in printed.out and "failed" in printed.out
    assert "[red]absent.wav" in printed.out, "a name is not markup"


def test_a_second_run_comes_from_the_store(song, tmp_path, monkeypatch):
    main(["transcribe", str(song), "--out", str(tmp_path / "out")])
    from rescored import pipeline

    @functools.wraps(pipeline.read_midi)
    def not_again(*_, **__):
        raise AssertionError("run again")

    monkeypatch.setattr(pipeline, "read_midi", not_again)
    assert main(["transcribe", str(song), "--out", str(tmp_path / "again")]) == 0
    assert transcribed(tmp_path / "again") == files_of("song")


@pytest.mark.slow
def test_ctrl_c_ends_cleanly(tmp_path):
    wav = write_sparse_wav(tmp_path / "long.wav", 14_000, rate_hz=8000)
    command = [str(Path(sys.executable).parent / "rescored"), "transcribe", str(wav), "--out", str(tmp_path / "out"),
               "--set", "audio.max_minutes=240"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(  # a shell's background job, as these tests may be, ignores Ctrl-C
        command, stdout=pipe, stderr=pipe, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    began = time.monotonic()
    while not (children.exists() and children.read_text()):  # until the decoder runs
        if process.poll() is not None or time.monotonic() - began > 60:
            pytest.skip("no decoder to be seen")
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "Traceback" not in out + err
    assert err.strip() == "rescored: interrupted"

"""How things show themselves in a notebook: the figures show what is there, and knobs turn one stage."""

import io
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure
from media import scale

from rescored import display, examples
from rescored.errors import SettingsError
from rescored.evaluate import pieces
from rescored.hearing.audio import decode
from rescored.music import Audio, Stems
from rescored.notation.quantise import quantise
from rescored.notation.voices import find_voices
from rescored.notebook import study


@pytest.fixture(scope="module")
def piece(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESCORED_STORE", str(tmp_path_factory.mktemp("store")))
        piece = study(example="minuet", as_played=True)
        piece.transcription()
        yield piece


def rectangles(figure):
    return [patch for patch in figure.axes[0].patches if patch.get_width() and patch.get_height()]


def test_the_roll_has_every_note_where_it_sounds_and_the_truth_beside_it(piece):
    performance = piece.heard()
    drawn = rectangles(display.roll(performance))
    assert {(r.get_x(), round(r.get_y() + 0.4)) for r in drawn} == {(n.onset_s, n.pitch) for n in performance.notes}
    both = rectangles(display.roll(performance, piece.transcription().grid, piece.reference))
    assert len(both) == 2 * len(performance.notes)


def test_residuals_are_how_late_a_note_is(piece):
    result = piece.transcription()
    figure = display.residuals(result.performance, result.grid, piece.made(quantise))
    late_ms = figure.axes[0].collections[0].get_offsets()[:, 1]
    assert 2 < np.abs(late_ms).mean() < 100
    assert np.histogram(late_ms, bins=30)[0].sum() == len(late_ms)


def test_all_plots_are_readable_on_black_and_on_white(piece):
    result = piece.transcription()
    tone = Audio(np.sin(np.arange(44100)[None] / 20).astype(np.float32), 44100)
    figures = [
        display.waveform(tone), display.waveform({"a": tone, "b": tone}), display.spectrogram(tone),
        display.written(piece.made(find_voices).notes), display.beats(result.grid, reference=piece.reference),
        display.tempo(result.grid), display.hypotheses({"found": result.grid}, piece.reference),
        display.pitch_classes(result.performance, result.score.keys[0]), display.seconds(piece.run.seconds),
    ]
    for figure in figures:
        assert isinstance(figure, Figure) and figure.get_facecolor()[3] == 0
        for axes in figure.axes:
            for label in (axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels()):
                assert label.get_color() == display.INK
    ink = np.array([int(display.INK[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    luminance = float(np.dot(((ink + 0.055) / 1.055) ** 2.4, (0.2126, 0.7152, 0.0722)))
    assert 1.05 / (luminance + 0.05) > 3 and (luminance + 0.05) / 0.06 > 3  # WCAG for graphics: 3 to 1


def test_a_score_is_white_paper_with_notes(piece):
    svg = display.score(piece.transcription().score).data
    assert 'fill: white' in svg and svg.count('class="note') > 20


def test_a_player_is_small_and_plays_the_passage():
    tone = Audio(np.sin(2 * np.pi * 440 * np.arange(10 * 44100)[None] / 44100).astype(np.float32), 44100)
    player = display.listen(tone, start_s=2, seconds=3)
    samples, rate_hz = soundfile.read(io.BytesIO(player.data))
    assert len(player.data) < 60_000 and player.mimetype == "audio/mpeg"
    assert len(samples) / rate_hz == pytest.approx(3, abs=0.2)
    assert np.abs(np.fft.rfft(samples)).argmax() * rate_hz / len(samples) == pytest.approx(440, abs=1)


def test_what_is_written_is_heard_as_it_stands(piece):
    result = piece.transcription()
    straight = display.straight(result.performance, piece.made(find_voices).notes, result.grid)
    score = {n.id: n for n in result.score.notes}
    seconds = np.array([n.onset_s for n in straight.notes])
    quarters = np.array([float(score[n.id].onset_ql) for n in straight.notes])
    line = np.polynomial.Polynomial.fit(quarters, seconds, 1)
    assert np.abs(seconds - line(quarters)).max() < 1e-6


def test_the_stems_of_an_example_add_up_to_it():
    stems = examples.stems("greensleeves")
    assert set(stems) == {"drums", "bass", "other"}
    sound, _ = soundfile.read(examples.path("greensleeves"), dtype="float32", always_2d=True)
    together = sum(stem.samples for stem in stems.values()).T
    assert np.abs(together - sound[: len(together)]).max() < 0.02


def test_in_a_notebook_values_show_themselves(piece):
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    display.load_ipython_extension(shell)
    show = shell.display_formatter.format
    result = piece.transcription()
    for value in (result.performance, result.grid, Stems({"mix": Audio(np.zeros((1, 99)), 44100)}, "none"), result):
        data, _ = show(value)
        assert data["image/png"] and "=" not in data["text/plain"]  # a line, not all of the dataclass
    data, _ = show(result.score)
    assert data["image/svg+xml"].startswith("<svg") and "measures" in data["text/plain"]


def test_without_a_reference_the_figures_say_so():
    assert "Nothing is known" in display.figures({}).data and "onset_f1" in display.figures({"onset_f1": 1.0}).data


def test_types_know_nothing_of_plots():
    code = "import sys, rescored.music, rescored.pipeline; assert not {'matplotlib', 'IPython'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- studies and knobs


def test_a_turn_runs_its_stage_alone_and_carries_the_settings_on(piece):
    piece.transcription()
    stages = []
    piece.run.listen = lambda event: stages.append(event.stage)
    knobs = piece.knobs(quantise, lambda placed: len(placed.notes))
    placed = knobs.turn({"quantise.finest": 4})
    assert set(stages) == {"quantise"}
    assert knobs.names == ("quantise.finest", "quantise.triplets") or set(knobs.names) > {"quantise.finest"}
    assert knobs.settings == piece.settings.changed({"quantise.finest": 4}) and knobs.result is placed
    with pytest.raises(SettingsError):
        knobs.turn({"quantise.finest": 5})


def test_a_slider_turns_the_stage(piece, capsys):
    import ipywidgets

    piece.transcription()
    made = []
    knobs = piece.knobs(quantise, lambda placed: made.append(placed))
    knobs._ipython_display_()
    assert len(made) == 1
    (slider,) = [w for w in ipywidgets.Widget.widgets.values()
                 if isinstance(w, ipywidgets.Dropdown) and w.description == "quantise.finest"][-1:]
    slider.value = 8
    assert knobs.settings.quantise.finest == 8 and len(made) == 2


def test_what_a_knob_cannot_be_set_to_is_said_in_words(piece, capsys):
    piece.transcription()
    knobs = piece.knobs(quantise, lambda placed: len(placed.notes))
    knobs.turn = lambda changes: (_ for _ in ()).throw(SettingsError("finest cannot be 5.", "It takes 4 or 8."))
    knobs._ipython_display_()
    assert "finest cannot be 5. It takes 4 or 8." in capsys.readouterr().out


def test_a_midi_file_is_sounded_where_a_sound_is_wanted(tmp_path):
    (tmp_path / "scale.mid").write_bytes(scale(repeats=1))
    silent, sounded = (study(str(tmp_path / "scale.mid"), as_sound=asked) for asked in (False, True))
    assert (silent.recording.kind, sounded.recording.kind) == ("midi", "audio")
    assert sounded.recording.title == silent.recording.title == "scale"
    assert sounded.reference.played.pitches.tolist() == [60, 62, 64, 65, 67, 69, 71, 72]
    audio = sounded.run(decode, sounded.recording, settings=sounded.settings.audio)
    assert audio.duration_s > 3.9 and np.abs(audio.samples).max() > 0.01


def test_a_recording_brings_the_references_beside_it(tmp_path, monkeypatch):
    monkeypatch.setenv("RESCORED_STORE", str(tmp_path / "store"))
    path = tmp_path / "tune.flac"
    path.write_bytes(examples.path("ode").read_bytes())
    assert study(str(path), "melody").reference == pieces.Piece()
    (tmp_path / "notes.csv").write_text("onset_s,offset_s,pitch\n0.5,1,62\n")
    assert study(str(path), "melody").reference.played.pitches.tolist() == [62]

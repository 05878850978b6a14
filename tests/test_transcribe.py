"""What is heard: notes, their times and loudness, the pedal, and which stems become parts."""

from __future__ import annotations

from dataclasses import replace

import mir_eval
import numpy as np
import pytest

from rescored.errors import Cancelled, InputError, ModelUnavailable
from rescored.hearing.assemble import assemble
from rescored.hearing.pulse import track_pulse
from rescored.hearing.transcribe import detect_notes, stems_to_hear
from rescored.hearing.weights import BUILT_IN
from rescored.music import PIANO, Audio, Heard, Note, Part, Performance, Pulse, Span, Stems
from rescored.output.sound import render
from rescored.settings import PRESETS, PulseSettings, Settings

SCALE = (60, 62, 64, 65, 67, 69, 71, 72)
CHORDS = ((60, 64, 67), (59, 62, 67), (60, 65, 69), (55, 62, 71))
NO_PULSE = Pulse(86.0, np.zeros(0), np.zeros(0), "none")


def play(program, notes, pedal=()):
    """Sound of `notes` (onset_s, offset_s, pitch, velocity) on a General MIDI instrument."""
    part = PIANO if program == 0 else Part("melody", "Melody", program)
    played = tuple(Note(f"n{i}", *n[:2], pitch=n[2], velocity=n[3], part=part.id) for i, n in enumerate(notes))
    return render(Performance(played, (part,), pedal=tuple(pedal)))


def scale(shift=0, every_s=0.4, begin_s=0.5, velocity=90):
    return [(begin_s + i * every_s, begin_s + (i + 0.9) * every_s, p + shift, velocity) for i, p in enumerate(SCALE)]


def chords(shift=0, every_s=0.8):
    return [(0.5 + i * every_s, 0.45 + (i + 1) * every_s, p + shift, 80)
            for i, chord in enumerate(CHORDS) for p in chord]


def uneven_chords():
    """The middle note of each is so soft that one may doubt it."""
    return [(a, b, p, 15 if i % 3 == 1 else 100) for i, (a, b, p, _) in enumerate(chords())]


def hear(audio, preset, **notes):
    settings = Settings.preset(preset).changed({f"notes.{k}": v for k, v in notes.items()})
    return detect_notes(audio, "mix", settings=settings.notes)


def precision_recall(played, heard, lag_s=0.0):
    """Of onsets within 50 ms, pitches exact."""
    def arrays(rows):
        times = np.array([(a, max(b, a + 0.01)) for a, b, *_ in rows])
        return times, 440.0 * 2 ** ((np.array([r[2] for r in rows]) - 69) / 12)
    found = [(n.onset_s + lag_s, n.offset_s + lag_s, n.pitch) for n in heard]
    p, r, _, _ = mir_eval.transcription.precision_recall_f1_overlap(*arrays(played), *arrays(found), offset_ratio=None)
    return p, r


# ---------------------------------------------------------------- notes


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "program", "played"), [
    ("solo-piano", 0, scale() + chords(every_s=0.8)[6:]),
    ("melody", 73, scale(shift=12)),
    ("melody", 40, scale(shift=2)),
    ("guitar", 24, scale(shift=-8)),
    ("guitar", 25, chords(shift=-3)),
], ids=["piano", "flute", "violin", "guitar scale", "guitar chords"])
def test_what_is_played_is_heard(preset, program, played):
    heard = hear(play(program, played), preset)
    precision, recall = precision_recall(played, heard.notes)
    assert recall >= 0.9
    assert precision >= 0.8
    assert heard.transcriber == ("transkun" if preset == "solo-piano" else "basic-pitch")
    assert all(0 < n.confidence <= 1 for n in heard.notes)
    assert len({n.id for n in heard.notes}) == len(heard.notes)


@pytest.mark.slow
def test_louder_notes_have_a_higher_velocity():
    soft_then_loud = [*scale(velocity=40), *scale(begin_s=4.0, velocity=110)]
    for preset, program in (("guitar", 24), ("melody", 40)):
        heard = hear(play(program, soft_then_loud), preset).notes
        soft, loud = ([n.velocity for n in heard if (n.onset_s < 3.9) == first] for first in (True, False))
        assert np.mean(loud) > np.mean(soft) + 15


@pytest.mark.slow
def test_a_lower_threshold_finds_more_and_what_it_adds_is_less_sure():
    audio = play(25, uneven_chords())
    few, many = (hear(audio, "guitar", onset_threshold=t).notes for t in (0.8, 0.2))
    assert len(many) > len(few)
    assert min(n.confidence for n in many) < min(n.confidence for n in few)


@pytest.mark.slow
def test_near_misses_are_offered_and_are_no_notes():
    heard = hear(play(25, uneven_chords()), "guitar", onset_threshold=0.8)
    taken = {(n.onset_s, n.pitch) for n in heard.notes}
    assert heard.candidates
    assert not taken & {(n.onset_s, n.pitch) for n in heard.candidates}
    assert max(n.confidence for n in heard.candidates) <= min(n.confidence for n in heard.notes)


@pytest.mark.slow
def test_notes_out_of_range_are_not_heard():
    heard = hear(play(73, scale(shift=12)), "melody", lowest=75, highest=80)
    assert {n.pitch for n in heard.notes} == {76, 77, 79}


@pytest.mark.slow
def test_silence_and_hiss_have_no_notes():
    hiss = Audio(np.random.default_rng(1).normal(0, 1e-3, (1, 3 * 44100)), 44100)
    assert hear(hiss, "solo-piano").notes == hear(hiss, "melody").notes == ()
    for preset in ("solo-piano", "melody"):
        assert hear(Audio(np.zeros((1, 44100)), 44100), preset).notes == ()


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "program"), [("melody", 73)])
def test_channels_rates_and_short_sounds(preset, program):
    from rescored.hearing.resample import resample

    stereo = play(program, scale()[:3])
    mono = Audio(resample(stereo.samples.mean(axis=0, keepdims=True), 44100, 22050), 22050)
    times, again = ([(n.onset_s, n.pitch) for n in hear(a, preset).notes] for a in (stereo, mono))
    assert [p for _, p in times] == [p for _, p in again] == [60, 62, 64]
    assert np.allclose([t for t, _ in times], [t for t, _ in again], atol=0.02)
    hear(Audio(stereo.samples[:, 22050:26000], 44100), preset)  # 90 ms: whatever it is, no error


@pytest.mark.slow
def test_times_hold_after_ten_minutes():
    """Basic Pitch's frames lag by 3 s here as its own package places them (spotify/basic-pitch#190)."""
    tune = play(73, scale(shift=12, begin_s=0.1))
    sound = np.zeros((1, 605 * 44100), dtype=np.float32)
    for begin_s in (0, 300, 600):
        sound[0, begin_s * 44100 :][: tune.samples.shape[1]] = tune.mono[: (605 - begin_s) * 44100]
    heard = hear(Audio(sound, 44100), "melody").notes
    for begin_s in (0, 300, 600):
        here = [n for n in heard if begin_s <= n.onset_s < begin_s + 5]
        _, recall = precision_recall(scale(shift=12, begin_s=0.1), here, lag_s=-begin_s)
        assert recall >= 0.9


@pytest.mark.slow
def test_piano_notes_across_segments_are_heard_once():
    """Transkun listens to 16 s at a time, every 12 s: the notes from 8 s to 12 s lie in two segments."""
    played = [n for begin_s in (4.0, 7.3, 10.6, 13.9) for n in scale(begin_s=begin_s)]
    heard = [n for n in hear(play(0, played), "solo-piano").notes if n.onset_s > 3.5]
    precision, recall = precision_recall(played, heard)
    assert precision == recall == 1.0


def test_what_goes_on_beyond_its_segment_is_one():
    """A pedal (or note) without an end in one segment goes on in the next; one without any begin is none."""
    from rescored.hearing.transcribe.transkun import Event, _finished, _join

    def event(start_s, end_s, has_onset=True, has_offset=True):
        return Event(start_s, end_s, last=0, velocity=64, log_odds=3.0, has_onset=has_onset, has_offset=has_offset)

    pedal = []
    for heard in (event(0.0, 0.5, has_onset=False), event(1.0, 2.0), event(9.0, 12.0, has_offset=False),
                  event(11.5, 14.0, has_onset=False), event(15.0, 16.0)):
        _join(pedal, heard)
    assert [(e.start_s, e.end_s) for e in _finished(pedal)] == [(1.0, 2.0), (9.0, 14.0), (15.0, 16.0)]


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "program", "seconds"), [("solo-piano", 0, 40), ("melody", 73, 90)])
def test_it_can_be_cancelled_on_the_way(preset, program, seconds):
    tune = play(program, scale())
    sound = np.tile(tune.samples, (1, seconds * 44100 // tune.samples.shape[1] + 1))
    fractions = []

    def cancel(fraction, text=""):
        fractions.append(fraction)
        if fraction > 0:
            raise Cancelled

    with pytest.raises(Cancelled):
        detect_notes(Audio(sound, 44100), "mix", settings=Settings.preset(preset).notes, report=cancel)
    assert 0 < fractions[-1] < 0.5


# ---------------------------------------------------------------- stems and parts


def tone(level=0.1, seconds=2.0):
    wave = level * np.sin(2 * np.pi * 220 * np.arange(round(seconds * 44100)) / 44100)
    return Audio(wave[None, :], 44100)


def heard_notes(*notes, **more):
    """`Heard` from (onset_s, pitch, velocity)."""
    made = tuple(Note(f"n{i}", t, t + 0.4, p, v, 0.9) for i, (t, p, v) in enumerate(notes, 1))
    return Heard(made, **more)


def test_stems_that_become_parts():
    loud, faint = tone(), tone(0.1 * 10 ** (-50 / 20))
    four = {"drums": loud, "bass": loud, "other": loud, "vocals": loud}
    whole = Stems({"mix": loud}, "none")
    for preset in PRESETS:
        assert list(stems_to_hear(whole, Settings.preset(preset).notes)) == ["mix"]
    band, piano = (Settings.preset(p).notes for p in ("full-band", "piano-in-band"))
    assert list(stems_to_hear(Stems(four, "htdemucs"), band)) == ["vocals", "other", "bass", "drums"]
    rough = stems_to_hear(Stems(four, BUILT_IN), band)
    assert list(rough) == ["vocals", "other", "bass", "drums"]
    assert np.allclose(rough["other"].samples, 1.5 * loud.samples), "some of the voice sounds along with the rest"
    assert np.allclose(rough["vocals"].samples, loud.samples)
    (name, around), = stems_to_hear(Stems(four, BUILT_IN), piano).items()
    assert name == "other" and np.allclose(around.samples, 1.5 * loud.samples)
    assert list(stems_to_hear(Stems({**four, "other": faint}, BUILT_IN), band)) == ["vocals", "bass", "drums"]
    assert list(stems_to_hear(Stems(four, "htdemucs"), piano)) == ["other"]
    six = Stems({**four, "piano": loud, "guitar": tone(0.05)}, "htdemucs_6s")
    (name, both), = stems_to_hear(six, piano).items()
    assert name == "piano + guitar"
    assert np.allclose(both.samples, loud.samples + tone(0.05).samples)
    assert list(stems_to_hear(Stems({**four, "vocals": faint}, "htdemucs"), band)) == ["other", "bass", "drums"]
    assert list(stems_to_hear(Stems({**four, "bass": tone(0.0)}, "htdemucs"), band)) == ["vocals", "other", "drums"]
    left_behind = tone(0.1 * 10 ** (-30 / 20))
    assert "drums" not in stems_to_hear(Stems({**four, "drums": left_behind}, "htdemucs"), band)


def test_parts_names_and_ids():
    band, piano = (Settings.preset(p).notes for p in ("full-band", "piano-in-band"))
    heard = {"vocals": heard_notes((0.5, 67, 80), (1.0, 69, 80)), "other": Heard(()),
             "bass": heard_notes((0.5, 36, 80))}
    result = assemble(tone(), ("unseparated",), heard, NO_PULSE, settings=band)
    assert [(p.id, p.name, p.staves) for p in result.parts] == [("vocals", "Voice", 1), ("bass", "Bass", 1)]
    assert sorted(n.id for n in result.notes) == ["bass-n1", "vocals-n1", "vocals-n2"]
    assert result.warnings == ("unseparated",)
    alone = assemble(tone(), (), {"mix": heard["vocals"]}, NO_PULSE, settings=Settings().notes)
    assert alone.parts == (PIANO,)
    assert [n.id for n in alone.notes] == ["n1", "n2"]
    in_band = assemble(tone(), (), {"other": heard["vocals"]}, NO_PULSE, settings=piano)
    assert in_band.parts == (PIANO,)


def test_a_note_that_leaked_is_kept_where_it_is_louder():
    heard = {"vocals": heard_notes((0.50, 60, 90), (1.0, 62, 90), (2.0, 48, 20)),
             "bass": heard_notes((0.53, 60, 30), (1.2, 62, 30), (2.01, 48, 80))}
    result = assemble(tone(), (), heard, NO_PULSE, settings=Settings.preset("full-band").notes)
    kept = {(n.part, n.onset_s, n.pitch) for n in result.notes}
    assert kept == {("vocals", 0.5, 60), ("vocals", 1.0, 62), ("bass", 1.2, 62), ("bass", 2.01, 48)}


def test_a_stem_of_nothing_but_leaks_is_no_part():
    heard = {"vocals": heard_notes((0.5, 60, 90)), "other": heard_notes((0.5, 60, 30))}
    result = assemble(tone(), (), heard, NO_PULSE, settings=Settings.preset("full-band").notes)
    assert [p.id for p in result.parts] == ["vocals"]


def test_a_passage_is_at_the_times_of_the_whole_recording():
    passage = replace(tone(), offset_s=30.0)
    pulse = Pulse(50.0, np.linspace(0, 1, 100), np.zeros(100), "onset-strength")
    heard = heard_notes((0.5, 60, 90), pedal=(Span(0.2, 0.8),))
    heard = replace(heard, candidates=heard_notes((1.5, 64, 50)).notes)
    result = assemble(passage, (), {"mix": heard}, pulse, settings=Settings().notes)
    assert result.notes[0].onset_s == 30.5
    assert result.candidates[0].onset_s == 31.5
    assert result.pedal == (Span(30.2, 30.8),)
    assert result.duration_s == 32.0
    assert result.pulse.beat[round(31.0 * 50)] == pulse.beat[50]
    assert not result.pulse.beat[: 30 * 50].any()


def test_nothing_heard_says_what_to_do():
    with pytest.raises(InputError, match="No notes") as error:
        assemble(tone(), (), {"mix": Heard(())}, NO_PULSE, settings=Settings().notes)
    assert "onset_threshold" in error.value.remedy


# ---------------------------------------------------------------- pulse


def test_clicks_are_the_peaks_of_the_pulse():
    rng = np.random.default_rng(0)
    sound = rng.normal(0, 1e-3, 20 * 44100)
    clicks_s = 0.5 + 0.6 * np.arange(32)
    for k, at_s in enumerate(clicks_s):
        decay = np.exp(-np.arange(4000) / 700) * np.sin(np.arange(4000) * 0.1)
        sound[round(at_s * 44100) :][:4000] += (0.5 if k % 2 else 0.25) * decay
    pulse = track_pulse(Audio(sound[None], 44100), settings=PulseSettings(tracker="onset-strength"))
    assert pulse.tracker == "onset-strength"
    assert pulse.beat.min() >= 0 and pulse.beat.max() <= 1
    peaks = np.flatnonzero(pulse.beat > 0.5)
    nearest_s = np.abs(peaks[:, None] / pulse.rate_hz - clicks_s).min(axis=1)
    assert nearest_s.max() < 0.03
    assert all(np.abs(peaks / pulse.rate_hz - t).min() < 0.03 for t in clicks_s)


def test_silence_has_no_pulse():
    pulse = track_pulse(Audio(np.zeros((1, 44100)), 44100), settings=PulseSettings(tracker="onset-strength"))
    assert not pulse.beat.any()
    assert len(track_pulse(tone(), settings=PulseSettings(tracker="none")).beat) == 0


@pytest.mark.slow
def test_beat_this_is_used_where_its_weights_are(tmp_path, monkeypatch):
    """With the package's own network, small and untrained, saved the way its authors save theirs."""
    import torch
    from beat_this.model.beat_tracker import BeatThis

    from rescored.models import let_go_all

    monkeypatch.setenv("RESCORED_MODELS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    rng = np.random.default_rng(0)
    audio = Audio(rng.normal(0, 0.1, (1, 65 * 22050)), 22050)
    auto, asked = PulseSettings(), PulseSettings(tracker="beat-this")
    assert track_pulse(audio, settings=auto).tracker == "onset-strength"
    with pytest.raises(ModelUnavailable, match="weights"):
        track_pulse(audio, settings=asked)
    size = {"transformer_dim": 32, "n_layers": 1, "head_dim": 16, "stem_dim": 16, "ff_mult": 2}
    torch.manual_seed(0)
    weights = {f"model.{name}": value for name, value in BeatThis(**size).state_dict().items()}
    path = tmp_path / "beat_this-final0.ckpt"
    torch.save({"hyper_parameters": {**size, "lr": 1e-3}, "state_dict": weights}, path)
    let_go_all()
    pulse = track_pulse(audio, settings=auto)
    assert pulse.tracker == "beat-this" and pulse.rate_hz == 50
    assert len(pulse.beat) == 65 * 50 + 1
    assert ((pulse.beat > 0) & (pulse.beat < 1) & (pulse.downbeat > 0)).all()  # every chunk filled its frames
    path.write_bytes(b"damaged")
    let_go_all()
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        track_pulse(audio, settings=asked)
    let_go_all()


def test_the_spectrogram_of_beat_this():
    """As torchaudio's MelSpectrogram(normalized="frame_length", power=1, mel_scale="slaney") has it."""
    from rescored.hearing.beat_this import BANDS, HOP, WINDOW, log_mel

    level = 0.5
    tone = (level * np.sin(2 * np.pi * 1000 * np.arange(WINDOW + 9 * HOP) / 22050)).astype(np.float32)
    bands = np.expm1(log_mel(tone).numpy()) / 1000
    assert bands.shape == (10, BANDS)
    assert bands[5].argmax() == 37  # (15 mel - 0.45 mel) / (49.88 - 0.45) mel of 129 steps, less one
    assert 0.5 < bands[5].sum() / (level / 4 * np.sqrt(WINDOW) * 2) < 2  # a Hann window's peak and its neighbours

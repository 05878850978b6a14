"""What one gets without rescored, in a few lines of other people's tools."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from rescored.evaluate import Piece, read
from rescored.evaluate.reading import Beats, Played
from rescored.music import BeatGrid, TimeSignature

_HOP, _RATE_HZ = 512, 22050
_SLOTS = 4  # a beat: sixteenths


def music21_quantiser(source: Path, folder: Path) -> Piece:
    """basic-pitch's MIDI (or the notes that go in) through music21's own quantiser; beats are the MIDI's, at 120."""
    import music21

    midi, score = _midi(source, folder), folder / "music21.musicxml"
    music21.converter.parse(midi, quantizePost=True, forceSource=True).write("musicxml", score)
    return read([score, midi])


def librosa_beats(source: Path, folder: Path) -> Piece:
    """The same notes on librosa's beats, rounded to sixteenths, in 4/4 from the first beat, split at middle C."""
    import librosa

    midi = _midi(source, folder)
    notes = read(midi).played
    assert notes is not None
    if source.suffix == ".mid":
        strength = _strength(notes)
    else:
        samples, _ = librosa.load(source, sr=_RATE_HZ)
        strength = librosa.onset.onset_strength(y=samples, sr=_RATE_HZ, hop_length=_HOP)
    _, beats_s = librosa.beat.beat_track(onset_envelope=strength, sr=_RATE_HZ, hop_length=_HOP, units="time")
    piece = read(_rounded(notes, beats_s, folder / "librosa.musicxml"))
    return replace(piece, played=notes, beats=Beats(beats_s, beats_s[::4]))


def _midi(source: Path, folder: Path) -> Path:
    """The notes to begin with: those of the input, without its tempo and metre, or what basic-pitch hears."""
    import pretty_midi

    if source.suffix == ".mid":
        midi = pretty_midi.PrettyMIDI()
        midi.instruments = pretty_midi.PrettyMIDI(str(source)).instruments
    else:
        import basic_pitch
        from basic_pitch.inference import predict

        midi = predict(source, Path(basic_pitch.__file__).parent / "saved_models/icassp_2022/nmp.onnx")[1]
    path = folder / "notes.mid"
    midi.write(str(path))
    return path


def _strength(notes: Played) -> np.ndarray:
    """Onsets a frame, as if they had been heard."""
    frames = np.round(notes.intervals_s[:, 0] * _RATE_HZ / _HOP).astype(int)
    return np.convolve(np.bincount(frames, minlength=frames.max() + 20), [0.25, 0.5, 1.0, 0.5, 0.25], mode="same")


def _rounded(notes: Played, beats_s: np.ndarray, path: Path) -> Path:
    """A score in which every staff is one line of chords, each held until the next at most."""
    from music21 import chord, layout, meter, stream

    beats = np.arange(len(beats_s))
    grid = BeatGrid(beats_s, beats.astype(float), beats, beats % 4 + 1, (TimeSignature(1, Fraction(0), 4, 4),))
    slots = np.round(_SLOTS * grid.ql_at(notes.intervals_s)).astype(int)
    slots -= 4 * _SLOTS * min(0, int(np.floor(slots.min() / (4 * _SLOTS))))
    staves = [stream.PartStaff(), stream.PartStaff()]
    for staff, mine in zip(staves, (notes.pitches >= 60, notes.pitches < 60), strict=True):
        staff.insert(0, meter.TimeSignature("4/4"))
        starts = np.unique(slots[mine, 0])
        for start, following in zip(starts, [*starts[1:], None], strict=True):
            here = mine & (slots[:, 0] == start)
            length = max(int(slots[here, 1].max()) - start, 1)
            length = length if following is None else min(length, following - start)
            sound = chord.Chord(sorted({int(p) for p in notes.pitches[here]}), quarterLength=length / _SLOTS)
            staff.insert(start / _SLOTS, sound)
    score = stream.Score(staves)
    score.insert(0, layout.StaffGroup(staves, symbol="brace"))
    key = score.analyze("key")
    for staff in staves:
        staff.insert(0, key)
    score.write("musicxml", path)
    return path

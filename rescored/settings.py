"""One tree of settings; the page, the command line and the notebooks are generated from it.

Each section belongs to one stage (see pipeline.py) and is part of that stage's cache key, so
turning a knob re-runs its stage and what follows, nothing else. Facts of the machine (folders,
devices, addresses) are not settings: they are read from the environment in models.py and store.py.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from .errors import SettingsError

Value = bool | int | float | str
UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # in text: what XML has no place for
OF_HEARING = ("audio", "separate", "notes", "pulse")  # sections of the stages that need the recording itself


def choice(
    default: Value,
    help: str,
    *,
    lo: float | None = None,
    hi: float | None = None,
    of: tuple[Value, ...] | None = None,
    unit: str = "",
    advanced: bool = True,
) -> Any:
    """A setting: default, meaning, and its range (`lo`..`hi`) or alternatives (`of`)."""
    meta = {"help": help, "lo": lo, "hi": hi, "of": of, "unit": unit, "advanced": advanced}
    return field(default=default, metadata=meta)


@dataclass(frozen=True)
class Section:
    """Settings of one stage; checked when made, so that a stage never sees a value out of range."""

    def __post_init__(self) -> None:
        for item in fields(self):
            object.__setattr__(self, item.name, _checked(item.name, getattr(self, item.name), item))


def _checked(name: str, value: Any, item: Any) -> Value:
    meta, kind = item.metadata, type(item.default)
    try:
        if kind is bool:
            if isinstance(value, str):
                value = {"true": True, "yes": True, "on": True, "1": True,
                         "false": False, "no": False, "off": False, "0": False}[value.lower()]
            elif not isinstance(value, bool):
                raise ValueError
        elif kind is int:
            if isinstance(value, bool) or float(value) != int(float(value)):
                raise ValueError
            value = int(float(value))
        elif kind is float:
            value = float(value)
            if value != value:
                raise ValueError
        else:
            value = UNWRITABLE.sub("", str(value))
    except (ValueError, KeyError, TypeError, OverflowError):
        raise SettingsError(f"{name} cannot be {value!r}.", f"It takes {describe_range(item)}.") from None
    outside = meta["of"] is not None and value not in meta["of"]
    outside |= meta["lo"] is not None and value < meta["lo"]
    outside |= meta["hi"] is not None and value > meta["hi"]
    if outside:
        raise SettingsError(f"{name} cannot be {value!r}.", f"It takes {describe_range(item)}.")
    return value  # type: ignore[no-any-return]


def describe_range(item: Any) -> str:
    """The values that a setting takes, in words."""
    meta = item.metadata
    unit = f" {meta['unit']}" if meta["unit"] else ""
    if meta["of"] is not None:
        return "one of " + ", ".join(str(x) or '""' for x in meta["of"]) + unit
    if isinstance(item.default, bool):
        return "true or false"
    if isinstance(item.default, str):
        return "text"
    return f"a number from {meta['lo']} to {meta['hi']}{unit}"


def offer(section: type[Section], name: str, value: Value) -> None:
    """Let a setting that has alternatives take one more."""
    item = next(item for item in fields(section) if item.name == name)
    item.metadata = MappingProxyType({**item.metadata, "of": tuple(dict.fromkeys((*item.metadata["of"], value)))})


@dataclass(frozen=True)
class AudioSettings(Section):
    """Stage `decode`."""

    max_minutes: float = choice(15.0, "Longest recording that is accepted", lo=0.1, hi=240, unit="min")
    start_s: float = choice(0.0, "Begin of the passage to transcribe", lo=0, hi=86400, unit="s")
    end_s: float = choice(0.0, "End of the passage; 0 = to the end of the recording", lo=0, hi=86400, unit="s")


@dataclass(frozen=True)
class SeparateSettings(Section):
    """Stage `separate`."""

    model: str = choice(
        "none", "What takes the recording apart: Demucs' models, or the one that ships with rescored, which is rougher "
        "(of the drums it gives kick, snare, hi-hat and crash) and stands in where theirs cannot be fetched; none = "
        "transcribe it as it is",
        of=("none", "htdemucs", "htdemucs_ft", "htdemucs_6s", "rescored-small"))
    quality: str = choice(
        "quick", "fine = the fine-tuned models, quarter overlap, two passes: about ten times slower",
        of=("quick", "fine"), advanced=False)
    overlap: float = choice(0.1, "Overlap of neighbouring segments; more is finer and slower", lo=0.05, hi=0.5)
    shifts: int = choice(0, "Average over this many shifted passes; more is finer and slower", lo=0, hi=10)
    stems: str = choice(
        "all", "Stems that are made and kept: all, or names such as vocals, bass; fewer are faster where each has a "
        "network of its own (htdemucs_ft), and take less memory")


@dataclass(frozen=True)
class NoteSettings(Section):
    """Stage `detect_notes`."""

    instruments: str = choice(
        "piano", "What plays: decides the parts, their staves and their range",
        of=("piano", "melody", "guitar", "piano-in-band", "band"))
    transcriber: str = choice(
        "auto", "Model that hears the notes; auto = transkun for piano, basic-pitch otherwise",
        of=("auto", "transkun", "basic-pitch"))
    onset_threshold: float = choice(
        0.5, "basic-pitch: least probability of a note; lower finds more, and more doubtful, notes",
        lo=0.05, hi=0.95, advanced=False)
    frame_threshold: float = choice(
        0.3, "basic-pitch: lower holds notes for longer", lo=0.05, hi=0.95)
    min_length_ms: float = choice(46.0, "basic-pitch: drop notes that are shorter than this", lo=10, hi=500, unit="ms")
    lowest: int = choice(21, "Drop notes below this MIDI pitch", lo=0, hi=127)
    highest: int = choice(108, "Drop notes above this MIDI pitch", lo=0, hi=127)


@dataclass(frozen=True)
class PulseSettings(Section):
    """Stage `track_pulse`."""

    tracker: str = choice(
        "auto", "What listens for beats in the sound; auto = beat_this if its weights are here, else onset strength",
        of=("auto", "onset-strength", "beat-this", "none"))


@dataclass(frozen=True)
class MetreSettings(Section):
    """Stage `find_metre`."""

    time_signature: str = choice(
        "auto", "Time signature; 5/4, 6/4, 7/4 and 3/2 are only found where they are asked for", advanced=False,
        of=("auto", "2/4", "3/4", "4/4", "2/2", "3/8", "6/8", "9/8", "12/8", "5/4", "6/4", "7/4", "3/2"))
    file_beats: str = choice(
        "auto", "The beats, measures and key that a MIDI file states; auto = they hold where its notes keep to them",
        of=("auto", "never"))
    slowest_bpm: float = choice(20.0, "No beat slower than this", lo=10, hi=300, unit="BPM")
    fastest_bpm: float = choice(300.0, "No beat faster than this", lo=30, hi=600, unit="BPM")
    tempo_bpm: float = choice(
        0.0, "About this many beats a minute, whatever a MIDI file says; 0 = find out", lo=0, hi=600, unit="BPM")
    tempo_factor: str = choice("1", "Take the beats that were found twice or half as fast", of=("1/2", "1", "2"))
    beat_one_s: float = choice(-1.0, "A time at which a measure begins; -1 = find it", lo=-1, hi=86400, unit="s")
    taps_s: str = choice("", "Beats that were tapped along: their times in seconds, separated by blanks")
    sound_weight: float = choice(1.0, "How much the pulse of the sound counts beside the notes", lo=0, hi=4)


@dataclass(frozen=True)
class QuantiseSettings(Section):
    """Stage `quantise`."""

    finest: int = choice(32, "Shortest note value: 8 = eighths, 16 = sixteenths ...", of=(4, 8, 16, 32))
    triplets: str = choice("auto", "Whether beats may be divided in three", of=("auto", "yes", "no"))
    swing: str = choice(
        "auto", "Long-short eighths written as even ones, with the word Swing", of=("auto", "yes", "no"))
    ornaments: str = choice(
        "signs", "Trills, mordents, turns, grace notes and rolled chords: as signs, as notes, or left out",
        of=("signs", "notes", "out"))


@dataclass(frozen=True)
class HandSettings(Section):
    """Stage `split_hands`."""

    split: str = choice(
        "moving", "How a piano's notes are shared out: a split that moves with the hands, or a fixed pitch",
        of=("moving", "fixed"))
    file_tracks: str = choice(
        "auto", "The tracks of a MIDI file as its hands; auto = where a piano has two, one above the other",
        of=("auto", "never"))
    fixed_pitch: int = choice(60, "Lowest MIDI pitch of the right hand when the split is fixed", lo=21, hi=108)
    split_curve: str = choice(
        "", "Lowest pitch of the right hand from time to time, as time:pitch ...; 0:60 30:55 glides from 60 at the "
        "start to 55 at 30 s; empty = as `split` says")
    span_semitones: int = choice(14, "What one hand can reach", lo=7, hi=24, unit="semitones")
    within_span: bool = choice(False, "Leave out notes of chords beyond three, and beyond an octave, in a hand")


@dataclass(frozen=True)
class VoiceSettings(Section):
    """Stage `find_voices`."""

    max_voices: int = choice(2, "Most voices on a staff", lo=1, hi=2)
    fill_gaps_ql: float = choice(0.5, "Rests up to this length are filled", lo=0, hi=4, unit="quarters")
    staccato: bool = choice(True, "Write notes that sound for under half their value as staccato")
    fermata: bool = choice(True, "Write a last chord that is held on and on to the end of its measure, with a fermata")


@dataclass(frozen=True)
class SpellingSettings(Section):
    """Stage `spell`."""

    key: str = choice(
        "auto", "Key signature, by its major key", advanced=False,
        of=("auto", "C", "G", "D", "A", "E", "B", "F#", "C#", "F", "Bb", "Eb", "Ab", "Db", "Gb", "Cb"))


@dataclass(frozen=True)
class ScoreSettings(Section):
    """Stage `write_score`."""

    title: str = choice("", "Title; empty = the recording's", advanced=False)
    composer: str = choice("", "Composer, at the top right", advanced=False)
    chords: str = choice(
        "auto", "Chord symbols above the score; auto = for bands and guitars, not for a piano or melody alone",
        of=("auto", "yes", "no"), advanced=False)
    lead_sheet: str = choice(
        "auto", "A lead sheet beside the score: melody and chord symbols; auto = where chord symbols are shown",
        of=("auto", "yes", "no"), advanced=False)
    tablature: str = choice(
        "none", "Tablature of guitars, basses, ukuleles and mandolins: none, below the notes, or in their place",
        of=("none", "below", "only"), advanced=False)
    transpose: int = choice(0, "Write everything higher or lower", lo=-24, hi=24, unit="semitones")
    instruments: str = choice(
        "", "Who plays a part instead: vocals=flute, piano=clarinet ...; moved by octaves into the instrument's range",
        advanced=False)
    dynamics: bool = choice(True, "Write dynamics, hairpins and accents where the performance has clear ones")
    pedal: bool = choice(True, "Write how the pedal is used: in words, and with signs where it holds for long")
    every_pedal: bool = choice(False, "... with signs wherever it goes down and up")
    pitch: str = choice(
        "transposed", "Instruments in B♭, E♭ or F: as they read their part, or all as it sounds",
        of=("transposed", "concert"))


@dataclass(frozen=True)
class Settings:
    """The whole tree; `Settings.preset("melody").changed({"notes.onset_threshold": 0.5})`."""

    audio: AudioSettings = AudioSettings()
    separate: SeparateSettings = SeparateSettings()
    notes: NoteSettings = NoteSettings()
    pulse: PulseSettings = PulseSettings()
    metre: MetreSettings = MetreSettings()
    quantise: QuantiseSettings = QuantiseSettings()
    hands: HandSettings = HandSettings()
    voices: VoiceSettings = VoiceSettings()
    spelling: SpellingSettings = SpellingSettings()
    score: ScoreSettings = ScoreSettings()

    def leaves(self) -> Iterator[tuple[str, Value, Any]]:
        """(`section.name`, value, dataclass field) of every setting, in order."""
        for section in fields(self):
            part = getattr(self, section.name)
            for item in fields(part):
                yield f"{section.name}.{item.name}", getattr(part, item.name), item

    def as_dict(self) -> dict[str, Value]:
        """Flat: `{"section.name": value}`."""
        return {name: value for name, value, _ in self.leaves()}

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """A copy with some `section.name` set; raises SettingsError with the nearest name."""
        sections: dict[str, dict[str, Any]] = {}
        known = self.as_dict()
        for name, value in changes.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                remedy = f"Did you mean {near[0]}?" if near else "`rescored settings` lists them."
                raise SettingsError(f"There is no setting {name!r}.", remedy)
            section, leaf = name.split(".")
            sections.setdefault(section, {})[leaf] = value
        return replace(self, **{s: replace(getattr(self, s), **new) for s, new in sections.items()})

    def save(self, path: str | Path) -> Path:
        """Write a preset that `preset`, the command line and the page load: what differs from the defaults."""
        own, defaults = self.as_dict(), type(self)().as_dict()
        changes = {name: value for name, value in own.items() if value != defaults[name]}
        path = Path(path)
        path.write_text(json.dumps(changes, indent=1) + "\n", encoding="utf-8")
        return path

    @classmethod
    def preset(cls, name: str) -> Self:
        """The settings of a named preset, or of a JSON file of changes (`{"section.name": value}`)."""
        if name in PRESETS:
            return cls().changed(PRESETS[name])
        path = Path(name)
        if path.suffix == ".json" and path.is_file():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
            except (ValueError, OSError) as error:
                raise SettingsError(f"{path.name} could not be read as a preset.", "It must be JSON.") from error
            if not isinstance(content, dict):
                raise SettingsError(f"{path.name} is no preset.", 'It must hold {"section.name": value, ...}.')
            return cls().changed(content)
        raise SettingsError(f"There is no preset {name!r}.", "Choose " + ", ".join(PRESETS) + ", or a JSON file.")


PRESETS: dict[str, dict[str, Value]] = {
    "solo-piano": {"notes.instruments": "piano"},
    "melody": {"notes.instruments": "melody", "notes.min_length_ms": 80.0},
    "guitar": {"notes.instruments": "guitar", "notes.lowest": 40, "notes.highest": 88},
    "piano-in-band": {"notes.instruments": "piano-in-band", "separate.model": "htdemucs"},
    "full-band": {"notes.instruments": "band", "separate.model": "htdemucs"},
}

# How closely the score follows the performance; each may be put on top of any preset.
READABILITY: dict[str, dict[str, Value]] = {
    "as-played": {"quantise.ornaments": "notes", "quantise.swing": "no", "voices.fill_gaps_ql": 0.0,
                  "voices.fermata": False, "score.every_pedal": True},
    "clean": {},
    "easy": {
        "quantise.finest": 16, "quantise.ornaments": "out", "hands.within_span": True, "voices.max_voices": 1,
        "voices.fill_gaps_ql": 1.0, "voices.staccato": False, "score.dynamics": False, "score.pedal": False,
    },
}

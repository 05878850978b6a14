"""MIDI files read as performances: what is in them, and what is wrong with them."""

import io
from dataclasses import replace
from itertools import pairwise

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media import midi, notes_track, number, scale, track

from rescored import InputError
from rescored.hearing.midi import SHORTEST_S, read_midi
from rescored.hearing.sources import open_source
from rescored.music import PIANO, Recording, Span
from rescored.pipeline import notate
from rescored.settings import NoteSettings, Settings
from rescored.stage import Runner

BAND = NoteSettings(instruments="band", lowest=0, highest=127)
PIANO_SETTINGS = NoteSettings(lowest=0, highest=127)


@pytest.fixture
def read(tmp_path):
    def read(data, settings=PIANO_SETTINGS, passage_s=(0.0, 0.0)):
        path = tmp_path / "song.mid"
        path.write_bytes(data)
        return read_midi(open_source(path, max_minutes=1), passage_s, settings=settings)

    return read


def seen(performance):
    return [(round(n.onset_s, 4), round(n.offset_s, 4), n.pitch, n.velocity) for n in performance.notes]


def test_notes_keep_their_times_pitches_and_velocities(read):
    performance = read(midi(notes_track([(960, 240, 64, 30), (960, 480, 60, 90), (1440, 120, 67, 127)])))
    assert seen(performance) == [(1.0, 1.5, 60, 90), (1.0, 1.25, 64, 30), (1.5, 1.625, 67, 127)]
    assert [n.id for n in performance.notes] == ["n1", "n2", "n3"], "in the order of onset and pitch"
    assert {n.confidence for n in performance.notes} == {1.0}
    assert performance.parts == (PIANO,) and performance.duration_s == 1.625
    assert performance.pulse is None and performance.warnings == ()


def test_tempo_changes_move_what_follows(read):
    conductor = track((480, 0xFF, 0x51, 3, 0x0F, 0x42, 0x40))  # from the second beat on, 60 a minute
    performance = read(midi(conductor, notes_track([(0, 480, 60, 64), (480, 480, 62, 64), (960, 480, 64, 64)])))
    assert [n.onset_s for n in performance.notes] == pytest.approx([0.0, 0.5, 1.5])
    assert performance.duration_s == pytest.approx(2.5)


def test_smpte_time(read):
    performance = read(midi(notes_track([(1000, 500, 60, 64)]), division=-25 * 256 + 40))  # 25 frames x 40 = 1 ms ticks
    assert seen(performance) == [(1.0, 1.5, 60, 64)]


def test_running_status_and_note_on_with_velocity_zero(read):
    events = track((0, 0x90, 60, 64), (480, 60, 0), (0, 62, 64), (480, 62, 0))
    assert seen(read(midi(events))) == [(0.0, 0.5, 60, 64), (0.5, 1.0, 62, 64)]


def test_texts_and_system_exclusive_data_are_passed_over(read):
    events = track((0, 0xFF, 0x03, 5, *b"Piano"), (0, 0xF0, 4, 0x43, 0x10, 0x4C, 0xF7), (480, 0x90, 60, 64),
                   (0, 0xF7, 200 % 128, *bytes(200 % 128)), (480, 0x80, 60, 0))
    assert seen(read(midi(events))) == [(0.5, 1.0, 60, 64)]


def test_a_note_without_length_gets_one(read):
    (note,) = read(midi(track((480, 0x90, 60, 64), (0, 0x80, 60, 0)))).notes
    assert note.offset_s - note.onset_s == pytest.approx(SHORTEST_S)


def test_a_key_struck_again_ends_its_first_note(read):
    performance = read(midi(track((0, 0x90, 60, 64), (480, 0x90, 60, 70), (480, 0x80, 60, 0), (480, 0x80, 60, 0))))
    assert seen(performance) == [(0.0, 0.5, 60, 64), (0.5, 1.5, 60, 70)]


def test_a_note_in_two_tracks_of_one_piano_is_one_note(read):
    hands = midi(notes_track([(0, 480, 60, 64), (480, 480, 62, 64)]), notes_track([(0, 960, 60, 80)]))
    assert seen(read(hands)) == [(0.0, 1.0, 60, 80), (0.5, 1.0, 62, 64)]


def test_stuck_notes_end_with_their_track(read):
    performance = read(midi(track((0, 0x90, 60, 64), (0, 0x90, 64, 64), (480, 0x80, 64, 0))))
    assert seen(performance) == [(0.0, 0.5, 60, 64), (0.0, 0.5, 64, 64)]


def test_the_pedal_of_all_channels(read):
    events = track((0, 0x90, 60, 64), (480, 0xB0, 64, 127), (240, 0xB1, 64, 64), (240, 0xB0, 64, 0),
                   (480, 0xB1, 64, 63), (480, 0xB0, 64, 100), (480, 0x80, 60, 0), (480, 0xFF, 0x01, 0))
    assert read(midi(events)).pedal == (Span(0.5, 1.5), Span(2.0, 2.5)), "one held at the end ends with the music"


def test_range(read):
    kept = read(scale(), NoteSettings(lowest=62, highest=65)).notes
    assert {n.pitch for n in kept} == {62, 64, 65}
    assert kept[0].id == "n1"


def test_a_passage_keeps_its_own_times(read):
    performance = read(scale(), passage_s=(1.0, 2.0))
    assert [n.onset_s for n in performance.notes] == [1.0, 1.5]
    assert len(read(scale(), passage_s=(15.0, 0.0)).notes) == 2


# ---------------------------------------------------------------- parts

TUNE, BASS = [(0, 480, 72, 64), (480, 480, 74, 64)], [(0, 960, 40, 64)]


def test_one_piano_takes_all_but_the_drums(read):
    band = midi(notes_track(TUNE, 0, 40), notes_track(BASS, 1, 32), notes_track([(0, 10, 36, 99)], 9))
    performance = read(band)
    assert performance.parts == (PIANO,) and len(performance.notes) == 3
    assert performance.warnings == ("The drums of the MIDI file were left out.",)


def test_a_band_has_a_part_for_every_player(read):
    band = midi(notes_track(TUNE, 0, 40), notes_track(BASS, 1, 0), notes_track(TUNE, 2, 40), notes_track(TUNE, 1, 0),
                notes_track([(0, 10, 36, 99)], 9))
    performance = read(band, BAND)
    assert [(p.id, p.name, p.program, p.staves, p.percussion) for p in performance.parts] == [
        ("violin-1", "Violin 1", 40, 1, False), ("piano", "Piano", 0, 2, False), ("violin-2", "Violin 2", 40, 1, False),
        ("drums", "Drums", 0, 1, True)]
    assert performance.warnings == () and [n.pitch for n in performance.notes if n.part == "drums"] == [36]
    assert [n.pitch for n in performance.notes if n.part == "piano"] == [40, 72, 74], "two tracks are two hands"


def test_the_channels_of_a_single_track_are_players(read):
    events = track((0, 0xC0, 73), (0, 0xC1, 42), (0, 0x90, 72, 64), (0, 0x91, 48, 64),
                   (240, 0x81, 48, 0), (240, 0x80, 72, 0))
    assert [p.name for p in read(midi(events), BAND).parts] == ["Flute", "Cello"]


def test_a_keyboard_in_one_clef_has_one_staff(read):
    assert [p.staves for p in read(midi(notes_track(TUNE, 0, 0)), BAND).parts] == [1]


@pytest.mark.parametrize("how", [BAND, PIANO_SETTINGS])
def test_drums_alone_are_kept(read, how):
    performance = read(midi(notes_track([(0, 10, 36, 99), (480, 10, 38, 99)], 9)), how)
    (part,) = performance.parts
    assert part.percussion and len(performance.notes) == 2 and performance.warnings == ()


# ---------------------------------------------------------------- hands

RIGHT = [(480 * k, 460, pitch, 80) for k, pitch in enumerate([55, 57, 59, 60, 62, 64, 65, 67] * 2)]
LEFT = [(480 * k, 460, pitch, 80) for k, pitch in enumerate([43, 45, 54, 48, 50, 47, 63, 43] * 2)]


@pytest.mark.parametrize("how", [BAND, PIANO_SETTINGS], ids=["band", "piano"])
@pytest.mark.parametrize("hands", [
    (notes_track(RIGHT), notes_track(LEFT)), (notes_track(LEFT), notes_track(RIGHT, 1)),
    (notes_track([]), notes_track(RIGHT, 0, 0), notes_track(LEFT, 0, 0), notes_track([(0, 9, 36, 80)], 9)),
], ids=["right first", "left first", "beside drums"])
def test_two_tracks_of_a_piano_are_its_hands(read, hands, how):
    performance = read(midi(*hands), how)
    low, high = ({p for _, _, p, _ in notes} for notes in (LEFT, RIGHT))
    if all(part.id == "piano" for part in performance.parts):
        told = [(performance.hands[n.id], n.pitch in high, n.pitch in low) for n in performance.notes]
        assert all(is_high if staff == 1 else is_low for staff, is_high, is_low in told)
        assert sum(staff == 2 for staff, *_ in told) == len(LEFT)
    else:
        assert not performance.hands, "of several parts none is a piano alone"


@pytest.mark.parametrize("tracks", [
    (notes_track(RIGHT),), (notes_track(RIGHT), notes_track(LEFT), notes_track([(0, 9, 90, 64)], 1)),
    (notes_track(RIGHT[:8] + [(3840 + on, *rest) for on, *rest in LEFT]),
     notes_track(LEFT[:8] + [(3840 + on, *rest) for on, *rest in RIGHT])),
    (notes_track(RIGHT, 0, 40), notes_track(LEFT, 1, 42)),
], ids=["one track", "three tracks", "tracks that are no hands", "a violin and a cello"])
def test_other_tracks_tell_nothing_of_hands(read, tracks):
    assert not read(midi(*tracks)).hands


def test_the_hands_of_a_file_are_written_unless_the_user_splits(read):
    performance = read(midi(notes_track(RIGHT), notes_track(LEFT)))

    def staves(**settings):
        score = notate(performance, Settings().changed({f"hands.{k}": v for k, v in settings.items()}), Runner())[1]
        return {n.id: n.staff for n in score.notes}

    assert staves() == performance.hands
    crossing = next(n.id for n in performance.notes if n.pitch == 63)
    assert performance.hands[crossing] == 2 and staves(split="fixed")[crossing] == 1
    assert staves(split_curve="0:50")[crossing] == 1
    alone = notate(replace(performance, hands={}), Settings(), Runner())[1]
    assert staves(file_tracks="never") == {n.id: n.staff for n in alone.notes}


# ---------------------------------------------------------------- damage and malice


@pytest.mark.parametrize(("data", "says"), [
    (midi(track()), "has no notes"), (midi(), "has no notes"), (b"MThd", "not a MIDI file"),
    (scale()[:12], "not a MIDI file"), (scale()[:20], "has no notes"),
    (scale().replace(b"MTrk", b"XTrk"), "has no notes"),
    (midi(notes_track([(0, 1, 60, 64)]), division=0), "how fast"),
    (midi(notes_track([(0, 1, 60, 64)]), division=-25 * 256), "how fast"),
    (midi(notes_track([(2**27, 1, 60, 64)])), "longer than 4 hours"),
    (midi(notes_track([(0, 10, 10, 64)])), "no notes in the passage and range"),
])
def test_wrong_midi_is_refused_in_words(read, data, says):
    with pytest.raises(InputError, match=says) as caught:
        read(data, NoteSettings())
    assert "song.mid" in caught.value.problem and caught.value.remedy


def test_a_cut_off_file_is_read_as_far_as_it_goes(read):
    whole = read(scale())
    part = read(scale()[: len(scale()) // 2 + 1])
    assert 10 <= len(part.notes) < len(whole.notes)
    assert seen(part)[:8] == seen(whole)[:8]
    assert "cut off" in part.warnings[0]


def test_absurd_numbers_of_notes_and_events_are_refused_soon(read):
    notes = b"\x00\x90\x3c\x40" + b"\x00\x3c\x00\x00\x3c\x40" * 210_000
    with pytest.raises(InputError, match="more than 200,000 notes"):
        read(midi(b"MTrk" + len(notes).to_bytes(4, "big") + notes))
    with pytest.raises(InputError, match="larger than 20 MB"):
        read(scale() + bytes(20_000_000))


def test_a_file_of_nothing_but_controllers_ends(read, monkeypatch):
    monkeypatch.setattr("rescored.hearing.midi.MAX_EVENTS", 1000)
    with pytest.raises(InputError, match="more than 1,000 events"):
        read(midi(track(*[(0, 0xB0, 1, i % 128) for i in range(1001)])))


def test_a_file_that_has_gone(tmp_path):
    with pytest.raises(InputError, match="cannot be opened"):
        read_midi(Recording(str(tmp_path / "gone.mid"), "gone", "midi", "0" * 64), settings=NoteSettings())


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes_are_a_performance_or_refused(tmp_path_factory, data):
    tempo, tones = track((0, 0xFF, 0x51, 3, 7, 161, 32)), [(i * 100, 90, 60 + i, 64) for i in range(5)]
    good = bytearray(midi(tempo, notes_track(tones)))
    for _ in range(data.draw(st.integers(1, 6))):
        good[data.draw(st.integers(4, len(good) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "any.mid"
    path.write_bytes(bytes(good)[: data.draw(st.integers(4, len(good)))])
    try:
        performance = read_midi(Recording(str(path), "any", "midi", ""), settings=BAND)
    except InputError:
        return
    assert performance.notes and np.isfinite(performance.duration_s)


TONES = st.tuples(st.integers(0, 4000), st.integers(1, 2000), st.integers(21, 108), st.integers(1, 127))


@settings(max_examples=100, deadline=None)
@given(st.lists(TONES, min_size=1, max_size=30), st.integers(24, 960))
def test_it_reads_what_mido_writes(tmp_path_factory, tones, division):
    """The notes of a file by an independent writer come back, but for those that share a key at a time."""
    file = mido.MidiFile(ticks_per_beat=division)
    events = sorted([(on, 1, p, v) for on, _, p, v in tones] + [(on + length, 0, p, 0) for on, length, p, _ in tones])
    now, messages = 0, mido.MidiTrack()
    for tick, is_on, pitch, velocity in events:
        kind = "note_on" if is_on else "note_off"
        messages.append(mido.Message(kind, note=pitch, velocity=velocity, time=tick - now))
        now = tick
    file.tracks.append(messages)
    buffer = io.BytesIO()
    file.save(file=buffer)
    path = tmp_path_factory.getbasetemp() / "mido.mid"
    path.write_bytes(buffer.getvalue())
    read = read_midi(Recording(str(path), "mido", "midi", ""), settings=PIANO_SETTINGS).notes
    tick_s = 0.5 / division
    by_key = {}
    for tone in tones:
        by_key.setdefault(tone[2], []).append(tone)
    for pitch, same in by_key.items():
        found = [n for n in read if n.pitch == pitch]
        if len(same) == 1:
            ((on, length, _, velocity),) = same
            (note,) = found
            assert note.velocity == velocity and note.onset_s == pytest.approx(on * tick_s)
            assert note.offset_s == pytest.approx(max((on + length) * tick_s, on * tick_s + SHORTEST_S))
        for first, second in pairwise(found):
            assert first.offset_s <= second.onset_s
        assert {round(n.onset_s, 6) for n in found} <= {round(on * tick_s, 6) for on, *_ in same}


def test_numbers_of_variable_length():
    assert [number(n).hex() for n in (0, 127, 128, 0x0FFFFFFF)] == ["00", "7f", "8100", "ffffff7f"]

"""Stages, the codec and the store: once for the same content, safely, in any process."""

import threading
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescored import codec
from rescored.errors import Cancelled
from rescored.music import PIANO, Audio, Note, Performance, Pulse, Span, Stems, TimeSignature
from rescored.settings import HandSettings, QuantiseSettings
from rescored.stage import Runner, stage
from rescored.store import Lifetimes, Store

calls: list[str] = []


@stage(version=1)
def louder(audio: Audio, *, settings: HandSettings, report: Any) -> Audio:
    calls.append("louder")
    report(0.5, "half way")
    return Audio(audio.samples * (settings.span_semitones / 14), audio.rate_hz, audio.offset_s)


@stage(version=1)
def count(audio: Audio, *, settings: QuantiseSettings, report: Any) -> tuple[Fraction, ...]:
    calls.append("count")
    return (Fraction(audio.samples.shape[1], settings.finest),)


@pytest.fixture(autouse=True)
def _no_calls():
    calls.clear()


def sine(n=4410, peak=0.5):
    return Audio(peak * np.sin(np.arange(n) / 7, dtype=np.float32)[None], 44100)


def chain(store, span=14, finest=16, listen=lambda e: None):
    run = Runner(store, listen)
    return run(count, run(louder, sine(), settings=HandSettings(span_semitones=span)),
               settings=QuantiseSettings(finest=finest))


def test_a_knob_re_runs_its_stage_and_what_follows(tmp_path):
    store = Store(tmp_path)
    first = chain(store)
    assert calls == ["louder", "count"]
    assert chain(store) == first and calls == ["louder", "count"]
    chain(store, finest=8)
    assert calls == ["louder", "count", "count"]
    chain(store, span=12)
    assert calls[3:] == ["louder", "count"]


def test_another_process_continues_from_the_same_folder(tmp_path):
    first = chain(Store(tmp_path))
    assert chain(Store(tmp_path)) == first
    assert calls == ["louder", "count"]


def test_what_comes_fresh_is_what_comes_from_the_store(tmp_path):
    run, audio = Runner(Store(tmp_path)), sine(peak=1.7)
    fresh = run(louder, audio, settings=HandSettings())
    stored = Runner(Store(tmp_path))(louder, audio, settings=HandSettings())
    assert calls == ["louder"]
    np.testing.assert_array_equal(fresh.samples, stored.samples)
    assert np.abs(fresh.samples - audio.samples).max() < 1.7 * 2**-22  # 24 bits below the peak


def test_a_damaged_result_is_made_anew(tmp_path):
    first = chain(Store(tmp_path))
    for file in tmp_path.rglob("*.zip"):
        file.write_bytes(file.read_bytes()[:-40])
    assert chain(Store(tmp_path)) == first
    assert calls == ["louder", "count"] * 2


def test_a_cancelled_stage_leaves_nothing_and_a_finished_one_stays(tmp_path):
    def stop(event):
        if event.stage == "louder" and event.fraction == 0.5:
            raise Cancelled
    with pytest.raises(Cancelled):
        chain(Store(tmp_path), listen=stop)
    assert not list(tmp_path.rglob("*.zip")) and not list(tmp_path.rglob("*.part"))


def test_the_listener_hears_every_stage_begin_and_end(tmp_path):
    events = []
    chain(Store(tmp_path), listen=events.append)
    chain(Store(tmp_path), listen=events.append)
    done = [(e.stage, e.cached) for e in events if e.state == "done"]
    assert done == [("louder", False), ("count", False), ("louder", True), ("count", True)]
    assert [e.text for e in events if e.fraction == 0.5] == ["half way"]


def test_without_a_store_nothing_is_kept():
    chain(None)
    chain(None)
    assert calls == ["louder", "count"] * 2


def test_the_store_drops_the_least_recently_used_beyond_its_size(tmp_path):
    store = Store(tmp_path, Lifetimes(max_gb=100e-6))  # 100 kB
    for i in range(8):
        audio = Audio(np.random.default_rng(i).uniform(-1, 1, (1, 10_000)), 44100)
        store.put(f"{i:064d}", audio, Audio)
    store.sweep()
    kept = sorted(int(f.stem) for f in tmp_path.rglob("*.zip"))
    assert 0 < sum(f.stat().st_size for f in tmp_path.rglob("*.zip")) <= 100_000
    assert kept == list(range(8 - len(kept), 8))


def test_many_threads_may_write_the_same_result(tmp_path):
    store, results = Store(tmp_path), []
    threads = [threading.Thread(target=lambda: results.append(chain(store))) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(results)) == 1 and len(results) == 8
    assert not list(tmp_path.rglob("*.part"))


finite = st.floats(-1e6, 1e6)


notes_of = st.lists(st.builds(
    lambda on, length, *rest: (on, on + length, *rest),
    finite, st.floats(0.01, 9), st.integers(0, 127), st.integers(1, 127), st.floats(0, 1)), max_size=20)


@given(notes_of)
def test_a_performance_survives_the_codec(rows):
    notes = tuple(Note(f"n{i}", *row) for i, row in enumerate(rows))
    pulse = Pulse(50.0, np.linspace(0, 1, 7), np.zeros(7), "onset-strength")
    played = Performance(notes, (PIANO,), (Span(0.0, 1.0),), pulse, (), 3.0, ("so-so",))
    back = codec.decode(codec.encode(played), Performance)
    for field in ("notes", "parts", "pedal", "warnings", "duration_s"):
        assert getattr(back, field) == getattr(played, field)
    np.testing.assert_array_equal(back.pulse.beat, pulse.beat)
    assert codec.fingerprint(back) == codec.fingerprint(played)


def test_stems_survive_the_codec_with_names_and_loudness():
    stems = Stems({"bass": sine(peak=0.1), "silence": Audio(np.zeros((2, 100)), 44100)}, "htdemucs", ("w",))
    back = codec.decode(codec.encode(stems), Stems)
    assert list(back.audio) == ["bass", "silence"] and back.separator == "htdemucs"
    assert back.audio["silence"].samples.shape == (2, 100) and not back.audio["silence"].samples.any()
    assert np.abs(back.audio["bass"].samples - stems.audio["bass"].samples).max() < 1e-7


@dataclass(frozen=True)
class Impostor:
    measure: int


def test_equal_content_has_equal_keys_and_different_content_has_not():
    a, b = TimeSignature(1, Fraction(0), 3, 4), TimeSignature(1, Fraction(0), 6, 8)
    assert codec.key("s", 1, (a,), None) == codec.key("s", 1, (TimeSignature(1, Fraction(0), 3, 4),), None)
    others = [
        ("s", 2, (a,), None), ("t", 1, (a,), None), ("s", 1, (a, a), None), ("s", 1, (a,), HandSettings()),
        ("s", 1, (b,), None), ("s", 1, (Impostor(1),), None), ("s", 1, ("12",), None), ("s", 1, (12,), None),
        ("s", 1, ("1", "2"), None), ("s", 1, (("1", "2"),), None),
    ]
    keys = {codec.key(*other) for other in others} | {codec.key("s", 1, (a,), None)}
    assert len(keys) == len(others) + 1


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04nonsense", codec.encode((1, 2)), codec.encode("text")])
def test_foreign_bytes_are_no_stored_performance(data):
    with pytest.raises(ValueError, match="not a stored"):
        codec.decode(data, Performance)


def test_a_sound_of_many_blocks_comes_back_whole(monkeypatch):
    sound = Audio(np.random.default_rng(0).normal(0, 0.2, (2, 2500)), 44100, offset_s=3.0)
    at_once = codec.encode(sound)
    monkeypatch.setattr("rescored.room.SPILL_BYTES", 1000)
    monkeypatch.setattr("rescored.room.BLOCK", 1000)
    assert codec.encode(sound) == at_once
    back = codec.decode(at_once, Audio)
    assert (back.rate_hz, back.offset_s, back.samples.shape) == (44100, 3.0, (2, 2500))
    assert np.abs(back.samples - sound.samples).max() < 1e-6

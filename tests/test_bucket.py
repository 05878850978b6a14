"""Folders and buckets hold the same files in the same way; what is old or too much goes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cloud import Cloud

from rescored.bucket import Bucket
from rescored.errors import SettingsError
from rescored.music import Audio
from rescored.store import Lifetimes, Store

DAY_S = 86400.0


@pytest.fixture(params=["folder", "file:", "memory:", "gs:"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    cloud = Cloud()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.url)
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # asks Google itself what kind of bucket it is
    yield Bucket({"folder": str(tmp_path), "file:": f"file://{tmp_path}", "memory:": f"memory://{tmp_path.name}",
                  "gs:": "gs://scores/rescored"}[request.param])
    cloud.shutdown()


def test_what_is_written_is_read_copied_listed_and_removed(bucket: Bucket, tmp_path: Path) -> None:
    (source := tmp_path / "elsewhere").write_bytes(b"one")
    (large := tmp_path / "large").write_bytes(bytes(range(256)) * (6 << 12))  # 6 MB: it is sent otherwise
    bucket.put("a/one.txt", source)
    bucket.write("a/b/two.txt", b"two")
    bucket.write("a/b/two.txt", b"two!")
    bucket.copy("a/one.txt", "c/three.txt")
    assert sorted(bucket.names("a")) == ["a/b/two.txt", "a/one.txt"]
    assert bucket.read("a/b/two.txt") == b"two!" and bucket.local("c/three.txt").read_bytes() == b"one"
    bucket.put("d/large", large)
    assert bucket.local("d/large").read_bytes() == bucket.read("d/large") == large.read_bytes()
    bucket.write("c/three.txt", b"another")
    assert bucket.local("c/three.txt").read_bytes() == b"another"
    bucket.remove("a/one.txt")
    bucket.remove("a/one.txt")
    assert not bucket.exists("a/one.txt") and bucket.exists("c/three.txt")
    bucket.remove_all("a")
    bucket.remove_all("a")
    assert bucket.names("a") == [] and bucket.names("never") == []
    for ask in (bucket.read, bucket.local):
        with pytest.raises(FileNotFoundError):
            ask("a/one.txt")


def test_a_store_that_cannot_be_used_is_said_in_words() -> None:
    with pytest.raises(SettingsError, match="RESCORED_STORE names a nosuch store"):
        Bucket("nosuch://here")


def sound(seed: int) -> Audio:
    return Audio(np.random.default_rng(seed).uniform(-1, 1, (1, 5000)), 44100)


def test_stems_go_after_a_day_and_notes_after_thirty(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("a" * 64, sound(1), Audio)
    store.put("b" * 64, (1, 2), tuple[int, ...])
    upload = tmp_path / "uploads" / "job" / "source.wav"
    store.bucket.write("uploads/job/source.wav", b"sound")
    result = tmp_path / "results" / "job" / "song.pdf"
    store.bucket.write("results/job/song.pdf", b"%PDF")

    def kept_after(days: float) -> tuple[bool, ...]:
        then = time.time() - days * DAY_S
        for path in tmp_path.rglob("*"):
            if path.is_file():
                os.utime(path, (then, then))
        store.sweep()
        again = Store(tmp_path)
        return (upload.is_file(), again.bucket.exists(f"stems/aa/{'a' * 64}.zip"),
                again.bucket.exists(f"stages/bb/{'b' * 64}.zip"), result.is_file())

    assert kept_after(0.9) == (True, True, True, True)
    assert kept_after(1.1) == (False, False, True, True)
    assert kept_after(30.1) == (False, False, False, True)  # results go with their jobs


def test_beyond_its_size_a_store_never_drops_what_cannot_be_made_again(tmp_path: Path) -> None:
    store = Store(tmp_path, Lifetimes(max_gb=60e-6))
    store.bucket.write("uploads/job/source.wav", bytes(20_000))
    store.bucket.write("results/job/song.pdf", bytes(20_000))
    for seed in range(6):
        store.put(f"{seed:064d}", sound(seed), Audio)
    store.sweep()
    assert {name.split("/")[0] for name in store.bucket.names("")} >= {"uploads", "results"}
    assert sum(len(store.bucket.read(name)) for name in store.bucket.names("")) <= 60_000


def test_lifetimes_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESCORED_KEEP_STEMS_DAYS", "2.5")
    assert Lifetimes.of_environment() == Lifetimes(2.5, 30.0, 10.0)
    monkeypatch.setenv("RESCORED_KEEP_DAYS", "a month")
    with pytest.raises(SettingsError, match="RESCORED_KEEP_DAYS"):
        Lifetimes.of_environment()

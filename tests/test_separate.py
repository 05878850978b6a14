"""Separation: the same stems as Demucs' own, without clicks, within bounds, and honest about what made them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import tracemalloc
import weakref
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from rescored import models
from rescored.errors import Cancelled, SettingsError
from rescored.hearing import network as network_module
from rescored.hearing import weights
from rescored.hearing.overlap import Level, overlap_add
from rescored.hearing.separate import find_separator, separate
from rescored.hearing.weights import BUILT_IN
from rescored.music import Audio, Stems
from rescored.settings import SeparateSettings
from rescored.stage import Runner
from rescored.store import Store

RATE_HZ = 8000
QUICK = SeparateSettings(model="htdemucs")


def music(seconds: float, rate_hz: int = RATE_HZ, channels: int = 2) -> Audio:
    """Tones, a beat and noise, all different left and right."""
    chance = np.random.default_rng(3)
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    tone = np.sin(2 * np.pi * 220 * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 0.7 * t))
    beat = np.exp(-30 * (t % 0.5)) * chance.normal(size=len(t))
    sides = [0.4 * tone + 0.2 * beat, 0.3 * tone + 0.25 * beat + 0.05]
    return Audio(np.stack(sides[:channels]).astype(np.float32), rate_hz)


@pytest.fixture(autouse=True)
def fresh_models(monkeypatch, tmp_path):
    """No model is resident, the CPU computes, and nothing can be fetched."""
    models.let_go_all()
    weights._fetches.clear()
    monkeypatch.setenv("RESCORED_DEVICE", "cpu")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    yield
    models.let_go_all()


def save_models(folder: Path, name: str = "htdemucs", *, members: int = 1, safetensors: bool = False) -> Path:
    """Tiny HTDemucs models as Demucs publishes its own; as a bag, each answers for one stem alone."""
    import torch
    import yaml
    from demucs.htdemucs import HTDemucs
    from demucs.states import save_with_checksum

    folder.mkdir(exist_ok=True)
    sources = ["drums", "bass", "other", "vocals"]
    signatures = [f"tiny{k}" for k in range(members)]
    for k, signature in enumerate(signatures):
        torch.manual_seed(k)
        settings = {"sources": sources, "channels": 8, "t_layers": 1, "t_heads": 2, "samplerate": RATE_HZ,
                    "segment": Fraction(3, 2)}
        model = HTDemucs(**settings)
        save_with_checksum({"klass": HTDemucs, "args": (), "kwargs": settings, "state": model.state_dict()},
                           folder / f"{signature}.th")
    bag: dict = {"models": signatures}
    if members > 1:
        bag["weights"] = [[1.0 if stem == k else 0.0 for stem in range(4)] for k in range(members)]
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(bag))
    return folder


@pytest.fixture
def in_32_bits(monkeypatch):
    """No precision is ever good enough but the full one."""
    monkeypatch.setattr(network_module, "SAME_DB", -np.inf)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Demucs' default model is a tiny one of our own, in the folder of weights."""
    folder = save_models(tmp_path / "weights")
    monkeypatch.setenv("RESCORED_MODELS", str(folder))
    return folder


def demucs_itself(folder: Path, name: str, audio: Audio, overlap: float) -> np.ndarray:
    """Stems by Demucs' own loader and loop, as its command line runs them, without random shifts."""
    import torch
    from demucs.apply import apply_model
    from demucs.pretrained import get_model

    model = get_model(name, repo=folder)
    mix = torch.from_numpy(audio.samples.copy())
    mean, deviation = mix.mean(0).mean(), mix.mean(0).std() + 1e-8
    stems = apply_model(model, ((mix - mean) / deviation)[None], shifts=0, overlap=overlap)[0]
    return (stems * deviation + mean).numpy()


@pytest.mark.parametrize("seconds", [0.2, 1.5, 4.1, 7.9])
@pytest.mark.parametrize("overlap", [0.1, 0.25, 0.5])
def test_stems_are_those_of_demucs_itself(in_32_bits, tiny, seconds, overlap):
    audio = music(seconds)
    ours = separate(audio, settings=SeparateSettings(model="htdemucs", overlap=overlap))
    theirs = demucs_itself(tiny, "htdemucs", audio, overlap)
    assert ours.separator == "htdemucs"
    for name, expected in zip(("drums", "bass", "other", "vocals"), theirs, strict=True):
        assert np.abs(ours.audio[name].samples - expected).max() < 1e-4 * np.abs(theirs).max()


def test_a_bag_takes_each_stem_from_its_own_model(in_32_bits, tmp_path, monkeypatch):
    folder = save_models(tmp_path / "weights", "htdemucs_ft", members=4)
    monkeypatch.setenv("RESCORED_MODELS", str(folder))
    audio = music(4.0)
    ours = separate(audio, settings=SeparateSettings(model="htdemucs_ft", overlap=0.25))
    theirs = demucs_itself(folder, "htdemucs_ft", audio, 0.25)
    assert ours.separator == "htdemucs_ft"
    for name, expected in zip(ours.audio, theirs, strict=True):
        assert np.abs(ours.audio[name].samples - expected).max() < 1e-4 * np.abs(theirs).max()


def test_only_the_wanted_stems_are_computed(in_32_bits, tmp_path, monkeypatch):
    """Of a bag in which every stem has its own network, the others are not asked at all."""
    folder = save_models(tmp_path / "weights", "htdemucs_ft", members=4)
    monkeypatch.setenv("RESCORED_MODELS", str(folder))
    audio = music(2.0)
    everything = separate(audio, settings=SeparateSettings(model="htdemucs_ft"))
    net, asked = network_module.network("htdemucs_ft"), []
    for k, member in enumerate(net._members):
        member.register_forward_pre_hook(lambda *_, k=k: asked.append(k))
    some = separate(audio, settings=SeparateSettings(model="htdemucs_ft", stems="vocals, bass"))
    assert list(some.audio) == ["bass", "vocals"] and set(asked) == {1, 3}
    for name, stem in some.audio.items():
        assert np.array_equal(stem.samples, everything.audio[name].samples)
    with pytest.raises(SettingsError, match="flute"):
        separate(audio, settings=SeparateSettings(model="htdemucs_ft", stems="flute"))
    assert len(separate(audio, settings=SeparateSettings(model="htdemucs_ft")).audio) == 4


def test_fine_quality_takes_the_fine_tuned_models_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("RESCORED_MODELS", str(save_models(tmp_path / "weights", "htdemucs_ft", members=4)))
    settings = SeparateSettings(model="htdemucs", quality="fine")
    first, again = (separate(music(2.0), settings=settings) for _ in range(2))
    assert first.separator == "htdemucs_ft"
    assert np.array_equal(first.audio["bass"].samples, again.audio["bass"].samples)  # the shifts are seeded


def test_weights_may_be_safetensors(in_32_bits, tiny):
    import json

    from demucs.pretrained import get_model
    from safetensors.torch import save_file

    audio = music(3.0)
    before = separate(audio, settings=QUICK)
    models.let_go_all()
    member = get_model("htdemucs", repo=tiny).models[0]
    kwargs = {**member._init_args_kwargs[1], "segment": {"_type": "fraction", "numerator": 3, "denominator": 2}}
    save_file(dict(member.state_dict()), tiny / "tiny0.safetensors",
              {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": json.dumps(kwargs)})
    for package in tiny.glob("*.th"):
        package.unlink()
    after = separate(audio, settings=QUICK)
    assert after.separator == "htdemucs"
    assert np.allclose(after.audio["other"].samples, before.audio["other"].samples, atol=1e-5)


@pytest.mark.parametrize("origin", [0, -1234])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("overlap", [0.05, 0.1, 0.25, 0.5])
def test_a_sine_through_an_identity_comes_back_without_clicks(overlap, batch, origin):
    n, segment = 100_003, 6000
    samples = np.sin(2 * np.pi * 441 / 44100 * np.arange(n))[None].repeat(2, axis=0).astype(np.float32) * 0.5
    back = np.zeros((1, 2, n), dtype=np.float32)
    end = 0
    for start, block in overlap_add(lambda windows: windows[:, None], samples, Level.of(samples),
                                    segment=segment, overlap=overlap, batch=batch, origin=origin):
        assert start == end
        back[..., start : start + block.shape[-1]] = block
        end = start + block.shape[-1]
    assert end == n
    error = back[0] - samples
    assert 10 * np.log10((error**2).mean() / (samples**2).mean()) < -90
    assert 20 * np.log10(np.abs(np.diff(error)).max() / 0.5) < -90  # a click is a step in the error


@pytest.mark.parametrize(
    "rate_hz, channels, seconds", [(8000, 1, 2.0), (11025, 2, 3.3), (44100, 1, 1.7), (8000, 2, 0.01)])
def test_stems_have_the_recordings_length_rate_and_channels(tiny, rate_hz, channels, seconds):
    audio = music(seconds, rate_hz, channels)
    stems = separate(audio, settings=QUICK)
    assert set(stems.audio) == {"drums", "bass", "other", "vocals"}
    for stem in stems.audio.values():
        assert stem.samples.shape == audio.samples.shape
        assert stem.rate_hz == rate_hz
        assert np.isfinite(stem.samples).all()


def test_silence_in_is_silence_out(tiny):
    silence = Audio(np.zeros((2, 3 * RATE_HZ), dtype=np.float32), RATE_HZ)
    for stem in separate(silence, settings=QUICK).audio.values():
        assert np.abs(stem.samples).max() < 1e-6  # and no not-a-number


def test_a_passage_stays_where_it_was(tiny):
    passage = Audio(music(2.0).samples, RATE_HZ, offset_s=30.0)
    assert all(stem.offset_s == 30.0 for stem in separate(passage, settings=QUICK).audio.values())


def test_none_leaves_the_recording_whole():
    audio = music(1.0)
    stems = separate(audio, settings=SeparateSettings(model="none"))
    assert (dict(stems.audio), stems.separator, stems.warnings) == ({"mix": audio}, "none", ())


def test_cancelling_is_heeded_within_one_segment(tiny):
    audio, fractions = music(30.0), []

    def report(fraction: float, text: str = "") -> None:
        fractions.append(fraction)
        if fraction > 0.3:
            raise Cancelled

    separated = separate(music(1.0), settings=QUICK)  # loads the model
    assert separated.separator == "htdemucs"
    with pytest.raises(Cancelled):
        separate(audio, settings=QUICK, report=report)
    segments = 30.0 / (0.9 * 1.5)
    assert max(fractions) <= 0.3 + 2 / segments
    again = separate(music(1.0), settings=QUICK)  # nothing is left locked
    assert again.separator == "htdemucs"


def test_progress_rises_segment_by_segment(tiny):
    fractions: list[float] = []
    separate(music(12.0), settings=QUICK, report=lambda fraction, text="": fractions.append(fraction))
    assert fractions == sorted(fractions)
    assert len(set(fractions)) >= 12.0 / 1.5


def test_memory_does_not_grow_with_the_stems(tiny, monkeypatch):
    audio = music(600.0)
    all_stems_bytes = 4 * audio.samples.nbytes
    monkeypatch.setattr("rescored.room.SPILL_BYTES", 1 << 20)
    monkeypatch.setattr(network_module.Network, "_run", lambda self, windows, *_: windows[:, None].repeat(4, axis=1))
    separate(music(1.0), settings=QUICK)  # loads the model
    tracemalloc.start()
    stems = separate(audio, settings=QUICK)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.allclose(stems.audio["bass"].samples, audio.samples, atol=1e-4)
    assert peak_bytes < all_stems_bytes / 5


# ---------------------------------------------------------------- weights that are not there


def test_the_hub_s_client_says_nothing_for_each_try() -> None:
    said = """
import logging
from rescored.hearing.weights import quiet_hub
quiet_hub()
from huggingface_hub.utils import _http
assert not _http.logger.isEnabledFor(logging.WARNING)
"""
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_without_weights_our_own_separator_steps_in_and_one_warning_says_so(in_32_bits, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("RESCORED_MODELS", str(tmp_path / "empty"))
    audio, began = music(8.0, 44100), time.monotonic()
    found = find_separator(settings=QUICK)
    assert time.monotonic() - began < 30
    stems = separate(audio, found, settings=QUICK)
    assert stems.separator == BUILT_IN
    assert len(stems.warnings) == 1
    for word in ("htdemucs could not be fetched", BUILT_IN, "RESCORED_MODELS"):
        assert word in stems.warnings[0]
    together = sum(stem.samples - stem.samples.mean() for stem in stems.audio.values())
    assert np.allclose(together, audio.samples - audio.samples.mean(), atol=5e-3)  # its stems add up to the mix


def test_our_own_separator_can_be_asked_for_and_then_warns_of_nothing():
    stems = separate(music(1.0), settings=SeparateSettings(model=BUILT_IN))
    assert (stems.separator, stems.warnings) == (BUILT_IN, ())


@pytest.mark.slow
def test_our_own_separator_tells_drums_from_a_bass():
    """A struck cymbal's noise and a low tone, as plain as music gets, come out where they belong."""
    chance, rate_hz = np.random.default_rng(0), 44100
    t = np.arange(6 * rate_hz) / rate_hz
    bass = 0.3 * sum(np.sin(2 * np.pi * 55 * k * t) / k**1.5 for k in range(1, 8)) * np.exp(-2 * (t % 0.8))
    hats = 0.3 * np.diff(chance.normal(size=len(t) + 1)) * np.exp(-60 * (t % 0.4))
    mix = Audio(np.stack([bass + hats] * 2).astype(np.float32), rate_hz)
    stems = separate(mix, settings=SeparateSettings(model=BUILT_IN)).audio
    for name, true in (("drums", hats), ("bass", bass)):
        error = stems[name].samples[0] - true
        assert 10 * np.log10((true**2).sum() / (error**2).sum()) > 3  # dB; the mix itself has less than 2


def test_a_failure_is_remembered_so_that_the_next_song_does_not_wait(monkeypatch):
    tries = []

    def fetch(name, report):
        tries.append(name)
        raise weights.ModelUnavailable("No.", "Do.")

    monkeypatch.setattr(network_module, "load", fetch)
    assert [find_separator(settings=QUICK).name for _ in range(3)] == [BUILT_IN] * 3
    assert len(tries) == 1


@pytest.mark.parametrize("failure", [SystemExit(1), OSError("network is unreachable"), RuntimeError("bad file")])
def test_whatever_demucs_does_when_it_cannot_fetch_becomes_the_warning(monkeypatch, failure):
    def get_model(name, repo=None):
        raise failure

    monkeypatch.setattr("demucs.pretrained.get_model", get_model)
    found = find_separator(settings=QUICK)
    assert found.name == BUILT_IN
    assert len(found.warnings) == 1


def test_a_connection_that_hangs_is_given_up_but_what_comes_late_is_used(tiny, monkeypatch):
    from demucs.pretrained import get_model

    monkeypatch.delenv("RESCORED_MODELS")
    comes = threading.Event()

    def fetch(name, repo=None):
        comes.wait(600)
        return get_model(name, repo=tiny)

    monkeypatch.setattr("demucs.pretrained.get_model", fetch)
    monkeypatch.setattr(weights, "NO_ANSWER_S", 0.5)
    assert find_separator(settings=QUICK).name == BUILT_IN
    comes.set()
    models.let_go_all()  # the failure is forgotten, as it is after some minutes
    assert find_separator(settings=QUICK).name == "htdemucs"


def test_waiting_for_weights_can_be_cancelled(monkeypatch):
    hangs = threading.Event()
    monkeypatch.setattr("demucs.pretrained.get_model", lambda name, repo=None: hangs.wait(600))

    def report(fraction: float, text: str = "") -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        find_separator(settings=QUICK, report=report)
    hangs.set()


def test_damaged_weights_become_the_warning(tiny):
    package = next(tiny.glob("*.th"))
    package.write_bytes(package.read_bytes()[:1000])
    found = find_separator(settings=QUICK)
    assert found.name == BUILT_IN
    assert "cannot be read" in found.warnings[0]


def test_a_result_without_weights_is_not_kept_for_the_day_when_they_are_there(tmp_path, monkeypatch):
    audio, store = music(1.0), Store(tmp_path / "store")

    def run() -> Stems:
        runner = Runner(store)
        return runner(separate, audio, runner(find_separator, settings=QUICK), settings=QUICK)

    monkeypatch.setenv("RESCORED_MODELS", str(tmp_path / "weights"))
    assert run().separator == BUILT_IN
    models.let_go_all()
    save_models(tmp_path / "weights")
    assert run().separator == "htdemucs"


# ---------------------------------------------------------------- the machine


def test_a_model_loads_once_for_many_threads():
    loads = []

    def load() -> object:
        time.sleep(0.05)
        loads.append(1)
        return object()

    got: list[object] = []
    threads = [threading.Thread(target=lambda: got.append(models.load_once("m", load))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
    assert len(set(map(id, got))) == 1


def test_an_idle_model_is_let_go(monkeypatch):
    class Model:
        pass

    monkeypatch.setenv("RESCORED_IDLE_S", "600")
    model = weakref.ref(models.load_once("m", Model))
    assert model() is not None and models.load_once("m", Model) is model()
    monkeypatch.setenv("RESCORED_IDLE_S", "0.1")
    models.load_once("m", Model)
    end = time.monotonic() + 60
    while model() is not None:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_device_that_is_not_there_is_a_settings_error(monkeypatch):
    monkeypatch.setenv("RESCORED_DEVICE", "abacus")
    with pytest.raises(SettingsError, match="abacus"):
        models.device()


def test_a_full_gpu_means_smaller_batches_then_the_cpu_and_a_warning(in_32_bits, tiny, monkeypatch):
    audio = music(12.0)
    expected = separate(audio, settings=QUICK)
    real, sizes = network_module.Network._run, []

    def run(self, windows, wanted, dtype):
        sizes.append((self._device, len(windows)))
        if self._device != "cpu":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(self, windows, wanted, dtype)

    def move(self, to):
        self._device, self.batch = to, 4 if to == "meta" else 1

    monkeypatch.setattr(network_module.Network, "_run", run)
    monkeypatch.setattr(network_module.Network, "_move", move)
    monkeypatch.setattr(network_module, "device", lambda: "meta")
    stems = separate(audio, settings=QUICK)
    assert sizes[:4] == [("meta", 4), ("meta", 2), ("meta", 1), ("cpu", 1)]
    assert any("CPU" in warning for warning in stems.warnings)
    assert np.allclose(stems.audio["bass"].samples, expected.audio["bass"].samples, atol=1e-5)


@pytest.mark.slow
def test_16_bits_change_the_stems_of_demucs_own_architecture_by_less_than_50_db():
    import torch
    from demucs.htdemucs import HTDemucs

    torch.manual_seed(0)  # the published one but for its weights, which no test can have
    net = network_module.Network(HTDemucs(["drums", "bass", "other", "vocals"], channels=48, bottom_channels=512,
                                          dconv_mode=3, segment=Fraction(39, 5)).eval())
    window = music(7.8, 44100).samples[None, :, : net.segment]
    full, half = (net._run(window / window.std(), (0, 1, 2, 3), dtype) for dtype in (None, torch.bfloat16))
    error_db = 10 * np.log10(((half - full) ** 2).sum(axis=(0, 2, 3)) / (full**2).sum(axis=(0, 2, 3)))
    assert (error_db < -50).all()
    assert (error_db > -100).all()  # it did compute in 16 bits


@pytest.mark.parametrize("error, taken", [(1e-4, True), (1e-2, False), (np.nan, False)])
def test_16_bits_are_taken_only_where_the_stems_stay_the_same(tiny, monkeypatch, error, taken):
    dtypes = []

    def run(self, windows, wanted, dtype):
        dtypes.append(dtype)
        if len(dtypes) == 1:
            time.sleep(0.5)  # in 32 bits it is slower by far
        return windows[:, None].repeat(4, axis=1) * (1 + (error if dtype else 0.0))

    monkeypatch.setattr(network_module.Network, "_run", run)
    separate(music(12.0), settings=QUICK)
    assert (dtypes[-1] is not None) is taken
    assert sum(dtype is None for dtype in dtypes) == (1 if taken else len(dtypes) - 1)  # it was tried once

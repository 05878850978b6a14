"""Train the separator that ships with rescored, on music that tools/band.py makes: nothing is downloaded.

    python tools/train_separator.py --work FOLDER [--lead-sheets FOLDER] [--songs 80] [--steps 2000]

Songs are recorded once and kept in FOLDER as amplitudes in the bands that the network sees. Every
step mixes stems of one song or of four, at levels, tones and sides by chance; the powers of stems
are taken to add up, so that no step needs a Fourier transform, and one processor core learns in
minutes. Loss: mean absolute error of the stems' amplitudes. The weights are a running mean over
steps, written every 100 steps to FOLDER/rescored-small.safetensors as Demucs publishes its own.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import band
import numpy as np
import torch
from safetensors.torch import save_file

from rescored.hearing.small import SmallDemucs

SONG_S = 12.0
CROP_S = 4.0  # what is heard at a time; the network in use hears longer segments
BATCH = 4
POWER = 768.0  # in all bins of a sound of deviation 1: half of nfft times the Hann window's mean square


class OnBands(SmallDemucs):  # type: ignore[misc]
    """The network from powers in bands (batch, channels, bands, frames) to masks (batch, stems, ...)."""

    def _spec(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def _magnitude(self, z: torch.Tensor) -> torch.Tensor:
        return (z + 1e-6).log()

    def _mask(self, z: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        return m.softmax(dim=1)

    def _ispec(self, z: torch.Tensor, length: int | None = None, scale: int = 0) -> torch.Tensor:
        return z


def amplitudes(model: SmallDemucs, stems: np.ndarray) -> np.ndarray:
    """Of stems (4, 2, n), in the bands of the network: (4, 2, bands, frames)."""
    logs = SmallDemucs._magnitude(model, SmallDemucs._spec(model, torch.from_numpy(stems)))
    return (logs / 2).exp().numpy()


def record_songs(folder: Path, songs: int, lead_sheets: Path | None) -> np.ndarray:
    """Amplitudes of all songs, float16, shape (songs, 4, 2, bands, frames); made where they are not there."""
    model, sheets = SmallDemucs(), sorted(lead_sheets.glob("*.mxl")) if lead_sheets else []
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(songs):
        file = folder / f"song-{k}.npy"
        if not file.is_file():
            chance = np.random.default_rng(k)
            sheet = sheets[int(chance.integers(len(sheets)))] if sheets and k % 2 else None
            song = band.read_lead_sheet(sheet, chance, SONG_S) if sheet else band.compose(chance, SONG_S)
            np.save(file, amplitudes(model, band.record(song, chance, SONG_S)).astype(np.float16))
    return np.stack([np.load(folder / f"song-{k}.npy") for k in range(songs)])


def mixes(pool: np.ndarray, frames: int, chance: np.random.Generator) -> torch.Tensor:
    """Powers of the stems of a batch, shape (BATCH, 4, 2, bands, frames), at the level that the mix has in use."""
    batch = np.zeros((BATCH, 4, 2, pool.shape[3], frames), dtype=np.float32)
    places = np.linspace(0, 1, pool.shape[3])
    for item in batch:
        together = chance.random() < 0.5
        song, start = int(chance.integers(len(pool))), int(chance.integers(pool.shape[-1] - frames))
        for stem in range(4):
            if not together:
                song, start = int(chance.integers(len(pool))), int(chance.integers(pool.shape[-1] - frames))
            if chance.random() < 0.1:
                continue  # this one rests
            sound = pool[song, stem, :, :, start : start + frames].astype(np.float32) ** 2
            tone_db = np.interp(places, np.linspace(0, 1, 6), chance.normal(0, 3, 6)) + chance.normal(0, 4)
            item[stem] = sound[:: chance.choice([-1, 1])] * 10 ** (tone_db / 10)[:, None].astype(np.float32)
        item *= POWER / (item.sum(axis=(0, 2)).mean() + 1e-3)
    return torch.from_numpy(batch)


def train(pool: np.ndarray, steps: int, out: Path) -> None:
    """Adam with a warm-up and a cosine; progress on the standard output."""
    torch.manual_seed(0)
    chance = np.random.default_rng(0)
    model = OnBands()
    model.train()
    averaged = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps, pct_start=0.1)
    began, losses = time.monotonic(), []
    for step in range(1, steps + 1):
        stems = mixes(pool, round(CROP_S * band.RATE_HZ / model.hop_length), chance)
        mix = stems.sum(dim=1)
        found, true = model(mix) * mix[:, None].sqrt(), stems.sqrt()
        loss = (found - true).abs().mean() / true.abs().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        keep = min(0.99, step / (step + 10))
        for name, value in model.state_dict().items():
            averaged[name].mul_(keep).add_(value, alpha=1 - keep)
        losses.append(loss.item())
        if step % 100 == 0:
            save(averaged, out)
            print(f"{step}: {time.monotonic() - began:.0f} s, loss {np.mean(losses[-100:]):.4f}", flush=True)


def save(state: dict[str, torch.Tensor], out: Path) -> None:
    """As Demucs publishes: class and arguments as metadata, and the list of models beside."""
    metadata = {"klass": "rescored.hearing.small.SmallDemucs", "args": "[]", "kwargs": json.dumps({})}
    save_file({name: value.half().contiguous() for name, value in state.items()}, out, metadata)
    out.with_suffix(".yaml").write_text(f"models: ['{out.stem}']\n", encoding="utf-8")


def main() -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for the recordings and the weights")
    parser.add_argument("--lead-sheets", type=Path, help="public-domain lead sheets (.mxl), for every other song")
    parser.add_argument("--songs", type=int, default=80)
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pool = record_songs(options.work / "songs", options.songs, options.lead_sheets)
    train(pool, options.steps, options.work / "rescored-small.safetensors")


if __name__ == "__main__":
    main()

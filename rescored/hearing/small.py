"""The network of the separator that ships with rescored: a small Demucs that hands out masks."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
from demucs.hdemucs import HDemucs
from demucs.states import capture_init
from torch import Tensor

STEMS = ("drums", "bass", "other", "vocals")
# Share of the learned masks. More is better on our own renderings (0.5: mean SDR 4.6 dB) and worse on real songs
# (1.9 dB). This share is no worse than rules alone on either: 3.5 against 3.0, and 2.5 against 2.5 (two songs).
LEARNED = 0.2


class SmallDemucs(HDemucs):  # type: ignore[misc]
    """Demucs' U-Net over the spectrogram (Défossez, "Hybrid spectrogram and waveform source separation",
    2021), without its branch over the waveform. It sees log magnitudes in `bands`, single bins below
    1 kHz and ever wider ones above, and shares out every band among the stems, which therefore add up
    to the mix. Masks over bands are learned from far less music than spectra are. What it learned from
    synthetic music counts `LEARNED`, and `masks_by_rule`, which holds for any music, the rest.
    """

    @capture_init  # type: ignore[untyped-decorator]
    def __init__(self, sources: Any = STEMS, channels: int = 16, bands: int = 256, segment: Any = Fraction(6),
                 **more: Any):
        super().__init__(sources=list(sources), channels=channels, segment=segment, hybrid=False, cac=False,
                         depth=4, norm_starts=9, dconv_attn=9, dconv_lstm=9, dconv_mode=3, **more)
        self.register_buffer("band_of_bin", band_of_bin(self.nfft // 2, bands), persistent=False)
        self.bands = bands

    def valid_length(self, length: int) -> int:
        """Always a whole segment, as HTDemucs has it."""
        return int(self.segment * self.samplerate)

    def _magnitude(self, z: Tensor) -> Tensor:
        power = z.real**2 + z.imag**2
        bands = power.new_zeros(*z.shape[:2], self.bands, z.shape[3])
        bands.index_add_(2, self.band_of_bin.to(z.device), power)  # complex sound stays off some devices
        return (bands + 1e-6).log()

    def _mask(self, z: Tensor, m: Tensor) -> Tensor:
        learned = m.softmax(dim=1).index_select(3, self.band_of_bin.to(z.device))
        by_rule = masks_by_rule(z, self.samplerate / self.nfft)
        return (LEARNED * learned + (1 - LEARNED) * by_rule[:, :, None]) * z[:, None]


def masks_by_rule(z: Tensor, bin_hz: float) -> Tensor:
    """Masks (batch, `STEMS`, bins, frames) of a spectrogram (batch, 2 channels, bins, frames), nothing learned.

    Drums: what lasts over pitch rather than over time, by median filters (Fitzgerald, "Harmonic/percussive
    separation using median filtering", DAFx 2010). Of the rest, below 200 Hz the bass; above, the voice is
    what both channels share, and other what they do not.
    """
    magnitude = (z.real**2 + z.imag**2).mean(dim=1).sqrt()
    along_time, along_pitch = _median(magnitude, 2) ** 2, _median(magnitude, 1) ** 2
    drums = along_pitch / (along_pitch + along_time + 1e-12)
    hz = torch.arange(z.shape[2], device=z.device)[:, None] * bin_hz
    low = 1 / (1 + (hz / 200) ** 4)
    middle, side = (z[:, 0] + z[:, -1]).abs() ** 2, (z[:, 0] - z[:, -1]).abs() ** 2
    centre = (middle / (middle + 4 * side + 1e-12)) ** 2
    bass, vocals = (1 - drums) * low, (1 - drums) * (1 - low) * centre
    return torch.stack([drums, bass, 1 - drums - bass - vocals, vocals], dim=1)


def _median(x: Tensor, dim: int, width: int = 17) -> Tensor:
    """Running median of x (batch, bins, frames) along a dimension."""
    half = width // 2
    around = (half, half, 0, 0) if dim == 2 else (0, 0, half, half)
    padded = torch.nn.functional.pad(x[:, None], around, mode="replicate")[:, 0]
    return padded.unfold(dim, width, 1).median(dim=-1).values


def band_of_bin(bins: int, bands: int) -> Tensor:
    """The band of each bin, shape (bins,): one to one at first, then in equal ratios up to the last."""
    single = bands * 3 // 8
    edges = single * (bins / single) ** torch.linspace(0, 1, bands - single + 1, dtype=torch.float64)
    rest = torch.bucketize(torch.arange(single, bins, dtype=torch.float64), edges[1:-1], right=True) + single
    return torch.cat([torch.arange(single), rest])

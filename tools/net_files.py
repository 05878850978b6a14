"""What the trainers of small networks share: their files of weights, which NumPy reads in the package, and layers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from rescored.models import weights_in

Layers = Mapping[str, nn.Module]  # linear ones and normalisations by their names in the file


def save(path: Path, mean: torch.Tensor, scale: torch.Tensor, layers: Layers) -> None:
    """Mean and scale of features, and layers, in half precision."""
    out = {"mean": mean, "scale": scale}
    for name, layer in layers.items():
        out[f"{name}.weight"] = layer.weight
        if layer.bias is not None:
            out[f"{name}.bias"] = layer.bias
    np.savez_compressed(path, **{k: v.detach().cpu().numpy().T.astype(np.float16) for k, v in out.items()})


def load(path: Path, mean: torch.Tensor, scale: torch.Tensor, layers: Layers) -> None:
    """The same read into these, to go on from; layers that the file has not stay as they are."""
    weights = {name: torch.as_tensor(array.T) for name, array in weights_in(path).items()}
    with torch.no_grad():
        mean.copy_(weights["mean"])
        scale.copy_(weights["scale"])
        for name, layer in layers.items():
            if f"{name}.weight" in weights:
                layer.weight.copy_(weights[f"{name}.weight"])
                if layer.bias is not None:
                    layer.bias.copy_(weights[f"{name}.bias"])


def convolutions(count: int, width: int) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Normalisations, and layers over `shifted` rows of this width that at first change nothing."""
    norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(count))
    layers = nn.ModuleList(nn.Linear(3 * width, width) for _ in range(count))
    for tensor in layers.parameters():
        nn.init.zeros_(tensor)
    return norms, layers


def shifted(h: torch.Tensor, by: int) -> torch.Tensor:
    """`notation.layers.shifted` of (batch, n, width): every row beside those `by` before and after it."""
    before = F.pad(h, (0, 0, by, 0))[:, : h.shape[1]]
    after = F.pad(h, (0, 0, 0, by))[:, by:]
    return torch.cat([before, h, after], dim=-1)

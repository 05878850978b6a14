"""Stage results as bytes and back, and the identity (key) of a stage's run. Safe formats only.

A result is one ZIP: `value.json` for the tree of dataclasses, `arrays.npz` for arrays, one FLAC a
sound. Types are not named in the file: the reader is told the type, so nothing but that type's own
constructors can ever run. FLAC keeps 24 bits, so a sound comes back within -138 dB of its peak.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import types
import typing
import zipfile
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, cast

import numpy as np

from .music import Audio, Recording

_SCALE_24_BIT = 2.0**23 - 1


def key(stage: str, version: int, inputs: tuple[Any, ...], settings: Any) -> str:
    """sha256 over stage, version, the content of the inputs and the settings, as 64 hex digits."""
    digest = hashlib.sha256()
    _feed(digest, (stage, version, settings))
    for value in inputs:
        _feed(digest, fingerprint(value))
    return digest.hexdigest()


def fingerprint(value: Any) -> str:
    """Identity of a value by content; remembered on the object, since the values are frozen."""
    if isinstance(value, Recording):
        return value.sha256
    known = getattr(value, "__dict__", {}).get("_fingerprint")
    if known:
        return cast(str, known)
    digest = hashlib.sha256()
    _feed(digest, value)
    if hasattr(value, "__dict__"):
        object.__setattr__(value, "_fingerprint", digest.hexdigest())
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    """Add a value's content; every kind has its own prefix, so different values never meet."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        digest.update(f"<{type(value).__name__}".encode())
        for item in dataclasses.fields(value):
            content = getattr(value, item.name)
            _feed(digest, fingerprint(content) if isinstance(content, Audio) else content)
    elif isinstance(value, np.ndarray):
        digest.update(f"<array{value.shape}{value.dtype}".encode())
        digest.update(np.ascontiguousarray(value).data)
    elif isinstance(value, Mapping):
        digest.update(f"<map{len(value)}".encode())
        for name in sorted(value):
            _feed(digest, name)
            _feed(digest, fingerprint(value[name]) if isinstance(value[name], Audio) else value[name])
    elif isinstance(value, tuple | list):
        digest.update(f"<list{len(value)}".encode())
        for item in value:
            _feed(digest, item)
    elif value is None or isinstance(value, str | int | float | bool | Fraction):
        digest.update(f"<{type(value).__name__}{value!r}>".encode())
    else:
        raise TypeError(f"{type(value).__name__} cannot be part of a key")


def encode(value: Any) -> bytes:
    """A result as the bytes of one ZIP."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    sounds: list[Audio] = []
    tree = _pack(value, arrays, sounds)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        text = json.dumps(tree, separators=(",", ":"), allow_nan=True).encode()
        archive.writestr(_entry("value.json"), text, zipfile.ZIP_DEFLATED, 1)
        if arrays:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **cast(Any, arrays))
            archive.writestr(_entry("arrays.npz"), buffer.getvalue())
        for i, sound in enumerate(sounds):
            archive.writestr(_entry(f"{i}.flac"), _to_flac(sound))
    return out.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # no clock: equal results are equal bytes


def decode(data: bytes, kind: Any) -> Any:
    """The value of type `kind` that `encode` wrote; raises ValueError if it is anything else."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            tree = json.loads(archive.read("value.json"))
            names = set(archive.namelist())
            arrays: Mapping[str, Any] = {}
            if "arrays.npz" in names:
                arrays = dict(np.load(io.BytesIO(archive.read("arrays.npz")), allow_pickle=False))
            return _unpack(tree, kind, arrays, lambda i: archive.read(f"{i}.flac"))
    except (KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"not a stored {kind}: {error}") from error


def _pack(value: Any, arrays: dict[str, Any], sounds: list[Audio]) -> Any:
    if isinstance(value, Audio):
        sounds.append(value)
        peak = float(np.abs(value.samples).max(initial=0.0))
        return [len(sounds) - 1, value.offset_s, peak, list(value.warnings)]
    if dataclasses.is_dataclass(value):
        return [_pack(getattr(value, item.name), arrays, sounds) for item in dataclasses.fields(value)]
    if isinstance(value, np.ndarray):
        arrays[name := f"a{len(arrays)}"] = value
        return name
    if isinstance(value, Mapping):
        return {str(k): _pack(v, arrays, sounds) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_pack(v, arrays, sounds) for v in value]
    if isinstance(value, Fraction):
        return [value.numerator, value.denominator]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"{type(value).__name__} cannot be stored")


def _unpack(tree: Any, kind: Any, arrays: Mapping[str, Any], flac: Any) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Audio:
        return _from_flac(flac(tree[0]), offset_s=tree[1], peak=tree[2], warnings=tuple(tree[3]))
    if kind is Fraction:
        return Fraction(*tree)
    if dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        pairs = zip(dataclasses.fields(kind), tree, strict=True)
        return cast(Any, kind)(**{i.name: _unpack(t, hints[i.name], arrays, flac) for i, t in pairs})
    if origin in (types.UnionType, typing.Union):
        return None if tree is None else _unpack(tree, next(a for a in args if a is not type(None)), arrays, flac)
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_unpack(t, args[0], arrays, flac) for t in tree)
        return tuple(_unpack(t, a, arrays, flac) for t, a in zip(tree, args, strict=True))
    if isinstance(origin, type) and issubclass(origin, np.ndarray):
        return arrays[tree]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {k: _unpack(v, args[1], arrays, flac) for k, v in tree.items()}
    return tree


_known_hints: dict[Any, dict[str, Any]] = {}


def _hints(kind: Any) -> dict[str, Any]:
    if kind not in _known_hints:
        _known_hints[kind] = typing.get_type_hints(kind)
    return _known_hints[kind]


def _to_flac(sound: Audio) -> bytes:
    import soundfile

    peak = max(float(np.abs(sound.samples).max(initial=0.0)), 1e-9)
    ints = np.rint(sound.samples.T.astype(np.float64) / peak * _SCALE_24_BIT).astype(np.int32) * 256
    out = io.BytesIO()
    soundfile.write(out, ints, sound.rate_hz, format="FLAC", subtype="PCM_24")
    return out.getvalue()


def _from_flac(data: bytes, *, offset_s: float, peak: float, warnings: tuple[str, ...]) -> Audio:
    import soundfile

    ints, rate_hz = soundfile.read(io.BytesIO(data), dtype="int32", always_2d=True)
    samples = (ints.T // 256) * (max(peak, 1e-9) / _SCALE_24_BIT)
    return Audio(samples.astype(np.float32), int(rate_hz), offset_s, warnings)

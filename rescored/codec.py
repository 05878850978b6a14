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
import shutil
import types
import typing
import zipfile
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import cache, lru_cache
from itertools import chain
from operator import attrgetter
from typing import IO, Any, cast

import numpy as np

from . import room
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


_PLAIN = frozenset({str, int, float, bool, Fraction, type(None)})


@cache
def _fields(kind: Any) -> tuple[str, ...] | None:
    """Names of a dataclass's fields; None for other types."""
    return tuple(item.name for item in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


def _feed(digest: Any, value: Any) -> None:
    """Add a value's content; every kind has its own prefix, so different values never meet."""
    kind: Any = type(value)
    if kind in _PLAIN:  # first, because most are
        digest.update(f"<{kind.__name__}{value!r}>".encode())
    elif (names := _fields(kind)) is not None:
        digest.update(f"<{kind.__name__}".encode())
        for name in names:
            content = getattr(value, name)
            _feed(digest, fingerprint(content) if isinstance(content, Audio) else content)
    elif isinstance(value, np.ndarray):
        digest.update(f"<array{value.shape}{value.dtype}".encode())
        for _, block in room.blocks(np.ascontiguousarray(value).reshape(-1)):
            digest.update(block.data)
    elif isinstance(value, tuple | list):
        digest.update(f"<list{len(value)}".encode())
        if (rows := _rows(value)) is not None:
            digest.update(rows)
        else:
            for item in value:
                _feed(digest, item)
    elif isinstance(value, Mapping):
        digest.update(f"<map{len(value)}".encode())
        for name in sorted(value):
            _feed(digest, name)
            _feed(digest, fingerprint(value[name]) if isinstance(value[name], Audio) else value[name])
    elif isinstance(value, str | int | float | Fraction):  # their children, as numpy's float64
        digest.update(f"<{kind.__name__}{value!r}>".encode())
    else:
        raise TypeError(f"{kind.__name__} cannot be part of a key")


def _rows(items: Sequence[Any]) -> bytes | None:
    """The content of many values of one dataclass, as notes are, at once if all their fields are plain; else None."""
    kind: Any = type(items[0]) if len(items) > 1 else None
    names = _fields(kind) or ()
    if len(names) < 2 or any(type(item) is not kind for item in items):
        return None
    rows = list(map(attrgetter(*names), items))
    if not _PLAIN.issuperset(map(type, chain.from_iterable(rows))):
        return None
    return f"<rows of {kind.__name__}{rows!r}>".encode()


def encode(value: Any) -> bytes:
    """A result as the bytes of one ZIP."""
    out = io.BytesIO()
    write(value, out)
    return out.getvalue()


def write(value: Any, file: IO[bytes]) -> None:
    """A result as one ZIP in a file; long sounds go through in blocks."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    sounds: list[Audio] = []
    tree = _pack(value, arrays, sounds)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        text = json.dumps(tree, separators=(",", ":"), allow_nan=True).encode()
        archive.writestr(_entry("value.json"), text, zipfile.ZIP_DEFLATED, 1)
        if arrays:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **cast(Any, arrays))
            archive.writestr(_entry("arrays.npz"), buffer.getvalue())
        for i, sound in enumerate(sounds):
            with room.aside() as flac:
                _write_flac(sound, flac)
                entry = _entry(f"{i}.flac")
                entry.file_size = flac.tell()  # of more than 2 GB, it is written in another way
                flac.seek(0)
                with archive.open(entry, "w") as inside:
                    shutil.copyfileobj(flac, inside, room.BLOCK)


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # no clock: equal results are equal bytes


def decode(data: bytes, kind: Any) -> Any:
    """The value of type `kind` that `encode` wrote; raises ValueError if it is anything else."""
    return read(io.BytesIO(data), kind)


def read(file: IO[bytes], kind: Any) -> Any:
    """The value of type `kind` that `write` wrote; raises ValueError if it is anything else."""
    try:
        with zipfile.ZipFile(file) as archive:
            tree = json.loads(archive.read("value.json"))
            names = set(archive.namelist())
            arrays: Mapping[str, Any] = {}
            if "arrays.npz" in names:
                arrays = dict(np.load(io.BytesIO(archive.read("arrays.npz")), allow_pickle=False))
            return _reader(kind)(tree, _Blobs(arrays, lambda i: archive.open(f"{i}.flac")))
    except (KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"not a stored {kind}: {error}") from error


def _pack(value: Any, arrays: dict[str, Any], sounds: list[Audio]) -> Any:
    kind: Any = type(value)
    if kind is Fraction:
        return [value.numerator, value.denominator]
    if kind in _PLAIN:
        return value
    if isinstance(value, Audio):
        sounds.append(value)
        return [len(sounds) - 1, value.offset_s, room.loudest(value.samples), list(value.warnings)]
    if (names := _fields(kind)) is not None:
        return [_pack(getattr(value, name), arrays, sounds) for name in names]
    if isinstance(value, np.ndarray):
        arrays[name := f"a{len(arrays)}"] = value
        return name
    if isinstance(value, tuple | list):
        return [_pack(v, arrays, sounds) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _pack(v, arrays, sounds) for k, v in value.items()}
    if isinstance(value, str | int | float):
        return value
    raise TypeError(f"{kind.__name__} cannot be stored")


@dataclasses.dataclass(frozen=True)
class _Blobs:
    """What lies beside the tree."""

    arrays: Mapping[str, Any]
    flac: Callable[[int], IO[bytes]]


Reader = Callable[[Any, _Blobs], Any]  # a part of the tree -> the value


@cache
def _reader(kind: Any) -> Reader:
    """What makes values of a type from their trees; made once a type, since long scores have many values."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Audio:
        return lambda tree, blobs: _read_flac(blobs.flac(tree[0]), offset_s=tree[1], peak=tree[2],
                                              warnings=tuple(tree[3]))
    if kind is Fraction:
        return lambda tree, blobs: _fraction(*tree)
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(kind)
    if origin in (types.UnionType, typing.Union):
        some = _reader(next(a for a in args if a is not type(None)))
        return lambda tree, blobs: None if tree is None else some(tree, blobs)
    if origin is tuple and args[1:] == (Ellipsis,):
        each = _reader(args[0])
        if each is _as_it_is:
            return lambda tree, blobs: tuple(tree)
        return lambda tree, blobs: tuple([each(t, blobs) for t in tree])
    if origin is tuple:
        several = [_reader(a) for a in args]
        return lambda tree, blobs: tuple(read(t, blobs) for read, t in zip(several, tree, strict=True))
    if isinstance(origin, type) and issubclass(origin, np.ndarray):
        return lambda tree, blobs: blobs.arrays[tree]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        value = _reader(args[1])
        return lambda tree, blobs: {k: value(v, blobs) for k, v in tree.items()}
    return _as_it_is


@lru_cache(maxsize=4096)
def _fraction(numerator: int, denominator: int) -> Fraction:
    return Fraction(numerator, denominator)


def _as_it_is(tree: Any, blobs: _Blobs) -> Any:
    return tree


def _dataclass_reader(kind: Any) -> Reader:
    hints = typing.get_type_hints(kind)
    fields = [(name, _reader(hints[name])) for name in _fields(kind) or ()]

    def read(tree: Any, blobs: _Blobs) -> Any:
        pairs = zip(fields, tree, strict=True)
        return kind(**{name: t if each is _as_it_is else each(t, blobs) for (name, each), t in pairs})

    return read


def _write_flac(sound: Audio, file: IO[bytes]) -> None:
    import soundfile

    peak = max(room.loudest(sound.samples), 1e-9)
    with soundfile.SoundFile(file, "w", sound.rate_hz, len(sound.samples), format="FLAC", subtype="PCM_24") as flac:
        for _, block in room.blocks(sound.samples):
            flac.write(np.rint(block.T.astype(np.float64) / peak * _SCALE_24_BIT).astype(np.int32) * 256)
    file.seek(0, io.SEEK_END)


def _read_flac(member: IO[bytes], *, offset_s: float, peak: float, warnings: tuple[str, ...]) -> Audio:
    import soundfile

    with member, room.aside() as data:  # in which, other than in an archive, one can go back and forth at no cost
        shutil.copyfileobj(member, data, room.BLOCK)
        data.seek(0)
        with soundfile.SoundFile(data) as flac:
            samples = room.zeros((flac.channels, flac.frames))
            for _, block in room.blocks(samples):
                ints = flac.read(block.shape[1], dtype="int32", always_2d=True)
                block[:] = (ints.T // 256) * (max(peak, 1e-9) / _SCALE_24_BIT)
            return Audio(samples, int(flac.samplerate), offset_s, warnings)

"""A transcription as files: song.musicxml, .mxl, .mid, .score.mid, .pdf, .json, lead sheet, stems, parts."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import tempfile
import time
import unicodedata
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import InputError, on_disk
from ..music import Audio, Score, Stems, Transcription
from ..room import BLOCK, aside, blocks, loudest
from .contract import from_json, to_json
from .extract import extract
from .midi import performed_midi, written_midi

_LONGEST_NAME_BYTES = 120  # file systems stop at 255, some tools earlier; endings need room too
_MAX_JSON_BYTES = 200 * 2**20
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)  # names that Windows keeps for itself


def save(
    transcription: Transcription, folder: str | Path, name: str, *, stems: bool = False, parts: bool = False
) -> dict[str, Path]:
    """Write every file of a transcription into `folder`; returns their paths by kind.

    Kinds: "musicxml", "mxl", "midi" (as performed), "score_midi" (as written), "pdf", "json"; where there is a
    lead sheet "lead" and "lead_pdf"; with `stems` "stems", a folder of FLAC files, and with `parts` "parts", a
    folder with the MusicXML and PDF of each part. Each file is written aside and renamed: none is ever half
    there. `name` is made safe by `safe_name`. Raises `RescoredError` where the folder cannot be written to.
    """
    from .engraving import to_pdfs
    from .musicxml import to_musicxml, to_mxl

    folder, name = Path(folder), safe_name(name)
    musicxml = to_musicxml(transcription.score, transcription.settings)
    lead = to_musicxml(transcription.lead, part_name=True) if transcription.lead else ""
    with ThreadPoolExecutor(1) as beside:
        pdfs = beside.submit(to_pdfs, [musicxml, lead] if lead else [musicxml])  # another process works on them
        contents = {  # all made before any is written
            "musicxml": (".musicxml", musicxml.encode()),
            "mxl": (".mxl", to_mxl(musicxml)),
            "midi": (".mid", performed_midi(transcription.performance, transcription.grid)),
            "score_midi": (".score.mid", written_midi(transcription.score)),
            "json": (".json", json.dumps(to_json(transcription), ensure_ascii=False).encode()),
        }
    pdf, *lead_pdf = pdfs.result()
    contents["pdf"] = (".pdf", pdf)
    if lead:
        contents |= {"lead": (".lead.musicxml", lead.encode()), "lead_pdf": (".lead.pdf", lead_pdf[0])}
    of_parts = part_files(transcription.score) if parts else {}
    with on_disk("the files", "choose another folder"):
        folder.mkdir(parents=True, exist_ok=True)
        paths = {kind: _write(folder / f"{name}{ending}", content) for kind, (ending, content) in contents.items()}
        if stems and transcription.stems:
            paths["stems"] = folder / f"{name}.stems"
            paths["stems"].mkdir(exist_ok=True)
            for stem, audio in transcription.stems.audio.items():
                with _writing(paths["stems"] / f"{safe_name(stem)}.flac") as flac:
                    _write_flac(audio, flac)
        if of_parts:
            paths["parts"] = folder / f"{name}.parts"
            paths["parts"].mkdir(exist_ok=True)
            for file, content in of_parts.items():
                _write(paths["parts"] / file, content)
    return paths


def part_files(score: Score) -> dict[str, bytes]:
    """The MusicXML and the PDF of every part, by file name, numbered in score order."""
    from .engraving import to_pdfs
    from .musicxml import to_musicxml

    names = [f"{i:02}-" + safe_name(part.name.replace("♭", "b")) for i, part in enumerate(score.parts, 1)]
    documents = [to_musicxml(extract(score, part), part_name=True) for part in score.parts]
    files: dict[str, bytes] = {}
    for name, document, pdf in zip(names, documents, to_pdfs(documents), strict=True):
        files |= {f"{name}.musicxml": document.encode(), f"{name}.pdf": pdf}
    return files


def load(path: str | Path) -> Transcription:
    """The transcription in a `song.json`, without its stems; raises InputError if it is none."""
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise InputError(f"{path.name} is too large.", "Choose a .json file that rescored wrote.")
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is not readable as JSON.", "Choose a .json file that rescored wrote.") from error
    return from_json(data)


def zip_parts(score: Score, name: str) -> bytes:
    """The parts as one ZIP, for a download."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in part_files(score).items():
            archive.writestr(f"{safe_name(name)}.parts/{file}", content)
    return out.getvalue()


def zip_stems(stems: Stems, name: str, out: IO[bytes]) -> None:
    """The stems as one ZIP of FLAC files, for a download; long ones go through in blocks."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # FLAC does not get smaller
        for stem, audio in stems.audio.items():
            with aside() as flac:
                _write_flac(audio, flac)
                entry = zipfile.ZipInfo(f"{safe_name(name)}.stems/{safe_name(stem)}.flac", time.localtime()[:6])
                entry.file_size = flac.tell()  # of more than 2 GB, it is written in another way
                flac.seek(0)
                with archive.open(entry, "w") as inside:
                    shutil.copyfileobj(flac, inside, BLOCK)


def safe_name(name: str) -> str:
    """A file name without ending: letters and digits of any script, spaces and - _ . ( ) stay.

    Never empty, never hidden, never a path, at most 120 bytes long; a safe name stays as it is.
    """
    name = re.sub(r"\s", " ", unicodedata.normalize("NFC", name))
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" or c in " -_.()" else "\0" for c in name)
    kept = re.sub(r"\0+", "_", kept).lstrip(" .-")
    kept = kept.encode()[:_LONGEST_NAME_BYTES].decode(errors="ignore").rstrip(" .")
    if not kept.strip("_"):
        return "untitled"
    return f"_{kept}" if _RESERVED.fullmatch(kept.split(".")[0]) else kept


def _write(path: Path, content: bytes) -> Path:
    with _writing(path) as file:
        file.write(content)
    return path


@contextmanager
def _writing(path: Path) -> Iterator[IO[bytes]]:
    """A file that is in its place once it is whole."""
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        Path(beside).chmod(0o644)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _write_flac(audio: Audio, file: IO[bytes]) -> None:
    """Scaled down where it exceeds full scale."""
    import soundfile

    gain = 1 / max(1.0, loudest(audio.samples))
    with soundfile.SoundFile(file, "w", audio.rate_hz, len(audio.samples), format="FLAC", subtype="PCM_24") as flac:
        for _, block in blocks(audio.samples):
            flac.write(block.T * gain)
    file.seek(0, io.SEEK_END)

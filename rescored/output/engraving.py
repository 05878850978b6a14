"""A MusicXML document as pages: SVG for the screen, PDF for the music stand.

Verovio engraves (https://www.verovio.org); its `<g class="note">` elements keep the MusicXML ids.
typst sets the SVG pages as PDF, with the music and text fonts inside Verovio's own style sheets, so
that neither a browser nor system fonts are needed.
"""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import verovio

from ..bucket import default_folder

_DATA = Path(verovio.__file__).parent / "data"
_COMMON = {"svgViewBox": True, "smuflTextFont": "none", "footer": "none", "expandNever": True}
_SCREEN = {"scale": 40, "pageWidth": 2100, "pageHeight": 1600}
_PAPER = {"scale": 100, "pageWidth": 2100, "pageHeight": 2970, "mmOutput": True, "unit": 8.0,
          "pageMarginLeft": 150, "pageMarginRight": 150, "pageMarginTop": 150, "pageMarginBottom": 180,
          "bottomMarginHeader": 6.0, "justifyVertically": True, "justificationBraceGroup": 0.2}
_UNITS = ((2, 8.0), (5, 7.0), (9, 6.0), (99, 5.0))  # most staves of a system, half the distance of two staff lines
_PDF_TIMEOUT_S = 300
# Title and composer are handed over as data, so that nothing in them is taken for typst's language.
_TYPST = """
#set document(title: sys.inputs.title, date: none)
#set page(width: 210mm, height: 297mm, margin: 15mm)
#set text(font: "Liberation Serif", size: 11pt)
#let fitted(size, body, width) = context {
  let natural = measure(text(size: size, body)).width
  text(size: size * calc.min(1.0, width / calc.max(natural, 1mm)), body)
}
#place(top + center, fitted(20pt, sys.inputs.title, if sys.inputs.part == "" { 178mm } else { 110mm }))
#place(top + right, dy: 11mm, fitted(11pt, sys.inputs.composer, 178mm))
#place(top + left, dy: 2mm, text(weight: "bold", fitted(12pt, sys.inputs.part, 32mm)))
"""
_LONGEST_HEADING = 100  # characters


class Engraving:
    """The pages of a score; safe to use from several threads. `options` are Verovio's.

    Loading takes about 3 ms a measure, a page 20 ms, both holding Python's lock.
    """

    def __init__(self, musicxml: str, **options: object):
        verovio.enableLog(verovio.LOG_OFF)
        self._lock = threading.Lock()
        self._toolkit = verovio.toolkit(False)
        self._toolkit.setResourcePath(str(_DATA))  # in a worker thread it does not find it by itself
        self._toolkit.setOptions({**_COMMON, **_SCREEN, **options})
        if not self._toolkit.loadData(musicxml):
            raise ValueError("Verovio cannot read this MusicXML")

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return int(self._toolkit.getPageCount())

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of a full page, as in its view box."""
        options = self._toolkit.getOptions()
        return tuple(options[name] * options["scale"] / 100 for name in ("pageWidth", "pageHeight"))

    def page_of(self, element: str) -> int:
        """The page that an element with this id is on, counted from 1; 1 if there is none."""
        return int(self._toolkit.getPageWithElement(element)) or 1

    def svg(self, page: int) -> str:
        """A page as SVG, counted from 1."""
        with self._lock:
            return str(self._toolkit.renderToSVG(page))


def to_pdf(musicxml: str) -> bytes:
    """The score on A4 pages, as PDF."""
    return to_pdfs([musicxml])[0]


def to_pdfs(documents: Sequence[str]) -> list[bytes]:
    """Several scores, each as PDF.

    Made in a process of its own: engraving a long score would hold up every other thread.
    """
    with tempfile.TemporaryDirectory(prefix="rescored-") as folder:
        for i, document in enumerate(documents):
            Path(folder, f"{i}.musicxml").write_text(document, encoding="utf-8")
        command = [sys.executable, "-m", __spec__.name, folder, str(_fonts(Path(folder, "fonts")))]
        done = subprocess.run(command, capture_output=True, timeout=_PDF_TIMEOUT_S * max(len(documents), 1))
        if done.returncode:
            what = done.stderr.decode(errors="replace")[-2000:]
            raise RuntimeError(f"engraving failed with {done.returncode}: {what}")
        return [Path(folder, f"{i}.pdf").read_bytes() for i in range(len(documents))]


def _pdf(musicxml: str, folder: str, fonts: str) -> bytes:
    """One score in this process, by way of files in `folder`."""
    import typst

    root = ElementTree.fromstring(musicxml)
    inputs = {"title": root.findtext("work/work-title", ""), "composer": root.findtext("identification/creator", ""),
              "part": next((c.findtext("credit-words", "") for c in root.iter("credit")
                            if c.findtext("credit-type") == "part name"), "")}
    inputs = {name: text[:_LONGEST_HEADING] + "…" * (len(text) > _LONGEST_HEADING) for name, text in inputs.items()}
    staves = sum(int(part.findtext("measure/attributes/staves") or 1) for part in root.findall("part"))
    unit = next((unit for most, unit in _UNITS if staves <= most), _UNITS[-1][1])
    engraving = Engraving(musicxml, **{**_PAPER, "unit": unit})
    source = _TYPST
    for page in range(1, engraving.pages + 1):
        Path(folder, f"{page}.svg").write_text(_for_typst(engraving.svg(page)), encoding="utf-8")
        if page > 1:
            source += f"#pagebreak()\n#place(bottom + center, dy: 6mm)[{page}]\n"
        source += f'#place(top + left, dx: -15mm, dy: -15mm, image("{page}.svg", width: 210mm, height: 297mm))\n'
    Path(folder, "score.typ").write_text(source, encoding="utf-8")
    return bytes(typst.compile(f"{folder}/score.typ", font_paths=[fonts], sys_inputs=inputs))


def _for_typst(svg: str) -> str:
    """With the names of fonts that are there, and without the heading, whose place typst fills."""
    svg = re.sub(r'<g id="[^"]*" class="pgHead[^"]*">.*?</g>', "", svg, flags=re.DOTALL)
    return re.sub(r'font-family="Times[^"]*"', 'font-family="Liberation Serif"', svg)


def _fonts(spare: Path) -> Path:
    """A folder with the fonts of Verovio's style sheets as TrueType files; `spare` where none can be kept.

    Unpacking takes half a second, so they are kept beside what the store keeps.
    """
    kept = default_folder() / "fonts" / version("verovio")
    if not kept.is_dir():
        _unpack_fonts(spare)
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=kept.parent) as aside:
                shutil.copytree(spare, Path(aside, "fonts")).rename(kept)
        except OSError:  # another process was faster, or the folder cannot be written
            return spare
    return kept


def _unpack_fonts(folder: Path) -> None:
    from fontTools.ttLib import TTFont

    folder.mkdir()
    for family in ("Leipzig", "Liberation"):
        css = (_DATA / f"{family}.css").read_text(encoding="utf-8")
        for i, match in enumerate(re.finditer(r"base64,([A-Za-z0-9+/=]+)", css)):
            font = TTFont(io.BytesIO(base64.b64decode(match[1])))
            font.flavor = None
            font.save(folder / f"{family}{i}.ttf")


if __name__ == "__main__":
    for document in Path(sys.argv[1]).glob("*.musicxml"):
        document.with_suffix(".pdf").write_bytes(_pdf(document.read_text(encoding="utf-8"), *sys.argv[1:]))

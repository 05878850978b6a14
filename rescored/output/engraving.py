"""A MusicXML document as pages: SVG for the screen, PDF for the music stand.

Verovio engraves (https://www.verovio.org); its `<g class="note">` elements keep the MusicXML ids.
typst sets the SVG pages as PDF with the fonts that are inside Verovio's own style sheets, so that
neither system fonts nor a browser are needed.
"""

from __future__ import annotations

import base64
import io
import re
import tempfile
import threading
from functools import cache
from pathlib import Path

import verovio

_DATA = Path(verovio.__file__).parent / "data"
_COMMON = {"svgViewBox": True, "smuflTextFont": "none", "footer": "none", "expandNever": True, "xmlIdSeed": 1}
_SCREEN = {"scale": 40, "pageWidth": 2100, "pageHeight": 1600}
_PAPER = {"scale": 100, "pageWidth": 2100, "pageHeight": 2970, "mmOutput": True, "unit": 8.0,
          "pageMarginLeft": 150, "pageMarginRight": 150, "pageMarginTop": 150, "pageMarginBottom": 150}


class Engraving:
    """The pages of a score; safe to use from several threads. `options` are Verovio's."""

    def __init__(self, musicxml: str, **options: object):
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

    def svg(self, page: int) -> str:
        """A page as SVG, counted from 1."""
        with self._lock:
            return str(self._toolkit.renderToSVG(page))


def to_pdf(musicxml: str) -> bytes:
    """The score on A4 portrait pages."""
    import typst

    engraving = Engraving(musicxml, **_PAPER)
    with tempfile.TemporaryDirectory() as folder:
        source = "#set page(width: 210mm, height: 297mm, margin: 0pt)\n"
        for page in range(1, engraving.pages + 1):
            svg = engraving.svg(page).replace("Times, serif", "Liberation Serif")
            svg = svg.replace('font-family="Times"', 'font-family="Liberation Serif"')
            Path(folder, f"{page}.svg").write_text(svg, encoding="utf-8")
            source += f'#image("{page}.svg", width: 100%)\n'
        Path(folder, "score.typ").write_text(source, encoding="utf-8")
        return bytes(typst.compile(f"{folder}/score.typ", font_paths=[_fonts().name], ignore_system_fonts=True))


@cache
def _fonts() -> tempfile.TemporaryDirectory[str]:
    """A folder with the fonts of Verovio's style sheets as TrueType; it goes when the process ends."""
    from fontTools.ttLib import TTFont

    folder = tempfile.TemporaryDirectory(prefix="rescored-fonts-")
    for family in ("Leipzig", "Liberation"):
        css = (_DATA / f"{family}.css").read_text(encoding="utf-8")
        for i, match in enumerate(re.finditer(r"base64,([A-Za-z0-9+/=]+)", css)):
            font = TTFont(io.BytesIO(base64.b64decode(match[1])))
            font.flavor = None
            font.save(Path(folder.name, f"{family}{i}.ttf"))
    return folder

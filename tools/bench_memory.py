"""Peak memory of the whole way, by length: `python tools/bench_memory.py [--minutes 3 12] [--preset full-band]`.

A band's example, over and over, goes from a file to the files that a user gets (stems, too) and the sounds of
the page, each length in a process of its own, through the stand-in separator. `anonymous` is the memory that the
process alone owns; `resident` counts the pages of mapped files, too, which the system takes back when it needs
them. Both are looked at fifty times a second, and reset before every stage. `--copy`: the network gives a quarter
of the sound as every stem, since an hour of it takes long, and its memory is the same for any length.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

from rescored import Settings
from rescored.stage import Event

EXAMPLE = "greensleeves"


class Watch:
    """The highest memory in each stage, in MB: anonymous and resident."""

    def __init__(self) -> None:
        self.stage = "start"
        self.peaks: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.seconds: dict[str, float] = defaultdict(float)
        self._began = time.process_time()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def enter(self, stage: str) -> None:
        """What is looked at from now on belongs to this stage."""
        now = time.process_time()
        self.seconds[self.stage] += now - self._began
        if stage != self.stage and self.peaks[self.stage][0]:
            own, resident = self.peaks[self.stage]
            print(f"{self.stage}: {own:.0f} / {resident:.0f} MB, {self.seconds[self.stage]:.1f} s", file=sys.stderr,
                  flush=True)
        self.stage, self._began = stage, now

    def end(self) -> None:
        """Look no more."""
        self.enter("end")
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            status = Path("/proc/self/status").read_text(encoding="ascii")
            found = {line.split(":")[0]: float(line.split()[1]) / 1e3 for line in status.splitlines() if " kB" in line}
            peak = self.peaks[self.stage]
            peak[:] = max(peak[0], found["RssAnon"]), max(peak[1], found["VmRSS"])


def write_song(path: Path, minutes: float) -> None:
    """The example over and over, as FLAC."""
    import soundfile

    from rescored import examples
    from rescored.output.sound import render

    sound = render(examples.performance(EXAMPLE))
    frames = round(minutes * 60 * sound.rate_hz)
    with soundfile.SoundFile(path, "w", sound.rate_hz, 2, format="FLAC", subtype="PCM_16") as file:
        while frames > 0:
            file.write(sound.samples[:, :frames].T)
            frames -= sound.samples.shape[1]


def copies_only() -> None:
    """The separator's network does nothing."""
    import numpy as np

    from rescored.hearing.network import Network

    def copies(self: Network, windows: np.ndarray, wanted: tuple[int, ...], dtype: object) -> np.ndarray:
        return np.repeat(windows[:, None] / 4, len(wanted), axis=1)

    Network._run = copies  # type: ignore[method-assign]


def measure(song: Path, folder: Path, preset: str) -> dict[str, object]:
    """Transcribe, save and encode in this process."""
    from rescored.codec import fingerprint
    from rescored.hearing.sources import open_source
    from rescored.output.files import save, zip_stems
    from rescored.pipeline import transcribe
    from rescored.service.sounds import peaks, write_vorbis
    from rescored.service.work import played
    from rescored.store import Store

    watch = Watch()

    def listen(event: Event) -> None:
        if event.state == "running":
            watch.enter(event.stage)

    settings = Settings.preset(preset).changed({"audio.max_minutes": 240.0})
    if settings.separate.model != "none":
        settings = settings.changed({"separate.model": "rescored-small"})
    recording = open_source(song, max_minutes=240)
    result = transcribe(recording, settings, store=Store(folder / "store"), listen=listen)
    watch.enter("files")
    save(result, folder / "out", "song", stems=True)
    if result.stems:
        watch.enter("stems.zip")
        with (folder / "stems.zip").open("wb") as file:
            zip_stems(result.stems, "song", file)
        for name, stem in result.stems.audio.items():
            watch.enter(f"page:{name}")
            fingerprint(stem)
            write_vorbis(stem, folder / "stem.ogg")
            peaks(stem)
    for track, *_, make in played(result.performance, settings, 0.0):
        watch.enter(f"page:{track}")
        sound = make()
        write_vorbis(sound, folder / "track.ogg")
        peaks(sound)
    watch.end()
    return {"peaks": watch.peaks, "seconds": watch.seconds, "notes": len(result.performance.notes)}


def main() -> None:
    """Print a table of stages by lengths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[3.0, 12.0])
    parser.add_argument("--preset", default="full-band")
    parser.add_argument("--copy", action="store_true")
    parser.add_argument("--data", help=argparse.SUPPRESS)  # as every section of bench.py
    parser.add_argument("--one", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        if options.copy:
            copies_only()
        print("\n" + json.dumps(measure(*options.one, options.preset)))
        return
    columns = {}
    for minutes in options.minutes:
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR") or "/var/tmp") as name:
            song = Path(name) / "song.flac"
            write_song(song, minutes)
            command = [sys.executable, __file__, "--preset", options.preset, "--one", str(song), name]
            done = subprocess.run(command + ["--copy"] * options.copy, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                raise SystemExit(f"{minutes:g} minutes failed.")
            columns[minutes] = json.loads(done.stdout.splitlines()[-1])
    print(f"## memory: {options.preset}, MB anonymous / resident at most (processor seconds)\n")
    print("| | " + " | ".join(f"{m:g} min, {c['notes']} notes" for m, c in columns.items()) + " |")
    print("|---|" + "--:|" * len(columns))
    stages = dict.fromkeys(stage for c in columns.values() for stage in c["peaks"])
    for stage in stages:
        cells = []
        for c in columns.values():
            own, resident = c["peaks"].get(stage, (0, 0))
            cells.append(f"{own:.0f} / {resident:.0f} ({c['seconds'].get(stage, 0):.1f})")
        print(f"| {stage} | " + " | ".join(cells) + " |")
    for number, what in enumerate(("anonymous", "resident")):
        most = [max(c["peaks"].values(), key=lambda p: p[number])[number] for c in columns.values()]
        print(f"| **{what}** | " + " | ".join(f"**{m:.0f}**" for m in most) + " |")


if __name__ == "__main__":
    main()

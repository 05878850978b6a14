"""Models in memory before the first job asks for them, and which failures deserve another try."""

from __future__ import annotations

import logging
import time

from ..errors import RescoredError
from ..settings import PRESETS, Settings

log = logging.getLogger(__name__)


def warm(presets: str) -> None:
    """Load what these presets ("solo-piano,full-band"; "all"; "none") need.

    A second of noise is heard with each: what compiles at first use does so now, too.
    """
    import numpy as np

    from ..hearing.pulse import find_tracker, track_pulse
    from ..hearing.separate import find_separator, separate
    from ..hearing.transcribe import detect_notes, heard_beside, stems_to_hear
    from ..music import Audio

    names = list(PRESETS) if presets == "all" else [name for name in presets.split(",") if name in PRESETS]
    noise = np.random.default_rng(0).normal(0, 0.05, (2, 44100)).astype(np.float32)
    for name in names:
        settings, began = Settings.preset(name), time.monotonic()
        try:
            audio = Audio(noise, 44100)
            stems = separate(audio, find_separator(settings=settings.separate), settings=settings.separate)
            for stem, sound in stems_to_hear(stems, settings.notes).items():
                detect_notes(sound, stem, heard_beside(stems, audio), settings=settings.notes)
            track_pulse(audio, find_tracker(settings=settings.pulse), settings=settings.pulse)
        except RescoredError as error:
            log.warning("preset %s cannot be made warm: %s", name, error)
            continue
        log.info("preset %s is warm after %.1f s", name, time.monotonic() - began)


def transient(error: BaseException) -> bool:
    """Whether the same may well go right in a while: a store out of reach, no room on the GPU."""
    out_of_memory = type(error).__name__ == "OutOfMemoryError"  # torch's, without importing it
    return out_of_memory or (isinstance(error, OSError) and not isinstance(error, FileNotFoundError))

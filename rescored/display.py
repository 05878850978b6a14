"""How the types look and sound in a notebook: `%load_ext rescored.display`, and every value shows itself.

Plots are matplotlib figures without background, in colours that are readable on white and on black;
scores are white paper. Nothing here needs a widget. Each function can be called by itself, for
another passage or with a reference beside it, and gives back what it shows.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .evaluate import Piece, as_html
from .music import (
    Audio,
    BeatGrid,
    KeySignature,
    Note,
    Performance,
    Placed,
    Pulse,
    Score,
    StaffNote,
    Stems,
    Transcription,
    VoicedNote,
)

if TYPE_CHECKING:
    import IPython.display
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#808080"  # readable on white and on black: contrast 3.9 and 5.3
COLOURS = ("#2a9d8f", "#e07a3f", "#5b8def", "#c565c7", "#b8962e", "#d9534f")
TRUTH = "#d9534f"
WIDTH_IN, DPI = 9.0, 96
HEARD_RATE_HZ = 22050  # of players
HEARD_S = 8.0  # how much of a sound a player holds, unless told otherwise: notebooks stay small
SCALE = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"]
FIFTHS = [7 * k % 12 for k in range(-1, 11)]  # pitch classes around the circle, from F


# ---------------------------------------------------------------- sound


def waveform(audio: Audio | Mapping[str, Audio] | Stems) -> Figure:
    """The envelope of a sound, or of several on one scale, a row each."""
    sounds = {"": audio} if isinstance(audio, Audio) else audio.audio if isinstance(audio, Stems) else audio
    figure, rows = _rows(len(sounds), 0.9 if len(sounds) > 1 else 1.4)
    loudest = max(float(np.abs(sound.samples).max(initial=0.0)) for sound in sounds.values()) or 1.0
    for k, (axes, (name, sound)) in enumerate(zip(rows, sounds.items(), strict=True)):
        mono = sound.mono
        step = max(len(mono) // 2000, 1)
        blocks = mono[: len(mono) // step * step].reshape(-1, step)
        times_s = sound.offset_s + np.arange(len(blocks)) * step / sound.rate_hz
        axes.fill_between(times_s, blocks.min(axis=1), blocks.max(axis=1), color=COLOURS[k % len(COLOURS)], lw=0.5)
        axes.set(ylim=(-loudest, loudest), yticks=[], ylabel=name, xlim=(times_s[0], times_s[-1]))
    rows[-1].set_xlabel("s")
    return figure


def spectrogram(
    audio: Audio, notes: Iterable[Note] = (), *, start_s: float = 0.0, end_s: float | None = None,
    lowest: int = 28, highest: int = 100,
) -> Figure:
    """Level of the sound by time and pitch, 60 dB deep, with notes drawn over it."""
    from matplotlib import colormaps

    begin = round((start_s - audio.offset_s) * audio.rate_hz)
    end = len(audio.mono) if end_s is None else round((end_s - audio.offset_s) * audio.rate_hz)
    samples = audio.mono[max(begin, 0) : end]
    window, hop = 8192, max(1024, len(samples) // 800)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, window // 2), window)[::hop]
    magnitude = np.abs(np.fft.rfft(frames * np.hanning(window).astype(np.float32)))
    pitches = np.arange(lowest - 0.5, highest + 0.5, 1 / 3)
    bins = 440.0 * 2 ** ((pitches - 69) / 12) * window / audio.rate_hz
    below = np.minimum(bins.astype(np.int64), magnitude.shape[1] - 2)
    level = magnitude[:, below] + (bins - below) * (magnitude[:, below + 1] - magnitude[:, below])
    level_db = 20 * np.log10(np.maximum(level / max(float(level.max(initial=0.0)), 1e-9), 1e-3))
    figure, (axes,) = _rows(1, 3.0)
    until_s = start_s + len(samples) / audio.rate_hz
    axes.imshow(level_db.T, aspect="auto", origin="lower", cmap=colormaps["magma"].resampled(16), vmin=-60, vmax=0,
                extent=(start_s, until_s, float(pitches[0]), float(pitches[-1])))
    for note in notes:
        axes.plot((note.onset_s, note.offset_s), (note.pitch, note.pitch), color="#4dd0e1", lw=2.2, alpha=0.9)
        axes.plot(note.onset_s, note.pitch, marker="|", color="white", ms=5)
    axes.set(xlabel="s", xlim=(start_s, until_s), ylim=(pitches[0], pitches[-1]))
    _name_octaves(axes)
    return figure


def listen(audio: Audio, start_s: float = 0.0, seconds: float = HEARD_S) -> IPython.display.Audio:
    """A player for a passage, as mono MP3, so that a saved notebook stays small."""
    import soundfile
    from IPython.display import Audio as Player

    from .hearing.resample import resample

    first = round(max(start_s - audio.offset_s, 0.0) * audio.rate_hz)
    passage = audio.mono[first : first + round(seconds * audio.rate_hz)]
    sound = resample(passage, audio.rate_hz, HEARD_RATE_HZ)
    out = io.BytesIO()
    soundfile.write(out, np.clip(sound, -1, 1), HEARD_RATE_HZ, format="MP3", compression_level=0.7)
    player = Player(data=out.getvalue())
    player.mimetype = "audio/mpeg"
    return player


def compare(sounds: Mapping[str, Audio], start_s: float = 0.0, seconds: float = HEARD_S) -> IPython.display.HTML:
    """Players one above the other: the stems, or the recording and its transcription."""
    from IPython.display import HTML

    rows = [f"<tr><td>{name}</td><td>{listen(audio, start_s, seconds)._repr_html_()}</td></tr>"
            for name, audio in sounds.items()]
    return HTML(f"<table>{''.join(rows)}</table>")


def with_clicks(audio: Audio, grid: BeatGrid) -> Audio:
    """The sound with a click on every beat, higher on downbeats."""
    from mir_eval.sonify import clicks

    n = audio.samples.shape[1]
    sound = 0.7 * audio.mono
    for hz, times_s in ((1000.0, grid.times_s[grid.beat != 1]), (1600.0, grid.times_s[grid.beat == 1])):
        click = np.sin(2 * np.pi * hz * np.arange(round(0.04 * audio.rate_hz)) / audio.rate_hz) * 0.5
        at_s = times_s[(times_s >= audio.offset_s) & (times_s < audio.offset_s + n / audio.rate_hz - 0.05)]
        sound = sound + clicks(at_s - audio.offset_s, audio.rate_hz, click=click, length=n)
    return Audio(sound[None].astype(np.float32), audio.rate_hz, audio.offset_s)


def straight(performance: Performance, notes: Sequence[VoicedNote], grid: BeatGrid) -> Performance:
    """The notes exactly as they are written, at the grid's mean tempo: how the score sounds when read."""
    s_per_ql = float(grid.times_s[-1] - grid.times_s[0]) / float(grid.ql[-1] - grid.ql[0])
    first_ql = min((n.onset_ql for n in notes), default=0)
    begin_s = float(performance.onsets_s[0]) if len(performance.notes) else 0.0
    at_s = {n.id: begin_s + float(n.onset_ql - first_ql) * s_per_ql for n in notes}
    played = tuple(
        Note(n.id, at_s[n.id], at_s[n.id] + max(float(n.duration_ql) * s_per_ql, 0.06), n.pitch, n.velocity,
             part=n.part)
        for n in notes)
    return Performance(played, performance.parts, duration_s=max((n.offset_s for n in played), default=0.0))


# ---------------------------------------------------------------- notes


def roll(
    performance: Performance, grid: BeatGrid | None = None, reference: Piece | None = None, *,
    start_s: float | None = None, end_s: float | None = None,
) -> Figure:
    """Pitch by time, a colour a part, paler where less sure; bars and beats of the grid; the truth as outlines."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Patch, Rectangle

    figure, (axes,) = _rows(1, 3.0)
    colour = {part.id: COLOURS[k % len(COLOURS)] for k, part in enumerate(performance.parts)}
    for note in performance.notes:
        axes.add_patch(Rectangle(
            (note.onset_s, note.pitch - 0.4), note.offset_s - note.onset_s, 0.8, lw=0,
            color=to_rgba(colour[note.part], 0.25 + 0.75 * note.confidence)))
    played = reference.played if reference else None
    if played:
        for (on_s, off_s), pitch in zip(played.intervals_s, played.pitches, strict=True):
            axes.add_patch(Rectangle((on_s, pitch - 0.5), off_s - on_s, 1.0, fill=False, ec=TRUTH, lw=0.8))
    if grid:
        _beat_lines(axes, grid)
    pitches = performance.pitches if len(performance.notes) else np.array([60])
    axes.set(xlabel="s", xlim=(start_s or 0.0, end_s or performance.duration_s),
             ylim=(pitches.min() - 3, pitches.max() + 3))
    _name_octaves(axes)
    keys = [Patch(color=colour[part.id], label=part.name) for part in performance.parts]
    keys += [Patch(fill=False, ec=TRUTH, label="true notes")] if played else []
    _legend(axes, keys)
    return figure


def written(notes: Sequence[StaffNote], *, until_ql: float = 24.0) -> Figure:
    """Notes on the grid of quarters by staff, and by voice where they have one: pitch by place in the score."""
    from matplotlib.patches import Patch, Rectangle

    figure, (axes,) = _rows(1, 3.0)
    kinds: dict[str, str] = {}
    for note in sorted(notes, key=lambda n: (n.part, n.staff, getattr(n, "voice", 0))):
        kind = f"{note.part}, staff {note.staff}" + (f", voice {note.voice}" if isinstance(note, VoicedNote) else "")
        colour = kinds.setdefault(kind, COLOURS[len(kinds) % len(COLOURS)])
        end_ql = note.onset_ql + note.duration_ql if isinstance(note, VoicedNote) else note.release_ql
        length = max(float(end_ql) - float(note.onset_ql), 0.08)
        axes.add_patch(Rectangle((float(note.onset_ql), note.pitch - 0.4), length * 0.97, 0.8, color=colour, lw=0))
    shown = [n.pitch for n in notes if n.onset_ql <= until_ql] or [60]
    first = float(min((n.onset_ql for n in notes), default=0.0))
    axes.set(xlabel="quarters from the start of measure 1", xlim=(first, until_ql),
             ylim=(min(shown) - 3, max(shown) + 3))
    _name_octaves(axes)
    _legend(axes, [Patch(color=colour, label=kind) for kind, colour in kinds.items()])
    return figure


# ---------------------------------------------------------------- beats


def beats(grid: BeatGrid, pulse: Pulse | None = None, reference: Piece | None = None, *,
          start_s: float = 0.0, end_s: float | None = None) -> Figure:
    """Where beats (dotted) and bars (lines) were found, on what the sound says; true beats as red ticks."""
    figure, (axes,) = _rows(1, 1.8)
    if pulse is not None and len(pulse.beat):
        times_s = np.arange(len(pulse.beat)) / pulse.rate_hz
        axes.fill_between(times_s, pulse.beat, color=COLOURS[0], alpha=0.6, lw=0)
    _beat_lines(axes, grid)
    true = reference.beats if reference else None
    if true:
        axes.plot(true.beats_s, np.full(len(true.beats_s), 1.08), "|", color=TRUTH, ms=6)
        axes.plot(true.downbeats_s, np.full(len(true.downbeats_s), 1.08), "v", color=TRUTH, ms=5)
    axes.set(xlabel="s", yticks=[], ylim=(0, 1.15), xlim=(start_s, end_s or float(grid.times_s[-1])))
    return figure


def tempo(grid: BeatGrid) -> Figure:
    """Beats a minute from beat to beat, bigger dots where the beat is surer."""
    figure, (axes,) = _rows(1, 1.8)
    bpm = 60.0 / np.diff(grid.times_s)
    sure = grid.confidence[:-1] if len(grid.confidence) == len(grid.times_s) else np.full(len(bpm), 0.5)
    axes.plot(grid.times_s[:-1], bpm, color=INK, lw=0.8)
    axes.scatter(grid.times_s[:-1], bpm, s=4 + 26 * sure, color=COLOURS[0], zorder=3)
    axes.set(xlabel="s", ylabel="beats / min", ylim=(0.8 * np.percentile(bpm, 2), 1.2 * np.percentile(bpm, 98)))
    return figure


def hypotheses(grids: Mapping[str, BeatGrid], reference: Piece | None = None, *, end_s: float | None = None) -> Figure:
    """The bars and beats of several readings of one performance, a row each, with their mean confidence."""
    figure, (axes,) = _rows(1, 0.5 + 0.36 * (len(grids) + (1 if reference and reference.beats else 0)))
    labels = []
    for row, (name, grid) in enumerate(grids.items()):
        colour, downbeats = COLOURS[row % len(COLOURS)], grid.times_s[grid.beat == 1]
        axes.plot(grid.times_s, np.full(len(grid.times_s), row), "|", color=colour, ms=7, alpha=0.6)
        axes.plot(downbeats, np.full(len(downbeats), row), "|", color=colour, ms=16, mew=2)
        sure = f"  {grid.confidence.mean():.2f}" if len(grid.confidence) else ""
        labels.append(name + sure)
    if reference and reference.beats:
        at = np.full(len(reference.beats.beats_s), len(grids))
        axes.plot(reference.beats.beats_s, at, "|", color=TRUTH, ms=7, alpha=0.6)
        axes.plot(reference.beats.downbeats_s, at[: len(reference.beats.downbeats_s)], "|", color=TRUTH, ms=16, mew=2)
        labels.append("truth")
    last = end_s or max(float(grid.times_s[-1]) for grid in grids.values())
    axes.set(xlabel="s", yticks=range(len(labels)), yticklabels=labels, xlim=(0, last), ylim=(len(labels) - 0.5, -0.5))
    return figure


def residuals(performance: Performance, grid: BeatGrid, placed: Placed) -> Figure:
    """How far every note is from where its place in the score would sound: by time, and how often."""
    onset_s = {n.id: n.onset_s for n in performance.notes}
    notes = [n for n in placed.notes if not n.grace]
    at_s = np.array([onset_s[n.id] for n in notes])
    late_ms = 1000 * (at_s - grid.seconds_at(np.array([float(n.onset_ql) for n in notes])))
    figure, _ = _rows(0, 2.2)
    left, right = figure.subplots(1, 2, width_ratios=(3, 1))
    for axes in (left, right):
        _quiet(axes)
    left.axhline(0, color=INK, lw=0.6)
    left.scatter(at_s, late_ms, s=9, color=COLOURS[0], alpha=0.8)
    left.set(xlabel="s", ylabel="ms late")
    right.hist(late_ms, bins=30, color=COLOURS[0], orientation="horizontal")
    right.set(xlabel="notes")
    return figure


# ---------------------------------------------------------------- names, score, figures


def pitch_classes(performance: Performance, key: KeySignature | None = None) -> Figure:
    """How long each pitch class sounds, around the circle of fifths; those outside the key in another colour."""
    figure, (axes,) = _rows(1, 1.8)
    seconds = np.bincount(performance.pitches % 12, performance.offsets_s - performance.onsets_s, 12)
    inside = {7 * (key.fifths + k) % 12 for k in range(-1, 6)} if key else set(range(12))
    axes.bar(range(12), seconds[FIFTHS], color=[COLOURS[0] if c in inside else COLOURS[1] for c in FIFTHS])
    axes.set(xticks=range(12), xticklabels=[SCALE[c] for c in FIFTHS], ylabel="s")
    return figure


def score(value: Score, page: int = 1, *, systems: int = 2) -> IPython.display.SVG:
    """Some systems of the score, engraved: page `page` where each holds about so many systems of a piano."""
    from IPython.display import SVG

    from .output.engraving import Engraving
    from .output.musicxml import to_musicxml

    staves = sum(part.staves for part in value.parts)
    height = systems * (160 + 150 * staves) + 100
    engraving = Engraving(to_musicxml(value), header="none", pageWidth=2000, pageHeight=height, adjustPageHeight=True,
                          pageMarginLeft=40, pageMarginRight=40, pageMarginTop=30, pageMarginBottom=30,
                          smuflTextFont="embedded")
    svg = engraving.svg(min(page, engraving.pages))
    head = svg.index(">", svg.index("<svg")) + 1
    return SVG(svg[:head] + '<rect width="100%" height="100%" style="fill: white; stroke: none"/>' + svg[head:])


def figures(values: Mapping[str, float]) -> IPython.display.HTML:
    """The figures of `rescored.evaluate`, each with what it means."""
    from IPython.display import HTML

    return HTML(as_html(values) if values else "<p>Nothing is known of this recording to compare with.</p>")


def seconds(spent: Mapping[str, float]) -> Figure:
    """Seconds by name, such as `Runner.seconds`, as bars."""
    figure, (axes,) = _rows(1, 0.5 + 0.22 * len(spent))
    bars = axes.barh(list(spent), list(spent.values()), color=COLOURS[0])
    axes.bar_label(bars, fmt=" %.2f s", color=INK, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.15 * max(spent.values(), default=1.0) or 1.0), xlabel="s")
    return figure


def sweep(table: Sequence[Mapping[str, Any]], settings: Sequence[str], metrics: Sequence[str]) -> Figure:
    """Mean figures by the value of each setting that was swept; dots are single combinations and pieces."""
    figure, _ = _rows(0, 2.6)
    panels = figure.subplots(1, len(settings), squeeze=False, sharey=True)[0]
    for axes, name in zip(panels, settings, strict=True):
        _quiet(axes)
        values = sorted({row[name] for row in table}, key=lambda value: (isinstance(value, str), value))
        places = values if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values) else \
            list(range(len(values)))
        for k, metric in enumerate(metrics):
            rows = [[row[metric] for row in table if row[name] == value and metric in row] for value in values]
            colour = COLOURS[k % len(COLOURS)]
            for place, found in zip(places, rows, strict=True):
                axes.plot([place] * len(found), found, ".", color=colour, alpha=0.25, ms=4)
            means = [float(np.mean(found)) if found else np.nan for found in rows]
            axes.plot(places, means, "o-", color=colour, lw=1.5, ms=4, label=metric)
        if places is not values:
            axes.set_xticks(places, [str(value) for value in values])
        axes.set_xlabel(name)
    _legend(panels[0], None)
    return figure


# ---------------------------------------------------------------- the look


def _rows(count: int, height_in: float) -> tuple[Figure, Sequence[Axes]]:
    """A figure with so many axes, one above the other (0: a figure of one row whose axes the caller makes)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, height_in * max(count, 1) + 0.3), layout="constrained", facecolor="none")
    rows = list(figure.subplots(count, 1, squeeze=False, sharex=True)[:, 0]) if count else []
    for axes in rows:
        _quiet(axes)
    return figure, rows


def _quiet(axes: Axes) -> None:
    axes.set_facecolor("none")
    axes.tick_params(colors=INK, labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(INK)
        spine.set_linewidth(0.6)
    for name in ("top", "right"):
        axes.spines[name].set_visible(False)
    for label in (axes.xaxis.label, axes.yaxis.label, axes.title):
        label.set_color(INK)
        label.set_fontsize(8)


def _legend(axes: Axes, keys: Sequence[Any] | None) -> None:
    handles = {} if keys is None else {"handles": keys}
    axes.legend(**handles, fontsize=7, labelcolor=INK, frameon=False, loc="upper right", ncols=6,
                bbox_to_anchor=(1.0, 1.14))


def _name_octaves(axes: Axes) -> None:
    low, high = axes.get_ylim()
    octaves = range(int(np.ceil(low / 12)) * 12, int(high) + 1, 12)
    axes.set_yticks(list(octaves), [f"C{pitch // 12 - 1}" for pitch in octaves])


def _beat_lines(axes: Axes, grid: BeatGrid) -> None:
    for time_s, beat, number in zip(grid.times_s, grid.beat, grid.measure, strict=True):
        axes.axvline(time_s, color=INK, lw=1.0 if beat == 1 else 0.5, ls="-" if beat == 1 else ":", zorder=0)
        if beat == 1:
            axes.annotate(str(number), (time_s, 1), (2, -7), xycoords=("data", "axes fraction"), clip_on=True,
                          textcoords="offset points", fontsize=6, color=INK, annotation_clip=True)


# ---------------------------------------------------------------- IPython


def png(figure: Figure) -> bytes:
    """A figure as a PNG with a transparent background."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI, transparent=True)
    return out.getvalue()


_PLOTS: dict[type, Callable[[Any], Figure]] = {
    Audio: waveform, Stems: waveform, Performance: roll, BeatGrid: tempo,
    Transcription: lambda result: roll(result.performance, result.grid),
}


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext rescored.display`: figures, sounds, performances, grids and scores show themselves."""
    from matplotlib.figure import Figure

    formatters = shell.display_formatter.formatters
    formatters["image/png"].for_type(Figure, png)
    for kind, plot in _PLOTS.items():
        formatters["image/png"].for_type(kind, lambda value, plot=plot: png(plot(value)))
    formatters["image/svg+xml"].for_type(Score, lambda value: score(value)._repr_svg_())
    for kind in (*_PLOTS, Score):
        formatters["text/plain"].for_type(kind, lambda value, printer, cycle: printer.text(summary(value)))


def summary(value: Any) -> str:
    """A line about a value: what it holds, how much of it."""
    match value:
        case Audio():
            return f"Audio: {value.duration_s:.2f} s, {len(value.samples)} channels, {value.rate_hz} Hz"
        case Stems():
            return f"Stems: {', '.join(value.audio)}, by {value.separator}"
        case Performance():
            parts = ", ".join(part.name for part in value.parts)
            return f"Performance: {len(value.notes)} notes in {value.duration_s:.1f} s, {parts}"
        case BeatGrid():
            metres = ", ".join(f"{t.numerator}/{t.denominator}" for t in value.time_signatures[:4])
            return f"BeatGrid: {len(value.times_s)} beats, {int(value.measure[-1])} measures, {metres}"
        case Score():
            from .output.readability import readability

            return (f"Score: {value.title}, {len(value.measures)} measures, {value.keys[0].name}; "
                    f"{readability(value).signs:.2f} signs a note")
        case Transcription():
            return f"Transcription of {value.source.title}: {summary(value.score)}"
    return repr(value)

"""What the notebooks begin with: a piece to study, through the store that page and command line share, and knobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, get_type_hints

from . import examples, plugins
from .bucket import default_folder
from .errors import RescoredError
from .evaluate import Piece, pieces
from .hearing.links import is_link
from .hearing.midi import read_midi
from .hearing.sources import open_source
from .music import Performance, Recording, Source, Transcription
from .output.files import safe_name
from .pipeline import hear, notate
from .settings import Settings, Value, describe_range
from .stage import Runner
from .store import Store

T = TypeVar("T")

_LONGEST_SLIDER = 1000  # wider ranges are typed


class NotedRunner(Runner):
    """A runner that notes what every stage was last run with, and what it made."""

    def __init__(self, store: Store | None = None):
        super().__init__(store)
        self.inputs: dict[str, tuple[Any, ...]] = {}
        self.results: dict[str, Any] = {}

    def __call__(self, function: Callable[..., T], *inputs: Any, settings: Any = None, label: str = "") -> T:
        """As `Runner` does."""
        result = super().__call__(function, *inputs, settings=settings, label=label)
        self.inputs[function.__name__], self.results[function.__name__] = inputs, result
        return result


@dataclass(frozen=True)
class Study:
    """A recording with the settings to begin with, a runner over the shared store, and what is known of it."""

    recording: Recording
    settings: Settings
    run: NotedRunner
    reference: Piece  # empty where nothing is known
    played: Performance | None = None  # what is to be taken for what was heard

    def heard(self) -> Performance:
        """The performed notes, from the store where they are there already."""
        return self.played or hear(self.recording, self.settings, self.run)[0]

    def made(self, function: Callable[..., T]) -> T:
        """What a stage made when it was last run, by itself or within `hear` and `notate`."""
        return cast(T, self.run.results[function.__name__])

    def knobs(self, function: Callable[..., T], show: Callable[[T], Any], names: Iterable[str] = ()) -> Knobs[T]:
        """Knobs for a stage, with the inputs that it was last run with."""
        inputs = self.run.inputs[function.__name__]
        return Knobs(self.run, function, *inputs, settings=self.settings, show=show, names=names)

    def transcription(self) -> Transcription:
        """The whole of it, from what was heard."""
        performance = self.heard()
        grid, score = notate(performance, self.settings, self.run, title=self.recording.title)
        source = Source(self.recording.title, self.recording.kind, self.recording.sha256, performance.duration_s)
        return Transcription(source, self.settings.as_dict(), performance, grid, score, performance.warnings)


def study(
    recording: str = "", preset: str = "", *, example: str = "ode", as_played: bool = False, as_sound: bool = False,
) -> Study:
    """A recording (file or link), or else an example that ships, whose true score is known.

    Whatever reference files lie beside a recording are read (`evaluate.pieces.of_folder`). `preset`: a name
    or a JSON file; "" = the example's own, or the first. `as_played`: of an example, take what was played for
    what was heard, so that nothing misheard gets in the way. `as_sound`: of a MIDI file, take how a synthesiser
    plays it for the recording; its notes are the reference. Raises RescoredError as `transcribe` does.
    """
    plugins.load()
    settings = Settings.preset(preset or ("solo-piano" if recording else examples.EXAMPLES[example].preset))
    source = recording or examples.path(example)
    if not recording:
        reference = pieces.of_example(example)
    else:
        reference = Piece() if is_link(recording) else pieces.of_folder(Path(recording).parent)
    opened = open_source(source, max_minutes=settings.audio.max_minutes)
    if as_sound and opened.kind == "midi":
        notes = read_midi(opened, settings=settings.notes)
        reference = replace(reference, played=pieces.of_performance(notes).played)
        opened = open_source(examples.sounded(notes, safe_name(opened.title), default_folder() / "sounded"),
                             max_minutes=settings.audio.max_minutes, title=opened.title)
    played = examples.performance(example) if as_played and not recording else None
    return Study(opened, settings, NotedRunner(Store()), reference, played)


class Knobs(Generic[T]):
    """A stage with a slider for every setting it reads: a turn runs this stage alone, through the store.

    `result` is the stage's result and `settings` the whole tree as they stand; `turn` does by code what the
    sliders do by hand. `show`: from a result to what is displayed under the sliders.
    """

    def __init__(
        self, run: Runner, function: Callable[..., T], *inputs: Any, settings: Settings,
        show: Callable[[T], Any], names: Iterable[str] = (),
    ):
        self.run, self.function, self.inputs, self.show = run, function, inputs, show
        kind = get_type_hints(function)["settings"]
        self.section = next(f.name for f in fields(settings) if isinstance(getattr(settings, f.name), kind))
        self.names = tuple(names) or tuple(n for n in settings.as_dict() if n.startswith(f"{self.section}."))
        self.settings = settings
        self.result = self._made()

    def turn(self, changes: Mapping[str, Any]) -> T:
        """Set some settings and run the stage; raises SettingsError."""
        self.settings = self.settings.changed(changes)
        self.result = self._made()
        return self.result

    def _made(self) -> T:
        return self.run(self.function, *self.inputs, settings=getattr(self.settings, self.section))

    def _ipython_display_(self) -> None:
        import ipywidgets
        from IPython.display import display

        controls = {name: _control(name, value, item) for name, value, item in self.settings.leaves()
                    if name in self.names}
        shown = ipywidgets.Output()

        def draw(_: object = None) -> None:
            with shown:
                shown.clear_output(wait=True)
                try:
                    display(self.show(self.turn({name: control.value for name, control in controls.items()})))
                except RescoredError as error:
                    print(error)

        for control in controls.values():
            control.observe(draw, "value")
        draw()
        bundle = ipywidgets.VBox([*controls.values(), shown])._repr_mimebundle_()
        bundle["text/plain"] = "Knobs (run this notebook to turn them): " + ", ".join(self.names)
        display(bundle, raw=True)


def _control(name: str, value: Value, item: Any) -> Any:
    import ipywidgets

    meta = item.metadata
    wide = {"description": name, "tooltip": f"{meta['help']}: {describe_range(item)}",
            "style": {"description_width": "14em"}, "layout": {"width": "36em"}}
    number: dict[str, Any] = {"min": meta["lo"], "max": meta["hi"], "continuous_update": False}
    if meta["of"] is not None:
        return ipywidgets.Dropdown(options=list(meta["of"]), value=value, **wide)
    if isinstance(value, bool):
        return ipywidgets.Checkbox(value, **wide)
    if isinstance(value, str):
        return ipywidgets.Text(value, continuous_update=False, **wide)
    if isinstance(value, int):
        return ipywidgets.IntSlider(value, **number, **wide)
    if meta["hi"] - meta["lo"] > _LONGEST_SLIDER:
        return ipywidgets.BoundedFloatText(value, **number, **wide)
    return ipywidgets.FloatSlider(value, step=0.01 if meta["hi"] <= 1 else 0.1, **number, **wide)

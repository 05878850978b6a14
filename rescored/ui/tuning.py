"""The preset and the settings, whose controls are generated from the settings tree."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import gradio as gr

from ..errors import RescoredError
from ..settings import PRESETS, Settings, Value

PRESET_LABELS = {
    "solo-piano": "A piano alone",
    "melody": "One melody: voice, violin, flute, sax ...",
    "guitar": "A guitar alone",
    "piano-in-band": "A band, and I want its piano",
    "full-band": "A band, and I want all of it",
}
FIRST_PRESET = "solo-piano"
SECTION_LABELS = {
    "audio": "Recording and passage", "separate": "Taking instruments apart", "notes": "Hearing notes",
    "pulse": "Listening for the beat", "metre": "Metre and tempo", "quantise": "Note values", "hands": "Hands",
    "voices": "Voices", "spelling": "Key", "score": "Score, parts and chord symbols",
}
OF_ONE_RECORDING = ("metre.tempo_bpm", "metre.beat_one_s", "metre.taps_s")
_LONGEST_SLIDER = 1000  # wider ranges are typed


@dataclass(frozen=True)
class TuningPanel:
    """The preset's choice and a control for every setting, in the order of the tree."""

    preset: gr.Radio
    controls: dict[str, gr.components.Component]

    @property
    def all(self) -> list[gr.components.Component]:
        """The controls, as inputs or outputs of a handler."""
        return list(self.controls.values())


def preset_choice() -> gr.Radio:
    """The one question that everybody is asked."""
    choices = [(PRESET_LABELS[name], name) for name in PRESETS]
    return gr.Radio(choices, value=FIRST_PRESET, label="What is in this recording?", elem_id="rs-preset")


def tuning_panel(preset: gr.Radio) -> TuningPanel:
    """Draw the controls, folded away; choosing a preset sets them all."""
    controls: dict[str, gr.components.Component] = {}
    start = Settings.preset(FIRST_PRESET)
    with gr.Accordion("Fine tuning", open=False, elem_id="rs-tuning"):
        for section, leaves in groupby(start.leaves(), lambda leaf: leaf[0].split(".")[0]):
            with gr.Accordion(SECTION_LABELS[section], open=False):
                for name, value, item in leaves:
                    controls[name] = _control(name, value, item)
        file = gr.UploadButton("Load a preset (.json)", file_types=[".json"], size="sm", elem_id="rs-preset-file")
    panel = TuningPanel(preset, controls)
    values = {name: values_of(Settings.preset(name).as_dict()) for name in PRESETS}
    # In the browser: a button that is pressed right after must not find the values of before.
    preset.input(None, preset, panel.all, js=f"(name) => ({json.dumps(values)})[name]", api_visibility="private")
    file.upload(loaded, file, [preset, *panel.all], api_visibility="private", show_progress="hidden")
    return panel


def loaded(path: str) -> list[Value]:
    """The preset and the controls' values for a file of settings, as notebooks save them."""
    try:
        settings = Settings.preset(path).as_dict()
    except RescoredError as error:
        raise gr.Error(str(error), print_exception=False) from error
    return [preset_of(settings), *values_of(settings)]


def values_of(settings: Mapping[str, Any]) -> list[Value]:
    """The controls' values for these settings; what a newer version has added takes its default."""
    return [settings.get(name, value) for name, value, _ in Settings().leaves()]


def settings_of(values: tuple[Any, ...]) -> dict[str, Value]:
    """What the controls say, checked; raises SettingsError."""
    names = Settings().as_dict()
    return Settings().changed(dict(zip(names, values, strict=True))).as_dict()


def for_another(settings: Mapping[str, Value], shown: Mapping[str, Any]) -> dict[str, Value]:
    """Settings for another recording than the one that is shown, which was written with `shown`: what was said there
    of its beats does not hold for the new one."""
    free = Settings().as_dict()
    told = {name for name in OF_ONE_RECORDING if settings[name] == shown.get(name) != free[name]}
    if "metre.tempo_bpm" in told:  # a way to count was chosen, metre and tempo
        told.add("metre.time_signature")
    return {**settings, **{name: free[name] for name in told}}


def preset_of(settings: Mapping[str, Any]) -> str:
    """The preset that settings began from, by what plays."""
    playing = settings.get("notes.instruments")
    return next((name for name, changes in PRESETS.items() if changes["notes.instruments"] == playing), FIRST_PRESET)


def label_of(item: Any) -> str:
    """A setting's name as people read it, without the unit."""
    return re.sub(r"_(s|ms|ql|bpm|minutes|semitones)$", "", item.name).replace("_", " ").capitalize()


def _control(name: str, value: Value, item: Any) -> gr.components.Component:
    meta = item.metadata
    unit = f" ({meta['unit']})" if meta["unit"] else ""
    text = {"label": label_of(item) + unit, "info": meta["help"], "elem_id": f"rs-{name.replace('.', '-')}"}
    if meta["of"] is not None:
        return gr.Dropdown(list(meta["of"]), value=value, **text)
    if isinstance(value, bool):
        return gr.Checkbox(value, **text)
    if isinstance(value, str):
        return gr.Textbox(value, **text)
    whole = isinstance(value, int)
    if meta["hi"] - meta["lo"] > _LONGEST_SLIDER:
        return gr.Number(value, minimum=meta["lo"], maximum=meta["hi"], precision=0 if whole else None, **text)
    step = 1 if whole else 0.01 if meta["hi"] <= 1 else 0.1 if meta["hi"] <= 20 else 1.0
    return gr.Slider(meta["lo"], meta["hi"], value, step=step, **text)

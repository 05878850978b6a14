"""A view that JavaScript draws: an element that Python never redraws, and its module in static/."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

STATIC = Path(__file__).parent / "static"
STATIC_URL = "workbench"  # where server.py serves STATIC, relative to the page


def panel(name: str, *, value: Mapping[str, Any] | None = None, events: Iterable[str] = ()) -> gr.HTML:
    """The view of `static/<name>.js`, whose `mount({element, props, trigger, watch})` is called once.

    `value` is for an id or a short list: whatever is long, the module fetches by itself. The template is
    constant, since Gradio evaluates templates: no text from outside may ever get into one. `events`:
    names of the events that the module triggers; Gradio finds them by their quotes in the comment.
    """
    quoted = " ".join(f"'{event}'" for event in events)
    return gr.HTML(
        dict(value or {}), html_template='<div class="rs-mount"></div>', apply_default_css=False,
        elem_classes=["rs-bare"], padding=False,
        js_on_load=f"""import(new URL("{STATIC_URL}/{name}.js", document.baseURI)).then((panel) =>
            panel.mount({{ element: element.querySelector(".rs-mount"), props, trigger, watch }})); /* {quoted} */""")

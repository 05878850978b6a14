"""What to transcribe: a file or the microphone, a link, or an example."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import gradio as gr

from ..errors import InputError
from ..examples import EXAMPLES
from ..hearing.sources import clean_title

_FILE_TYPES = ["audio", "video", ".mid", ".midi", ".json"]


@dataclass(frozen=True)
class SourcePanel:
    """The panel's components; `inputs` is what `chosen` takes."""

    file: gr.File
    microphone: gr.Audio
    link: gr.Textbox
    examples: dict[str, gr.Button]

    @property
    def inputs(self) -> list[gr.components.Component]:
        """File, microphone, link."""
        return [self.file, self.microphone, self.link]


def source_panel() -> SourcePanel:
    """Draw the panel. A new choice clears the other two, so that there is never a doubt what is meant."""
    with gr.Tabs():
        with gr.Tab("File"):
            file = gr.File(label="Audio, video, MIDI, song.json", file_types=_FILE_TYPES, height=150, elem_id="rs-file")
        with gr.Tab("Microphone"):
            microphone = gr.Audio(sources=["microphone"], type="filepath", show_label=False, elem_id="rs-microphone")
        with gr.Tab("Link"):
            link = gr.Textbox(show_label=False, placeholder="https://youtu.be/ ...", elem_id="rs-link",
                              info="A YouTube video. Transcribe only what you may.")
    for listener, js, others in (
        (file.upload, "() => [null, '']", [microphone, link]),
        (microphone.stop_recording, "() => [null, '']", [file, link]),
        (link.input, "() => [null, null]", [file, microphone]),
    ):
        listener(None, None, others, js=js, api_visibility="private", show_progress="hidden")
    with gr.Column(scale=0, elem_id="rs-examples"):
        gr.HTML('<div class="rs-heading">Or try an example</div>', apply_default_css=False, elem_classes=["rs-bare"])
        examples = {
            name: gr.Button(f"{example.title} · {example.description}", size="sm") for name, example in EXAMPLES.items()
        }
    return SourcePanel(file, microphone, link, examples)


def chosen(file: str | None, microphone: str | None, link: str) -> tuple[Path | str, str] | None:
    """The source and its title ("" = ask the source), or None if nothing was chosen."""
    if file:
        return Path(file), clean_title(Path(file).stem)
    if microphone:
        return Path(microphone), f"Recorded on {datetime.now():%d %B %Y at %H:%M}"
    if link and link.strip():
        return link.strip(), ""
    return None


def nothing_chosen() -> InputError:
    """What to say when the button is pressed too early."""
    return InputError("There is nothing to transcribe yet.", "Choose a file, record something, or try an example.")

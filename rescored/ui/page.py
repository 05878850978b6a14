"""The page: its panels in their places, and handlers that only translate between them and `service.jobs`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import gradio as gr

from .. import examples
from ..errors import InputError, RescoredError
from ..output.files import load
from ..pipeline import saved_settings
from ..service.changes import in_force
from ..service.jobs import EXAMPLES_OWNER, BaseJobs
from ..service.owners import Owners
from ..settings import READABILITY, Settings
from .api import add_api, address_of
from .before import expect, look_at, passage_of, quick_title
from .controls import controls
from .panel import panel
from .source import chosen, nothing_chosen, source_panel
from .tuning import FIRST_PRESET, for_another, preset_choice, preset_of, settings_of, tuning_panel, values_of

LANDING = "ode"
CACHE_S = (3600, 24 * 3600)  # look for uploads every hour, and drop those of yesterday
# Only hides from a glance what the browser keeps; fixed, or a restart of the server would forget its users.
BROWSER_SECRET = "rescored"


def build(jobs: BaseJobs, owners: Owners, *, slots: int) -> gr.Blocks:
    """The whole page over these jobs; `slots`: how many transcriptions the public API runs at once."""
    with gr.Blocks(title="rescored", fill_width=True, delete_cache=CACHE_S) as page:
        browser = gr.BrowserState({"job": ""}, storage_key="rescored", secret=BROWSER_SECRET)
        with gr.Row(elem_id="rs-frame"):
            with gr.Column(scale=0, min_width=332, elem_id="rs-setup"):
                panel("brand")
                source = source_panel()
                preset = preset_choice()
                before = panel("before", events=("passage_chosen", "quick_look"))
                button = gr.Button("Transcribe", variant="primary", size="lg", elem_id="rs-transcribe")
                tuning = tuning_panel(preset)
                if owners.signs_in:
                    gr.LoginButton(size="sm", elem_id="rs-sign-in")
                recents = panel("recents", events=("open_job", "delete_job"))
            with gr.Column(scale=1, min_width=300, elem_id="rs-bench"):
                progress = panel("progress", events=("cancel_job", "job_failed"))
                for name in ("summary", "waveform", "mixer", "roll", "score", "downloads", "transport"):
                    panel(name)
            with gr.Column(scale=0, min_width=0, elem_id="rs-side"):
                workshop = panel("workshop", value={"controls": controls(), "readability": READABILITY},
                                 events=("copy_job", "settings_changed"))
        shown = [browser, progress, recents]
        opened = [*shown, preset, *tuning.all]
        nothing = [None, None, ""]  # for `source.inputs`, when what was chosen there is not what is shown

        def owner_of(request: gr.Request) -> str:
            return owners.of(request.headers, request.cookies)

        def show(request: gr.Request, job: str, *, new: bool = False) -> list[Any]:
            """Make a job the page's own; its values are those of `shown`. `new`: it was asked for just now."""
            order = jobs.history.order(job)
            example = order is not None and order.owner == EXAMPLES_OWNER
            recent = [
                {"job": order.job, "title": snapshot.title or order.source, "asked_at": order.asked_at,
                 "state": snapshot.state}
                for order, snapshot in jobs.history.of_owner(owner_of(request))]
            return [{"job": job}, {"job": job, "example": example, "new": new},
                    {"keep_days": jobs.keep_days, "jobs": recent}]

        def open_job(request: gr.Request, job: str) -> list[Any]:
            """... and bring back the settings it was made with; its values are those of `opened`."""
            settings = written_with(job) or Settings.preset(FIRST_PRESET).as_dict()
            return [*show(request, job), preset_of(settings), *values_of(settings)]

        def written_with(job: str) -> dict[str, Any]:
            """The settings that a job's score was written with; none if there is no such job."""
            order = jobs.history.order(job)
            return in_force(jobs.bucket, order) if order else {}

        def job_of(request: gr.Request, event: gr.EventData) -> str:
            """The job that an event is about, if who asks may see it."""
            return jobs.seen_by(owner_of(request), str(event._data["job"])).job

        def own_job_of(request: gr.Request, event: gr.EventData) -> str:
            """The same, if it is theirs to stop or delete."""
            return jobs.owned_by(owner_of(request), str(event._data["job"])).job

        def on_load(browser: dict[str, str], request: gr.Request) -> list[Any]:
            with suppress(InputError):
                return open_job(request, jobs.seen_by(owner_of(request), str(browser.get("job"))).job)
            # A newcomer may have begun to choose already: only the views are filled, and nothing is theirs yet.
            _, *views = show(request, landing(jobs))
            return [{"job": ""}, *views, *(gr.skip() for _ in [preset, *tuning.all])]

        def on_transcribe(
            browser: dict[str, str], request: gr.Request, look: dict[str, Any], file: str, microphone: str, link: str,
            *values: Any,
        ) -> list[Any]:
            changed: list[Any] = [gr.skip() for _ in (preset, *tuning.all)]
            with spoken():
                wanted = settings_of(values)
                choice = chosen(file, microphone, link)
                if choice:
                    source, title = choice
                    if isinstance(source, Path) and source.suffix.lower() == ".json":
                        saved = load(source)
                        wanted, title = saved_settings(saved).as_dict(), saved.source.title
                        changed = [preset_of(wanted), *values_of(wanted)]
                    else:
                        wanted = for_another(wanted, written_with(browser["job"]))
                        changed = [gr.skip(), *values_of(wanted)]
                    job = jobs.submit(source, {**wanted, **passage_of(look)}, title=title, owner=owner_of(request),
                                      address=address_of(request))
                elif browser["job"]:
                    heard = jobs.seen_by(owner_of(request), browser["job"])
                    job = jobs.again(heard.job, wanted, owner=owner_of(request), address=address_of(request))
                else:
                    raise nothing_chosen()
            return [*show(request, job, new=True), *changed]

        def on_quick_look(
            browser: dict[str, str], request: gr.Request, event: gr.EventData, file: str, microphone: str, link: str,
            *values: Any,
        ) -> list[Any]:
            with spoken():
                choice = chosen(file, microphone, link)
                if not choice:
                    raise nothing_chosen()
                passage = {"audio.start_s": event._data["start_s"], "audio.end_s": event._data["end_s"]}
                told = for_another(settings_of(values), written_with(browser["job"]))
                wanted = Settings().changed({**told, **passage})
                title = quick_title(choice[1], wanted.audio.start_s, wanted.audio.end_s)
                job = jobs.submit(choice[0], wanted.as_dict(), title=title, owner=owner_of(request),
                                  address=address_of(request))
            return show(request, job, new=True)

        def on_choice(file: str, microphone: str, *values: Any) -> Iterator[dict[str, Any]]:
            with spoken():
                yield from look_at(jobs, file or microphone, Settings().changed(settings_of(values)))

        def on_preset(look: dict[str, Any], name: str) -> Any:
            kind = look.get("kind")
            return {**look, **expect(jobs, kind, Settings.preset(name))} if kind else gr.skip()

        def on_passage(event: gr.EventData) -> list[Any]:
            return [event._data["start_s"], event._data["end_s"]]

        def on_typed_passage(look: dict[str, Any], start_s: float, end_s: float) -> Any:
            length_s = look.get("duration_s")
            passage = [start_s, min(end_s or length_s, length_s)] if length_s else None
            return {**look, "passage": passage, "typed": passage} if length_s else gr.skip()

        def on_open(request: gr.Request, event: gr.EventData) -> list[Any]:
            with spoken():
                return [*open_job(request, job_of(request, event)), *nothing]

        def on_delete(browser: dict[str, str], request: gr.Request, event: gr.EventData) -> list[Any]:
            with spoken():
                jobs.delete(job := own_job_of(request, event))
            return show(request, "" if browser["job"] == job else browser["job"])

        def on_copy(request: gr.Request, event: gr.EventData) -> list[Any]:
            with spoken():
                order = jobs.order(job_of(request, event))
                job = jobs.again(order.job, order.settings, owner=owner_of(request), address=address_of(request))
            return show(request, job, new=True)

        def on_settings(request: gr.Request, event: gr.EventData) -> list[Any]:
            with spoken():
                return values_of(in_force(jobs.bucket, jobs.order(job_of(request, event))))

        def on_cancel(request: gr.Request, event: gr.EventData) -> None:
            with spoken():
                jobs.cancel(own_job_of(request, event))

        def on_failed(request: gr.Request, event: gr.EventData) -> None:
            with spoken():
                jobs.result(job_of(request, event))

        private: Any = {"api_visibility": "private", "show_progress": "hidden"}
        page.load(on_load, browser, opened, **private)
        button.click(on_transcribe, [browser, before, *source.inputs, *tuning.all], opened, **private)
        before.quick_look(on_quick_look, [browser, *source.inputs, *tuning.all], shown, **private)
        gr.on([source.file.change, source.microphone.change], on_choice, [source.file, source.microphone, *tuning.all],
              before, trigger_mode="always_last", **private)
        preset.input(on_preset, [before, preset], before, **private)
        passage = [tuning.controls["audio.start_s"], tuning.controls["audio.end_s"]]
        before.passage_chosen(on_passage, None, passage, **private)
        gr.on([control.input for control in passage], on_typed_passage, [before, *passage], before, **private)
        recents.open_job(on_open, None, [*opened, *source.inputs], **private)
        recents.delete_job(on_delete, browser, shown, **private)
        progress.cancel_job(on_cancel, None, None, **private)
        progress.job_failed(on_failed, None, None, **private)
        workshop.copy_job(on_copy, None, shown, **private)
        workshop.settings_changed(on_settings, None, tuning.all, trigger_mode="always_last", **private)
        for name, example_button in source.examples.items():

            def on_example(request: gr.Request, name: str = name) -> list[Any]:
                with spoken():
                    return [*open_job(request, example_job(jobs, name)), *nothing]

            example_button.click(on_example, None, [*opened, *source.inputs], **private)
        add_api(jobs, owners, slots=slots)
    return page


def landing(jobs: BaseJobs) -> str:
    """The example that a first visitor finds transcribed, or just being transcribed; "" while there is none."""
    title = examples.EXAMPLES[LANDING].title
    return next((order.job for order, snapshot in jobs.history.of_owner(EXAMPLES_OWNER)
                 if order.title == title and snapshot.state not in ("failed", "cancelled")), "")


def example_job(jobs: BaseJobs, name: str) -> str:
    """The transcription of a shipped example: the one there is, or a new one."""
    example = examples.EXAMPLES[name]
    wanted = Settings.preset(example.preset).as_dict()
    for order, snapshot in jobs.history.of_owner(EXAMPLES_OWNER):
        if order.title == example.title and order.settings == wanted and snapshot.state not in ("failed", "cancelled"):
            return order.job
    return jobs.submit(examples.path(name), wanted, title=example.title, owner=EXAMPLES_OWNER, ask="example")


@contextmanager
def spoken() -> Iterator[None]:
    """Errors that the user can act on reach the page in their own words."""
    try:
        yield
    except RescoredError as error:
        raise gr.Error(str(error), print_exception=False) from error

"""The documentation: its table is that of the settings, and its examples run."""

import re
from pathlib import Path

import pytest

from rescored import Settings, examples, plugins, settings
from rescored.cli import main
from rescored.hearing.sources import open_source
from rescored.pipeline import hear
from rescored.settings import NoteSettings, SeparateSettings
from rescored.stage import Runner

DOCS = Path(__file__).parents[1] / "docs"


def test_the_table_of_settings_is_that_of_the_tree(capsys):
    assert main(["settings", "--markdown"]) == 0
    assert capsys.readouterr().out == (DOCS / "settings.md").read_text(encoding="utf-8"), \
        "stale: rescored settings --markdown > docs/settings.md"


def test_what_the_documentation_points_to_is_there():
    for page in DOCS.glob("*.md"):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (DOCS / link).exists(), f"{page.name}: {link}"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The worked examples of adding.md as files, loaded as a user has them loaded; forgotten afterwards."""
    text = (DOCS / "adding.md").read_text(encoding="utf-8")
    names, blocks = re.findall(r"`(\w+)\.py`:", text), re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(names) == len(blocks) == 2
    files = [tmp_path / f"{name}.py" for name in names]
    for file, block in zip(files, blocks, strict=True):
        file.write_text(block)
    monkeypatch.setenv("RESCORED_PLUGINS", ":".join(map(str, files)))
    monkeypatch.setattr(plugins, "transcribers", {})
    monkeypatch.setattr(plugins, "separators", {})
    items = {(kind, name): kind.__dataclass_fields__[name]
             for kind, name in ((NoteSettings, "transcriber"), (SeparateSettings, "model"))}
    before = {key: item.metadata for key, item in items.items()}
    plugins.load()
    plugins.load()  # once is enough: nothing is run or offered twice
    yield
    for key, item in items.items():
        item.metadata = before[key]


def test_a_transcriber_and_a_separator_of_ones_own_take_one_file(own, monkeypatch):
    import rescored.hearing.separate
    import rescored.hearing.transcribe

    monkeypatch.setattr(rescored.hearing.transcribe, "transcribers", plugins.transcribers)
    monkeypatch.setattr(rescored.hearing.separate, "separators", plugins.separators)
    wanted = Settings.preset("melody").changed({"notes.transcriber": "whistle", "separate.model": "centre"})
    recording = open_source(examples.path("ode"), max_minutes=1)
    performance, stems, heard_by = hear(recording, wanted.changed({"notes.instruments": "band"}), Runner())
    assert stems.separator == "centre" and set(stems.audio) == {"vocals", "other"}
    assert heard_by == ("whistle",)
    true = [n.pitch % 12 for n in examples.performance("ode").notes]
    assert {n.pitch % 12 for n in performance.notes if n.part == "vocals"} == set(true)
    takes = settings.describe_range(SeparateSettings.__dataclass_fields__["model"])
    assert takes.count("centre") == 1


def test_a_plugin_that_is_not_there_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("RESCORED_PLUGINS", str(tmp_path / "missing.py"))
    assert main(["settings"]) == 2
    assert "missing.py" in capsys.readouterr().err

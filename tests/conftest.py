"""What all tests share: a store of their own, one server of the page, one browser, MusicXML's schema."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

# One thread a process: `make test` runs a process for each core, and threads beyond that wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from served import CHROMIUM, FLAGS, Server


@pytest.fixture(scope="session", autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the user has in store neither helps a test nor is touched by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESCORED_STORE", str(tmp_path_factory.mktemp("store")))
        yield


@pytest.fixture
def use_weights(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Has a module with a small network read another file of weights, while the test lasts."""
    used = []

    def use(module: Any, path: Path, name: str = "WEIGHTS") -> None:
        monkeypatch.setattr(module, name, path)
        module._weights.cache_clear()
        used.append(module)

    yield use
    for module in used:
        module._weights.cache_clear()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The workbench with a small separator and a store that is thrown away."""
    from test_separate import save_models

    folder = tmp_path_factory.mktemp("page")
    server = Server(folder, RESCORED_MODELS=str(save_models(folder / "models")))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("no Chromium")
    sync_api.expect.set_options(timeout=60_000)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def musicxml_4() -> Any:
    """The MusicXML 4.0 schema, inside the `musicxml` package; xlink and xml are inside `xmlschema`."""
    from lxml import etree

    schemas = Path(find_spec("xmlschema").origin).parent / "schemas"
    local = {"xml.xsd": schemas / "XML/xml.xsd", "xlink.xsd": schemas / "XLINK/xlink.xsd"}

    class Offline(etree.Resolver):
        def resolve(self, url: str, public_id: str, context: Any) -> Any:
            path = local.get(url.rsplit("/", 1)[-1])
            return self.resolve_filename(str(path), context) if path else None

    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(Offline())
    schema = Path(find_spec("musicxml").origin).parent / "generate_classes" / "musicxml_4_0.xsd"
    return etree.XMLSchema(etree.parse(str(schema), parser))

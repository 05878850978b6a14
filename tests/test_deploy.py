"""What puts rescored on other machines: valid, in step with the program, and run as far as it can be here."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import media
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from rescored.cli import _parser, main
from rescored.errors import LinkError, RescoredError
from rescored.service import celery_app, space, telemetry
from rescored.service.remote import answer, transcribe_file
from rescored.service.work import QUEUES

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
MADE = {"song.musicxml", "song.mxl", "song.mid", "song.score.mid", "song.pdf", "song.json"}


def program(name: str) -> str:
    """A program of the system or of this environment; the test is skipped where it is not."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if not found:
        pytest.skip(f"no {name}")
    return found


def checked(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def load(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """A file of deploy/ as a module, with a store of its own."""
    monkeypatch.setenv("RESCORED_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("RESCORED_IDLE_S", "900")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def manifests() -> list[dict[str, Any]]:
    return [each for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
            for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


# ---------------------------------------------------------------- validators


def test_compose_is_valid_with_and_without_a_gpu():
    compose = program("docker-compose")
    checked(compose, "--file", "compose.yaml", "config", "--quiet")
    checked(compose, "--file", "compose.yaml", "--profile", "gpu", "config", "--quiet")


def test_images_are_built_as_hadolint_advises():
    checked(program("hadolint"), "Dockerfile", "deploy/Dockerfile.runpod")


def test_scripts_are_sound():
    checked(program("shellcheck"), *map(str, sorted(DEPLOY.rglob("*.sh"))))


def test_alerts_fire_at_their_thresholds_and_not_below():
    promtool = program("promtool")
    checked(promtool, "check", "config", "deploy/prometheus/prometheus.yml")
    checked(promtool, "test", "rules", "tests/alerts_test.yml")


def test_kubernetes_manifests_fit_its_schemas():
    validate = pytest.importorskip("kubernetes_validate").validate
    others = ("keda.sh", "kustomize.config.k8s.io")
    native = [each for each in manifests() if each["apiVersion"].split("/")[0] not in others]
    assert {each["kind"] for each in native} >= {"Deployment", "StatefulSet", "Service", "ConfigMap", "Ingress"}
    for each in native:
        validate(each, "1.31", strict=True)


# ---------------------------------------------------------------- in step with the program


def test_what_scales_and_alerts_asks_for_figures_that_there_are():
    text = telemetry.exposition().decode()
    known = {family.name for family in text_string_to_metric_families(text)}
    known |= {"rescored_queue_jobs", "rescored_queue_demand"}  # of a page's
    known |= {"rescored_gpu_use_ratio"}  # shown where there is a GPU
    asked = (DEPLOY / "prometheus" / "alerts.yml").read_text() + (DEPLOY / "kubernetes" / "keda.yaml").read_text()
    for name in set(re.findall(r"\brescored_\w+", asked)):
        assert re.sub(r"_(total|count|bucket|sum)$", "", name) in known, name


def test_keda_scales_each_deployment_by_the_jobs_for_its_queue():
    deployments = {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in manifests()
                   if each["kind"] == "Deployment"}
    scaled = [each["spec"] for each in manifests() if each["kind"] == "ScaledObject"]
    assert {spec["scaleTargetRef"]["name"] for spec in scaled} == {"worker-cpu", "worker-gpu"} <= deployments.keys()
    for spec in scaled:
        assert 0 <= spec["minReplicaCount"] < spec["maxReplicaCount"]
        pod = deployments[spec["scaleTargetRef"]["name"]]
        worker = _parser().parse_args(pod["containers"][0]["args"][1:])
        [trigger] = spec["triggers"]
        assert re.findall(r'rescored_queue_demand{queue="(\w+)"}', trigger["metadata"]["query"]) == [worker.queues]
        assert int(trigger["metadata"]["threshold"]) >= worker.concurrency, "else some of what it can hold stays empty"
        assert pod["terminationGracePeriodSeconds"] > celery_app.TASK_LIMIT_S, "what it does is done to its end"


def test_every_manifest_is_applied_and_selects_its_own_pods():
    [kustomization] = [each for each in manifests() if each["kind"] == "Kustomization"]
    there = {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == there
    for each in manifests():
        if each["kind"] in ("Deployment", "StatefulSet"):
            labels = each["spec"]["template"]["metadata"]["labels"]
            assert each["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_variables_of_the_deployments_are_ones_that_the_program_reads():
    read = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rescored").rglob("*.py"))
    for path in (ROOT / "compose.yaml", *DEPLOY.rglob("*.yaml"), ROOT / "Dockerfile"):
        for name in set(re.findall(r"\bRESCORED_[A-Z_]+", path.read_text(encoding="utf-8"))):
            known = name in read or name.removeprefix("RESCORED_") in read
            assert known or name in ("RESCORED_BIND", "RESCORED_QUEUES"), f"{path.name}: {name}"


def test_commands_of_the_deployments_are_ones_that_there_are():
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    commands = [service.get("command") for service in compose["services"].values()]
    commands += [container.get("args") for each in manifests() if each["kind"] == "Deployment"
                 for container in each["spec"]["template"]["spec"]["containers"]]
    ours = [command for command in commands if command and command[0] == "rescored"]
    assert len(ours) == 4
    for command in ours:
        options = _parser().parse_args([re.sub(r"\$\{\w+:-(.*)\}", r"\1", word) for word in command[1:]])
        assert set(options.queues.split(",")) <= set(QUEUES)


# ---------------------------------------------------------------- Hugging Face


class Hub:
    """Takes down what a push asks of the Hub."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> str:
            self.asked.setdefault(name, []).append((args, kwargs))
            return "https://huggingface.co/spaces/me/scores"

        return call


def test_a_dry_run_shows_the_plan_and_sends_nothing(monkeypatch, capsys):
    def no_network(*_: Any) -> None:
        pytest.fail("a dry run asked the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setenv("SENTRY_DSN", "https://hush@example.org/1")
    arguments = ["space", "push", "me/scores", "--dry-run", "--folder", str(ROOT), "--secret", "SENTRY_DSN"]
    assert main([*arguments, "--variable", "RESCORED_MAX_MINUTES=10"]) == 0
    plan = capsys.readouterr().out
    assert "me/scores (public, Docker)" in plan and "t4-small" in plan and "RESCORED_MAX_MINUTES=10" in plan
    assert "SENTRY_DSN" in plan and "hush" not in plan
    assert "rescored/pipeline.py" in plan and "Dockerfile" in plan


def test_only_what_the_image_needs_is_uploaded(tmp_path):
    files = set(space.plan("me/scores", ROOT).files)
    assert {"Dockerfile", "README.md", "app.py", "requirements.txt", "requirements-nodeps.txt", "pyproject.toml",
            "LICENSE", "rescored/ui/static/score.js"} <= files
    assert any(name.endswith(".npz") for name in files)
    unwanted = ("tests/", "tools/", "notebooks/", ".git", ".venv", "deploy/")
    assert not [name for name in files if name.startswith(unwanted) or "__pycache__" in name]
    copied = re.findall(r"^COPY --chown=1000 ((?:[\w.-]+\s+)+)\./$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert copied and set(" ".join(copied).split()) <= files


def test_a_push_creates_sets_and_uploads(monkeypatch):
    monkeypatch.setenv("MY_KEY", "hush")
    hub = Hub()
    plan = space.plan("me/scores", ROOT, hardware="l4x1", sleep_s=600, private=True, secrets=["MY_KEY"])
    assert space.push(plan, hub) == "https://huggingface.co/spaces/me/scores"
    [(args, created)] = hub.asked["create_repo"]
    assert args == ("me/scores",) and created["space_sdk"] == "docker" and created["exist_ok"] and created["private"]
    [(_, uploaded)] = hub.asked["upload_folder"]
    assert set(uploaded["allow_patterns"]) == set(plan.files)
    assert hub.asked["add_space_secret"] == [(("me/scores", "MY_KEY", "hush"), {})]
    assert hub.asked["request_space_hardware"] == [(("me/scores", "l4x1"), {"sleep_time": 600})]


@pytest.mark.parametrize(("arguments", "problem"), [
    (["scores"], "no name of a Space"), (["me/scores", "--hardware", "cray-1"], "no hardware"),
    (["me/scores", "--secret", "NOT_THERE"], "NOT_THERE"), (["me/scores", "--variable", "X"], "no value"),
    (["me/scores", "--folder", "/tmp"], "no checkout")])
def test_what_cannot_be_pushed_is_said_first(arguments, problem, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(["space", "push", *arguments, "--dry-run"]) == 2
    assert problem in capsys.readouterr().err


def test_a_refusal_of_the_hub_has_a_remedy():
    import httpx
    from huggingface_hub.errors import HfHubHTTPError

    class Refusing(Hub):
        def create_repo(self, *_: Any, **__: Any) -> str:
            answer = httpx.Response(401, request=httpx.Request("POST", "https://huggingface.co/api/repos/create"))
            raise HfHubHTTPError("no", response=answer)

    with pytest.raises(RescoredError, match="hf auth login"):
        space.push(space.plan("me/scores", ROOT), Refusing())


# ---------------------------------------------------------------- rented machines


def test_a_request_becomes_files_and_bad_ones_become_words(tmp_path):
    told: list[str] = []
    request = {"file": base64.b64encode(media.scale()).decode(), "name": "My Song.mid",
               "settings": {"metre.time_signature": "3/4"}}
    files = answer(request, report=told.append)["files"]
    assert set(files) == MADE and "Writing the score" in told
    song = json.loads(base64.b64decode(files["song.json"]))
    assert song["source"]["title"] == "My Song" and song["time_signatures"][0]["numerator"] == 3
    hello = {"file": "aGVsbG8="}
    for bad in ({}, {"file": "?"}, hello, {"link": "https://example.org/x"}, {**hello, "settings": 7},
                {**hello, "preset": "polka"}):
        error = answer(bad)["error"]
        assert error["problem"] and error["remedy"]


def test_a_link_never_names_a_file_of_the_machine(tmp_path):
    (song := tmp_path / "song.mid").write_bytes(media.scale())
    for name in (str(song), "../song.mid"):
        with pytest.raises(LinkError):
            transcribe_file(b"", link=name)


def test_runpod_s_handler_answers_tells_and_tries_again(monkeypatch, tmp_path):
    handler = load(DEPLOY / "runpod_handler.py", monkeypatch, tmp_path)
    told: list[str] = []
    client = ModuleType("runpod")
    client.serverless = SimpleNamespace(progress_update=lambda job, text: told.append(text))
    monkeypatch.setitem(sys.modules, "runpod", client)
    monkeypatch.setattr(handler.time, "sleep", lambda _: None)
    job = {"id": "1", "input": {"file": base64.b64encode(media.scale()).decode()}}
    assert set(handler.handler(job)["files"]) == MADE and "Reading the performance" in told

    tries: list[int] = []

    def flaky(*_: Any, **__: Any) -> dict[str, Any]:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError
        return {"files": {}}

    monkeypatch.setattr(handler, "answer", flaky)
    assert handler.handler(job) == {"files": {}} and len(tries) == 3

    def broken(*_: Any, **__: Any) -> None:
        tries.append(1)
        raise ZeroDivisionError

    tries.clear()
    monkeypatch.setattr(handler, "answer", broken)
    with pytest.raises(ZeroDivisionError):
        handler.handler(job)
    assert len(tries) == 1


def test_modal_s_functions_run_here(monkeypatch, tmp_path):
    pytest.importorskip("modal")
    app = load(DEPLOY / "modal_app.py", monkeypatch, tmp_path)
    assert set(app.transcribe.local(media.scale(), name="song.mid")) == MADE
    assert list(app.transcribe.local(b"hello")) == ["error.txt"]
    assert app.health.local()["device"] in ("cpu", "cuda", "mps")

"""`rescored space push`: this checkout as a Hugging Face Docker Space on a GPU, created or brought up to date."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ..errors import RescoredError, SettingsError

NEEDED = ("README.md", "Dockerfile", "pyproject.toml", "requirements.txt", "app.py", "rescored/pipeline.py")
UPLOADED = ("README.md", "LICENSE", "Dockerfile", ".dockerignore", "app.py", "pyproject.toml", "requirements*.txt",
            "docs/*.png", "rescored/*")
LEFT_OUT = ("*/__pycache__/*", "*.pyc", "*.part", "*/.*")
VARIABLES = {"FORWARDED_ALLOW_IPS": "*"}  # a Space is only reached through its own proxy: users by address
SLEEP_S = 1800


@dataclass(frozen=True)
class Plan:
    """What a push will do."""

    space: str
    hardware: str
    sleep_s: int
    private: bool
    variables: Mapping[str, str]
    secrets: Mapping[str, str]  # values never leave this object but to the Hub
    folder: Path
    files: tuple[str, ...]

    def __str__(self) -> str:
        sizes = [(self.folder / name).stat().st_size for name in self.files]
        lines = [
            f"Space      {self.space} ({'private' if self.private else 'public'}, Docker)",
            f"Hardware   {self.hardware}" + (f", asleep after {self.sleep_s} s" if self.sleep_s else ""),
            *(f"Variable   {name}={value}" for name, value in self.variables.items()),
            *(f"Secret     {name} (from this environment)" for name in self.secrets),
            f"Files      {len(self.files)}, {sum(sizes) / 1e6:.1f} MB; any other file of the Space is removed"]
        return "\n".join([*lines, *(f"  {size:>9} {name}" for size, name in zip(sizes, self.files, strict=True))])


def plan(space: str, folder: Path, *, hardware: str = "", sleep_s: int = SLEEP_S, private: bool = False,
         variables: Sequence[str] = (), secrets: Sequence[str] = ()) -> Plan:
    """What a push of the checkout in `folder` will do; asks nobody.

    `variables` are NAME=VALUE; `secrets` are names whose values this process's environment has. Raises
    SettingsError for what cannot be done.
    """
    from huggingface_hub import SpaceHardware

    if not re.fullmatch(r"[\w.-]{1,96}/[\w.-]{1,96}", space):
        raise SettingsError(f"{space!r} is no name of a Space.", "Write it as OWNER/NAME.")
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise SettingsError(f"{folder} is no checkout of rescored: {missing[0]} is missing.",
                            "Run this in the folder of a checkout, or name it with --folder.")
    hardware = hardware or suggested_hardware(folder)
    known = [item.value for item in SpaceHardware]
    if hardware not in known:
        raise SettingsError(f"There is no hardware {hardware!r}.", "Choose " + ", ".join(known) + ".")
    absent = [name for name in secrets if not os.environ.get(name)]
    if absent:
        raise SettingsError(f"The secret {absent[0]} is not in the environment.", f"Set {absent[0]} and try again.")
    pairs = [text.partition("=") for text in variables]
    if bad := [name for name, equals, _ in pairs if not equals]:
        raise SettingsError(f"The variable {bad[0]} has no value.", "Write it as NAME=VALUE.")
    files = sorted(
        name for path in folder.rglob("*") if path.is_file()
        for name in [path.relative_to(folder).as_posix()]
        if any(fnmatch(name, pattern) for pattern in UPLOADED) and not any(fnmatch(name, out) for out in LEFT_OUT))
    return Plan(space, hardware, 0 if hardware == "cpu-basic" else sleep_s, private,
                VARIABLES | {name: value for name, _, value in pairs},
                {name: os.environ[name] for name in secrets}, folder, tuple(files))


def push(plan: Plan, api: Any = None) -> str:
    """Carry a plan out; the Space's address. Raises RescoredError where the Hub refuses or cannot be reached.

    `api`: a `huggingface_hub.HfApi`; by default one with the token of `HF_TOKEN` or `hf auth login`.
    """
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = api or HfApi()
    try:
        url = api.create_repo(plan.space, repo_type="space", space_sdk="docker", private=plan.private, exist_ok=True)
        for name, value in plan.variables.items():
            api.add_space_variable(plan.space, name, value)
        for name, value in plan.secrets.items():
            api.add_space_secret(plan.space, name, value)
        api.upload_folder(
            repo_id=plan.space, repo_type="space", folder_path=plan.folder, allow_patterns=list(plan.files),
            delete_patterns="*", commit_message="rescored space push")
        if plan.sleep_s:
            api.request_space_hardware(plan.space, plan.hardware, sleep_time=plan.sleep_s)
        else:
            api.request_space_hardware(plan.space, plan.hardware)
    except HfHubHTTPError as error:
        status = error.response.status_code
        remedy = {401: "Log in with `hf auth login`, or set HF_TOKEN to a token that may write.",
                  402: "This hardware is paid for: add a way to pay to the account, or choose cpu-basic.",
                  403: "Use a token that may write to this owner's Spaces."}.get(status, "Try again later.")
        raise RescoredError(f"Hugging Face refuses it (HTTP {status}).", remedy) from error
    except (httpx.HTTPError, OSError) as error:
        raise RescoredError("Hugging Face cannot be reached.", "Check the network and try again.") from error
    return str(url)


def suggested_hardware(folder: Path) -> str:
    """What README.md's front matter suggests."""
    found = re.search(r"^suggested_hardware:\s*(\S+)", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else "cpu-basic"

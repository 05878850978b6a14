"""The sound of a YouTube video, by yt-dlp, which is never shown anything but a video's id.

yt-dlp's generic extractor would fetch any address, also one inside a private network: so the link is
taken apart here, only its host and the id of a video are believed, and yt-dlp gets a link made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..bucket import default_folder
from ..errors import LinkError
from ..stage import Report, silent

HOSTS = frozenset({
    "youtube.com", "www.youtube.com", "m.youtube.com", "music.youtube.com", "youtu.be",
    "youtube-nocookie.com", "www.youtube-nocookie.com",
})
MAX_MB = 500  # of one download
KEEP_DAYS, KEEP_GB = 30, 2.0  # of all that was fetched
COOKIES = "RESCORED_COOKIES"  # names a cookies.txt on this machine; cookies never come from a page
_UPLOAD = "Save the sound yourself and give the file instead."
_ID = re.compile(r"[\w-]{11}", re.ASCII)


@dataclass(frozen=True)
class Video:
    """The sound of a video, in a file on this machine."""

    path: Path
    title: str
    url: str


def is_link(text: str) -> bool:
    """Whether this is meant as a link rather than a file: any scheme, or a known host without one."""
    return "://" in text or text.split("/")[0].lower() in HOSTS


def fetch(link: str, *, max_minutes: float, folder: Path | None = None, report: Report = silent) -> Video:
    """The sound of the YouTube video behind a link; raises `LinkError`, each failure in its own words.

    It is kept as `folder/<hash of the video's id>/` (default: `fetched` in the store's folder), so a
    second run costs nothing. There it may be read until it has not been asked for in 30 days, or 2 GB of
    newer ones have come; only `fetch` removes it. A download that fails or is cancelled leaves nothing.
    """
    video_id = video_id_of(link)
    url = f"https://www.youtube.com/watch?v={video_id}"
    folder = folder or default_folder() / "fetched"
    kept = folder / hashlib.sha256(video_id.encode()).hexdigest()[:32]
    if not kept.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        with tempfile.TemporaryDirectory(dir=folder, prefix="part-") as aside:
            title = _download(url, Path(aside), max_minutes, report)
            whole = Path(aside) / "whole"
            (whole / "video.json").write_text(json.dumps({"title": title, "url": url}), encoding="utf-8")
            try:
                whole.rename(kept)
            except OSError:
                if not kept.is_dir():  # else another process was faster, which is as good
                    raise
    os.utime(kept)
    (path,) = kept.glob("sound.*")
    return Video(path, json.loads((kept / "video.json").read_text(encoding="utf-8"))["title"], url)


def video_id_of(link: str) -> str:
    """The id of the video that a link is for; raises `LinkError` if it is for anything else."""
    try:
        parts = urlsplit(link if "://" in link else f"https://{link}")
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise LinkError("This link cannot be read.", "Copy it again from the browser's address bar.") from error
    if parts.scheme.lower() not in {"http", "https"} or host not in HOSTS or port not in {None, 80, 443}:
        shown = host[:60] or f"{parts.scheme[:20]} links"
        raise LinkError(f"Nothing is fetched from {shown}.", f"Give a YouTube link. {_UPLOAD}")
    steps = [step for step in parts.path.split("/") if step]
    query = parse_qs(parts.query)
    if host == "youtu.be":
        candidate = steps[0] if steps else ""
    elif steps and steps[0] in {"shorts", "live", "embed", "v"}:
        candidate = steps[1] if len(steps) > 1 else ""
    else:
        candidate = query.get("v", [""])[0]
    if _ID.fullmatch(candidate) and candidate != "videoseries":  # which embeds a playlist
        return candidate
    if "list" in query or "playlist" in steps:
        raise LinkError("This link is a playlist, not one video.", "Open one of its videos and copy that link.")
    raise LinkError("This link does not lead to one video.", "Open the video and copy the link from there.")


def _download(url: str, aside: Path, max_minutes: float, report: Report) -> str:
    """Puts the sound at `aside/whole/sound.<ext>`; the video's title."""
    from yt_dlp import YoutubeDL
    from yt_dlp.utils import YoutubeDLError

    log = _Log()
    options = {
        "allowed_extractors": ["youtube"], "noplaylist": True, "cachedir": False,
        "format": "bestaudio[protocol=https]/best[protocol=https]", "fixup": "never",
        "outtmpl": {"default": "sound.%(ext)s"}, "paths": {"home": str(aside / "whole")},
        "socket_timeout": 8, "retries": 2, "extractor_retries": 1, "fragment_retries": 2,
        "max_filesize": MAX_MB * 10**6, "progress_hooks": [_Progress(report)], "js_runtimes": _js_runtimes(),
        "cookiefile": _cookies(aside), "quiet": True, "noprogress": True, "logger": log, "color": "never",
    }
    report(0.0, "asking YouTube")
    try:
        with YoutubeDL(options) as youtube:
            info = youtube.extract_info(url, download=False)
            _check(info, max_minutes)
            youtube.process_ie_result(info, download=True)
    except YoutubeDLError as error:
        raise explain(error, log.warnings) from error
    if not list((aside / "whole").glob("sound.*")):  # yt-dlp only says so when a file is over its limit
        raise _too_large()
    return str(info.get("title") or "YouTube video")


def _check(info: dict[str, Any], max_minutes: float) -> None:
    if info.get("_type", "video") != "video":
        raise LinkError("This link is a playlist, not one video.", "Open one of its videos and copy that link.")
    if info.get("is_live") or info.get("live_status") in {"is_live", "is_upcoming", "post_live"}:
        raise LinkError("This video is a live stream.", "Wait until it has ended and YouTube shows the whole of it.")
    if (info.get("duration") or 0.0) > max_minutes * 60:
        minutes = info["duration"] / 60
        remedy = f"At most {max_minutes:g} minutes are fetched: raise audio.max_minutes, or give a part as a file."
        raise LinkError(f"This video lasts {minutes:.0f} minutes.", remedy)


def _too_large() -> LinkError:
    return LinkError(f"The sound of this video is larger than {MAX_MB} MB.", _UPLOAD)


class _Progress:
    """yt-dlp's hook: tells how far the download is, and stops one that is larger than announced."""

    def __init__(self, report: Report):
        self.report = report

    def __call__(self, state: dict[str, Any]) -> None:
        done = state.get("downloaded_bytes") or 0
        if done > MAX_MB * 10**6:
            raise _too_large()
        total = state.get("total_bytes") or state.get("total_bytes_estimate") or 0
        self.report(min(done / total, 1.0) if total else 0.0, "fetching")


class _Log:
    """Takes what yt-dlp says; only its warnings can explain a later failure."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def debug(self, message: str) -> None:
        """Unheard."""

    def warning(self, message: str) -> None:
        """Kept."""
        self.warnings.append(message)

    def error(self, message: str) -> None:
        """Unheard: it is raised, too."""


_INSTALL_JS = "Install one with `pip install deno`, or install Node.js 22 or later."

# What YouTube or yt-dlp say (lower case), in the order in which it is looked for: problem and remedy.
_REASONS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("not a bot", "captcha"), "YouTube asks this machine to prove that it is not a bot.",
     f"{_UPLOAD} (Or set {COOKIES} to a cookies.txt on this machine.)"),
    (("rate-limited", "try again later", "http error 429", "too many requests"),
     "YouTube refuses further requests from this machine for now.", f"Try again in an hour. {_UPLOAD}"),
    (("private video", "video is private"), "This video is private.", _UPLOAD),
    (("confirm your age", "age-restricted", "inappropriate for some"), "This video is age-restricted.",
     f"{_UPLOAD} (Or set {COOKIES} to a cookies.txt on this machine.)"),
    (("available to this channel's members", "members-only", "join this channel", "requires payment", "purchase"),
     "This video is for paying members only.", _UPLOAD),
    (("in your country", "from your location", "geo restrict", "blocked it in"),
     "This video is blocked in the country where this machine is.", _UPLOAD),
    (("premieres in", "live event will begin", "live stream recording is not available"),
     "This video is a live stream or has not been shown yet.", "Wait until YouTube shows the whole of it."),
    (("drm protected",), "This video is copy-protected.", "Choose another recording."),
    (("has been removed", "been terminated", "no longer available", "account associated", "video unavailable",
      "video is unavailable", "video is not available", "does not exist", "copyright"),
     "This video does not exist, or it was removed.", "Check the link, or choose another video."),
    (("sign in", "log in", "login"), "YouTube shows this video only to users who are signed in.", _UPLOAD),
    (("no suitable extractor", "unsupported url"), "This link does not lead to one video.",
     "Open the video and copy the link from there."),
    (("javascript runtime", "js challenge", "challenge solving failed"),
     "YouTube needs a JavaScript runtime, and none works here.", _INSTALL_JS),
)


def explain(error: Exception, warnings: list[str]) -> LinkError:
    """A failure of yt-dlp, and the warnings that went before it, in the user's words."""
    from yt_dlp.networking.exceptions import TransportError
    from yt_dlp.utils import GeoRestrictedError

    causes = _causes(error)
    said = [str(cause) for cause in causes]
    said += ["in your country" for cause in causes if isinstance(cause, GeoRestrictedError)]
    if known := _reason(said):
        return known
    if any(isinstance(cause, TransportError) for cause in causes):
        return LinkError("YouTube cannot be reached from here.", "Check the network connection, or give a file.")
    unknown = LinkError("YouTube did not give the sound of this video.", f"Try `pip install -U yt-dlp`. {_UPLOAD}")
    return _reason(warnings) or unknown


def _reason(said: list[str]) -> LinkError | None:
    text = " ".join(said).lower()
    found = (LinkError(problem, remedy) for signs, problem, remedy in _REASONS if any(sign in text for sign in signs))
    return next(found, None)


def _causes(error: BaseException) -> list[BaseException]:
    """An error and all that led to it, by Python's links and by yt-dlp's own."""
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        e = waiting.pop()
        if isinstance(e, BaseException) and e not in found:
            found.append(e)
            _, raised, _ = getattr(e, "exc_info", None) or (None, None, None)
            waiting += [e.__cause__, e.__context__, getattr(e, "cause", None), raised]
    return found


def _js_runtimes() -> dict[str, dict[str, str]]:
    """What can run YouTube's player code: Deno from its wheel or the system, or Node."""
    found = {name: path for name in ("deno", "node") if (path := shutil.which(name))}
    try:
        from deno import find_deno_bin

        found["deno"] = str(find_deno_bin())
    except (ImportError, FileNotFoundError):
        pass
    if not found:
        raise LinkError("YouTube needs a JavaScript runtime, and none is here.", _INSTALL_JS)
    return {name: {"path": path} for name, path in found.items()}


def _cookies(aside: Path) -> str | None:
    """A copy of the cookie file that this machine's owner named; yt-dlp writes into the one it gets."""
    named = os.environ.get(COOKIES)
    if not named:
        return None
    try:
        return str(shutil.copyfile(named, aside / "cookies.txt"))
    except OSError as error:
        raise LinkError(f"The file that {COOKIES} names cannot be read.", "Correct or unset it.") from error


def _sweep(folder: Path) -> None:
    """Drop what was not asked for in a long time, then the oldest until the rest fits."""
    entries = []
    for entry in folder.iterdir():
        with suppress(FileNotFoundError):  # another process sweeps, too
            size = sum(file.stat().st_size for file in entry.rglob("*"))
            entries.append((time.time() - entry.stat().st_mtime, size, entry))
    total = sum(size for _, size, _ in entries)
    for age_s, size, entry in sorted(entries, reverse=True):
        in_work = entry.name.startswith("part-")
        if age_s > 3600 if in_work else age_s > KEEP_DAYS * 86400 or total > KEEP_GB * 1e9:
            total -= size
            shutil.rmtree(entry, ignore_errors=True)

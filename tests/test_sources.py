"""Files and links: what is accepted, what it is taken for, and what each refusal says."""

import http.server
import json
import os
import socket
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import yt_dlp
from media import scale, sine, write_wav
from yt_dlp.extractor.youtube import YoutubeIE
from yt_dlp.networking.exceptions import HTTPError, TransportError
from yt_dlp.utils import DownloadError, ExtractorError, GeoRestrictedError

from rescored import InputError, LinkError
from rescored.hearing import links
from rescored.hearing.links import explain, fetch, is_link, video_id_of
from rescored.hearing.sources import clean_title, open_source

ID = "dQw4w9WgXcQ"


# ---------------------------------------------------------------- files


def test_a_recording_is_known_by_its_bytes_not_its_name(tmp_path):
    first = write_wav(tmp_path / "one.wav", sine())
    second = tmp_path / "other name.wav"
    second.write_bytes(first.read_bytes())
    a, b = (open_source(path, max_minutes=1) for path in (first, str(second)))
    assert a.sha256 == b.sha256 and len(a.sha256) == 64
    assert (a.title, b.title) == ("one", "other name")
    assert a.kind == "audio"
    assert open_source(first, max_minutes=1, title="Given").title == "Given"
    assert open_source(write_wav(tmp_path / "c.wav", sine(441)), max_minutes=1).sha256 != a.sha256


def test_midi_is_known_by_its_content(tmp_path):
    (tmp_path / "performance.bin").write_bytes(scale())
    assert open_source(tmp_path / "performance.bin", max_minutes=1).kind == "midi"
    write_wav(tmp_path / "sound.mid", sine())
    with pytest.raises(InputError, match=r"sound\.mid is not a MIDI file"):
        open_source(tmp_path / "sound.mid", max_minutes=1)


@pytest.mark.parametrize(("name", "says"), [
    ("absent.wav", "There is no file"), ("folder", "is a folder"), ("empty.wav", "is empty"),
    ("x" * 300, "cannot be opened"), ("nul\0.wav", "."), ("pipe", "not a regular file"),
    ("huge.wav", "larger than 4 GB"),
])
def test_what_is_no_file_is_refused(tmp_path, name, says):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.wav").touch()
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge.wav").open("wb") as file:
        file.truncate(5 * 2**30)  # sparse: takes no room
    with pytest.raises(InputError, match=says) as caught:
        open_source(f"{tmp_path}/{name}", max_minutes=1)
    assert caught.value.remedy
    assert str(tmp_path) not in str(caught.value), "a path of the server is nobody's business"


def test_titles_are_fit_to_print():
    assert clean_title("my_first__song") == "my first song"
    assert clean_title("a\nb\x00\x1b[31mc") == "a b [31mc"
    assert clean_title("Für Elise 🎹 “live”") == "Für Elise 🎹 “live”"
    assert len(clean_title("x" * 300)) == 120


# ---------------------------------------------------------------- which links


@pytest.mark.parametrize("link", [
    f"https://www.youtube.com/watch?v={ID}", f"http://youtube.com/watch?v={ID}&list=PL123&index=2",
    f"https://youtu.be/{ID}?t=30", f"youtu.be/{ID}", f"HTTPS://M.YouTube.com/watch?app=desktop&v={ID}",
    f"https://music.youtube.com/watch?v={ID}", f"https://www.youtube.com/shorts/{ID}",
    f"https://www.youtube-nocookie.com/embed/{ID}", f"https://www.youtube.com/live/{ID}?feature=share",
])
def test_every_way_to_write_a_video_gives_its_id(link):
    assert is_link(link)
    assert video_id_of(link) == ID


@pytest.mark.parametrize(("link", "says"), [
    ("http://127.0.0.1:8000/x.mp3", "Nothing is fetched from 127.0.0.1"),
    ("http://[::1]/x.mp3", "Nothing is fetched from ::1"),
    ("http://169.254.169.254/latest/meta-data", "Nothing is fetched"),
    ("http://localhost/watch?v=" + ID, "Nothing is fetched from localhost"),
    ("https://10.0.0.1/", "Nothing is fetched"), ("https://vimeo.com/1", "Nothing is fetched from vimeo.com"),
    (f"https://youtube.com.evil.org/watch?v={ID}", "Nothing is fetched"),
    (f"https://youtube.com@evil.org/watch?v={ID}", "Nothing is fetched from evil.org"),
    (f"https://www.youtube.com:8080/watch?v={ID}", "Nothing is fetched"),
    (f"ftp://youtube.com/watch?v={ID}", "Nothing is fetched"), ("file:///etc/passwd", "Nothing is fetched"),
    ("http://[half", "cannot be read"), ("https://youtube.com:port/", "cannot be read"),
    ("https://www.youtube.com/playlist?list=PL123", "is a playlist"),
    ("https://www.youtube.com/embed/videoseries?list=PL123", "is a playlist"),
    ("https://www.youtube.com/@someone", "not lead to one video"), ("https://youtu.be/", "not lead to one video"),
    ("https://www.youtube.com/watch?v=short", "not lead to one video"),
    (f"https://www.youtube.com/redirect?q=http://10.0.0.1/{ID}", "not lead to one video"),
])
def test_other_links_are_refused_before_anything_is_opened(link, says, monkeypatch):
    monkeypatch.setattr(socket, "create_connection", None)
    monkeypatch.setattr(yt_dlp.YoutubeDL, "extract_info", None)
    with pytest.raises(LinkError, match=says) as caught:
        open_source(link, max_minutes=1)
    assert caught.value.remedy


# ---------------------------------------------------------------- what went wrong


def failed(cause):
    """As yt-dlp raises it: the extractor's error inside a DownloadError."""
    try:
        raise cause
    except type(cause) as error:
        return DownloadError(f"ERROR: {error}", (type(error), error, None))


def extractor_error(text):
    return ExtractorError(text, expected=True, video_id=ID, ie="youtube")


# The sentences are YouTube's and yt-dlp's own.
@pytest.mark.parametrize(("cause", "says", "remedy"), [
    (extractor_error("Private video. Sign in if you've been granted access to this video. Use "
                     "--cookies-from-browser or --cookies for the authentication."), "private", "Save the sound"),
    (extractor_error("Video unavailable. This video has been removed by the uploader"), "removed", "Check the link"),
    (extractor_error("Video unavailable. This video is no longer available because the YouTube account associated with "
                     "this video has been terminated."), "removed", "Check the link"),
    (extractor_error("Sign in to confirm your age. This video may be inappropriate for some users. Use "
                     "--cookies-from-browser or --cookies for the authentication."), "age-restricted",
     "RESCORED_COOKIES"),
    (extractor_error("Sign in to confirm you’re not a bot. Use --cookies-from-browser or --cookies for the "
                     "authentication."), "not a bot", "Save the sound"),
    (extractor_error("Sign in to confirm you're not a bot."), "not a bot", "Save the sound"),
    (GeoRestrictedError("The uploader has not made this video available in your country", countries=["DE"]),
     "blocked in the country", "Save the sound"),
    (extractor_error("Video unavailable. This video contains content from ZDF, who has blocked it in your country on "
                     "copyright grounds"), "blocked in the country", "Save the sound"),
    (extractor_error("Join this channel to get access to members-only content like this video, and other exclusive "
                     "perks."), "paying members", "Save the sound"),
    (extractor_error("Premieres in 3 hours"), "live stream", "Wait"),
    (extractor_error("This live event will begin in 2 days."), "live stream", "Wait"),
    (extractor_error("This video is DRM protected"), "copy-protected", "Choose another"),
    (extractor_error("Video unavailable. This content isn't available, try again later. The current session has been "
                     "rate-limited by YouTube for up to an hour."), "refuses further requests", "Try again"),
    (TransportError("Failed to resolve 'www.youtube.com' ([Errno -2] Name or service not known)"),
     "cannot be reached", "network"),
    (ExtractorError("Unable to download API page", cause=TransportError("timed out")), "cannot be reached", "network"),
    (extractor_error("Something that nobody has seen before"), "did not give the sound", "pip install -U yt-dlp"),
])
def test_each_failure_has_its_own_words(cause, says, remedy):
    error = explain(failed(cause), [])
    assert says in error.problem
    assert remedy in error.remedy


def test_a_missing_javascript_runtime_is_named():
    warnings = ["[youtube] No supported JavaScript runtime could be found. Only deno is enabled by default; to use "
                "another runtime add  --js-runtimes RUNTIME[:PATH] to your command/config."]
    error = explain(failed(extractor_error("Requested format is not available.")), warnings)
    assert "JavaScript" in error.problem and "pip install deno" in error.remedy


def test_no_javascript_runtime_at_all(monkeypatch, tmp_path):
    import deno

    def absent():
        raise FileNotFoundError

    monkeypatch.setattr(deno, "find_deno_bin", absent)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LinkError, match="JavaScript runtime"):
        fetch(f"https://youtu.be/{ID}", max_minutes=1, folder=tmp_path)


def test_without_a_network_it_says_so_soon(monkeypatch, tmp_path):
    with socket.socket() as closed:  # a port that nobody listens on: where a network would be
        closed.bind(("127.0.0.1", 0))
        for name in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{closed.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(LinkError, match="cannot be reached") as caught:
            open_source(f"https://youtu.be/{ID}", max_minutes=1, fetched=tmp_path)
    assert "network" in caught.value.remedy
    assert time.monotonic() - began < 30
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- downloads, by yt-dlp's own downloader


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def youtube(monkeypatch, tmp_path):
    """YouTube's answers, made up; the sound comes from a server in this process through the real downloader."""
    site = tmp_path / "site"
    site.mkdir()
    write_wav(site / "sound.wav", sine(seconds=2))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    answer = {"id": ID, "title": "AC/DC: “Live” 🎸", "duration": 2, "live_status": "not_live", "asked": 0}

    def extract(self, url):
        answer["asked"] += 1
        assert url == f"https://www.youtube.com/watch?v={ID}"
        address = f"http://127.0.0.1:{server.server_port}/sound.wav"
        return {"formats": [{"format_id": "a", "url": address, "ext": "wav", "protocol": "https", "vcodec": "none",
                             "acodec": "pcm"}], **answer}

    monkeypatch.setattr(YoutubeIE, "_real_extract", extract)
    yield answer
    server.shutdown()
    server.server_close()


def test_a_video_is_fetched_once_and_kept(youtube, tmp_path):
    folder, heard = tmp_path / "fetched", []
    open_it = partial(open_source, f"https://youtu.be/{ID}", max_minutes=1, fetched=folder,
                      report=lambda fraction, text="": heard.append((fraction, text)))
    first = open_it()
    assert first.title == youtube["title"] and first.kind == "audio"
    assert first.url == f"https://www.youtube.com/watch?v={ID}"
    assert (1.0, "fetching") in heard
    assert open_it() == first and youtube["asked"] == 1
    assert [p.name for p in folder.iterdir()] == [Path(first.path).parent.name]
    assert ID not in first.path and "AC" not in first.path, "the server names its files itself"


@pytest.mark.parametrize(("says", "answer"), [
    ("lasts 90 minutes", {"duration": 5400}), ("live stream", {"live_status": "is_live"}),
    ("live stream", {"live_status": "is_upcoming"}),
    ("playlist", {"_type": "playlist", "entries": [], "formats": None}),
])
def test_too_long_live_and_lists_are_refused_undownloaded(youtube, tmp_path, says, answer):
    youtube.update(answer)
    with pytest.raises(LinkError, match=says):
        fetch(f"https://youtu.be/{ID}", max_minutes=15, folder=tmp_path / "fetched")
    assert not list((tmp_path / "fetched").iterdir())


def test_too_large_a_download_is_refused(youtube, tmp_path, monkeypatch):
    monkeypatch.setattr(links, "MAX_MB", 0.1)
    with pytest.raises(LinkError, match="larger than"):
        fetch(f"https://youtu.be/{ID}", max_minutes=15, folder=tmp_path / "fetched")
    assert not list((tmp_path / "fetched").iterdir())


def test_a_download_of_unknown_size_is_stopped_at_the_limit(youtube, tmp_path, monkeypatch):
    monkeypatch.setattr(links, "MAX_MB", 0.1)
    monkeypatch.setattr(Quiet, "send_header", lambda self, name, value: None)  # no Content-Length
    with pytest.raises(LinkError, match="larger than"):
        fetch(f"https://youtu.be/{ID}", max_minutes=15, folder=tmp_path / "fetched")
    assert not list((tmp_path / "fetched").iterdir())


def test_a_cancelled_download_leaves_nothing(youtube, tmp_path):
    from rescored import Cancelled

    def cancel(fraction, text=""):
        if fraction > 0:
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch(f"https://youtu.be/{ID}", max_minutes=15, folder=tmp_path / "fetched", report=cancel)
    assert not list((tmp_path / "fetched").iterdir())


def test_what_was_long_not_asked_for_is_dropped(youtube, tmp_path):
    folder = tmp_path / "fetched"
    old, abandoned, recent = folder / "old", folder / "part-1", folder / "recent"
    for entry in (old, abandoned, recent):
        entry.mkdir(parents=True)
        (entry / "sound.m4a").write_bytes(b"x")
    long_ago = time.time() - 40 * 86400
    for entry in (old, abandoned):
        os.utime(entry, (long_ago, long_ago))
    fetch(f"https://youtu.be/{ID}", max_minutes=15, folder=folder)
    assert not old.exists() and not abandoned.exists() and recent.exists()


def test_the_owners_cookies_are_read_but_never_written(youtube, tmp_path, monkeypatch):
    cookies = tmp_path / "cookies.txt"
    cookies.write_text("# Netscape HTTP Cookie File\n.youtube.com\tTRUE\t/\tTRUE\t0\tNAME\tvalue\n")
    before = cookies.read_bytes()
    monkeypatch.setenv("RESCORED_COOKIES", str(cookies))
    video = fetch(f"https://youtu.be/{ID}", max_minutes=1, folder=tmp_path / "fetched")
    assert cookies.read_bytes() == before
    assert not list((tmp_path / "fetched").rglob("cookies*"))
    assert json.loads((video.path.parent / "video.json").read_text())["title"] == video.title
    monkeypatch.setenv("RESCORED_COOKIES", str(tmp_path / "absent.txt"))
    with pytest.raises(LinkError, match="RESCORED_COOKIES"):
        fetch(f"https://youtu.be/{ID}", max_minutes=1, folder=tmp_path / "elsewhere")


def test_http_errors_are_not_taken_for_a_missing_network():
    class Response:
        status, reason = 403, "Forbidden"

        def close(self):
            pass

    cause = ExtractorError("Unable to download", cause=HTTPError(Response()))
    assert "did not give the sound" in explain(failed(cause), []).problem

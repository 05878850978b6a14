"""As much of Google's object storage as its client needs for the store: its JSON interface, over a dictionary."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit


class Cloud(ThreadingHTTPServer):
    """Serves one bucket, whatever its name, at `url`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.objects: dict[str, tuple[bytes, int]] = {}  # content and generation
        self.generations = count(1)
        self.one_at_a_time = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def put(self, name: str, content: bytes) -> None:
        self.objects[name] = (content, next(self.generations))


class Answer(BaseHTTPRequestHandler):
    """`/storage/v1/b/BUCKET/o/NAME` and what goes with it."""

    server: Cloud

    def about(self, name: str) -> dict[str, Any]:
        content, generation = self.server.objects[name]
        return {"kind": "storage#object", "bucket": "scores", "name": name, "size": str(len(content)),
                "generation": str(generation), "updated": "2026-01-01T00:00:00.000Z",
                "timeCreated": "2026-01-01T00:00:00.000Z", "etag": str(generation),
                "md5Hash": base64.b64encode(hashlib.md5(content).digest()).decode()}

    def go(self) -> None:
        with self.server.one_at_a_time:
            self.answer()

    def answer(self) -> None:
        url = urlsplit(self.path)
        place, _, name = url.path.partition("/o/")
        name, asked = unquote(name), parse_qs(url.query)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        objects = self.server.objects
        if "session" in asked:  # the rest of an upload in pieces
            [name] = asked["session"]
            begun = b"" if self.headers["Content-Range"].startswith("bytes 0-") else objects[name][0]
            self.server.put(name, begun + body)
            self.say(self.about(name))
        elif asked.get("uploadType") == ["resumable"]:
            self.say({}, Location=f"{self.server.url}/upload?session={quote(asked['name'][0])}")
        elif place.startswith("/upload/"):
            boundary = self.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
            _, about, content, _ = body.split(b"--" + boundary)
            name = json.loads(about.partition(b"\n\n")[2])["name"]
            self.server.put(name, content.partition(b"\n\n")[2][:-1])
            self.say(self.about(name))
        elif place.endswith("/o"):
            prefix = asked.get("prefix", [""])[0]
            self.say({"kind": "storage#objects",
                      "items": [self.about(each) for each in sorted(objects) if each.startswith(prefix)]})
        elif not name:
            self.say({"kind": "storage#bucket", "name": "scores", "storageClass": "STANDARD"})
        elif (name := name.partition("/rewriteTo/")[0]) not in objects:
            self.say({"error": {"code": 404, "message": "No such object"}}, 404)
        elif "/rewriteTo/" in url.path:
            to = unquote(url.path.rpartition("/o/")[2])
            self.server.put(to, objects[name][0])
            self.say({"done": True, "resource": self.about(to)})
        elif self.command == "DELETE":
            del objects[name]
            self.say({}, 204)
        else:
            self.say(objects[name][0] if place.startswith("/download/") else self.about(name))

    do_GET = do_POST = do_DELETE = go

    def say(self, what: Any, status: int = 200, **headers: str) -> None:
        content = what if isinstance(what, bytes) else json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if isinstance(what, bytes) else "application/json")
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):  # who only wants to know whether there is anything does not listen to the end
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Requests are not news."""

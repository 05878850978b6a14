"""One owner never sees another's job, file or progress, whatever they try; and nobody becomes another."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import gradio as gr
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi.testclient import TestClient
from itsdangerous import TimestampSigner
from starlette.requests import Request

from rescored.errors import RescoredError, SettingsError
from rescored.service.jobs import EXAMPLES_OWNER, Desk, Jobs
from rescored.service.owners import COOKIE, NotSignedIn, Owners
from rescored.ui.page import build
from rescored.ui.server import create_app

SECRET = "a secret of at least 32 bytes, as it should be"


def token(secret: Any = SECRET, *, algorithm: str = "HS256", age_s: float = 0, headers: Any = None,
          **claims: Any) -> str:
    said = {"sub": "ann", "exp": int(time.time() + 60 - age_s), **claims}
    return jwt.encode({k: v for k, v in said.items() if v is not None}, secret, algorithm, headers)


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


# ---------------------------------------------------------------- who somebody is


def test_a_token_says_who_its_client_is() -> None:
    owners = Owners(secret=SECRET)
    ann = owners.of(bearer(token()), {})
    assert ann == owners.of(bearer(token(more="claims")), {}) and "ann" not in ann
    assert len({ann, owners.of(bearer(token(sub="bob")), {}), owners.of(bearer(token(iss="elsewhere")), {})}) == 3


# Tokens are made in the test, not in its name: they hold the time, and every test process must collect the same names.
BAD_TOKENS: dict[str, Callable[[], str]] = {
    "another secret": lambda: token("another secret of at least 32 bytes, as it should be"),
    "too old": lambda: token(age_s=3600),
    "without an end": lambda: token(exp=None),
    "of nobody": lambda: token(sub=None),
    "unsigned": lambda: token("", algorithm="none"),
    "empty": lambda: "",
    "no token": lambda: "x.y.z",
    "endless": lambda: "x" * 100_000,
    "of a number": lambda: token(sub=7),
}


@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_a_token_that_does_not_hold_is_refused(kind: str) -> None:
    with pytest.raises(NotSignedIn):
        Owners(secret=SECRET).of(bearer(BAD_TOKENS[kind]()), {COOKIE: "c" * 32})


def test_a_token_for_another_audience_or_of_another_issuer_is_refused() -> None:
    owners = Owners(secret=SECRET, audience="rescored", issuer="us")
    assert owners.of(bearer(token(aud="rescored", iss="us")), {})
    for other in (token(aud="rescored", iss="them"), token(aud="other", iss="us"), token(iss="us"),
                  token(aud="rescored")):
        with pytest.raises(NotSignedIn):
            owners.of(bearer(other), {})


def test_a_short_secret_is_no_secret() -> None:
    with pytest.raises(SettingsError, match="32 bytes"):
        Owners(secret="secret")


@pytest.fixture
def published() -> Iterator[tuple[str, Any]]:
    """The address of a set of keys, and the private key of one of them."""
    key = rsa.generate_private_key(65537, 2048)
    public = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": "one", "use": "sig"}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"keys": [public]}).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/keys.json", key
    server.shutdown()
    server.server_close()


def test_tokens_are_checked_by_published_keys(published: tuple[str, Any]) -> None:
    url, key = published
    owners = Owners(jwks_url=url)
    assert owners.of(bearer(token(key, algorithm="RS256", headers={"kid": "one"})), {})
    other = rsa.generate_private_key(65537, 2048)
    for bad in (token(other, algorithm="RS256", headers={"kid": "one"}), token(headers={"kid": "one"}),
                token(key, algorithm="RS256", headers={"kid": "2"})):
        with pytest.raises(NotSignedIn):
            owners.of(bearer(bad), {})


def session(secret: str, **info: Any) -> str:
    content = {"oauth_info": {"userinfo": {"sub": "42"}, "expires_at": time.time() + 60, **info}}
    signer = TimestampSigner(hashlib.sha256(f"{secret}-v4".encode()).hexdigest())
    return signer.sign(base64.b64encode(json.dumps(content).encode())).decode()


def test_who_signed_in_with_hugging_face_is_known_by_gradio_s_session(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SPACE_ID": "a/b", "OAUTH_CLIENT_ID": "id", "OAUTH_CLIENT_SECRET": "hidden"}.items():
        monkeypatch.setenv(name, value)
    owners = Owners.of_environment()
    cookie = {COOKIE: "c" * 32}
    assert owners.signs_in and owners.of({}, {**cookie, "session": session("hidden")}) == "user:42"
    too_old, of_nobody = session("hidden", expires_at=1), session("hidden", userinfo={})
    for bad in (session("guessed"), session(""), too_old, of_nobody, "null", "x"):
        assert owners.of({}, {**cookie, "session": bad}) == owners.of({}, cookie) != "user:42"
    monkeypatch.delenv("SPACE_ID")
    assert not Owners.of_environment().signs_in


def test_a_guessed_cookie_is_short_and_names_nobody() -> None:
    owners = Owners()
    assert owners.of({}, {}) == owners.of({}, {COOKIE: "1"}) == owners.of({}, {COOKIE: "x" * 10_000}) == ""
    assert owners.of(bearer(token()), {}) == "", "tokens count for nothing where no secret is set"


# ---------------------------------------------------------------- what others may see


def work(desk: Desk) -> None:
    for name in ("notes.json", "song.json", "tracks.json", "sounds.json", "song.pdf"):
        (desk.folder / name).write_text('{"tracks": []}')


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    return Jobs(tmp_path_factory.mktemp("owners") / "jobs", work)


@pytest.fixture(scope="module")
def app(jobs: Jobs) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESCORED_JWT_SECRET", SECRET)
        return create_app(jobs)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "a.wav"
    path.write_bytes(b"sound")
    return path


def visitor(app: Any, **how: Any) -> TestClient:
    """A client with a cookie of its own."""
    client = TestClient(app, raise_server_exceptions=False, **how)
    client.cookies.set(COOKIE, secrets.token_urlsafe(24))
    return client


def owner_of(client: TestClient) -> str:
    return Owners(secret=SECRET).of(client.headers, client.cookies)


def answers(client: TestClient, app: Any, job: str) -> dict[str, int]:
    """What every route that takes a job's id says to a client."""
    found = {}
    for route in app.routes:
        if "{job}" not in getattr(route, "path", ""):
            continue
        for path in ("song.pdf", "notes.json", "tracks.json", "sounds.json", "../../history.sqlite"):
            address = route.path.replace("{job}", job).replace("{path:path}", path)
            for method in route.methods:
                found[f"{method} {address}"] = client.request(method, address).status_code
    return found


def test_on_every_route_a_job_is_its_owner_s_alone(jobs: Jobs, app: Any, recording: Path) -> None:
    ann, bob = visitor(app), visitor(app)
    api, other_api = visitor(app, headers=bearer(token())), visitor(app, headers=bearer(token(sub="bob")))
    nobody = TestClient(app)
    assert len({owner_of(ann), owner_of(bob), owner_of(api), owner_of(other_api), ""}) == 5
    for owner, others in ((ann, (bob, api, nobody)), (api, (other_api, ann, nobody))):
        job = jobs.submit(recording, {}, owner=owner_of(owner))
        jobs.result(job)
        mine = answers(owner, app, job)
        assert len(mine) >= 8
        assert mine[f"GET /media/{job}/song.pdf"] == mine[f"GET /jobs/{job}/events"] == 200
        for other in others:
            assert set(answers(other, app, job).values()) == {404}, "as if there were no such job"


def test_a_bad_token_opens_nothing_and_a_cookie_cannot_be_read_by_scripts(app: Any) -> None:
    assert TestClient(app, headers=bearer("x.y.z")).get("/").status_code == 401
    assert TestClient(app, headers=bearer("x.y.z")).get("/healthz").status_code == 200
    client = TestClient(app)
    said = client.get("/").headers["set-cookie"]
    assert "HttpOnly" in said and "SameSite=Lax" in said and owner_of(client).startswith("browser:")
    assert COOKIE not in client.get("/").headers.get("set-cookie", ""), "a name is given once"


def test_examples_are_everybody_s_to_see_and_nobody_s_to_change(jobs: Jobs, app: Any, recording: Path) -> None:
    job = jobs.submit(recording, {}, owner=EXAMPLES_OWNER)
    jobs.result(job)
    client = visitor(app)
    assert client.get(f"/media/{job}/song.pdf").status_code == 200
    assert client.post(f"/jobs/{job}/changes", json={}).status_code == 403


class Fields:
    """A page whose handlers are called as Gradio calls them."""

    def __init__(self, jobs: Jobs):
        page = build(jobs, Owners(secret=SECRET), slots=1)
        self.handlers = {fn.name: fn.fn for fn in page.fns.values()}

    def call(self, name: str, owner: str, job: str) -> Any:
        request = gr.Request(request=Request({"type": "http", "headers": [(b"cookie", f"{COOKIE}={owner}".encode())]}))
        event = gr.EventData(None, {"job": job})
        browser = {"job": job}
        if name == "on_load":
            return self.handlers[name](browser, request)
        if name == "on_delete":
            return self.handlers[name](browser, request, event)
        return self.handlers[name](request, event)


def test_no_handler_of_the_page_reaches_another_s_job(jobs: Jobs, recording: Path) -> None:
    page = Fields(jobs)
    ann, bob = "a" * 32, "b" * 32
    job = jobs.submit(recording, {}, title="Ann's", owner=Owners().of({}, {COOKIE: ann}))
    jobs.result(job)
    for name in ("on_open", "on_delete", "on_copy", "on_settings", "on_cancel", "on_failed"):
        with pytest.raises((gr.Error, RescoredError), match="no such transcription"):
            page.call(name, bob, job)
    browser, progress, recents, *_ = page.call("on_load", bob, job)
    assert job not in (browser["job"], progress["job"]) and "Ann's" not in str(recents)
    browser, progress, recents, *_ = page.call("on_load", ann, job)
    assert browser["job"] == progress["job"] == job and recents["jobs"][0]["title"] == "Ann's"
    page.call("on_delete", ann, job)
    assert jobs.history.order(job) is None

"""Whose a request is: an API client's with a JWT, a user's who signed in with Hugging Face, or a browser's.

`RESCORED_JWT_SECRET`    verifies tokens of API clients (HS256, at least 32 bytes), or else
`RESCORED_JWKS_URL`      where the keys that sign them are published (RS256, ES256, EdDSA)
`RESCORED_JWT_AUDIENCE`, `RESCORED_JWT_ISSUER`  what tokens must say, if set
`OAUTH_CLIENT_SECRET`    set by a Hugging Face Space that lets its users sign in (`hf_oauth: true`)

A browser gets an unguessable name in a cookie that no script can read. The history only keeps its hash. One
owner never sees another's jobs; who has no name (a client without token and cookie) owns nothing, and their
jobs are open to whoever knows the job's id, which cannot be guessed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import secrets
import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import jwt

from ..errors import RescoredError, SettingsError

COOKIE = "rescored_owner"
COOKIE_DAYS = 400  # the longest that browsers allow
_SESSION_DAYS = 14  # as Starlette keeps sessions
_SHORTEST_SECRET = 32
_LONGEST_TOKEN = 8192


class NotSignedIn(RescoredError):
    """A token that does not hold: it is forged, too old, or for somebody else."""


class Owners:
    """Tells whose requests are."""

    def __init__(self, *, secret: str = "", jwks_url: str = "", audience: str = "", issuer: str = "", oauth: str = ""):
        if secret and len(secret.encode()) < _SHORTEST_SECRET:
            raise SettingsError(f"RESCORED_JWT_SECRET is shorter than {_SHORTEST_SECRET} bytes.",
                                "Take a longer one: `openssl rand -hex 32`.")
        self._secret, self._jwks_url = secret, jwks_url
        self._audience, self._issuer = audience or None, issuer or None
        self._oauth = oauth
        self.signs_in = bool(oauth)  # whether users can sign in with Hugging Face

    @classmethod
    def of_environment(cls) -> Owners:
        """As the module's text says."""
        get = os.environ.get
        return cls(secret=get("RESCORED_JWT_SECRET", ""), jwks_url=get("RESCORED_JWKS_URL", ""),
                   audience=get("RESCORED_JWT_AUDIENCE", ""), issuer=get("RESCORED_JWT_ISSUER", ""),
                   oauth=get("OAUTH_CLIENT_SECRET", "") if get("SPACE_ID") and get("OAUTH_CLIENT_ID") else "")

    def of(self, headers: Mapping[str, str], cookies: Mapping[str, str]) -> str:
        """The owner that a request's headers and cookies prove; "" if nobody. Raises NotSignedIn for a bad token."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and (self._secret or self._jwks_url):
            return self._client(token.strip())
        if user := self._user(cookies.get("session", "")):
            return user
        token = cookies.get(COOKIE, "")
        return f"browser:{hashlib.sha256(token.encode()).hexdigest()[:40]}" if 20 <= len(token) <= 200 else ""

    def _client(self, token: str) -> str:
        """Whose a JWT is."""
        try:
            if len(token) > _LONGEST_TOKEN:
                raise jwt.InvalidTokenError
            key: Any = self._secret or self._keys.get_signing_key_from_jwt(token).key
            claims = jwt.decode(
                token, key, algorithms=["HS256"] if self._secret else ["RS256", "ES256", "EdDSA"],
                audience=self._audience, issuer=self._issuer,
                options={"require": ["exp", "sub"], "verify_aud": self._audience is not None})
        except jwt.PyJWKClientConnectionError as error:
            raise NotSignedIn("The keys that tokens are checked by cannot be had.", "Try again in a minute.") from error
        except jwt.PyJWTError as error:
            raise NotSignedIn("This token does not hold.", "Get a new one.") from error
        return f"client:{hashlib.sha256(json.dumps([claims.get('iss'), claims['sub']]).encode()).hexdigest()[:40]}"

    @cached_property
    def _keys(self) -> jwt.PyJWKClient:
        return jwt.PyJWKClient(self._jwks_url, cache_keys=True, timeout=5)

    def _user(self, session: str) -> str:
        """Who signed in with Hugging Face: read from the session that Gradio signs (gradio/oauth.py)."""
        if not self._oauth or not session:
            return ""
        from itsdangerous import BadSignature, TimestampSigner

        signer = TimestampSigner(hashlib.sha256(f"{self._oauth}-v4".encode()).hexdigest())
        try:
            content = json.loads(base64.b64decode(signer.unsign(session, max_age=_SESSION_DAYS * 86400)))
            info = content["oauth_info"]
            if info["expires_at"] < time.time():
                return ""
            return f"user:{info['userinfo']['sub']}"
        except (BadSignature, binascii.Error, ValueError, KeyError, TypeError):
            return ""


def new_cookie(*, https: bool) -> str:
    """A `Set-Cookie` that gives a browser an unguessable name.

    A Space's page stands in a frame of another site, where only a cookie of that frame's own is sent.
    """
    where = "SameSite=None; Secure; Partitioned" if os.environ.get("SPACE_ID") else "SameSite=Lax"
    if https and "Secure" not in where:
        where += "; Secure"
    return f"{COOKIE}={secrets.token_urlsafe(24)}; HttpOnly; Max-Age={COOKIE_DAYS * 86400}; Path=/; {where}"

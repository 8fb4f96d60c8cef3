"""Tokens of the dialect: what its clients send instead of a key, and what they read out of it.

A token is a JSON Web Token (HS256) by the workspace's secret. Clients take its middle part for standard
base64 without padding, where the standard says the URL-safe kind; the payload is written so that both are
the same. It stands for a login (by its id and generation) or for an API key, which it then carries sealed.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass

import orjson

from tintype_server.http.oauth import Access
from tintype_studio import clock
from tintype_studio.errors import Unauthorized, Unavailable
from tintype_studio.identity.logins import MAX_USERNAME, Session
from tintype_studio.names import printable
from tintype_studio.studio import Studio

LIFE_SECONDS = 4 * 3600
"""Clients refresh what has an hour or less to live before every call."""
REFRESH_SECONDS = 7 * 24 * 3600
"""How long after its end a token can still be refreshed."""
SERVER = "tintype.invalid/"
"""Clients that are given a token and no address make one of this: ``https://{server}.edgefirst.studio``.

It leads nowhere: who forgets the address must not send the token to strangers.
"""
MAX_TOKEN = 8192
TOKENS_SCOPE = "tintype.tokens"
"""Where handlers of the dialect find the ``Tokens`` of their application in a request's scope."""

_HEADER = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")
_LOGIN, _KEY = "login:", "key:"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says whose signature was right."""

    username: str
    subject: str
    generation: int
    expires: int

    @property
    def login(self) -> str | None:
        """The id of the login that it stands for; None where that is a key."""
        return self.subject.removeprefix(_LOGIN) if self.subject.startswith(_LOGIN) else None


class Tokens:
    """Makes and checks tokens. Thread-safe."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._signing_key = studio.signer.client_token_key

    def of_login(self, session: Session) -> str:
        """A token for who has logged in."""
        return self._issue(session.username, _LOGIN + session.login_id, session.generation)

    def of_key(self, api_key: str, username: str) -> str:
        """A token for a key; raises ``Unauthorized`` for one that does not work. Any ``username`` will do."""
        self._studio.keys.authenticate(api_key)
        sealed = base64.urlsafe_b64encode(self._studio.signer.seal(api_key.strip().encode())).decode()
        return self._issue(printable(username[:MAX_USERNAME]), _KEY + sealed, 0)

    def refresh(self, token: str) -> str:
        """A fresh token for one that is valid, or ended at most ``REFRESH_SECONDS`` ago.

        Raises ``Unauthorized`` for any other, and when what it stands for works no more.
        """
        claims = self._claims(token)
        if claims.expires + REFRESH_SECONDS <= _now():
            raise _invalid()
        self._studio.keys.authenticate(self._key_of(claims))
        return self._issue(claims.username, claims.subject, claims.generation)

    def check(self, token: str) -> Access:
        """What a token opens. May read the database.

        Raises ``Unauthorized`` (``invalid_token``) for one that is forged, expired, or taken back.
        """
        claims = self._claims(token)
        if claims.expires <= _now():
            raise _invalid()
        return Access(self._key_of(claims), float(claims.expires))

    def needs_database(self, token: str) -> bool:
        """Whether ``check`` would read the database."""
        try:
            login = self._claims(token).login
        except Unauthorized:
            return False
        return login is not None and not self._studio.logins.knows(login)

    def claims(self, token: str) -> Claims:
        """What a token says; raises ``Unauthorized`` for one that opens nothing."""
        claims = self._claims(token)
        self.check(token)
        return claims

    def _key_of(self, claims: Claims) -> str:
        if claims.login is not None:
            return self._studio.logins.key_of(claims.login, claims.generation)
        try:
            return self._studio.signer.unseal(_unb64(claims.subject.removeprefix(_KEY))).decode()
        except (Unavailable, ValueError):
            raise _invalid() from None

    def _issue(self, username: str, subject: str, generation: int) -> str:
        claims: dict[str, str | int] = {
            "server": SERVER,
            "exp": _now() + LIFE_SECONDS,
            "username": username,
            "sub": subject,
            "gen": generation,
        }
        signed = _HEADER + b"." + _payload(claims)
        return f"{signed.decode()}.{_b64(hmac.digest(self._signing_key, signed, 'sha256'))}"

    def _claims(self, token: str) -> Claims:
        if len(token) > MAX_TOKEN:
            raise _invalid()
        signed, _, signature = token.rpartition(".")
        try:
            mac = _unb64(signature)
            right = hmac.digest(self._signing_key, signed.encode("ascii"), "sha256")
            if not hmac.compare_digest(mac, right):
                raise _invalid()
            claims = orjson.loads(_unb64(signed.split(".")[1]))
            return Claims(str(claims["username"]), str(claims["sub"]), int(claims["gen"]), int(claims["exp"]))
        except (ValueError, LookupError, TypeError, binascii.Error):
            raise _invalid() from None


def is_token(credential: str) -> bool:
    """Whether what came as the bearer's credential looks like a token, and not like a key."""
    return credential.count(".") == 2


def _payload(claims: dict[str, str | int]) -> bytes:
    """JSON whose base64 has neither ``+`` nor ``/`` in it: those stand for what ends in six bits 111110 or
    111111, which in ASCII are ``>``, ``~``, ``?`` and DEL.
    """
    import json

    text = json.dumps(claims, separators=(",", ":"))
    for char in ">~?\x7f":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return base64.b64encode(text.encode("ascii")).rstrip(b"=")


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _now() -> int:
    return int(clock.now().timestamp())


def _invalid() -> Unauthorized:
    return Unauthorized(
        "The token is not valid here: expired, taken back, or of another server.",
        code="invalid_token",
        fix="Log in again.",
    )

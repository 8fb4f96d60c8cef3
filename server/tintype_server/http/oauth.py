"""Access tokens of an authorization server, for MCP clients that have no API key: we are a resource server.

A token is checked here (signature or introspection, issuer, audience, expiry, scope), then stands for the
API key of its person, see ``identity/grants``. From there on nothing knows of tokens.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tintype_server.dispatch.running import log
from tintype_server.settings import Settings
from tintype_studio.errors import (
    Forbidden,
    InvalidInput,
    RateLimited,
    TintypeError,
    Unauthorized,
    Unavailable,
)
from tintype_studio.identity.grants import Grant, Grants
from tintype_studio.identity.roles import Role
from tintype_studio.studio import Studio

MCP_PATH = "/mcp"
WELL_KNOWN = "/.well-known/oauth-protected-resource"
SCOPES = {"tintype:admin": Role.OWNER, "tintype:write": Role.MEMBER, "tintype:read": Role.VIEWER}
"""What a scope lets its bearer do at most; a member never does more than the own role allows."""
LEAST_SCOPE = "tintype:read"
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a public key alone: whoever can check them cannot make them."""
LEEWAY_SECONDS = 30
REMEMBERED_SECONDS = 60.0
"""How long an answer about a token is good for; a token that is taken back works for so long, at most."""
REFUSED_SECONDS = 10.0
REMEMBERED = 10_000
JWKS_SECONDS = 600.0
JWKS_AGAIN_SECONDS = 10.0
"""How often, at most, a key that is not there is looked for again: anybody can name one."""
TIMEOUT_SECONDS = 10.0
MAX_TOKEN = 16_384
MAX_ANSWER_BYTES = 1 << 20
MISSES_PER_SECOND = 10
"""Tokens that turned out to be none, before no more are asked about: anybody can make up one."""
TYPES = ("at+jwt", "application/at+jwt", "jwt")
"""What a token may call itself, if it does; other tokens of the same server are for something else."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a checked token opens."""

    key: str
    expires: float
    """Seconds since 1970 from which on it opens nothing."""


@dataclass(frozen=True, slots=True)
class _Known:
    until: float
    access: Access | None
    refusal: TintypeError | None


class ResourceServer:
    """Checks tokens, and says where to get one. Thread-safe."""

    def __init__(self, settings: Settings, studio: Studio) -> None:
        """Raises ``InvalidInput`` for settings that do not go together."""
        base = _checked(settings)
        self.issuer = settings.oauth_issuer or ""
        self.resource = base + MCP_PATH
        parts = urlsplit(base)
        self.metadata_path = WELL_KNOWN + parts.path + MCP_PATH
        self.metadata_url = f"{parts.scheme}://{parts.netloc}{self.metadata_path}"
        self._audience = settings.oauth_audience or self.resource
        self._settings = settings
        self._grants = Grants(studio.database, studio.signer)
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()
        self._fetching = threading.Lock()
        self._jwks: Any = None
        self._jwks_at = -math.inf
        self._misses: deque[float] = deque(maxlen=MISSES_PER_SECOND)

    def cached(self, token: str) -> Access | None:
        """What a token opens that was checked a moment ago; never waits for anything."""
        known = self._known.get(_digest(token))
        return known.access if known is not None and known.until > time.monotonic() else None

    def key_of(self, token: str) -> str:
        """The API key that a token stands for. Blocks, and raises, as ``check`` does."""
        return self.check(token).key

    def check(self, token: str) -> Access:
        """What a token opens. Blocks.

        Raises ``Unauthorized`` (``invalid_token``), ``Forbidden`` (``insufficient_scope``,
        ``email_not_verified``, and what ``Grants.key_of`` raises), ``RateLimited`` while too many tokens
        are none, and ``Unavailable`` when the authorization server does not answer.
        """
        digest = _digest(token)
        known = self._known.get(digest)
        if known is None or known.until < time.monotonic():
            known = self._look_at(token)
            with self._lock:
                if len(self._known) >= REMEMBERED:
                    self._known.clear()
                self._known[digest] = known
        if known.access is None:
            refusal = known.refusal or _invalid()
            raise type(refusal)(
                refusal.message, code=refusal.code, fix=refusal.fix, details=dict(refusal.details)
            )
        return known.access

    def challenge(self, error: TintypeError, *, token_sent: bool) -> str:
        """The value of ``WWW-Authenticate``: where to get a token, and what was wrong with this one."""
        parts = []
        if error.code == "insufficient_scope":
            parts.append('error="insufficient_scope"')
        elif token_sent:
            parts.append('error="invalid_token"')
        parts += [f'scope="{LEAST_SCOPE}"', f'resource_metadata="{self.metadata_url}"']
        return "Bearer " + ", ".join(parts)

    def routes(self) -> list[Route]:
        """The metadata, at its well-known address and at the one that some clients try instead."""
        return [Route(path, self._metadata, methods=["GET"]) for path in {self.metadata_path, WELL_KNOWN}]

    async def _metadata(self, _request: Request) -> Response:
        body = {
            "resource": self.resource,
            "authorization_servers": [self.issuer],
            "scopes_supported": list(SCOPES),
            "bearer_methods_supported": ["header"],
            "resource_name": "Tintype",
        }
        headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=3600"}
        return JSONResponse(body, headers=headers)

    def _look_at(self, token: str) -> _Known:
        now = time.monotonic()
        try:
            claims = self._claims(token)
            key = self._grants.key_of(self._grant(claims))
        except (Unauthorized, Forbidden) as error:
            return _Known(now + REFUSED_SECONDS, None, error)
        access = Access(key, expires=float(claims["exp"]) + LEEWAY_SECONDS)
        return _Known(now + min(REMEMBERED_SECONDS, access.expires - time.time()), access, None)

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN:
            raise _invalid()
        if self._settings.oauth_introspection_url is not None:
            claims = self._introspected(token, self._settings.oauth_introspection_url)
        else:
            claims = self._decoded(token)
        self._require_ours(claims)
        return claims

    def _decoded(self, token: str) -> dict[str, Any]:
        import jwt

        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in ALGORITHMS or str(header.get("typ", TYPES[0])).lower() not in TYPES:
                raise _invalid()
            key = self._signing_key(header.get("kid"))
            claims: dict[str, Any] = jwt.decode(
                token, key, algorithms=[algorithm], leeway=LEEWAY_SECONDS, options={"verify_aud": False}
            )
        except jwt.PyJWTError:
            raise _invalid() from None
        return claims

    def _introspected(self, token: str, url: str) -> dict[str, Any]:
        import httpx

        settings = self._settings
        auth = httpx.BasicAuth(settings.oauth_client_id or "", settings.oauth_client_secret or "")
        self._require_few_misses()
        claims = self._ask("POST", url, data={"token": token}, auth=auth)
        if claims.get("active") is not True:
            self._misses.append(time.monotonic())
            raise _invalid()
        # RFC 7662 leaves the issuer out where there is but one.
        return {"iss": self.issuer, **claims}

    def _require_few_misses(self) -> None:
        misses = list(self._misses)
        if len(misses) == MISSES_PER_SECOND and time.monotonic() - misses[0] < 1.0:
            raise RateLimited(
                "Too many tokens that are none came in the last second; this one was not looked at.",
                code="too_many_invalid_tokens",
                details={"limit": MISSES_PER_SECOND, "retry_after": 1},
            )

    def _require_ours(self, claims: dict[str, Any]) -> None:
        """Issuer, audience and times; the signature or the endpoint vouches for the rest."""
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        expires, starts = _time(claims.get("exp")), _time(claims.get("nbf", 0))
        now, subject = time.time(), claims.get("sub")
        ours = (
            str(claims.get("iss")).rstrip("/") == self.issuer
            and self._audience.rstrip("/") in [str(each).rstrip("/") for each in audiences]
            and (isinstance(subject, str) and subject != "")
            and (expires is not None and now < expires + LEEWAY_SECONDS)
            and (starts is not None and starts - LEEWAY_SECONDS < now)
        )
        if not ours:
            raise _invalid()

    def _grant(self, claims: dict[str, Any]) -> Grant:
        told = claims.get("scope", claims.get("scp", ""))
        scopes = told.split() if isinstance(told, str) else told if isinstance(told, list) else []
        role = next((role for scope, role in SCOPES.items() if scope in scopes), None)
        if role is None:
            raise Forbidden(
                f"The token has none of the scopes {', '.join(SCOPES)}.",
                code="insufficient_scope",
                fix=f"Get a token with the scope {LEAST_SCOPE}, or more.",
            )
        email = claims.get("email")
        if not isinstance(email, str) or claims.get("email_verified") is not True:
            raise Forbidden(
                "The token says no verified e-mail address, by which its person could be known here.",
                code="email_not_verified",
                fix="Have the authorization server put `email` and `email_verified` into its access tokens.",
            )
        client = claims.get("client_id", claims.get("azp", ""))
        return Grant(self.issuer, claims["sub"], client if isinstance(client, str) else "", email, role)

    def _signing_key(self, kid: Any) -> Any:
        found = self._find(kid)
        if found is not None and time.monotonic() - self._jwks_at <= JWKS_SECONDS:
            return found
        # Only the first keys are waited for: what a stranger made up must not keep others waiting.
        if not self._fetching.acquire(blocking=self._jwks is None):
            if found is None:
                raise _unanswered("its keys are being fetched")
            return found
        try:
            age = time.monotonic() - self._jwks_at
            found = self._find(kid)
            if age > JWKS_SECONDS or (found is None and age > JWKS_AGAIN_SECONDS):
                self._jwks_at = time.monotonic()  # of the attempt: callers must not wait for a dead server
                try:
                    self._fetch_jwks()
                except Unavailable:
                    if found is None:  # the keys of before are better than none
                        raise
                found = self._find(kid)
        finally:
            self._fetching.release()
        if found is None:
            raise _invalid() if self._jwks is not None else _unanswered("it did not answer just now")
        return found

    def _find(self, kid: Any) -> Any:
        keys = [] if self._jwks is None else self._jwks.keys
        fitting = [k for k in keys if (kid is None or k.key_id == kid) and k.public_key_use in (None, "sig")]
        return fitting[0] if len(fitting) == 1 else None

    def _fetch_jwks(self) -> None:
        import jwt

        url = self._settings.oauth_jwks_url or self._jwks_url()
        answer = self._ask("GET", url)
        try:
            self._jwks = jwt.PyJWKSet.from_dict(answer)
        except (jwt.PyJWTError, TypeError, ValueError, AttributeError):
            raise _unanswered("its keys cannot be read") from None

    def _jwks_url(self) -> str:
        parts = urlsplit(self.issuer)
        origin = f"{parts.scheme}://{parts.netloc}"
        for address in (
            f"{origin}/.well-known/oauth-authorization-server{parts.path}",
            f"{self.issuer}/.well-known/openid-configuration",
        ):
            try:
                answer = self._ask("GET", address)
            except Unavailable:
                continue
            url = answer.get("jwks_uri")
            # Metadata that names another issuer must not make its keys count as this one's.
            if isinstance(url, str) and str(answer.get("issuer", "")).rstrip("/") == self.issuer:
                return url
        raise _unanswered("its metadata names no keys")

    def _ask(self, method: str, url: str, **body: Any) -> dict[str, Any]:
        import httpx

        if not _is_safe(url):  # the metadata may name any
            raise _unanswered("it names an address that is not https")
        try:
            with httpx.Client(timeout=TIMEOUT_SECONDS) as http:
                response = http.request(method, url, **body)
                response.raise_for_status()
                answer = response.json() if len(response.content) <= MAX_ANSWER_BYTES else None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            log.warning("the authorization server did not answer: %s", type(error).__name__)
            raise _unanswered("it does not answer") from None
        if not isinstance(answer, dict):
            raise _unanswered("its answer is not a JSON object")
        return answer


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def resource_server(settings: Settings, studio: Studio) -> ResourceServer | None:
    """The resource server of the settings; None when they name no issuer."""
    return None if settings.oauth_issuer is None else ResourceServer(settings, studio)


def _checked(settings: Settings) -> str:
    """The base URL, if all that is needed is set."""
    if settings.base_url is None:
        raise InvalidInput(
            "TINTYPE_OAUTH_ISSUER needs TINTYPE_BASE_URL: tokens are made out to an address.",
            code="invalid_setting",
            fix="Set TINTYPE_BASE_URL to the public address of this server.",
        )
    for name in ("oauth_issuer", "oauth_jwks_url", "oauth_introspection_url"):
        url = getattr(settings, name)
        if url is not None and not _is_safe(url):
            raise InvalidInput(
                f"TINTYPE_{name.upper()} must be an https address.",
                code="invalid_setting",
                fix="Use https; http is for this machine alone.",
            )
    return settings.base_url


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    local = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and local))


def _time(value: Any) -> float | None:
    """Seconds since 1970, if it is such a number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        return None
    return float(value)


def expired() -> Unauthorized:
    """The refusal of a token that was good when its request began."""
    return _invalid()


def _invalid() -> Unauthorized:
    return Unauthorized(
        "The access token is not valid here: unknown, expired, or made out to somebody else.",
        code="invalid_token",
        fix="Get a new token from the authorization server that this server's metadata names.",
    )


def _unanswered(problem: str) -> Unavailable:
    return Unavailable(
        f"The access token cannot be checked now: the authorization server cannot be used, {problem}.",
        code="authorization_server_unavailable",
        fix="Try again in a moment, or use an API key.",
    )

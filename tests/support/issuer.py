"""An authorization server, and the resource server that takes its tokens, for tests."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from support.people import join

from tintype_server.http.oauth import ResourceServer
from tintype_server.settings import Settings
from tintype_studio import clock
from tintype_studio.identity.roles import Role
from tintype_studio.studio import Studio

BASE = "https://cv.example/tool"
AUDIENCE = f"{BASE}/mcp"
NOBODY = object()
"""Signs nothing."""


@dataclass
class Issuer:
    """An authorization server that signs what it is told to, and answers about its keys and opaque tokens."""

    url: str = ""
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    opaque: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    named: str | None = None
    """What its metadata calls it; None for its address."""
    broken: bool = False
    keys_at: str = ""
    """Where its metadata says its keys are; empty for where they are."""
    email: str = ""
    """Of the member that its tokens are for."""

    def jwks(self) -> dict[str, Any]:
        shown = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [{**shown, "kid": "k1", "use": "sig", "alg": "ES256"}]}

    def token(
        self,
        *,
        kid: str = "k1",
        key: Any = None,
        algorithm: str = "ES256",
        typ: str | None = "JWT",
        **claims: Any,
    ) -> str:
        whole = {**self.claims(), **claims}
        whole = {name: value for name, value in whole.items() if value is not None}
        signer = None if key is NOBODY else key or self.key
        return jwt.encode(whole, signer, algorithm=algorithm, headers={"kid": kid, "typ": typ})

    def claims(self) -> dict[str, Any]:
        return {
            "iss": self.url,
            "sub": "user-1",
            "aud": AUDIENCE,
            "exp": int(time.time()) + 300,
            "scope": "openid tintype:write",
            "email": self.email,
            "email_verified": True,
            "client_id": "desktop",
        }


@contextmanager
def issuing(studio: Studio, base: Path) -> Iterator[Issuer]:
    """With a member of its own, an admin: members are pinned to whose tokens they came with first."""
    owner = studio.keys.authenticate(owner_key(base))
    told = Issuer(email=f"{clock.new_id()}@example.com")
    member = join(studio, owner, Role.ADMIN, told.email)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, status: int, body: Any) -> None:
            encoded = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def do_GET(self) -> None:
            told.asked.append(self.path)
            if told.broken:
                self.answer(500, {})
            elif self.path == "/.well-known/openid-configuration":
                self.answer(
                    200, {"issuer": told.named or told.url, "jwks_uri": told.keys_at or f"{told.url}/keys"}
                )
            elif self.path == "/keys":
                self.answer(200, told.jwks())
            else:
                self.answer(404, {})

        def do_POST(self) -> None:
            told.asked.append(self.path)
            body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            expected = "Basic " + base64.b64encode(b"tintype:hush").decode()
            if self.headers.get("Authorization") != expected:
                self.answer(401, {})
            else:
                self.answer(200, told.opaque.get(body["token"][0], {"active": False}))

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield told
    server.shutdown()
    server.server_close()
    studio.organizations.remove_member(owner, member.member_id)


def keys_of_tokens(studio: Studio, base: Path) -> set[str]:
    owner = studio.keys.authenticate(owner_key(base))
    return {key.id for key in studio.keys.list(owner) if key.name.startswith("OAuth: ")}


def owner_key(base: Path) -> str:
    from tintype_studio.identity.bootstrap import saved_api_key

    key = saved_api_key(base / "home")
    assert key is not None
    return key


def checker(studio: Studio, issuer: Issuer, base: Path, **settings: Any) -> ResourceServer:
    return ResourceServer(
        Settings(home=base / "home", base_url=BASE, oauth_issuer=issuer.url, **settings), studio
    )

"""Secrets of a workspace: the pepper for API-key hashes and the key for signed URLs.

Both derive from one random secret, kept outside the database (``<home>/secret.key``, mode 0600): a stolen
database alone lets nobody check a guess or sign a URL.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import os
import secrets
from pathlib import Path

import orjson

from tintype_studio import clock
from tintype_studio.errors import Unavailable

SECRET_BYTES = 32


def load_secret(home: Path) -> bytes:
    """The workspace's secret; made on first use, safely against a second process that starts now.

    Raises ``Unavailable`` when the file does not hold one, and ``OSError`` when it cannot be read or made.
    """
    path = home / "secret.key"
    if not path.exists():
        _make_secret(path)
    try:
        secret = bytes.fromhex(path.read_text().strip())
    except ValueError as error:
        raise _damaged() from error
    if len(secret) != SECRET_BYTES:
        raise _damaged()
    return secret


def _make_secret(path: Path) -> None:
    draft = path.with_name(f"secret.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(SECRET_BYTES))
        # A hard link appears whole or not at all, and only for the first of several starters.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _damaged() -> Unavailable:
    return Unavailable(
        "The workspace's secret.key is damaged.",
        code="secret_damaged",
        fix="Restore secret.key from a backup: without it, the workspace's API keys and links are void.",
        retryable=False,
    )


class Signer:
    """Hashes API keys and makes self-authenticating tokens for URLs."""

    def __init__(self, secret: bytes) -> None:
        self._pepper = hmac.digest(secret, b"tintype api-key pepper", "sha256")
        self._url_key = hmac.digest(secret, b"tintype signed url", "sha256")
        self._seal_key = hmac.digest(secret, b"tintype sealed data", "sha256")
        self._grant_key = hmac.digest(secret, b"tintype keys of grants", "sha256")
        self.state_key = hmac.digest(secret, b"tintype mcp request state", "sha256")
        """Seals what MCP clients carry for us between two rounds; the same in every process."""
        self.client_token_key = hmac.digest(secret, b"tintype tokens of clients", "sha256")
        """Signs the tokens of clients that log in with a name and a password."""

    def hash_key(self, api_key: str) -> str:
        """HMAC-SHA256 of an API key, hex. Keys are 256 random bits, so a slow hash would buy nothing."""
        return hmac.digest(self._pepper, api_key.encode("utf-8", "replace"), "sha256").hex()

    def key_for(self, whom: bytes) -> str:
        """The secret of the API key of somebody who has none; the same whenever it is asked for."""
        return "pk_live_" + _b64(hmac.digest(self._grant_key, whom, "sha256"))

    def seal(self, data: bytes) -> bytes:
        """Encrypt data that the database keeps for a while (AES-256-GCM, the nonce in front)."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(12)
        return nonce + AESGCM(self._seal_key).encrypt(nonce, data, None)

    def unseal(self, sealed: bytes) -> bytes:
        """What ``seal`` was given; ``Unavailable`` when the workspace's secret is another one now."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            return AESGCM(self._seal_key).decrypt(sealed[:12], sealed[12:], None)
        except InvalidTag as error:
            raise _damaged() from error

    def token(self, claims: dict[str, str | int], ttl_seconds: int) -> str:
        """A URL-safe token that carries ``claims`` until it expires."""
        body = orjson.dumps({**claims, "exp": int(clock.now().timestamp()) + ttl_seconds})
        tag = hmac.digest(self._url_key, body, "sha256")
        return _b64(body) + "." + _b64(tag)

    def claims(self, token: str) -> dict[str, str | int] | None:
        """The claims of a valid, unexpired token; None for anything else."""
        try:
            body, tag = (_unb64(part) for part in token.split("."))
        except (ValueError, binascii.Error):
            return None
        if not hmac.compare_digest(hmac.digest(self._url_key, body, "sha256"), tag):
            return None
        claims: dict[str, str | int] = orjson.loads(body)
        return claims if int(claims["exp"]) > clock.now().timestamp() else None


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

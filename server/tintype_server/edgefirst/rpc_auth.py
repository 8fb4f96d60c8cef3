"""Logging in: names and passwords become tokens, and tokens fresh ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import anyio
from anyio import to_thread

from tintype_server.edgefirst.methods import Rpc, method
from tintype_server.edgefirst.params import text_of
from tintype_server.edgefirst.tokens import TOKENS_SCOPE, Tokens, is_token
from tintype_studio.errors import InvalidInput, Unauthorized, Unavailable
from tintype_studio.identity.key_rows import KEY_PREFIX

AT_ONCE = 4
"""Passwords that are checked at a time: each costs 32 MiB and a core for a tenth of a second."""
WAIT_SECONDS = 20.0

T = TypeVar("T")
_PLACES: WeakKeyDictionary[asyncio.AbstractEventLoop, anyio.CapacityLimiter] = WeakKeyDictionary()


@method("version")
async def server_version(_rpc: Rpc, _params: dict[str, Any]) -> Any:
    """Which server this is; text only, as clients want it."""
    return {"version": version("tintype"), "server": "tintype"}


@method("auth.login")
async def log_in(rpc: Rpc, params: dict[str, Any]) -> Any:
    """A token for a name and a password. Any name takes an API key as its password."""
    username, password = text_of(params, "username"), text_of(params, "password")
    tokens = tokens_of(rpc)
    if password.strip().startswith(KEY_PREFIX):
        return {"token": await to_thread.run_sync(tokens.of_key, password, username)}
    session = await _in_turn(lambda: rpc.studio.logins.open(username, password))
    return {"token": tokens.of_login(session)}


@method("auth.refresh")
async def refresh(rpc: Rpc, _params: dict[str, Any]) -> Any:
    """A fresh token for the one that came, which may have ended lately."""
    token = _sent(rpc)
    return {"token": await to_thread.run_sync(tokens_of(rpc).refresh, token)}


@method("auth.verify_token")
async def verify_token(rpc: Rpc, _params: dict[str, Any]) -> Any:
    """The token that came, which is good: the door has checked it."""
    return {"token": _sent(rpc)}


@method("auth.logout")
async def log_out(rpc: Rpc, _params: dict[str, Any]) -> Any:
    """Take back every token of the login."""
    claims = tokens_of(rpc).claims(_sent(rpc))
    if claims.login is None:
        raise InvalidInput(
            "This token stands for an API key.",
            code="key_token",
            fix="Revoke the key (`tintype keys revoke`).",
        )
    login = claims.login
    await to_thread.run_sync(rpc.studio.logins.end_sessions, login)
    return {"logged_out": True}


def tokens_of(rpc: Rpc) -> Tokens:
    """What makes and checks tokens."""
    tokens: Tokens = rpc.request.scope[TOKENS_SCOPE]
    return tokens


def _sent(rpc: Rpc) -> str:
    _, _, token = rpc.request.headers.get("authorization", "").partition(" ")
    if not is_token(token.strip()):
        raise Unauthorized("No token was sent.", code="missing_token", fix="Log in first.")
    return token.strip()


async def _in_turn(work: Callable[[], T]) -> T:
    loop = asyncio.get_running_loop()
    places = _PLACES.get(loop) or _PLACES.setdefault(loop, anyio.CapacityLimiter(AT_ONCE))
    try:
        with anyio.fail_after(WAIT_SECONDS):
            return await to_thread.run_sync(work, limiter=places)
    except TimeoutError:
        raise Unavailable("Too many log in at once.", code="busy", fix="Try again in a moment.") from None

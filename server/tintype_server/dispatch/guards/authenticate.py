"""Who is calling: the principal of the API key, checked on every call so that a revoked key stops at once."""

from __future__ import annotations

import zlib
from dataclasses import fields
from operator import attrgetter

from tintype_server.dispatch.running import Next, RunningCall
from tintype_studio.errors import InvalidInput
from tintype_studio.identity.keys import Principal
from tintype_studio.names import printable
from tintype_tools.call import Outcome

MAX_SESSION = 64

_OF_THE_KEY = attrgetter(*(f.name for f in fields(Principal)[:-3]))
"""All of a principal but the call, its session and its tool; ``replace`` takes three times as long."""


def authenticate(call: RunningCall, proceed: Next) -> Outcome:
    """Refuse a missing, unknown, revoked or expired key, and a session that is none."""
    principal = call.studio.keys.authenticate(call.request.api_key)
    # From here on the call is somebody's, however it ends.
    call.principal = principal
    try:
        session = session_of(principal, call)
    except InvalidInput:
        if not call.request.counted:  # the guard that counts comes later
            call.studio.rate_limits.admit(principal)
        raise
    tool = printable(call.request.tool[:80])
    call.principal = Principal(*(*_OF_THE_KEY(principal), call.id, session, tool))
    return proceed(call)


def session_of(principal: Principal, call: RunningCall) -> str:
    """What the caller counts the call to; otherwise what this key's agent does on one day."""
    own = call.request.session
    if own is not None:
        if not 1 <= len(own) <= MAX_SESSION or not own.isascii() or not own.isprintable():
            raise InvalidInput(
                f"A session is 1 to {MAX_SESSION} printable ASCII characters.", code="invalid_session"
            )
        return own
    agent = zlib.crc32((call.request.agent or "").encode("utf-8", "replace"))
    return f"{principal.key_uuid[:8]}-{agent:08x}-{call.started_at.date().isoformat()}"

"""Who is calling: the principal of the API key, checked on every call so that a revoked key stops at once."""

from __future__ import annotations

from tintype_server.dispatch.running import Next, RunningCall
from tintype_tools.call import Outcome


def authenticate(call: RunningCall, proceed: Next) -> Outcome:
    """Refuse a missing, unknown, revoked or expired key."""
    call.principal = call.studio.keys.authenticate(call.request.api_key)
    return proceed(call)

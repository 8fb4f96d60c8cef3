"""Whether this key may use this tool: its role and its toolsets."""

from __future__ import annotations

from tintype_server.dispatch.running import Next, RunningCall
from tintype_studio.errors import Forbidden
from tintype_tools.call import Outcome
from tintype_tools.snapshot import ALWAYS_OPEN
from tintype_tools.spec import Effect


def authorize(call: RunningCall, proceed: Next) -> Outcome:
    """Refuse a role that is too low, a change on a read-only connection, a toolset that is left out."""
    spec, principal = call.spec, call.principal
    if not principal.role.covers(spec.required_role):
        raise Forbidden(
            f"{spec.name} needs the role {spec.required_role}; this key has {principal.role}.",
            code="role_required",
            fix=f"Use a key with the role {spec.required_role} or above, or leave this step to a person.",
            details={"required_role": spec.required_role.value, "role": principal.role.value},
        )
    if spec.effect is not Effect.READ and (call.settings.read_only or call.request.read_only):
        raise Forbidden(
            f"{spec.name} changes something, and this connection is read-only.",
            code="read_only",
            fix="Read instead, or ask the person who set up the connection.",
        )
    open_toolsets = call.settings.offered_toolsets(principal.toolsets, call.request.toolsets)
    if open_toolsets is not None and spec.toolset not in open_toolsets | ALWAYS_OPEN:
        raise Forbidden(
            f"The toolset {spec.toolset!r} is not open to this key.",
            code="toolset_required",
            fix="Use a key that includes this toolset.",
        )
    return proceed(call)

"""Read one API key."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.identity_shapes import KeyId, KeyResult, KeyShape
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class GetApiKeyArgs(Args):
    """Which one."""

    key_id: KeyId


def handle(args: GetApiKeyArgs, call: Call) -> KeyResult:
    """Read."""
    return KeyResult(api_key=KeyShape.of(call.studio.keys.get(call.principal, prefix=args.key_id)))


TOOL = ToolSpec(
    name="get_api_key",
    title="Get an API key",
    category=Category.API_KEYS,
    toolset="api_keys",
    core=False,
    description="Use when you need one API key's role, limits and last use. Its secret is not shown.",
    args=GetApiKeyArgs,
    result=KeyResult,
    required_role=Role.ADMIN,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)

"""List the organization's API keys."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.identity_shapes import KeyShape
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListApiKeysArgs(Args):
    """Nothing to say."""


class ListApiKeysResult(Result):
    """Keys, oldest first, those that are switched off among them."""

    api_keys: list[KeyShape]
    count: int


def handle(_args: ListApiKeysArgs, call: Call) -> ListApiKeysResult:
    """List."""
    keys = [KeyShape.of(key) for key in call.studio.keys.list(call.principal)]
    return ListApiKeysResult(api_keys=keys, count=len(keys))


TOOL = ToolSpec(
    name="list_api_keys",
    title="List API keys",
    category=Category.API_KEYS,
    toolset="api_keys",
    core=False,
    description=(
        "Use when you need to know which API keys the organization has: role, limits, last use. Secrets are "
        "not kept and not shown."
    ),
    args=ListApiKeysArgs,
    result=ListApiKeysResult,
    required_role=Role.ADMIN,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)

"""Revoke an API key."""

from __future__ import annotations

from typing import Literal

from tintype_studio.identity.key_info import KeyInfo
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.identity_shapes import KeyId, KeyShape, tried
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class DeleteApiKeyArgs(Args):
    """Which one."""

    key_id: KeyId


class DeleteApiKeyResult(Result):
    """The key, which works no more."""

    deleted: Literal[True] = True
    api_key: KeyShape


def _revoke(args: DeleteApiKeyArgs, call: Call) -> KeyInfo:
    return call.studio.keys.revoke(call.principal, prefix=args.key_id)


def handle(args: DeleteApiKeyArgs, call: Call) -> DeleteApiKeyResult:
    """Revoke."""
    return DeleteApiKeyResult(api_key=KeyShape.of(_revoke(args, call)))


TOOL = ToolSpec(
    name="delete_api_key",
    title="Revoke an API key",
    category=Category.API_KEYS,
    toolset="api_keys",
    core=False,
    description=(
        "Use when the user asks to revoke an API key: it stops working within a second, and stays in the "
        "list. Needs the user's confirmation. The last owner key stays; undo_call does not bring a key back."
    ),
    args=DeleteApiKeyArgs,
    result=DeleteApiKeyResult,
    required_role=Role.ADMIN,
    idempotent=True,
    effect=Effect.DESTROY,
    plan=tried("api_key.revoked", _revoke),
    handler=handle,
)

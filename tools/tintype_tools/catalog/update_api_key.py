"""Change an API key."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from tintype_studio.identity.key_info import KeyInfo
from tintype_studio.identity.key_limits import MOST
from tintype_studio.identity.keys import MAX_NAME_LENGTH
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.identity_shapes import ROLE_FIELD, KeyId, KeyResult, KeyShape, tried
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class UpdateApiKeyArgs(Args):
    """Which one, and what of it; what is not named stays."""

    key_id: KeyId
    name: Annotated[str | None, Field(description="What the key is for.", max_length=MAX_NAME_LENGTH)] = None
    role: Annotated[Role | None, ROLE_FIELD] = None
    rate_limit: Annotated[int | None, Field(ge=1, le=MOST, description="Calls per hour.")] = None
    is_active: Annotated[bool | None, Field(description="false switches it off, true on again.")] = None
    expires_at: Annotated[datetime | None, Field(description="Until when it works, with time zone.")] = None
    lift: Annotated[
        list[Literal["rate_limit", "expires_at"]], Field(description="Limits to take away.", max_length=2)
    ] = []


def _update(args: UpdateApiKeyArgs, call: Call) -> KeyInfo:
    lifted: dict[str, Any] = dict.fromkeys(args.lift)
    changes: Any = lifted | args.model_dump(exclude={"key_id", "lift"}, exclude_none=True)
    return call.studio.keys.update(call.principal, args.key_id, **changes)


def handle(args: UpdateApiKeyArgs, call: Call) -> KeyResult:
    """Update."""
    return KeyResult(api_key=KeyShape.of(_update(args, call)))


TOOL = ToolSpec(
    name="update_api_key",
    title="Change an API key",
    category=Category.API_KEYS,
    toolset="api_keys",
    core=False,
    description=(
        "Use when the user wants an API key to have another name, role, rate limit or expiry, or to be "
        "switched off or on. It never goes above your own, and no key widens itself. The secret stays."
    ),
    args=UpdateApiKeyArgs,
    result=KeyResult,
    required_role=Role.ADMIN,
    idempotent=True,
    effect=Effect.WRITE,
    plan=tried("api_key.updated", _update),
    handler=handle,
)

"""Make an API key."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from tintype_studio.identity.key_info import KeyInfo
from tintype_studio.identity.key_limits import MOST
from tintype_studio.identity.keys import MAX_NAME_LENGTH
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.identity_shapes import AnyRole, tried
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class CreateApiKeyArgs(Args):
    """What it is for, and what it may do."""

    name: Annotated[str, Field(description="What the key is for.", max_length=MAX_NAME_LENGTH)]
    role: AnyRole = Role.MEMBER
    rate_limit: Annotated[
        int | None, Field(ge=1, le=MOST, description="Calls per hour; the tier's without it.")
    ] = None
    expires_at: Annotated[
        datetime | None, Field(description="Until when it works, with time zone; for good without it.")
    ] = None
    credit_cap: Annotated[
        int | None, Field(ge=0, le=MOST, description="Credits that it may spend in total.")
    ] = None
    daily_credit_cap: Annotated[
        int | None, Field(ge=0, le=MOST, description="Credits that it may spend a day.")
    ] = None
    toolsets: Annotated[
        list[str] | None, Field(description="Toolsets that it is limited to.", max_length=100)
    ] = None


class CreateApiKeyResult(Result):
    """The key. ``api_key`` is the secret, shown only here."""

    api_key: str
    key_id: str
    key_prefix: str
    name: str
    role: str
    rate_limit: int
    created_at: datetime
    expires_at: datetime | None = None


def _create(args: CreateApiKeyArgs, call: Call) -> tuple[str, KeyInfo]:
    return call.studio.keys.create(call.principal, **dict(args))


def handle(args: CreateApiKeyArgs, call: Call) -> CreateApiKeyResult:
    """Create."""
    secret, key = _create(args, call)
    return CreateApiKeyResult(
        api_key=secret,
        key_id=key.id,
        key_prefix=key.prefix,
        name=key.name,
        role=key.role.value,
        rate_limit=key.calls_per_hour,
        created_at=key.created_at,
        expires_at=key.expires_at,
    )


TOOL = ToolSpec(
    name="create_api_key",
    title="Make an API key",
    category=Category.API_KEYS,
    toolset="api_keys",
    core=False,
    description=(
        "Use when the user wants a further API key, such as a narrow one for another agent. It gets at most "
        "your own role and limits. The secret is shown once, here: give it to the user."
    ),
    args=CreateApiKeyArgs,
    result=CreateApiKeyResult,
    required_role=Role.ADMIN,
    idempotent=False,
    effect=Effect.WRITE,
    confidential=True,
    plan=tried("api_key.created", lambda args, call: _create(args, call)[1]),
    handler=handle,
)

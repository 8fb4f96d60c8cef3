"""``/api/v1/api-keys/``: API keys, outside the prefix of all else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from tintype_server.pictograph.door import RestDoor
from tintype_server.pictograph.schema import Wire, WireBody, answers
from tintype_studio.errors import NotFound
from tintype_studio.names import printable

Role = Literal["viewer", "member", "admin", "owner"]
RateLimit = Annotated[int, Field(ge=1, le=1_000_000_000)]
KeyName = Annotated[str, Field(min_length=1, max_length=100)]


class ApiKey(Wire):
    """An API key without its secret. ``rate_limit`` is what holds, in calls per hour."""

    id: str
    organization_id: str
    name: str
    key_prefix: str
    role: Role
    rate_limit: int
    is_active: bool
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


class CreatedApiKey(Wire):
    """A new key. ``api_key`` is the secret, shown only here; ``full_key`` and ``id`` are the same as
    ``api_key`` and ``key_id``.
    """

    api_key: str
    key_id: str
    key_prefix: str
    name: str
    role: Role
    rate_limit: int
    created_at: datetime
    expires_at: datetime | None
    full_key: str
    id: str


class ApiKeysAnswer(Wire):
    """Keys, oldest first."""

    api_keys: list[ApiKey]


class ApiKeyAnswer(Wire):
    """One key."""

    api_key: ApiKey


class CreateBody(WireBody):
    """What the key may do. A time without a zone is UTC."""

    organization_id: Annotated[str, Field(max_length=80)]
    name: KeyName
    role: Role = "member"
    rate_limit: RateLimit | None = None
    expires_at: datetime | None = None


class UpdateBody(WireBody):
    """What is to change. A rate limit or an expiry of null is taken away."""

    name: KeyName | None = None
    role: Role | None = None
    rate_limit: RateLimit | None = None
    is_active: bool | None = None
    expires_at: datetime | None = None


def routes(door: RestDoor) -> APIRouter:
    """The resource's routes."""
    router = door.router("/api/v1/api-keys", "API keys")

    async def require_own(request: Request, organization_id: str) -> None:
        principal = await door.principal(request)
        if organization_id != principal.organization_uuid:
            raise NotFound(
                f"No organization of this key has the id {printable(organization_id[:40])!r}.",
                code="organization_not_found",
                fix="Use the id that GET /organizations/me tells.",
            )

    @router.get("/", responses=answers(ApiKeysAnswer))
    async def list_keys(
        request: Request, organization_id: Annotated[str | None, Query(max_length=80)] = None
    ) -> Response:
        """The organization's keys, those that are switched off among them."""
        if organization_id is not None:
            await require_own(request, organization_id)
        outcome = await door.call(request, "list_api_keys", {})
        keys = [wire_key(key) for key in outcome.value["api_keys"]]
        return door.answer(request, {"api_keys": keys}, outcome)

    @router.post("/", responses=answers(CreatedApiKey))
    async def create(request: Request, body: CreateBody) -> Response:
        """Make a key, never above the caller's role and limits. A retry with the same idempotency key gets
        the same secret for 24 hours; nobody else ever does.
        """
        await require_own(request, body.organization_id)
        arguments = body.model_dump(exclude={"organization_id"}) | {"expires_at": _moment(body.expires_at)}
        outcome = await door.call(request, "create_api_key", arguments)
        made = outcome.value
        names = {"expires_at": made.get("expires_at"), "full_key": made["api_key"], "id": made["key_id"]}
        return door.answer(request, made | names, outcome)

    @router.get("/{key_id}", responses=answers(ApiKeyAnswer))
    async def get(request: Request, key_id: str) -> Response:
        """One key."""
        outcome = await door.call(request, "get_api_key", {"key_id": key_id})
        return door.answer(request, {"api_key": wire_key(outcome.value["api_key"])}, outcome)

    @router.patch("/{key_id}", responses=answers(ApiKeyAnswer))
    async def update(request: Request, key_id: str, body: UpdateBody) -> Response:
        """Change a key; what is not named stays. The secret stays, too."""
        arguments = body.model_dump() | {"key_id": key_id, "expires_at": _moment(body.expires_at)}
        lift = [
            name
            for name in ("rate_limit", "expires_at")
            if name in body.model_fields_set and arguments[name] is None
        ]
        outcome = await door.call(request, "update_api_key", arguments | ({"lift": lift} if lift else {}))
        return door.answer(request, {"api_key": wire_key(outcome.value["api_key"])}, outcome)

    @router.delete("/{key_id}", responses=answers(ApiKeyAnswer))
    async def delete(request: Request, key_id: str) -> Response:
        """Revoke a key. It stops working within a second, and stays in the list as not active."""
        outcome = await door.call(request, "delete_api_key", {"key_id": key_id})
        return door.answer(request, {"api_key": wire_key(outcome.value["api_key"])}, outcome)

    return router


def wire_key(key: dict[str, Any]) -> dict[str, Any]:
    """A key on the wire."""
    return {name: key.get(name) for name in ApiKey.model_fields}


def _moment(given: datetime | None) -> str | None:
    if given is None:
        return None
    return (given if given.tzinfo is not None else given.replace(tzinfo=UTC)).isoformat()

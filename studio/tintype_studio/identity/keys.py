"""API keys: made, shown once, checked, limited, revoked."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypedDict, Unpack

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthorized
from tintype_studio.identity.key_info import KeyInfo, find_key, key_by_hash, key_info, list_keys
from tintype_studio.identity.key_limits import (
    Limits,
    checked,
    hand_over,
    inherited,
    require_within,
    spendable,
)
from tintype_studio.identity.key_rows import (
    Actor,
    act,
    insert_key,
    invalid_key,
    member_role,
    require_owner_key_left,
    shorten_invites,
    void_invites,
    works,
)
from tintype_studio.identity.permissions import require, require_role_within
from tintype_studio.identity.roles import Role
from tintype_studio.identity.tiers import tier_of
from tintype_studio.names import clean_name, printable
from tintype_studio.storage.database import Database
from tintype_studio.storage.signing import Signer
from tintype_studio.storage.tables import api_keys, memberships, organizations, users

ACTING_AS = ":"
"""Between a key and the role that it is to act in, where that is less than its own."""
CACHE_SECONDS = 0.5
"""A revoked key stops working within this time in every process."""
MAX_NAME_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: one API key of one organization."""

    organization_id: int
    organization_uuid: str
    key_id: int
    key_uuid: str
    key_name: str
    key_prefix: str
    role: Role
    toolsets: frozenset[str] | None = None
    """Toolsets that the key is limited to; None for all."""
    user_id: int | None = None
    """The member that the key was made for, if any; what one of a member's keys made is its own to all."""
    tier: str = "free"
    """The organization's tier: see ``identity.tiers``."""
    rate_limit: int | None = None
    """Calls per hour; None for the tier's."""
    max_concurrent: int | None = None
    """Calls at a time; None for the tier's."""
    max_response_tokens: int | None = None
    """Largest response budget of a call; None for no limit of its own."""
    confirm_by: str | None = None
    """``token`` or ``human``: how calls that need confirmation get it; None for the server's setting."""
    call_id: str | None = None
    """The call that this principal acts in; every change carries it."""
    session: str | None = None
    """What the call belongs to, for ``undo_session``."""
    tool: str | None = None
    """The tool that is called."""


class KeyChanges(TypedDict, total=False):
    """What ``Keys.update`` changes. A limit of None is lifted."""

    name: str
    role: Role | str
    is_active: bool
    expires_at: datetime | None
    toolsets: list[str] | None
    credit_cap: int | None
    daily_credit_cap: int | None
    rate_limit: int | None
    max_concurrent: int | None
    max_response_tokens: int | None
    confirm_by: str | None


class Keys:
    """API keys of every organization."""

    def __init__(self, database: Database, signer: Signer) -> None:
        self._db = database
        self._signer = signer
        self._lock = threading.Lock()
        self._cache: dict[str, tuple[float, Principal]] = {}
        self._forgotten = 0

    def authenticate(self, api_key: str | None) -> Principal:
        """The principal of a key. Unknown, revoked and expired keys fail alike.

        ``KEY:ROLE`` acts in the lower one of that role and the key's own.
        """
        if not api_key or not api_key.strip():
            raise Unauthorized("No API key was sent.", code="missing_key")
        cached = self.cached(api_key)
        if cached is not None:
            return cached
        api_key = api_key.strip()
        self._cache.pop(api_key, None)
        # What is read from here on may be older than a revocation that happens meanwhile.
        checked_at, forgotten = time.monotonic(), self._forgotten
        principal = self._load(api_key)
        with self._lock:
            if len(self._cache) > 10_000:
                self._cache.clear()
            if self._forgotten == forgotten:
                self._cache[api_key] = (checked_at, principal)
        return principal

    def cached(self, api_key: str | None) -> Principal | None:
        """The principal if the key was checked a moment ago; never touches the database."""
        entry = self._cache.get(api_key.strip()) if api_key else None
        fresh = entry is not None and time.monotonic() - entry[0] < CACHE_SECONDS
        return entry[1] if entry is not None and fresh else None

    def forget(self) -> None:
        """Check every key anew from now on: a change of keys is felt at once in this process."""
        with self._lock:
            self._forgotten += 1
            self._cache.clear()

    def _load(self, sent: str) -> Principal:
        api_key, narrows, most = sent.partition(ACTING_AS)
        if narrows and most not in set(Role):
            raise invalid_key()
        query = (
            sa.select(api_keys, organizations.c.uuid.label("organization_uuid"), organizations.c.tier)
            .join(organizations, organizations.c.id == api_keys.c.organization_id)
            .where(api_keys.c.hash == self._signer.hash_key(api_key))
        )
        with self._db.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None or not works(row):
            raise invalid_key()
        return Principal(
            organization_id=row["organization_id"],
            organization_uuid=row["organization_uuid"],
            key_id=row["id"],
            key_uuid=row["uuid"],
            key_name=row["name"],
            key_prefix=row["prefix"],
            role=Role(row["role"]).at_most(Role(most)) if narrows else Role(row["role"]),
            toolsets=frozenset(row["toolsets"]) if row["toolsets"] is not None else None,
            user_id=row["user_id"],
            tier=row["tier"],
            rate_limit=row["rate_limit"],
            max_concurrent=row["max_concurrent"],
            max_response_tokens=row["max_response_tokens"],
            confirm_by=row["confirm_by"],
        )

    def create(
        self,
        principal: Principal,
        *,
        name: str,
        role: Role | str,
        user_id: str | None = None,
        credit_cap: int | None = None,
        daily_credit_cap: int | None = None,
        toolsets: list[str] | None = None,
        rate_limit: int | None = None,
        max_concurrent: int | None = None,
        max_response_tokens: int | None = None,
        confirm_by: str | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[str, KeyInfo]:
        """Make a key of the principal's organization; returns ``(secret, info)``. The secret is not kept.

        The key belongs to the member ``user_id``, else to whom the principal's key belongs. A limit that is
        not given is the principal's own. Credits are not passed on so: a key with a credit cap gives away
        what is said, out of its own cap, and nothing otherwise.

        Raises ``Forbidden`` for a role or a limit above the principal's own (``limit_above_own``) or above
        the member's role, ``NotFound`` for who is no member, ``InvalidInput`` for a bad name or value.
        """
        require(principal, "keys.create")
        name = clean_name(name, "Key name", max_length=MAX_NAME_LENGTH)
        values = {
            "role": role,
            "credit_cap": credit_cap,
            "daily_credit_cap": daily_credit_cap,
            "toolsets": toolsets,
            "rate_limit": rate_limit,
            "max_concurrent": max_concurrent,
            "max_response_tokens": max_response_tokens,
            "confirm_by": confirm_by,
            "expires_at": expires_at,
        }
        with self._db.write() as connection:
            actor = act(connection, principal, "keys.create")
            wanted = Limits(**checked(values, tier_of(actor.tier)))
            require_role_within(actor, wanted.role, "make a key")
            limits = inherited(wanted, actor.limits)
            require_within(limits, actor.limits)
            owner = _member(connection, actor, user_id) if user_id is not None else actor.user_id
            _require_role_of_member(connection, actor.organization_id, owner, limits.role)
            hand_over(
                connection,
                actor.organization_id,
                actor.id,
                total=limits.credit_cap or 0,
                daily=limits.daily_credit_cap or 0,
            )
            secret = insert_key(
                connection,
                self._signer,
                organization_id=actor.organization_id,
                name=name,
                role=limits.role,
                limits=limits,
                user_id=owner,
            )
            return secret, key_by_hash(connection, self._signer.hash_key(secret))

    def list(self, principal: Principal) -> list[KeyInfo]:
        """The organization's keys, oldest first."""
        require(principal, "keys.list")
        with self._db.read() as connection:
            return list_keys(connection, principal.organization_id)

    def get(self, principal: Principal, *, prefix: str) -> KeyInfo:
        """One key by its id or its 12-character prefix."""
        require(principal, "keys.get")
        with self._db.read() as connection:
            return key_info(find_key(connection, principal.organization_id, prefix))

    def update(self, principal: Principal, prefix: str, **changes: Unpack[KeyChanges]) -> KeyInfo:
        """Change a key, by its id or its 12-character prefix; what is not named stays. None lifts a limit.

        Narrowing is free to whoever covers the key's role. What widens a key in anything, or switches it on
        again, must leave it within the principal's own limits, and no key widens itself. Credits that are
        added come out of the principal's own cap, where it has one. Other processes follow within half a
        second.

        Raises what ``create`` raises, and ``Conflict`` for the last owner key (``last_owner_key``) and for
        switching on a key whose member is gone (``member_removed``).
        """
        require(principal, "keys.update")
        given = dict(changes)
        if not given:
            raise InvalidInput(
                "Nothing to change was named.",
                code="nothing_to_change",
                fix=f"Name one of: {', '.join(KeyChanges.__annotations__)}.",
            )
        with self._db.write() as connection:
            actor = act(connection, principal, "keys.update")
            before = find_key(connection, actor.organization_id, prefix)
            require_role_within(actor, Role(before["role"]), "change a key")
            switched = {name: given.pop(name) for name in ("name", "is_active") if name in given}
            if "name" in switched:
                switched["name"] = clean_name(str(switched["name"]), "Key name", max_length=MAX_NAME_LENGTH)
            if not isinstance(switched.get("is_active", True), bool):
                raise InvalidInput("is_active is true or false.", code="invalid_limit")
            new = replace(Limits.of(before), **checked(given, tier_of(actor.tier)))
            require_role_within(actor, new.role, "make a key")
            active = bool(switched.get("is_active", before["is_active"]))
            _allow(connection, actor, before, new, active=active)
            connection.execute(
                sa.update(api_keys)
                .where(api_keys.c.id == before["id"])
                .values(**switched, **new.as_columns())
            )
            _narrow_invites(connection, before["uuid"], new, active=active)
            require_owner_key_left(connection, before)
            after = key_info(find_key(connection, actor.organization_id, before["uuid"]))
        self._db.after_commit(self.forget)
        return after

    def revoke(self, principal: Principal, *, prefix: str) -> KeyInfo:
        """Switch a key off. Other processes follow within half a second. Revoking twice does no harm.

        ``Conflict`` for the last owner key that works: without one, nobody could make another.
        """
        require(principal, "keys.revoke")
        with self._db.write() as connection:
            actor = act(connection, principal, "keys.revoke")
            before = find_key(connection, actor.organization_id, prefix)
            require_role_within(actor, Role(before["role"]), "revoke a key")
            connection.execute(
                sa.update(api_keys).where(api_keys.c.id == before["id"]).values(is_active=False)
            )
            void_invites(connection, [before["uuid"]])
            require_owner_key_left(connection, before)
            after = key_info(find_key(connection, actor.organization_id, before["uuid"]))
        self._db.after_commit(self.forget)
        return after


def _allow(
    connection: sa.Connection, actor: Actor, before: sa.RowMapping, new: Limits, *, active: bool
) -> None:
    """Refuse a change that widens a key beyond the actor, and take what it gives off the actor's caps."""
    old, worked = Limits.of(before), works(before)
    will_work = active and (new.expires_at is None or new.expires_at > clock.now())
    widened = new.beyond(old)
    if will_work and not worked:
        widened.append("is_active")
    if not widened:
        return
    if before["id"] == actor.id:
        raise Forbidden(
            f"A key does not widen its own limits: {', '.join(widened)}.",
            code="own_key",
            fix="Use another key that has more.",
            details={"limits": widened},
        )
    # The whole of it, not only what was changed: two keys' separate limits may not add up to a third's.
    require_within(new, actor.limits)
    _require_role_of_member(connection, actor.organization_id, before["user_id"], new.role)
    used = before["credits_used"]
    given = {
        "total": spendable(new.credit_cap, used, works=will_work)
        - spendable(old.credit_cap, used, works=worked),
        "daily": spendable(new.daily_credit_cap, 0, works=will_work)
        - spendable(old.daily_credit_cap, 0, works=worked),
    }
    hand_over(
        connection,
        actor.organization_id,
        actor.id,
        **{which: max(0, credits) for which, credits in given.items()},
    )


def _narrow_invites(connection: sa.Connection, key_uuid: str, new: Limits, *, active: bool) -> None:
    void_invites(connection, [key_uuid], above=new.role if active else None)
    if new.expires_at is not None:
        shorten_invites(connection, key_uuid, new.expires_at)


def _member(connection: sa.Connection, actor: Actor, user_id: str) -> int:
    """The row of a member's user."""
    found = connection.execute(
        sa.select(users.c.id)
        .join(memberships, memberships.c.user_id == users.c.id)
        .where(
            users.c.uuid == printable(user_id),
            memberships.c.organization_id == actor.organization_id,
            memberships.c.removed_at.is_(None),
        )
    ).scalar()
    if found is None:
        raise NotFound(
            f"No member has the user id {printable(user_id[:40])!r}.",
            code="member_not_found",
            fix="List the members with `tintype members list`.",
        )
    return int(found)


def _require_role_of_member(
    connection: sa.Connection, organization_id: int, user_id: int | None, role: Role
) -> None:
    """A member's keys have no role above the member's own, and none works once the member is gone."""
    if user_id is None:
        return
    most = member_role(connection, organization_id, user_id)
    if most is None:
        raise Conflict(
            "The member that this key belongs to was removed.",
            code="member_removed",
            fix="Make a new key, or invite the member again.",
        )
    if not most.covers(role):
        raise Forbidden(
            f"The key's member has the role {most}, so the key cannot have {role}.",
            fix="Raise the member's role first (`tintype members set-role`).",
            details={"required_role": role.value, "role": most.value},
        )

"""Keys of people who come with a token of an authorization server, instead of with a key of ours.

Each person and client has one key, the clients after the first few of a person one together. Its secret
follows from the workspace's secret and from whom it is for: every process finds the same one, and nothing of
it is kept. The key stands in the list of keys like any other, so it can be limited and revoked.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import orjson
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Forbidden, InvalidInput
from tintype_studio.identity.key_limits import Limits, common
from tintype_studio.identity.key_rows import insert_key, lock_organization, works
from tintype_studio.identity.keys import ACTING_AS
from tintype_studio.identity.people import clean_email
from tintype_studio.identity.roles import Role
from tintype_studio.names import printable
from tintype_studio.storage.database import Database
from tintype_studio.storage.signing import Signer
from tintype_studio.storage.tables import api_keys, memberships, users

MAX_CLIENT = 80
MAX_KEYS = 5
"""Keys of one membership; the last one is for all further clients together."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a checked token says: who may act through which client, and as what at most."""

    issuer: str
    subject: str
    client: str
    email: str
    role: Role


class Grants:
    """Finds or makes the key of a grant."""

    def __init__(self, database: Database, signer: Signer) -> None:
        self._db = database
        self._signer = signer

    def key_of(self, grant: Grant) -> str:
        """The grant's key, followed by the role of the grant, see ``Keys.authenticate``.

        The member is who has the token's e-mail address; of several organizations, the one joined first. From
        the first token on, the member is also known by its issuer and subject. A new key has the member's
        role, and the narrowest of the limits of the member's other keys.

        Raises ``Forbidden``: ``not_a_member``; ``other_subject`` where another account had the address
        before; ``oauth_key_revoked`` while one of the member's keys for tokens is revoked or expired,
        whatever client it was for; and ``keys_expired`` for a member all of whose keys are.
        """
        with self._db.read() as connection:
            member, secret = self._find(connection, grant)
        if secret is None:
            with self._db.write() as connection:
                lock_organization(connection, member.organization_id)
                member, secret = self._find(connection, grant)  # another process may have been faster
                secret = secret or self._make(connection, grant, member)
        return secret + ACTING_AS + grant.role.value

    def _find(self, connection: sa.Connection, grant: Grant) -> tuple[_Member, str | None]:
        member = _member(connection, grant.email)
        if member.subject not in (None, _subject(grant)):
            raise _other_subject()
        keys = _keys(connection, api_keys.c.membership_id == member.id)
        if not all(works(row) for row in keys):
            raise _revoked(next(row["prefix"] for row in keys if not works(row)))
        made = {row["hash"] for row in keys}
        own = self._secret(grant, member, grant.client)
        if self._signer.hash_key(own) in made:
            return member, own
        shared = self._secret(grant, member, None)
        return member, shared if self._signer.hash_key(shared) in made else None

    def _make(self, connection: sa.Connection, grant: Grant, member: _Member) -> str:
        made = len(_keys(connection, api_keys.c.membership_id == member.id))
        client = grant.client if made < MAX_KEYS - 1 else None
        shown = printable((client or "")[:MAX_CLIENT]).strip() or "a client"
        connection.execute(
            sa.update(memberships).where(memberships.c.id == member.id).values(subject=_subject(grant))
        )
        return insert_key(
            connection,
            self._signer,
            organization_id=member.organization_id,
            name=f"OAuth: {'other clients' if client is None else shown}",
            role=member.role,
            limits=_limits(connection, member),
            user_id=member.user_id,
            secret=self._secret(grant, member, client),
            membership_id=member.id,
        )

    def _secret(self, grant: Grant, member: _Member, client: str | None) -> str:
        # The membership, not the person: who is removed and invited again begins anew.
        parts = [grant.issuer, grant.subject, client, member.uuid]
        return self._signer.key_for(orjson.dumps(parts))


@dataclass(frozen=True, slots=True)
class _Member:
    id: int
    uuid: str
    organization_id: int
    user_id: int
    role: Role
    subject: str | None


def _member(connection: sa.Connection, email: str) -> _Member:
    try:
        address = clean_email(email)
    except InvalidInput:
        raise _no_member() from None
    columns = memberships.c
    row = connection.execute(
        sa.select(
            columns.id,
            columns.uuid,
            columns.organization_id,
            columns.user_id,
            columns.role,
            columns.subject,
        )
        .join(users, users.c.id == columns.user_id)
        .where(users.c.email == address, columns.removed_at.is_(None))
        .order_by(columns.id)
    ).first()
    if row is None:
        raise _no_member()
    return _Member(row.id, row.uuid, row.organization_id, row.user_id, Role(row.role), row.subject)


def _keys(connection: sa.Connection, which: sa.ColumnElement[bool]) -> list[sa.RowMapping]:
    return list(connection.execute(sa.select(api_keys).where(which)).mappings())


def _limits(connection: sa.Connection, member: _Member) -> Limits:
    """Of the keys that work; of all, where none does: nobody gets more by having lost them."""
    theirs = sa.and_(
        api_keys.c.organization_id == member.organization_id, api_keys.c.user_id == member.user_id
    )
    keys = _keys(connection, theirs)
    working = [row for row in keys if works(row)]
    limits = common(member.role, [Limits.of(row) for row in working or keys])
    if limits.expires_at is not None and limits.expires_at <= clock.now():
        raise Forbidden(
            "All keys of the token's person have expired.",
            code="keys_expired",
            fix="Ask an admin for a new key (`tintype keys create`), or for more time on an old one.",
        )
    return limits


def _subject(grant: Grant) -> str:
    return hashlib.sha256(orjson.dumps([grant.issuer, grant.subject])).hexdigest()


def _no_member() -> Forbidden:
    return Forbidden(
        "Nobody with the token's e-mail address is a member here.",
        code="not_a_member",
        fix="Ask an admin for an invitation (`tintype invites create`).",
    )


def _other_subject() -> Forbidden:
    return Forbidden(
        "The token's e-mail address belongs to a member who came with another account (issuer and subject).",
        code="other_subject",
        fix="Sign in with the account of before, or ask an admin to remove the member and invite them again.",
    )


def _revoked(prefix: str) -> Forbidden:
    return Forbidden(
        f"Key {prefix}…, made for tokens of this person, is revoked or expired: none of the tokens is taken.",
        code="oauth_key_revoked",
        fix=f"Ask an admin to let you in again (`tintype keys update {prefix} --active`, or `--expires-in`).",
    )

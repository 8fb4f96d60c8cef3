"""Keys of people who come with a token of an authorization server, instead of with a key of ours.

Each person, client and role has one key. Its secret follows from the workspace's secret and from whom it is
for: every process finds the same one, and nothing of it is kept. The key stands in the list of keys like any
other, so it can be limited and revoked.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson
import sqlalchemy as sa

from tintype_studio.errors import Forbidden, InvalidInput
from tintype_studio.identity.key_rows import insert_key, lock_organization
from tintype_studio.identity.people import clean_email
from tintype_studio.identity.roles import Role
from tintype_studio.names import printable
from tintype_studio.storage.database import Database
from tintype_studio.storage.signing import Signer
from tintype_studio.storage.tables import api_keys, memberships, users

MAX_CLIENT = 80


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
        """The secret of the grant's key, in the role of the grant or of the member, whichever is lower.

        The member is who has the token's e-mail address; of several organizations, the one joined first.
        Whether the key still works is for ``Keys.authenticate`` to say.

        Raises ``Forbidden`` (``not_a_member``) for who is a member of none.
        """
        with self._db.read() as connection:
            member = _member(connection, grant.email)
            role = grant.role if member.role.covers(grant.role) else member.role
            secret = self._secret(grant, member.uuid, role)
            if self._exists(connection, secret):
                return secret
        with self._db.write() as connection:
            lock_organization(connection, member.organization_id)
            if not self._exists(connection, secret):
                client = printable(grant.client[:MAX_CLIENT]).strip() or "a client"
                insert_key(
                    connection,
                    self._signer,
                    organization_id=member.organization_id,
                    name=f"OAuth: {client}",
                    role=role,
                    user_id=member.user_id,
                    secret=secret,
                )
        return secret

    def _secret(self, grant: Grant, membership: str, role: Role) -> str:
        # The membership, not the person: who is removed and invited again begins anew.
        parts = [grant.issuer, grant.subject, grant.client, membership, role.value]
        return self._signer.key_for(orjson.dumps(parts))

    def _exists(self, connection: sa.Connection, secret: str) -> bool:
        digest = self._signer.hash_key(secret)
        return (
            connection.execute(sa.select(api_keys.c.id).where(api_keys.c.hash == digest)).scalar() is not None
        )


@dataclass(frozen=True, slots=True)
class _Member:
    uuid: str
    organization_id: int
    user_id: int
    role: Role


def _member(connection: sa.Connection, email: str) -> _Member:
    try:
        address = clean_email(email)
    except InvalidInput:
        raise _no_member() from None
    columns = memberships.c
    row = connection.execute(
        sa.select(columns.uuid, columns.organization_id, columns.user_id, columns.role)
        .join(users, users.c.id == columns.user_id)
        .where(users.c.email == address, columns.removed_at.is_(None))
        .order_by(columns.id)
    ).first()
    if row is None:
        raise _no_member()
    return _Member(row.uuid, row.organization_id, row.user_id, Role(row.role))


def _no_member() -> Forbidden:
    return Forbidden(
        "Nobody with the token's e-mail address is a member here.",
        code="not_a_member",
        fix="Ask an admin for an invitation (`tintype invites create`).",
    )

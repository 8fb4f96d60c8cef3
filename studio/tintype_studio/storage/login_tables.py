"""Names and passwords of people, for the dialect whose clients log in with them."""

from __future__ import annotations

import sqlalchemy as sa

from tintype_studio.storage.column_types import BigId, UtcDateTime
from tintype_studio.storage.tables import metadata

logins = sa.Table(
    "logins",
    metadata,
    sa.Column("id", BigId, primary_key=True, autoincrement=True),
    sa.Column("uuid", sa.String(36), nullable=False, unique=True),
    sa.Column(
        "organization_id",
        BigId,
        sa.ForeignKey("organizations.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    # What its tokens stand for: role, limits and history are the key's.
    sa.Column(
        "api_key_id", BigId, sa.ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False, unique=True
    ),
    sa.Column("username", sa.String(254), nullable=False, unique=True),
    # scrypt, with its parameters and salt.
    sa.Column("password_hash", sa.String(200), nullable=False),
    # Counted up by a logout everywhere and by a new password: tokens of an earlier one are void.
    sa.Column("generation", sa.Integer, nullable=False, server_default="0"),
    # Wrong passwords since the last right one, and until when none is taken.
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("locked_until", UtcDateTime, nullable=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("last_used_at", UtcDateTime, nullable=True),
)

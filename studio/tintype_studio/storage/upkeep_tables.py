"""Tables of the housekeeping: calls counted per key and minute, and blobs on their way out."""

from __future__ import annotations

import sqlalchemy as sa

from tintype_studio.storage.column_types import BigId, UtcDateTime
from tintype_studio.storage.tables import metadata

rate_windows = sa.Table(
    "rate_windows",
    metadata,
    sa.Column("api_key_id", BigId, primary_key=True, autoincrement=False),
    sa.Column("minute", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("instance", sa.String(32), primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
)

swept_blobs = sa.Table(
    "swept_blobs",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("marked_at", UtcDateTime, nullable=False),
    sa.Column("deleted_at", UtcDateTime, nullable=True),
)

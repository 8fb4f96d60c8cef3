"""Tables of the search index: what was found in each image, apart from the image itself.

All of it can be computed again from images and annotations. A sample that lacks its row here is simply not
indexed yet, so that nothing has to be remembered about work to do.
"""

from __future__ import annotations

import sqlalchemy as sa

from tintype_studio.storage.column_types import BigId, UtcDateTime
from tintype_studio.storage.tables import metadata


def _sample(*, primary_key: bool = True) -> sa.Column[int]:
    return sa.Column(
        "sample_id",
        BigId,
        sa.ForeignKey("samples.id", ondelete="CASCADE"),
        primary_key=primary_key,
        nullable=False,
        autoincrement=False,
    )


search_entries = sa.Table(
    "search_entries",
    metadata,
    _sample(),
    # Which version of the statistics looked at the image; another one looks again.
    sa.Column("analyzer", sa.String(20), nullable=False),
    # Why something is missing for good: the code of the error when the image was decoded or embedded.
    sa.Column("problem", sa.String(60), nullable=True),
    sa.Column("fingerprint", sa.LargeBinary, nullable=True),
    sa.Column("indexed_at", UtcDateTime, nullable=False),
)

search_tags = sa.Table(
    "search_tags",
    metadata,
    _sample(),
    sa.Column("category", sa.String(10), primary_key=True),
    sa.Column("name", sa.String(60), primary_key=True),
    sa.Column("confidence", sa.Float, nullable=False),
    sa.Index("ix_search_tags_name", "category", "name", "sample_id"),
)

search_vectors = sa.Table(
    "search_vectors",
    metadata,
    _sample(),
    sa.Column("embedder", sa.String(160), primary_key=True),
    sa.Column("dataset_id", BigId, sa.ForeignKey("datasets.id", ondelete="CASCADE"), nullable=False),
    # A random number: row ids are used again after a purge, and a copy must tell old rows from new ones.
    sa.Column("token", sa.BigInteger, nullable=False),
    # Little-endian float16, of length one.
    sa.Column("vector", sa.LargeBinary, nullable=False),
    sa.Index("ix_search_vectors_cached", "dataset_id", "embedder", "token", "sample_id"),
)

# Goes up with every vector that is written, so that a copy of the vectors knows whether it has them all.
search_versions = sa.Table(
    "search_versions",
    metadata,
    sa.Column(
        "dataset_id",
        BigId,
        sa.ForeignKey("datasets.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("embedder", sa.String(160), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
)

sample_classes = sa.Table(
    "sample_classes",
    metadata,
    _sample(),
    sa.Column("name", sa.String(120), primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Index("ix_sample_classes_name", "name", "sample_id"),
)

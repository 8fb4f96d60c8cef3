"""Tags and search: what each image shows, its fingerprint, its vectors, and the classes annotated in it."""

from collections import Counter

import orjson
import sqlalchemy as sa
from alembic import op

from tintype_studio.storage.column_types import BigId, UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BATCH = 500


def upgrade() -> None:
    """Apply. Images are indexed again whenever their rows are missing; classes are counted here."""
    op.create_table(
        "search_entries",
        sa.Column("sample_id", BigId, autoincrement=False, nullable=False),
        sa.Column("analyzer", sa.String(length=20), nullable=False),
        sa.Column("problem", sa.String(length=60), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=True),
        sa.Column("indexed_at", UtcDateTime(), nullable=False),
        _of_sample("search_entries"),
        sa.PrimaryKeyConstraint("sample_id", name=op.f("pk_search_entries")),
    )
    op.create_table(
        "search_tags",
        sa.Column("sample_id", BigId, autoincrement=False, nullable=False),
        sa.Column("category", sa.String(length=10), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        _of_sample("search_tags"),
        sa.PrimaryKeyConstraint("sample_id", "category", "name", name=op.f("pk_search_tags")),
    )
    op.create_index("ix_search_tags_name", "search_tags", ["category", "name", "sample_id"])
    op.create_table(
        "search_vectors",
        sa.Column("sample_id", BigId, autoincrement=False, nullable=False),
        sa.Column("embedder", sa.String(length=160), nullable=False),
        sa.Column("dataset_id", BigId, nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        _of_sample("search_vectors"),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["datasets.id"],
            name=op.f("fk_search_vectors_dataset_id_datasets"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("sample_id", "embedder", name=op.f("pk_search_vectors")),
    )
    op.create_index(
        "ix_search_vectors_cached", "search_vectors", ["dataset_id", "embedder", "token", "sample_id"]
    )
    op.create_table(
        "search_versions",
        sa.Column("dataset_id", BigId, autoincrement=False, nullable=False),
        sa.Column("embedder", sa.String(length=160), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["datasets.id"],
            name=op.f("fk_search_versions_dataset_id_datasets"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("dataset_id", "embedder", name=op.f("pk_search_versions")),
    )
    op.create_table(
        "sample_classes",
        sa.Column("sample_id", BigId, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        _of_sample("sample_classes"),
        sa.PrimaryKeyConstraint("sample_id", "name", name=op.f("pk_sample_classes")),
    )
    op.create_index("ix_sample_classes_name", "sample_classes", ["name", "sample_id"])
    _count_classes()


def downgrade() -> None:
    """Take back."""
    for table in ("sample_classes", "search_versions", "search_vectors", "search_tags", "search_entries"):
        op.drop_table(table)


def _of_sample(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["sample_id"], ["samples.id"], name=op.f(f"fk_{table}_sample_id_samples"), ondelete="CASCADE"
    )


def _count_classes() -> None:
    """From the newest document of every sample."""
    connection = op.get_bind()
    number, text, integer = sa.BigInteger, sa.Text, sa.Integer
    sets = sa.table("annotation_sets", sa.column("id", number), sa.column("name", text))
    revisions = sa.table(
        "annotation_revisions",
        sa.column("id", number),
        sa.column("sample_id", number),
        sa.column("annotation_set_id", number),
        sa.column("document", text),
    )
    target = sa.table(
        "sample_classes", sa.column("sample_id", number), sa.column("name", text), sa.column("count", integer)
    )
    newest = (
        sa.select(sa.func.max(revisions.c.id))
        .join(sets, sets.c.id == revisions.c.annotation_set_id)
        .where(sets.c.name == "default")
        .group_by(revisions.c.sample_id)
    )
    ids = sorted(connection.execute(newest).scalars())
    for start in range(0, len(ids), BATCH):
        rows = connection.execute(
            sa.select(revisions.c.sample_id, revisions.c.document).where(
                revisions.c.id.in_(ids[start : start + BATCH])
            )
        ).all()
        counted = [
            {"sample_id": row.sample_id, "name": name, "count": count}
            for row in rows
            for name, count in Counter(a["name"] for a in orjson.loads(row.document)).items()
        ]
        if counted:
            connection.execute(sa.insert(target), counted)

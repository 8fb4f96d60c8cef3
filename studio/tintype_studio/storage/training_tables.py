"""Tables of training: runs, their epochs, the models that came of them, and what these are worth.

A run lives as long as its organization; its job is forgotten after a while, so that what must be known of the
end stands in the run itself. Models stay when their dataset is purged: they hold none of its pictures.
"""

from __future__ import annotations

import sqlalchemy as sa

from tintype_studio.storage.column_types import BigId, UtcDateTime
from tintype_studio.storage.tables import metadata


def _to(column: str, table: str, *, gone: str, nullable: bool = True) -> sa.Column[int]:
    return sa.Column(column, BigId, sa.ForeignKey(f"{table}.id", ondelete=gone), nullable=nullable)


def _id() -> sa.Column[int]:
    return sa.Column("id", BigId, primary_key=True, autoincrement=True)


def _uuid() -> sa.Column[str]:
    return sa.Column("uuid", sa.String(36), nullable=False, unique=True)


_uncleared = sa.text("cleared_at IS NULL")

training_runs = sa.Table(
    "training_runs",
    metadata,
    _id(),
    _uuid(),
    _to("organization_id", "organizations", gone="CASCADE", nullable=False),
    _to("api_key_id", "api_keys", gone="SET NULL"),
    sa.Column("job_id", BigId, sa.ForeignKey("jobs.id", ondelete="SET NULL"), nullable=True, unique=True),
    _to("dataset_id", "datasets", gone="SET NULL"),
    # As it was called then.
    sa.Column("dataset_name", sa.String(120), nullable=False),
    _to("export_id", "exports", gone="SET NULL"),
    sa.Column("export_name", sa.String(100), nullable=False),
    # The export's bytes while the run needs them: a purge of the dataset leaves them alone until then.
    sa.Column("data_sha256", sa.String(64), nullable=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("pipeline", sa.String(40), nullable=False),
    sa.Column("gpu", sa.String(20), nullable=False),
    sa.Column("config", sa.JSON, nullable=False),
    sa.Column("class_filter", sa.JSON, nullable=True),
    sa.Column("status_filter", sa.String(20), nullable=True),
    # completed, failed or cancelled; until then the job tells.
    sa.Column("outcome", sa.String(10), nullable=True),
    sa.Column("epochs_done", sa.Integer, nullable=False, server_default="0"),
    sa.Column("trained_seconds", sa.Float, nullable=False, server_default="0"),
    sa.Column("best_epoch", sa.Integer, nullable=True),
    # Of the last epoch; of the finished model once there is one.
    sa.Column("metrics", sa.JSON, nullable=False),
    # Device, architecture, initialization, counts of the split and the like.
    sa.Column("facts", sa.JSON, nullable=False),
    sa.Column("notes", sa.JSON, nullable=False),
    sa.Column("credits_held", sa.BigInteger, nullable=True),
    sa.Column("credits_charged", sa.BigInteger, nullable=True),
    sa.Column("credits_refunded", sa.BigInteger, nullable=True),
    sa.Column("error_code", sa.String(60), nullable=True),
    sa.Column("error_message", sa.String(500), nullable=True),
    sa.Column("error_fix", sa.String(500), nullable=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=True),
    sa.Column("finished_at", UtcDateTime, nullable=True),
    # When its checkpoints and its work folder were removed.
    sa.Column("cleared_at", UtcDateTime, nullable=True),
    sa.Index("ix_training_runs_of_organization", "organization_id", "id"),
    sa.Index("ix_training_runs_uncleared", "id", sqlite_where=_uncleared, postgresql_where=_uncleared),
    sa.Index("ix_training_runs_data_sha256", "data_sha256"),
)

training_epochs = sa.Table(
    "training_epochs",
    metadata,
    sa.Column(
        "run_id",
        BigId,
        sa.ForeignKey("training_runs.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("batch_size", sa.Integer, nullable=False),
    sa.Column("best", sa.Boolean, nullable=False),
    # Whether nothing more was to be trained after it.
    sa.Column("stop", sa.Boolean, nullable=False),
    # Key among what is derived; gone when the run has ended.
    sa.Column("checkpoint", sa.String(200), nullable=False),
    sa.Column("finished_at", UtcDateTime, nullable=False),
    sqlite_with_rowid=False,
)

models = sa.Table(
    "models",
    metadata,
    _id(),
    _uuid(),
    _to("organization_id", "organizations", gone="CASCADE", nullable=False),
    sa.Column(
        "run_id",
        BigId,
        sa.ForeignKey("training_runs.id", ondelete="CASCADE"),
        nullable=False,
        unique=True,
    ),
    _to("dataset_id", "datasets", gone="SET NULL"),
    sa.Column("dataset_name", sa.String(120), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    # The n of "n.0.0".
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("model_type", sa.String(30), nullable=False),
    sa.Column("pipeline", sa.String(40), nullable=False),
    sa.Column("architecture", sa.String(120), nullable=True),
    sa.Column("initialization", sa.String(300), nullable=True),
    sa.Column("signature", sa.JSON, nullable=True),
    sa.Column("metrics", sa.JSON, nullable=True),
    sa.Column("card", sa.JSON, nullable=True),
    sa.Column("onnx_sha256", sa.String(64), nullable=True, index=True),
    sa.Column("onnx_size", sa.BigInteger, nullable=True),
    sa.Column("checkpoint_sha256", sa.String(64), nullable=True, index=True),
    sa.Column("checkpoint_size", sa.BigInteger, nullable=True),
    # The second network, which chooses attributes of the objects found; and what it may choose, by class.
    sa.Column("heads_sha256", sa.String(64), nullable=True, index=True),
    sa.Column("heads_size", sa.BigInteger, nullable=True),
    sa.Column("attributes", sa.JSON, nullable=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    # Set with the weights, in one transaction.
    sa.Column("ready_at", UtcDateTime, nullable=True),
    sa.Column("archived_at", UtcDateTime, nullable=True),
    sa.Column("archived_call", sa.String(36), nullable=True),
    sa.UniqueConstraint("dataset_id", "name", "version"),
    sa.Index("ix_models_of_organization", "organization_id", "id"),
)

evaluations = sa.Table(
    "evaluations",
    metadata,
    _id(),
    _uuid(),
    _to("organization_id", "organizations", gone="CASCADE", nullable=False),
    sa.Column("model_id", BigId, sa.ForeignKey("models.id", ondelete="CASCADE"), nullable=False, index=True),
    _to("dataset_id", "datasets", gone="SET NULL"),
    sa.Column("dataset_name", sa.String(120), nullable=False),
    # train, val, test or all; with @ and the row of the annotation set, if that is not the default one.
    # (SQLite keeps to no length.)
    sa.Column("split", sa.String(10).with_variant(sa.String(40), "postgresql"), nullable=False),
    # The whole evaluation, as JSON.
    sa.Column("sha256", sa.String(64), nullable=False, index=True),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("images", sa.Integer, nullable=False),
    # Digests by name of the picture.
    sa.Column("pictures", sa.JSON, nullable=False),
    sa.Column("call_id", sa.String(36), nullable=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
)

"""Tables of predictions about media that no dataset holds: tasks, and what is known before one is done.

A task lives until ``expires_at``; then its row, its parts and its result go, whatever became of it.
"""

from __future__ import annotations

import sqlalchemy as sa

from tintype_studio.storage.column_types import BigId, UtcDateTime
from tintype_studio.storage.tables import metadata

prediction_tasks = sa.Table(
    "prediction_tasks",
    metadata,
    sa.Column("id", BigId, primary_key=True, autoincrement=True),
    sa.Column("uuid", sa.String(36), nullable=False, unique=True),
    sa.Column(
        "organization_id", BigId, sa.ForeignKey("organizations.id", ondelete="CASCADE"), nullable=False
    ),
    # None until the prediction is asked for.
    sa.Column("job_id", BigId, sa.ForeignKey("jobs.id", ondelete="SET NULL"), nullable=True, unique=True),
    # image or video.
    sa.Column("media", sa.String(10), nullable=False),
    sa.Column("mime_type", sa.String(100), nullable=True),
    sa.Column("file_name", sa.String(255), nullable=True),
    # Where the bytes are put (``storage/uploads.py``); None for what is read from elsewhere.
    sa.Column("upload", sa.String(400), nullable=True),
    # Of a video: how many frames a second are looked at.
    sa.Column("frames_per_second", sa.Integer, nullable=True),
    # As it was asked for.
    sa.Column("model", sa.String(200), nullable=True),
    # predicted or failed; until then the job tells.
    sa.Column("outcome", sa.String(10), nullable=True),
    sa.Column("error_code", sa.String(60), nullable=True),
    sa.Column("error_message", sa.String(500), nullable=True),
    # Of the result as JSON (``predictions/shapes.py``).
    sa.Column("result_sha256", sa.String(64), nullable=True, index=True),
    sa.Column("result_size", sa.BigInteger, nullable=True),
    # Size and length of the media, thresholds and the like.
    sa.Column("facts", sa.JSON, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime, nullable=True),
    sa.Column("expires_at", UtcDateTime, nullable=False, index=True),
    sa.Index("ix_prediction_tasks_of_organization", "organization_id", "id"),
)

prediction_parts = sa.Table(
    "prediction_parts",
    metadata,
    sa.Column(
        "task_id",
        BigId,
        sa.ForeignKey("prediction_tasks.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    # What was found in the frames of one minute, so that a crash loses one minute at most.
    sa.Column("data", sa.LargeBinary, nullable=False),
)

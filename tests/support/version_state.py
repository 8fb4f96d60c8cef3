"""All that a version keeps of a dataset, read from the tables themselves."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio

SAMPLES = """
    SELECT s.uuid, s.filename, s.folder, s.display_name, s.status, s.split, s.annotation_count,
        s.frame_number, s.meta, q.name AS sequence, q.description AS about
    FROM samples s JOIN datasets d ON d.id = s.dataset_id LEFT JOIN sequences q ON q.id = s.sequence_id
    WHERE d.name = :name AND s.deleted_at IS NULL
"""
FILES = """
    SELECT s.uuid, f.type, f.sha256, f.size, f.mime_type, f.filename FROM sample_files f
    JOIN samples s ON s.id = f.sample_id JOIN datasets d ON d.id = s.dataset_id
    WHERE d.name = :name AND s.deleted_at IS NULL ORDER BY f.type
"""
DOCUMENTS = """
    SELECT s.uuid, a.name, (
        SELECT r.document FROM annotation_revisions r WHERE r.sample_id = s.id AND r.annotation_set_id = a.id
        ORDER BY r.revision DESC LIMIT 1
    ) AS document FROM samples s JOIN datasets d ON d.id = s.dataset_id
    JOIN annotation_sets a ON a.dataset_id = d.id AND a.deleted_at IS NULL
    WHERE d.name = :name AND s.deleted_at IS NULL
"""
CLASSES = """
    SELECT c.name, c.type, c.color, c.label_index, c.attributes FROM dataset_classes c
    JOIN datasets d ON d.id = c.dataset_id WHERE d.name = :name ORDER BY c.position
"""
SETS = """
    SELECT a.uuid, a.name, a.description FROM annotation_sets a JOIN datasets d ON d.id = a.dataset_id
    WHERE d.name = :name AND a.deleted_at IS NULL
"""
GROUPS = """
    SELECT g.name FROM sample_groups g JOIN datasets d ON d.id = g.dataset_id WHERE d.name = :name
    UNION SELECT s.split FROM samples s JOIN datasets d ON d.id = s.dataset_id
    WHERE d.name = :name AND s.deleted_at IS NULL AND s.split IS NOT NULL
"""
DATASET = "SELECT classes_declared, annotation_types FROM datasets WHERE name = :name"
COUNTED = """
    SELECT s.uuid, c.name, c.count FROM sample_classes c JOIN samples s ON s.id = c.sample_id
    JOIN datasets d ON d.id = s.dataset_id WHERE d.name = :name AND s.deleted_at IS NULL
    ORDER BY s.uuid, c.name
"""
COUNTERS = """
    SELECT d.image_count, d.completed_image_count, d.annotation_count, d.total_size FROM datasets d
    WHERE d.name = :name
"""
TRUE_COUNTERS = """
    SELECT
        coalesce(sum(EXISTS (SELECT 1 FROM sample_files f WHERE f.sample_id = s.id AND f.type = 'image')), 0),
        coalesce(sum(s.status = 'complete'
            AND EXISTS (SELECT 1 FROM sample_files f WHERE f.sample_id = s.id AND f.type = 'image')), 0),
        coalesce(sum(s.annotation_count), 0),
        coalesce(sum((SELECT coalesce(sum(f.size), 0) FROM sample_files f WHERE f.sample_id = s.id)), 0)
    FROM samples s JOIN datasets d ON d.id = s.dataset_id WHERE d.name = :name AND s.deleted_at IS NULL
"""


def rows(studio: Studio, text: str, name: str) -> list[dict[str, Any]]:
    with studio.database.read() as connection:
        return [dict(row) for row in connection.execute(sa.text(text), {"name": name}).mappings()]


def state_of(studio: Studio, name: str) -> dict[str, Any]:
    """Everything, letter for letter; sizes of samples, times and ids of rows left out."""
    found: dict[str, dict[str, Any]] = {
        row.pop("uuid"): {**row, "files": [], "documents": {}} for row in rows(studio, SAMPLES, name)
    }
    for row in rows(studio, FILES, name):
        found[row.pop("uuid")]["files"].append(row)
    for row in rows(studio, DOCUMENTS, name):
        if row["document"] not in (None, "[]"):
            found[row["uuid"]]["documents"][row["name"]] = row["document"]
    return {
        "samples": found,
        "classes": rows(studio, CLASSES, name),
        "sets": {row["name"]: row for row in rows(studio, SETS, name)},
        "groups": sorted(row["name"] for row in rows(studio, GROUPS, name)),
        "dataset": rows(studio, DATASET, name),
        "counted": rows(studio, COUNTED, name),
    }


def counters_are_true(studio: Studio, _principal: Principal, name: str) -> None:
    (kept,) = rows(studio, COUNTERS, name)
    (true,) = rows(studio, TRUE_COUNTERS, name)
    assert list(kept.values()) == list(true.values())

"""What is found in one image, and the rows that keep it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from obstore.exceptions import BaseError as BlobStoreError

from tintype_studio import clock
from tintype_studio.catalog.samples import IMAGE
from tintype_studio.errors import NotFound, TintypeError, Unavailable
from tintype_studio.search.vector_store import note_change
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.database import Database
from tintype_studio.storage.search_tables import search_entries, search_tags, search_vectors
from tintype_studio.storage.tables import sample_files
from tintype_studio.vision.embedders import Embedder

if TYPE_CHECKING:
    from tintype_studio.vision.tags import Tag

ANALYZER = "1"
"""Version of tags and fingerprints; with another one, every image is looked at again."""

ATTRIBUTE = "attribute"
SCENE = "scene"

EMBEDDING_FAILED = "embedding_failed"
"""Problem of an image that can be decoded, but of which the embedder made no vector; its name follows."""


@dataclass(frozen=True, slots=True)
class Missing:
    """An image to look at."""

    sample_id: int
    dataset_id: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Look:
    """What was found in one image; ``vector`` is None where there is no embedder, or where it failed."""

    image: Missing
    problem: str | None = None
    fingerprint: bytes | None = None
    tags: Sequence[Tag] = ()
    vector: bytes | None = None
    embedder: str | None = None


def look_at(image: Missing, blobs: Blobs, embedder: Embedder | None) -> Look | None:
    """Decode an image once and find all that is kept of it; None if its bytes cannot be had just now.

    Raises ``Unavailable`` if the embedder cannot work at all. Where it fails on this picture alone, that is
    the image's problem.
    """
    import numpy as np

    from tintype_studio.media.decode import decode_with_info
    from tintype_studio.vision.fingerprints import fingerprint
    from tintype_studio.vision.tags import REDUCED_SIDE, attribute_tags

    side = max(REDUCED_SIDE, embedder.side if embedder else 0)
    try:
        picture, info = decode_with_info(blobs.get(image.sha256), fit=(side, side))
    except (Unavailable, OSError, BlobStoreError):
        return None
    except TintypeError as error:
        return Look(image, problem="blob_missing" if isinstance(error, NotFound) else error.code)
    pixels = np.asarray(picture)
    vector = problem = None
    if embedder is not None:
        try:
            vector = embedder.embed([pixels])[0].astype("<f2").tobytes()
        except Unavailable:
            raise
        except Exception:  # one picture that an engine stumbles over must not keep the others waiting
            problem = failed(embedder.name)
    if side > REDUCED_SIDE:
        picture.thumbnail((REDUCED_SIDE, REDUCED_SIDE))
        pixels = np.asarray(picture)
    tags = attribute_tags(pixels, (info.width, info.height))
    return Look(image, problem, fingerprint(pixels), tags, vector, embedder.name if embedder else None)


def write_looks(database: Database, looks: Sequence[Look]) -> None:
    """Keep what was found, in one transaction that does not wait for the disk."""
    if not looks:
        return
    with database.write(durable=False) as connection:
        looks = _still_there(connection, looks)
        if not looks:
            return
        _write_entries(connection, database, looks)
        _write_tags(connection, looks)
        _write_vectors(connection, database, looks)


def failed(embedder: str) -> str:
    """The problem of an image on which an embedder failed."""
    return f"{EMBEDDING_FAILED}:{hashlib.sha256(embedder.encode()).hexdigest()[:12]}"


def _still_there(connection: sa.Connection, looks: Sequence[Look]) -> list[Look]:
    """Meanwhile an image may have been purged, and its row id taken by another."""
    rows = connection.execute(
        sa.select(sample_files.c.sample_id, sample_files.c.sha256).where(
            sample_files.c.sample_id.in_([look.image.sample_id for look in looks]),
            sample_files.c.type == IMAGE,
        )
    ).all()
    known = {(row.sample_id, row.sha256) for row in rows}
    return [look for look in looks if (look.image.sample_id, look.image.sha256) in known]


def _write_entries(connection: sa.Connection, database: Database, looks: Sequence[Look]) -> None:
    now = clock.now()
    columns = ("analyzer", "problem", "fingerprint", "indexed_at")
    connection.execute(
        database.upsert(search_entries, keys=[search_entries.c.sample_id], values=columns),
        [
            {
                "sample_id": look.image.sample_id,
                "analyzer": ANALYZER,
                "problem": look.problem,
                "fingerprint": look.fingerprint,
                "indexed_at": now,
            }
            for look in looks
        ],
    )


def _write_tags(connection: sa.Connection, looks: Sequence[Look]) -> None:
    connection.execute(
        sa.delete(search_tags).where(
            search_tags.c.sample_id.in_([look.image.sample_id for look in looks]),
            search_tags.c.category == ATTRIBUTE,
        )
    )
    tags = [
        {
            "sample_id": look.image.sample_id,
            "category": ATTRIBUTE,
            "name": tag.name,
            "confidence": tag.confidence,
        }
        for look in looks
        for tag in look.tags
    ]
    if tags:
        connection.execute(sa.insert(search_tags), tags)


def _write_vectors(connection: sa.Connection, database: Database, looks: Sequence[Look]) -> None:
    vectors: list[dict[str, Any]] = [
        {
            "sample_id": look.image.sample_id,
            "embedder": look.embedder,
            "dataset_id": look.image.dataset_id,
            "token": secrets.randbits(62),
            "vector": look.vector,
        }
        for look in looks
        if look.vector is not None and look.embedder is not None
    ]
    if not vectors:
        return
    keys = [search_vectors.c.sample_id, search_vectors.c.embedder]
    connection.execute(database.upsert(search_vectors, keys=keys, values=("token", "vector")), vectors)
    for dataset_id, embedder in sorted({(v["dataset_id"], v["embedder"]) for v in vectors}):
        note_change(connection, database, dataset_id, embedder)

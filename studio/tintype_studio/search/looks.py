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
from tintype_studio.vision.embedders import Embedder, SceneNamer

if TYPE_CHECKING:
    from tintype_studio.vision.tags import Tag

ANALYZER = "1"
"""Version of attributes and fingerprints; with another one, every image is looked at again.

Where scenes were named, ``search_entries.analyzer`` goes on with what named them.
"""

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
    scenes: Sequence[Tag] = ()
    scenes_by: str | None = None
    only_scenes: bool = False
    """Whether the rest is known already, and kept."""


def analyzer(scenes_by: str | None) -> str:
    """What an entry is stamped with: our version, and what names scenes."""
    return ANALYZER if scenes_by is None else f"{ANALYZER}:{scenes_by}"


def analyzed(scenes_by: str | None) -> sa.ColumnElement[bool]:
    """Whether an entry is up to date; where nothing names scenes, those of another process do no harm."""
    stamp = search_entries.c.analyzer
    if scenes_by is not None:
        return stamp == analyzer(scenes_by)
    return sa.or_(stamp == ANALYZER, stamp.startswith(f"{ANALYZER}:", autoescape=True))


def scenes_again(image: Missing, database: Database, embedder: Embedder) -> Look | None:
    """The scenes by the vector that is there already; None if the image must be looked at."""
    import numpy as np

    if not isinstance(embedder, SceneNamer) or embedder.scenes_name is None:
        return None
    query = (
        sa.select(search_vectors.c.vector)
        .join(search_entries, search_entries.c.sample_id == search_vectors.c.sample_id)
        .where(
            search_vectors.c.sample_id == image.sample_id,
            search_vectors.c.embedder == embedder.name,
            analyzed(None),
            search_entries.c.fingerprint.is_not(None),
        )
    )
    with database.read() as connection:
        vector = connection.execute(query).scalar()
    if vector is None:
        return None
    (scenes,) = embedder.scenes(np.frombuffer(vector, "<f2").astype(np.float32)[None])
    return Look(image, scenes=scenes, scenes_by=embedder.scenes_name, only_scenes=True)


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
        reason = "blob_missing" if isinstance(error, NotFound) else error.code
        return Look(image, problem=reason, scenes_by=_names_scenes(embedder))
    pixels = np.asarray(picture)
    scenes: Sequence[Tag] = ()
    vector = problem = None
    if embedder is not None:
        try:
            made = embedder.embed([pixels])[0].astype("<f2")
            if isinstance(embedder, SceneNamer):
                # From what is stored, so that naming them again gives the same.
                (scenes,) = embedder.scenes(made.astype(np.float32)[None])
            vector = made.tobytes()
        except Unavailable:
            raise
        except Exception:  # one picture that an engine stumbles over must not keep the others waiting
            problem = failed(embedder.name)
    if side > REDUCED_SIDE:
        picture.thumbnail((REDUCED_SIDE, REDUCED_SIDE))
        pixels = np.asarray(picture)
    tags = attribute_tags(pixels, (info.width, info.height))
    return Look(
        image,
        problem,
        fingerprint(pixels),
        tags,
        vector,
        embedder.name if embedder else None,
        scenes,
        _names_scenes(embedder),
    )


def _names_scenes(embedder: Embedder | None) -> str | None:
    return embedder.scenes_name if isinstance(embedder, SceneNamer) else None


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
    for look in looks:
        if look.only_scenes:
            connection.execute(
                sa.update(search_entries)
                .where(search_entries.c.sample_id == look.image.sample_id)
                .values(analyzer=analyzer(look.scenes_by))
            )
    looks = [look for look in looks if not look.only_scenes]
    if not looks:
        return
    columns = ("analyzer", "problem", "fingerprint", "indexed_at")
    connection.execute(
        database.upsert(search_entries, keys=[search_entries.c.sample_id], values=columns),
        [
            {
                "sample_id": look.image.sample_id,
                "analyzer": analyzer(look.scenes_by),
                "problem": look.problem,
                "fingerprint": look.fingerprint,
                "indexed_at": now,
            }
            for look in looks
        ],
    )


def _write_tags(connection: sa.Connection, looks: Sequence[Look]) -> None:
    whole = [look.image.sample_id for look in looks if not look.only_scenes]
    everyone = [look.image.sample_id for look in looks]
    for category, sample_ids in ((ATTRIBUTE, whole), (SCENE, everyone)):
        connection.execute(
            sa.delete(search_tags).where(
                search_tags.c.sample_id.in_(sample_ids), search_tags.c.category == category
            )
        )
    tags = [
        {
            "sample_id": look.image.sample_id,
            "category": category,
            "name": tag.name,
            "confidence": tag.confidence,
        }
        for look in looks
        for category, found in ((ATTRIBUTE, look.tags), (SCENE, look.scenes))
        for tag in found
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

"""Vectors in a workspace's database, without pictures: for measuring the search alone."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.studio import Studio, Workspace

EMBEDDER = "bench@1"
DIMENSIONS = 336
CLUSTERS = 3000
LATENT = 64
PART = 20_000


def make_vectors(count: int, seed: int = 0) -> NDArray[np.float16]:
    """(count, DIMENSIONS) of length one: clusters in a space of fewer dimensions, and noise.

    Another ``seed`` gives other members of the same clusters.
    """
    world, rng = np.random.default_rng(7), np.random.default_rng(seed)
    centres = world.normal(size=(CLUSTERS, LATENT)).astype(np.float32)
    lift = world.normal(size=(LATENT, DIMENSIONS)).astype(np.float32) / LATENT**0.5
    made = np.empty((count, DIMENSIONS), np.float16)
    for start in range(0, count, PART):
        number = min(PART, count - start)
        place = centres[rng.integers(CLUSTERS, size=number)]
        latent = place + 0.6 * rng.normal(size=(number, LATENT)).astype(np.float32)
        part = latent @ lift + 0.3 * rng.normal(size=(number, DIMENSIONS)).astype(np.float32)
        made[start : start + number] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return made


def fill(home: Path, vectors: NDArray[np.float16]) -> tuple[Studio, int]:
    """A workspace whose one dataset has a sample per vector; returns the dataset's row id, too.

    Past the platform, which would want pictures.
    """
    studio = Studio(Workspace(home))
    owner = studio.keys.authenticate(saved_api_key(home))
    dataset = studio.datasets.create(owner, name="bench")
    connection = sqlite3.connect(home / "tintype.db")
    connection.execute("PRAGMA synchronous=OFF")
    rng = np.random.default_rng(1)
    for start in range(0, len(vectors), PART):
        part = vectors[start : start + PART]
        ids = range(start + 1, start + len(part) + 1)
        connection.executemany(
            "INSERT INTO samples (id, uuid, dataset_id, filename, folder, status, created_at, updated_at)"
            " VALUES (?1, ?1, ?2, ?1, '/', 'new', '2026-01-01 00:00:00', '2026-01-01 00:00:00')",
            ((i, dataset.row_id) for i in ids),
        )
        tokens: list[Any] = rng.integers(1 << 62, size=len(part)).tolist()
        connection.executemany(
            "INSERT INTO search_vectors (sample_id, embedder, dataset_id, token, vector)"
            " VALUES (?, ?, ?, ?, ?)",
            (
                (i, EMBEDDER, dataset.row_id, token, vector.tobytes())
                for i, token, vector in zip(ids, tokens, part, strict=True)
            ),
        )
        connection.execute(
            "INSERT OR REPLACE INTO search_versions VALUES (?, ?, 1)", (dataset.row_id, EMBEDDER)
        )
        connection.commit()
    connection.close()
    return studio, dataset.row_id

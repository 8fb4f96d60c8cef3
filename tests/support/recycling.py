"""Deletions in calls of their own, and all that a workspace holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.samples import Sample
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.tables import (
    exports,
    metadata,
    sample_files,
)
from tintype_studio.studio import Studio


@pytest.fixture
def call(owner: Principal) -> Callable[[], Principal]:
    """The owner in a new call."""
    return lambda: replace(owner, call_id=clock.new_id(), session="s", tool="t")


@pytest.fixture
def add(studio: Studio, owner: Principal, dataset: Dataset, picture: Any) -> Callable[..., Sample]:
    def add_one(filename: str, *, seed: int | None = None, into: Dataset | None = None) -> Sample:
        data = picture(len(filename) + ord(filename[0]) if seed is None else seed)
        return studio.ingest.add_image(owner, into or dataset, data=data, filename=filename)

    return add_one


def rows(studio: Studio, table: sa.Table) -> list[Any]:
    with studio.database.read() as connection:
        return list(connection.execute(sa.select(table)).all())


def everything(studio: Studio) -> list[Any]:
    return [rows(studio, table) for table in metadata.sorted_tables] + [set(studio.blobs.digests())]


def assert_no_row_without_bytes(studio: Studio) -> None:
    named = {row.sha256 for row in rows(studio, sample_files)} | {
        row.sha256 for row in rows(studio, exports) if row.sha256
    }
    assert named <= set(studio.blobs.digests())


def listed(studio: Studio, principal: Principal, **page: int) -> list[tuple[Any, ...]]:
    return [
        (b.kind, b.dataset, b.count, b.size, b.call_id) for b in studio.recycle_bin.list(principal, **page)
    ]

"""Bytes that somebody needs again while a purge or a sweep takes them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.recycling import add, assert_no_row_without_bytes, call, rows

from tintype_studio import clock
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.ingest import UploadReport
from tintype_studio.errors import NotFound, TintypeError, Unavailable
from tintype_studio.exports.service import ExportOptions
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.sweep import mark_unused
from tintype_studio.storage.tables import (
    sample_files,
)
from tintype_studio.storage.upkeep_tables import swept_blobs
from tintype_studio.studio import Studio

__all__ = ["add", "call"]


# A re-upload of the same bytes, at every point of a purge


@pytest.fixture
def upload(studio: Studio, owner: Principal, add: Any, call: Any, folder: Any, picture: Any) -> Any:
    """Uploads bytes that lie in the bin; takes what is to happen before they are stored, between that and
    their record, and after it."""
    studio.samples.delete(call(), add("1.jpg", seed=1).id)
    root: Path = folder({"again.jpg": picture(1)})

    def run(*steps: list[Callable[[], object]]) -> UploadReport:
        def do(number: int) -> bool:
            for step in steps[number] if number < len(steps) else []:
                step()
            return True

        dataset = studio.datasets.get(owner, "signs")
        report = studio.ingest.add_folder(
            call(),
            dataset,
            root,
            allowed=lambda _path: do(0),
            progress=lambda _done, _total, _name: do(1) and None,
        )
        do(2)
        return report

    return run


@pytest.mark.parametrize(("purged_at", "swept_at"), [(p, s) for p in range(3) for s in range(p, 3)], ids=str)
def test_an_upload_that_meets_a_purge_never_ends_without_bytes(
    studio: Studio, owner: Principal, upload: Any, purged_at: int, swept_at: int, check_counters: Any
) -> None:
    steps: list[list[Callable[[], object]]] = [[], [], []]
    steps[purged_at].append(lambda: studio.recycle_bin.purge(owner))
    steps[swept_at].append(studio.recycle_bin.sweep)
    if swept_at == 1:  # the upload had relied on bytes that then went
        before = check_counters(studio, owner, "signs")
        with pytest.raises(Unavailable) as raced:
            upload(*steps)
        assert (raced.value.code, raced.value.retryable) == ("upload_raced", True)
        assert check_counters(studio, owner, "signs") == before
        assert_no_row_without_bytes(studio)
        upload()
    else:
        assert upload(*steps).images_uploaded == 1
    assert_no_row_without_bytes(studio)
    studio.recycle_bin.sweep()
    assert check_counters(studio, owner, "signs").image_count == 1
    assert_no_row_without_bytes(studio)


def test_an_upload_that_meets_a_sweep_that_died_never_ends_without_bytes(
    studio: Studio, owner: Principal, upload: Any
) -> None:
    """The process was killed after it had removed the bytes and before its transaction ended."""
    studio.recycle_bin.purge(owner)
    (mark,) = rows(studio, swept_blobs)
    with pytest.raises(Unavailable):
        upload([], [lambda: studio.blobs.delete(mark.sha256)])
    assert_no_row_without_bytes(studio)
    assert upload().images_uploaded == 1
    assert studio.recycle_bin.sweep() == 0
    assert_no_row_without_bytes(studio)


def test_a_mark_on_bytes_that_are_named_takes_nothing(studio: Studio, owner: Principal, add: Any) -> None:
    """Such as one that a purge left before an export was stored with the same bytes."""
    add("1.jpg")
    export = studio.exports.create(
        owner, dataset_name="signs", name="e", options=ExportOptions(status_filter="all")
    )
    assert export.sha256 is not None
    with studio.database.write() as connection:
        assert mark_unused(studio.database, connection, [export.sha256]) == 0
        connection.execute(sa.insert(swept_blobs).values(sha256=export.sha256, marked_at=clock.now()))
    assert studio.recycle_bin.sweep() == 0
    assert rows(studio, swept_blobs) == []
    assert_no_row_without_bytes(studio)


@pytest.mark.slow
def test_uploads_deletions_purges_and_sweeps_at_once_never_lose_bytes(
    studio: Studio, owner: Principal, dataset: Dataset, picture: Any, open_studio: Any, check_counters: Any
) -> None:
    """Three uploaders of the same two pictures in two processes' worth of workspaces, and two purgers."""
    others, pictures = [studio, open_studio(), open_studio()], [picture(1), picture(2)]
    stop, problems, raced = threading.Event(), [], []

    def upload(number: int) -> None:
        mine = others[number]
        for turn in range(40):
            who = replace(owner, call_id=clock.new_id())
            name = f"{number}-{turn}.jpg"
            try:
                image = mine.ingest.add_image(who, dataset, data=pictures[turn % 2], filename=name)
            except Unavailable as error:
                raced.append(error.code)
                continue
            try:
                mine.samples.image_bytes(image)
            except NotFound:
                problems.append(name)
            if turn % 4:
                mine.samples.delete(who, image.id)

    def purge(number: int) -> None:
        while not stop.is_set():
            others[number].recycle_bin.purge(owner)
            others[number].recycle_bin.sweep()

    def guarded(work: Callable[[int], None], number: int) -> None:
        try:
            work(number)
        except TintypeError as error:
            problems.append(error.message)

    uploaders = [threading.Thread(target=guarded, args=(upload, n)) for n in range(3)]
    purgers = [threading.Thread(target=guarded, args=(purge, n)) for n in range(2)]
    for thread in uploaders + purgers:
        thread.start()
    for thread in uploaders:
        thread.join()
    stop.set()
    for thread in purgers:
        thread.join()
    assert problems == []
    assert set(raced) <= {"upload_raced"}
    assert_no_row_without_bytes(studio)
    assert check_counters(studio, owner, "signs").image_count >= 30 - len(raced)
    studio.recycle_bin.purge(owner)
    studio.recycle_bin.sweep()
    assert set(studio.blobs.digests()) == {row.sha256 for row in rows(studio, sample_files)}

"""Versions of a large dataset: making one, reading at it, comparing, restoring, and taking the restore back.

    python benchmarks/bench_versions.py [--quick] [--samples N]

No peer keeps versions beside its rows, so each figure stands beside what any version must do at least:
reading every row of the samples once (``scan``). Wall seconds and the peak of the process's memory.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.tables import annotation_revisions, annotation_sets, sample_files, samples
from tintype_studio.studio import Studio, Workspace

SAMPLES = 100_000
CHUNK = 5_000
BOXES = 6


def document(number: int) -> str:
    boxes = [
        {
            "id": clock.new_id(),
            "name": "car",
            "type": "bbox",
            "bounding_box": {"x": number % 640, "y": n, "w": 20.5, "h": 30.25},
            "confidence": 1.0,
        }
        for n in range(BOXES)
    ]
    return orjson.dumps(boxes).decode()


def fill(studio: Studio, owner: Principal, count: int) -> None:
    """Samples with a picture and six boxes each, written past the services."""
    dataset = studio.datasets.create(owner, name="large")
    studio.classes.declare(owner, "large", [])
    now, names = clock.now(), [clock.new_id() for _ in range(count)]
    with studio.database.write() as connection:
        default = connection.execute(
            sa.select(annotation_sets.c.id).where(annotation_sets.c.dataset_id == dataset.row_id)
        ).scalar_one()
    for start in range(0, count, CHUNK):
        numbers = range(start, min(start + CHUNK, count))
        with studio.database.write() as connection:
            connection.execute(
                sa.insert(samples),
                [
                    {
                        "id": n + 1,
                        "uuid": names[n],
                        "dataset_id": dataset.row_id,
                        "filename": f"frame_{n:07}.jpg",
                        "folder": "/",
                        "status": "complete",
                        "split": ("train", "val")[n % 5 == 0],
                        "width": 1280,
                        "height": 720,
                        "annotation_count": BOXES,
                        "created_at": now,
                        "updated_at": now,
                        "created_call": "fill",
                    }
                    for n in numbers
                ],
            )
            connection.execute(
                sa.insert(sample_files),
                [
                    {
                        "sample_id": n + 1,
                        "type": "image",
                        "sha256": f"{n:064x}",
                        "size": 100_000,
                        "mime_type": "image/jpeg",
                    }
                    for n in numbers
                ],
            )
            connection.execute(
                sa.insert(annotation_revisions),
                [
                    {
                        "sample_id": n + 1,
                        "annotation_set_id": default,
                        "revision": 1,
                        "document": document(n),
                        "annotation_count": BOXES,
                        "status_before": "new",
                        "created_at": now,
                    }
                    for n in numbers
                ],
            )
    from tintype_studio.catalog.counters import recount

    with studio.database.write() as connection:
        recount(connection, dataset.row_id)


def relabel(studio: Studio, share: int) -> None:
    """A new revision for one sample of ``share``, and another group for as many."""
    with studio.database.write() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO annotation_revisions (sample_id, annotation_set_id, revision, document,"
                " annotation_count, status_before, created_at) SELECT sample_id, annotation_set_id, 2,"
                " replace(document, '20.5', '21.5'), annotation_count, status_before, created_at"
                " FROM annotation_revisions WHERE revision = 1 AND sample_id % :share = 0"
            ),
            {"share": share},
        )
        connection.execute(
            sa.text("UPDATE samples SET split = 'test' WHERE id % :share = 1"), {"share": share}
        )
        connection.execute(
            sa.text("UPDATE samples SET deleted_at = updated_at, deleted_call = 'x' WHERE id % :share = 2"),
            {"share": share},
        )


def timed(what: str, work: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:44} {seconds:8.2f} s   peak {peak:6.0f} MiB", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3,000 samples")
    parser.add_argument("--samples", type=int)
    options = parser.parse_args()
    count = options.samples or (3_000 if options.quick else SAMPLES)
    with TemporaryDirectory() as folder:
        studio = Studio(Workspace(Path(folder) / "home"))
        owner = studio.keys.authenticate(saved_api_key(studio.home))
        timed(f"fill with {count:,} samples", lambda: fill(studio, owner, count))
        measure(studio, owner, count)
        studio.close()


def measure(studio: Studio, owner: Principal, count: int) -> None:
    versions = studio.versions

    def act() -> Principal:
        return replace(owner, call_id=clock.new_id(), tool="bench")

    def scan() -> None:
        with studio.database.read() as connection:
            for _ in connection.execute(sa.text("SELECT * FROM samples")):
                pass

    timed("scan: every row of the samples", scan)
    version = timed("create", lambda: versions.create(act(), "large", name="v1"))
    size = studio.blobs.size(version.manifest)
    print(f"{'':44} {size / count:8.1f} bytes per sample")
    at = versions.at(owner, "large", "v1")
    timed("at the version: count", at.count)
    timed("at the version: first page of 1,000", lambda: at.page(limit=1000))
    timed("at the version: last page of 1,000", lambda: at.page(after=count - 1000, limit=1000))
    timed("at the version: 100 out of the middle", lambda: at.page(after=count // 2, limit=100))
    timed("compare with now: nothing changed", lambda: versions.compare(owner, "large", "v1"))
    timed("restore: nothing changed", lambda: versions.restore(act(), "large", "v1"))
    for share in (100, 4):
        timed(f"(change 3 in {share} samples)", lambda share=share: relabel(studio, share))
        timed("compare with now", lambda: versions.compare(owner, "large", "v1"))
        call = act()
        timed("restore, in one transaction", lambda call=call: versions.restore(call, "large", "v1"))
        timed("undo of the restore", lambda call=call: studio.undo.call(act(), call.call_id or ""))
        dataset = studio.datasets.get(owner, "large")

        def restored(row_id: int = dataset.row_id) -> Any:
            with versions.restorer.look(row_id) as look:
                return timed(
                    "restore after a look: the transaction alone",
                    lambda: versions.restore(act(), "large", "v1", look=look),
                )

        timed("restore after a look: all", restored)
        with studio.database.write() as connection:
            connection.execute(sa.text("DELETE FROM annotation_revisions WHERE revision > 1"))
    timed("summary of now", lambda: versions.now(owner, "large", anew=True))


if __name__ == "__main__":
    main()

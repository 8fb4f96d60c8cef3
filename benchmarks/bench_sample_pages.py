"""The first and the last page of the samples of a large multi-sensor dataset, in the EdgeFirst dialect.

    python benchmarks/bench_sample_pages.py [--quick] [--samples N]

``samples.list`` goes by key: a page costs the same wherever it lies. Beside it stands the same page by OFFSET
in the database, which walks past all samples before it. A page is 1,000 samples with a picture, a point cloud
and two annotations each; it is asked for over HTTP, from ``tintype serve``, and read whole.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa
from _common import free_port, http_server, median, milliseconds, percentile, print_result

from tintype_studio import clock
from tintype_studio.catalog.counters import recount
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.multisensor.samples import documents_of
from tintype_studio.storage.tables import (
    annotation_revisions,
    annotation_sets,
    dataset_classes,
    sample_files,
    samples,
)
from tintype_studio.studio import Studio, Workspace

SAMPLES = 100_000
PAGE = 1000
ROUNDS = 15
AT_A_TIME = 10_000
AIM = 1.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10,000 samples, 5 rounds")
    parser.add_argument("--samples", type=int, help=f"default {SAMPLES:,}")
    chosen = parser.parse_args()
    count = chosen.samples or (10_000 if chosen.quick else SAMPLES)
    rounds = 5 if chosen.quick else ROUNDS
    with tempfile.TemporaryDirectory(prefix="tintype-bench-") as name:
        home = Path(name) / "home"
        studio = Studio(Workspace(home))
        key = str(saved_api_key(home))
        dataset = studio.datasets.create(studio.keys.authenticate(key), name="bench")
        fill(studio, dataset, count)
        last = last_page(studio, dataset)
        plain = {where: [] for where in ("first", "last")}
        for _ in range(rounds):
            plain["first"].append(by_offset(studio, dataset, 0))
            plain["last"].append(by_offset(studio, dataset, count - PAGE))
        studio.close()
        port = free_port()
        command = [sys.executable, "-m", "tintype_server", "--home", str(home), "serve", "--port", str(port)]
        with http_server(command, port, {"PATH": "/usr/bin:/bin"}):
            wire, counting = over_http(port, key, dataset, last, count, rounds)
    rows = [
        [
            f"page of {PAGE}, over HTTP, p50",
            milliseconds(median(wire["first"])),
            milliseconds(median(wire["last"])),
            f"{median(wire['last']) / median(wire['first']):.2f}",
        ],
        [
            "  p95",
            milliseconds(percentile(wire["first"], 95)),
            milliseconds(percentile(wire["last"], 95)),
            "",
        ],
        [
            "rows by OFFSET, p50",
            milliseconds(median(plain["first"])),
            milliseconds(median(plain["last"])),
            f"{median(plain['last']) / median(plain['first']):.2f}",
        ],
        [f"samples.count of {count:,}, p50", milliseconds(median(counting)), "", ""],
    ]
    print_result(
        "sample_pages",
        [f"{count:,} samples", "first page", "last page", "last / first"],
        rows,
        last_to_first=median(wire["last"]) / median(wire["first"]),
        offset_last_to_first=median(plain["last"]) / median(plain["first"]),
    )


def fill(studio: Studio, dataset: Dataset, count: int) -> None:
    """Rows of samples; the bytes of their files are not needed to list them."""
    now = clock.now()
    boxes = [
        {
            "id": str(n),
            "name": "car",
            "type": "bbox",
            "bounding_box": {"x": 10.5 + n, "y": 20.25, "w": 30.125, "h": 40},
            "object_id": f"car {n}",
        }
        for n in range(2)
    ]
    document = orjson.dumps(boxes).decode()
    with studio.database.write() as connection:
        set_id = connection.execute(
            sa.select(annotation_sets.c.id).where(annotation_sets.c.dataset_id == dataset.row_id)
        ).scalar_one()
        connection.execute(
            sa.insert(dataset_classes).values(
                dataset_id=dataset.row_id, position=0, name="car", label_index=0
            )
        )
    for start in range(0, count, AT_A_TIME):
        numbers = range(start, min(start + AT_A_TIME, count))
        with studio.database.write() as connection:
            made = connection.execute(
                sa.insert(samples).returning(samples.c.id),
                [
                    {
                        "uuid": clock.new_id(),
                        "dataset_id": dataset.row_id,
                        "filename": f"{n:06}.jpg",
                        "folder": "/",
                        "status": "complete",
                        "split": ("train", "val")[n % 2],
                        "width": 640,
                        "height": 480,
                        "annotation_count": 2,
                        "frame_number": None,
                        "meta": {"location": {"lat": 45.5, "lon": -73.6}},
                        "created_at": now,
                        "updated_at": now,
                    }
                    for n in numbers
                ],
            ).scalars()
            ids = list(made)
            connection.execute(
                sa.insert(sample_files),
                [
                    {
                        "sample_id": row_id,
                        "type": kind,
                        "sha256": f"{row_id:064x}",
                        "size": 100_000,
                        "mime_type": media_type,
                        "filename": None,
                    }
                    for row_id in ids
                    for kind, media_type in (
                        ("image", "image/jpeg"),
                        ("lidar.pcd", "application/octet-stream"),
                    )
                ],
            )
            connection.execute(
                sa.insert(annotation_revisions),
                [
                    {
                        "sample_id": row_id,
                        "annotation_set_id": set_id,
                        "revision": 1,
                        "document": document,
                        "annotation_count": 2,
                        "created_at": now,
                    }
                    for row_id in ids
                ],
            )
    with studio.database.write() as connection:
        recount(connection, dataset.row_id)


def last_page(studio: Studio, dataset: Dataset) -> int:
    """The row id behind which the last page lies."""
    with studio.database.read() as connection:
        return int(
            connection.execute(
                sa.select(samples.c.id)
                .where(samples.c.dataset_id == dataset.row_id)
                .order_by(samples.c.id.desc())
                .offset(PAGE)
                .limit(1)
            ).scalar_one()
        )


def by_offset(studio: Studio, dataset: Dataset, offset: int) -> float:
    """Seconds for the rows, files and documents of a page, counted off."""
    start = time.perf_counter()
    with studio.database.read() as connection:
        rows = connection.execute(
            sa.select(samples)
            .where(samples.c.dataset_id == dataset.row_id, samples.c.deleted_at.is_(None))
            .order_by(samples.c.id)
            .limit(PAGE)
            .offset(offset)
        ).all()
        ids = [row.id for row in rows]
        connection.execute(sa.select(sample_files).where(sample_files.c.sample_id.in_(ids))).all()
        documents_of(connection, ids)
    return time.perf_counter() - start


def over_http(
    port: int, key: str, dataset: Dataset, last: int, count: int, rounds: int
) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds of first and last pages by turns, and of counting."""
    line = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}

    def ask(method: str, **params: Any) -> tuple[float, Any]:
        body = json.dumps({"jsonrpc": "2.0", "id": 0, "method": method, "params": params})
        start = time.perf_counter()
        line.request("POST", "/edgefirst/api", body, headers)
        data = line.getresponse().read()
        seconds = time.perf_counter() - start
        return seconds, json.loads(data)["result"]

    times: dict[str, list[float]] = {"first": [], "last": []}
    counting = []
    for number in range(rounds + 2):
        for where, token in (("first", None), ("last", str(last))):
            seconds, found = ask("samples.list", dataset_id=dataset.row_id, continue_token=token)
            if len(found["samples"]) != PAGE or len(found["samples"][0]["annotations"]) != 2:
                raise RuntimeError(f"{len(found['samples'])} samples")
            if number >= 2:
                times[where].append(seconds)
        seconds, found = ask("samples.count", dataset_id=dataset.row_id, types=["image"])
        if found["total"] != count:
            raise RuntimeError(str(found))
        counting.append(seconds)
    line.close()
    return times, counting


if __name__ == "__main__":
    main()

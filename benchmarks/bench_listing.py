"""Pages of a large dataset: the first and the last, by the documented offset, over HTTP and in the database.

The peer is the same page by OFFSET. ``--quick`` has 100,000 images instead of 1,000,000.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn
from _common import free_port, median, milliseconds, percentile, print_result

from tintype_server.http.app import build_app
from tintype_server.runtime import Runtime
from tintype_server.settings import Settings
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.places import Places
from tintype_studio.catalog.samples import Status
from tintype_studio.identity.keys import Principal

PAGE = 1000
NAME = "large"

ROWS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)
INSERT INTO samples (id, uuid, dataset_id, filename, folder, status, width, height, annotation_count,
                     created_at, updated_at)
SELECT i, printf('%08x-0000-4000-8000-%012x', i, i), :dataset, printf('%08d.jpg', i), '/', 'complete',
       1920, 1080, 0, '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000' FROM n
"""
FILES = """
INSERT INTO sample_files (sample_id, type, sha256, size, mime_type)
SELECT id, 'image', printf('%064x', id), 200000, 'image/jpeg' FROM samples WHERE dataset_id = :dataset
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--images", type=int)
    options = parser.parse_args()
    count = options.images or (100_000 if options.quick else 1_000_000)
    rounds = 20 if options.quick else 60
    with tempfile.TemporaryDirectory(prefix="tintype-bench-") as name:
        runtime = Runtime.open(Settings(home=Path(name) / "home"))
        try:
            measure(runtime, count, rounds)
        finally:
            runtime.close()


def measure(runtime: Runtime, count: int, rounds: int) -> None:
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    started = time.perf_counter()
    dataset = build(runtime, owner, count)
    print(f"{count:,} rows in {time.perf_counter() - started:.1f} s")
    last = count - PAGE
    samples = runtime.studio.samples

    def ours(offset: int) -> list[str]:
        return [s.id for s in samples.page_at(dataset, limit=PAGE, offset=offset)]

    def plain(offset: int) -> list[str]:
        return [s.id for s in samples._counted_off(dataset, tuple(Status), limit=PAGE, offset=offset)]

    for offset in (0, last, count // 2 + 7):
        assert ours(offset) == plain(offset)

    def cold() -> None:
        samples._places = Places()
        ours(last)

    in_database = {
        "page 1": lambda: ours(0),
        "last page": lambda: ours(last),
        "last page by OFFSET": lambda: plain(last),
        "last page, nothing known yet": cold,
    }
    rows: list[list[str]] = []
    ratios: dict[str, float] = {}
    table("database", in_database, rounds, rows, ratios)
    with served(runtime) as url, httpx.Client(headers={"X-API-Key": str(runtime.local_api_key())}) as client:

        def page(offset: int) -> None:
            answer = client.get(
                f"{url}/api/v1/developer/datasets/by-name/{NAME}",
                params={"include_images": "true", "images_limit": PAGE, "images_offset": offset},
            )
            assert len(answer.json()["dataset"]["images"]) == PAGE

        over_http = {"page 1": lambda: page(0), "last page": lambda: page(last)}
        table("HTTP", over_http, rounds, rows, ratios)
    print_result("listing", (f"{count:,} images, pages of {PAGE:,}", "median", "p95"), rows, **ratios)


def table(
    where: str,
    ways: dict[str, Callable[[], object]],
    rounds: int,
    rows: list[list[str]],
    ratios: dict[str, float],
) -> None:
    """Each way in turn, round after round."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - started)
    for name, taken in times.items():
        rows.append([f"{where}, {name}", milliseconds(median(taken)), milliseconds(percentile(taken, 95))])
    first = median(times["page 1"])
    key = where.lower()
    ratios[f"{key}_last_over_first"] = median(times["last page"]) / first
    ratios[f"{key}_p95_ms"] = percentile(times["last page"], 95) * 1000
    if "last page by OFFSET" in times:
        ratios[f"{key}_offset_over_first"] = median(times["last page by OFFSET"]) / first


def build(runtime: Runtime, owner: Principal, count: int) -> Dataset:
    """The rows, written as they would stand after that many uploads."""
    studio = runtime.studio
    dataset = studio.datasets.create(owner, name=NAME)
    connection = sqlite3.connect(studio.home / "tintype.db")
    with connection:
        connection.execute(ROWS, {"count": count, "dataset": dataset.row_id})
        connection.execute(FILES, {"dataset": dataset.row_id})
        connection.execute("UPDATE datasets SET image_count = ? WHERE id = ?", (count, dataset.row_id))
    connection.close()
    return studio.datasets.get(owner, NAME)


@contextmanager
def served(runtime: Runtime) -> Iterator[str]:
    """The server in a thread of this process."""
    port = free_port()
    config = uvicorn.Config(build_app(runtime), host="127.0.0.1", port=port, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


if __name__ == "__main__":
    main()

"""What durability costs: the same items through the job engine, beside a plain loop over the same processes.

    python benchmarks/bench_jobs.py [--quick] [--items N] [--milliseconds T]

An item is a fixed piece of computing of about 70 ms in a child process, then a save of five boxes on an image
of its own. The plain loop gives the items to the same warm children from as many threads, and saves each
answer as it comes. The engine does the same as a paid job: hold, item rows, charges and progress in the
transactions of the saves. A loop that computes and saves nothing tells what both spend on the database. On
a machine that is busy with other things the clock tells little, so this process's own processor time is told,
too. Then a job without work through the whole of it, queue and worker process included, from its start to
its end, on a worker that is there.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import queue
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from _common import median, milliseconds, print_result

from tintype_studio import clock
from tintype_studio.annotations.geometry import AnnotationList
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.executor import Executor
from tintype_studio.jobs.job import JobStatus
from tintype_studio.jobs.kind import Done, JobPlan, Kind, register
from tintype_studio.jobs.pool import Pool
from tintype_studio.jobs.run import Run
from tintype_studio.studio import Studio, Workspace

ROUNDS = 5
NAMES = ("engine", "saving", "computing")
BLOCK = bytes(1 << 20)
COMPUTE = f"{Path(__file__).stem}:compute"


class Spent(NamedTuple):
    """Seconds by the clock, and seconds of this process's own processor time, children left out."""

    clock: float
    own: float


class Watch:
    """Measures both from now on."""

    def __init__(self) -> None:
        self._began = Spent(time.perf_counter(), time.process_time())

    def read(self) -> Spent:
        return Spent(time.perf_counter() - self._began.clock, time.process_time() - self._began.own)


def compute(blocks: int) -> str:
    """A fixed amount of work, in a child."""
    digest = hashlib.sha256()
    for _ in range(blocks):
        digest.update(BLOCK)
    return digest.hexdigest()


def boxes() -> list[Any]:
    """Five annotations."""
    raw = [{"id": f"b{i}", "name": "car", "bounding_box": {"x": i, "y": 1, "w": 2, "h": 3}} for i in range(5)]
    return list(AnnotationList.model_validate({"annotations": raw}).annotations)


class Bench(Kind):
    name = "bench"

    def plan(self, _studio: Studio, _principal: Principal, args: dict[str, Any]) -> JobPlan:
        return JobPlan("Bench", total=len(args["ids"]), credits=len(args["ids"]))

    def run(self, run: Run) -> dict[str, Any]:
        document = boxes()

        def one(sample_id: str) -> Done:
            run.in_child(COMPUTE, run.args["blocks"])
            return Done(1, lambda _c: run.studio.documents.save(run.principal, sample_id, document) and None)

        run.each(run.args["ids"], one)
        return {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer items")
    parser.add_argument("--items", type=int, help="items of a job; default 240, quick 80")
    parser.add_argument("--milliseconds", type=float, default=70.0, help="computing of an item")
    arguments = parser.parse_args()
    count = arguments.items or (80 if arguments.quick else 240)
    rounds = 3 if arguments.quick else ROUNDS
    register(Bench())
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # where children find this module
    with tempfile.TemporaryDirectory(prefix="tintype-bench-") as name:
        studio = Studio(Workspace(Path(name) / "home"))
        owner = studio.keys.authenticate(saved_api_key(studio.home))
        studio.ledger.grant(owner, 1_000_000)
        ids = add_images(studio, owner, count)
        pool = Pool()
        blocks = calibrate(pool, arguments.milliseconds / 1000)
        measured: dict[str, list[Spent]] = {name: [] for name in NAMES}
        studio.jobs.supervisor.enabled = False
        for _ in range(rounds):
            measured["computing"].append(plain_loop(studio, owner, pool, ids, blocks, saves=False))
            measured["saving"].append(plain_loop(studio, owner, pool, ids, blocks))
            measured["engine"].append(through_engine(studio, owner, pool, ids, blocks))
        pool.close()
        latency = whole_way(studio, owner)
        studio.close()
        time.sleep(1)  # the worker goes before its folder
    own = {name: median([spent.own for spent in each]) / count for name, each in measured.items()}
    seconds = arguments.milliseconds / 1000
    # What the children compute is the same; the rest is this process, and the cores are all theirs otherwise.
    ratio = (seconds + own["engine"]) / (seconds + own["saving"])
    over_bare = (seconds + own["engine"]) / (seconds + own["computing"])
    clock = {name: median([spent.clock for spent in each]) for name, each in measured.items()}
    pairs = zip(measured["engine"], measured["saving"], strict=True)
    rows = [
        [
            f"{count} items of {arguments.milliseconds:g} ms, {pool.size} processes, by the clock",
            *(f"{clock[name]:.2f} s" for name in NAMES),
            f"{median([ours.clock / theirs.clock for ours, theirs in pairs]):.3f}",
        ],
        ["own processor time per item", *(milliseconds(own[name]) for name in NAMES), ""],
        ["processor time with the item's own", *("" for _ in NAMES), f"{ratio:.3f}"],
        ["a job without work, start to end", milliseconds(median(latency)), "", "", ""],
    ]
    print_result(
        "jobs",
        ["jobs", "engine", "loop that saves", "loop that only computes", "engine / saving loop"],
        rows,
        durability=ratio - 1,
        over_computing_alone=over_bare - 1,
        job_seconds=median(latency),
    )


def add_images(studio: Studio, owner: Principal, count: int) -> list[str]:
    """Small different images; returns their ids."""
    import cv2
    import numpy as np

    dataset = studio.datasets.create(owner, name="bench")
    random = np.random.default_rng(1)
    ids = []
    for number in range(count):
        _, data = cv2.imencode(".jpg", random.integers(0, 255, (24, 32, 3), dtype=np.uint8))
        sample = studio.ingest.add_image(owner, dataset, data=data.tobytes(), filename=f"{number}.jpg")
        ids.append(sample.id)
    return ids


def calibrate(pool: Pool, seconds: float) -> int:
    """Blocks that take so long while all children are busy; warms the children up, too."""
    with ThreadPoolExecutor(pool.size) as threads:
        list(threads.map(lambda _: pool.call(COMPUTE, 8), range(4 * pool.size)))
        began = time.perf_counter()
        list(threads.map(lambda _: pool.call(COMPUTE, 32), range(2 * pool.size)))
    return max(1, round(32 * seconds / ((time.perf_counter() - began) / 2)))


def plain_loop(
    studio: Studio, owner: Principal, pool: Pool, ids: list[str], blocks: int, *, saves: bool = True
) -> Spent:
    """Threads that take an item, compute and save."""
    document = boxes()
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()
    for sample_id in ids:
        todo.put(sample_id)

    def serve() -> None:
        while True:
            try:
                sample_id = todo.get_nowait()
            except queue.Empty:
                return
            pool.call(COMPUTE, blocks)
            if saves:
                studio.documents.save(owner, sample_id, document)

    threads = [threading.Thread(target=serve) for _ in range(pool.size + 1)]
    watch = Watch()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return watch.read()


def through_engine(studio: Studio, owner: Principal, pool: Pool, ids: list[str], blocks: int) -> Spent:
    """A paid job, run here."""
    call_id = clock.new_id()
    acting = replace(owner, call_id=call_id, tool="bench")
    studio.ledger.hold(acting, call_id=call_id, operation="bench", amount=len(ids))
    with studio.database.unit_of_work() as unit:
        job = studio.jobs.start(acting, "bench", {"ids": ids, "blocks": blocks})
        studio.jobs.take_hold(unit.connection(), job.id, call_id)
    watch = Watch()
    Executor(studio, pool).execute(job.id, 0)
    spent = watch.read()
    ended = studio.jobs.get(owner, job.id)
    if (ended.status, ended.failed, ended.credits_charged) != (JobStatus.COMPLETED, 0, len(ids)):
        raise RuntimeError(f"the job ended {ended.status} with {ended.failed} failures")
    return spent


def whole_way(studio: Studio, owner: Principal) -> list[float]:
    """Seconds from start to end of a job that has nothing to do, by queue and worker process."""
    studio.datasets.create(owner, name="empty")
    studio.jobs.supervisor.enabled = True
    run = partial(studio.jobs.start, owner, "verify_images", {"dataset": "empty"})
    studio.jobs.wait(owner, run().id, 60)  # the worker starts
    seconds = []
    for _ in range(10):
        began = time.perf_counter()
        studio.jobs.wait(owner, run().id, 60)
        seconds.append(time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    main()

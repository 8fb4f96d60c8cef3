"""What all guards together add to a call, and what the ledger costs under concurrency.

    python benchmarks/bench_guards.py [--quick]

In one process, on SQLite in a temporary folder. A call through the dispatcher is timed in turns with the
same tool's handler called bare, outside of any call, so that no change is logged either; the difference of
the medians is what the guards add, by the clock and in processor time of the thread. Requests are made
beforehand, which is a door's work. The paid tool works for no time at all; beside it stands one durable
commit of one row, the least that anything paid for can do. Beside all stands a bare echo call on the SDK
over HTTP, in the same run.

After them in the same run, the floor: the rows of the save, written by hand with nothing but ``sqlite3``
(``guards_floor``), so that one sees what of the guards' time is the disk's and SQLite's own.

Then 64 threads make paid calls with 8 keys, in turns with the same calls through the same guards without
the ledger; afterwards the books are checked to the last credit.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
from _common import (
    bench,
    check_answer,
    free_port,
    http_load,
    http_server,
    load_process,
    mcp_call_request,
    median,
    milliseconds,
    print_result,
)
from guards_floor import HANDLER, Floor

from tintype_server.dispatch import dispatcher as dispatching
from tintype_server.dispatch.dispatcher import Dispatcher
from tintype_server.dispatch.guards.credits import credits
from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio import clock
from tintype_studio.annotations.geometry import AnnotationList
from tintype_studio.identity.roles import Role
from tintype_studio.storage.prepared import Prepared
from tintype_studio.storage.tables import accounts, api_keys, holds, ledger_entries
from tintype_tools.call import Plan, Request
from tintype_tools.registry import Registry
from tintype_tools.spec import Args, Category, Effect, Quote, Result, ToolSpec

KEYS, CALLERS = 8, 64
MOST = 10**9
KEYED = "write with an idempotency key"


class PaidArgs(Args):
    """Nothing to say."""


class PaidResult(Result):
    """Nothing to show."""


def paid_tool() -> ToolSpec:
    """A paid tool that works for no time at all, so that only the guards are measured."""
    return ToolSpec(
        name="run_paid",
        title="A paid call",
        category=Category.RESULTS,
        toolset="results",
        description="Use when measuring.",
        args=PaidArgs,
        result=PaidResult,
        required_role=Role.MEMBER,
        credit_cost=1,
        quote=lambda _args, _call: Quote("bench", 1),
        plan=lambda _args, _call: Plan(),
        idempotent=False,
        effect=Effect.SPEND,
        handler=lambda _args, _call: PaidResult(),
    )


class Bench:
    """An open workspace with one labelled image."""

    def __init__(self, home: Path) -> None:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
        from support.pictures import jpeg

        self.runtime = Runtime.open(Settings(home=home, confirm_above_credits=MOST))
        studio = self.studio = self.runtime.studio
        self.owner_key = self.runtime.local_api_key()
        self.files = everything(self.runtime.settings)
        self.owner = studio.keys.authenticate(self.owner_key)
        studio.ledger.grant(self.owner, 10**9)
        self.dataset = studio.datasets.create(self.owner, name="bench")
        self.image = studio.ingest.add_image(self.owner, self.dataset, data=jpeg(), filename="a.jpg")
        box = {"x": 1, "y": 1, "w": 2, "h": 2}
        raw = [{"id": str(n), "name": "car", "bounding_box": box} for n in range(5)]
        self.annotations = raw
        self.document = AnnotationList.model_validate({"annotations": raw}).annotations
        self.registry = Registry([*self.runtime.registry, paid_tool()])
        self.dispatch = Dispatcher(studio, self.registry, self.runtime.settings)

    def request(self, tool: str, arguments: dict[str, Any], key: str | None = None, **more: Any) -> Request:
        """A call as a door would make it."""
        return Request(
            tool=tool,
            arguments=arguments,
            api_key=key or self.owner_key,
            door="toolkit",
            files=self.files,
            **more,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer calls")
    quick = parser.parse_args().quick
    rounds, calls, load = (4, 40, 512) if quick else (15, 200, 4096)
    with TemporaryDirectory(prefix="tintype-bench-") as folder:
        made = Bench(Path(folder) / "home")
        rows, ratios = added(made, rounds, calls)
        floor_rows, floor_ratios = floor(made, Path(folder) / "floor.db", rounds, calls)
        ratios |= floor_ratios
        bare = bare_call(200 if quick else 2000)
        rows.append(["bare SDK call over HTTP", milliseconds(bare), "", "", ""])
        of_bare = {f"{name}_of_bare": ms / 1000 / bare for name, ms in ratios.items() if "added_ms" in name}
        rate_rows, rates = throughput(made, 3 if quick else 7, load)
        made.runtime.close()
    header = ["call", "through the guards", "handler alone", "added", "processor time added"]
    print_result("guards", header, rows, **ratios, **of_bare)
    print_result("floor", ["rows written by hand", "median", "added", "processor time added"], floor_rows)
    print_result(
        "ledger", [f"{CALLERS} callers, {KEYS} keys", "calls per second", "ratio"], rate_rows, **rates
    )


def added(made: Bench, rounds: int, calls: int) -> tuple[list[list[str]], dict[str, float]]:
    """Median milliseconds that the guards add to each kind of call."""
    studio, owner = made.studio, made.owner
    save = {"image_uuid": made.image.id, "annotations": made.annotations}

    class Bare:
        principal, studio = owner, made.studio

        @staticmethod
        def blob_url(*_args: object, **_kwargs: object) -> None:
            return None

    bare_call: Any = Bare()

    def bare(tool: str, arguments: dict[str, Any]) -> Callable[[object], object]:
        spec = made.registry.get(tool)
        args = spec.args.model_validate(arguments)

        def work(_request: object) -> None:
            answer: Any = spec.handler(args, bare_call)
            answer.model_dump(mode="json", exclude_none=True)

        return work

    def bare_commit(_request: object) -> None:
        # SQLite writes nothing for an update that changes nothing.
        with studio.database.write() as connection:
            one_row.run(connection, {"more": next(numbers)})

    numbers = itertools.count()
    one_row = Prepared(sa.update(accounts).values(monthly_allowance=sa.bindparam("more")))
    bare_save = bare("save_annotations", save)
    kinds: dict[str, tuple[Callable[[], Request], Callable[[object], object]]] = {
        "read": (
            lambda: made.request("get_dataset", {"name": "bench"}),
            bare("get_dataset", {"name": "bench"}),
        ),
        "write": (lambda: made.request("save_annotations", save), bare_save),
        KEYED: (
            lambda: made.request("save_annotations", save, idempotency_key=str(uuid.uuid4())),
            bare_save,
        ),
        "paid": (lambda: made.request("run_paid", {}), bare_commit),
    }
    rows: list[list[str]] = []
    ratios: dict[str, float] = {}
    for name, (request, alone) in kinds.items():
        through, without = Timed(made.dispatch), Timed(alone)
        in_turns([through, without], request, rounds, calls)
        ours, theirs = through.medians(), without.medians()
        more = [a - b for a, b in zip(ours, theirs, strict=True)]
        ratios |= figures("added", name, more)
        rows.append([name, *map(milliseconds, (ours[0], theirs[0], *more))])
    return rows, ratios


def floor(made: Bench, file: Path, rounds: int, calls: int) -> tuple[list[list[str]], dict[str, float]]:
    """Median milliseconds of a save's rows when they are written by hand, to a copy of the database."""
    save = {"image_uuid": made.image.id, "annotations": made.annotations}
    made.dispatch(made.request("save_annotations", save, idempotency_key=str(uuid.uuid4())))
    by_hand = Floor(made.runtime.settings.home / "tintype.db", file)
    steps = {name: Timed(lambda _nothing, write=write: write()) for name, write in by_hand.steps}
    in_turns(list(steps.values()), lambda: None, rounds, calls)
    by_hand.close()
    least = steps[HANDLER].medians()
    rows: list[list[str]] = []
    ratios: dict[str, float] = {}
    for name, timed in steps.items():
        hand = timed.medians()
        more = [a - b for a, b in zip(hand, least, strict=True)]
        ratios |= figures("floor", name, more)
        rows.append([name, *map(milliseconds, (hand[0], *more))])
    return rows, ratios


def figures(what: str, name: str, seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds by the clock and of the processor, for programs."""
    name = name.replace(" ", "_")
    return {f"{what}_ms_{name}": seconds[0] * 1000, f"{what}_cpu_ms_{name}": seconds[1] * 1000}


def in_turns(works: Sequence[Timed], make: Callable[[], object], rounds: int, calls: int) -> None:
    """Do all in turns, in alternating order: who comes after another finds the processor's caches cold."""
    for number in range(rounds + 1):
        for timed in works if number % 2 else reversed(works):
            timed.run([make() for _ in range(calls)], keep=number > 0)


class Timed:
    """Something that is done with a request, and how long that took."""

    def __init__(self, work: Callable[[Any], object]) -> None:
        self._work = work
        self._wall: list[float] = []
        self._thread: list[float] = []

    def run(self, requests: Sequence[object], *, keep: bool) -> None:
        """Do it once with each request."""
        for request in requests:
            thread, started = time.thread_time(), time.perf_counter()
            self._work(request)
            ended, thread_ended = time.perf_counter(), time.thread_time()
            if keep:
                self._wall.append(ended - started)
                self._thread.append(thread_ended - thread)

    def medians(self) -> tuple[float, float]:
        """Seconds by the clock and of the processor."""
        return median(self._wall), median(self._thread)


def bare_call(calls: int) -> float:
    """Median seconds of an echo call on the SDK over HTTP, one at a time."""
    with bench() as made, load_process() as clients:
        port = free_port()
        request = mcp_call_request(port, "echo", {"text": "x" * 400}, None)
        with http_server([sys.executable, str(made.echo), "http", str(port)], port, made.environment):
            check_answer(port, request, status=200, holds=b"xxx")
            _, latencies = clients.submit(http_load, port, request, 1, calls).result()
    return median(latencies[calls // 10 :])


@contextmanager
def without_the_ledger() -> Any:
    """Build dispatchers whose guards leave the money alone."""
    kept = dispatching.GUARDS
    dispatching.GUARDS = tuple(guard for guard in kept if guard is not credits)
    try:
        yield
    finally:
        dispatching.GUARDS = kept


def throughput(made: Bench, rounds: int, calls: int) -> tuple[list[list[str]], dict[str, float]]:
    """Paid calls per second of 64 threads with 8 keys, with the ledger and without."""
    keys = []
    for n in range(KEYS):
        secret, _ = made.studio.keys.create(made.owner, name=f"k{n}", role=Role.MEMBER)
        keys.append(secret)
    with without_the_ledger():
        free = Dispatcher(made.studio, made.registry, made.runtime.settings)
    speeds: dict[str, list[float]] = {"with the ledger": [], "without": []}
    spent_before = balance(made)
    paid = 0
    for round_number in range(rounds + 1):
        for name, dispatch in (("with the ledger", made.dispatch), ("without", free)):
            seconds = crowd(made, dispatch, keys, calls)
            paid += calls if dispatch is made.dispatch else 0
            if round_number:
                speeds[name].append(calls / seconds)
    if spent_before - balance(made) != paid:
        raise RuntimeError(f"{paid} credits were due, {spent_before - balance(made)} were charged")
    check_books(made)
    on, off = median(speeds["with the ledger"]), median(speeds["without"])
    rows = [
        ["with the ledger", f"{on:.0f}", f"{on / off:.2f}"],
        ["without", f"{off:.0f}", "1.00"],
    ]
    return rows, {"throughput_with_ledger": on / off}


def crowd(made: Bench, dispatch: Dispatcher, keys: list[str], calls: int) -> float:
    """Seconds in which 64 threads make the calls."""
    gc.collect()
    start = threading.Barrier(CALLERS + 1)

    def work(n: int) -> None:
        start.wait()
        for _ in range(calls // CALLERS):
            dispatch(made.request("run_paid", {}, keys[n % KEYS]))

    with ThreadPoolExecutor(CALLERS) as pool:
        done = [pool.submit(work, n) for n in range(CALLERS)]
        start.wait()
        started = time.perf_counter()
        for one in done:
            one.result()
        return time.perf_counter() - started


def balance(made: Bench) -> int:
    """The organization's credits."""
    with made.studio.database.read() as connection:
        return int(connection.execute(sa.select(accounts.c.balance)).scalar_one())


def check_books(made: Bench) -> None:
    """The sum of the ledger is the balance, nothing is held, every key's use adds up."""
    with made.studio.database.read() as connection:
        total = connection.execute(sa.select(sa.func.sum(ledger_entries.c.amount))).scalar_one()
        held = connection.execute(sa.select(sa.func.count()).select_from(holds)).scalar_one()
        used = connection.execute(sa.select(sa.func.sum(api_keys.c.credits_used))).scalar_one()
        charged = connection.execute(
            sa.select(sa.func.sum(ledger_entries.c.amount)).where(ledger_entries.c.amount < 0)
        ).scalar_one()
    if (total, held, used) != (balance(made), 0, -charged):
        raise RuntimeError(f"the books are wrong: {total=} {held=} {used=} {charged=} at {clock.now()}")


if __name__ == "__main__":
    main()

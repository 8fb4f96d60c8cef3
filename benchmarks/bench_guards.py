"""What all guards together add to a call, and what the ledger costs under concurrency.

    python benchmarks/bench_guards.py [--quick]

In one process, on SQLite in a temporary folder. A call through the dispatcher is timed in turns with the
same tool's handler called bare, outside of any call, so that no change is logged either; the difference of
the medians is what the guards add. The paid tool works for no time at all; beside it stands one durable
commit of one row, the least that anything paid for can do. Beside all stands a bare echo call on the SDK
over HTTP, in the same run.

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
from collections.abc import Callable
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
    rounds, calls, load = (5, 60, 512) if quick else (15, 200, 4096)
    with TemporaryDirectory(prefix="tintype-bench-") as folder:
        made = Bench(Path(folder) / "home")
        rows, ratios = added(made, rounds, calls)
        bare = bare_call(300 if quick else 2000)
        rows.append(["bare SDK call over HTTP", milliseconds(bare), "", ""])
        ratios |= {f"{name}_of_bare": value / 1000 / bare for name, value in ratios.items()}
        rate_rows, rates = throughput(made, 3 if quick else 7, load)
        made.runtime.close()
    print_result("guards", ["call", "through the guards", "handler alone", "added"], rows, **ratios)
    print_result(
        "ledger", [f"{CALLERS} callers, {KEYS} keys", "calls per second", "ratio"], rate_rows, **rates
    )


def added(made: Bench, rounds: int, calls: int) -> tuple[list[list[str]], dict[str, float]]:
    """Median milliseconds that the guards add to each kind of call."""
    studio, owner = made.studio, made.owner
    save = {"image_uuid": made.image.id, "annotations": made.annotations}
    get_dataset, read = made.registry.get("get_dataset"), {"name": "bench"}
    args = get_dataset.args.model_validate(read)

    class Bare:
        principal, studio = owner, made.studio

        @staticmethod
        def blob_url(*_args: object, **_kwargs: object) -> None:
            return None

    bare_call: Any = Bare()

    def bare_read() -> None:
        get_dataset.handler(args, bare_call).model_dump(mode="json", exclude_none=True)

    def bare_save() -> None:
        studio.documents.save(owner, made.image.id, made.document)

    def bare_commit() -> None:
        # SQLite writes nothing for an update that changes nothing.
        with studio.database.write() as connection:
            one_row.run(connection, {"more": next(numbers)})

    numbers = itertools.count()
    one_row = Prepared(sa.update(accounts).values(monthly_allowance=sa.bindparam("more")))
    kinds: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "read": (lambda: made.dispatch(made.request("get_dataset", read)), bare_read),
        "write": (lambda: made.dispatch(made.request("save_annotations", save)), bare_save),
        "write with an idempotency key": (
            lambda: made.dispatch(made.request("save_annotations", save, idempotency_key=str(uuid.uuid4()))),
            bare_save,
        ),
        "paid": (lambda: made.dispatch(made.request("run_paid", {})), bare_commit),
    }
    rows, ratios = [], {}
    for name, pair in kinds.items():
        times: tuple[list[float], list[float]] = ([], [])
        for round_number in range(rounds + 1):
            for work, kept in zip(pair, times, strict=True):
                measured = [timed(work) for _ in range(calls)]
                kept.extend(measured if round_number else ())
        ours, bare = median(times[0]), median(times[1])
        ratios[f"added_ms_{name.replace(' ', '_')}"] = (ours - bare) * 1000
        rows.append([name, milliseconds(ours), milliseconds(bare), milliseconds(ours - bare)])
    return rows, ratios


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


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

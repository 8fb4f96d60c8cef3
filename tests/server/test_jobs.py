"""Tools that start jobs, on the dispatcher: waiting, replays, money, dry runs, and the job tools.

The turns run in a thread of the test, as a worker would run them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support import jobs as support
from support.jobs import PRICE, books

from tintype_server.dispatch.dispatcher import Dispatcher
from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.errors import Cancelled, Conflict, InvalidInput, NotFound, PaymentRequired, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.jobs import kind as kinds
from tintype_studio.jobs.executor import Executor
from tintype_studio.jobs.job import Job
from tintype_studio.jobs.pool import Pool
from tintype_studio.storage.job_tables import jobs
from tintype_tools.call import Affected, Call, Outcome, Output, Plan, Request
from tintype_tools.registry import Registry
from tintype_tools.spec import Args, Category, Effect, Quote, Result, ToolSpec


class PaintArgs(Args):
    keys: list[str]
    seconds: float = 0
    wait_seconds: int = 20


class PaintResult(Result):
    job_id: str
    status: str
    painted: int


def job_args(args: PaintArgs) -> dict[str, Any]:
    return {"keys": args.keys, "work": "spin", "more": [args.seconds]}


def quote(args: PaintArgs, call: Call) -> Quote:
    return Quote("paint", call.studio.jobs.plan(call.principal, "paint", job_args(args)).credits)


def handle(args: PaintArgs, call: Call) -> Output:
    job = call.studio.jobs.start(call.principal, "paint", job_args(args))
    return Output(report(job, call), job=job.id)


def report(job: Job, _call: Call) -> PaintResult:
    return PaintResult(job_id=job.id, status=job.status.value, painted=job.done - job.failed)


PAINT = ToolSpec(
    name="paint_things",
    title="Paint things",
    category=Category.JOBS,
    toolset="probe",
    description="Use when testing.",
    args=PaintArgs,
    result=PaintResult,
    required_role=Role.MEMBER,
    credit_cost=PRICE,
    quote=quote,
    plan=lambda args, _call: Plan((Affected("things.painted", len(args.keys)),)),
    idempotent=False,
    effect=Effect.SPEND,
    handler=handle,
    report=report,
)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    pool = Pool(2)
    yield pool
    pool.close()


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    monkeypatch.setenv("PYTHONPATH", str(Path(support.__file__).parents[1]))
    monkeypatch.setattr(kinds, "_kinds", {})
    support.register_kinds()
    opened = Runtime.open(Settings(home=tmp_path / "home", confirm_above_credits=10**9))
    opened.studio.jobs.supervisor.enabled = False
    yield opened
    opened.close()


@pytest.fixture
def dispatch(runtime: Runtime) -> Dispatcher:
    return Dispatcher(runtime.studio, Registry([*runtime.registry, PAINT]), runtime.settings)


@pytest.fixture
def owner(runtime: Runtime) -> Principal:
    return runtime.studio.keys.authenticate(runtime.local_api_key())


@pytest.fixture
def worker(runtime: Runtime, pool: Pool) -> Iterator[Executor]:
    """Runs whatever is queued, as a worker's loop does."""
    executor, stop = Executor(runtime.studio, pool), threading.Event()
    threads: list[threading.Thread] = []

    def serve() -> None:
        begun: set[str] = set()
        while not stop.wait(0.02):
            executor.watch()
            with runtime.studio.database.read() as connection:
                rows = connection.execute(sa.select(jobs.c.uuid, jobs.c.turn, jobs.c.status)).all()
            for row in rows:
                if row.status == "queued" and row.uuid not in begun:
                    begun.add(row.uuid)
                    threads.append(threading.Thread(target=executor.execute, args=(row.uuid, row.turn)))
                    threads[-1].start()

    loop = threading.Thread(target=serve)
    loop.start()
    yield executor
    executor.stop(2)
    stop.set()
    for thread in (loop, *threads):
        thread.join()


def request(runtime: Runtime, tool: str = "paint_things", **changes: Any) -> Request:
    values: dict[str, Any] = {
        "tool": tool,
        "api_key": runtime.local_api_key(),
        "door": "toolkit",
        "files": everything(runtime.settings),
    }
    return Request(**{**values, **changes})


def paint(runtime: Runtime, *keys: str, **changes: Any) -> Request:
    arguments = {"keys": list(keys), **changes.pop("arguments", {})}
    return request(runtime, arguments=arguments, **changes)


def test_a_short_job_answers_like_any_call_with_progress_and_its_price(
    runtime: Runtime, dispatch: Dispatcher, owner: Principal, worker: Executor
) -> None:
    before, seen = books(runtime.studio, owner)[0], []
    outcome = dispatch(paint(runtime, "a", "b", progress=lambda *told: seen.append(told)))
    assert (outcome.value["status"], outcome.value["painted"], outcome.credits) == ("completed", 2, 2 * PRICE)
    assert seen[-1][:2] == (2, 2)
    assert books(runtime.studio, owner) == (before - 2 * PRICE, 0)
    undone = dispatch(request(runtime, "undo_call", arguments={"call_id": outcome.call_id}))
    assert undone.value["counts"] == {"dataset.created": 2}


def test_without_a_wait_the_answer_is_a_handle_and_the_job_holds_its_price(
    runtime: Runtime, dispatch: Dispatcher, owner: Principal
) -> None:
    before = books(runtime.studio, owner)[0]
    outcome = dispatch(paint(runtime, "a", "b", arguments={"wait_seconds": 0}))
    assert (outcome.value["status"], outcome.credits) == ("queued", 0)
    assert books(runtime.studio, owner) == (before, 2 * PRICE)
    runtime.studio.settle()  # as a server does: the hold is no dead process's
    assert books(runtime.studio, owner) == (before, 2 * PRICE)
    job_id = outcome.value["job_id"]
    shown = dispatch(request(runtime, "get_job", arguments={"job_id": job_id})).value["job"]
    assert (shown["status"], shown["credits_held"], shown["call_id"]) == (
        "queued",
        2 * PRICE,
        outcome.call_id,
    )
    listed = dispatch(request(runtime, "list_jobs", arguments={"status": "queued"})).value["jobs"]
    assert [job["job_id"] for job in listed] == [job_id]
    cancelled = dispatch(request(runtime, "cancel_job", arguments={"job_id": job_id})).value["job"]
    assert cancelled["status"] == "cancelled"
    assert books(runtime.studio, owner) == (before, 0)
    with pytest.raises(Conflict):
        dispatch(request(runtime, "cancel_job", arguments={"job_id": job_id}, dry_run=True))
    with pytest.raises(NotFound):
        dispatch(request(runtime, "get_job", arguments={"job_id": "nobody"}))


def test_the_same_key_at_the_same_time_starts_one_job_and_all_get_its_result(
    runtime: Runtime, dispatch: Dispatcher, owner: Principal, worker: Executor
) -> None:
    before = books(runtime.studio, owner)[0]
    call = paint(runtime, "a", "b", arguments={"seconds": 0.3}, idempotency_key="once")
    with ThreadPoolExecutor(6) as threads:
        outcomes = list(threads.map(dispatch, [replace(call, cancelled=threading.Event())] * 6))
    assert {o.value["status"] for o in outcomes} == {"completed"}
    assert len({o.value["job_id"] for o in outcomes}) == 1
    assert [o.replayed for o in outcomes].count(False) == 1
    assert len(runtime.studio.jobs.list(owner)) == 1
    assert books(runtime.studio, owner) == (before - 2 * PRICE, 0)
    again = dispatch(replace(call, cancelled=threading.Event()))
    assert (again.replayed, again.value) == (True, outcomes[0].value)


def test_hanging_up_ends_the_wait_and_not_the_job(
    runtime: Runtime, dispatch: Dispatcher, owner: Principal, worker: Executor
) -> None:
    gone = threading.Event()
    call = paint(runtime, "a", "b", "c", "d", arguments={"seconds": 0.4}, cancelled=gone)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(dispatch, call)
        while not runtime.studio.jobs.list(owner):
            time.sleep(0.01)
        gone.set()
        hung_up = time.monotonic()
        with pytest.raises(Cancelled):
            running.result(5)
        assert time.monotonic() - hung_up < 1
    [job] = runtime.studio.jobs.list(owner)
    assert runtime.studio.jobs.wait(owner, job.id, 20).status == "completed"


def test_cancelling_a_running_job_answers_the_call_that_waits_for_it(
    runtime: Runtime, dispatch: Dispatcher, owner: Principal, worker: Executor
) -> None:
    before = books(runtime.studio, owner)[0]
    keys = [str(n) for n in range(30)]
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(dispatch, paint(runtime, *keys, arguments={"seconds": 0.4}))
        while not any(job.done for job in runtime.studio.jobs.list(owner)):
            time.sleep(0.01)
        [job] = runtime.studio.jobs.list(owner)
        dispatch(request(runtime, "cancel_job", arguments={"job_id": job.id}))
        asked = time.monotonic()
        outcome: Outcome = running.result(5)
        assert time.monotonic() - asked < 1.5
    assert outcome.value["status"] == "cancelled"
    assert 0 < outcome.value["painted"] < 30
    assert books(runtime.studio, owner) == (before - PRICE * outcome.value["painted"], 0)


def test_what_cannot_be_paid_is_not_started(runtime: Runtime, dispatch: Dispatcher, owner: Principal) -> None:
    many = [str(n) for n in range(books(runtime.studio, owner)[0] // PRICE + 1)]
    with pytest.raises(PaymentRequired):
        dispatch(paint(runtime, *many))
    assert runtime.studio.jobs.list(owner) == []


def test_a_dry_run_tells_the_price_and_starts_nothing(
    runtime: Runtime, dispatch: Dispatcher, owner: Principal
) -> None:
    value = dispatch(paint(runtime, "a", "b", dry_run=True)).value
    assert value["price"]["credits"] == 2 * PRICE
    assert runtime.studio.jobs.list(owner) == []
    assert books(runtime.studio, owner)[1] == 0


def test_failed_items_are_listed_page_by_page(
    runtime: Runtime, dispatch: Dispatcher, owner: Principal, worker: Executor
) -> None:
    for key in "bcd":
        runtime.studio.datasets.create(owner, name=f"painted-{key}")
    job_id = dispatch(paint(runtime, "a", "b", "c", "d")).value["job_id"]
    seen, after = [], None
    while True:
        page = dispatch(
            request(runtime, "get_job", arguments={"job_id": job_id, "failures": 2, "after": after})
        ).value
        seen += [(f["item"], f["code"]) for f in page["failures"]]
        after = page.get("next_after")
        if after is None:
            break
    assert seen == [(key, "dataset_exists") for key in "bcd"]
    assert (page["job"]["done"], page["job"]["failed"], page["result"]) == (4, 3, {"painted": 4})


def test_get_job_waits_for_the_end(
    runtime: Runtime, dispatch: Dispatcher, owner: Principal, worker: Executor
) -> None:
    job_id = dispatch(paint(runtime, "a", arguments={"seconds": 0.5, "wait_seconds": 0})).value["job_id"]
    waited = dispatch(request(runtime, "get_job", arguments={"job_id": job_id, "wait_seconds": 20})).value
    assert waited["job"]["status"] == "completed"
    with pytest.raises(InvalidInput):
        dispatch(request(runtime, "get_job", arguments={"job_id": job_id, "wait_seconds": 61}))


def test_a_tool_that_starts_jobs_lets_its_caller_say_how_long_to_wait() -> None:
    class NoWait(Args):
        keys: list[str]

    with pytest.raises(ValueError, match="wait_seconds"):
        ToolSpec(**{**{name: getattr(PAINT, name) for name in ToolSpec.model_fields}, "args": NoWait})


def test_a_dataset_is_verified(
    runtime: Runtime, dispatch: Dispatcher, owner: Principal, worker: Executor
) -> None:
    from support.pictures import jpeg

    studio = runtime.studio
    dataset = studio.datasets.create(owner, name="signs")
    for n in range(3):
        studio.ingest.add_image(owner, dataset, data=jpeg(seed=n), filename=f"{n}.jpg")
    lost = studio.samples.find(dataset, "1.jpg")
    studio.blobs.delete(lost.sha256)
    value = dispatch(request(runtime, "verify_dataset", arguments={"dataset_name": "signs"})).value
    assert (value["job"]["status"], value["images_read"], value["images_damaged"]) == ("completed", 3, 1)
    [damaged] = value["damaged"]
    assert (damaged["image_id"], damaged["code"]) == (lost.id, "blob_missing")
    assert "/1.jpg" in damaged["reason"]


def test_a_call_whose_job_cannot_be_followed_is_answered_as_it_was_committed(
    runtime: Runtime, dispatch: Dispatcher, owner: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise an agent that follows the ``fix`` would start, and pay, a second job."""

    def busy(*_args: Any, **_more: Any) -> Any:
        raise Unavailable("The database is busy.", code="database_busy")

    monkeypatch.setattr(runtime.studio.jobs, "wait", busy)
    outcome = dispatch(paint(runtime, "a"))
    assert outcome.value["status"] == "queued"
    assert [job.id for job in runtime.studio.jobs.list(owner)] == [outcome.value["job_id"]]


def test_a_retry_may_wait_for_another_time(runtime: Runtime, dispatch: Dispatcher) -> None:
    first = dispatch(paint(runtime, "a", arguments={"wait_seconds": 0}, idempotency_key="once"))
    again = dispatch(paint(runtime, "a", arguments={"wait_seconds": 1}, idempotency_key="once"))
    assert (again.replayed, again.value["job_id"]) == (True, first.value["job_id"])


def test_work_that_has_grown_since_its_quote_is_not_started(
    runtime: Runtime, dispatch: Dispatcher, owner: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = books(runtime.studio, owner)
    start = runtime.studio.jobs.start

    def grown(principal: Principal, kind: str, args: dict[str, Any]) -> Job:
        return start(principal, kind, args | {"keys": ["a", "b", "c"]})

    monkeypatch.setattr(runtime.studio.jobs, "start", grown)
    with pytest.raises(Conflict) as refused:
        dispatch(paint(runtime, "a"))
    assert (refused.value.code, refused.value.retryable) == ("price_changed", True)
    assert (runtime.studio.jobs.list(owner), books(runtime.studio, owner)) == ([], before)

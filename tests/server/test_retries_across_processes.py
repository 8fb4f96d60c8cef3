"""One idempotency key, several processes: the call happens once, and all get its answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.errors import TintypeError
from tintype_studio.storage.tables import calls, datasets, idempotency_records
from tintype_tools.call import Outcome, Request


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[list[Runtime]]:
    """Four open runtimes of one workspace; nothing but its files is common to them."""
    opened = [Runtime.open(Settings(home=tmp_path / "home")) for _ in range(4)]
    yield opened
    for runtime in opened:
        runtime.close()


def create(runtime: Runtime, name: str, key: str = "retry") -> Outcome:
    return runtime.dispatch(
        Request(
            tool="create_dataset",
            arguments={"name": name},
            api_key=runtime.local_api_key(),
            door="toolkit",
            files=everything(runtime.settings),
            idempotency_key=key,
        )
    )


def count(runtime: Runtime, table: sa.Table, *conditions: Any) -> int:
    with runtime.studio.database.read() as connection:
        query = sa.select(sa.func.count()).select_from(table).where(*conditions)
        return int(connection.execute(query).scalar_one())


def at_once(processes: list[Runtime], call: Callable[[Runtime, int], Outcome]) -> list[Any]:
    """Every process makes its call at the same moment; outcomes, or the errors."""
    ready = threading.Barrier(len(processes))

    def run(runtime: Runtime, n: int) -> Outcome:
        ready.wait()
        return call(runtime, n)

    with ThreadPoolExecutor(len(processes)) as pool:
        done = [pool.submit(run, runtime, n) for n, runtime in enumerate(processes)]
    return [future.exception() or future.result() for future in done]


@pytest.mark.parametrize("attempt", range(5))
def test_processes_that_send_one_call_at_once_get_one_answer(processes: list[Runtime], attempt: int) -> None:
    outcomes = at_once(processes, lambda runtime, _n: create(runtime, f"one {attempt}"))
    assert [type(o) for o in outcomes] == [Outcome] * 4
    assert len({o.call_id for o in outcomes}) == 1
    assert sorted(o.replayed for o in outcomes) == [False, True, True, True]
    assert all(o.value == outcomes[0].value for o in outcomes)
    assert count(processes[0], datasets) == 1
    assert count(processes[0], idempotency_records) == 1
    recorded = (calls.c.tool == "create_dataset", calls.c.outcome == "ok")
    assert count(processes[0], calls, *recorded, calls.c.replayed.is_(False)) == 1
    assert count(processes[0], calls, *recorded, calls.c.replayed.is_(True)) == 3


def test_one_key_for_different_calls_of_several_processes_is_a_conflict(processes: list[Runtime]) -> None:
    outcomes = at_once(processes, lambda runtime, n: create(runtime, f"number {n}"))
    errors = [o for o in outcomes if isinstance(o, TintypeError)]
    assert [e.code for e in errors] == ["idempotency_conflict"] * 3
    assert count(processes[0], datasets) == 1


def test_a_call_that_failed_leaves_its_key_to_any_process(processes: list[Runtime]) -> None:
    create(processes[0], "taken", key="other")
    for runtime in processes:
        with pytest.raises(TintypeError) as caught:
            create(runtime, "taken")
        assert caught.value.code == "dataset_exists"
    with suppress(TintypeError):
        create(processes[1], "taken")
    assert create(processes[2], "free").replayed is False
    assert create(processes[3], "free").replayed is True

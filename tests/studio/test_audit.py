"""The audit trail: changes at once, reads in batches, nothing lost on a normal end."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from tintype_studio import clock
from tintype_studio.history.audit import CallRecord
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio


def record(principal: Principal, tool: str = "list_datasets") -> CallRecord:
    return CallRecord(
        uuid=clock.new_id(),
        organization_id=principal.organization_id,
        api_key_id=principal.key_id,
        role=principal.role.value,
        door="test",
        agent=None,
        tool=tool,
        arguments="{}",
        outcome="ok",
        replayed=False,
        credits=0,
        duration_us=1,
        created_at=clock.now(),
    )


def tools(studio: Studio, principal: Principal) -> list[str]:
    return [call["tool"] for call in studio.audit.list(principal, limit=10_000)]


def test_a_change_is_there_as_soon_as_it_is_recorded(
    studio: Studio, owner: Principal, open_studio: Any
) -> None:
    made = record(owner, "create_dataset")
    studio.audit.record(made)
    [seen] = open_studio().audit.list(owner)
    assert {name: seen[name] for name in CallRecord.__slots__} == {
        name: getattr(made, name) for name in CallRecord.__slots__
    }


def test_reads_are_flushed_on_close(studio: Studio, owner: Principal, open_studio: Any) -> None:
    for n in range(1200):
        studio.audit.record_soon(record(owner, str(n)))
    studio.close()
    assert tools(open_studio(), owner) == [str(n) for n in reversed(range(1200))]


def test_a_read_is_written_soon_without_being_asked_for(
    studio: Studio, owner: Principal, open_studio: Any
) -> None:
    other = open_studio()
    studio.audit.record_soon(record(owner))
    deadline = time.monotonic() + 5
    while not tools(other, owner):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_reads_from_many_threads_all_arrive(studio: Studio, owner: Principal) -> None:
    threads = [
        threading.Thread(target=lambda: [studio.audit.record_soon(record(owner)) for _ in range(50)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tools(studio, owner)) == 400


def test_a_row_that_cannot_be_written_takes_no_other_with_it(studio: Studio, owner: Principal) -> None:
    studio.audit.record_soon(record(owner, "before"))
    studio.audit.record_soon(replace(record(owner), api_key_id=999_999))  # no such key
    studio.audit.record_soon(replace(record(owner), agent="\ud800"))
    studio.audit.record_soon(record(owner, "after"))
    assert tools(studio, owner) == ["after", "before"]
    studio.audit.record_soon(record(owner, "later"))
    assert tools(studio, owner) == ["later", "after", "before"]


def test_a_read_that_comes_after_close_is_not_lost(
    studio: Studio, owner: Principal, open_studio: Any
) -> None:
    studio.audit.record_soon(record(owner, "before"))
    studio.audit.close()
    studio.audit.record_soon(record(owner, "after"))
    assert tools(open_studio(), owner) == ["after", "before"]


def test_closing_ends_the_background_thread(studio: Studio, owner: Principal) -> None:
    before = set(threading.enumerate())
    studio.audit.record_soon(record(owner))
    [writer] = [t for t in set(threading.enumerate()) - before if t.name == "audit"]
    studio.close()
    assert not writer.is_alive()


ENDS_WELL = """
import sys
from pathlib import Path
from tintype_studio import clock
from tintype_studio.history.audit import CallRecord
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.studio import Studio, Workspace

studio = Studio(Workspace(Path(sys.argv[1])))
owner = studio.keys.authenticate(saved_api_key(studio.home))
for n in range(700):
    studio.audit.record_soon(CallRecord(clock.new_id(), owner.organization_id, owner.key_id, "owner", "test",
        None, f"tool{n}", "{}", "ok", False, 0, 1, clock.now()))
studio.close()
"""


def test_a_process_that_ends_well_loses_nothing(studio: Studio, owner: Principal, spawn: Any) -> None:
    assert spawn(ENDS_WELL).wait(30) == 0
    assert sorted(tools(studio, owner)) == sorted(f"tool{n}" for n in range(700))


def test_each_organization_sees_its_own_calls(studio: Studio, owner: Principal, stranger: Principal) -> None:
    studio.audit.record(record(owner, "mine"))
    studio.audit.record_soon(record(stranger, "theirs"))
    assert (tools(studio, owner), tools(studio, stranger)) == (["mine"], ["theirs"])


@pytest.mark.parametrize("limit", [1, 3])
def test_the_list_is_newest_first_and_limited(studio: Studio, owner: Principal, limit: int) -> None:
    for n in range(5):
        studio.audit.record(record(owner, str(n)))
    assert [c["tool"] for c in studio.audit.list(owner, limit=limit)] == ["4", "3", "2"][:limit]

"""The audit trail: changes at once, reads in batches, nothing lost on a normal end."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import InvalidInput
from tintype_studio.history.audit import CallRecord
from tintype_studio.history.audit_query import EVERY_CALL, CallFilter
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.studio import Studio


def record(principal: Principal, tool: str = "list_datasets", **changes: Any) -> CallRecord:
    made = CallRecord(
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
    return replace(made, **changes)


def tools(studio: Studio, principal: Principal, which: CallFilter = EVERY_CALL) -> list[str]:
    """The tools of all calls, newest first, page by page."""
    found: list[str] = []
    before: int | None = None
    while seen := studio.audit.list(principal, which, limit=500, before=before):
        found += [call.tool for call in seen]
        before = seen[-1].row
    return found


def test_a_change_is_there_as_soon_as_it_is_recorded(
    studio: Studio, owner: Principal, open_studio: Any
) -> None:
    made = record(owner, "create_dataset", agent="robot 2", session="s", dry_run=True, credits=3)
    studio.audit.record(made)
    [seen] = open_studio().audit.list(owner)
    assert asdict(seen) == {
        "row": seen.row,
        "id": made.uuid,
        "created_at": made.created_at,
        "api_key_id": owner.key_uuid,
        "key_prefix": owner.key_prefix,
        "role": "owner",
        "door": "test",
        "agent": "robot 2",
        "session": "s",
        "tool": "create_dataset",
        "arguments": "{}",
        "outcome": "ok",
        "replayed": False,
        "dry_run": True,
        "credits": 3,
        "duration_us": 1,
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
    assert [c.tool for c in studio.audit.list(owner, limit=limit)] == ["4", "3", "2"][:limit]


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_one_to_a_thousand_calls(studio: Studio, owner: Principal, limit: int) -> None:
    with pytest.raises(InvalidInput) as raised:
        studio.audit.list(owner, limit=limit)
    assert raised.value.code == "invalid_limit"


def test_pages_stay_put_while_calls_are_added(studio: Studio, owner: Principal) -> None:
    for n in range(5):
        studio.audit.record(record(owner, str(n)))
    first = studio.audit.list(owner, limit=2)
    studio.audit.record(record(owner, "new"))
    second = studio.audit.list(owner, limit=2, before=first[-1].row)
    studio.audit.record_soon(record(owner, "newer"))
    third = studio.audit.list(owner, limit=2, before=second[-1].row)
    assert [c.tool for c in (*first, *second, *third)] == ["4", "3", "2", "1", "0"]
    assert [c.tool for c in studio.audit.list(owner, after=first[0].row)] == ["newer", "new"]


START = datetime(2026, 1, 1, tzinfo=UTC)
IN_INDIA = timezone(timedelta(hours=5, minutes=30))


@pytest.fixture
def trail(studio: Studio, owner: Principal) -> Principal:
    """Five calls of two keys, an hour apart; returns the second key's principal."""
    secret, _ = studio.keys.create(owner, name="second", role=Role.MEMBER)
    second = studio.keys.authenticate(secret)
    for hour, (who, tool, changes) in enumerate(
        [
            (owner, "a", {"agent": "Claude Code 2.1"}),
            (owner, "b", {"agent": "claude-desktop 1", "outcome": "dataset_not_found"}),
            (second, "a", {"agent": "100%_bot", "session": "nightly"}),
            (second, "b", {"outcome": "role_required", "session": "nightly"}),
            (second, "c", {"uuid": "the call"}),
        ]
    ):
        studio.audit.record(record(who, tool, created_at=START + timedelta(hours=hour), **changes))
    return second


@pytest.mark.parametrize(
    ("which", "found"),
    [
        (CallFilter(), "cbaba"),
        (CallFilter(tool="a"), "aa"),
        (CallFilter(outcome="ok"), "caa"),
        (CallFilter(outcome="refused"), "bb"),
        (CallFilter(outcome="role_required"), "b"),
        (CallFilter(agent="CLAUDE"), "ba"),
        (CallFilter(agent="code"), "a"),
        (CallFilter(agent="%"), "a"),
        (CallFilter(agent="0%_b"), "a"),
        (CallFilter(agent="_"), "a"),
        (CallFilter(session="nightly"), "ba"),
        (CallFilter(session="night"), ""),
        (CallFilter(call_id="the call"), "c"),
        (CallFilter(since=START + timedelta(hours=3)), "cb"),
        (CallFilter(until=START + timedelta(hours=1)), "a"),
        (CallFilter(since=datetime(2026, 1, 1, 8, 30, tzinfo=IN_INDIA)), "cb"),
        (CallFilter(tool="b", outcome="refused", session="nightly"), "b"),
        (CallFilter(tool="b", outcome="ok"), ""),
        (CallFilter(key="pk_live_none"), ""),
    ],
)
def test_filters(studio: Studio, owner: Principal, trail: Principal, which: CallFilter, found: str) -> None:
    assert "".join(tools(studio, owner, which)) == found


def test_calls_of_a_key_by_its_id_or_its_prefix(studio: Studio, owner: Principal, trail: Principal) -> None:
    for key in (trail.key_uuid, trail.key_prefix):
        assert "".join(tools(studio, owner, CallFilter(key=key))) == "cba"
    assert "".join(tools(studio, owner, CallFilter(key=owner.key_prefix))) == "ba"


def test_a_time_without_a_zone_is_refused(studio: Studio, owner: Principal) -> None:
    for which in (CallFilter(since=datetime(2026, 1, 1)), CallFilter(until=datetime(2026, 1, 1))):
        with pytest.raises(InvalidInput) as raised:
            studio.audit.list(owner, which)
        assert raised.value.code == "invalid_time"


@pytest.mark.parametrize(
    ("role", "found"),
    [(Role.VIEWER, "c"), (Role.MEMBER, "c"), (Role.ADMIN, "cba"), (Role.OWNER, "cba")],
)
def test_below_admin_a_key_sees_its_own_calls(
    studio: Studio, owner: Principal, role: Role, found: str
) -> None:
    me = studio.keys.authenticate(studio.keys.create(owner, name="me", role=role)[0])
    other = studio.keys.authenticate(studio.keys.create(owner, name="other", role=role)[0])
    for who, tool in ((owner, "a"), (other, "b"), (me, "c")):
        studio.audit.record(record(who, tool))
    assert "".join(tools(studio, me)) == found
    others = "".join(tools(studio, me, CallFilter(key=other.key_prefix)))
    assert others == ("b" if len(found) == 3 else "")


@pytest.mark.parametrize("which", [{"key": "prefix"}, {"call_id": "id"}, {"session": "s"}, {"agent": "bot"}])
def test_no_filter_reaches_another_organizations_calls(
    studio: Studio, owner: Principal, stranger: Principal, which: dict[str, str]
) -> None:
    theirs = record(stranger, "theirs", session="s", agent="bot")
    studio.audit.record(theirs)
    values = {"prefix": stranger.key_prefix, "id": theirs.uuid}
    wanted = CallFilter(**{name: values.get(value, value) for name, value in which.items()})
    assert tools(studio, stranger, wanted) == ["theirs"]
    assert tools(studio, owner, wanted) == []


def test_calls_without_a_valid_key_belong_to_no_organization(
    studio: Studio, owner: Principal, stranger: Principal
) -> None:
    studio.audit.record(record(owner, "anonymous", organization_id=None, api_key_id=None, role=None))
    assert tools(studio, owner) == tools(studio, stranger) == []


@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}"])
@pytest.mark.parametrize("table", ["calls", "ledger_entries"])
def test_the_database_refuses_to_change_the_books(
    studio: Studio, owner: Principal, table: str, statement: str
) -> None:
    studio.audit.record(record(owner))
    with (
        pytest.raises(sa.exc.DBAPIError, match="append-only"),
        studio.database.write() as connection,
    ):
        connection.exec_driver_sql(statement.format(table))
    with studio.database.read() as connection:
        assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() == 1

"""Sessions that outsiders fill: what is kept of them, what is refused, how they go and come back."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.sessions import experiment, told_session, told_validation

from tintype_studio import clock
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import TintypeError
from tintype_studio.experiments.deletion import delete_sessions
from tintype_studio.experiments.files import Incoming, Owner
from tintype_studio.experiments.parameters import MAX_DEPTH
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.session_tables import session_files, tasks
from tintype_studio.storage.upkeep_tables import swept_blobs
from tintype_studio.studio import Studio

HOSTILE = [
    "",
    "/etc/passwd",
    "../up",
    "artifacts/../../up",
    "artifacts//x",
    "artifacts/",
    "artifacts/.",
    "artifacts\\x",
    "artifacts/C:x/..",
    "artifacts/a\0b",
    "artifacts/a\nb",
    "artifacts/ x",
    "artifacts/\ud800",
    "artifacts/" + "x" * 600,
    "elsewhere/x",
    "x",
]


def code(deed: Callable[..., object], *args: Any, **given: Any) -> str:
    with pytest.raises(TintypeError) as refused:
        deed(*args, **given)
    assert refused.value.fix
    return refused.value.code


def test_what_an_outside_trainer_tells_is_what_is_found(
    studio: Studio, owner: Principal, dataset: Dataset
) -> None:
    tries = experiment(studio, owner)
    params = {"lr": 0.1, "deep": {"layers": [1, 2.5, "x", True]}}
    made = told_session(studio, owner, tries, params=params, dataset=dataset, val_group="night")
    assert (made.status, made.own, made.experiment, made.project) == ("created", False, "tries", "default")
    assert (made.params, made.dataset, made.val_group) == (params, dataset.name, "night")
    assert made.task is not None
    assert (made.task.type, made.task.manager, made.task.is_job) == ("trainer", "user", False)
    sessions = studio.experiments.training
    assert sessions.get(owner, made.id) == sessions.get(owner, made.wire_id) == made

    told = sessions.update(owner, made.id, metrics={"loss": 0.5}, name="run 1b", description="better")
    assert (told.name, told.description, sessions.metrics(told)) == ("run 1b", "better", {"loss": 0.5})
    told = sessions.update(owner, made.id, metrics={"mAP": 0.25}, merge=True)
    assert sessions.metrics(told) == {"loss": 0.5, "mAP": 0.25}
    assert sessions.metrics(sessions.update(owner, made.id, metrics={})) == {}
    assert [each.training_sessions for each in studio.experiments.list(owner)] == [1]


def test_lists_are_read_to_their_end_page_by_page(studio: Studio, owner: Principal) -> None:
    tries, others = experiment(studio, owner), experiment(studio, owner, "others")
    made = [told_session(studio, owner, tries, name=f"run {n}") for n in range(5)]
    told_session(studio, owner, others)
    sessions = studio.experiments.training
    first = sessions.list(owner, experiment=tries, limit=3)
    rest = sessions.list(owner, experiment=tries, limit=3, before=first[-1].id)
    assert [each.id for each in [*first, *rest]] == [each.id for each in reversed(made)]
    assert len(sessions.list(owner)) == 6
    checks = [told_validation(studio, owner, made[0]) for _ in range(3)]
    found = studio.experiments.validation.list(owner, training=made[0], limit=2)
    assert [each.id for each in found] == [checks[2].id, checks[1].id]
    assert [e.name for e in studio.experiments.list(owner, limit=1)] == ["others"]
    assert code(sessions.list, owner, limit=501) == code(studio.experiments.list, owner, limit=0)


def test_another_organization_finds_and_changes_nothing(
    studio: Studio, owner: Principal, stranger: Principal, tmp_path: Path
) -> None:
    made = told_session(studio, owner)
    check = told_validation(studio, owner, made)
    experiments = studio.experiments
    for ref in (made.id, made.wire_id):
        assert code(experiments.training.get, stranger, ref) == "session_not_found"
        assert code(experiments.training.update, stranger, ref, name="mine") == "session_not_found"
        assert code(delete_sessions, studio, stranger, [ref]) == "session_not_found"
    assert code(experiments.validation.get, stranger, check.wire_id) == "session_not_found"
    assert code(experiments.get, stranger, "exp-1") == "experiment_not_found"
    assert code(studio.tasks.get, stranger, "task-1") == "task_not_found"
    assert code(studio.tasks.set_status, stranger, "task-1", "failed") == "task_not_found"
    (tmp_path / "x").write_bytes(b"x")
    file = [Incoming("artifacts/x", tmp_path / "x")]
    assert code(experiments.files.put, stranger, Owner.TRAINING, made.row_id, file) == "training_not_found"
    assert experiments.training.list(stranger) == experiments.validation.list(stranger) == []
    assert experiments.list(stranger) == studio.tasks.list(stranger) == []
    assert experiments.training.get(owner, made.id) == made


@pytest.mark.parametrize("ref", ["x", "t-", "t-0", "t-ffffffffffffffff", "v-1", "T-1", "exp-1", "\0", "t-1 "])
def test_an_id_that_names_nothing_is_not_found(studio: Studio, owner: Principal, ref: str) -> None:
    told_session(studio, owner)
    assert code(studio.experiments.training.get, owner, ref) == "session_not_found"


@pytest.mark.parametrize(
    "wrong",
    [
        {"a": None},
        {"a": [1, None]},
        {"a": math.nan},
        {"a": -math.inf},
        {"a": 2**63},
        {"a": "\ud800"},
        {"a\0": 1},
        {"a" * 201: 1},
        {"a": {1: 2}},
        {"a": object()},
        {"a": b"x"},
    ],
)
def test_parameters_that_clients_could_not_read_are_refused(
    studio: Studio, owner: Principal, wrong: dict[str, Any]
) -> None:
    made = told_session(studio, owner, params={"lr": 1})
    update = studio.experiments.training.update
    assert code(update, owner, made.id, metrics=wrong) == "invalid_parameters"
    assert code(update, owner, made.id, params=wrong) == "invalid_parameters"
    assert code(told_session, studio, owner, experiment(studio, owner, "b"), params=wrong)
    assert studio.experiments.training.get(owner, made.id) == made


def test_parameters_have_a_depth_and_a_size(studio: Studio, owner: Principal) -> None:
    made = told_session(studio, owner)
    update = studio.experiments.training.update
    deep: Any = 1
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    update(owner, made.id, metrics={"a": deep})
    assert code(update, owner, made.id, metrics={"a": [[deep]]}) == "invalid_parameters"
    assert code(update, owner, made.id, metrics={"a": "x" * 2**20}) == "parameters_too_large"
    half = {"a": "x" * 700_000}
    update(owner, made.id, metrics=half)
    more = {"b": "x" * 700_000}
    assert code(update, owner, made.id, metrics=more, merge=True) == "parameters_too_large"
    assert studio.experiments.training.get(owner, made.id).metrics == half


def test_names_are_one_line_and_there(studio: Studio, owner: Principal) -> None:
    tries = experiment(studio, owner)
    for name in ("", "  ", "a\nb", "x" * 121):
        assert code(told_session, studio, owner, tries, name=name) == "invalid_name"
        assert code(experiment, studio, owner, name) == "invalid_name"
    assert code(experiment, studio, owner) == "experiment_exists"
    long = "x" * 2001
    assert code(told_session, studio, owner, tries, description=long) == "description_too_long"
    assert studio.experiments.training.list(owner) == []
    assert studio.tasks.list(owner) == []


# --- Files ----------------------------------------------------------------------------------------------


def test_files_come_back_as_they_were_sent_and_a_path_holds_the_last(
    studio: Studio, owner: Principal, tmp_path: Path
) -> None:
    made = told_session(studio, owner)
    sessions, files = studio.experiments.training, studio.experiments.files
    weights = tmp_path / "weights"
    weights.write_bytes(bytes(range(256)) * 9000)
    sent = [Incoming("checkpoints/a/é.pt", weights), Incoming("artifacts/labels.txt", b"sign\n")]
    kept = sessions.add_files(owner, made, sent)
    assert [(each.path, each.size) for each in kept] == [
        ("checkpoints/a/é.pt", 2_304_000),
        ("artifacts/labels.txt", 5),
    ]
    found = sessions.file(made, "checkpoints/a/e\u0301.pt")
    assert b"".join(files.stream(found)) == weights.read_bytes()
    before = sessions.file(made, "artifacts/labels.txt").sha256
    sessions.add_files(owner, made, [Incoming("artifacts/labels.txt", b"")])
    assert [(each.path, each.size) for each in sessions.files(made)] == [
        ("artifacts/labels.txt", 0),
        ("checkpoints/a/é.pt", 2_304_000),
    ]
    with studio.database.read() as connection:
        assert connection.execute(sa.select(swept_blobs.c.sha256)).scalars().all() == [before]
    assert code(sessions.file, made, "artifacts/none") == "file_not_found"


@pytest.mark.parametrize("path", HOSTILE)
def test_a_hostile_path_is_refused_and_nothing_of_its_form_is_kept(
    studio: Studio, owner: Principal, path: str
) -> None:
    made = told_session(studio, owner)
    sent = [Incoming("artifacts/good", b"good"), Incoming(path, b"bad")]
    assert code(studio.experiments.training.add_files, owner, made, sent) == "invalid_file_path"
    assert studio.experiments.training.files(made) == []
    assert list(studio.blobs.digests()) == []


def test_data_files_may_lie_anywhere_within(studio: Studio, owner: Principal) -> None:
    check = told_validation(studio, owner, told_session(studio, owner))
    sessions = studio.experiments.validation
    sessions.add_files(owner, check, [Incoming("a.txt", b"1"), Incoming("run 1/b.txt", b"2")])
    assert [each.path for each in sessions.files(check)] == ["a.txt", "run 1/b.txt"]
    twice = [Incoming("c", b"1"), Incoming("c", b"2")]
    assert code(sessions.add_files, owner, check, twice) == "duplicate_file"
    for path in HOSTILE[:14]:
        assert code(sessions.add_files, owner, check, [Incoming(path, b"")]) == "invalid_file_path"
    assert len(sessions.files(check)) == 2


def test_there_is_a_limit_of_files(studio: Studio, owner: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tintype_studio.experiments.files.MAX_FILES", 2)
    monkeypatch.setattr("tintype_studio.experiments.files.MAX_BYTES", 3)
    made = told_session(studio, owner)
    add = studio.experiments.training.add_files
    add(owner, made, [Incoming("artifacts/a", b"1"), Incoming("artifacts/b", b"2")])
    add(owner, made, [Incoming("artifacts/b", b"3")])
    assert code(add, owner, made, [Incoming("artifacts/c", b"4")]) == "too_many_files"
    assert code(add, owner, made, [Incoming("artifacts/b", b"1234")]) == "file_too_large"
    assert [each.path for each in studio.experiments.training.files(made)] == ["artifacts/a", "artifacts/b"]


DEATH = """
import os, signal, sys
from pathlib import Path
import sqlalchemy as sa
from tintype_studio.experiments.files import Incoming
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.studio import Studio, Workspace

home, session, point = sys.argv[1:]
studio = Studio(Workspace(Path(home)))
owner = studio.keys.authenticate(saved_api_key(studio.home))
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if point == "before the rows":
    studio.experiments.files._record = die
elif point == "between the files":
    put, seen = studio.blobs.put, []
    studio.blobs.put = lambda data: die() if seen else (seen.append(1), put(data))[1]
else:
    sa.event.listen(studio.database.engine, "commit", die)
made = studio.experiments.training.get(owner, session)
sent = [Incoming("artifacts/a", b"new a"), Incoming("artifacts/b", b"new b")]
studio.experiments.training.add_files(owner, made, sent)
"""


@pytest.mark.parametrize("point", ["between the files", "before the rows", "before the commit"])
def test_a_death_between_the_bytes_and_their_rows_leaves_all_as_it_was(
    studio: Studio, owner: Principal, spawn: Any, open_studio: Any, point: str
) -> None:
    made = told_session(studio, owner)
    studio.experiments.training.add_files(owner, made, [Incoming("artifacts/a", b"old a")])
    child = spawn(DEATH, made.id, point)
    assert child.wait(60) == -signal.SIGKILL
    after = open_studio()
    sessions, files = after.experiments.training, after.experiments.files
    (only,) = sessions.files(sessions.get(owner, made.id))
    assert (only.path, b"".join(files.stream(only))) == ("artifacts/a", b"old a")
    sent = [Incoming("artifacts/a", b"new a"), Incoming("artifacts/b", b"new b")]
    sessions.add_files(owner, sessions.get(owner, made.id), sent)
    found = {each.path: b"".join(files.stream(each)) for each in sessions.files(made)}
    assert found == {"artifacts/a": b"new a", "artifacts/b": b"new b"}


# --- Gone and back --------------------------------------------------------------------------------------


def acts(principal: Principal) -> Principal:
    return replace(principal, call_id=clock.new_id(), tool="some_tool")


def test_a_deleted_session_is_gone_with_its_checks_and_comes_back_with_them(
    studio: Studio, owner: Principal
) -> None:
    made = told_session(studio, owner)
    check = told_validation(studio, owner, made)
    sessions = studio.experiments.training
    sessions.add_files(owner, made, [Incoming("artifacts/a", b"a")])
    who = acts(owner)
    assert {each.id for each in delete_sessions(studio, who, [made.wire_id])} == {made.id, check.id}
    assert delete_sessions(studio, owner, [made.id, check.wire_id]) == []
    assert code(sessions.get, owner, made.id) == "session_not_found"
    assert code(sessions.update, owner, made.id, name="x") == "session_not_found"
    add = studio.experiments.files.put
    assert code(add, owner, Owner.TRAINING, made.row_id, [Incoming("a", b"")]) == "training_not_found"
    undone = studio.undo.call(acts(owner), str(who.call_id))
    assert undone.counts == {"session.deleted": 2}
    assert sessions.get(owner, made.id).name == "run 1"
    assert [each.path for each in sessions.files(made)] == ["artifacts/a"]
    assert studio.experiments.validation.get(owner, check.id).training_session_id == made.id


def test_of_several_none_goes_when_one_is_unknown(studio: Studio, owner: Principal) -> None:
    made = told_session(studio, owner)
    assert code(delete_sessions, studio, owner, [made.id, "t-99"]) == "session_not_found"
    assert studio.experiments.training.get(owner, made.id).id == made.id


def test_what_was_made_is_taken_back_and_made_again(studio: Studio, owner: Principal) -> None:
    first, second = acts(owner), acts(owner)
    tries = experiment(studio, first)
    made = told_session(studio, second, tries)
    assert code(studio.undo.call, acts(owner), str(first.call_id)) == "experiment_in_use"
    undo = acts(owner)
    studio.undo.call(undo, str(second.call_id))
    assert code(studio.experiments.training.get, owner, made.id) == "session_not_found"
    gone = acts(owner)
    studio.undo.call(gone, str(first.call_id))
    assert studio.experiments.list(owner) == []
    studio.undo.call(acts(owner), str(gone.call_id))
    studio.undo.call(acts(owner), str(undo.call_id))
    assert [each.training_sessions for each in studio.experiments.list(owner)] == [1]


def test_after_a_month_it_leaves_for_good_with_files_and_task(
    studio: Studio, owner: Principal, move_clock: Any
) -> None:
    made, other = told_session(studio, owner), told_session(studio, owner, experiment(studio, owner, "b"))
    sessions = studio.experiments.training
    sessions.add_files(owner, made, [Incoming("artifacts/a", b"a"), Incoming("artifacts/both", b"both")])
    sessions.add_files(owner, other, [Incoming("artifacts/both", b"both")])
    delete_sessions(studio, owner, [made.id])
    assert studio.experiments.sweep() == 0
    move_clock(timedelta(days=31))
    assert studio.experiments.sweep() == 1
    with studio.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(session_files)).scalar_one() == 1
        assert connection.execute(sa.select(sa.func.count()).select_from(tasks)).scalar_one() == 1
        marked = connection.execute(sa.select(swept_blobs.c.sha256)).scalars().all()
    assert len(marked) == 1
    studio.recycle_bin.sweep()
    (kept,) = sessions.files(other)
    assert b"".join(studio.experiments.files.stream(kept)) == b"both"
    assert len(list(studio.blobs.digests())) == 1

"""Undo as a state machine: any order of work, undo and redo, beside snapshots taken around every call."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.pictures import jpeg

from tintype_studio import clock
from tintype_studio.annotations.geometry import AnnotationList
from tintype_studio.catalog.datasets import ClassAttribute, DatasetClass
from tintype_studio.errors import TintypeError
from tintype_studio.history.undo import Undone
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.tables import metadata
from tintype_studio.studio import Studio, Workspace

PICTURES = [jpeg(16, 12, seed=n) for n in range(3)]
DATASETS = ("one", "two")
FILES = ("a.jpg", "b.jpg")
NAMES = ("car", "Straße")
OPTIONS = (None, None, "red", "blue", "green")
LISTS = ((), ("red", "blue"), ("red", "green"))
"""Options of the attribute ``colour``."""

IMAGES = """
    SELECT d.uuid, s.uuid, s.folder, s.filename, s.status, coalesce((
        SELECT r.document FROM annotation_revisions r WHERE r.sample_id = s.id ORDER BY r.revision DESC
        LIMIT 1), '[]')
    FROM samples s JOIN datasets d ON d.id = s.dataset_id WHERE s.deleted_at IS NULL
"""
LIVING = "SELECT uuid, name, description FROM datasets WHERE deleted_at IS NULL"
CLASSES = """
    SELECT d.uuid, d.classes_declared, c.name, c.color, c.attributes FROM datasets d
    LEFT JOIN dataset_classes c ON c.dataset_id = d.id WHERE d.deleted_at IS NULL
"""
COUNTERS = "SELECT image_count, completed_image_count, annotation_count, total_size, uuid FROM datasets"
COUNTED = """
    SELECT count(s.id), coalesce(sum(s.status = 'complete'), 0), coalesce(sum(s.annotation_count), 0),
        coalesce(sum(f.size), 0), d.uuid
    FROM datasets d LEFT JOIN samples s ON s.dataset_id = d.id AND s.deleted_at IS NULL
    LEFT JOIN sample_files f ON f.sample_id = s.id WHERE d.deleted_at IS NULL GROUP BY d.id
"""
WRITTEN = """
    SELECT s.uuid FROM annotation_revisions r JOIN samples s ON s.id = r.sample_id WHERE r.call_id = :call
"""
LOGGED = "SELECT c.kind, d.uuid FROM changes c JOIN datasets d ON d.id = c.dataset_id WHERE c.call_id = :call"

Key = tuple[str, str]
State = dict[Key, Any]
"""What lives: ("dataset", id), ("image", id) and ("classes", dataset id), each with all there is to see."""

numbers = st.floats(-50, 50, width=32).map(float)
sessions = st.sampled_from(["s0", "s1"])
names, files, which = (
    st.sampled_from([*DATASETS[:1] * 3, *DATASETS]),
    st.sampled_from(FILES),
    st.integers(0, 2),
)
saves = st.tuples(
    st.just("save"),
    names,
    which,
    st.lists(
        st.tuples(st.sampled_from(NAMES), numbers, numbers, st.sampled_from(OPTIONS)),
        max_size=2,
    ),
)
adds = st.tuples(st.just("add"), names, files, which)
removes = st.tuples(st.just("remove"), names, which)
deeds = st.one_of(
    st.tuples(st.sampled_from(["create", "drop"]), names),
    st.tuples(
        st.just("declare"),
        names,
        st.dictionaries(st.sampled_from(NAMES), st.sampled_from(LISTS), min_size=1),
    ),
    adds,
    removes,
    saves,
)


def document(points: list[tuple[str, float, float, str | None]]) -> list[Any]:
    raw = [
        {"id": str(n), "name": name, "keypoint": {"x": x, "y": y}}
        | ({} if option is None else {"attributes": [{"colour": option}]})
        for n, (name, x, y, option) in enumerate(points)
    ]
    return AnnotationList.model_validate({"annotations": raw}).annotations


@dataclass
class Done:
    """A call, with the state before and after it."""

    id: str
    session: str
    before: State
    after: State
    kinds: set[str]
    wrote: set[str]
    """Images whose annotations it saved, were they the same as before."""
    logged: set[tuple[str, str]]
    """What it did by the log, where: kind of change and dataset, also where nothing came of it."""
    takes_back: list[Done] = field(default_factory=list)
    undone_by: str | None = None

    @property
    def touched(self) -> set[Key]:
        return {k for k in self.before | self.after if self.before.get(k) != self.after.get(k)}

    @property
    def datasets(self) -> set[str]:
        """Where the images lie that it touched."""
        both = self.before | self.after
        return {both[k][0] for k in self.touched if k[0] == "image"}

    @property
    def sets_classes(self) -> bool:
        return bool(self.kinds & {"classes.set", "dataset.created", "dataset.deleted", "dataset.restored"})


@pytest.fixture(scope="module", autouse=True)
def template(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An empty workspace to copy: making one takes longer than a whole run."""
    home = tmp_path_factory.mktemp("template") / "home"
    Studio(Workspace(home)).close()
    Histories.template = home


class Histories(RuleBasedStateMachine):
    """Work in calls of two sessions, undone and redone in any order."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        home = Path(self.folder.name) / "home"
        shutil.copytree(self.template, home)
        self.studio = Studio(Workspace(home))
        self.owner = self.studio.keys.authenticate(saved_api_key(home))
        self.calls: list[Done] = []
        self.points: list[tuple[str, int]] = []

    # What is there

    def rows(self, text: str, **values: Any) -> list[tuple[Any, ...]]:
        with self.studio.database.read() as connection:
            return [tuple(row) for row in connection.execute(sa.text(text), values)]

    def state(self) -> State:
        found: State = {("dataset", uuid): rest for uuid, *rest in self.rows(LIVING)}
        for dataset, uuid, *rest in self.rows(IMAGES):
            found["image", uuid] = (dataset, *rest)
        for dataset, declared, name, color, attributes in self.rows(CLASSES):
            entry = found.setdefault(("classes", dataset), (bool(declared), {}))
            if name is not None:
                entry[1][name] = (color, attributes)
        return found

    def everything(self) -> dict[str, list[Any]]:
        with self.studio.database.read() as connection:
            return {
                t.name: [tuple(r) for r in connection.execute(sa.select(t))] for t in metadata.sorted_tables
            }

    def used(self, state: State, dataset: str) -> set[str]:
        """Class names that annotations of living images carry."""
        texts = [v[-1] for (kind, _), v in state.items() if kind == "image" and v[0] == dataset]
        return {annotation["name"] for text in texts for annotation in orjson.loads(text)}

    def chosen(self, state: State, dataset: str) -> set[tuple[str, str]]:
        """Options that annotations of living images choose, with their class."""
        texts = [v[-1] for (kind, _), v in state.items() if kind == "image" and v[0] == dataset]
        found = [annotation for text in texts for annotation in orjson.loads(text)]
        return {(a["name"], entry["colour"]) for a in found for entry in a.get("attributes", ())}

    # Work

    def act(self, session: str) -> Principal:
        return replace(self.owner, call_id=clock.new_id(), session=session, tool="tool")

    def note(self, who: Principal, before: State, taken: list[Done] | None = None) -> Done:
        found = self.studio.changes.of_call(self.owner, str(who.call_id))
        done = Done(
            str(who.call_id),
            str(who.session),
            before,
            self.state(),
            {c.kind.value for c in found},
            {uuid for (uuid,) in self.rows(WRITTEN, call=who.call_id)},
            {(kind, uuid) for kind, uuid in self.rows(LOGGED, call=who.call_id)},
            taken or [],
        )
        if found:
            self.calls.append(done)
        return done

    def do(self, who: Principal, verb: str, name: str, *rest: Any) -> None:
        studio = self.studio
        if verb == "create":
            studio.datasets.create(who, name=name, description="d")
        elif verb == "drop":
            studio.datasets.delete(who, name)
        elif verb == "declare":
            classes = [
                DatasetClass(n, None, "#00ff00", (ClassAttribute("colour", options),) if options else ())
                for n, options in sorted(rest[0].items())
            ]
            studio.classes.declare(who, name, classes)
        elif verb == "add":
            dataset = studio.datasets.get_or_create(who, name)
            studio.ingest.add_image(who, dataset, data=PICTURES[rest[1]], filename=rest[0])
        elif page := studio.samples.page(studio.datasets.get(who, name), limit=3):
            image = page[rest[0] % len(page)].id
            if verb == "remove":
                studio.samples.delete(who, image)
            else:
                studio.documents.save(who, image, document(rest[1]))

    @initialize()
    def begin(self) -> None:
        """So that there is something to work on from the first step."""
        self.work("s0", [("create", "one"), ("add", "one", "a.jpg", 0), ("add", "one", "b.jpg", 0)])

    @rule(session=sessions, deed=saves)
    def save(self, session: str, deed: tuple[Any, ...]) -> None:
        self.work(session, [deed])

    @rule(session=sessions, deed=st.one_of(adds, removes))
    def add_or_remove(self, session: str, deed: tuple[Any, ...]) -> None:
        self.work(session, [deed])

    @rule(session=sessions, script=st.lists(deeds, min_size=1, max_size=3))
    def work(self, session: str, script: list[tuple[Any, ...]]) -> None:
        who, before = self.act(session), self.state()
        for number, deed in enumerate(script):
            # No tool deletes in the middle of its work: a call's uploads, and its saves, are undone as one.
            if deed[0] == "remove" and {earlier[0] for earlier in script[:number]} & {"add", "save"}:
                continue
            try:
                self.do(who, *deed)
            except TintypeError:
                continue
        self.note(who, before)

    @rule()
    def mark(self) -> None:
        if len(self.points) < 3:
            self.points.append((self.studio.changes.mark(self.act("s0"), "tool"), len(self.calls)))

    # Undo

    @rule(which=st.integers(0, 7))
    def undo(self, which: int) -> None:
        """Of one of the last calls; an undo is one, too."""
        if self.calls:
            self.take_back(self.calls[-1 - which % len(self.calls)])

    @rule()
    def redo(self) -> None:
        """Of the latest undo that stands."""
        undo = next((c for c in reversed(self.calls) if c.takes_back and c.undone_by is None), None)
        if undo is not None:
            self.take_back(undo)

    @rule(session=sessions)
    def undo_session(self, session: str) -> None:
        mine = [c for c in self.calls if c.session == session and not c.takes_back and c.undone_by is None]
        if mine:
            self.try_undo(mine, lambda who: self.studio.undo.session(who, session))

    @rule(which=st.integers(0, 2))
    def undo_since_a_restore_point(self, which: int) -> None:
        if which < len(self.points):
            point, count = self.points[which]
            later = [c for c in self.calls[count:] if not c.takes_back and c.undone_by is None]
            if later:
                self.try_undo(later, lambda who: self.studio.undo.session(who, restore_point=point))

    def take_back(self, call: Done) -> None:
        if call.undone_by is not None:
            rows = self.everything()
            with pytest.raises(TintypeError) as refused:
                self.studio.undo.call(self.act("undoing"), call.id)
            assert (refused.value.code, refused.value.details) == (
                "already_undone",
                {"undone_by": call.undone_by},
            )
            assert self.everything() == rows
            return
        self.try_undo([call], lambda who: self.studio.undo.call(who, call.id))

    def try_undo(self, calls: list[Done], deed: Callable[[Principal], Undone]) -> None:
        """Undo ``calls``; accepted or refused, what must hold is checked."""
        rows, before, who = self.everything(), self.state(), self.act("undoing")
        try:
            undone = deed(who)
        except TintypeError as error:
            assert self.everything() == rows
            self.check_refusal(calls, error)
            return
        assert undone.calls == [c.id for c in reversed(calls)]
        if len(calls) == 1:
            assert not self.overtaken(calls[0], before)
        done = self.note(who, before, calls)
        self.check_outcome(calls, before, done.after)
        for call in calls:
            self.set_undone(call, done.id)

    def set_undone(self, call: Done, by: str | None) -> None:
        """What an undone undo had taken back stands again, and so on."""
        call.undone_by = by
        for taken in call.takes_back:
            self.set_undone(taken, None if by is not None else call.id)

    def overtaken(self, call: Done, now: State) -> bool:
        """Whether something that the call changed is no longer as the call left it."""
        made = {k for k in call.touched if k[0] == "dataset" and k not in call.before}
        inside = {k for k, v in now.items() if k[0] == "image" and ("dataset", v[0]) in made}
        kept = {k for k in call.touched | inside if k[0] != "classes"}
        return any(now.get(k) != call.after.get(k) for k in kept)

    def check_refusal(self, calls: list[Done], error: TintypeError) -> None:
        assert error.code in {
            "later_changes",
            "name_taken",
            "class_in_use",
            "class_missing",
            "option_in_use",
            "option_missing",
        }
        if error.code != "later_changes":
            return
        named = {c["call_id"] for c in error.details["calls"]}
        assert named
        assert named <= {c.id for c in self.calls if c.undone_by is None}
        assert not named & {c.id for c in calls}
        if len(calls) == 1:
            later = self.calls[self.calls.index(calls[0]) + 1 :]
            assert named <= {c.id for c in later if self.builds_on(c, calls[0])}

    def builds_on(self, later: Done, call: Done) -> bool:
        """Whether it touched what the call touched, or what lies in a dataset that the call made or undid."""
        datasets = {k for k in call.touched if k[0] == "dataset"} | {("dataset", d) for d in call.datasets}
        made = {k[1] for k in call.touched if k[0] == "dataset"}
        return bool(
            later.touched & (call.touched | datasets)
            or (later.wrote | {k[1] for k in later.touched}) & (call.wrote | {k[1] for k in call.touched})
            or (later.datasets | {k[1] for k in later.touched} | {d for _, d in later.logged}) & made
            or {(k, d) for k, d in later.logged & call.logged if k == "classes.set"}
        )

    def check_outcome(self, calls: list[Done], before: State, after: State) -> None:
        expected: State = {}
        for call in reversed(calls):
            expected.update({k: call.before.get(k) for k in call.touched})
        for key in before | after | expected:
            if key[0] != "classes":
                assert after.get(key) == expected.get(key, before.get(key)), key
        for key in {k for k in before | after if k[0] == "classes"}:
            self.check_classes(key, calls, before.get(key), after)

    def check_classes(self, key: Key, calls: list[Done], before: Any, after: State) -> None:
        """Learned names go with what taught them, unless others use them; declared lists come back whole."""
        setting = [c for c in calls if key in c.touched and c.sets_classes]
        if setting:
            want = setting[0].before.get(key)
            assert (want is None) == (key not in after)
            if want is None:
                return
        else:
            want = before
        declared, listed = after[key]
        assert declared == want[0]
        used = self.used(after, key[1])
        taught_again = {n for c in calls if c.takes_back for n in c.before.get(key, (0, {}))[1]}
        assert set(listed) - set(want[1]) <= used | taught_again
        learned = {
            n for c in calls for n in set(c.after.get(key, (0, {}))[1]) - set(c.before.get(key, (0, {}))[1])
        }
        assert set(want[1]) - set(listed) <= learned - used
        assert all(listed[name] == want[1][name] for name in set(listed) & set(want[1]))

    # What always holds

    @invariant()
    def counters_are_true(self) -> None:
        counters = {row[-1]: row for row in self.rows(COUNTERS)}
        for row in self.rows(COUNTED):
            assert counters[row[-1]] == row

    @invariant()
    def living_images_have_living_datasets_and_known_classes(self) -> None:
        state = self.state()
        for kind, uuid in state:
            if kind == "image":
                assert ("dataset", state[kind, uuid][0]) in state
            elif kind == "dataset":
                classes = state["classes", uuid][1]
                assert self.used(state, uuid) <= set(classes)
                for name, option in self.chosen(state, uuid):
                    attributes = orjson.loads(classes[name][1] or "[]")
                    assert all(option in attribute["options"] for attribute in attributes)

    @invariant()
    def the_log_tells_what_is_undone(self) -> None:
        told = {c.call_id: c.undone_by for c in self.studio.changes.page(self.owner, limit=1000)}
        assert told == {c.id: c.undone_by for c in self.calls}

    def teardown(self) -> None:
        try:
            self.undo_everything()
        finally:
            self.studio.close()
            self.folder.cleanup()

    def undo_everything(self) -> None:
        """Strictly backwards, undos too: each step is possible, and the last one leaves nothing."""
        for call in reversed(self.calls.copy()):
            if call.undone_by is None:
                self.take_back(call)
                assert call.undone_by is not None
        assert self.state() == {}


TestHistories = pytest.mark.slow(Histories.TestCase)
TestHistories.settings = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

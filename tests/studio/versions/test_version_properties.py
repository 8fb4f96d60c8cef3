"""Versions as a property: whatever is done to a dataset between two of them, a restore brings every byte
back, and its undo brings back every byte of what it replaced.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.pictures import jpeg
from support.version_state import counters_are_true, state_of

from tintype_studio import clock
from tintype_studio.annotations.geometry import AnnotationList
from tintype_studio.annotations.labels import NewLabel
from tintype_studio.catalog.datasets import DatasetClass
from tintype_studio.catalog.samples import Status
from tintype_studio.errors import TintypeError, UndoConflict
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.identity.keys import Principal
from tintype_studio.multisensor.new_sample import NewSample
from tintype_studio.multisensor.sample_meta import SampleMeta
from tintype_studio.studio import Studio, Workspace

EXAMPLES = int(os.environ.get("TINTYPE_VERSION_EXAMPLES", "25"))
PICTURES = [jpeg(16, 12, seed=n) for n in range(4)]
CLOUD = (
    b"# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 1\nHEIGHT 1\n"
    b"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS 1\nDATA ascii\n1 2 3\n"
)

which = st.integers(0, 5)
names = st.sampled_from(["a.jpg", "b.jpg", "c.jpg"])
labels = st.lists(st.sampled_from(["car", "dog", "sign"]), max_size=2)
deeds = st.one_of(
    st.tuples(st.just("add"), names, st.integers(0, 3)),
    st.tuples(st.just("add"), names, st.integers(0, 3)),
    st.tuples(st.just("save"), which, labels, st.sampled_from(["default", "default", "gt"])),
    st.tuples(st.just("save"), which, labels, st.just("default")),
    st.tuples(st.just("delete"), which),
    st.tuples(st.just("bring_back"), which),
    st.tuples(st.just("move"), which, st.sampled_from(["/", "/x"])),
    st.tuples(st.just("swap"), which, which),
    st.tuples(st.just("status"), which, st.sampled_from(list(Status))),
    st.tuples(st.just("display"), which, st.sampled_from(["", "first"])),
    st.tuples(st.just("group"), which, st.sampled_from([None, "train", "val"])),
    st.tuples(st.just("new_group"), st.sampled_from(["test", "empty"])),
    st.tuples(st.just("declare"), st.booleans()),
    st.tuples(st.just("label"), st.sampled_from(["car", "tree"]), st.integers(0, 50)),
    st.tuples(st.just("new_set"), st.sampled_from(["gt", "model"])),
    st.tuples(st.just("drop_set"), st.sampled_from(["gt", "model"])),
    st.tuples(st.just("sensor"), st.integers(1, 3), st.sampled_from(["run", "walk"]), labels),
    st.tuples(st.just("cloud"), which),
    st.tuples(st.just("undo"), st.integers(1, 3)),
)
scripts = st.lists(deeds, max_size=8)


def boxes(found: list[str]) -> list[Any]:
    raw = [
        {"id": f"{n}", "name": name, "bounding_box": {"x": n, "y": 1, "w": 2, "h": 3}}
        for n, name in enumerate(found)
    ]
    return AnnotationList.model_validate({"annotations": raw}).annotations


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("versions") / "home"
    studio = Studio(Workspace(home))
    owner = studio.keys.authenticate(saved_api_key(home))
    studio.datasets.create(owner, name="d")
    studio.datasets.create(owner, name="other")
    studio.close()
    return home


class Doing:
    """A dataset, and whoever does things to it, each in a call of its own."""

    def __init__(self, home: Path) -> None:
        self.studio = Studio(Workspace(home))
        self.owner = self.studio.keys.authenticate(saved_api_key(home))
        self.calls: list[str] = []

    def act(self) -> Principal:
        self.calls.append(clock.new_id())
        return replace(self.owner, call_id=self.calls[-1], tool="a_tool")

    @property
    def dataset(self) -> Any:
        return self.studio.datasets.get(self.owner, "d")

    def sample(self, number: int, *, dead: bool = False) -> Any:
        found = self.studio.multisensor.page(self.dataset)
        if dead:
            from tintype_studio.storage.tables import samples

            with self.studio.database.read() as connection:
                query = samples.select().where(samples.c.deleted_at.is_not(None))
                found = connection.execute(query).all()
                return found[number % len(found)].uuid if found else None
        return found[number % len(found)].id if found else None

    def do(self, deed: tuple[Any, ...]) -> None:
        """As far as it is allowed."""
        with suppress(TintypeError):
            self._do(*deed)

    def _do(self, verb: str, *rest: Any) -> None:
        studio, who = self.studio, self.act()
        match verb, rest:
            case "add", (name, picture):
                studio.ingest.add_image(who, self.dataset, data=PICTURES[picture], filename=name)
            case "save", (number, found, name) if sample := self.sample(number):
                studio.documents.save(who, sample, boxes(found), annotation_set=name)
            case "delete", (number,) if sample := self.sample(number):
                studio.batch.delete(who, "d", [sample])
            case "bring_back", (number,) if sample := self.sample(number, dead=True):
                studio.batch.update(who, "d", [sample], archived=False)
            case "move", (number, folder) if sample := self.sample(number):
                studio.batch.move(who, "d", [sample], folder)
            case "swap", (one, other) if (a := self.sample(one)) and (b := self.sample(other)):
                places = {s.id: s.folder for s in studio.multisensor.page(self.dataset)}
                if a != b and places[a] != places[b]:
                    studio.batch.move(self.act(), "d", [a], "/y")
                    studio.batch.move(self.act(), "d", [b], places[a])
                    studio.batch.move(self.act(), "d", [a], places[b])
            case "status", (number, status) if sample := self.sample(number):
                studio.batch.update(who, "d", [sample], status=status)
            case "display", (number, name) if sample := self.sample(number):
                studio.batch.update(who, "d", [sample], display_name=name)
            case "group", (number, group) if sample := self.sample(number):
                studio.groups.set_split(who, "d", group, [sample])
            case "new_group", (name,):
                studio.groups.create(who, "d", [name])
            case "declare", (more,):
                kept = [replace(c, color="#112233") for c in self.dataset.classes]
                fresh = [] if not more else [DatasetClass("new one", "bbox")]
                studio.classes.declare(who, "d", [*fresh, *(c for c in kept if c.name != "new one")])
            case "label", (name, index):
                studio.labels.change(who, "d", add=[NewLabel(name, index)], shared_index=True)
            case "new_set", (name,):
                studio.annotation_sets.create(who, "d", name=name, description=f"of {name}")
            case "drop_set", (name,):
                studio.annotation_sets.delete(who, "d", name)
            case "sensor", (frame, sequence, found):
                news = NewSample(
                    image_name=f"{sequence}_{frame}.jpg",
                    sequence_name=sequence,
                    frame_number=frame,
                    group="train",
                    width=20,
                    height=10,
                    meta=SampleMeta.model_validate({"source": f"camera {len(found)}"}),
                    annotations=boxes(found),
                )
                studio.population.populate(who, self.dataset, [news], learn=True)
            case "cloud", (number,) if sample := self.sample(number):
                row = studio.multisensor.get(who, sample).row_id
                studio.population.attach(
                    who, row, sample, studio.population.stage(CLOUD, "lidar.pcd", "c.pcd")
                )
            case "undo", (back,):
                made = [
                    c
                    for c in studio.changes.page(who)
                    if c.kind not in {"version.created", "dataset.created"}
                ]
                if len(made) > back:
                    studio.undo.call(who, made[back].call_id)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(before=scripts, between=scripts, after=scripts)
def test_a_restore_brings_every_byte_back_and_its_undo_what_it_replaced(
    template: Path, before: list[Any], between: list[Any], after: list[Any]
) -> None:
    with TemporaryDirectory() as folder:
        shutil.copytree(template, Path(folder) / "home")
        doing = Doing(Path(folder) / "home")
        try:
            _judge(doing, before, between, after)
        finally:
            doing.studio.close()


def _judge(doing: Doing, before: list[Any], between: list[Any], after: list[Any]) -> None:
    versions = doing.studio.versions
    states: dict[str, Any] = {}
    for name, script in (("one", before), ("two", between)):
        for deed in script:
            doing.do(deed)
        versions.create(doing.act(), "d", name=name)
        states[name] = state_of(doing.studio, "d")
    for deed in after:
        doing.do(deed)
    latest = state_of(doing.studio, "d")
    assert_at(doing, "one", states["one"])

    restored = restore(doing, "one", states["one"])
    assert_at(doing, "two", states["two"])
    call = doing.calls[-1]
    counters_are_true(doing.studio, doing.owner, "d")
    assert versions.compare(doing.owner, "d", "one").nothing
    assert versions.restore(doing.act(), "d", "one").nothing
    if not restored.nothing:
        doing.studio.undo.call(doing.act(), call)
        assert state_of(doing.studio, "d") == latest
        undone = doing.calls[-1]
        doing.studio.undo.call(doing.act(), undone)  # the restore stands again
        assert state_of(doing.studio, "d") == states["one"]
        for earlier in doing.calls[: doing.calls.index(call)]:
            changes = doing.studio.changes.of_call(doing.owner, earlier)
            if any(
                c.kind == "annotations.saved" and c.undone_by is None and c.undo_of is None for c in changes
            ):
                with pytest.raises(UndoConflict):
                    doing.studio.undo.call(doing.act(), earlier)
                break
    restore(doing, "two", states["two"])
    counters_are_true(doing.studio, doing.owner, "d")


def restore(doing: Doing, name: str, state: Any) -> Any:
    expected = doing.studio.versions.compare(doing.owner, "d", name)
    done = doing.studio.versions.restore(doing.act(), "d", name)
    assert state_of(doing.studio, "d") == state
    assert (done.deleted, done.brought_back, done.lost) == (
        expected.samples_added,
        expected.samples_removed,
        0,
    )
    assert done.updated == expected.samples_updated
    return done


def assert_at(doing: Doing, name: str, state: Any) -> None:
    """What is read at a version is what was there, however it is now."""
    found = doing.studio.versions.at(doing.owner, "d", name)
    seen = found.page(limit=3)
    while more := found.page(after=seen[-1].row_id if seen else 0, limit=3):
        seen += more
    assert len(seen) == found.count() == len(state["samples"])
    assert {s.id: (s.folder, s.filename, s.group, s.document or "[]") for s in seen} == {
        uuid: (each["folder"], each["filename"], each["split"], each["documents"].get("default", "[]"))
        for uuid, each in state["samples"].items()
    }
    assert [c.name for c in found.classes] == [c["name"] for c in state["classes"]]
    assert sorted(s.name for s in found.sets) == sorted(state["sets"])

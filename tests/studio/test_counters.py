"""A dataset's counters are kept, not counted; here they are counted after every step."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tintype_studio.errors import Conflict, NotFound
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.studio import Studio, Workspace


class Counting(RuleBasedStateMachine):
    """Any order of uploads, saves and deletes; the dataset's counters always equal a recount."""

    make_picture: Any
    make_boxes: Any
    check_counters: Any
    pictures: list[bytes]

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.studio = Studio(Workspace(Path(self.folder.name) / "home"))
        self.owner = self.studio.keys.authenticate(saved_api_key(self.studio.home))
        self.dataset = self.studio.datasets.create(self.owner, name="d")
        self.model: dict[str, tuple[str, int, int]] = {}  # place → (id, size, annotations)

    @rule(name=st.sampled_from("abcd"), seed=st.integers(0, 3))
    def upload(self, name: str, seed: int) -> None:
        data, place = self.pictures[seed], f"/{name}.jpg"
        if place in self.model:
            with pytest.raises(Conflict):
                self.studio.ingest.add_image(self.owner, self.dataset, data=data, filename=place[1:])
        else:
            sample = self.studio.ingest.add_image(self.owner, self.dataset, data=data, filename=place[1:])
            self.model[place] = (sample.id, len(data), 0)

    @rule(names=st.sets(st.sampled_from("cdef"), max_size=4), seed=st.integers(0, 3))
    def upload_folder(self, names: set[str], seed: int) -> None:
        root = Path(self.folder.name) / "pictures"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        (root / "bad.jpg").write_bytes(b"no picture")
        for name in names:
            (root / f"{name}.jpg").write_bytes(self.pictures[seed])
        report = self.studio.ingest.add_folder(self.owner, self.dataset, root)
        fresh = {f"/{name}.jpg" for name in names} - set(self.model)
        assert (report.images_uploaded, report.images_skipped) == (len(fresh), len(names) - len(fresh))
        for sample in self.studio.samples.page(self.dataset, limit=99):
            if f"/{sample.filename}" in fresh:
                self.model[f"/{sample.filename}"] = (sample.id, len(self.pictures[seed]), 0)

    @precondition(lambda self: self.model)
    @rule(pick=st.integers(0, 99), count=st.integers(0, 3))
    def save(self, pick: int, count: int) -> None:
        place = sorted(self.model)[pick % len(self.model)]
        sample_id, size, before = self.model[place]
        saved = self.studio.documents.save(self.owner, sample_id, self.make_boxes(count))
        assert (saved.previous_count, saved.new_count) == (before, count)
        self.model[place] = (sample_id, size, count)

    @precondition(lambda self: self.model)
    @rule(pick=st.integers(0, 99))
    def delete(self, pick: int) -> None:
        place = sorted(self.model)[pick % len(self.model)]
        sample_id, _, _ = self.model.pop(place)
        self.studio.samples.delete(self.owner, sample_id)
        with pytest.raises(NotFound):
            self.studio.samples.delete(self.owner, sample_id)

    @rule()
    def delete_dataset(self) -> None:
        counts = self.studio.datasets.delete(self.owner, "d")
        assert counts.images_deleted == len(self.model)
        assert counts.annotations_deleted == sum(n for _, _, n in self.model.values())
        self.dataset = self.studio.datasets.create(self.owner, name="d")
        self.model.clear()

    @invariant()
    def counters_equal_a_recount(self) -> None:
        dataset = self.check_counters(self.studio, self.owner, "d")
        assert dataset.image_count == len(self.model)
        assert dataset.total_size == sum(size for _, size, _ in self.model.values())
        assert dataset.annotation_count == sum(n for _, _, n in self.model.values())
        assert dataset.completed_image_count == sum(bool(n) for _, _, n in self.model.values())

    def teardown(self) -> None:
        self.studio.close()
        self.folder.cleanup()


@pytest.fixture
def counting(picture: Any, boxes: Any, check_counters: Any) -> type[Counting]:
    Counting.pictures = [picture(seed, size=(16 + 8 * seed, 16)) for seed in range(4)]
    Counting.make_boxes = staticmethod(boxes)
    Counting.check_counters = staticmethod(check_counters)
    return Counting


def test_counters_always_equal_a_recount(counting: type[Counting]) -> None:
    quick = settings(
        max_examples=12,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    run_state_machine_as_test(counting, settings=quick)

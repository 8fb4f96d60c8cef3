"""The recycle bin by the piece: what is in it, and what goes for good, all of it or nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from support.pictures import jpeg

from tintype_studio import clock
from tintype_studio.catalog.bin_items import Sort
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import Conflict, InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.session_tables import experiments, training_sessions
from tintype_studio.storage.tables import annotation_sets, datasets, projects
from tintype_studio.studio import Studio


def act(principal: Principal) -> Principal:
    return replace(principal, call_id=clock.new_id(), tool="a_tool")


def ids(studio: Studio, owner: Principal, **given: Any) -> list[str]:
    return [item.id for item in studio.bin_items.list(owner, **given)]


def test_deleted_things_are_listed_latest_first_and_each_organization_sees_its_own(
    studio: Studio, owner: Principal, stranger: Principal, dataset: Dataset, move_clock: Any
) -> None:
    studio.datasets.create(owner, name="kept")
    studio.annotation_sets.create(owner, "kept", name="gt")
    studio.annotation_sets.delete(owner, "kept", "gt")
    move_clock(timedelta(hours=1))
    studio.datasets.delete(owner, "signs")
    (first, second) = studio.bin_items.list(owner)
    assert [(first.sort, first.name), (second.sort, second.name)] == [
        (Sort.DATASET, "signs"),
        (Sort.ANNOTATION_SET, "gt"),
    ]
    assert first.id == f"ds-{dataset.row_id:x}"
    assert ids(studio, owner, sorts=[Sort.DATASET]) == [first.id]
    assert ids(studio, owner, since=first.deleted_at) == [first.id]
    assert ids(studio, owner, until=second.deleted_at) == [second.id]
    assert ids(studio, stranger) == []
    with pytest.raises(NotFound) as refused:
        studio.bin_items.purge(act(stranger), [first.id])
    assert refused.value.code == "not_in_bin"


def test_one_that_is_not_in_the_bin_keeps_all_of_them(
    studio: Studio, owner: Principal, dataset: Dataset
) -> None:
    studio.datasets.create(owner, name="alive")
    alive = studio.datasets.get(owner, "alive")
    studio.datasets.delete(act(owner), "signs")
    for wrong in (f"ds-{alive.row_id:x}", "ds-ffff", "p-1"):
        with pytest.raises(NotFound) as refused:
            studio.bin_items.purge(act(owner), [f"ds-{dataset.row_id:x}", wrong])
        assert wrong in refused.value.message
    for wrong in ("", "1", "q-1", "ds-", "DS-1", "ds-1 ", "ds--1", "ds-" + "f" * 16):
        with pytest.raises(InvalidInput):
            studio.bin_items.purge(act(owner), [wrong])
    assert ids(studio, owner) == [f"ds-{dataset.row_id:x}"]


def test_a_purged_dataset_is_gone_and_one_of_its_name_stays(
    studio: Studio, owner: Principal, dataset: Dataset
) -> None:
    image = studio.ingest.add_image(act(owner), dataset, data=jpeg(16, 12), filename="a.jpg")
    deleted = act(owner)
    studio.datasets.delete(deleted, "signs")
    again = studio.datasets.create(act(owner), name="signs")
    kept = studio.ingest.add_image(act(owner), again, data=jpeg(16, 12, seed=2), filename="a.jpg")
    studio.batch.delete(act(owner), "signs", [kept.id])
    purged = studio.bin_items.purge(act(owner), [f"ds-{dataset.row_id:x}"])
    assert (purged.datasets, purged.images, purged.size, purged.others) == (1, 1, image.file_size, 0)
    with studio.database.read() as connection:
        assert connection.execute(sa.select(datasets.c.id)).scalars().all() == [again.row_id]
    assert [b.count for b in studio.recycle_bin.list(owner)] == [1]  # what was deleted of the other
    with pytest.raises(Conflict) as gone:
        studio.undo.call(act(owner), deleted.call_id or "")
    assert gone.value.code == "purged"


def test_a_purged_annotation_set_cannot_be_undone_and_a_version_tells_that_it_is_lost(
    studio: Studio, owner: Principal, dataset: Dataset
) -> None:
    studio.annotation_sets.create(act(owner), "signs", name="gt")
    studio.versions.create(act(owner), "signs", name="v1")
    deleted = act(owner)
    studio.annotation_sets.delete(deleted, "signs", "gt")
    (item,) = studio.bin_items.list(owner)
    assert studio.bin_items.purge(act(owner), [item.id]).others == 1
    with studio.database.read() as connection:
        assert connection.execute(sa.select(annotation_sets.c.name)).scalars().all() == ["default"]
    with pytest.raises(Conflict) as gone:
        studio.undo.call(act(owner), deleted.call_id or "")
    assert gone.value.code == "purged"
    assert studio.versions.restore(act(owner), "signs", "v1").files_lost == 1


def test_a_project_goes_with_what_was_deleted_in_it(studio: Studio, owner: Principal) -> None:
    made = act(owner)
    project = studio.projects.create(made, name="harbour")
    studio.datasets.create(act(owner), name="quay", project_row_id=project.row_id)
    studio.datasets.delete(act(owner), "quay")
    now = clock.now()
    with studio.database.write() as connection:
        common = {"organization_id": owner.organization_id, "created_at": now, "updated_at": now}
        experiment = connection.execute(
            sa.insert(experiments)
            .values(uuid=clock.new_id(), project_id=project.row_id, name="e", deleted_at=now, **common)
            .returning(experiments.c.id)
        ).scalar_one()
        connection.execute(
            sa.insert(training_sessions).values(
                uuid=clock.new_id(),
                experiment_id=experiment,
                name="t",
                model="m",
                params={},
                metrics={},
                train_group="train",
                val_group="val",
                deleted_at=now,
                **common,
            )
        )
    studio.undo.call(act(owner), made.call_id or "")
    purged = studio.bin_items.purge(act(owner), [f"p-{project.row_id:x}"])
    assert (purged.datasets, purged.others) == (1, 3)
    assert ids(studio, owner) == []
    with studio.database.read() as connection:
        assert connection.execute(sa.select(projects.c.name)).scalars().all() == ["default"]
        for table in (experiments, training_sessions, datasets):
            assert connection.execute(sa.select(table.c.id)).all() == []

"""What is refused before anything starts, and what a plan says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from support.jobs import books
from support.training import fill, start

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import NotFound, PaymentRequired, TintypeError, Unavailable
from tintype_studio.exports.service import ExportOptions
from tintype_studio.extras import install_command
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.tables import accounts, exports, ledger_entries
from tintype_studio.storage.training_tables import models, training_runs
from tintype_studio.studio import Studio
from tintype_studio.training import plan as plans
from tintype_studio.training.plan import GPUS, TrainRequest

REQUEST = TrainRequest("signs", "yolox")


def nothing_started(studio: Studio) -> bool:
    with studio.database.read() as connection:
        return not any(
            connection.execute(sa.select(table.c.id)).first() for table in (jobs, training_runs, models)
        )


def test_a_plan_says_what_it_would_do_and_cost(studio: Studio, owner: Principal, signs: Dataset) -> None:
    planned = studio.training.plan(owner, replace(REQUEST, gpu="a100", config={"max_minutes": 7}))
    assert (planned.images, planned.credits) == (6, 7 * 60)
    assert (planned.operation, planned.export) == ("training_a100_per_minute", None)
    assert nothing_started(studio)


def test_the_tiers_are_those_of_the_price_list() -> None:
    assert GPUS == ("a10g", "a100", "h100")


def test_keys_that_are_unknown_are_named(studio: Studio, owner: Principal, signs: Dataset) -> None:
    job = start(studio, owner, replace(REQUEST, config={"lr": 0.1, "max_minutes": 1}))
    run = studio.training.get_of_job(owner, job.id)
    [note] = run.notes
    assert "'lr'" in note
    assert "learning_rate" in note


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"pipeline": "yolov9"}, "unknown_pipeline"),
        ({"gpu": "t4"}, "unknown_gpu"),
        ({"config": {"epochs": 0}}, "invalid_config"),
        ({"config": {"epochs": "many"}}, "invalid_config"),
        ({"name": "a/b"}, "invalid_name"),
        ({"name": "x" * 101}, "invalid_name"),
        ({"class_filter": ("unicorn",)}, "unknown_class"),
        ({"class_filter": ()}, "invalid_input"),
        ({"status_filter": "done"}, "invalid_input"),
        ({"status_filter": "new"}, "no_matching_images"),
        ({"dataset": "nothing"}, "dataset_not_found"),
        ({"export": "nothing"}, "export_not_found"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_starts(
    studio: Studio, owner: Principal, signs: Dataset, change: dict[str, Any], code: str
) -> None:
    before = books(studio, owner)
    with pytest.raises(TintypeError) as caught:
        start(studio, owner, replace(REQUEST, **change))
    assert caught.value.code == code
    assert caught.value.fix
    assert nothing_started(studio)
    assert books(studio, owner) == before


def test_fewer_than_five_images_are_too_few(studio: Studio, owner: Principal, dataset: Dataset) -> None:
    fill(studio, owner, dataset, count=4)
    with pytest.raises(TintypeError) as caught:
        studio.training.plan(owner, REQUEST)
    assert (caught.value.code, caught.value.details["images"]) == ("too_few_images", 4)


def test_an_empty_dataset_has_no_matching_images(studio: Studio, owner: Principal, dataset: Dataset) -> None:
    with pytest.raises(NotFound) as caught:
        studio.training.plan(owner, REQUEST)
    assert caught.value.code == "no_matching_images"


def test_images_without_annotations_are_nothing_to_learn_from(
    studio: Studio, owner: Principal, dataset: Dataset
) -> None:
    fill(studio, owner, dataset, labelled=0)
    everything = replace(REQUEST, status_filter="all")
    with pytest.raises(TintypeError) as caught:
        studio.training.plan(owner, everything)
    assert caught.value.code == "no_annotations"
    # Folders can name the classes of a classification.
    assert studio.training.plan(owner, replace(everything, pipeline="classification")).images == 6


def test_a_class_that_the_images_do_not_show_is_nothing_to_learn_from(
    studio: Studio, owner: Principal, signs: Dataset
) -> None:
    from tintype_studio.catalog.datasets import DatasetClass

    studio.classes.declare(owner, "signs", [DatasetClass("badge"), DatasetClass("crate")])
    with pytest.raises(TintypeError) as caught:
        studio.training.plan(owner, replace(REQUEST, class_filter=("crate",)))
    assert caught.value.code == "no_annotations"
    assert studio.training.plan(owner, replace(REQUEST, class_filter=("badge",))).class_filter == ["badge"]


@pytest.mark.parametrize(
    "options",
    [ExportOptions(format="coco"), ExportOptions(format="yolo"), ExportOptions(include_images=False)],
)
def test_an_export_of_the_wrong_kind_is_refused(
    studio: Studio, owner: Principal, signs: Dataset, options: ExportOptions
) -> None:
    studio.exports.create(owner, dataset_name="signs", name="mine", options=options)
    with pytest.raises(TintypeError) as caught:
        studio.training.plan(owner, replace(REQUEST, export="mine"))
    assert caught.value.code == "wrong_export"


def test_an_export_that_is_not_completed_is_refused(studio: Studio, owner: Principal, signs: Dataset) -> None:
    studio.exports.create(owner, dataset_name="signs", name="mine", options=ExportOptions())
    with studio.database.write() as connection:
        connection.execute(sa.update(exports).values(status="failed"))
    with pytest.raises(TintypeError) as caught:
        studio.training.plan(owner, replace(REQUEST, export="mine"))
    assert caught.value.code == "wrong_export"


def test_without_the_extra_it_is_told_how_to_get_it(
    studio: Studio, owner: Principal, signs: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "missing_libraries", lambda: ("torch", "onnx"))
    with pytest.raises(Unavailable) as caught:
        studio.training.plan(owner, REQUEST)
    assert (caught.value.code, caught.value.retryable) == ("needs_extra", False)
    assert install_command("train") in caught.value.fix
    assert caught.value.details["missing"] == ["torch", "onnx"]


def test_libraries_are_looked_for_and_not_loaded() -> None:
    import importlib.util
    import sys

    plans.missing_libraries.cache_clear()
    loaded = set(sys.modules)
    missing = plans.missing_libraries()
    assert set(missing) == {name for name in plans.LIBRARIES if importlib.util.find_spec(name) is None}
    assert not (set(sys.modules) - loaded) & set(plans.LIBRARIES)


def test_who_cannot_pay_starts_nothing(studio: Studio, owner: Principal, signs: Dataset) -> None:
    with studio.database.write() as connection:
        balance = connection.execute(sa.select(accounts.c.balance)).scalar_one()
        connection.execute(
            sa.insert(ledger_entries).values(
                uuid="x",
                organization_id=owner.organization_id,
                operation="spent",
                amount=99 - balance,
                balance_after=99,
                created_at=signs.created_at,
            )
        )
        connection.execute(sa.update(accounts).values(balance=99, reset_at=None))
    with pytest.raises(PaymentRequired) as caught:
        start(studio, owner, REQUEST)
    assert (caught.value.details["required"], caught.value.details["remaining"]) == (100, 99)
    assert nothing_started(studio)

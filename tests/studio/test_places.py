"""An offset means exactly what counting from the start would find, whatever happened to the list before."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from tintype_studio import clock
from tintype_studio.catalog import places
from tintype_studio.catalog.samples import Status
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio


@pytest.fixture
def short_steps(monkeypatch: pytest.MonkeyPatch) -> int:
    """Places are remembered at every third image, so that a few images have several."""
    step = 3
    monkeypatch.setattr(places, "STEP", step)
    for name in ("_NEXT_OF_ALL", "_NEXT_LIVING"):
        prepared = getattr(places, name)
        monkeypatch.setattr(places, name, type(prepared)(prepared._statement.limit(1).offset(step - 1)))
    return step


def acts(owner: Principal) -> Principal:
    return replace(owner, call_id=clock.new_id(), session="s", tool="t")


def assert_exact(studio: Studio, owner: Principal) -> None:
    dataset = studio.datasets.get(owner, "signs")
    everything = [s.id for s in studio.samples.page(dataset, limit=10_000)]
    for offset in range(len(everything) + 2):
        page = studio.samples.page_at(dataset, limit=4, offset=offset)
        assert [s.id for s in page] == everything[offset : offset + 4]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.usefixtures("short_steps")
def test_an_offset_is_exact_after_any_history(
    studio: Studio, owner: Principal, picture: Callable[..., bytes], seed: int
) -> None:
    chance = random.Random(seed)
    dataset = studio.datasets.create(owner, name="signs")
    deletions: list[Principal] = []
    for number in range(40):
        deed = chance.random()
        living = studio.samples.page(dataset, limit=100)
        if deed < 0.55 or not living:
            studio.ingest.add_image(acts(owner), dataset, data=picture(seed=number), filename=f"{number}.jpg")
        elif deed < 0.8:
            call = acts(owner)
            studio.samples.delete(call, chance.choice(living).id)
            deletions.append(call)
        elif deed < 0.9 and deletions:
            call = deletions.pop(chance.randrange(len(deletions)))
            studio.undo.call(acts(owner), str(call.call_id))
        elif deed < 0.95:
            call = acts(owner)
            studio.datasets.delete(call, "signs")
            studio.undo.call(acts(owner), str(call.call_id))
        else:
            studio.recycle_bin.purge(acts(owner), dataset="signs")
            deletions.clear()
        assert_exact(studio, owner)


@pytest.mark.usefixtures("short_steps")
def test_what_another_process_did_counts(
    open_studio: Callable[[], Studio], picture: Callable[..., bytes]
) -> None:
    here, there = open_studio(), open_studio()
    owner = here.keys.authenticate((here.home / "config.toml").read_text().split('"')[1])
    dataset = here.datasets.create(owner, name="signs")
    for number in range(10):
        here.ingest.add_image(acts(owner), dataset, data=picture(seed=number), filename=f"{number}.jpg")
    assert_exact(here, owner)
    assert_exact(there, owner)
    there.samples.delete(acts(owner), there.samples.page(dataset, limit=2)[1].id)
    assert_exact(here, owner)


@pytest.mark.usefixtures("short_steps")
def test_what_is_taken_back_is_not_remembered(
    studio: Studio, owner: Principal, picture: Callable[..., bytes]
) -> None:
    dataset = studio.datasets.create(owner, name="signs")
    for number in range(10):
        studio.ingest.add_image(acts(owner), dataset, data=picture(seed=number), filename=f"{number}.jpg")
    first, second = (s.id for s in studio.samples.page(dataset, limit=2))
    with studio.database.unit_of_work(rehearsal=True):
        studio.samples.delete(acts(owner), first)
        assert studio.samples.page_at(dataset, limit=1, offset=6)
    studio.samples.delete(acts(owner), second)
    assert_exact(studio, owner)


def test_a_page_of_one_status_is_counted_off(
    studio: Studio, owner: Principal, picture: Callable[..., bytes], boxes: Callable[..., list[object]]
) -> None:
    dataset = studio.datasets.create(owner, name="signs")
    for number in range(5):
        image = studio.ingest.add_image(
            acts(owner), dataset, data=picture(seed=number), filename=f"{number}.jpg"
        )
        if number % 2:
            studio.documents.save(acts(owner), image.id, boxes(1))
    done = studio.samples.page_at(dataset, limit=5, offset=1, statuses=(Status.COMPLETE,))
    assert [s.filename for s in done] == ["3.jpg"]

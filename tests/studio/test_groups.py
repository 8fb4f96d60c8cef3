"""Groups of samples, and how datasets are divided among them."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from support.history import World, signs

from tintype_studio import clock
from tintype_studio.catalog.dataset_rows import group_of_row
from tintype_studio.catalog.splitting import By, Unit, allotted, checked_ratios
from tintype_studio.errors import Cancelled, InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.sensor_tables import sequences
from tintype_studio.storage.tables import samples
from tintype_studio.studio import Studio

ALL = ("a.jpg", "b.jpg", "c.jpg")


@pytest.fixture
def world(studio: Studio, owner: Principal, picture: Any, boxes: Any) -> World:
    return signs(studio, owner, picture, boxes)


def fill(world: World, count: int, *, per_sequence: int | None = None, per_folder: int | None = None) -> None:
    """Many samples at once, as rows: what files they have does not matter here."""
    dataset = world.studio.datasets.get(world.principal, "signs")
    now = clock.now()
    with world.studio.database.write() as connection:
        made = -(-count // per_sequence) if per_sequence else 0
        rows = [
            connection.execute(
                sa.insert(sequences)
                .values(uuid=clock.new_id(), dataset_id=dataset.row_id, name=f"drive {n}", created_at=now)
                .returning(sequences.c.id)
            ).scalar_one()
            for n in range(made)
        ]
        connection.execute(
            sa.insert(samples),
            [
                {
                    "uuid": clock.new_id(),
                    "dataset_id": dataset.row_id,
                    "filename": f"{n}.png",
                    "folder": f"/{n // per_folder}" if per_folder else "/many",
                    "status": "new",
                    "created_at": now,
                    "updated_at": now,
                    "sequence_id": rows[n // per_sequence] if per_sequence else None,
                }
                for n in range(count)
            ],
        )


def split(world: World) -> dict[str, str | None]:
    query = sa.select(samples.c.folder, samples.c.filename, samples.c.split).where(
        samples.c.deleted_at.is_(None)
    )
    with world.studio.database.read() as connection:
        return {f"{row.folder}/{row.filename}": row.split for row in connection.execute(query)}


def groups(world: World) -> dict[str, int]:
    return {each.name: each.sample_count for each in world.studio.groups.list(world.principal, "signs")}


def put(world: World, group: str | None, *filenames: str, who: Principal | None = None) -> Principal:
    who = who or world.acts()
    world.studio.groups.set_split(who, "signs", group, [world.image(name) for name in filenames])
    return who


def divide(world: World, who: Principal | None = None, **options: Any) -> Any:
    ratios = options.pop("ratios", {"train": 0.8, "val": 0.2})
    return world.studio.groups.split_dataset(who or world.acts(), "signs", ratios, **options)


def test_made_once_however_often_asked(world: World) -> None:
    first = world.studio.groups.create(world.acts(), "signs", ["val", "train", "val"])
    again = world.studio.groups.create(world.acts(), "signs", ["train"])
    assert [group.name for group in first] == ["val", "train"]
    assert again == [first[1]]
    assert groups(world) == {"val": 0, "train": 0}
    row = group_of_row(world.studio, world.principal, first[0].row_id)
    assert (row.id, row.name, row.dataset.name) == (first[0].id, "val", "signs")


def test_made_once_by_many_at_a_time(world: World) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(
            threads.map(lambda _: world.studio.groups.create(world.acts(), "signs", ["train"]), range(16))
        )
    assert len({group.row_id for (group,) in made}) == 1
    assert groups(world) == {"train": 0}


def test_put_in_and_out(world: World) -> None:
    put(world, "train", "a.jpg", "b.jpg")
    put(world, "val", "b.jpg", "c.jpg")
    assert groups(world) == {"train": 1, "val": 2}
    put(world, None, "c.jpg")
    found, ungrouped = world.studio.groups.overview(world.principal, "signs")
    assert ([(each.name, each.sample_count) for each in found], ungrouped) == ([("train", 1), ("val", 1)], 1)
    assert world.studio.samples.get(world.principal, world.image("b.jpg")).split == "val"


def test_what_it_did_is_told(world: World) -> None:
    put(world, "train", "a.jpg")
    ids = [world.image("a.jpg"), world.image("b.jpg"), world.image("b.jpg"), "no such id"]
    done = world.studio.groups.set_split(world.acts(), "signs", "train", ids)
    assert (done.samples, done.changed, done.missing) == (2, 1, ["no such id"])


def test_by_conditions(world: World) -> None:
    done = world.studio.groups.set_split(world.acts(), "signs", "val", where=[samples.c.annotation_count > 0])
    assert (done.samples, done.changed) == (2, 2)
    assert groups(world) == {"val": 2}


def test_groups_that_only_samples_know_get_a_row(world: World) -> None:
    with world.studio.database.write() as connection:
        connection.execute(sa.update(samples).values(split="imported"))
    first = world.studio.groups.list(world.principal, "signs")
    assert [(each.name, each.sample_count) for each in first] == [("imported", 3)]
    assert world.studio.groups.list(world.principal, "signs") == first


@pytest.mark.parametrize("name", ["", "a/b", "..", "x" * 121])
def test_names_that_are_none(world: World, name: str) -> None:
    studio = world.studio
    assert world.refusal(lambda: put(world, name, "a.jpg")).code == "invalid_name"
    assert (
        world.refusal(lambda: studio.groups.create(world.acts(), "signs", ["ok", name])).code
        == "invalid_name"
    )
    assert world.refusal(lambda: divide(world, ratios={name: 1})).code == "invalid_name"


def test_what_cannot_be(world: World, stranger: Principal) -> None:
    studio = world.studio
    assert world.refusal(lambda: put(world, "train")).code == "invalid_batch"
    too_many = [f"id {n}" for n in range(10_001)]
    many = world.refusal(lambda: studio.groups.set_split(world.acts(), "signs", "train", too_many))
    assert many.code == "invalid_batch"
    unknown = world.refusal(lambda: studio.groups.set_split(world.acts(), "signs", "train", ["x"]))
    assert unknown.code == "sample_not_found"
    for deed in (
        lambda: studio.groups.list(stranger, "signs"),
        lambda: studio.groups.create(stranger, "signs", ["a"]),
        lambda: studio.groups.set_split(stranger, "signs", "a", [world.image("a.jpg")]),
        lambda: studio.groups.split_dataset(stranger, "signs", {"a": 1}),
    ):
        with pytest.raises(NotFound):
            deed()


def test_images_of_another_dataset_stay(world: World) -> None:
    world.studio.datasets.create(world.acts(), name="other")
    other = world.add(world.acts(), "z.jpg", "other")
    ids = [other.id, world.image("a.jpg")]
    done = world.studio.groups.set_split(world.acts(), "signs", "train", ids)
    assert done.missing == [other.id]
    assert split(world)["//z.jpg"] is None


@pytest.mark.parametrize("count", [1, 2, 3, 10, 997])
@pytest.mark.parametrize(
    "ratios",
    [
        {"train": 0.8, "val": 0.2},
        {"train": 0.7, "val": 0.2, "test": 0.1},
        {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3},
        {"a": 1, "b": 0},
    ],
)
def test_shares_to_within_one(world: World, count: int, ratios: dict[str, float]) -> None:
    fill(world, count)
    done = divide(world, ratios=ratios)
    assert sum(done.counts.values()) == done.units == count + 3
    for name, share in ratios.items():
        assert abs(done.counts[name] - share * (count + 3)) < 1
    assert groups(world) == done.counts


def test_the_same_seed_divides_the_same(world: World) -> None:
    fill(world, 200)
    first = (divide(world, seed=7), split(world))[1]
    other = (divide(world, seed=8), split(world))[1]
    assert other != first
    divide(world, seed=7)
    assert split(world) == first
    assert divide(world, seed=7).changed == 0


def test_a_copy_of_the_dataset_is_divided_the_same(world: World) -> None:
    world.studio.datasets.create(world.acts(), name="copy")
    for filename in ALL:
        world.add(world.acts(), filename, "copy")
    for name in ("signs", "copy"):
        world.studio.groups.split_dataset(world.acts(), name, {"a": 0.4, "b": 0.6}, seed=3)
    dataset = [world.studio.datasets.get(world.principal, name) for name in ("signs", "copy")]
    found = [{s.filename: s.split for s in world.studio.samples.page(d, limit=10)} for d in dataset]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("by", "options"), [(By.SEQUENCE, {"per_sequence": 7}), (By.FOLDER, {"per_folder": 7})]
)
def test_what_belongs_together_stays_together(world: World, by: By, options: Any) -> None:
    fill(world, 700, **options)
    done = divide(world, by=by, ratios={"train": 0.7, "val": 0.2, "test": 0.1})
    by_part: dict[int, set[str | None]] = {}
    for place, group in split(world).items():
        if place.endswith(".png"):
            by_part.setdefault(int(place.rpartition("/")[2][:-4]) // 7, set()).add(group)
    assert len(by_part) == 100
    assert all(len(own) == 1 for own in by_part.values())
    for name, share in {"train": 0.7, "val": 0.2, "test": 0.1}.items():
        assert abs(done.counts[name] - share * 703) <= 7


def test_samples_in_no_sequence_are_parts_of_their_own(world: World) -> None:
    fill(world, 20, per_sequence=10)
    done = divide(world, by=By.SEQUENCE, ratios={"a": 0.5, "b": 0.5})
    assert done.units == 5


def test_only_some_groups(world: World) -> None:
    fill(world, 100)
    divide(world, ratios={"train": 0.5, "test": 0.5})
    kept = {place for place, group in split(world).items() if group == "test"}
    done = divide(world, ratios={"train": 0.8, "val": 0.2}, only=["train"])
    assert sum(done.counts.values()) == 103 - len(kept)
    assert {place for place, group in split(world).items() if group == "test"} == kept
    put(world, None, "a.jpg")
    assert divide(world, ratios={"rest": 1}, only=[None]).changed == 1
    assert groups(world)["rest"] == 1


@pytest.mark.parametrize(
    "ratios",
    [
        {},
        {"a": 0.5},
        {"a": 0.5, "b": 0.6},
        {"a": -0.5, "b": 1.5},
        {"a": float("nan")},
        {"a": float("inf")},
        {"cafe\u0301": 0.5, "caf\u00e9": 0.5},
        {f"g{n}": 1 / 21 for n in range(21)},
    ],
)
def test_shares_that_are_none(world: World, ratios: dict[str, float]) -> None:
    assert world.refusal(lambda: divide(world, ratios=ratios)).code == "invalid_ratios"


def test_nothing_to_divide(world: World) -> None:
    assert world.refusal(lambda: divide(world, only=["x"])).code == "nothing_to_split"
    world.studio.datasets.create(world.acts(), name="empty")
    with pytest.raises(InvalidInput):
        world.studio.groups.split_dataset(world.acts(), "empty", {"a": 1})


def test_a_caller_that_goes_away_leaves_no_half(world: World) -> None:
    fill(world, 2_000)
    checks = iter([None, None, Cancelled("gone")])

    def check() -> None:
        if error := next(checks):
            raise error

    assert world.refusal(lambda: divide(world, check=check)).code == "cancelled"


def test_undo_and_undo_of_that(world: World) -> None:
    fill(world, 50)
    put(world, "old", "a.jpg")
    before = (split(world), groups(world))
    call = world.acts()
    divide(world, call, ratios={"train": 0.5, "val": 0.5})
    after = (split(world), groups(world))
    undoing = world.undo(call)
    assert (split(world), groups(world)) == before
    ids = {group.name: group.id for group in world.studio.groups.list(world.principal, "signs")}
    again = world.undo(undoing)
    assert (split(world), groups(world)) == after
    world.undo(again)
    assert (split(world), groups(world)) == before
    assert {g.name: g.id for g in world.studio.groups.list(world.principal, "signs")} == ids


def test_later_changes_are_named(world: World) -> None:
    first = put(world, "train", "a.jpg", "b.jpg")
    second = put(world, "val", "b.jpg")
    refused = world.undo_refusal(first)
    assert [call["call_id"] for call in refused.details["calls"]] == [second.call_id]
    world.undo(second)
    world.undo(first)
    assert groups(world) == {}
    assert set(split(world).values()) == {None}


def test_a_group_stays_while_samples_are_in_it(world: World) -> None:
    making = world.acts()
    world.studio.groups.create(making, "signs", ["train"])
    filling = put(world, "train", "a.jpg")
    assert world.undo_refusal(making).code == "group_in_use"
    world.undo(filling)
    world.undo(making)
    assert groups(world) == {}


def test_other_changes_of_the_image_do_not_matter(world: World) -> None:
    call = put(world, "train", "a.jpg")
    world.label(world.acts(), "a.jpg", world.boxes(1, "car"))
    world.studio.batch.move(world.acts(), "signs", [world.image("a.jpg")], "/moved")
    world.undo(call)
    assert set(split(world).values()) == {None}


SHARES = st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any)


@given(SHARES, st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
def test_every_unit_gets_a_group_with_a_share(weights: list[int], sizes: list[int], seed: int) -> None:
    shares = checked_ratios({f"g{n}": w / sum(weights) for n, w in enumerate(weights)}, len(weights))
    units = [Unit(f"u{n}", range(size)) for n, size in enumerate(sizes)]
    found = allotted(units, shares, seed=seed)
    assert all(shares[name] > 0 for name in found)
    counts = Counter({name: 0 for name in shares})
    for unit, name in zip(units, found, strict=True):
        counts[name] += len(unit.rows)
    assert all(counts[name] - share * sum(sizes) < max(sizes) + 1e-6 for name, share in shares.items())
    again = allotted(units[::-1], shares, seed=seed)[::-1]
    assert again == found


@given(SHARES, st.integers(1, 500))
def test_singles_are_exact(weights: list[int], count: int) -> None:
    shares = checked_ratios({f"g{n}": w / sum(weights) for n, w in enumerate(weights)}, len(weights))
    found = Counter(allotted([Unit(f"u{n}", (n,)) for n in range(count)], shares, seed=1))
    assert all(abs(found[name] - share * count) < 1 + 1e-6 for name, share in shares.items())


def test_sequences_of_uneven_lengths_leave_no_group_empty_that_can_have_one() -> None:
    units = [Unit(f"sequence {n}", list(range(size))) for n, size in enumerate((4, 4, 1, 1, 1, 1, 1))]
    for seed in range(20):
        found = allotted(units, {"train": 0.7, "val": 0.2, "test": 0.1}, seed=seed)
        counts = Counter()
        for unit, name in zip(units, found, strict=True):
            counts[name] += len(unit.rows)
        assert counts == {"train": 9, "val": 3, "test": 1}

"""Labels: stable, sparse indices; names that change everywhere; all of it undone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.history import World, signs

from tintype_studio.annotations.labels import MAX_INDEX, LabelChange, NewLabel
from tintype_studio.errors import Cancelled, Conflict, InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio


@pytest.fixture
def world(studio: Studio, owner: Principal, picture: Any, boxes: Any) -> World:
    """With the labels car 0, Straße 1, bus 2, all of them used."""
    return signs(studio, owner, picture, boxes)


def labels(world: World, dataset: str = "signs") -> dict[str, int]:
    return {label.name: label.index for label in world.studio.labels.list(world.principal, dataset)}


def used(world: World, filename: str, annotation_set: str | None = None) -> list[str]:
    documents = world.studio.documents
    _, annotations = documents.get(world.principal, world.image(filename), annotation_set=annotation_set)
    return [annotation.name for annotation in annotations]


def change(world: World, who: Principal | None = None, **changes: Any) -> int:
    return world.studio.labels.change(who or world.acts(), "signs", **changes)


def test_listed_by_index_with_their_uses(world: World) -> None:
    change(world, add=[NewLabel("van", 1_000), NewLabel("tree", 7, "#00ff00")])
    found = world.studio.labels.list(world.principal, "signs", count_uses=True)
    assert [(each.name, each.index, each.uses) for each in found] == [
        ("car", 0, 2),
        ("Straße", 1, 1),
        ("bus", 2, 2),
        ("tree", 7, 0),
        ("van", 1_000, 0),
    ]
    assert found[3].color == "#00ff00"
    assert world.studio.labels.list(world.principal, "signs")[0].uses is None


def test_without_an_index_the_next(world: World) -> None:
    change(world, add=[NewLabel("a"), NewLabel("b", 50), NewLabel("c")])
    assert {name: labels(world)[name] for name in "abc"} == {"a": 51, "b": 50, "c": 52}
    world.label(world.acts(), "c.jpg", world.boxes(1, "learned"))
    assert labels(world)["learned"] == 53


def test_adding_again_changes_nothing(world: World) -> None:
    assert change(world, add=[NewLabel("a", 9)]) == 1
    before = world.rows()
    assert change(world, add=[NewLabel("a", 9), NewLabel("car")]) == 0
    assert world.rows() == before
    refused = world.refusal(lambda: change(world, add=[NewLabel("a", 10), NewLabel("b")]))
    assert (refused.code, refused.details) == ("label_exists", {"index": 9})


def test_a_declared_list_grows_too(world: World) -> None:
    world.declare(world.acts(), "car", "Straße", "bus")
    change(world, add=[NewLabel("van", 9)])
    world.label(world.acts(), "c.jpg", world.boxes(1, "van"))
    dataset = world.studio.datasets.get(world.principal, "signs")
    assert dataset.classes_declared
    assert [cls.name for cls in dataset.classes] == ["car", "Straße", "bus", "van"]
    refused = world.refusal(lambda: world.label(world.acts(), "c.jpg", world.boxes(1, "lorry")))
    assert refused.code == "unknown_class"


def test_ids_stay_whatever_changes(world: World) -> None:
    ids = {each.name: each.row_id for each in world.studio.labels.list(world.principal, "signs")}
    change(world, update=[LabelChange("car", "auto", 77), LabelChange("bus", index=0)])
    world.declare(world.acts(), "bus", "auto", "Straße")
    after = {each.name: each.row_id for each in world.studio.labels.list(world.principal, "signs")}
    assert after == {"auto": ids["car"], "bus": ids["bus"], "Straße": ids["Straße"]}
    assert labels(world) == {"auto": 77, "bus": 0, "Straße": 1}


def test_two_swap_their_indices_at_once(world: World) -> None:
    change(world, update=[LabelChange("car", index=2), LabelChange("bus", index=0)])
    assert labels(world) == {"bus": 0, "Straße": 1, "car": 2}


def test_two_swap_their_names_in_all_that_is_saved(world: World) -> None:
    change(world, update=[LabelChange("car", "bus"), LabelChange("bus", "car")])
    assert labels(world) == {"bus": 0, "Straße": 1, "car": 2}
    assert (used(world, "a.jpg"), used(world, "b.jpg")) == (["bus", "Straße", "bus"], ["car", "car"])
    found = world.studio.labels.list(world.principal, "signs", count_uses=True)
    assert {each.name: each.uses for each in found} == {"bus": 2, "Straße": 1, "car": 2}


@pytest.mark.parametrize(
    "changes",
    [
        {"add": [NewLabel("van", 2)]},
        {"update": [LabelChange("car", index=2)]},
        {"add": [NewLabel("van", 9)], "update": [LabelChange("car", index=9)]},
        {"add": [NewLabel("van", 9), NewLabel("lorry", 9)]},
        {"update": [LabelChange("car", index=5), LabelChange("bus", index=5)]},
    ],
)
def test_an_index_belongs_to_one(world: World, changes: Any) -> None:
    refused = world.refusal(lambda: change(world, **changes))
    assert isinstance(refused, Conflict)
    assert refused.code == "index_taken"


def test_in_the_middle_of_a_swap_one_may_be_had_twice(world: World) -> None:
    """As clients do it, with a call for each step; and a swap that was left in the middle can be ended."""
    change(world, update=[LabelChange("car", index=2)], shared_index=True)
    assert labels(world) == {"car": 2, "bus": 2, "Straße": 1}
    change(world, add=[NewLabel("van")])
    change(world, update=[LabelChange("bus", index=0)])
    assert labels(world) == {"bus": 0, "Straße": 1, "car": 2, "van": 3}


def test_what_is_used_stays(world: World) -> None:
    change(world, add=[NewLabel("a"), NewLabel("b")])
    refused = world.refusal(lambda: change(world, remove=["a", "bus"]))
    assert (refused.code, refused.details) == ("class_in_use", {"classes": ["bus"]})
    assert change(world, remove=["a", "b"]) == 2
    assert labels(world) == {"car": 0, "Straße": 1, "bus": 2}


def test_what_another_set_uses_stays(world: World) -> None:
    world.studio.annotation_sets.create(world.acts(), "signs", name="model")
    world.studio.documents.save(
        world.acts(), world.image("c.jpg"), world.boxes(1, "van"), annotation_set="model"
    )
    assert world.refusal(lambda: change(world, remove=["van"])).code == "class_in_use"
    world.studio.annotation_sets.delete(world.acts(), "signs", "model")
    assert change(world, remove=["van"]) == 1


def test_a_new_name_reaches_all_sets_and_the_recycle_bin(world: World) -> None:
    world.studio.annotation_sets.create(world.acts(), "signs", name="model")
    world.studio.documents.save(
        world.acts(), world.image("b.jpg"), world.boxes(3, "car"), annotation_set="model"
    )
    deleting = world.acts()
    world.studio.samples.delete(deleting, world.image("a.jpg"))
    before = (labels(world), used(world, "b.jpg"))
    call = world.acts()
    assert change(world, call, update=[LabelChange("car", 'a "car"')]) == 1
    assert used(world, "b.jpg", "model") == ['a "car"'] * 3
    world.undo(call)
    assert used(world, "b.jpg", "model") == ["car"] * 3
    assert (labels(world), used(world, "b.jpg")) == before
    change(world, update=[LabelChange("car", "auto")])
    world.undo(deleting)
    assert used(world, "a.jpg") == ["auto", "Straße", "auto"]
    assert list(labels(world)) == ["auto", "Straße", "bus"]


def test_a_name_inside_a_name_is_another(world: World) -> None:
    world.label(world.acts(), "c.jpg", [*world.boxes(1, "cargo"), *world.boxes(1, "Car")])
    change(world, update=[LabelChange("car", "auto")])
    assert used(world, "c.jpg") == ["cargo", "Car"]
    assert world.studio.labels.list(world.principal, "signs", count_uses=True)[0].uses == 2


def test_counters_and_status_stay(world: World) -> None:
    before = world.studio.datasets.get(world.principal, "signs")
    change(world, update=[LabelChange("car", "auto")])
    after = world.studio.datasets.get(world.principal, "signs")
    assert (after.annotation_count, after.completed_image_count) == (
        before.annotation_count,
        before.completed_image_count,
    )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"remove": ["x"]}, "label_not_found"),
        ({"update": [LabelChange("x", index=1)]}, "label_not_found"),
        ({"update": [LabelChange("car", "bus")]}, "class_exists"),
        ({"update": [LabelChange("car", "a/b")]}, "invalid_name"),
        ({"update": [LabelChange("car", "")]}, "invalid_name"),
        ({"update": [LabelChange("car", index=-1)]}, "invalid_index"),
        ({"update": [LabelChange("car", index=MAX_INDEX + 1)]}, "invalid_index"),
        ({"update": [LabelChange("car", index=5), LabelChange("car", index=6)]}, "label_repeated"),
        ({"update": [LabelChange("car", "a"), LabelChange("bus", "a")]}, "label_repeated"),
        ({"update": [LabelChange("car", "a")], "remove": ["car"]}, "label_repeated"),
        ({"add": [NewLabel("a"), NewLabel("a", 4)]}, "label_repeated"),
        ({"add": [NewLabel("a\x00b")]}, "invalid_name"),
        ({"add": [NewLabel("x" * 121)]}, "invalid_name"),
        ({"add": [NewLabel("a", -1)]}, "invalid_index"),
        ({"add": [NewLabel("a", MAX_INDEX), NewLabel("b")]}, "invalid_index"),
    ],
)
def test_what_cannot_be(world: World, changes: Any, code: str) -> None:
    assert world.refusal(lambda: change(world, **changes)).code == code


def test_of_others_nothing_is_known(world: World, stranger: Principal) -> None:
    with pytest.raises(NotFound):
        world.studio.labels.list(stranger, "signs")
    with pytest.raises(NotFound):
        world.studio.labels.change(stranger, "signs", add=[NewLabel("a")])


def test_composed_names_are_one(world: World) -> None:
    change(world, add=[NewLabel("cafe\u0301")])
    assert change(world, add=[NewLabel("caf\u00e9")]) == 0
    assert change(world, remove=["cafe\u0301"]) == 1


def test_a_caller_that_goes_away_leaves_no_half(world: World) -> None:
    def gone() -> None:
        raise Cancelled("gone")

    refused = world.refusal(lambda: change(world, update=[LabelChange("car", "auto")], check=gone))
    assert refused.code == "cancelled"


def test_many_callers_teach_many_labels(world: World) -> None:
    def add(number: int) -> None:
        change(
            world,
            add=[
                NewLabel(f"own {number}"),
                NewLabel("common"),
                NewLabel(f"pinned {number}", 1000 * (number + 1)),
            ],
        )

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(16)))
    found = labels(world)
    assert len(found) == 3 + 16 + 1 + 16
    assert len(set(found.values())) == len(found)
    assert all(found[f"pinned {number}"] == 1000 * (number + 1) for number in range(16))


UNDONE: list[dict[str, Any]] = [
    {"add": [NewLabel("a", 70), NewLabel("b", color="#123456")]},
    {"update": [LabelChange("car", index=9, color="#ff0000"), LabelChange("bus", index=0)]},
    {"update": [LabelChange("car", "bus", 2), LabelChange("bus", "car", 0)]},
    {"update": [LabelChange("car", "auto")], "add": [NewLabel("car", 40)]},
    {"remove": ["spare"]},
    {"remove": ["spare"], "add": [NewLabel("spare", 5)]},
    {"remove": ["spare"], "update": [LabelChange("car", "spare", 60)]},
]


@pytest.mark.parametrize("changes", UNDONE)
def test_undo_and_undo_of_that(world: World, changes: Any) -> None:
    change(world, add=[NewLabel("spare", 33, "#0000ff"), NewLabel("last", 60_000)])
    before, indices = world.seen(), labels(world)
    call = world.acts()
    assert change(world, call, **changes)
    after, changed = world.seen(), labels(world)
    undoing = world.undo(call)
    assert (world.seen(), labels(world)) == (before, indices)
    again = world.undo(undoing)
    assert (world.seen(), labels(world)) == (after, changed)
    world.undo(again)
    assert (world.seen(), labels(world)) == (before, indices)


def test_undo_keeps_what_was_saved_since(world: World) -> None:
    call = world.acts()
    change(world, call, update=[LabelChange("car", "auto", 9)])
    world.label(world.acts(), "c.jpg", [*world.boxes(2, "auto"), *world.boxes(1, "learned")])
    world.undo(call)
    assert used(world, "c.jpg") == ["car", "car", "learned"]
    assert labels(world) == {"car": 0, "Straße": 1, "bus": 2, "learned": 10}


def test_no_undo_of_a_label_that_is_used_now(world: World) -> None:
    call = world.acts()
    change(world, call, add=[NewLabel("a")])
    world.label(world.acts(), "c.jpg", world.boxes(1, "a"))
    assert world.undo_refusal(call).code == "class_in_use"


def test_no_undo_to_a_name_that_is_taken(world: World) -> None:
    call = world.acts()
    change(world, call, update=[LabelChange("car", "auto")])
    world.label(world.acts(), "c.jpg", world.boxes(1, "car"))
    assert world.undo_refusal(call).code == "name_taken"


def test_no_undo_to_an_index_that_is_taken(world: World) -> None:
    change(world, add=[NewLabel("spare", 33)])
    call = world.acts()
    change(world, call, remove=["spare"])
    world.label(world.acts(), "c.jpg", world.boxes(1, "learned"))
    change(world, setup := world.acts(), update=[LabelChange("learned", index=33)])
    assert world.undo_refusal(call).code == "later_changes"
    world.undo(setup)
    world.undo(call)
    assert labels(world)["spare"] == 33


def test_lists_and_single_labels_know_of_each_other(world: World) -> None:
    declaring, changing = world.acts(), world.acts()
    world.declare(declaring, "car", "Straße", "bus")
    change(world, changing, add=[NewLabel("a")])
    assert world.undo_refusal(declaring).details["calls"][0]["call_id"] == changing.call_id
    world.undo(changing)
    world.undo(declaring)
    assert labels(world) == {"car": 0, "Straße": 1, "bus": 2}


def test_a_save_before_a_new_name_is_not_undone_alone(world: World) -> None:
    saving, renaming = world.acts(), world.acts()
    world.label(saving, "c.jpg", world.boxes(1, "car"))
    change(world, renaming, update=[LabelChange("car", "auto")])
    assert world.undo_refusal(saving).details["calls"][0]["call_id"] == renaming.call_id
    world.studio.undo.session(world.acts("undoing"), "monday")
    assert (used(world, "c.jpg"), used(world, "a.jpg")) == ([], ["car", "Straße", "car"])


NAMES = st.sampled_from(["car", "bus", "Straße", "van", "tree", "x"])
INDICES = st.none() | st.integers(0, 6)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.lists(st.builds(NewLabel, NAMES, INDICES), max_size=2),
            st.lists(st.builds(LabelChange, NAMES, st.none() | NAMES, INDICES), max_size=2),
            st.lists(NAMES, max_size=2),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_whatever_is_asked_is_undone_whole(world: World, asked: list[Any]) -> None:
    """Refusals change nothing, what was done can be taken back, newest first, to the letter."""
    start = (world.seen(), labels(world))
    states, calls = [start], []
    for add, update, remove in asked:
        call = world.acts()
        before = world.seen()
        try:
            done = change(world, call, add=add, update=update, remove=remove)
        except (Conflict, InvalidInput, NotFound):
            assert world.seen() == before
            continue
        found = labels(world)
        assert len(set(found.values())) == len(found)
        if done:
            calls.append(call)
            states.append((world.seen(), found))
    while calls:
        states.pop()
        world.undo(calls.pop())
        assert (world.seen(), labels(world)) == states[-1]
    assert (world.seen(), labels(world)) == start


def test_the_rows_of_the_wire(world: World, stranger: Principal) -> None:
    from tintype_studio.catalog.dataset_rows import dataset_of_row, label_of_row, sample_of_row, set_of_row

    studio, owner = world.studio, world.principal
    dataset = studio.datasets.get(owner, "signs")
    label = studio.labels.list(owner, "signs")[0]
    (default,) = studio.annotation_sets.list(owner, "signs")
    sample = studio.samples.page(dataset, limit=1)[0]
    looks: list[tuple[Callable[..., Any], int]] = [
        (dataset_of_row, dataset.row_id),
        (label_of_row, label.row_id),
        (set_of_row, default.row_id),
        (sample_of_row, sample.row_id),
    ]
    assert label_of_row(studio, owner, label.row_id).name == "car"
    assert sample_of_row(studio, owner, sample.row_id).id == sample.id
    for look, row_id in looks:
        assert look(studio, owner, row_id)
        for who, asked in ((stranger, row_id), (owner, 10**15)):
            with pytest.raises(NotFound):
                look(studio, who, asked)
    studio.datasets.delete(owner, "signs")
    for look, row_id in looks:
        with pytest.raises(NotFound):
            look(studio, owner, row_id)

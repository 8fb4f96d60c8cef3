"""What calls may change in the world of ``support.history``, to be undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.history import World, signs

from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio


@pytest.fixture
def world(studio: Studio, owner: Principal, picture: Any, boxes: Any, check_counters: Any) -> Iterator[World]:
    """The counters are checked at the end."""
    yield signs(studio, owner, picture, boxes)
    for dataset in studio.datasets.list(owner):
        check_counters(studio, owner, dataset.name)


def create_dataset(world: World, who: Principal) -> None:
    world.studio.datasets.create(who, name="new", description="d")


def create_dataset_with_images(world: World, who: Principal) -> None:
    """As an upload of a folder does."""
    world.studio.datasets.create(who, name="new")
    for filename in ("1.jpg", "2.jpg"):
        world.add(who, filename, "new")


def delete_dataset(world: World, who: Principal) -> None:
    world.studio.datasets.delete(who, "signs")


def delete_dataset_that_lost_an_image_before(world: World, who: Principal) -> None:
    world.studio.datasets.delete(who, "signs")


def add_images(world: World, who: Principal) -> None:
    for filename in ("1.jpg", "2.jpg"):
        world.add(who, filename)


def delete_image(world: World, who: Principal) -> None:
    world.studio.samples.delete(who, world.image("a.jpg"))


def delete_images(world: World, who: Principal) -> None:
    for filename in ("a.jpg", "c.jpg"):
        world.studio.samples.delete(who, world.image(filename))


def save(world: World, who: Principal) -> None:
    world.label(who, "a.jpg", world.boxes(3, "bus"))


def save_nothing_over_something(world: World, who: Principal) -> None:
    world.label(who, "a.jpg", [])


def save_several_times(world: World, who: Principal) -> None:
    for filename, count in (("a.jpg", 1), ("c.jpg", 2), ("a.jpg", 4), ("b.jpg", 0)):
        world.label(who, filename, world.boxes(count, "bus"))


def learn_a_class(world: World, who: Principal) -> None:
    world.label(who, "c.jpg", [*world.boxes(1, "tram"), *world.boxes(1, "bike"), *world.boxes(1, "bus")])


def declare_classes(world: World, who: Principal) -> None:
    world.declare(who, "Straße", "bus", "car", "tram")


def declare_and_save(world: World, who: Principal) -> None:
    world.declare(who, "Straße", "bus", "car", "tram")
    world.label(who, "b.jpg", world.boxes(2, "tram"))


def rename(world: World, who: Principal) -> None:
    world.studio.datasets.update(who, "signs", new_name="Schilder é")


def rename_and_describe(world: World, who: Principal) -> None:
    world.studio.datasets.update(
        who, "signs", new_name="zeichen", description="d", annotation_types=["polygon", "bbox"]
    )


def remove_a_class(world: World, who: Principal) -> None:
    """As a replacement of the list that leaves out what annotations use."""
    world.studio.removal.unlisted(who, "signs", ["car", "tram"])
    world.declare(who, "car", "tram")


def do_all_sorts(world: World, who: Principal) -> None:
    world.add(who, "1.jpg")
    world.label(who, "1.jpg", world.boxes(2, "tram"))
    world.label(who, "a.jpg", world.boxes(1, "bus"))
    world.studio.samples.delete(who, world.image("b.jpg"))


def delete_and_replace(world: World, who: Principal) -> None:
    """Another image takes the name of the deleted one, in the same call."""
    world.studio.samples.delete(who, world.image("a.jpg"))
    world.add(who, "a.jpg")


DEEDS: list[Callable[[World, Principal], None]] = [
    create_dataset,
    create_dataset_with_images,
    delete_dataset,
    delete_dataset_that_lost_an_image_before,
    add_images,
    delete_image,
    delete_images,
    save,
    save_nothing_over_something,
    save_several_times,
    learn_a_class,
    declare_classes,
    declare_and_save,
    rename,
    rename_and_describe,
    remove_a_class,
    do_all_sorts,
    delete_and_replace,
]

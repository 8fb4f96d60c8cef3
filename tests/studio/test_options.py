"""Attributes of classes: declared, chosen by annotations, kept while in use, undone."""

from __future__ import annotations

from typing import Any

import pytest
from support.deeds import world
from support.history import World

from tintype_studio.annotations.extending import extend_classes
from tintype_studio.annotations.options import MAX_ATTRIBUTES, MAX_OPTIONS, chosen, with_options
from tintype_studio.catalog.datasets import ClassAttribute, Dataset, DatasetClass
from tintype_studio.catalog.samples import Sample
from tintype_studio.errors import Conflict, InvalidInput
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio

__all__ = ["world"]

COLOUR = ClassAttribute("colour", ("red", "blue", "white"))
STATE = ClassAttribute("state", ("true", "false"))
SIGN = DatasetClass("sign", attributes=(COLOUR, STATE))


@pytest.fixture
def sample(studio: Studio, owner: Principal, dataset: Dataset, picture: Any) -> Sample:
    return studio.ingest.add_image(owner, dataset, data=picture(), filename="a.jpg")


@pytest.fixture
def declared(studio: Studio, owner: Principal, sample: Sample) -> Dataset:
    return studio.classes.declare(owner, "signs", [SIGN, DatasetClass("car")])


def save(studio: Studio, owner: Principal, sample: Sample, boxes: Any, *attributes: Any) -> None:
    (box,) = boxes(1, "sign")
    studio.documents.save(owner, sample.id, [box.model_copy(update={"attributes": [*attributes]})])


def saved(studio: Studio, owner: Principal, sample: Sample) -> list[Any]:
    return [a.attributes for a in studio.documents.get(owner, sample.id)[1]]


def refused(studio: Studio, owner: Principal, *classes: DatasetClass) -> str:
    with pytest.raises((InvalidInput, Conflict)) as caught:
        studio.classes.declare(owner, "signs", list(classes))
    return caught.value.code


def test_a_declared_attribute_comes_back_with_its_options_in_order(studio, owner, declared) -> None:
    assert studio.datasets.get(owner, "signs").classes == [SIGN, DatasetClass("car")]


def test_an_option_is_chosen_and_other_metadata_stays_free(studio, owner, declared, sample, boxes) -> None:
    save(studio, owner, sample, boxes, {"colour": "red", "maker": "Acme"}, "wet", {"state": True})
    assert saved(studio, owner, sample) == [[{"colour": "red", "maker": "Acme"}, "wet", {"state": True}]]
    (annotation,) = studio.documents.get(owner, sample.id)[1]
    assert chosen(annotation, SIGN) == {"colour": "red", "state": "true"}
    other = with_options(annotation, {"colour": "blue"})
    assert other.attributes == [{"maker": "Acme"}, "wet", {"state": True}, {"colour": "blue"}]


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_option_may_be_said_in_so_many_words(studio, owner, declared, sample, boxes, nothing) -> None:
    save(studio, owner, sample, boxes, {"colour": nothing})
    (annotation,) = studio.documents.get(owner, sample.id)[1]
    assert chosen(annotation, SIGN) == {}


@pytest.mark.parametrize(
    ("attributes", "code", "fix"),
    [
        ([{"colour": "rad"}], "unknown_option", "Did you mean red"),
        ([{"colour": 3}], "unknown_option", "red, blue, white"),
        ([{"colour": {"deep": 1}}], "unknown_option", "set_dataset_classes"),
        ([{"colour": "red"}, {"colour": "red"}], "option_twice", "one option"),
    ],
)
def test_what_is_no_option_is_refused_and_nothing_is_saved(
    studio, owner, declared, sample, boxes, attributes, code, fix
) -> None:
    with pytest.raises(InvalidInput) as caught:
        save(studio, owner, sample, boxes, *attributes)
    assert caught.value.code == code
    assert fix in caught.value.fix
    assert saved(studio, owner, sample) == []


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ([ClassAttribute("colour", ("red",))], "invalid_attribute"),
        ([ClassAttribute("colour", ("red", " red "))], "invalid_attribute"),
        ([ClassAttribute("colour", tuple(map(str, range(MAX_OPTIONS + 1))))], "invalid_attribute"),
        ([COLOUR, COLOUR], "invalid_attribute"),
        ([ClassAttribute(f"a{n}", ("x", "y")) for n in range(MAX_ATTRIBUTES + 1)], "invalid_attribute"),
        ([ClassAttribute("review", ("x", "y"))], "reserved_attribute"),
        ([ClassAttribute("  ", ("x", "y"))], "invalid_name"),
        ([ClassAttribute("a\nb", ("x", "y"))], "invalid_name"),
        ([ClassAttribute("a", ("x", "\ufffe"))], "invalid_name"),
    ],
)
def test_bad_attributes_are_refused(studio, owner, declared, attributes, code) -> None:
    assert refused(studio, owner, DatasetClass("sign", attributes=tuple(attributes))) == code
    assert studio.datasets.get(owner, "signs").classes == declared.classes


def test_an_option_in_use_cannot_go_and_one_in_no_use_can(studio, owner, declared, sample, boxes) -> None:
    save(studio, owner, sample, boxes, {"colour": "red"})
    without_red = DatasetClass("sign", attributes=(ClassAttribute("colour", ("blue", "white")), STATE))
    assert refused(studio, owner, without_red) == "option_in_use"
    assert refused(studio, owner, DatasetClass("sign", attributes=(STATE,))) == "option_in_use"
    fewer = DatasetClass("sign", attributes=(ClassAttribute("colour", ("red", "blue")),))
    assert studio.classes.declare(owner, "signs", [fewer]).classes == [fewer]


def test_a_new_attribute_does_not_turn_old_metadata_into_nonsense(
    studio, owner, declared, sample, boxes
) -> None:
    save(studio, owner, sample, boxes, {"maker": "Acme"})
    maker = ClassAttribute("maker", ("Bolt", "Nut"))
    assert (
        refused(studio, owner, DatasetClass("sign", attributes=(*SIGN.attributes, maker))) == "option_in_use"
    )
    maker = ClassAttribute("maker", ("Acme", "Nut"))
    studio.classes.declare(owner, "signs", [DatasetClass("sign", attributes=(maker,))])
    (annotation,) = studio.documents.get(owner, sample.id)[1]
    assert chosen(annotation, DatasetClass("sign", attributes=(maker,))) == {"maker": "Acme"}


def call(world: World, deed: Any) -> Principal:
    who = world.acts()
    deed(who)
    return who


def sign_of(*options: str) -> Any:
    classes = [DatasetClass(name) for name in ("car", "bus", "Stra\xdfe")]
    sign = DatasetClass("sign", attributes=(ClassAttribute("colour", options),))
    return lambda world: call(world, lambda who: world.studio.classes.declare(who, "signs", [*classes, sign]))


def labelled(world: World, boxes: Any, *options: str) -> Principal:
    annotations = [
        b.model_copy(update={"attributes": [{"colour": o}]}) for o in options for b in boxes(1, "sign")
    ]
    return call(world, lambda who: world.label(who, "c.jpg", annotations))


def test_undo_brings_attributes_back_but_not_over_options_in_use(world: World, boxes: Any) -> None:
    sign_of("red", "blue")(world)
    before = world.seen()
    second = sign_of("red", "green")(world)
    saved = labelled(world, boxes, "green")
    assert world.undo_refusal(second).code == "option_in_use"
    world.undo(saved)
    world.undo(second)
    assert world.seen() == before


def test_undo_of_a_save_does_not_bring_back_what_is_no_option_any_more(world: World, boxes: Any) -> None:
    sign_of("red", "blue")(world)
    labelled(world, boxes, "blue")
    emptied = labelled(world, boxes)
    narrowed = sign_of("red", "green")(world)
    assert world.undo_refusal(emptied).code == "option_missing"
    world.undo(narrowed)
    world.undo(emptied)
    assert [a.attributes for a in world.studio.documents.get(world.principal, world.image("c.jpg"))[1]] == [
        [{"colour": "blue"}]
    ]


def test_an_import_adds_what_a_dataset_lacks_and_changes_nothing_it_has(
    studio, owner, dataset, sample, boxes
) -> None:
    save(studio, owner, sample, boxes, {"maker": "Acme"})
    told = DatasetClass("sign", attributes=(COLOUR, ClassAttribute("maker", ("Bolt", "Nut"))))
    extend_classes(studio.database, studio.datasets, owner, "signs", [told])
    (sign,) = studio.datasets.get(owner, "signs").classes
    assert sign.attributes == (COLOUR,)
    more = DatasetClass("sign", attributes=(ClassAttribute("colour", ("red", "green")),))
    extend_classes(studio.database, studio.datasets, owner, "signs", [more])
    (sign,) = studio.datasets.get(owner, "signs").classes
    assert sign.attributes == (ClassAttribute("colour", ("red", "blue", "white", "green")),)


def test_undo_of_an_attribute_leaves_what_was_chosen_as_metadata(world: World, boxes: Any) -> None:
    call(
        world,
        lambda who: world.studio.classes.declare(
            who, "signs", [DatasetClass(name) for name in ("car", "bus", "Stra\xdfe", "sign")]
        ),
    )
    labelled(world, boxes, "red")
    before = world.seen()
    declared = sign_of("red", "green")(world)
    world.undo(declared)
    assert world.seen() == before
    again = sign_of("red", "green")(world)
    saved = labelled(world, boxes, "green")
    world.undo(again)
    (kept,) = world.studio.documents.get(world.principal, world.image("c.jpg"))[1]
    assert kept.attributes == [{"colour": "green"}]
    world.undo(saved)
    assert world.seen() == before


def test_an_image_comes_back_from_the_bin_only_with_options_that_are_there(
    studio, owner, declared, sample, boxes
) -> None:
    save(studio, owner, sample, boxes, {"colour": "red"})
    studio.samples.delete(owner, sample.id)
    narrow = DatasetClass("sign", attributes=(ClassAttribute("colour", ("blue", "white")),))
    studio.classes.declare(owner, "signs", [narrow])
    with pytest.raises(Conflict) as caught:
        studio.batch.update(owner, "signs", [sample.id], archived=False)
    assert caught.value.code == "option_missing"
    studio.classes.declare(owner, "signs", [SIGN])
    studio.batch.update(owner, "signs", [sample.id], archived=False)
    assert saved(studio, owner, sample) == [[{"colour": "red"}]]

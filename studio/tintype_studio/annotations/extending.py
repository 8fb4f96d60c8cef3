"""What a file lists of classes becomes the dataset's, before its annotations come in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tintype_studio.annotations.classes import class_state, options_in_the_way, replace_classes
from tintype_studio.annotations.options import MAX_ATTRIBUTES, MAX_OPTIONS
from tintype_studio.catalog.datasets import ClassAttribute, Dataset, DatasetClass, Datasets
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.database import Database


def extend_classes(
    database: Database, catalog: Datasets, principal: Principal, name: str, classes: Sequence[DatasetClass]
) -> Dataset:
    """Add classes with their types, colours and attributes to a dataset whose classes are not declared.

    Classes that it has keep type and colour, and get the attributes and options that they lack. An attribute
    stays out when annotations hold something else under its name. A declared list stays as it is: what it
    lacks is refused image by image.
    """
    with database.write() as connection:
        dataset = catalog.get_in(connection, principal, name)
        if dataset.classes_declared:
            return dataset
        before = {cls.name: cls for cls in dataset.classes}
        known = dict(before)
        for cls in classes:
            known[cls.name] = _extended(known.get(cls.name, replace(cls, attributes=())), cls.attributes)
        after = list(known.values())
        if after == dataset.classes:
            return dataset
        for mark in options_in_the_way(connection, dataset.row_id, dataset.classes, after):
            after = [_without(cls, mark.attribute) if cls.name == mark.class_name else cls for cls in after]
        if after == dataset.classes:
            return dataset
        replace_classes(connection, dataset.row_id, after, declared=False)
        log_change(
            connection,
            principal,
            Kind.CLASSES_SET,
            dataset.row_id,
            subject=dataset.id,
            label=dataset.name,
            count=len(after),
            detail={
                "before": class_state(dataset.classes, declared=False),
                "after": class_state(after, declared=False),
            },
        )
        return catalog.get_in(connection, principal, name)


def _extended(cls: DatasetClass, attributes: Sequence[ClassAttribute]) -> DatasetClass:
    """The class with further attributes, and further options of those it has, as far as there is room."""
    known = {attribute.name: attribute for attribute in cls.attributes}
    for told in attributes:
        own = known.get(told.name)
        options = tuple(dict.fromkeys([*(own.options if own else ()), *told.options]))
        if len(options) <= MAX_OPTIONS and (own or len(known) < MAX_ATTRIBUTES):
            known[told.name] = ClassAttribute(told.name, options)
    return replace(cls, attributes=tuple(known.values()))


def _without(cls: DatasetClass, attribute: str) -> DatasetClass:
    return replace(cls, attributes=tuple(own for own in cls.attributes if own.name != attribute))

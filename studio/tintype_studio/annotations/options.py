"""Options that annotations choose for the attributes of their class.

A class declares attributes, each with its options (``ClassAttribute``). An annotation chooses by an entry
``{"<attribute>": "<option>"}`` among its ``attributes``, where every format keeps pairs of names and values.
What a class does not declare stays free metadata, any JSON.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from tintype_studio.annotations.geometry import Annotation
from tintype_studio.catalog.datasets import ClassAttribute, DatasetClass, attributes_from_json
from tintype_studio.errors import Conflict, InvalidInput
from tintype_studio.names import clean_text
from tintype_studio.storage.prepared import Prepared
from tintype_studio.storage.tables import dataset_classes

MAX_ATTRIBUTES = 50
"""Attributes of one class."""
MIN_OPTIONS, MAX_OPTIONS = 2, 200
"""Options of one attribute."""
MAX_LENGTH = 120
"""Characters of the name of an attribute or an option."""

RESERVED = frozenset({"review", "track", "confidence", "attributes_json"})
"""Names that mean something else among the attributes of an annotation, here or in an export format."""

_NONE = (None, "")
"""What says of an attribute that no option was chosen, as programs with a field for each write it."""

_LISTED = 20
_BEYOND_XML = frozenset("\ufffe\uffff")

_DECLARED = Prepared(
    sa.select(dataset_classes.c.name, dataset_classes.c.attributes).where(
        dataset_classes.c.dataset_id == sa.bindparam("dataset_id"), dataset_classes.c.attributes.is_not(None)
    )
)


class Mark(NamedTuple):
    """A value that an annotation of a class has under a name."""

    class_name: str
    attribute: str
    value: Any


Declared = Mapping[str, Mapping[str, Sequence[str]]]
"""Of each class that has attributes, their options."""


def cleaned_attributes(class_name: str, attributes: Iterable[ClassAttribute]) -> tuple[ClassAttribute, ...]:
    """Attributes as they are stored: composed, without outer spaces.

    Raises:
        InvalidInput: too many or too few, an empty or reserved name, or one that occurs twice.
    """
    cleaned = []
    for each in attributes:
        name = _cleaned(each.name, f"An attribute of {class_name!r}")
        if name in RESERVED:
            raise InvalidInput(
                f"An attribute cannot be named {name!r}, which has another meaning here.",
                code="reserved_attribute",
                fix=f"Choose another name; reserved are {', '.join(sorted(RESERVED))}.",
            )
        options = tuple(_cleaned(option, f"An option of {name!r}") for option in each.options)
        if not MIN_OPTIONS <= len(options) <= MAX_OPTIONS:
            raise InvalidInput(
                f"The attribute {name!r} of {class_name!r} has {len(options)} options.",
                code="invalid_attribute",
                fix=f"Give each attribute {MIN_OPTIONS} to {MAX_OPTIONS} options.",
            )
        _require_distinct(options, f"options of the attribute {name!r} of {class_name!r}")
        cleaned.append(ClassAttribute(name, options))
    if len(cleaned) > MAX_ATTRIBUTES:
        raise InvalidInput(
            f"The class {class_name!r} has {len(cleaned)} attributes.",
            code="invalid_attribute",
            fix=f"A class has up to {MAX_ATTRIBUTES} attributes.",
        )
    _require_distinct([each.name for each in cleaned], f"attributes of {class_name!r}")
    return tuple(cleaned)


def _cleaned(text: str, what: str) -> str:
    text = clean_text(text, what, max_length=MAX_LENGTH)
    if not text or not _BEYOND_XML.isdisjoint(text):
        problem = "has no name" if not text else "contains a broken character"
        raise InvalidInput(f"{what} {problem}.", code="invalid_name", fix="Use one short line of text.")
    return text


def _require_distinct(names: Sequence[str], what: str) -> None:
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise InvalidInput(
            f"Among the {what} occurs twice: {', '.join(map(repr, repeated[:_LISTED]))}.",
            code="invalid_attribute",
            fix="Send each name once.",
        )


def declared_by(classes: Iterable[DatasetClass]) -> Declared:
    """What a class list declares."""
    return {
        each.name: {attribute.name: attribute.options for attribute in each.attributes}
        for each in classes
        if each.attributes
    }


def declared_in(connection: sa.Connection, dataset_row_id: int) -> Declared:
    """What a dataset's class list declares in the caller's transaction."""
    rows = _DECLARED.all(connection, {"dataset_id": dataset_row_id})
    return declared_by(
        DatasetClass(row["name"], attributes=attributes_from_json(row["attributes"])) for row in rows
    )


def option_of(value: Any) -> str | None:
    """The option that a value means: text, or what another program writes as true, false or a number.

    None for a value that can mean none.
    """
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value.strip())
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else None


def chosen(annotation: Annotation, declared: DatasetClass) -> dict[str, str]:
    """The option that an annotation of the class chooses for each attribute of it, in the class's order.

    Attributes for which it chooses none are left out.
    """
    values = dict(_members(annotation.attributes))
    found = {}
    for attribute in declared.attributes:
        option = option_of(values.get(attribute.name))
        if option in attribute.options:
            found[attribute.name] = option
    return found


def with_options(annotation: Annotation, options: Mapping[str, str]) -> Annotation:
    """The annotation with these options of attributes; what else its ``attributes`` hold stays."""
    if not options:
        return annotation
    kept: list[Any] = []
    for entry in annotation.attributes:
        if isinstance(entry, dict) and not options.keys().isdisjoint(entry):
            rest = {name: value for name, value in entry.items() if name not in options}
            kept += [rest] if rest else []
        else:
            kept.append(entry)
    entries = [{attribute: option} for attribute, option in options.items()]
    return annotation.model_copy(update={"attributes": [*kept, *entries]})


def require_options(annotations: Iterable[tuple[str, Sequence[Any]]], declared: Declared) -> None:
    """Check the ``attributes`` of annotations, each with the name of its class.

    Raises:
        InvalidInput: an annotation chooses what is no option (``unknown_option``), or more than one
            (``option_twice``).
    """
    if not declared:
        return
    for class_name, attributes in annotations:
        if not attributes or not (own := declared.get(class_name)):
            continue
        seen = set()
        for name, value in _members(attributes):
            options = own.get(name)
            if options is None or value in _NONE:
                continue
            if name in seen:
                raise InvalidInput(
                    f"An annotation of {class_name!r} chooses {name!r} twice.",
                    code="option_twice",
                    fix="Give each annotation one option of an attribute.",
                )
            seen.add(name)
            if option_of(value) not in options:
                raise _unknown(Mark(class_name, name, value), options)


def marks_of(annotations: Iterable[Mapping[str, Any]], names: Collection[str]) -> Iterator[Mark]:
    """What annotations, as they are kept, hold under such names."""
    for annotation in annotations:
        for name, value in _members(annotation.get("attributes", ())):
            if name in names and value not in _NONE:
                yield Mark(annotation["name"], name, value)


def unkept(marks: Iterable[Mark], before: Declared, after: Declared) -> Iterator[Mark]:
    """Those that another class list would take away: options that were, or what is none of an attribute that
    is new.
    """
    for mark in marks:
        options = after.get(mark.class_name, {}).get(mark.attribute)
        if options is None:
            if mark.attribute in before.get(mark.class_name, {}):
                yield mark
        elif option_of(mark.value) not in options:
            yield mark


def in_use(marks: Iterable[Mark], *, fix: str) -> Conflict | None:
    """The refusal (``option_in_use``) of a class list that would take these away, if there are any."""
    gone = sorted({f"{m.class_name} · {m.attribute} · {_shown(m.value)}" for m in marks})
    if not gone:
        return None
    more = f" and {len(gone) - _LISTED} more" if len(gone) > _LISTED else ""
    message = f"Annotations still use: {', '.join(gone[:_LISTED])}{more}."
    return Conflict(message, code="option_in_use", fix=fix)


def _members(attributes: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    for entry in attributes:
        if isinstance(entry, dict):
            yield from entry.items()


def _unknown(mark: Mark, options: Sequence[str]) -> InvalidInput:
    close = difflib.get_close_matches(option_of(mark.value) or "", options, n=2)
    hint = f"Did you mean {', '.join(close)}? " if close else ""
    listed = ", ".join(options[:_LISTED]) + (
        f" and {len(options) - _LISTED} more" if len(options) > _LISTED else ""
    )
    return InvalidInput(
        f"{_shown(mark.value)} is no option of {mark.attribute!r} of the class {mark.class_name!r}.",
        code="unknown_option",
        fix=f"{hint}Use one of: {listed}; or add the option with set_dataset_classes.",
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 1] + "…"

"""Which attributes can be learned from the objects there are: two options, each with a training example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

Counts = dict[str, dict[str, dict[str, dict[str, int]]]]

NAMED = 5
"""Names in a note."""
SPLITS = ("train", "val", "test")


def learnable(found: Mapping[tuple[str, str, str], Counter[str]], too_many: int) -> tuple[Counts, list[str]]:
    """Of the attributes that can be learned the objects by option and split, and sentences on the rest.

    ``found`` has every declared option, by class, attribute and option; ``too_many`` objects were left out.
    """
    counts: Counts = {}
    for (name, attribute, option), by_split in found.items():
        if by_split["train"]:
            of_class = counts.setdefault(name, {}).setdefault(attribute, {})
            of_class[option] = {split: by_split[split] for split in SPLITS}
    poor = [
        f"{name}.{attribute}"
        for name, attribute in dict.fromkeys(key[:2] for key in found)
        if len(counts.get(name, {}).get(attribute, ())) < 2
    ]
    kept = {
        name: {attribute: options for attribute, options in of_class.items() if len(options) > 1}
        for name, of_class in counts.items()
    }
    kept = {name: of_class for name, of_class in kept.items() if of_class}
    unseen = [
        f"{option} ({name}.{attribute})"
        for name, attribute, option in found
        if attribute in kept.get(name, {}) and option not in kept[name][attribute]
    ]
    notes = []
    if poor:
        notes.append(
            f"Fewer than two options of {_some(poor)} are among the training objects, so that is not learned."
        )
    if unseen:
        notes.append(f"No training object has these options, so they are never chosen: {_some(unseen)}.")
    if too_many:
        notes.append(
            f"Attributes are learned without {too_many} objects: there are very many of their options."
        )
    return kept, notes


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")

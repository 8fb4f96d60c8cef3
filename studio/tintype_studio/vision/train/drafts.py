"""Drafts in training: what an engine has found and nobody has looked at yet."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tintype_studio.annotations.review import DRAFT

Document = list[dict[str, Any]]

UNREVIEWED = "drafts that nobody has reviewed"
"""In every note on them."""


def is_draft(annotation: Mapping[str, Any]) -> bool:
    """Whether an annotation of an export is one."""
    return DRAFT in annotation.get("attributes", ())


def without_drafts(
    documents: Sequence[Document], names: Collection[str]
) -> tuple[list[Document | None], int, list[str]]:
    """What has been reviewed in each image, how many drafts of the classes ``names`` that leaves out, and
    sentences on it.

    None stands for an image of which only drafts say what it shows. It is no background: there may well be
    what they say.
    """
    kept: list[Document | None] = []
    drafts = left = mixed = 0
    for document in documents:
        reviewed = [each for each in document if not is_draft(each)]
        wanted = any(each["name"] in names for each in reviewed)
        mine = sum(each["name"] in names and is_draft(each) for each in document)
        unknown = not wanted and (mine > 0 or (bool(document) and not reviewed))
        kept.append(None if unknown else reviewed)
        drafts, left, mixed = drafts + mine, left + unknown, mixed + (wanted and mine > 0)
    notes = []
    if drafts or left:
        with_them = f", and with them {left} images that hold nothing else to learn from" if left else ""
        notes.append(f"{drafts} {UNREVIEWED} were left out{with_them}.")
    if mixed:
        notes.append(f"In {mixed} images that have both, what only a draft marks counts as background.")
    return kept, drafts, notes


def about_drafts(drafts: int, annotations: int) -> list[str]:
    """A sentence on drafts that are learned from, if there are any."""
    if not drafts:
        return []
    return [
        f"{drafts} of {annotations} annotations are {UNREVIEWED}. Look at some (preview_image), accept or "
        'correct them and train again; or leave them out with drafts="skip".'
    ]

"""Shapes and pictures that the search tools share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.errors import TintypeError
from tintype_studio.search.service import Found, Hit
from tintype_tools.call import Call, Picture
from tintype_tools.spec import Result

SHEET_TILES = 48
"""Images on a contact sheet at most."""

SHEET_SIDE = 160

ContactSheet = Annotated[
    bool, Field(description=f"Also return one picture of the first {SHEET_TILES} results, numbered.")
]


class AutoTags(Result):
    """What is known of an image. ``confidence`` names the tags that are not certain (0.5 to 1)."""

    objects: list[str]
    scenes: list[str]
    attributes: list[str]
    confidence: dict[str, float] | None = None


class FoundImage(Result):
    """An image that was found. ``similarity`` is within 0 to 1."""

    id: str
    filename: str
    status: str
    annotation_count: int
    virtual_folder_path: str
    similarity: float | None = None
    project_id: str | None = None
    dataset_id: str | None = None
    dataset_name: str | None = None
    image_auto_tags: AutoTags

    @classmethod
    def of(cls, hit: Hit, *, with_project: bool = False, with_dataset: bool = False) -> FoundImage:
        """From the platform's hit."""
        return cls(
            id=hit.sample.id,
            filename=hit.sample.filename,
            status=hit.sample.status.value,
            annotation_count=hit.sample.annotation_count,
            virtual_folder_path=hit.sample.folder,
            similarity=hit.similarity,
            project_id=hit.project_id if with_project else None,
            dataset_id=hit.dataset_id if with_dataset else None,
            dataset_name=hit.dataset_name if with_dataset else None,
            image_auto_tags=AutoTags(
                objects=hit.tags.objects,
                scenes=hit.tags.scenes,
                attributes=hit.tags.attributes,
                confidence=hit.tags.confidence or None,
            ),
        )


def not_indexed_note(not_indexed: int) -> str | None:
    """What to say of images that nobody has looked at yet."""
    if not not_indexed:
        return None
    return f"{not_indexed} images are not indexed yet and may be missing here; search again in a minute."


def sheet(hits: list[tuple[str, Hit]], call: Call) -> tuple[Picture, ...]:
    """One picture of some hits, each with what stands before its file name; nothing for no hits."""
    from tintype_studio.media.contact_sheet import Tile, contact_sheet

    tiles = []
    for caption, hit in hits[:SHEET_TILES]:
        call.check()
        try:
            thumbnail = call.studio.samples.thumbnail(hit.sample.sha256, SHEET_SIDE)
        except TintypeError:  # shown as an empty tile: the list beside it is still right
            thumbnail = None
        tiles.append(Tile(thumbnail, f"{caption} {hit.sample.filename}"))
    if not tiles:
        return ()
    data, width, height = contact_sheet(tiles, side=SHEET_SIDE)
    return (Picture(data, "image/jpeg", width, height),)


def numbered(found: Found) -> list[tuple[str, Hit]]:
    """Hits with their place in the list and, where there is one, their similarity."""
    return [
        (f"{i} · {hit.similarity:.2f}" if hit.similarity is not None else str(i), hit)
        for i, hit in enumerate(found.hits, start=1)
    ]

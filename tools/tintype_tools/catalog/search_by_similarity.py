"""Find images that look like one of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call, Output
from tintype_tools.found_images import ContactSheet, FoundImage, not_indexed_note, numbered, sheet
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class SearchBySimilarityArgs(Args):
    """Like which image, how alike, and where."""

    image_id: Annotated[str, Field(description="UUID of the image to compare with.")]
    threshold: Annotated[float, Field(ge=0, le=1, description="Least similarity (cosine, 0 to 1).")] = 0.6
    limit: Annotated[int, Field(ge=1, le=500, description="Most images to list.")] = 50
    folder_path: Annotated[
        str | None,
        Field(
            max_length=500,
            description="Virtual folder to search; / is the whole dataset. Default: the image's own.",
        ),
    ] = None
    contact_sheet: ContactSheet = False


class SearchBySimilarityResult(Result):
    """Images, most alike first, the given one left out. ``embedder`` says what they were compared by."""

    images: list[FoundImage]
    count: int
    embedder: str
    not_indexed: int | None = None
    note: str | None = None


def handle(args: SearchBySimilarityArgs, call: Call) -> Output:
    """Search."""
    found = call.studio.search.similar(
        call.principal,
        args.image_id,
        threshold=args.threshold,
        limit=args.limit,
        folder=args.folder_path,
        check=call.check,
    )
    value = SearchBySimilarityResult(
        images=[FoundImage.of(hit) for hit in found.hits],
        count=len(found.hits),
        embedder=call.studio.search.indexer.embedder.name,
        not_indexed=found.not_indexed or None,
        note=not_indexed_note(found.not_indexed),
    )
    return Output(value, sheet(numbered(found), call) if args.contact_sheet else ())


TOOL = ToolSpec(
    name="search_by_similarity",
    title="Search by similarity",
    category=Category.SEARCH,
    toolset="search",
    core=False,
    description=(
        "Use when you have an image and want others of its dataset that look like it. Without model weights "
        "the comparison is by layout, edges and colours, not by meaning. 0.6 is visually related, 0.9 nearly "
        "the same picture."
    ),
    args=SearchBySimilarityArgs,
    result=SearchBySimilarityResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)

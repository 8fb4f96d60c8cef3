"""``/batch/images``: many images of one dataset at a time."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from tintype_server.pictograph.door import API, RestDoor
from tintype_server.pictograph.schema import Wire, WireBody, answers
from tintype_studio.catalog.copying import Duplicates
from tintype_studio.catalog.picking import MAX_IMAGES
from tintype_studio.catalog.samples import Status
from tintype_tools.call import Outcome


class BatchBody(WireBody):
    """Images of a dataset, by their ids."""

    dataset_name: Annotated[str, Field(max_length=200)]
    image_ids: Annotated[
        list[Annotated[str, Field(max_length=200)]], Field(min_length=1, max_length=MAX_IMAGES)
    ]


class MoveBody(BatchBody):
    """Where to."""

    target_folder_path: Annotated[str, Field(max_length=500)] = "/"


class CopyBody(MoveBody):
    """And how: what becomes of a copy whose name is taken, and whether annotations and status go along."""

    duplicate_handling: Duplicates = Duplicates.RENAME
    copy_annotations: bool = False


class DeleteBody(BatchBody):
    """For good, or into the recycle bin."""

    permanent: bool = False


class Updates(WireBody):
    """What to set; at least one. ``is_archived``: into the recycle bin, or back from it."""

    status: Status | None = None
    display_name: Annotated[str | None, Field(max_length=255)] = None
    is_archived: bool | None = None


class UpdateBody(BatchBody):
    """What to set."""

    updates: Updates


class BatchFailure(Wire):
    """An image that was left as it is, and why."""

    id: str
    reason: str


class BatchResult(Wire):
    """How many images are now as asked; ``success`` when none failed."""

    success: bool
    processed: int
    skipped: int
    failed: list[BatchFailure]
    affected_folders: list[str]


def routes(door: RestDoor) -> APIRouter:
    """The resource's routes."""
    router = door.router(f"{API}/batch/images", "Batch")

    def answer(request: Request, outcome: Outcome) -> Response:
        done = outcome.value
        body = {
            "success": not done["failed"],
            "processed": done["processed"],
            "skipped": done.get("skipped", 0),
            "failed": done["failed"],
            "affected_folders": done["affected_folders"],
        }
        return door.answer(request, body, outcome)

    @router.post("/move", responses=answers(BatchResult))
    async def move(request: Request, body: MoveBody) -> Response:
        """Into another virtual folder of the dataset."""
        return answer(request, await door.call(request, "move_images", body.model_dump()))

    @router.post("/copy", responses=answers(BatchResult))
    async def copy(request: Request, body: CopyBody) -> Response:
        """Into another virtual folder of the dataset; the bytes are shared."""
        return answer(request, await door.call(request, "copy_images", body.model_dump()))

    @router.post("/delete", responses=answers(BatchResult))
    async def delete(request: Request, body: DeleteBody) -> Response:
        """Into the recycle bin; for good needs the role admin. A member deletes only what it uploaded."""
        return answer(request, await door.call(request, "delete_images", body.model_dump()))

    @router.patch("/update", responses=answers(BatchResult))
    async def update(request: Request, body: UpdateBody) -> Response:
        """Status, display name, in the recycle bin or not."""
        arguments = body.model_dump(exclude={"updates"}) | body.updates.model_dump()
        return answer(request, await door.call(request, "update_images", arguments))

    return router

"""``/images``: metadata, bytes, signed uploads, deletion."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from tintype_server.pictograph.door import API, RestDoor, headers_of
from tintype_server.pictograph.schema import Wire, WireBody, answers
from tintype_server.pictograph.wire_datasets import wire_image
from tintype_studio.catalog.samples import Sample
from tintype_studio.errors import UnsupportedFormat
from tintype_studio.storage.uploads import BUCKET

WHOLE_BYTES = 1 << 20
"""A picture up to this size is read at once: a stream costs a small one more than its bytes."""


class Image(Wire):
    """An image. Sizes in pixels (upright) and bytes; ``image_url`` works without a key, for an hour."""

    id: str
    filename: str
    display_name: str | None
    virtual_folder_path: str
    status: str
    width: int | None
    height: int | None
    annotation_count: int
    file_size: int
    mime_type: str
    created_at: datetime
    image_url: str
    thumbnail_url: str
    annotation_url: str


class OneImage(Wire):
    """An image."""

    image: Image


class UploadUrlBody(WireBody):
    """What will be put."""

    dataset_id: Annotated[str, Field(max_length=80)]
    filename: Annotated[str, Field(max_length=255)]
    folder_path: Annotated[str, Field(max_length=500)] = "/"
    content_type: Annotated[str, Field(max_length=100)] = "image/jpeg"


class UploadUrl(Wire):
    """PUT the bytes to ``upload_url`` within the hour, then register them by ``gcs_path``."""

    upload_url: str
    gcs_bucket: str
    gcs_path: str
    gcs_uri: str
    max_bytes: int
    expires_at: datetime


class Registered(Wire):
    """The new image."""

    image_id: str
    image: Image


class Deleted(Wire):
    """What was deleted."""

    deleted: Literal[True]
    image_id: str
    permanent: bool


def routes(door: RestDoor) -> APIRouter:
    """The resource's routes."""
    router = door.router(f"{API}/images", "Images")

    @router.post("/upload-url", responses=answers(UploadUrl))
    async def upload_url(request: Request, body: UploadUrlBody) -> Response:
        """A link that takes one picture, without a key. A name that is taken is a 409 here already."""
        if not body.content_type.lower().startswith("image/"):
            raise UnsupportedFormat(f"{body.content_type!r} is no type of picture.")
        outcome = await door.call(
            request,
            "create_upload_url",
            {"dataset_id": body.dataset_id, "filename": body.filename, "folder_path": body.folder_path},
        )
        made = outcome.value
        answer = {
            "upload_url": made["upload_url"],
            "gcs_bucket": BUCKET,
            "gcs_path": made["upload_path"],
            "gcs_uri": f"gs://{BUCKET}/{made['upload_path']}",
            "max_bytes": made["max_bytes"],
            "expires_at": made["expires_at"],
        }
        return door.answer(request, answer, outcome)

    @router.post("/register", responses=answers(Registered))
    async def register(
        request: Request,
        dataset_id: Annotated[str, Form(max_length=80)],
        filename: Annotated[str, Form(max_length=255)],
        gcs_path: Annotated[str, Form(max_length=400)],
        gcs_bucket: Annotated[str, Form(max_length=100)] = "",
        gcs_uri: Annotated[str, Form(max_length=500)] = "",
        folder_path: Annotated[str, Form(max_length=500)] = "/",
        file_size: Annotated[str, Form(max_length=30)] = "",
        mime_type: Annotated[str, Form(max_length=100)] = "",
        image_width: Annotated[str, Form(max_length=30)] = "",
        image_height: Annotated[str, Form(max_length=30)] = "",
    ) -> Response:
        """Make an image of what was put. Size, type and extent are those of the bytes, whatever is said."""
        outcome = await door.call(
            request,
            "register_image",
            {
                "dataset_id": dataset_id,
                "upload_path": gcs_path,
                "filename": filename,
                "folder_path": folder_path,
            },
        )
        image = wire_whole_image(outcome.value, door.base_url(request))
        return door.answer(request, {"image_id": image["id"], "image": image}, outcome)

    @router.get("/{image_id}/metadata", responses=answers(OneImage))
    async def metadata(request: Request, image_id: str) -> Response:
        """An image without its bytes and annotations."""
        outcome = await door.call(request, "get_image", {"image_uuid": image_id})
        image = wire_whole_image(outcome.value, door.base_url(request))
        return door.answer(request, {"image": image}, outcome)

    @router.get(
        "/{image_id}",
        response_class=Response,
        responses={
            200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}},
            304: {"description": "The picture that the caller has."},
        },
    )
    async def download(request: Request, image_id: str) -> Response:
        """The bytes as they were uploaded; HEIC as PNG."""
        outcome = await door.call(request, "get_image", {"image_uuid": image_id})
        sample = await door.read(request, lambda who: door.studio.samples.get(who, image_id))
        headers = _headers_of(sample) | headers_of(outcome)
        known = request.headers.get("if-none-match", "")
        if {tag.strip().removeprefix("W/") for tag in known.split(",")} & {headers["ETag"], "*"}:
            return Response(status_code=304, headers=headers)
        headers["Content-Length"] = str(sample.file_size)
        if sample.file_size <= WHOLE_BYTES:
            data = await door.read(request, lambda _who: door.studio.samples.image_bytes(sample))
            return Response(data, media_type=sample.mime_type, headers=headers)
        return StreamingResponse(
            door.studio.blobs.stream(sample.sha256), media_type=sample.mime_type, headers=headers
        )

    @router.delete("/{image_id}", responses=answers(Deleted))
    async def delete(request: Request, image_id: str, permanent: bool = False) -> Response:
        """Into the recycle bin; with ``permanent`` for good. A member deletes only what it uploaded."""
        outcome = await door.call(request, "delete_image", {"image_uuid": image_id, "permanent": permanent})
        answer = {"deleted": True, "image_id": image_id, "permanent": permanent}
        return door.answer(request, answer, outcome)

    return router


def wire_whole_image(found: dict[str, Any], base_url: str) -> dict[str, Any]:
    """An image with all that there is to tell."""
    return {
        **wire_image(found, base_url),
        "display_name": found.get("display_name"),
        "mime_type": found["mime_type"],
    }


def _headers_of(sample: Sample) -> dict[str, str]:
    return {
        "ETag": f'"{sample.sha256}"',
        # The bytes of an image never change, but who may see them does.
        "Cache-Control": "private, max-age=3600",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(sample.filename)}",
        "X-Content-Type-Options": "nosniff",
    }

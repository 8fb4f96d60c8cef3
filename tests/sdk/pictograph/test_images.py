"""Images, asked by the published SDK: signed upload, metadata, bytes, deletion."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from support.pictures import jpeg
from support.sdk import Sdk, Server

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio import clock
from tintype_studio.studio import Studio

UPLOAD = "return client.images.upload(dataset_id=dataset, file_path=path, folder_path=folder)"
DOWNLOAD = """
import pathlib, tempfile
with tempfile.TemporaryDirectory() as folder:
    return client.images.download(image, pathlib.Path(folder) / "deep" / "out.jpg").read_bytes()
"""
API = "/api/v1/developer"


@pytest.fixture(scope="module")
def studio(sdk_server: Server) -> Any:
    opened = open_studio(Settings(home=sdk_server.home))
    yield opened
    opened.close()


@pytest.fixture
def dataset(sdk: Sdk) -> str:
    """The id of a new one."""
    made: dict[str, Any] = sdk.run("return client.projects.create(name)", name=f"images {clock.new_id()}")
    return str(made["id"])


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "straße 1.jpg"
    path.write_bytes(jpeg(seed=1))
    return path


def upload(sdk: Sdk, dataset: str, path: Path, folder: str = "/") -> Any:
    return sdk.run(UPLOAD, dataset=dataset, path=path, folder=folder)


def downloaded(sdk: Sdk, image: str) -> bytes:
    return base64.b64decode(sdk.run(DOWNLOAD, image=image)["base64"])


def test_what_is_uploaded_is_there_at_once(sdk: Sdk, dataset: str, photo: Path) -> None:
    image = upload(sdk, dataset, photo, "/cars/red")
    width, height = Image.open(photo).size
    expected = {
        "filename": photo.name,
        "status": "new",
        "annotation_count": 0,
        "file_size": photo.stat().st_size,
        "width": width,
        "height": height,
    }
    assert {key: image[key] for key in expected} == expected
    again = sdk.run("return client.images.get(image)", image=image["id"])
    links = {"image_url", "thumbnail_url"}  # which carry their time
    assert {k: v for k, v in again.items() if k not in links} == {
        k: v for k, v in image.items() if k not in links
    }
    assert downloaded(sdk, image["id"]) == photo.read_bytes()


def test_the_links_of_an_image_need_no_key(sdk: Sdk, dataset: str, photo: Path) -> None:
    image = upload(sdk, dataset, photo)
    assert httpx.get(image["image_url"]).content == photo.read_bytes()
    thumbnail = httpx.get(image["thumbnail_url"])
    assert max(Image.open(io.BytesIO(thumbnail.content)).size) <= 256
    assert image["annotation_url"].endswith(f"{API}/annotations/{image['id']}")


def test_the_progress_of_an_upload(sdk: Sdk, dataset: str, photo: Path) -> None:
    code = """
    seen = []
    client.images.upload(dataset, path, filename="other.jpg", progress=lambda *at: seen.append(at))
    return seen
    """
    size = photo.stat().st_size
    assert sdk.run(code, dataset=dataset, path=photo)[-1] == [size, size]


def test_a_name_that_is_taken_is_a_conflict(sdk: Sdk, dataset: str, photo: Path) -> None:
    upload(sdk, dataset, photo)
    error = sdk.fails(UPLOAD, dataset=dataset, path=photo, folder="/")
    assert (error["type"], error["status_code"]) == ("ConflictError", 409)
    assert error["response"]["error"]["code"] == "image_exists"
    upload(sdk, dataset, photo, "/elsewhere")


def test_heic_becomes_png(sdk: Sdk, dataset: str, tmp_path: Path) -> None:
    import pillow_heif

    path = tmp_path / "a.heic"
    picture = Image.open(io.BytesIO(jpeg(seed=3)))
    pillow_heif.from_pillow(picture).save(path)
    image = upload(sdk, dataset, path)
    assert image["filename"] == "a.png"
    data = downloaded(sdk, image["id"])
    assert (data[:8], len(data)) == (b"\x89PNG\r\n\x1a\n", image["file_size"])
    assert Image.open(io.BytesIO(data)).size == picture.size
    assert sdk.fails(UPLOAD, dataset=dataset, path=path, folder="/")["type"] == "ConflictError"


def test_the_size_is_that_of_the_upright_picture(sdk: Sdk, dataset: str, tmp_path: Path) -> None:
    path, exif = tmp_path / "turned.jpg", Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(path, exif=exif)
    image = upload(sdk, dataset, path)
    assert (image["width"], image["height"]) == (40, 60)


@pytest.mark.parametrize(
    ("name", "data", "status", "code"),
    [
        ("note.jpg", b"this is no picture", 422, "invalid_image"),
        ("cut.jpg", jpeg(seed=1)[:200], 422, "truncated_image"),
        ("empty.jpg", b"", 422, "empty_file"),
        ("a?b.jpg", jpeg(seed=1), 422, "invalid_name"),
    ],
)
def test_files_that_are_refused(
    sdk: Sdk, dataset: str, tmp_path: Path, name: str, data: bytes, status: int, code: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    error = sdk.fails(UPLOAD, dataset=dataset, path=path, folder="/")
    assert (error["status_code"], error["response"]["error"]["code"]) == (status, code)
    listed = sdk.run("return client.datasets.get_by_id(dataset)", dataset=dataset)
    assert listed["image_count"] == 0


def test_a_file_over_the_limit(sdk: Sdk, dataset: str, tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(50 * 1024 * 1024 + 1)
    error = sdk.fails(UPLOAD, dataset=dataset, path=path, folder="/")
    assert (error["type"], error["status_code"]) == ("ApiError", 413)


def test_the_sdk_knows_the_type_of_no_text(sdk: Sdk, dataset: str, tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("x")
    assert sdk.fails(UPLOAD, dataset=dataset, path=path, folder="/")["type"] == "ValueError"
    code = 'client.images.upload(dataset, path, content_type="image/jpeg")'
    error = sdk.fails(code, dataset=dataset, path=path)
    assert (error["type"], error["status_code"]) == ("ApiError", 415)


def test_who_may_upload(sdk: Sdk, dataset: str, photo: Path) -> None:
    error = sdk.as_("viewer").fails(UPLOAD, dataset=dataset, path=photo, folder="/")
    assert (error["type"], error["status_code"]) == ("ForbiddenError", 403)
    assert sdk.as_("elsewhere").fails(UPLOAD, dataset=dataset, path=photo, folder="/")["status_code"] == 404
    image = upload(sdk.as_("member"), dataset, photo)
    assert sdk.as_("viewer").run("return client.images.get(image)", image=image["id"])["id"] == image["id"]
    for code in ("return client.images.get(image)", DOWNLOAD, "client.images.delete(image)"):
        error = sdk.as_("elsewhere").fails(code, image=image["id"])
        assert (error["type"], error["status_code"]) == ("NotFoundError", 404)


def test_delete_and_back(sdk: Sdk, studio: Studio, sdk_server: Server, dataset: str, photo: Path) -> None:
    image = upload(sdk, dataset, photo)["id"]
    assert sdk.run("return client.images.delete(image)", image=image) is None
    assert sdk.fails("client.images.get(image)", image=image)["status_code"] == 404
    assert sdk.fails("client.images.delete(image)", image=image)["status_code"] == 404
    owner = studio.keys.authenticate(sdk_server.keys["owner"])
    name = studio.datasets.name_of(owner, dataset)
    assert studio.batch.update(owner, name, [image], archived=False).processed == 1
    assert sdk.run("return client.images.get(image)", image=image)["id"] == image


def test_delete_for_good(sdk: Sdk, studio: Studio, dataset: str, photo: Path, tmp_path: Path) -> None:
    """From the bin and past it; the bytes go."""
    other = tmp_path / "other.jpg"
    other.write_bytes(jpeg(seed=77))
    first, second = upload(sdk, dataset, photo)["id"], upload(sdk, dataset, other)["id"]
    sdk.run("client.images.delete(image)", image=first)
    for image in (first, second):
        sdk.run("client.images.delete(image, permanent=True)", image=image)
        assert sdk.fails("client.images.get(image)", image=image)["status_code"] == 404
        assert sdk.fails("client.images.delete(image, permanent=True)", image=image)["status_code"] == 404
    studio.recycle_bin.sweep()
    assert not studio.blobs.exists(hashlib.sha256(other.read_bytes()).hexdigest())


def test_a_member_deletes_only_its_own(sdk: Sdk, dataset: str, photo: Path) -> None:
    theirs = upload(sdk, dataset, photo)["id"]
    member = sdk.as_("member")
    for permanent in (False, True):
        code = "client.images.delete(image, permanent=permanent)"
        error = member.fails(code, image=theirs, permanent=permanent)
        assert (error["type"], error["response"]["error"]["code"]) == ("ForbiddenError", "not_your_own")
        own = upload(member, dataset, photo, "/mine")["id"]
        member.run(code, image=own, permanent=permanent)


class Wire:
    """What the SDK does not do by itself."""

    def __init__(self, server: Server) -> None:
        self.http = httpx.Client(base_url=server.url, headers={"X-API-Key": server.keys["owner"]})

    def link(self, dataset: str, filename: str = "a.jpg", **given: Any) -> dict[str, Any]:
        body = {"dataset_id": dataset, "filename": filename, **given}
        response = self.http.post(f"{API}/images/upload-url", json=body)
        assert response.status_code == 200, response.text
        made: dict[str, Any] = response.json()
        return made

    def register(self, dataset: str, link: dict[str, Any], filename: str = "a.jpg", **given: Any) -> Any:
        form = {
            "dataset_id": dataset,
            "filename": filename,
            **{k: link[k] for k in ("gcs_bucket", "gcs_path", "gcs_uri")},
            "image_width": "",
            "image_height": "",
        }
        return self.http.post(f"{API}/images/register", data=form, **given)


@pytest.fixture
def wire(sdk_server: Server) -> Any:
    made = Wire(sdk_server)
    yield made
    made.http.close()


def test_a_retried_register_is_one_image(wire: Wire, dataset: str) -> None:
    link = wire.link(dataset)
    httpx.put(link["upload_url"], content=jpeg(seed=1))
    headers = {"Idempotency-Key": clock.new_id()}
    first = wire.register(dataset, link, headers=headers)
    again = wire.register(dataset, link, headers=headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    # With another key the name is taken, which a client counts as skipped.
    assert wire.register(dataset, link).json()["error"]["code"] == "image_exists"


def test_what_was_not_put_is_not_registered(wire: Wire, dataset: str) -> None:
    link = wire.link(dataset)
    refused = wire.register(dataset, link)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "upload_not_found")


def test_a_refused_register_can_be_mended(wire: Wire, dataset: str) -> None:
    link = wire.link(dataset)
    httpx.put(link["upload_url"], content=jpeg(seed=1)[:100])
    assert wire.register(dataset, link).status_code == 422
    httpx.put(link["upload_url"], content=jpeg(seed=1))
    assert wire.register(dataset, link).status_code == 200


def test_another_organizations_upload(wire: Wire, sdk_server: Server, dataset: str) -> None:
    link = wire.link(dataset)
    httpx.put(link["upload_url"], content=jpeg(seed=1))
    wire.http.headers["X-API-Key"] = sdk_server.elsewhere
    project = wire.http.post(f"{API}/projects/", json={"name": clock.new_id()}).json()["project"]
    assert wire.register(project["id"], link).status_code == 404
    assert wire.register(dataset, link).status_code == 404


def test_an_etag_saves_the_bytes(wire: Wire, sdk: Sdk, dataset: str, photo: Path) -> None:
    image = upload(sdk, dataset, photo)["id"]
    whole = wire.http.get(f"{API}/images/{image}")
    assert whole.headers["Content-Length"] == str(photo.stat().st_size)
    assert whole.headers["Content-Type"] == "image/jpeg"
    assert "attachment" in whole.headers["Content-Disposition"]
    none = wire.http.get(f"{API}/images/{image}", headers={"If-None-Match": whole.headers["ETag"]})
    assert (none.status_code, none.content) == (304, b"")


def test_a_large_picture_is_streamed(wire: Wire, sdk: Sdk, dataset: str, tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "large.png"
    noise = np.random.default_rng(1).integers(0, 255, (1000, 1200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    image = upload(sdk, dataset, path)
    assert image["file_size"] > 3_000_000
    assert downloaded(sdk, image["id"]) == path.read_bytes()


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"folder_path": "/a#b"}, 422),
        ({"filename": "a.exe"}, 415),
        ({"content_type": "video/mp4"}, 415),
        ({"dataset_id": "nonsense"}, 404),
        ({"unknown": 1}, 422),
    ],
)
def test_links_that_are_not_given(wire: Wire, dataset: str, given: dict[str, Any], status: int) -> None:
    body = {"dataset_id": dataset, "filename": "a.jpg", **given}
    response = wire.http.post(f"{API}/images/upload-url", json=body)
    assert response.status_code == status, response.text

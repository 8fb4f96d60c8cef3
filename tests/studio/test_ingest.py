"""One image: every format, its upright size, its name and its place."""

from __future__ import annotations

from typing import Any

import pytest
from support.uploads import places

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.ingest import MAX_FILE_BYTES
from tintype_studio.errors import Conflict, InvalidInput, TooLarge
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio

KINDS = {
    "jpg": "JPEG",
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
    "bmp": "BMP",
    "tif": "TIFF",
    "tiff": "TIFF",
    "gif": "GIF",
    "heic": "HEIF",
    "heif": "HEIF",
}


@pytest.mark.parametrize("extension", [*KINDS, *(e.upper() for e in KINDS)])
def test_every_supported_extension_is_taken(
    studio: Studio, owner: Principal, dataset: Dataset, picture: Any, extension: str
) -> None:
    data = picture(kind=KINDS[extension.lower()])
    sample = studio.ingest.add_image(owner, dataset, data=data, filename=f"a.{extension}")
    assert (sample.width, sample.height) == (24, 16)
    if extension.lower() in {"heic", "heif"}:
        assert (sample.filename, sample.mime_type) == ("a.png", "image/png")
        assert studio.samples.image_bytes(sample).startswith(b"\x89PNG")
    else:
        assert sample.filename == f"a.{extension}"
        assert studio.samples.image_bytes(sample) == data


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_upright_picture(
    studio: Studio, owner: Principal, dataset: Dataset, picture: Any, orientation: int
) -> None:
    data = picture(size=(40, 20), orientation=orientation)
    sample = studio.ingest.add_image(owner, dataset, data=data, filename="a.jpg")
    assert (sample.width, sample.height) == ((20, 40) if orientation >= 5 else (40, 20))
    assert studio.samples.image_bytes(sample) == data


def test_a_taken_name_is_a_conflict_and_overwrites_nothing(
    studio: Studio, owner: Principal, dataset: Dataset, picture: Any, check_counters: Any
) -> None:
    first = studio.ingest.add_image(owner, dataset, data=picture(1), filename="a.jpg")
    with pytest.raises(Conflict) as caught:
        studio.ingest.add_image(owner, dataset, data=picture(2), filename="a.jpg")
    assert caught.value.code == "image_exists"
    assert studio.samples.image_bytes(studio.samples.get(owner, first.id)) == picture(1)
    assert check_counters(studio, owner, dataset.name).image_count == 1


def test_one_name_may_stand_in_several_folders(
    studio: Studio, owner: Principal, dataset: Dataset, picture: Any
) -> None:
    for folder in ("/", "stop", "go/left"):
        studio.ingest.add_image(owner, dataset, data=picture(), filename="a.jpg", folder=folder)
    assert set(places(studio, dataset)) == {"/a.jpg", "/stop/a.jpg", "/go/left/a.jpg"}


def test_equal_pictures_share_their_bytes(
    studio: Studio, owner: Principal, dataset: Dataset, picture: Any
) -> None:
    one, two = (
        studio.ingest.add_image(owner, dataset, data=picture(), filename=name) for name in ("a.jpg", "b.jpg")
    )
    assert one.sha256 == two.sha256
    assert list(studio.blobs.digests()) == [one.sha256]


@pytest.mark.parametrize(
    "filename",
    [
        "a/b.jpg",
        "a%b.jpg",
        "a#b.jpg",
        "a?.jpg",
        "..",
        "",
        " .jpg ",
        "a\ud800.jpg",
        "a\n.jpg",
        "x" * 252 + ".jpg",
    ],
    ids=lambda n: ascii(n[:12]),
)
def test_a_bad_file_name_is_refused(
    studio: Studio, owner: Principal, dataset: Dataset, picture: Any, filename: str
) -> None:
    with pytest.raises(InvalidInput):
        studio.ingest.add_image(owner, dataset, data=picture(), filename=filename)
    assert places(studio, dataset) == {}


def test_a_file_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(
    studio: Studio, owner: Principal, dataset: Dataset, picture: Any
) -> None:
    data = picture().ljust(MAX_FILE_BYTES, b"\0")  # bytes behind the end of a JPEG are allowed
    assert studio.ingest.add_image(owner, dataset, data=data, filename="a.jpg").file_size == MAX_FILE_BYTES
    with pytest.raises(TooLarge) as caught:
        studio.ingest.add_image(owner, dataset, data=data + b"\0", filename="b.jpg")
    assert caught.value.code == "file_too_large"


def test_nothing_is_added_to_a_deleted_dataset(
    studio: Studio, owner: Principal, dataset: Dataset, picture: Any
) -> None:
    studio.datasets.delete(owner, dataset.name)
    with pytest.raises(Conflict) as caught:
        studio.ingest.add_image(owner, dataset, data=picture(), filename="a.jpg")
    assert caught.value.code == "dataset_deleted"

"""The search tools as an agent meets them: names of the seed, refusals, pictures, cut answers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.doors import serve, stop

from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.errors import InvalidInput, NotFound, TintypeError
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.identity.roles import Role
from tintype_tools.call import Outcome, Request

PHOTOS = Path(__file__).parents[2] / "server/tintype_server/demo_photos"
IMAGE_FIELDS = {
    *("id", "filename", "status", "annotation_count", "virtual_folder_path", "image_auto_tags"),
}


@dataclass
class Desk:
    """A workspace with the demo's photographs, each with a smaller copy."""

    runtime: Runtime
    keys: dict[Role, str]

    def ask(
        self, tool: str, role: Role = Role.VIEWER, budget: int | None = None, **arguments: Any
    ) -> Outcome:
        return self.runtime.dispatch(
            Request(
                tool=tool,
                arguments=arguments,
                api_key=self.keys[role],
                door="toolkit",
                files=everything(self.runtime.settings),
                max_response_tokens=budget,
            )
        )

    def refusal(self, tool: str, **arguments: Any) -> TintypeError:
        with pytest.raises(TintypeError) as caught:
            self.ask(tool, **arguments)
        return caught.value

    def image(self, filename: str) -> str:
        found = self.ask("get_dataset", name="photos", include_images=True).value["images"]
        return next(i["id"] for i in found if i["filename"] == filename)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    base = tmp_path_factory.mktemp("search")
    runtime = Runtime.open(Settings(home=base / "home"))
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    keys = {role: runtime.studio.keys.create(owner, name=role.value, role=role)[0] for role in Role}
    folder = base / "photos"
    for photo in PHOTOS.glob("*/*.jpg"):
        place = folder / photo.parent.name
        place.mkdir(parents=True, exist_ok=True)
        (place / photo.name).write_bytes(photo.read_bytes())
        small = Image.open(photo).convert("RGB")
        small.thumbnail((200, 200))
        small.save(place / f"{photo.stem}-small.jpg", quality=70)
    desk = Desk(runtime, keys)
    desk.ask("create_dataset", Role.MEMBER, name="photos")
    desk.ask("upload_dataset_from_folder", Role.MEMBER, dataset_name="photos", folder=str(folder))
    yield desk
    runtime.close()


def test_similar_images_have_the_fields_of_the_seed(desk: Desk) -> None:
    outcome = desk.ask("search_by_similarity", image_id=desk.image("cat.jpg"))
    assert set(outcome.value) == {"images", "count", "embedder"}
    assert outcome.value["count"] == len(outcome.value["images"]) == 1
    (image,) = outcome.value["images"]
    assert set(image) == IMAGE_FIELDS | {"similarity"}
    assert image["filename"] == "cat-small.jpg"
    assert image["virtual_folder_path"] == "/animals"
    assert set(image["image_auto_tags"]) >= {"objects", "scenes", "attributes"}
    assert 0.9 < image["similarity"] <= 1
    assert (outcome.credits, outcome.pictures) == (0, ())


def test_tagged_images_have_the_fields_of_the_seed(desk: Desk) -> None:
    outcome = desk.ask("search_by_tag", dataset_name="photos", attributes=["greyscale"], limit=3)
    assert (outcome.value["count"], outcome.value["total"]) == (3, 4)
    assert set(outcome.value["images"][0]) == IMAGE_FIELDS | {"project_id"}
    rest = desk.ask("search_by_tag", dataset_name="photos", attributes=["greyscale"], limit=3, offset=3)
    found = [i["filename"] for i in [*outcome.value["images"], *rest.value["images"]]]
    assert sorted(found) == ["cameraman-small.jpg", "cameraman.jpg", "coins-small.jpg", "coins.jpg"]


def test_annotated_objects_are_found(desk: Desk) -> None:
    box = {"id": "1", "name": "cup", "type": "bbox", "bounding_box": {"x": 5, "y": 5, "w": 50, "h": 40}}
    desk.ask("save_annotations", Role.MEMBER, image_uuid=desk.image("coffee.jpg"), annotations=[box])
    outcome = desk.ask("search_by_tag", dataset_name="photos", objects=["cup", "plate"])
    assert [i["filename"] for i in outcome.value["images"]] == ["coffee.jpg"]
    assert outcome.value["images"][0]["image_auto_tags"]["objects"] == ["cup"]
    assert outcome.value["images"][0]["annotation_count"] == 1


def test_groups_of_duplicates_suggest_which_to_keep(desk: Desk) -> None:
    outcome = desk.ask("find_duplicates", dataset_name="photos", limit=4)
    assert (outcome.value["count"], outcome.value["total"], outcome.value["spare"]) == (4, 6, 6)
    for group in outcome.value["groups"]:
        (other,) = group["duplicates"]
        assert other["filename"] == group["keep"]["filename"].replace(".jpg", "-small.jpg")
    rest = desk.ask("find_duplicates", dataset_name="photos", limit=4, offset=4).value["groups"]
    kept = {g["keep"]["id"] for g in [*outcome.value["groups"], *rest]}
    assert len(kept) == 6


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("search_by_tag", {"dataset_name": "photos", "attributes": ["landscape", "square", "portrait"]}),
        ("search_by_similarity", {"image_id": "cat.jpg", "folder_path": "/", "threshold": 0}),
        ("find_duplicates", {"dataset_name": "photos"}),
    ],
)
def test_a_contact_sheet_shows_what_was_found(desk: Desk, tool: str, arguments: dict[str, Any]) -> None:
    if "image_id" in arguments:
        arguments = {**arguments, "image_id": desk.image("cat.jpg")}
    outcome = desk.ask(tool, contact_sheet=True, **arguments)
    (picture,) = outcome.pictures
    sheet = Image.open(io.BytesIO(picture.data))
    assert (sheet.format, sheet.size) == ("JPEG", (picture.width, picture.height))
    # Something is drawn into every place: the dark paper is the least of it.
    pixels = np.asarray(sheet.convert("L")).astype(int)
    assert (abs(pixels - 25) > 20).mean() > 0.3


def test_nothing_found_has_no_sheet(desk: Desk) -> None:
    outcome = desk.ask("search_by_tag", dataset_name="photos", objects=["ghost"], contact_sheet=True)
    assert (outcome.value["images"], outcome.pictures) == ([], ())


def test_what_cannot_be_known_is_said(desk: Desk) -> None:
    value = desk.ask("search_by_tag", dataset_name="photos", scenes=["outdoor"]).value
    assert (value["count"], "scenes" in value["note"]) == (0, True)
    value = desk.ask("search_by_tag", dataset_name="photos", attributes=["crowded", "dark"]).value
    assert "'crowded'" in value["note"]
    assert "'dark'" not in value["note"]


def test_bad_arguments_have_one_clear_refusal(desk: Desk) -> None:
    error = desk.refusal("search_by_tag", dataset_name="photos")
    assert (error.code, error.status, isinstance(error, InvalidInput)) == ("no_tags", 422, True)
    assert "greyscale" in error.fix
    assert isinstance(desk.refusal("search_by_tag", dataset_name="nope", objects=["a"]), NotFound)
    assert isinstance(desk.refusal("search_by_similarity", image_id="nope"), NotFound)
    assert isinstance(desk.refusal("find_duplicates", dataset_name="nope"), NotFound)
    for tool, arguments in [
        ("search_by_tag", {"dataset_name": "photos", "objects": ["a"], "limit": 501}),
        ("search_by_tag", {"dataset_name": "photos", "objects": ["a"] * 101}),
        ("search_by_tag", {"objects": ["a"]}),
        ("search_by_similarity", {"image_id": "x", "threshold": 1.01}),
        ("search_by_similarity", {"image_id": "x", "limit": 0}),
        ("find_duplicates", {"dataset_name": "photos", "threshold": "very"}),
    ]:
        assert desk.refusal(tool, **arguments).code == "invalid_arguments"


@pytest.mark.parametrize("tag", ["", " ", "x" * 10_000, "'; DROP TABLE samples", "%", "道路"])
def test_odd_tags_find_nothing_and_break_nothing(desk: Desk, tag: str) -> None:
    for kind in ("objects", "scenes", "attributes"):
        value = desk.ask("search_by_tag", dataset_name="photos", **{kind: [tag]}).value
        assert (value["count"], value["total"]) == (0, 0)
        assert len(value.get("note", "")) < 500


def test_an_answer_over_the_budget_can_be_read_on(desk: Desk) -> None:
    arguments = {"image_id": desk.image("cat.jpg"), "folder_path": "/", "threshold": 0}
    whole = desk.ask("search_by_similarity", **arguments).value["images"]
    cut = desk.ask("search_by_similarity", budget=600, **arguments).value
    images, cuts = cut["images"], cut["_truncated"]["cuts"]
    assert 0 < len(images) < len(whole)
    while cuts:
        more = desk.ask("read_more", budget=600, cursor=cuts[0]["cursor"]).value
        images, cuts = images + more["items"], more.get("_truncated", {}).get("cuts")
    assert images == whole


@pytest.mark.slow
def test_a_server_indexes_after_the_upload(tmp_path: Path) -> None:
    """Through the real process: nobody searches, and the index is complete all the same."""
    import time

    import httpx

    process, url = serve(tmp_path / "home", "--root", str(PHOTOS.parent))
    try:
        key = saved_api_key(tmp_path / "home")
        assert key is not None

        def call(tool: str, **arguments: Any) -> dict[str, Any]:
            address = f"{url}/api/v1/developer/_dispatch/{tool}"
            response = httpx.post(address, json=arguments, headers={"X-API-Key": key}, timeout=30)
            response.raise_for_status()
            return dict(response.json())

        call("create_dataset", name="photos")
        call("upload_dataset_from_folder", dataset_name="photos", folder=str(PHOTOS))
        runtime = Runtime.open(Settings(home=tmp_path / "home"))
        try:
            deadline = time.monotonic() + 30
            while runtime.studio.search.indexer.missing():
                assert time.monotonic() < deadline
                time.sleep(0.2)
        finally:
            runtime.close()
        assert call("search_by_tag", dataset_name="photos", attributes=["greyscale"])["count"] == 2
    finally:
        stop(process)

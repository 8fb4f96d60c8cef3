"""Search over real photographs: what is found, what follows changes, and what is never shown."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from obstore.exceptions import GenericError
from PIL import Image

from tintype_studio import clock
from tintype_studio.errors import InvalidInput, NotFound, TintypeError, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.search import service
from tintype_studio.search.duplicates import Candidate, group_duplicates
from tintype_studio.search.tag_search import Wanted
from tintype_studio.storage.search_tables import search_entries, search_tags, search_vectors
from tintype_studio.studio import Studio
from tintype_studio.vision.fingerprints import LENGTH


def names(found: Any) -> list[str]:
    return [hit.sample.filename for hit in found.hits]


def by(gallery: Any, **wanted: list[str]) -> list[str]:
    found = gallery.studio.search.by_tags(gallery.owner, gallery.dataset, Wanted(**wanted))
    assert found.total == len(found.hits)
    return names(found)


def similar(gallery: Any, filename: str, **options: Any) -> Any:
    return gallery.studio.search.similar(gallery.owner, gallery.image(filename).id, **options)


def count(studio: Studio, table: sa.Table) -> int:
    with studio.database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


# Similarity


def test_copies_of_a_photograph_are_the_nearest(photographed: Any, photos: dict[str, Any]) -> None:
    for name in photos:
        found = similar(photographed, f"{name}.jpg", folder="/", threshold=0)
        assert {n.rsplit(".", 1)[0] for n in names(found)[:2]} == {f"{name}-0", f"{name}-1"}
        assert len(found.hits) == 3 * len(photos) - 1
        scores = [hit.similarity for hit in found.hits]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= s <= 1 for s in scores)
        assert scores[1] > 0.8 > scores[2]


def test_the_scope_is_the_folder_of_the_image_unless_told_otherwise(photographed: Any) -> None:
    found = similar(photographed, "cat.jpg", threshold=0)
    assert {hit.sample.folder for hit in found.hits} == {"/cat"}
    assert len(found.hits) == 2
    photographed.add(np.zeros((40, 60, 3), np.uint8), "in.png", "/cat/night", kind="PNG")
    photographed.add(np.zeros((40, 60, 3), np.uint8), "beside.png", "/cat2", kind="PNG")
    photographed.add(np.zeros((40, 60, 3), np.uint8), "other.png", "/Cat/night", kind="PNG")
    assert {h.sample.folder for h in similar(photographed, "cat.jpg", threshold=0).hits} == {
        "/cat",
        "/cat/night",
    }
    elsewhere = similar(photographed, "cat.jpg", threshold=0, folder="/coins")
    assert {h.sample.folder for h in elsewhere.hits} == {"/coins"}
    assert similar(photographed, "cat.jpg", threshold=0, folder="/nowhere").hits == []


def test_a_threshold_leaves_out_what_is_below_it(photographed: Any) -> None:
    everything = similar(photographed, "coffee.jpg", folder="/", threshold=0)
    for threshold in (0.2, 0.6, 0.9, 1.0):
        found = similar(photographed, "coffee.jpg", folder="/", threshold=threshold)
        assert names(found) == [h.sample.filename for h in everything.hits if h.similarity >= threshold]


def test_deleted_images_never_appear_and_come_back_by_undo(photographed: Any) -> None:
    studio, who = photographed.studio, replace(photographed.owner, call_id=clock.new_id())
    assert "cat-0.jpg" in names(similar(photographed, "cat.jpg"))
    studio.samples.delete(who, photographed.image("cat-0.jpg").id)
    assert "cat-0.jpg" not in names(similar(photographed, "cat.jpg"))
    assert "cat-0.jpg" not in by(photographed, attributes=["landscape", "portrait", "square"])
    groups = studio.search.duplicates(photographed.dataset, "near").groups
    assert "cat-0.jpg" not in {h.sample.filename for keep, others in groups for h in (keep, *others)}
    studio.undo.call(replace(who, call_id=clock.new_id()), who.call_id)
    assert "cat-0.jpg" in names(similar(photographed, "cat.jpg"))


def test_a_bin_full_of_near_images_hides_none_of_the_living(gallery: Any, photos: dict[str, Any]) -> None:
    gallery.add(photos["cat"], "cat.jpg")
    gone = [gallery.add(photos["cat"], f"gone{i}.jpg", quality=40 + i) for i in range(service._SPARE + 12)]
    gallery.add(photos["astronaut"], "far.jpg")
    for sample in gone:
        gallery.studio.samples.delete(gallery.owner, sample.id)
    assert names(similar(gallery, "cat.jpg", threshold=0, limit=1)) == ["far.jpg"]


def test_purged_images_leave_nothing_in_the_index(photographed: Any) -> None:
    studio = photographed.studio
    similar(photographed, "cat.jpg")
    before = count(studio, search_vectors)
    studio.samples.delete(photographed.owner, photographed.image("cat-0.jpg").id)
    studio.recycle_bin.purge(photographed.owner)
    assert count(studio, search_vectors) == before - 1
    assert count(studio, search_entries) == before - 1
    # Its row id is used again, for a picture that looks like nothing before.
    photographed.add(np.full((50, 50, 3), 200, np.uint8), "plain.png", "/cat", kind="PNG")
    assert names(similar(photographed, "cat.jpg")) == ["cat-1.jpg"]


def test_another_organization_sees_nothing(photographed: Any, stranger: Principal) -> None:
    studio, image = photographed.studio, photographed.image("cat.jpg")
    with pytest.raises(NotFound):
        studio.search.similar(stranger, image.id)
    found = studio.search.by_tags(stranger, None, Wanted(attributes=["landscape"]))
    assert (found.hits, found.total, found.not_indexed) == ([], 0, 0)


@pytest.mark.parametrize("unknown", ["00000000-0000-4000-8000-000000000000", "", "x" * 1000])
def test_an_unknown_image_is_not_found(photographed: Any, unknown: str) -> None:
    with pytest.raises(NotFound) as caught:
        photographed.studio.search.similar(photographed.owner, unknown)
    assert caught.value.code == "image_not_found"


def test_an_image_that_cannot_be_decoded_has_no_descriptor_and_is_not_tried_again(
    photographed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = photographed.studio
    broken = photographed.image("cat.jpg")
    whole = studio.blobs.get
    monkeypatch.setattr(studio.blobs, "get", lambda d: whole(d)[:3000] if d == broken.sha256 else whole(d))
    with pytest.raises(InvalidInput) as caught:
        studio.search.similar(photographed.owner, broken.id)
    assert (caught.value.code, "cat.jpg" in caught.value.message) == ("no_descriptor", True)
    assert studio.search.indexer.catch_up() == 17
    assert studio.search.indexer.missing() == 0
    found = similar(photographed, "cat-0.jpg", threshold=0, folder="/")
    assert "cat.jpg" not in names(found)
    assert len(found.hits) == 16


@pytest.mark.parametrize("problem", [Unavailable("no network"), GenericError("no network"), OSError()])
def test_bytes_that_cannot_be_had_just_now_are_tried_again(
    photographed: Any, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    studio = photographed.studio
    away, whole = photographed.image("cat.jpg").sha256, studio.blobs.get

    def get(digest: str) -> bytes:
        if digest == away:
            raise problem
        return whole(digest)

    monkeypatch.setattr(studio.blobs, "get", get)
    with pytest.raises(Unavailable):
        similar(photographed, "cat.jpg")
    assert similar(photographed, "cat-0.jpg", threshold=0).not_indexed == 1
    monkeypatch.undo()
    assert "cat.jpg" in names(similar(photographed, "cat-0.jpg"))


# Tags


def test_attributes_come_from_the_picture(gallery: Any, photos: dict[str, Any]) -> None:
    cat = photos["cat"]
    gallery.add(cat, "plain.jpg")
    gallery.add((cat * 0.2).astype(np.uint8), "night.jpg")
    gallery.add(photos["coins"], "grey.jpg")
    assert by(gallery, attributes=["dark"]) == ["night.jpg"]
    assert by(gallery, attributes=["Grayscale"]) == ["grey.jpg"]
    assert by(gallery, attributes=["dark", "greyscale"]) == ["night.jpg", "grey.jpg"]
    assert by(gallery, attributes=["crowded"]) == []


def test_lists_are_and_their_tags_are_or(gallery: Any, photos: dict[str, Any], boxes: Any) -> None:
    for name, pixels in photos.items():
        sample = gallery.add(pixels, f"{name}.jpg")
        gallery.studio.documents.save(gallery.owner, sample.id, boxes(1, name) + boxes(1, "thing"))
    assert by(gallery, objects=["cat", "coins"]) == ["cat.jpg", "coins.jpg"]
    assert by(gallery, objects=["CAT"]) == ["cat.jpg"]
    assert by(gallery, objects=["cat", "coins"], attributes=["greyscale"]) == ["coins.jpg"]
    assert len(by(gallery, objects=["thing"])) == len(photos)
    assert by(gallery, objects=["thing"], scenes=["outdoor"]) == []
    assert by(gallery, objects=["ca"]) == []


def test_objects_follow_saves_undo_and_deletes(gallery: Any, photos: dict[str, Any], boxes: Any) -> None:
    studio = gallery.studio
    sample = gallery.add(photos["cat"], "cat.jpg")

    def acts() -> Principal:
        return replace(gallery.owner, call_id=clock.new_id())

    first, second, third = acts(), acts(), acts()
    studio.documents.save(first, sample.id, boxes(2, "cat"))
    assert by(gallery, objects=["cat"]) == ["cat.jpg"]
    studio.documents.save(second, sample.id, boxes(1, "dog"))
    assert (by(gallery, objects=["cat"]), by(gallery, objects=["dog"])) == ([], ["cat.jpg"])
    studio.documents.save(third, sample.id, [])
    assert by(gallery, objects=["cat", "dog"]) == []
    studio.undo.call(acts(), third.call_id)
    assert by(gallery, objects=["dog"]) == ["cat.jpg"]
    studio.undo.call(acts(), second.call_id)
    assert (by(gallery, objects=["cat"]), by(gallery, objects=["dog"])) == (["cat.jpg"], [])
    deleted = acts()
    studio.samples.delete(deleted, sample.id)
    assert by(gallery, objects=["cat"]) == []
    studio.undo.call(acts(), deleted.call_id)
    assert by(gallery, objects=["cat"]) == ["cat.jpg"]


def test_every_image_carries_its_tags(gallery: Any, photos: dict[str, Any], boxes: Any) -> None:
    sample = gallery.add(photos["coins"], "coins.jpg")
    gallery.studio.documents.save(gallery.owner, sample.id, boxes(3, "coin") + boxes(1, "a"))
    found = gallery.studio.search.by_tags(gallery.owner, gallery.dataset, Wanted(objects=["coin"]))
    assert found.hits[0].tags.objects == ["a", "coin"]
    assert found.hits[0].project_id is not None
    found = gallery.studio.search.by_tags(gallery.owner, gallery.dataset, Wanted(attributes=["greyscale"]))
    assert {"greyscale", "landscape"} <= set(found.hits[0].tags.attributes)


def test_pages_meet_without_gap_or_repetition(photographed: Any) -> None:
    wanted = Wanted(attributes=["landscape", "portrait", "square"])
    studio, seen = photographed.studio, []
    for offset in range(0, 20, 5):
        found = studio.search.by_tags(
            photographed.owner, photographed.dataset, wanted, limit=5, offset=offset
        )
        assert found.total == 18
        seen += names(found)
    assert len(seen) == len(set(seen)) == 18


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(objects=[], scenes=[], attributes=[])])
def test_no_tag_at_all_is_refused(gallery: Any, wanted: Wanted) -> None:
    with pytest.raises(InvalidInput) as caught:
        gallery.studio.search.by_tags(gallery.owner, gallery.dataset, wanted)
    assert (caught.value.code, caught.value.status) == ("no_tags", 422)


def test_a_search_of_all_datasets_sees_only_living_ones(
    gallery: Any, photos: dict[str, Any], studio: Studio, owner: Principal
) -> None:
    gallery.add(photos["cat"], "cat.jpg")
    other = studio.datasets.create(owner, name="other")
    studio.ingest.add_image(owner, other, data=_png(photos["cat"]), filename="cat.png")
    wanted = Wanted(attributes=["landscape"])
    assert names(studio.search.by_tags(owner, None, wanted)) == ["cat.jpg", "cat.png"]
    studio.datasets.delete(owner, "other")
    assert names(studio.search.by_tags(owner, None, wanted)) == ["cat.jpg"]


def _png(pixels: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


# Near-duplicates


def test_each_photograph_is_one_group_with_the_original_kept(
    gallery: Any, photos: dict[str, Any], copied: Callable[..., Any]
) -> None:
    for name, pixels in photos.items():
        gallery.add(pixels, f"{name}.jpg")
        for number, quality in enumerate((50, 70)):
            gallery.add(pixels[::2, ::2], f"{name}-{number}.jpg", quality=quality)
    found = gallery.studio.search.duplicates(gallery.dataset, "near")
    assert (found.total, found.spare, found.not_indexed) == (len(photos), 2 * len(photos), 0)
    for keep, others in found.groups:
        name = keep.sample.filename.removesuffix(".jpg")
        assert {h.sample.filename for h in others} == {f"{name}-0.jpg", f"{name}-1.jpg"}
        assert all(0.6 < h.similarity <= 1 for h in others)


def test_an_annotated_copy_is_kept_before_a_larger_one(
    gallery: Any, photos: dict[str, Any], boxes: Any
) -> None:
    gallery.add(photos["cat"], "large.jpg")
    small = gallery.add(photos["cat"][::2, ::2], "small.jpg")
    (group,) = gallery.studio.search.duplicates(gallery.dataset, "near").groups
    assert group[0].sample.filename == "large.jpg"
    gallery.studio.documents.save(gallery.owner, small.id, boxes(1))
    (group,) = gallery.studio.search.duplicates(gallery.dataset, "near").groups
    assert group[0].sample.filename == "small.jpg"


def test_plain_pictures_of_different_colours_are_no_duplicates(gallery: Any) -> None:
    for name, colour in {"red": (220, 30, 30), "blue": (30, 30, 220), "white": (255,) * 3}.items():
        gallery.add(np.full((60, 80, 3), colour, np.uint8), f"{name}.png", kind="PNG")
    assert gallery.studio.search.duplicates(gallery.dataset, "loose").groups == []
    gallery.add(np.full((90, 120, 3), (220, 30, 30), np.uint8), "red2.png", kind="PNG")
    (group,) = gallery.studio.search.duplicates(gallery.dataset, "same").groups
    assert {group[0].sample.filename, group[1][0].sample.filename} == {"red.png", "red2.png"}


def test_groups_come_in_pages(gallery: Any, photos: dict[str, Any]) -> None:
    for name, pixels in photos.items():
        for quality in (50, 90):
            gallery.add(pixels, f"{name}{quality}.jpg", quality=quality)
    search = gallery.studio.search
    kept = [
        search.duplicates(gallery.dataset, "near", limit=1, offset=i).groups[0][0].sample.filename
        for i in range(len(photos))
    ]
    assert len(set(kept)) == len(photos)
    assert search.duplicates(gallery.dataset, "near", limit=1, offset=len(photos)).groups == []


def test_groups_are_those_of_a_plain_comparison_of_all_pairs() -> None:
    random = np.random.default_rng(4)
    base = random.integers(0, 256, (40, LENGTH), dtype=np.uint8)
    base[:, 32:] = 0
    images = []
    for number in range(700):
        bits = np.unpackbits(base[number % 40, :32])
        flipped = random.choice(256, int(random.integers(0, 60)), replace=False)
        bits[flipped] ^= 1
        print_ = np.packbits(bits).tobytes() + base[number % 40, 32:].tobytes()
        images.append(Candidate(number, print_, int(random.integers(3)), int(random.integers(3))))
    groups = group_duplicates(images, "near")
    assert len(groups) > 10

    order = sorted(images, key=lambda i: (-i.annotations, -i.pixels, i.row_id))
    expected, taken = {}, set()
    for i, one in enumerate(order):
        if one.row_id in taken:
            continue
        near = {
            other.row_id: distance
            for other in order[i + 1 :]
            if other.row_id not in taken and (distance := _distance(one.fingerprint, other.fingerprint)) <= 48
        }
        taken |= near.keys() | ({one.row_id} if near else set())
        if near:
            expected[one.row_id] = near
    assert {g.keep: dict(zip(g.others, g.bits, strict=True)) for g in groups} == expected
    sizes = [len(g.others) for g in groups]
    assert sizes == sorted(sizes, reverse=True)


def _distance(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one[:32], "big") ^ int.from_bytes(other[:32], "big")).bit_count()


def test_comparing_can_be_stopped_and_says_how_far_it_is() -> None:
    images = [Candidate(i, bytes(LENGTH), 0, 0) for i in range(600)]
    seen: list[tuple[int, int]] = []
    group_duplicates(images, "near", lambda done, total: seen.append((done, total)))
    assert seen == [(0, 600), (256, 600), (512, 600), (600, 600)]

    def stop(done: int, _total: int) -> None:
        if done:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        group_duplicates(images, "near", stop)


def test_nothing_of_a_search_is_a_change(photographed: Any) -> None:
    """A search may fill the index, and nothing else."""
    studio = photographed.studio
    own = {"search_entries", "search_tags", "search_vectors", "search_versions"}

    def rest() -> dict[str, list[Any]]:
        with studio.database.read() as connection:
            return {
                t.name: [tuple(r) for r in connection.execute(sa.select(t))]
                for t in search_tags.metadata.sorted_tables
                if t.name not in own
            }

    before = rest()
    similar(photographed, "cat.jpg")
    by(photographed, attributes=["dark"])
    studio.search.duplicates(photographed.dataset, "near")
    assert rest() == before


def test_without_weights_similarity_says_what_is_missing_and_tags_go_on(
    photographed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = photographed.studio
    monkeypatch.setattr(studio.search.indexer, "_model", "/nowhere/siglip")
    with pytest.raises(Unavailable) as caught:
        similar(photographed, "cat.jpg")
    assert caught.value.code in {"weights_missing", "extra_missing"}
    assert "TINTYPE_EMBEDDER_MODEL" in caught.value.fix
    assert "/nowhere" not in caught.value.message + caught.value.fix
    assert by(photographed, attributes=["greyscale"])
    assert studio.search.duplicates(photographed.dataset, "loose").total
    assert count(studio, search_vectors) == 0
    # Once there is an embedder, what lacks a vector is missing again.
    monkeypatch.setattr(studio.search.indexer, "_model", None)
    monkeypatch.setattr(studio.search.indexer, "_failure", None)
    assert studio.search.indexer.missing() == 18
    assert len(similar(photographed, "cat.jpg").hits) == 2


def test_a_full_disk_keeps_nobody_from_what_is_indexed(
    photographed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = photographed.studio
    before = similar(photographed, "cat.jpg")
    photographed.add(np.zeros((40, 60, 3), np.uint8), "late.png", "/cat", kind="PNG")

    def full(_looks: object) -> None:
        raise Unavailable("The disk is full.", code="storage_failed")

    monkeypatch.setattr(studio.search.indexer, "_write", full)
    found = similar(photographed, "cat.jpg")
    assert (names(found), found.not_indexed) == (names(before), 1)


def test_refusals_are_ours(photographed: Any) -> None:
    with pytest.raises(TintypeError) as caught:
        similar(photographed, "cat.jpg", folder="/a/../b")
    assert caught.value.code == "invalid_name"

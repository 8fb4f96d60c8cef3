"""Scene tags in the index: named beside the vector, by what is set now, and never with a second forward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from tintype_studio.errors import Unavailable
from tintype_studio.extras import install_command
from tintype_studio.search import looks
from tintype_studio.search.tag_search import Wanted
from tintype_studio.storage.search_tables import search_entries, search_tags
from tintype_studio.vision.scenes import SCENES, THRESHOLD, known_scene, scene_tags, sentences
from tintype_studio.vision.tags import ATTRIBUTES, Tag


class Namer:
    """Mean brightness; what is brighter than half is named ``bright_scene``, all else ``dark_scene``."""

    dimensions, side, scenes_problem = 2, 64, None

    def __init__(self, name: str, bright_scene: str, dark_scene: str) -> None:
        self.name = f"{name}@1"
        self.scenes_name: str | None = name
        self._scenes = bright_scene, dark_scene
        self.embedded = 0

    def embed(self, pictures: list[Any]) -> Any:
        self.embedded += len(pictures)
        made = np.array([[p.mean() / 255, 0.5] for p in pictures], np.float32)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    def scenes(self, vectors: Any) -> list[list[Tag]]:
        return [[Tag(self._scenes[0 if v[0] > v[1] else 1], 0.8)] for v in vectors]


class BrokenNamer(Namer):
    """Finds out with the first vector that it cannot."""

    def scenes(self, vectors: Any) -> list[list[Tag]]:
        self.scenes_name, self.scenes_problem = None, "its text tower cannot be read"  # type: ignore[assignment]
        return [[] for _ in vectors]


@pytest.fixture
def pair(gallery: Any, photos: dict[str, Any]) -> Any:
    gallery.add((photos["cat"] * 0.2).astype(np.uint8), "dim.jpg")
    gallery.add(np.maximum(photos["cat"], 200), "light.jpg")
    return gallery


def use(gallery: Any, embedder: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(gallery.studio.search.indexer, "_embedder", embedder)
    return embedder


def by_scene(gallery: Any, *scenes: str) -> list[str]:
    found = gallery.studio.search.by_tags(gallery.owner, gallery.dataset, Wanted(scenes=scenes))
    return [hit.sample.filename for hit in found.hits]


def tags(gallery: Any, filename: str) -> Any:
    wanted = Wanted(attributes=["landscape", "portrait", "square"])
    found = gallery.studio.search.by_tags(gallery.owner, gallery.dataset, wanted)
    (hit,) = [hit for hit in found.hits if hit.sample.filename == filename]
    return hit.tags


def stored(gallery: Any) -> dict[str, int]:
    query = sa.select(search_tags.c.category, sa.func.count()).group_by(search_tags.c.category)
    with gallery.studio.database.read() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def test_scenes_are_named_beside_the_vector(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    namer = use(pair, Namer("a", "beach", "night scene"), monkeypatch)
    assert by_scene(pair, "beach") == ["light.jpg"]
    assert by_scene(pair, "Night_Scene") == ["dim.jpg"]
    assert by_scene(pair, "night", "beach") == ["dim.jpg", "light.jpg"]
    assert by_scene(pair, "forest") == []
    assert namer.embedded == 2
    found = tags(pair, "light.jpg")
    assert (found.scenes, found.confidence["beach"]) == (["beach"], 0.8)
    assert "bright" in found.attributes


def test_another_model_names_them_anew_and_going_back_needs_no_picture(
    pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = use(pair, Namer("a", "beach", "night scene"), monkeypatch)
    assert by_scene(pair, "beach") == ["light.jpg"]
    attributes = stored(pair)["attribute"]
    use(pair, Namer("b", "desert", "forest"), monkeypatch)
    assert pair.studio.search.indexer.missing() == 2
    assert (by_scene(pair, "beach"), by_scene(pair, "forest")) == ([], ["dim.jpg"])
    assert stored(pair) == {"attribute": attributes, "scene": 2}
    use(pair, first, monkeypatch)
    monkeypatch.setattr(looks, "look_at", lambda *_: pytest.fail("the picture was looked at again"))
    assert by_scene(pair, "beach") == ["light.jpg"]
    assert first.embedded == 2
    assert stored(pair) == {"attribute": attributes, "scene": 2}
    assert pair.studio.search.indexer.missing() == 0


def test_a_new_vocabulary_names_scenes_by_the_vectors_that_are_there(
    pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    namer = use(pair, Namer("a", "beach", "night scene"), monkeypatch)
    assert pair.studio.search.indexer.catch_up() == 2
    other = Namer("a", "coast", "street")
    other.scenes_name = "other-words"
    use(pair, other, monkeypatch)
    assert by_scene(pair, "coast") == ["light.jpg"]
    assert (namer.embedded, other.embedded) == (2, 0)


def test_without_a_namer_no_image_has_scenes_and_nothing_is_lost(
    pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = pair.studio.search.indexer.embedder
    assert by_scene(pair, "beach") == []
    assert pair.studio.search.indexer.missing() == 0
    namer = use(pair, Namer("a", "beach", "night scene"), monkeypatch)
    assert by_scene(pair, "beach") == ["light.jpg"]
    use(pair, plain, monkeypatch)
    assert (by_scene(pair, "beach"), tags(pair, "light.jpg").scenes) == ([], [])
    assert "beach" not in tags(pair, "light.jpg").confidence
    assert pair.studio.search.indexer.missing() == 0
    use(pair, namer, monkeypatch)
    assert pair.studio.search.indexer.missing() == 0
    assert by_scene(pair, "beach") == ["light.jpg"]


def test_a_namer_that_turns_out_unable_keeps_vectors_coming_and_says_so(
    pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(pair, BrokenNamer("a", "beach", "night scene"), monkeypatch)
    assert by_scene(pair, "beach") == []
    indexer = pair.studio.search.indexer
    assert (indexer.missing(), indexer.embedder.embedded) == (0, 2)
    assert "text tower cannot be read" in pair.studio.search.about_scenes(["beach"])
    use(pair, Namer("a", "beach", "night scene"), monkeypatch)
    assert by_scene(pair, "beach") == ["light.jpg"]


def test_a_file_that_is_no_picture_is_not_tried_again(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    use(pair, Namer("a", "beach", "night scene"), monkeypatch)
    digest, whole = pair.image("dim.jpg").sha256, pair.studio.blobs.get
    monkeypatch.setattr(
        pair.studio.blobs, "get", lambda wanted: b"no picture" if wanted == digest else whole(wanted)
    )
    indexer = pair.studio.search.indexer
    assert (indexer.catch_up(), indexer.missing()) == (2, 0)
    with pair.studio.database.read() as connection:
        stamps = set(connection.execute(sa.select(search_entries.c.analyzer)).scalars())
    assert stamps == {looks.analyzer("a")}


def test_what_is_said_about_scenes(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said = pair.studio.search.about_scenes(["beach"])
    assert "TINTYPE_EMBEDDER_MODEL" in said
    assert install_command("embed") in said
    use(pair, Namer("a", "beach", "night scene"), monkeypatch)
    assert pair.studio.search.about_scenes(["beach", "Car Park"]) is None
    said = pair.studio.search.about_scenes(["beach", "outer space"])
    assert "'outer space'" in said
    assert "'beach'" not in said
    assert "parking lot" in said
    broken = Unavailable("The model cannot be used: no folder.", code="weights_missing", fix="Put it there.")
    use(pair, None, monkeypatch)
    monkeypatch.setattr(pair.studio.search.indexer, "_failure", (float("inf"), broken))
    assert "no folder. Put it there." in pair.studio.search.about_scenes(["beach"])


def test_the_vocabulary_is_in_order() -> None:
    assert 40 <= len(SCENES) <= 90
    assert len(set(sentences())) == len(SCENES)
    assert not set(SCENES) & set(ATTRIBUTES)
    for name, sentence in zip(SCENES, sentences(), strict=True):
        assert known_scene(name) == name
        assert len(name) <= 60
        assert sentence == sentence.lower()
        assert sentence.replace(" ", "").isalpha()


def test_scenes_come_likeliest_first_and_above_the_threshold_only() -> None:
    chances = dict.fromkeys(SCENES, THRESHOLD / 2)
    chances |= {"forest": 0.9, "river": THRESHOLD, "fog": 0.95}
    found = scene_tags(list(chances.values()))
    assert found == [Tag("fog", 0.95), Tag("forest", 0.9), Tag("river", THRESHOLD)]
    assert len(scene_tags([1.0] * len(SCENES))) == 5

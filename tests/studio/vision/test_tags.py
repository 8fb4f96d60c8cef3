"""Attributes, descriptor and fingerprint on real photographs and on pictures made to be hard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tintype_studio.vision.descriptors import LayoutEmbedder
from tintype_studio.vision.embedders import Embedder
from tintype_studio.vision.fingerprints import BITS, LENGTH, colours_agree, fingerprint, unpack
from tintype_studio.vision.tags import ATTRIBUTES, attribute_tags, known_attribute

PHOTOS = Path(__file__).parents[3] / "server/tintype_server/demo_photos"
Pixels = NDArray[np.uint8]


def photo(name: str) -> Pixels:
    image = Image.open(next(PHOTOS.glob(f"*/{name}.jpg"))).convert("RGB")
    image.thumbnail((480, 480))
    return np.asarray(image)


NAMES = sorted(p.stem for p in PHOTOS.glob("*/*.jpg"))


def tags(pixels: Any, size: tuple[int, int] | None = None) -> dict[str, float]:
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    found = attribute_tags(pixels, size or (pixels.shape[1], pixels.shape[0]))
    assert all(0.5 <= tag.confidence <= 1 for tag in found)
    assert [t.name for t in found] == [n for n in ATTRIBUTES if n in {t.name for t in found}]
    return {tag.name: tag.confidence for tag in found}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_done_to_a_photograph_is_told(name: str) -> None:
    pixels = photo(name).astype(np.float32)
    assert "dark" in tags(pixels * 0.25)
    assert "bright" in tags(pixels * 0.3 + 175)
    assert "low_contrast" in tags((pixels - 128) * 0.2 + 128)
    assert "overexposed" in tags(pixels * 3 + 60)
    grey = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    assert "greyscale" in tags(grey)
    assert "underexposed" in tags((pixels - 120) * 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_an_ordinary_photograph_is_called_nothing_that_it_is_not(name: str) -> None:
    found = tags(photo(name))
    assert not {"bright", "low_contrast", "overexposed", "blurry"} & set(found)
    assert ("greyscale" in found) == (name in {"cameraman", "coins"})


@pytest.mark.parametrize("name", [n for n in NAMES if n != "retina"])
def test_strong_blur_is_seen_with_a_confidence_that_grows(name: str) -> None:
    pixels = photo(name)
    blurred = [tags(cv2.GaussianBlur(pixels, (0, 0), sigma)).get("blurry", 0.0) for sigma in (0.6, 2.5, 5)]
    assert blurred[0] == 0
    assert 0.5 <= blurred[1] <= blurred[2]


def test_one_sharp_thing_before_a_blurred_ground_is_not_blurry() -> None:
    pixels = cv2.GaussianBlur(photo("coffee"), (0, 0), 6)
    sharp = photo("coffee")
    high, wide = sharp.shape[:2]
    pixels[high // 4 : 3 * high // 4, wide // 4 : 3 * wide // 4] = sharp[
        high // 4 : 3 * high // 4, wide // 4 : 3 * wide // 4
    ]
    assert "blurry" not in tags(pixels)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1920, 1080), {"landscape"}),
        ((1080, 1920), {"portrait"}),
        ((1000, 1000), {"square"}),
        ((1000, 985), {"square"}),
        ((1000, 970), {"landscape"}),
        ((255, 100), {"landscape", "small"}),
        ((256, 100), {"landscape"}),
        ((1, 1), {"square", "small"}),
    ],
)
def test_shape_is_that_of_the_full_picture(size: tuple[int, int], expected: set[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3))
    assert set(tags(noise, size)) == expected


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (2, 2), (31, 31), (3, 480)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_plain_and_tiny_pictures_are_no_trouble(shape: tuple[int, int], value: int) -> None:
    pixels = np.full((*shape, 3), value, np.uint8)
    found = tags(pixels)
    assert "blurry" not in found
    assert {"greyscale", "low_contrast"} <= set(found)
    assert len(fingerprint(pixels)) == LENGTH
    vector = LayoutEmbedder().embed([pixels])[0]
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-4)


def test_attributes_are_found_under_the_words_people_use() -> None:
    assert known_attribute(" Low-Contrast ") == "low_contrast"
    assert known_attribute("low contrast") == "low_contrast"
    assert known_attribute("Grayscale") == "greyscale"
    assert known_attribute("low-light") == "dark"
    assert known_attribute("crowded") == "crowded"
    assert all(known_attribute(name) == name for name in ATTRIBUTES)


def test_the_descriptor_is_an_embedder_of_at_most_640_numbers() -> None:
    embedder = LayoutEmbedder()
    assert isinstance(embedder, Embedder)
    made = embedder.embed([photo(name) for name in NAMES])
    assert made.shape == (len(NAMES), embedder.dimensions)
    assert made.dtype == np.float32
    assert embedder.dimensions <= 640
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    assert embedder.embed([]).shape == (0, embedder.dimensions)
    assert (embedder.embed([photo("cat")]) == made[NAMES.index("cat")]).all()


def test_half_of_a_photograph_is_nearer_to_it_than_any_other() -> None:
    embedder = LayoutEmbedder()
    whole = embedder.embed([photo(name) for name in NAMES])
    rng = np.random.default_rng(0)
    right = 0
    for number, name in enumerate(NAMES):
        pixels = photo(name)
        high, wide = pixels.shape[:2]
        for _ in range(4):
            top, left = int(rng.integers(high * 3 // 10)), int(rng.integers(wide * 3 // 10))
            part = pixels[top : top + high * 7 // 10, left : left + wide * 7 // 10]
            lit = np.clip(part * rng.uniform(0.8, 1.2), 0, 255).astype(np.uint8)
            right += int((whole @ embedder.embed([lit])[0]).argmax()) == number
    assert right >= 0.9 * 4 * len(NAMES)


def test_fingerprints_of_copies_differ_little_and_of_others_much() -> None:
    prints, copies = [], []
    for name in NAMES:
        pixels = photo(name)
        prints.append(fingerprint(pixels))
        small = cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        coded = cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)
        copies.append(fingerprint(np.asarray(coded, np.uint8)))
    bits, colours = unpack(prints)
    other_bits, other_colours = unpack(copies)
    distance = (BITS - bits @ other_bits.T) / 2
    agree = colours_agree(colours[:, None], other_colours[None])
    assert np.diag(distance).max() <= 24
    assert np.diag(agree).all()
    apart = distance + np.diag([BITS] * len(NAMES))
    assert apart.min() > 72

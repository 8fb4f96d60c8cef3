"""Real photographs in a dataset, and changed copies of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.samples import Sample
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio

PHOTOS = Path(__file__).parents[3] / "server/tintype_server/demo_photos"
Pixels = NDArray[np.uint8]


def encoded(pixels: Pixels, *, kind: str = "JPEG", quality: int = 85) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **({"quality": quality} if kind == "JPEG" else {}))
    return out.getvalue()


def copy_of(pixels: Pixels, seed: int) -> Pixels:
    """The same picture: cropped by up to 3 %, scaled, relit by up to 15 %."""
    rng = np.random.default_rng(seed)
    height, width = pixels.shape[:2]
    top, left = (int(n * rng.uniform(0, 0.015)) for n in (height, width))
    cut = pixels[top : height - top, left : width - left]
    scale = rng.uniform(0.4, 0.95)
    small = cv2.resize(cut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.clip(small * rng.uniform(0.87, 1.15), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def photos() -> dict[str, Pixels]:
    """The demo's photographs by name."""
    return {p.stem: np.asarray(Image.open(p).convert("RGB")) for p in sorted(PHOTOS.glob("*/*.jpg"))}


@dataclass
class Gallery:
    """Adds pictures to a dataset."""

    studio: Studio
    owner: Principal
    dataset: Dataset

    def add(self, pixels: Pixels, filename: str, folder: str = "/", **options: object) -> Sample:
        return self.add_file(encoded(pixels, **options), filename, folder)  # type: ignore[arg-type]

    def add_file(self, data: bytes, filename: str, folder: str = "/") -> Sample:
        return self.studio.ingest.add_image(
            self.owner, self.dataset, data=data, filename=filename, folder=folder
        )

    def image(self, filename: str) -> Sample:
        return self.studio.samples.find(self.dataset, filename)


@pytest.fixture
def gallery(studio: Studio, owner: Principal, dataset: Dataset) -> Gallery:
    return Gallery(studio, owner, dataset)


@pytest.fixture
def photographed(gallery: Gallery, photos: dict[str, Pixels]) -> Gallery:
    """Each photograph in a folder of its own, with two changed copies."""
    for name, pixels in photos.items():
        gallery.add(pixels, f"{name}.jpg", f"/{name}")
        for number in range(2):
            copy = copy_of(pixels, seed=number)
            gallery.add(copy, f"{name}-{number}.jpg", f"/{name}", quality=60)
    return gallery


@pytest.fixture
def copied() -> Callable[[Pixels, int], Pixels]:
    return copy_of


@pytest.fixture
def as_file() -> Callable[..., bytes]:
    return encoded

"""Pictures made for the tests: one file per variant of every accepted format."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

pillow_heif.register_heif_opener()  # for writing; what we test does not need it

WIDTH, HEIGHT = 64, 48


def make_photo(width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> Image.Image:
    """Smooth colour with some noise, so that every encoder has something to do."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(128, 50, (height // 8 + 2, width // 8 + 2, 3)).clip(0, 255).astype(np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    noisy = np.asarray(smooth, np.float32) + rng.normal(0, 4, (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def encode_image(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def encode_frames(kind: str) -> bytes:
    """Three different frames in one file."""
    first, *rest = (make_photo(seed=seed) for seed in range(3))
    return encode_image(first, kind, save_all=True, append_images=rest)


class Variants(dict[str, tuple[str, bytes]]):
    """Variant name -> (format we should report, file)."""

    def __repr__(self) -> str:
        return f"<{len(self)} files>"  # the whole would drown every failure report


def make_variants() -> Variants:
    photo = make_photo()
    ramp = np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)
    grey16 = Image.fromarray((ramp * 20).astype(np.uint16))
    grey32 = Image.fromarray(ramp.astype(np.float32))
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        "jpeg-baseline": encode_image(photo, "JPEG"),
        "jpeg-exif": encode_image(photo, "JPEG", exif=exif.tobytes()),
        "jpeg-progressive": encode_image(photo, "JPEG", progressive=True, comment=b"not the end: \xff\xd9"),
        "jpeg-grey": encode_image(photo.convert("L"), "JPEG"),
        "jpeg-cmyk": encode_image(photo.convert("CMYK"), "JPEG"),
        "jpeg-restarts": encode_image(photo, "JPEG", restart_marker_blocks=2),
        "jpeg-mpo": encode_frames("MPO"),
        "png-rgb": encode_image(photo, "PNG"),
        "png-alpha": encode_image(photo.convert("RGBA"), "PNG"),
        "png-grey16": encode_image(grey16, "PNG"),
        "png-palette": encode_image(photo.quantize(16), "PNG", transparency=3),
        "png-animated": encode_frames("PNG"),
        "webp-lossy": encode_image(photo, "WEBP"),
        "webp-exif": encode_image(photo, "WEBP", exif=exif.tobytes()),
        "webp-lossless": encode_image(photo, "WEBP", lossless=True),
        "webp-animated": encode_frames("WEBP"),
        "bmp-rgb": encode_image(photo, "BMP"),
        "bmp-palette": encode_image(photo.quantize(16), "BMP"),
        "bmp-bilevel": encode_image(photo.convert("1"), "BMP"),
        "gif-still": encode_image(photo, "GIF"),
        "gif-animated": encode_frames("GIF"),
        "tiff-raw": encode_image(photo, "TIFF"),
        "tiff-exif": encode_image(photo, "TIFF", exif=exif.tobytes()),
        "tiff-lzw": encode_image(photo, "TIFF", compression="tiff_lzw"),
        "tiff-jpeg": encode_image(photo, "TIFF", compression="jpeg"),
        "tiff-big": encode_image(photo, "TIFF", big_tiff=True),
        "tiff-pages": encode_frames("TIFF"),
        "tiff-grey16": encode_image(grey16, "TIFF"),
        "tiff-float": encode_image(grey32, "TIFF"),
        "tiff-lab": encode_image(Image.merge("LAB", photo.split()), "TIFF"),
        "heic-still": encode_image(photo, "HEIF"),
    }
    return Variants({name: (name.split("-")[0], data) for name, data in files.items()})


VARIANTS = make_variants()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "variant" in metafunc.fixturenames:
        metafunc.parametrize("variant", sorted(VARIANTS))


@pytest.fixture(scope="session")
def variants() -> Variants:
    return VARIANTS


@pytest.fixture(scope="session")
def photo() -> Any:
    return make_photo


@pytest.fixture(scope="session")
def encode() -> Any:
    return encode_image

"""Pixels: upright, RGB, and the ones that were stored."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from tintype_studio.errors import InvalidImage, TooLarge
from tintype_studio.media.decode import decode_upright, decode_with_info, fit_size, heic_to_png
from tintype_studio.media.inspect import inspect_image
from tintype_studio.media.thumbnails import thumbnail


def pixels(image):
    return np.asarray(image).astype(int)


def test_every_variant_decodes_to_rgb_of_the_stated_size(variants, variant):
    data = variants[variant][1]
    image, info = decode_with_info(data)
    assert (image.mode, image.size) == ("RGB", (info.width, info.height))
    assert info == inspect_image(data, "a.jpg")
    assert pixels(image).std() > 5


# How an upright picture is stored, by EXIF orientation.
STORED = {
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright, 2).transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "TIFF-LZW", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_come_out_upright(photo, encode, kind, orientation):
    upright = np.asarray(photo(40, 24))
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    if kind == "TIFF-LZW":
        kind, options = "TIFF", {"compression": "tiff_lzw"}
    image = decode_upright(encode(stored, kind, exif=exif.tobytes(), **options))
    assert image.size == (40, 24)
    assert abs(pixels(image) - upright).max() <= (8 if kind == "JPEG" else 0)


def test_orientation_is_applied_once_when_scaled(photo, encode):
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = photo(200, 400)
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    image = decode_upright(encode(stored, "JPEG", exif=exif.tobytes(), quality=95), fit=(100, 100))
    assert image.size == (50, 100)
    expected = upright.resize((50, 100), Image.Resampling.LANCZOS)
    assert abs(pixels(image) - pixels(expected)).mean() < 3


def test_heic_round_trip(photo, encode):
    original = photo(96, 64)
    data = encode(original, "HEIF", quality=95)
    assert abs(pixels(decode_upright(data)) - pixels(original)).mean() < 6
    png = heic_to_png(data)
    info = inspect_image(png, "a.png")
    assert (info.format, info.width, info.height) == ("png", 96, 64)
    assert pixels(Image.open(io.BytesIO(png))).tolist() == pixels(decode_upright(data)).tolist()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_upright_whatever_its_rotation(photo, encode, orientation):
    upright = photo(96, 64)
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(upright))))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.info["exif"] = exif.tobytes()
    data = encode(stored, "HEIF", quality=95)
    info = inspect_image(data, "a.heic")
    assert (info.width, info.height, info.orientation) == (96, 64, 1)
    png = Image.open(io.BytesIO(heic_to_png(data)))
    assert png.getexif().get(0x0112, 1) == 1
    assert abs(pixels(png) - pixels(upright)).mean() < 6


def test_heic_keeps_its_colour_profile_and_drops_its_position(photo, encode):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = photo(64, 64)
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    image.info["exif"] = exif.tobytes()
    image.info["icc_profile"] = profile
    png = Image.open(io.BytesIO(heic_to_png(encode(image, "HEIF"))))
    assert png.info["icc_profile"] == profile
    assert "exif" not in png.info


def test_only_heic_is_converted(variants):
    with pytest.raises(InvalidImage, match="JPEG"):
        heic_to_png(variants["jpeg-baseline"][1])


def test_transparency_lies_over_white(encode):
    half = Image.new("RGBA", (8, 8), (255, 0, 0, 128))
    half.putpixel((0, 0), (10, 20, 30, 0))
    image = decode_upright(encode(half, "PNG"))
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert image.getpixel((5, 5)) == pytest.approx((255, 127, 127), abs=1)


def test_transparent_palette_grey_and_colour_key_lie_over_white(encode):
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 200, 10, 10])
    palette.putpixel((0, 0), 0)
    grey = Image.new("LA", (4, 4), (90, 255))
    grey.putpixel((0, 0), (0, 0))
    keyed = Image.new("RGB", (4, 4), (1, 2, 3))
    keyed.putpixel((0, 0), (9, 9, 9))
    files = [
        (encode(palette, "PNG", transparency=0), (200, 10, 10)),
        (encode(palette, "GIF", transparency=0), (200, 10, 10)),
        (encode(grey, "PNG"), (90, 90, 90)),
        (encode(keyed, "PNG", transparency=(9, 9, 9)), (1, 2, 3)),
    ]
    for data, rest in files:
        image = decode_upright(data)
        assert image.getpixel((0, 0)) == (255, 255, 255)
        assert image.getpixel((2, 2)) == rest


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_16_bits_is_stretched_not_clipped(encode, kind):
    values = np.linspace(1000, 5000, 256, dtype=np.uint16).reshape(16, 16)
    grey = pixels(decode_upright(encode(Image.fromarray(values), kind)))[..., 0]
    assert (grey.min(), grey.max()) == (0, 255)
    assert (np.diff(grey.ravel()) >= 0).all()
    assert abs(grey.ravel() - np.arange(256)).max() <= 1


def test_flat_grey_of_16_bits_is_read_against_its_full_range(encode):
    flat = Image.fromarray(np.full((4, 4), 32768, np.uint16))
    assert decode_upright(encode(flat, "PNG")).getpixel((0, 0)) == (128, 128, 128)


def test_floats_are_stretched_and_gaps_become_black(encode):
    values = np.linspace(-2.5, 7.5, 16, dtype=np.float32).reshape(4, 4)
    values[0, 0], values[3, 2] = np.nan, np.inf
    grey = pixels(decode_upright(encode(Image.fromarray(values), "TIFF")))[..., 0]
    assert grey[0, 0] == 0
    assert grey[3, 2] == 255
    assert 100 < grey[1, 3] < 155


def test_integers_of_32_bits_are_stretched(encode):
    values = np.array([[-100_000, 0], [50_000, 100_000]], np.int32)
    grey = pixels(decode_upright(encode(Image.fromarray(values), "TIFF")))[..., 0]
    assert grey.tolist() == [[0, 128], [191, 255]]


def test_lab_and_cmyk_have_their_colours(encode):
    red = Image.new("RGB", (16, 16), (200, 30, 30))
    lab = ImageCms.profileToProfile(
        red, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert decode_upright(encode(lab, "TIFF")).getpixel((8, 8)) == pytest.approx((200, 30, 30), abs=4)
    cmyk = decode_upright(encode(red.convert("CMYK"), "JPEG", quality=95))
    assert cmyk.getpixel((8, 8)) == pytest.approx((200, 30, 30), abs=8)


def test_first_frame_of_an_animation(photo, encode):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    for kind, options in [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})]:
        data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert decode_upright(data).getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "HEIF"])
def test_fit_scales_down_and_keeps_the_shape(photo, encode, kind):
    image = decode_upright(encode(photo(800, 400), kind), fit=(100, 100))
    assert image.size == (100, 50)


def test_fit_never_enlarges(photo, encode):
    assert decode_upright(encode(photo(40, 24), "JPEG"), fit=(500, 500)).size == (40, 24)


@pytest.mark.parametrize(
    ("size", "fit", "expected"),
    [
        ((4000, 3000), (256, 256), (256, 192)),
        ((3000, 4000), (256, 256), (192, 256)),
        ((10_000, 3), (100, 100), (100, 1)),
        ((50, 40), (100, 100), (50, 40)),
        ((100, 100), (50, 25), (25, 25)),
    ],
)
def test_fit_size(size, fit, expected):
    assert fit_size(*size, fit) == expected


def test_a_drafted_jpeg_shows_the_same_picture(photo, encode):
    original = photo(1600, 1200)
    image = decode_upright(encode(original, "JPEG", quality=95), fit=(200, 200))
    expected = original.resize((200, 150), Image.Resampling.LANCZOS)
    assert abs(pixels(image) - pixels(expected)).mean() < 2


def test_limits_hold_for_decoding(variants):
    with pytest.raises(TooLarge):
        decode_upright(variants["jpeg-baseline"][1], max_pixels=1000)
    with pytest.raises(TooLarge):
        heic_to_png(variants["heic-still"][1], max_pixels=1000)


def test_damage_behind_an_intact_structure_is_an_invalid_image(variants):
    data = bytearray(variants["webp-lossless"][1])
    data[40:400] = b"\xff" * 360
    assert inspect_image(bytes(data), "a.webp").width == 64
    with pytest.raises(InvalidImage):
        decode_upright(bytes(data))


@pytest.mark.parametrize("size", [1, 16, 256, 1000])
def test_thumbnail(photo, encode, size):
    data = thumbnail(encode(photo(600, 300), "PNG"), size)
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    assert image.size == fit_size(600, 300, (size, size))


def test_thumbnail_of_every_variant_is_a_whole_jpeg(variants, variant):
    info = inspect_image(thumbnail(variants[variant][1], 32), "t.jpg")
    assert (info.format, max(info.width, info.height), info.orientation) == ("jpeg", 32, 1)

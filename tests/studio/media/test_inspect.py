"""What `inspect_image` reports, accepts and refuses."""

from __future__ import annotations

import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from tintype_studio.errors import InvalidImage, TooLarge, UnsupportedFormat
from tintype_studio.media.inspect import SUPPORTED_EXTENSIONS, ImageInfo, inspect_image

MIME = {"heic": "image/heic", "tiff": "image/tiff"}


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with_size(width: int, height: int, *extra: bytes, behind: tuple[bytes, ...] = ()) -> bytes:
    """A complete, tiny PNG with correct checksums whose header claims any size."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(b"\0" * 64))
    return b"".join([b"\x89PNG\r\n\x1a\n", header, *extra, pixels, *behind, png_chunk(b"IEND", b"")])


def test_every_variant_is_described(variants, variant):
    kind, data = variants[variant]
    info = inspect_image(data, f"a.{kind}")
    turned = variant.endswith("-exif")
    several = variant.endswith(("-animated", "-pages"))
    assert info == ImageInfo(
        format=kind,
        mime_type=MIME.get(kind, f"image/{kind}"),
        width=48 if turned else 64,
        height=64 if turned else 48,
        orientation=6 if turned else 1,
        frames=3 if several else 1,
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_makes_the_size_upright(photo, encode, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    info = inspect_image(encode(photo(40, 24), kind, exif=exif.tobytes()), "a.jpg")
    assert info.orientation == orientation
    assert (info.width, info.height) == ((40, 24) if orientation < 5 else (24, 40))


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_orientation_out_of_range_counts_as_upright(photo, encode, value):
    exif = Image.Exif()
    exif[0x0112] = value
    info = inspect_image(encode(photo(40, 24), "JPEG", exif=exif.tobytes()), "a.jpg")
    assert (info.orientation, info.width) == (1, 40)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_broken_exif_counts_as_upright(photo, encode):
    data = encode(photo(40, 24), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7fgarbage")
    assert inspect_image(data, "a.jpg").orientation == 1


def test_png_exif_behind_the_pixels_is_found(photo, encode):
    exif = Image.Exif()
    exif[0x0112] = 8
    data = encode(photo(40, 24), "PNG")
    late = data[:-12] + png_chunk(b"eXIf", exif.tobytes()[6:]) + data[-12:]
    info = inspect_image(late, "a.png")
    assert (info.orientation, info.width, info.height) == (8, 24, 40)


@pytest.mark.parametrize("name", ["a.JPG", "x.y.JpEg", ".png", "folder/b.HEIF", "c:\\d\\e.Tif", "ü.webp"])
def test_the_content_decides_not_the_extension(photo, encode, name):
    info = inspect_image(encode(photo(), "PNG"), name)
    assert (info.format, info.mime_type) == ("png", "image/png")


@pytest.mark.parametrize(
    "name", ["a.svg", "a.pdf", "a.txt", "a.jpg.exe", "jpg", "", "a.", "a.avif", "x.jpg/y"]
)
def test_other_extensions_are_refused_before_the_content_is_read(name):
    with pytest.raises(UnsupportedFormat) as caught:
        inspect_image(b"", name)
    assert caught.value.details["supported_extensions"] == sorted(SUPPORTED_EXTENSIONS)


def test_messages_name_the_file_without_its_folder():
    with pytest.raises(UnsupportedFormat) as caught:
        inspect_image(b"", "/srv/private/photos/a.svg")
    assert "'a.svg'" in caught.value.message
    assert "private" not in str(caught.value.as_dict())


@pytest.mark.parametrize("kind", ["PPM", "JPEG2000", "ICO", "PCX", "DDS", "AVIF"])
def test_pictures_of_other_kinds_are_named_as_unsupported(photo, encode, kind):
    try:
        data = encode(photo(32, 32), kind)
    except (OSError, KeyError) as missing:
        pytest.skip(f"this Pillow does not write {kind}: {missing}")
    with pytest.raises(UnsupportedFormat):
        inspect_image(data, "a.jpg")


@pytest.mark.parametrize(
    "data",
    [
        b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
        b"\0\0\0\x20ftypmif1\0\0\0\0mif1avifmiaf" + b"\0" * 64,
    ],
)
def test_other_content_behind_a_good_extension_is_unsupported(data):
    with pytest.raises(UnsupportedFormat):
        inspect_image(data, "a.png")


@pytest.mark.parametrize(
    "data", [b"hello", b"\0" * 500, b"\xff\xd8", b"\x89PNG", b"RIFF\0\0\0\0WAVE", b"GIF"]
)
def test_bytes_that_are_no_picture(data):
    with pytest.raises(InvalidImage) as caught:
        inspect_image(data, "a.png")
    assert caught.value.code in {"invalid_image", "truncated_image"}


def test_empty_file():
    with pytest.raises(InvalidImage) as caught:
        inspect_image(b"", "a.png")
    assert caught.value.code == "empty_file"


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (0, 0)])
def test_a_picture_without_area_is_invalid(size):
    with pytest.raises(InvalidImage, match="no area"):
        inspect_image(png_with_size(*size), "a.png")


def test_jpeg_and_gif_and_bmp_without_area_are_invalid(variants):
    jpeg = bytearray(variants["jpeg-baseline"][1])
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 7] = b"\0\0"
    gif = bytearray(variants["gif-still"][1])
    gif[6:8] = b"\0\0"
    bmp = bytearray(variants["bmp-rgb"][1])
    bmp[18:22] = b"\0\0\0\0"
    for data in (jpeg, gif, bmp):
        with pytest.raises(InvalidImage, match="no area"):
            inspect_image(bytes(data), "a.jpg")


class TestBombs:
    def check(self, data: bytes, **options):
        with pytest.raises(TooLarge) as caught:
            inspect_image(data, "a.png", **options)
        assert caught.value.code == "decompression_bomb"

    def test_header_of_a_small_png(self):
        self.check(png_with_size(60_000, 60_000))

    def test_header_that_pillow_would_only_warn_about(self):
        self.check(png_with_size(10_000, 10_000), max_pixels=99_999_999)

    def test_size_is_checked_before_the_checksum(self, variants):
        data = bytearray(variants["png-rgb"][1])
        data[16:24] = struct.pack(">II", 60_000, 60_000)
        self.check(bytes(data))

    def test_every_format_keeps_the_limit(self, variants, variant):
        self.check(variants[variant][1], max_pixels=64 * 48 - 1)
        assert inspect_image(variants[variant][1], "a.png", max_pixels=64 * 48).width

    def test_tiff_tiles_larger_than_the_picture(self):
        entries = [(256, 3, 1, 8), (257, 3, 1, 8), (322, 4, 1, 1 << 20), (323, 4, 1, 1 << 20), (324, 4, 1, 8)]
        body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
        self.check(struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + body + b"\0" * 8)

    @pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
    def test_text_that_inflates_too_far(self, kind):
        chunk = png_chunk(kind, b"Comment\0\0" + zlib.compress(b"a" * (50 << 20), 9))
        assert len(chunk) < 100_000
        self.check(png_with_size(4, 4, chunk))
        self.check(png_with_size(4, 4, behind=(chunk,)))

    def test_international_text_that_inflates_too_far(self):
        body = b"Comment\0\1\0en\0Kommentar\0" + zlib.compress(b"a" * (50 << 20), 9)
        self.check(png_with_size(4, 4, png_chunk(b"iTXt", body)))

    def test_many_texts_that_inflate_too_far_together(self):
        chunk = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * (1 << 20), 9))
        self.check(png_with_size(4, 4, *[chunk] * 65))

    def test_nothing_of_pillows_global_state_changes_and_nothing_is_warned(self):
        before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.check(png_with_size(60_000, 60_000))
            assert inspect_image(png_with_size(12_000, 12_000), "a.png").width == 12_000
        assert not caught
        assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


def test_png_damage_is_found_by_checksum(variants):
    data = bytearray(variants["png-rgb"][1])
    data[data.index(b"IDAT") + 40] ^= 1
    with pytest.raises(InvalidImage, match="checksum") as caught:
        inspect_image(bytes(data), "a.png")
    assert caught.value.code == "invalid_image"


def test_tiff_directories_that_overlap_are_refused():
    """Two thousand directories of 20,000 entries each, laid over each other in one small file."""
    count, entries = 2000, 20_000
    start = 100
    first = [(256, 3, 1, 8), (257, 3, 1, 8), (273, 4, 1, 8), (279, 4, 1, 8)]
    data = bytearray(start + 12 * count + 12 * entries + 10)
    struct.pack_into("<2sHIH", data, 0, b"II", 42, 8, len(first))
    for index, entry in enumerate(first):
        struct.pack_into("<HHII", data, 10 + 12 * index, *entry)
    struct.pack_into("<I", data, 10 + 12 * len(first), start)
    for at in range(start, start + 12 * count, 12):
        struct.pack_into("<H", data, at, entries)
        struct.pack_into("<I", data, at + 2 + 12 * entries, at + 12)
    with pytest.raises(InvalidImage, match="overlap"):
        inspect_image(bytes(data), "a.tif")


def test_many_threads_get_the_same_answers(variants):
    jobs = [data for _, data in variants.values()] * 8
    expected = [inspect_image(data, "a.jpg") for data in jobs]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda data: inspect_image(data, "a.jpg"), jobs)) == expected


def test_importing_the_module_loads_no_image_library():
    code = (
        "import sys, tintype_studio.media.inspect, tintype_studio.media.draw\n"
        "print([m for m in ('PIL', 'numpy', 'cv2', 'pillow_heif') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_heif_library_is_loaded_only_for_heif(variants, tmp_path):
    png, heic = tmp_path / "a.png", tmp_path / "a.heic"
    png.write_bytes(variants["png-rgb"][1])
    heic.write_bytes(variants["heic-still"][1])
    code = (
        "import sys, pathlib\n"
        "from tintype_studio.media.inspect import inspect_image\n"
        "for name in sys.argv[1:]:\n"
        "    inspect_image(pathlib.Path(name).read_bytes(), name)\n"
        "    print('pillow_heif' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(png), str(heic)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "True"]

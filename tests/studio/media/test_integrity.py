"""Cut and damaged files: refused or read, never an error of another kind."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tintype_studio.errors import InvalidImage, TintypeError
from tintype_studio.media.decode import decode_upright
from tintype_studio.media.inspect import inspect_image

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow warns about damaged EXIF

LIMIT = 4_000_000

FUZZ = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(st.data())
@settings(FUZZ, max_examples=40)
def test_a_file_cut_anywhere_is_refused(variants, variant, data):
    kind, whole = variants[variant]
    # The writer pads the pages of a TIFF; the second picture of an MPO lies behind the end of the first.
    padding = 4 if variant == "tiff-pages" else 0
    if variant == "jpeg-mpo":
        whole = whole[: whole.index(b"\xff\xd9") + 2]
    kept = data.draw(st.integers(0, len(whole) - 1 - padding))
    with pytest.raises(InvalidImage) as caught:
        inspect_image(whole[:kept], f"a.{kind}")
    assert caught.value.code in {"truncated_image", "invalid_image", "empty_file"}


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9, 0.999])
def test_a_late_cut_is_called_a_cut(variants, variant, part):
    _, whole = variants[variant]
    if variant == "jpeg-mpo":
        whole = whole[: whole.index(b"\xff\xd9") + 2]
    kept = min(int(len(whole) * part), len(whole) - 5)
    with pytest.raises(InvalidImage) as caught:
        inspect_image(whole[:kept], "a.jpg")
    assert caught.value.code == "truncated_image"


@pytest.mark.parametrize("variant_kind", ["jpeg", "png", "webp", "bmp", "gif"])
def test_every_single_cut_is_refused(variants, variant_kind):
    for name, (kind, whole) in variants.items():
        if kind != variant_kind or name == "jpeg-mpo":
            continue
        for kept in range(len(whole)):
            with pytest.raises(InvalidImage):
                inspect_image(whole[:kept], "a.jpg")


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 4096, b"SEFH\x6a\0\0\0trailer of a phone", b"\xff\xd9" * 3])
@pytest.mark.parametrize("name", ["jpeg-baseline", "jpeg-progressive", "png-rgb", "webp-lossy", "gif-still"])
def test_bytes_behind_the_picture_are_tolerated(variants, name, tail):
    _, whole = variants[name]
    assert inspect_image(whole + tail, "a.jpg") == inspect_image(whole, "a.jpg")
    assert decode_upright(whole + tail).tobytes() == decode_upright(whole).tobytes()


def test_the_end_marker_of_an_embedded_thumbnail_does_not_count(variants, photo, encode):
    """A cut JPEG with a whole JPEG in its EXIF header still has no end."""
    inner = encode(photo(16, 16), "JPEG")
    whole = encode(photo(), "JPEG", exif=b"Exif\0\0" + inner)
    assert inspect_image(whole, "a.jpg").width == 64
    with pytest.raises(InvalidImage) as caught:
        inspect_image(whole[:-40], "a.jpg")
    assert caught.value.code == "truncated_image"


def test_an_end_marker_inside_a_comment_between_scans_does_not_count(variants):
    _, whole = variants["jpeg-progressive"]
    second_scan = whole.index(b"\xff\xda", whole.index(b"\xff\xda") + 2)
    comment = b"\xff\xfe\x00\x08..\xff\xd9.."
    spliced = whole[:second_scan] + comment + whole[second_scan:]
    assert inspect_image(spliced, "a.jpg").width == 64
    with pytest.raises(InvalidImage) as caught:
        inspect_image(spliced[:-30], "a.jpg")
    assert caught.value.code == "truncated_image"


@given(st.data())
@FUZZ
def test_damage_never_raises_anything_unexpected(variants, variant, data):
    _, whole = variants[variant]
    near = st.integers(0, min(len(whole), 200) - 1)
    position = st.one_of(near, st.integers(0, len(whole) - 1))
    changes = data.draw(st.lists(st.tuples(position, st.integers(0, 255)), min_size=1, max_size=12))
    changed = bytearray(whole)
    for at, value in changes:
        changed[at] = value
    size = None
    try:
        info = inspect_image(bytes(changed), "a.jpg", max_pixels=LIMIT)
        size = (info.width, info.height)
        assert info.width * info.height <= LIMIT
    except TintypeError:
        pass
    try:
        image = decode_upright(bytes(changed), max_pixels=LIMIT)
    except TintypeError:
        return
    assert (image.mode, image.size) == ("RGB", size)


@given(
    st.binary(max_size=400), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"])
)
@settings(FUZZ, max_examples=200)
def test_noise_is_never_a_picture(noise, magic):
    with pytest.raises(TintypeError):
        decode_upright(magic + noise, max_pixels=LIMIT)


@given(
    st.binary(max_size=400), st.sampled_from([b"II*\0", b"MM\0*", b"II+\0", b"RIFF", b"\0\0\0\x18ftypheic"])
)
@settings(FUZZ, max_examples=200)
def test_noise_behind_a_container_header_is_never_a_picture(noise, magic):
    with pytest.raises(TintypeError):
        inspect_image(magic + noise, "a.tif", max_pixels=LIMIT)

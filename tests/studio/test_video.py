"""Frames of videos: those that are shown at the asked times, upright, from good files and bad ones."""

from __future__ import annotations

import threading
from array import array
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.videos import HEIGHT, UNEVEN, WIDTH, clip, number, overwritten, write

from tintype_studio.errors import InvalidInput, NotFound, TooLarge, Unavailable, UnsupportedFormat
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio
from tintype_studio.video import choice as choice_module
from tintype_studio.video import probe as probe_module
from tintype_studio.video import service
from tintype_studio.video.choice import Span, choose
from tintype_studio.video.frames import frames, release, take
from tintype_studio.video.probe import probe


def shown(times: list[int], at: float) -> int:
    return max(n for n, time in enumerate(times) if time <= at * 1000 + 1)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize(
    "span", [Span(2.0), Span(1.0, 3.3, 9.1), Span(60.0, 2.0, 4.0), Span(5.0, max_frames=3)]
)
def test_what_is_shown_at_each_moment_is_taken_once(tmp_path: Path, name: str, span: Span) -> None:
    path = write(tmp_path / name, UNEVEN)
    start, end = span.start_seconds or 0.0, min(span.end_seconds or 99.0, UNEVEN[-1] / 1000)
    moments = [start + n / span.fps for n in range(1000) if start + n / span.fps < end]
    expected = list(dict.fromkeys(shown(UNEVEN, moment) for moment in moments))[: span.max_frames]
    found = [number(pixels) for _, pixels in frames(str(path), span)]
    # The last frame is shown for a while after its own time.
    assert found in (expected, [*expected, len(UNEVEN) - 1])


def test_a_turned_video_comes_upright(tmp_path: Path) -> None:
    path = write(tmp_path / "turned.mp4", UNEVEN[:10], rotation=90)
    info = probe(str(path))
    assert (info.width, info.height, info.frame_count, info.codec) == (HEIGHT, WIDTH, 10, "h264")
    _, pixels = next(frames(str(path), Span(1.0, 0.1)))
    # A quarter turn against the clock: what was left is at the bottom.
    assert number(np.rot90(pixels, -1)) == shown(UNEVEN[:10], 0.1)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_video_that_begins_late_is_as_long_as_it_shows(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [2000 + 40 * n for n in range(100)])
    assert probe(str(path)).duration_seconds == pytest.approx(4.0, abs=0.1)


def test_a_cut_off_video_gives_its_whole_frames_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", UNEVEN)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    choice = choose(str(path), Span(5.0))
    assert 0 < len(take(str(path), choice.frames)) <= len(choice.frames)
    assert "cut off" in choice.notes[0]


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    inner = write(tmp_path / "a.ts", UNEVEN[:5])
    path = tmp_path / "list.m3u8"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{inner}\n#EXT-X-ENDLIST\n")
    with pytest.raises(UnsupportedFormat):
        probe(str(path))


def test_a_video_without_its_end_is_damaged(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", UNEVEN)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(InvalidInput) as refused:
        probe(str(path))
    assert refused.value.code == "damaged_video"


@pytest.mark.parametrize("batch", [1, 8, 200])
@pytest.mark.parametrize("hole", [(60, 119), (35, 64)])
def test_an_earlier_frame_never_stands_for_a_damaged_one(
    tmp_path: Path, batch: int, hole: tuple[int, int]
) -> None:
    path = str(overwritten(write(tmp_path / "a.mp4", [100 * n for n in range(120)]), *hole))
    wanted = choose(path, Span(10.0)).frames
    assert [each.index for each in wanted] == list(range(120))
    taken = [each for start in range(0, 120, batch) for each in take(path, wanted[start : start + batch])]
    whole = {each.index for each in taken if number(np.asarray(Image.open(BytesIO(each.jpeg)))) == each.index}
    # A frame that a damaged one is needed for may come out wrong; but it is its own.
    assert {each.index for each in taken} - whole <= set(range(hole[1] + 1, 12 * (hole[1] // 12 + 1)))
    assert set(range(hole[0] - 2)) <= whole
    assert not whole & set(range(*hole))


@pytest.mark.parametrize(
    "span",
    [
        Span(1e-300),
        Span(1e-7),
        Span(0.0),
        Span(241.0),
        Span(float("nan")),
        Span(1.0, end_seconds=1e308),
        Span(1.0, start_seconds=float("inf")),
        Span(1.0, start_seconds=-1.0),
    ],
)
def test_absurd_spans_are_refused(tmp_path: Path, span: Span) -> None:
    with pytest.raises(InvalidInput) as refused:
        choose(str(clip(tmp_path)), span)
    assert refused.value.code == "invalid_span"


def test_the_ends_of_what_may_be_asked(tmp_path: Path) -> None:
    path = str(clip(tmp_path))
    assert len(choose(path, Span(0.001, 1e-320, 1e7)).frames) == 1
    assert len(choose(path, Span(240.0)).frames) == 40


def test_more_packets_than_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = clip(tmp_path, "a.h264")  # tells neither length nor count
    info = probe(str(bare))
    assert (info.frame_count, info.duration_seconds) == (40, pytest.approx(40 / info.native_fps))
    monkeypatch.setattr(choice_module, "MAX_PACKETS", 30)
    monkeypatch.setattr(probe_module, "MAX_PACKETS", 30)
    raw = str(bare)
    for deed in (lambda: probe(raw), lambda: choose(raw, Span(1.0))):
        with pytest.raises(TooLarge) as refused:
            deed()
        assert refused.value.code == "too_many_frames"
    # What tells its length and rate needs no counting, and a part of it may be taken.
    told = str(clip(tmp_path, "a.mkv"))
    info = probe(told)
    assert info.frame_count == round(info.duration_seconds * info.native_fps) > 30
    assert len(choose(told, Span(1.0, 0.0, 1.0)).frames) == 1


def test_times_of_packets_take_eight_bytes_each(tmp_path: Path) -> None:
    times = choice_module._in_order(array("q", [5, -3, 5, 2**40]))
    assert (list(times), times.typecode) == ([-3, 5, 2**40], "q")
    assert not choice_module._in_order(array("q"))


class _Slow:
    """Children that work on files named ``slow`` until they are let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def call(self, _function: str, path: str, **_how: Any) -> str:
        if "slow" in path:
            self.begun.set()
            assert self.go.wait(10)
        return path


def test_one_organizations_videos_hold_up_nobody_elses(
    studio: Studio, owner: Principal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = tmp_path / "slow.mp4", tmp_path / "quick.mp4"
    slow.touch()
    quick.touch()
    children = _Slow()
    monkeypatch.setattr(studio.videos, "_children", lambda: children)
    thread = threading.Thread(target=lambda: studio.videos.probe(owner, local=str(slow)))
    thread.start()
    try:
        assert children.begun.wait(10)
        other = replace(owner, organization_uuid="another")
        assert studio.videos.probe(other, local=str(quick)) == str(quick)
        monkeypatch.setattr(service, "PROBE_SECONDS", 0.2)
        with pytest.raises(Unavailable) as busy:
            studio.videos.probe(owner, local=str(quick))
        assert (busy.value.code, busy.value.retryable) == ("probes_busy", True)
        with pytest.raises(ZeroDivisionError):  # who waits can be stopped
            studio.videos.probe(owner, local=str(quick), check=lambda: 1 // 0)  # type: ignore[arg-type,return-value]
    finally:
        children.go.set()
        thread.join(10)
    assert studio.videos.probe(owner, local=str(quick)) == str(quick)


def test_a_link_put_where_a_video_was_is_not_followed(
    studio: Studio, owner: Principal, tmp_path: Path
) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    judged = clip(inside)
    clip(outside)
    with studio.videos.open(owner, None, str(judged)) as opened:
        assert opened == judged
    judged.unlink()
    judged.symlink_to(outside / judged.name)
    with pytest.raises(NotFound), studio.videos.open(owner, None, str(judged)):
        pass
    judged.unlink()
    inside.rmdir()
    inside.symlink_to(outside)
    with pytest.raises(NotFound), studio.videos.open(owner, None, str(judged)):
        pass


def test_a_batch_begun_ahead_is_taken_up_and_another_one_decoded_anew(tmp_path: Path) -> None:
    path = str(clip(tmp_path, seconds=6))
    wanted = choose(path, Span(5.0)).frames
    whole = [each.jpeg for each in take(path, wanted)]
    release()
    first = take(path, wanted[:4], wanted[4:8])
    second = take(path, wanted[4:8], wanted[8:12])
    other = take(path, wanted[9:11])
    assert [each.jpeg for each in (*first, *second)] == whole[:8]
    assert [each.jpeg for each in other] == whole[9:11]
    release()

"""Documents and pictures made to be expensive cost little, and can be stopped."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from tintype_studio.annotations.geometry import (
    Point,
    PolygonAnnotation,
    PolygonGeometry,
    PolylineAnnotation,
    PolylineGeometry,
)
from tintype_studio.media import fills
from tintype_studio.media.budget import PixelBudget
from tintype_studio.media.clipping import clip_path
from tintype_studio.media.decode import decode_upright
from tintype_studio.media.draw import draw_annotations, preview
from tintype_studio.media.fills import Area, paint_areas

WINDOW = (-100.0, -100.0, 300.0, 300.0)


class GoneError(Exception):
    """What a check raises here."""


def polygon(vertices, name="cat"):
    ring = [Point(x=x, y=y) for x, y in vertices]
    return PolygonAnnotation(id="p", name=name, polygon=PolygonGeometry(paths=[ring]))


def star(rng, reach, corners):
    return polygon(rng.uniform(-reach, reach, (corners, 2)).tolist())


def draw(annotations, size=(200, 200), **options):
    ground = Image.new("RGB", size, (100, 120, 140))
    given = {"colors": {"cat": "#ff0000"}, "scale": 1.0, "labels": False} | options
    return np.asarray(draw_annotations(ground, annotations, **given)).astype(int)


class TestClipping:
    def test_a_path_inside_is_itself(self):
        path = np.array([[0.0, 0.0], [200, 10], [50, 290]])
        assert clip_path(path, WINDOW, closed=True) is path

    @pytest.mark.parametrize("closed", [True, False])
    def test_a_path_beyond_one_side_is_nothing(self, closed):
        path = np.array([[-500.0, 0.0], [-200, 1000], [-101, 50]])
        assert clip_path(path, WINDOW, closed=closed).shape == (0, 2)

    def test_a_line_keeps_its_part_inside(self):
        path = np.array([[-1e6, -1e6], [1e6, 1e6]])
        assert clip_path(path, WINDOW, closed=False) == pytest.approx(np.array([[-100, -100], [300, 300]]))

    def test_an_open_path_is_not_closed(self):
        path = np.array([[0.0, 0.0], [900, 0], [900, 50], [50, 50]])
        clipped = clip_path(path, WINDOW, closed=False)
        assert clipped.tolist() == [[0, 0], [300, 0], [300, 50], [50, 50]]

    @pytest.mark.parametrize("seed", range(20))
    def test_what_is_inside_is_the_same_by_the_even_odd_rule(self, seed):
        rng = np.random.default_rng(seed)
        ring = rng.uniform(-2000, 2000, (9, 2))
        clipped = clip_path(ring, WINDOW, closed=True)
        assert len(clipped) == 0 or (clipped >= -100).all() & (clipped <= 300).all()
        spots = rng.uniform(-99, 299, (200, 2))
        assert [is_in(ring, at) for at in spots] == [is_in(clipped, at) for at in spots]


def is_in(ring, at):
    """The even-odd rule, by counting the edges to the right of a point."""
    crossings = 0
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if (y0 > at[1]) != (y1 > at[1]):
            crossings += at[0] < x0 + (at[1] - y0) * (x1 - x0) / (y1 - y0)
    return crossings % 2 == 1


@pytest.mark.parametrize("seed", range(8))
def test_what_is_cut_off_does_not_show(monkeypatch, seed):
    rng = np.random.default_rng(seed)
    path = [Point(x=x, y=y) for x, y in rng.uniform(-3000, 3000, (6, 2)).tolist()]
    line = PolylineAnnotation(id="l", name="dog", polyline=PolylineGeometry(path=path))
    shapes = [star(rng, 3000, 6), star(rng, 900, 5), line]
    clipped = draw(shapes)
    monkeypatch.setattr("tintype_studio.media.draw.clip_path", lambda path, *_, **__: path)
    whole = draw(shapes)
    differ = abs(clipped - whole).max(axis=2)
    # Ends of lines are rounded to a sixteenth of a pixel, which moves their soft rims a little.
    assert (differ > 0).mean() < 0.1
    assert (differ > 48).mean() < 0.002


def test_a_shape_that_only_surrounds_the_picture_has_no_tag():
    around = PolylineAnnotation(
        id="l",
        name="cat",
        polyline=PolylineGeometry(path=[Point(x=-1e5, y=-1e6), Point(x=-9e5, y=1e6), Point(x=1e6, y=1e6)]),
    )
    assert (draw([around], labels=True) == (100, 120, 140)).all()


def test_the_attack_of_3000_far_polygons_takes_seconds(photo, encode):
    rng = np.random.default_rng(0)
    shapes = [star(rng, 1e6, 60) for _ in range(3000)]
    started = time.thread_time()
    preview(encode(photo(65, 48), "PNG"), shapes, max_side=2048, colors={})
    assert time.thread_time() - started < 8


def test_very_many_large_areas_take_seconds_and_the_topmost_stay_sharp():
    large = [polygon([(0, 0), (2100 + i, 0), (2100, 2100), (0, 2100)]) for i in range(1500)]
    small = polygon([(400, 400), (600, 400), (600, 600), (400, 600)], name="dot")
    started = time.thread_time()
    drawn = draw([small, *large], size=(2048, 2048), colors={"cat": "#ff0000", "dot": "#0000ff"})
    assert time.thread_time() - started < 10
    assert drawn[1000, 1000] == pytest.approx((255, 0, 0), abs=6)  # the ground shows no more
    assert drawn[500, 500] == pytest.approx((192, 0, 64), abs=6)
    assert drawn[400, 500, 2] > 200


def test_coarse_areas_look_like_sharp_ones(monkeypatch):
    rng = np.random.default_rng(3)
    areas = [Area([rng.uniform(20, 380, (4, 2))], color) for color in [(255, 0, 0), (0, 200, 0), (0, 0, 255)]]
    ground = np.asarray(Image.linear_gradient("L").resize((400, 400)).convert("RGB"))
    sharp, coarse = ground.copy(), ground.copy()
    paint_areas(sharp, areas, 0.4, lambda: None)
    monkeypatch.setattr(fills, "_SHARP_PIXELS", 60_000)
    paint_areas(coarse, areas, 0.4, lambda: None)
    differ = abs(sharp.astype(int) - coarse).max(axis=2)
    assert 0 < (differ > 8).mean() < 0.1  # along the edges
    assert np.median(differ) <= 2


@pytest.mark.parametrize("after", [0, 1, 5, 30, 60])
def test_drawing_can_be_stopped(photo, encode, after):
    rng = np.random.default_rng(1)
    shapes = [star(rng, 400, 5) for _ in range(200)]
    calls = []

    def check():
        calls.append(1)
        if len(calls) > after:
            raise GoneError

    with pytest.raises(GoneError):
        preview(encode(photo(300, 200), "PNG"), shapes, max_side=512, colors={}, check=check)
    assert len(calls) == after + 1


def test_every_stage_checks_at_least_every_50_shapes():
    rng = np.random.default_rng(1)
    calls = []
    draw([star(rng, 150, 5) for _ in range(1000)], check=lambda: calls.append(1))
    assert len(calls) >= 4 * 1000 / 50  # shapes, areas, casing, lines


class TestPixelBudget:
    def run(self, budget, sizes, hold=0.03):
        """The most pixels ever held at once, and the order of entry of threads that come one by one."""
        lock, held, most, order = threading.Lock(), [0], [0], []

        def work(index, size):
            with budget.share(size):
                with lock:
                    held[0] += size
                    most[0] = max(most[0], held[0])
                    order.append(index)
                time.sleep(hold)
                with lock:
                    held[0] -= size

        threads = [threading.Thread(target=work, args=item) for item in enumerate(sizes)]
        for thread in threads:
            thread.start()
            time.sleep(0.004)
        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads)
        return most[0], order

    def test_no_more_than_the_budget_at_once(self):
        most, order = self.run(PixelBudget(100), [60, 40, 50, 30, 20, 100, 10] * 3)
        assert most <= 100
        assert len(order) == 21

    def test_first_come_first_served(self):
        # The small ones would fit beside the first, but the second was there before them.
        assert self.run(PixelBudget(100), [60, 90, 10, 10, 10])[1][:2] == [0, 1]

    def test_one_larger_than_the_budget_runs_alone(self):
        most, order = self.run(PixelBudget(100), [40, 500, 40, 700])
        assert most == 700
        assert order == [0, 1, 2, 3]

    def test_small_ones_are_exempt(self):
        budget = PixelBudget(100, exempt=5)
        with budget.share(100), budget.share(5):
            pass

    def test_an_error_gives_the_share_back(self):
        budget = PixelBudget(100)
        with pytest.raises(GoneError), budget.share(100):
            raise GoneError
        assert self.run(budget, [100])[0] == 100

    def test_who_gives_up_lets_the_next_one_pass(self):
        budget = PixelBudget(100)
        entered = threading.Event()

        def gone():
            raise GoneError

        def follow():
            with budget.share(40):
                entered.set()

        with budget.share(50):
            with pytest.raises(GoneError), budget.share(90, gone):
                pass
            follower = threading.Thread(target=follow)
            follower.start()
            assert entered.wait(5)
        follower.join()


def test_large_pictures_wait_for_the_budget_and_the_wait_can_be_stopped(monkeypatch, photo, encode):
    from tintype_studio.media import decode

    budget = PixelBudget(1000)
    monkeypatch.setattr(decode, "DECODING", budget)
    data = encode(photo(300, 200), "PNG")

    calls = []

    def stop_soon():
        calls.append(1)
        if len(calls) > 1:  # the first call comes before the picture is looked at
            raise GoneError

    with budget.share(1000), pytest.raises(GoneError):
        preview(data, [], max_side=64, colors={}, check=stop_soon)
    assert decode_upright(data).size == (300, 200)


@pytest.mark.parametrize(("progressive", "fits"), [(False, True), (True, False)])
def test_a_jpeg_counts_as_large_as_it_is_decoded(monkeypatch, photo, encode, progressive, fits):
    from tintype_studio.media import decode

    asked = []
    budget = PixelBudget(10_000_000)
    share = budget.share
    monkeypatch.setattr(budget, "share", lambda pixels, *rest: asked.append(pixels) or share(pixels, *rest))
    monkeypatch.setattr(decode, "DECODING", budget)
    decode_upright(encode(photo(1600, 800), "JPEG", progressive=progressive), fit=(100, 100))
    assert asked == [200 * 100 if fits else 1600 * 800]


MEMORY = """
import io, resource, sys
from PIL import Image
from tintype_studio.media.draw import preview
import cv2, PIL.PngImagePlugin
out = io.BytesIO()
Image.new(sys.argv[1], (5000, 5000)).save(out, "PNG", compress_level=1)
data = out.getvalue()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
preview(data, [], max_side=64, colors={})
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted in kilobytes on Linux")
@pytest.mark.parametrize("mode", ["P", "LA", "I;16"])
def test_a_large_picture_takes_little_more_memory_than_its_stored_pixels(mode):
    spent = subprocess.run(
        [sys.executable, "-c", MEMORY, mode],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(spent.stdout) < {"P": 60, "LA": 140, "I;16": 100}[mode]  # MiB; as RGB it takes 95

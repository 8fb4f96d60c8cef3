"""Messages of every encoding give the same picture, cloud, place and attitude; damaged ones say why."""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support import recordings as made
from support.pictures import jpeg
from support.recordings import SECOND, START

from tintype_studio.errors import InvalidInput
from tintype_studio.multisensor.pcd import check as check_pcd
from tintype_studio.multisensor.pcd import columns_of, pcd_of
from tintype_studio.snapshots import recordings
from tintype_studio.snapshots.messages import (
    Meaning,
    Unreadable,
    attitude_of,
    cloud_of,
    location_of,
    meaning_of,
    picture_of,
)
from tintype_studio.snapshots.recording import CHUNKS_IN_MEMORY, ChunkCache, Recording, Topic
from tintype_studio.snapshots.recordings import RecordingSource, nearest

PICTURE = jpeg(seed=3)
POINTS = np.arange(40, dtype=np.float32).reshape(10, 4)


def topic(schema: str, encoding: str = "cdr", schema_data: bytes = b"") -> Topic:
    return Topic("/t", schema, encoding, 1, schema_data, "")


PICTURES = [
    (topic("sensor_msgs/msg/CompressedImage"), made.compressed_image(START, PICTURE)),
    (topic("sensor_msgs/CompressedImage", "ros1"), made.compressed_image(START, PICTURE, ros1=True)),
    (topic("foxglove.CompressedImage", "json"), made.foxglove_json(START, PICTURE)),
    (
        topic("foxglove.CompressedImage", "protobuf", made.DESCRIPTORS),
        made.foxglove_protobuf(START, PICTURE),
    ),
    (
        topic("foxglove_msgs/msg/CompressedImage"),
        made.Wire().number("I", 1).number("I", 2).text("cam").blob(PICTURE).text("jpeg").done(),
    ),
]


@pytest.mark.parametrize(("of", "data"), PICTURES, ids=lambda v: getattr(v, "encoding", ""))
def test_a_compressed_picture_comes_out_as_it_was_recorded(of: Topic, data: bytes) -> None:
    assert meaning_of(of.schema, of.encoding) is Meaning.CAMERA
    assert picture_of(of, data) == PICTURE


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8", "mono8"])
def test_raw_pixels_become_a_png_with_these_pixels(encoding: str) -> None:
    rng = np.random.default_rng(1)
    channels = {"rgba8": 4, "bgra8": 4, "mono8": 1}.get(encoding, 3)
    padded = rng.integers(0, 255, (6, 9, channels), np.uint8)
    pixels = padded[:, :7]  # rows have bytes behind them
    wire = made.Wire().header(START).number("I", 6).number("I", 7).text(encoding).number("B", 0)
    data = wire.number("I", 9 * channels).blob(padded.tobytes()).done()
    shown = np.asarray(
        Image.open(io.BytesIO(picture_of(topic("sensor_msgs/msg/Image"), data))).convert("RGB")
    )
    wanted = pixels[:, :, :3] if channels > 1 else np.repeat(pixels, 3, axis=2)
    assert np.array_equal(shown, wanted[:, :, ::-1] if encoding.startswith("bgr") else wanted)


@pytest.mark.parametrize(
    ("kind", "ros1"), [("sensor_msgs/msg/PointCloud2", False), ("sensor_msgs/PointCloud2", True)]
)
def test_a_point_cloud_becomes_a_pcd_with_its_values(kind: str, ros1: bool) -> None:
    data = made.point_cloud(START, POINTS, ros1=ros1)
    columns = cloud_of(topic(kind, "ros1" if ros1 else "cdr"), data)
    assert list(columns) == ["x", "y", "z", "intensity"]
    file = pcd_of(columns)
    assert check_pcd(file).points == 10
    assert np.array_equal(np.stack([*columns_of(file).values()], 1), POINTS)


def test_big_endian_rows_with_gaps_are_read_too() -> None:
    rows = np.zeros((2, 3, 4), ">f4")
    rows[:, :2] = POINTS[:4].reshape(2, 2, 4)
    wire = made.Wire().header(START).number("I", 2).number("I", 2).number("I", 4)
    for at, name in enumerate(("x", "y", "z", "i")):
        wire.text(name).number("I", 4 * at).number("B", 7).number("I", 1)
    data = wire.number("B", 1).number("I", 16).number("I", 48).blob(rows.tobytes()).done()
    columns = cloud_of(topic("sensor_msgs/msg/PointCloud2"), data)
    assert np.array_equal(np.stack([*columns.values()], 1), POINTS[:4])


def test_place_and_attitude() -> None:
    fix = topic("sensor_msgs/msg/NavSatFix")
    assert location_of(fix, made.nav_sat_fix(START, 52.5, -13.25)) == (52.5, -13.25)
    assert location_of(fix, made.nav_sat_fix(START, 52.5, 13.0, status=-1)) is None
    assert location_of(fix, made.nav_sat_fix(START, float("nan"), 13.0)) is None
    assert location_of(fix, made.nav_sat_fix(START, 91.0, 13.0)) is None
    for angles in ((1.5, -20.25, 170.0), (0.0, 0.0, -90.0), (-179.0, 5.0, 3.0)):
        turned = attitude_of(topic("sensor_msgs/msg/Imu"), made.imu(START, *angles))
        assert turned == pytest.approx(angles, abs=1e-5)


def test_an_imu_that_knows_no_attitude_says_none() -> None:
    data = bytearray(made.imu(START, 1, 2, 3))
    at = data.index(struct.pack("<d", 0.0), 40)
    data[at : at + 8] = struct.pack("<d", -1.0)
    assert attitude_of(topic("sensor_msgs/msg/Imu"), bytes(data)) is None


DAMAGED: list[tuple[Topic, bytes]] = [
    (topic("sensor_msgs/msg/CompressedImage"), b""),
    (topic("sensor_msgs/msg/CompressedImage"), b"\0\1\0\0\xff\xff"),
    (topic("sensor_msgs/msg/CompressedImage"), b"\0\x0f\0\0"),
    (topic("foxglove.CompressedImage", "json"), b"{"),
    (topic("foxglove.CompressedImage", "json"), b"[]"),
    (topic("foxglove.CompressedImage", "json"), b'{"data": 5}'),
    (topic("foxglove.CompressedImage", "json"), b'{"data": "%%%"}'),
    (topic("foxglove.CompressedImage", "protobuf", b"junk"), b"x"),
    (topic("foxglove.CompressedImage", "protobuf", made.DESCRIPTORS), b"\xff\xff\xff"),
]


@pytest.mark.parametrize(("of", "data"), DAMAGED)
def test_a_damaged_message_is_unreadable_and_nothing_else(of: Topic, data: bytes) -> None:
    with pytest.raises(Unreadable):
        picture_of(of, data)


def lying_cloud(**change: int) -> bytes:
    value = {"height": 1, "width": 10, "step": 16, "row": 160, "offset": 0, "type": 7, **change}
    wire = made.Wire().header(START).number("I", value["height"]).number("I", value["width"]).number("I", 3)
    for name in "xyz":
        wire.text(name).number("I", value["offset"]).number("B", value["type"]).number("I", 1)
    wire.number("B", 0).number("I", value["step"]).number("I", value["row"])
    return wire.blob(bytes(160)).done()


@pytest.mark.parametrize(
    "change",
    [
        {"width": 11},
        {"width": 2**32 - 1, "height": 2**32 - 1},
        {"step": 0},
        {"step": 2**31},
        {"offset": 13},
        {"offset": 2**32 - 1},
        {"type": 99},
        {"height": 2, "width": 5, "row": 2**31},
    ],
)
def test_a_cloud_that_claims_more_than_it_has_is_unreadable(change: dict[str, int]) -> None:
    with pytest.raises(Unreadable):
        cloud_of(topic("sensor_msgs/msg/PointCloud2"), lying_cloud(**change))


@pytest.mark.parametrize("kind", ["CompressedImage", "Image", "PointCloud2", "NavSatFix", "Imu"])
@given(st.binary(max_size=200), st.sampled_from(["cdr", "ros1"]))
def test_any_bytes_are_read_or_unreadable(kind: str, data: bytes, encoding: str) -> None:
    read: dict[str, Any] = {"PointCloud2": cloud_of, "NavSatFix": location_of, "Imu": attitude_of}
    with suppress(Unreadable):
        read.get(kind, picture_of)(topic(f"sensor_msgs/msg/{kind}", encoding), b"\0\1\0\0" + data)


def test_what_cannot_be_read_in_its_encoding_means_nothing() -> None:
    assert meaning_of("sensor_msgs/msg/Imu", "json") is Meaning.OTHER
    assert meaning_of("tf2_msgs/msg/TFMessage", "cdr") is Meaning.OTHER


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=30).map(sorted), st.integers(0, 10**12))
def test_the_nearest_is_the_nearest(times: list[int], time: int) -> None:
    found = nearest(times, time, 10**12)
    assert found is not None
    assert abs(times[found] - time) == min(abs(t - time) for t in times)


def source_of(folder: Path, data: bytes, **options: Any) -> RecordingSource:
    (folder / "drive.mcap").write_bytes(data)
    return RecordingSource(folder, ["drive.mcap"], **options)


def test_frames_are_thinned_evenly(tmp_path: Path) -> None:
    data = made.write([made.camera(count=60, seconds=1 / 30)])
    for fps, count in ((30, 60), (10, 20), (1, 2), (0.5, 1), (1000, 60)):
        source = source_of(tmp_path, data, fps=fps)
        assert source.count == count, fps
        dates = [i.new.meta.date.timestamp() for i in source.samples() if i.new.meta.date]
        assert all(gap >= min(1 / fps, 1 / 30) * 0.99 for gap in np.diff(dates))
        source.close()


def test_several_cameras_are_sequences_of_their_own_and_a_far_cloud_stays_out(tmp_path: Path) -> None:
    lidar = made.lidar(count=1)
    data = made.write(
        [made.camera("/cam/left", 5, seconds=1), made.camera("/cam/right", 3, seconds=1), lidar]
    )
    source = source_of(tmp_path, data)
    found = [(i.new.sequence_name, i.new.frame_number, [f.type for f in i.files]) for i in source.samples()]
    assert found == [
        ("drive_cam_left", 0, ["image", "lidar.pcd"]),
        *[("drive_cam_left", n, ["image"]) for n in range(1, 5)],
        ("drive_cam_right", 0, ["image", "lidar.pcd"]),
        *[("drive_cam_right", n, ["image"]) for n in range(1, 3)],
    ]
    source.close()


def test_a_radar_is_no_lidar(tmp_path: Path) -> None:
    data = made.write([made.camera(count=2), made.lidar("/radar/targets", 2), made.lidar(count=2)])
    source = source_of(tmp_path, data)
    assert [[f.type for f in i.files] for i in source.samples()] == [["image", "lidar.pcd", "radar.pcd"]] * 2
    source.close()


def test_a_topic_with_a_hostile_name_gives_a_harmless_sequence(tmp_path: Path) -> None:
    data = made.write(
        [made.camera("../../etc/passwd\n\x00", 1), made.camera("C:\\con?#%", 1), made.camera("", 1)]
    )
    source = source_of(tmp_path, data)
    names = [str(i.new.sequence_name) for i in source.samples()]
    assert len({name.casefold() for name in names}) == 3
    for name in names:
        assert not set(name) & set('/\\?#%:*"<>|\n\0')
        assert name.strip(" .") == name
    source.close()


def test_a_clock_that_starts_at_zero_gives_no_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "START", 5 * SECOND)
    source = source_of(tmp_path, made.write([made.camera(count=1)]))
    (incoming,) = source.samples()
    assert incoming.new.meta.date is None
    source.close()


def test_a_cloud_whose_fields_share_their_bytes_is_unreadable() -> None:
    wire = made.Wire().header(START).number("I", 1).number("I", 10).number("I", 5)
    for at, name in enumerate(("x", "y", "z", "again", "andagain")):
        wire.text(name).number("I", 0 if at > 2 else 4 * at).number("B", 7).number("I", 1)
    data = wire.number("B", 0).number("I", 16).number("I", 160).blob(bytes(160)).done()
    with pytest.raises(Unreadable, match="overlap"):
        cloud_of(topic("sensor_msgs/msg/PointCloud2"), data)


def test_a_recording_of_too_many_messages_is_refused_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.mcap").write_bytes(made.drive(count=12))
    monkeypatch.setattr(recordings, "MAX_MESSAGES", 20)
    with pytest.raises(InvalidInput) as refused:
        RecordingSource(tmp_path, ["a.mcap"])
    assert refused.value.code == "too_many_samples"
    monkeypatch.setattr(recordings, "MAX_RECORDINGS", 1)
    with pytest.raises(InvalidInput, match="2 recordings"):
        RecordingSource(tmp_path, ["a.mcap", "b.mcap"])


def test_recordings_that_are_read_together_keep_few_chunks(tmp_path: Path) -> None:
    names = [f"{number}.mcap" for number in range(6)]
    for name in names:
        (tmp_path / name).write_bytes(made.drive(count=12))
    cache = ChunkCache()
    opened = [Recording.open(tmp_path / name, name, cache) for name in names]
    for recording in opened:
        places = [place for _topic, _time, place in recording.messages({"/camera/jpeg"})]
        assert recording.read(places[0])
    assert len(cache) <= CHUNKS_IN_MEMORY
    for recording in opened:
        recording.close()
    assert len(cache) == 0

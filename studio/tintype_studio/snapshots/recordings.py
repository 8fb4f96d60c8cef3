"""Recordings as samples: a frame of a camera with what the other sensors saw at that time.

Each camera is a sequence, its pictures are the frames. The point cloud that is nearest in time goes with a
frame, as do place and attitude. Without a camera, the clouds themselves are the frames.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tintype_studio.errors import InvalidInput
from tintype_studio.multisensor.file_types import IMAGE, LIDAR_PCD, RADAR_PCD
from tintype_studio.multisensor.new_sample import NewSample
from tintype_studio.multisensor.sample_meta import Location, Pose, SampleMeta
from tintype_studio.names import FORBIDDEN_IN_NAMES, printable
from tintype_studio.snapshots.messages import (
    Meaning,
    Unreadable,
    attitude_of,
    cloud_of,
    location_of,
    meaning_of,
    picture_of,
)
from tintype_studio.snapshots.recording import ChunkCache, Place, Recording, Topic
from tintype_studio.snapshots.sources import FileSource, Incoming

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import DatasetClass

TOGETHER = 100_000_000
"""Nanoseconds within which a cloud goes with a frame, or half of the time between two clouds."""
KNOWN_FOR = 1_000_000_000
"""Nanoseconds for which a place or an attitude holds, or half of the time between two of them."""
MAX_FRAMES = 1_000_000
MAX_MESSAGES = 2_000_000
"""Of cameras, clouds and small readings, before fewer frames per second are chosen."""
MAX_RECORDINGS = 200
"""In one snapshot: each is an open file."""
CHECK_EVERY = 10_000
"""Messages between two looks whether to go on."""
_EXTENSIONS = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG", "png"),
    (b"RIFF", "webp"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
)
_ON_EARTH = (946_684_800 * 10**9, 4_102_444_800 * 10**9)
"""The years 2000 to 2100; another clock does not tell when a frame was taken."""


@dataclass(slots=True)
class Track:
    """Where the messages of a topic are, by time. Times in nanoseconds."""

    topic: Topic
    times: array[int] = field(default_factory=lambda: array("q"))
    chunks: array[int] = field(default_factory=lambda: array("q"))
    """-1 for a message outside of any chunk."""
    ats: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))

    def add(self, time: int, place: Place) -> None:
        """One more message."""
        self.times.append(min(time, 2**63 - 1))
        self.chunks.append(-1 if place.chunk is None else place.chunk)
        self.ats.append(place.at)
        self.sizes.append(place.size)

    def in_order(self) -> None:
        """Sort by time: writers may mix it."""
        order = sorted(range(len(self.times)), key=self.times.__getitem__)
        if order != list(range(len(order))):
            for name in ("times", "chunks", "ats", "sizes"):
                values = getattr(self, name)
                setattr(self, name, array("q", [values[i] for i in order]))

    def place(self, number: int) -> Place:
        """Where a message is."""
        chunk = self.chunks[number]
        return Place(None if chunk < 0 else chunk, self.ats[number], self.sizes[number])

    def chosen(self, fps: float | None) -> list[int]:
        """All messages, or the first of every ``1 / fps`` seconds."""
        if fps is None or not self.times:
            return list(range(len(self.times)))
        period, first, last, found = 1e9 / fps, self.times[0], -1, []
        for number, time in enumerate(self.times):
            slot = int((time - first) / period + 1e-6)
            if slot > last:
                last = slot
                found.append(number)
        return found


def nearest(times: Sequence[int], time: int, within: int) -> int | None:
    """Which of the ordered times is nearest, if it is near enough or the gaps are wider than that."""
    if not times:
        return None
    at = bisect_left(times, time)
    best = min((i for i in (at - 1, at) if 0 <= i < len(times)), key=lambda i: abs(times[i] - time))
    if len(times) > 1:
        within = max(within, (times[-1] - times[0]) // (len(times) - 1) // 2 + 1)
    return best if abs(times[best] - time) <= within else None


class RecordingSource:
    """Samples of recordings. Reading the messages of one at a time; thread-safe."""

    def __init__(
        self,
        folder: Path,
        paths: Sequence[str],
        *,
        topics: Sequence[str] = (),
        fps: float | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Reads all of the recordings once; ``topics`` empty for all.

        Raises ``InvalidInput``: ``topic_not_found``, ``nothing_to_restore``, and as ``Recording``.
        """
        self.classes: list[DatasetClass] = []
        self.notes: list[str] = []
        self._open = ExitStack()
        self._frames: list[_Frames] = []
        self._messages = 0
        if len(paths) > MAX_RECORDINGS:
            raise InvalidInput(
                f"The snapshot has {len(paths):,} recordings, more than {MAX_RECORDINGS}.",
                code="too_many_samples",
                fix="Put them into several snapshots, or join them with `mcap merge`.",
            )
        cache = ChunkCache()
        try:
            recordings = [
                self._open.enter_context(Recording.open(folder / path, path, cache)) for path in sorted(paths)
            ]
            surveys = [recording.survey(check) for recording in recordings]
            known = {topic.name: topic for survey in surveys for topic in survey.topics}
            wanted = set(topics) or set(known)
            _require_topics(wanted, known)
            taken: set[str] = set()
            for path, recording in zip(sorted(paths), recordings, strict=True):
                self._take(recording, path, wanted, fps, taken, check)
        except BaseException:
            self._open.close()
            raise
        self.count = sum(len(frames.numbers) for frames in self._frames)
        if not self.count:
            self._open.close()
            raise InvalidInput(
                "There is no camera and no point cloud in what was chosen of the recording.",
                code="nothing_to_restore",
                fix=f"Choose among its topics: {_listed(known.values()) or 'it has none'}.",
            )
        if self.count > MAX_FRAMES:
            self._open.close()
            raise InvalidInput(
                f"The recording has {self.count:,} frames, more than {MAX_FRAMES:,}.",
                code="too_many_samples",
                fix="Restore fewer topics, or fewer frames per second.",
            )
        self._note_left(wanted, known)

    def close(self) -> None:
        """Let the files go."""
        self._open.close()

    def samples(self) -> Iterator[Incoming]:
        """Every frame, camera after camera, in the order of time."""
        for frames in self._frames:
            for frame, number in enumerate(frames.numbers):
                yield frames.incoming(frame, number)

    def _take(
        self,
        recording: Recording,
        path: str,
        wanted: set[str],
        fps: float | None,
        taken: set[str],
        check: Callable[[], None],
    ) -> None:
        tracks: dict[str, Track] = {}
        places, poses = _Readings(), _Readings()
        for topic, time, place in recording.messages(wanted, check):
            meaning = meaning_of(topic.schema, topic.encoding)
            if meaning is Meaning.OTHER:
                continue
            self._count(check)
            try:
                if meaning in {Meaning.CAMERA, Meaning.POINTS}:
                    tracks.setdefault(topic.name, Track(topic)).add(time, place)
                elif meaning is Meaning.LOCATION:
                    if where := location_of(topic, recording.read(place)):
                        places.add(time, where)
                elif meaning is Meaning.ATTITUDE and (turned := attitude_of(topic, recording.read(place))):
                    poses.add(time, turned)
            except Unreadable:
                continue  # one reading of many
        for track in tracks.values():
            track.in_order()
        ordered = sorted(tracks.values(), key=lambda track: track.topic.name)
        cameras = [t for t in ordered if meaning_of(t.topic.schema, t.topic.encoding) is Meaning.CAMERA]
        clouds = [t for t in ordered if t not in cameras]
        beside = _Beside(clouds if cameras else [], places.in_order(), poses.in_order())
        stem = path.rpartition("/")[2].rpartition(".")[0] or "recording"
        lock = threading.Lock()
        for track in cameras or clouds:
            several = len(cameras or clouds) > 1
            name = _sequence_name(f"{stem}_{track.topic.name}" if several else stem, taken)
            self._frames.append(_Frames(recording, lock, track, name, track.chosen(fps), beside))

    def _count(self, check: Callable[[], None]) -> None:
        self._messages += 1
        if self._messages % CHECK_EVERY == 0:
            check()
        if self._messages > MAX_MESSAGES:
            raise InvalidInput(
                f"The recordings have more than {MAX_MESSAGES:,} messages of cameras and other sensors.",
                code="too_many_samples",
                fix="Restore fewer topics, or split the recording with `mcap filter`.",
            )

    def _note_left(self, wanted: set[str], known: dict[str, Topic]) -> None:
        other = [
            topic
            for name, topic in sorted(known.items())
            if name in wanted and meaning_of(topic.schema, topic.encoding) is Meaning.OTHER
        ]
        if other:
            self.notes.append(f"Not made into samples, and kept in the snapshot: {_listed(other)}.")


class _Readings:
    """Small measurements by time."""

    def __init__(self) -> None:
        self._found: list[tuple[int, tuple[float, ...]]] = []
        self._times: list[int] = []

    def add(self, time: int, values: tuple[float, ...]) -> None:
        """One more."""
        self._found.append((time, values))

    def in_order(self) -> _Readings:
        """Sorted by time, ready for ``at``."""
        self._found.sort()
        self._times = [time for time, _values in self._found]
        return self

    def at(self, time: int) -> tuple[float, ...] | None:
        """The one of that time, if there is one."""
        number = nearest(self._times, time, KNOWN_FOR)
        return None if number is None else self._found[number][1]


@dataclass(frozen=True, slots=True)
class _Beside:
    """What other sensors have seen, by time."""

    clouds: list[Track]
    places: _Readings
    poses: _Readings

    def meta(self, time: int, topic: str) -> SampleMeta:
        """Where and when a frame was taken."""
        at, turned = self.places.at(time), self.poses.at(time)
        return SampleMeta(
            location=Location(lat=at[0], lon=at[1]) if at else None,
            pose=Pose(roll=turned[0], pitch=turned[1], yaw=turned[2]) if turned else None,
            date=datetime.fromtimestamp(time / 1e9, UTC) if _ON_EARTH[0] < time < _ON_EARTH[1] else None,
            source=printable(topic)[:500] or None,
        )

    def files(self, recording: Recording, lock: threading.Lock, time: int) -> list[FileSource]:
        """The clouds of that time, one of each type."""
        found: dict[str, FileSource] = {}
        for track in self.clouds:
            kind = _kind_of(track)
            number = nearest(track.times, time, TOGETHER) if kind not in found else None
            if number is not None:
                found[kind] = FileSource(kind, _cloud(recording, lock, track, number), beside=True)
        return list(found.values())


@dataclass(frozen=True, slots=True)
class _Frames:
    """The frames of one sequence."""

    recording: Recording
    lock: threading.Lock
    track: Track
    sequence: str
    numbers: list[int]
    beside: _Beside

    def incoming(self, frame: int, number: int) -> Incoming:
        """A frame, to be read later."""
        time, name = self.track.times[number], f"{self.sequence}_{frame:03}"
        camera = meaning_of(self.track.topic.schema, self.track.topic.encoding) is Meaning.CAMERA
        if camera:
            read = _picture(self.recording, self.lock, self.track, number)
            own = FileSource(IMAGE, read, picture_name(name))
        else:
            own = FileSource(_kind_of(self.track), _cloud(self.recording, self.lock, self.track, number))
        return Incoming(
            name,
            NewSample(
                sequence_name=self.sequence,
                frame_number=frame,
                meta=self.beside.meta(time, self.track.topic.name),
            ),
            [own, *self.beside.files(self.recording, self.lock, time)],
            may_miss=True,
        )


def picture_name(name: str) -> Callable[[bytes], str]:
    """Tells the file name of a picture from its bytes."""

    def named(data: bytes) -> str:
        extension = next((e for magic, e in _EXTENSIONS if data.startswith(magic)), "jpeg")
        return f"{name}.camera.{extension}"

    return named


def _picture(recording: Recording, lock: threading.Lock, track: Track, number: int) -> Callable[[], bytes]:
    def read() -> bytes:
        with lock:
            data = recording.read(track.place(number))
        return picture_of(track.topic, data)

    return read


def _cloud(recording: Recording, lock: threading.Lock, track: Track, number: int) -> Callable[[], bytes]:
    def read() -> bytes:
        from tintype_studio.multisensor.pcd import pcd_of

        with lock:
            data = recording.read(track.place(number))
        return pcd_of(cloud_of(track.topic, data))

    return read


def _kind_of(track: Track) -> str:
    return RADAR_PCD if "radar" in track.topic.name.lower() else LIDAR_PCD


def _sequence_name(wanted: str, taken: set[str]) -> str:
    bad = FORBIDDEN_IN_NAMES + ':*"<>|'
    plain = "".join("_" if c in bad or not c.isprintable() else c for c in printable(wanted))
    plain = "_".join(part for part in plain.split("_") if part).strip(" .")[:100] or "recording"
    name, number = plain, 1
    while name.casefold() in taken:
        number += 1
        name = f"{plain}_{number}"
    taken.add(name.casefold())
    return name


def _require_topics(wanted: set[str], known: dict[str, Topic]) -> None:
    if missing := sorted(wanted - known.keys()):
        raise topics_missing(missing, known)


def topics_missing(missing: Sequence[str], known: Iterable[str]) -> InvalidInput:
    """The refusal of topics that a recording does not have."""
    listed = [printable(name[:80]) for name in sorted(known)]
    more = f" and {len(listed) - 30} more" if len(listed) > 30 else ""
    return InvalidInput(
        f"The recording has no topic {', '.join(printable(name[:80]) for name in missing[:5])}.",
        code="topic_not_found",
        fix=f"Choose among its topics: {', '.join(listed[:30]) + more or 'it has none'}.",
    )


def _listed(topics: Iterable[Topic]) -> str:
    found = [f"{printable(t.name[:80])} ({printable(t.schema[:60]) or t.encoding})" for t in topics]
    more = f" and {len(found) - 20} more" if len(found) > 20 else ""
    return ", ".join(found[:20]) + more

"""The query language: what the database finds is what a plain reading of the same condition finds."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tintype_studio.annotations.documents import set_row_id
from tintype_studio.annotations.geometry import ANNOTATIONS
from tintype_studio.errors import InvalidInput
from tintype_studio.multisensor.new_sample import NewSample
from tintype_studio.multisensor.query import Condition, QueryScope, condition_of, parse, text_of
from tintype_studio.multisensor.query.tree import (
    ANNOTATION_FIELDS,
    FIELDS,
    SAMPLE_FIELDS,
    Between,
    Compare,
    Count,
    Known,
    OneOf,
    moment_of,
)
from tintype_studio.multisensor.sample_meta import meta_of

FRAMES = 12
LABELS = ("car", "person", 'the "old" tram')


def annotation(number: int, **members: Any) -> dict[str, Any]:
    return {"id": str(number), "confidence": 1.0, **members}


def made_samples() -> list[NewSample]:
    """Some with a sequence, a place, a date, boxes, masks, boxes in space; and some with nothing."""
    news = []
    for frame in range(FRAMES):
        entries = [
            annotation(
                n,
                name=LABELS[(frame + n) % 3],
                type="bbox",
                bounding_box={"x": 1, "y": 2, "w": 10 * n + 1, "h": 5},
                confidence=round(0.2 * n + 0.1, 2),
                object_id=f"o{n}",
            )
            for n in range(frame % 4)
        ]
        if frame % 5 == 0:
            box = {"x": 3.0 + frame, "y": 4.0, "z": 0.0, "w": 2, "h": 2, "l": 4}
            entries.append(annotation(9, name="car", type="box3d", box3d=box))
        zone = "+02:00" if frame % 2 else "Z"
        news.append(
            NewSample(
                image_name=f"drive_{frame:03}.jpg",
                group=("train", "val", None)[frame % 3],
                sequence_name=("drive", "100_night")[frame % 2],
                frame_number=frame,
                width=640 if frame % 3 else 320,
                height=480,
                meta=meta_of(
                    {
                        "date": f"2026-05-{1 + frame // 4:02}T23:{frame:02}:00{zone}",
                        "location": {"lat": 48.0 + frame / 1000, "lon": 11.5 - frame / 500},
                        "source": ("50%_a", "50x_a", "500_a")[frame % 3],
                        "degradation": "rain" if frame % 4 == 1 else None,
                    }
                    if frame != 7
                    else {}
                ),
                annotations=ANNOTATIONS.validate_python(entries),
            )
        )
    news += [NewSample(image_name=f"alone {n}.png") for n in range(3)]
    return news


@pytest.fixture
def filled(studio, owner, dataset):
    studio.population.populate(owner, dataset, made_samples())
    return dataset


@pytest.fixture
def find(studio, owner, filled):
    """File names of the samples that meet a query, in order."""

    def run(query: str | Condition, annotation_set: str = "default", **page: Any) -> list[str]:
        condition = parse(query) if isinstance(query, str) else query
        with studio.database.read() as connection:
            row = set_row_id(connection, filled.row_id, annotation_set)
        scope = QueryScope(row, annotation_set == "default", studio.database.is_sqlite)
        where = [condition_of(condition, scope)]
        found = studio.multisensor.page(filled, annotation_set=row, where=where, **page)
        if not page:
            assert studio.multisensor.count(filled, where=where) == len(found)
        return [sample.filename for sample in found]

    return run


def frames(*numbers: int) -> list[str]:
    return [f"drive_{number:03}.jpg" for number in numbers]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("group = train and frame between 3 and 6", (3, 6)),
        ("frame in (1, 2) or frame = 11", (1, 2, 11)),
        ("not frame < 10 and frame is known", (10, 11)),
        ('sequence = "100_night" and frame <= 3', (1, 3)),
        ('sequence ~ "100_*" and frame <= 3', (1, 3)),
        ('sequence contains "0_n" and frame <= 3', (1, 3)),
        ('source ~ "50%_*" and frame < 5', (0, 3)),
        ('source contains "0_a" and frame < 5', (2,)),
        ("degradation = rain", (1, 5, 9)),
        ("count(label = car or label = person) >= 2", (3, 6, 7, 10, 11)),
        ("any(label = car, score >= 0.5)", (0, 5, 7, 10)),
        ("label = car and score >= 0.5", (0, 3, 5, 7, 10, 11)),
        ("count() = 3", (3, 7, 10, 11)),
        ("annotations > 3", ()),
        ("distance < 7", (0,)),
        ("type = box3d and distance >= 8.9", (5, 10)),
        ("area > 100", (3, 7, 11)),
        ("object_id = o2", (3, 7, 11)),
        ("date = 2026-05-01 and frame < 4", (0, 1, 2, 3)),
        ("date >= 2026-05-01T22:00:00Z and date < 2026-05-02 and degradation is not known", (0, 2)),
        ("date < 2026-05-01T23:30:00+02:00", (1, 3)),
        ("near(48, 11.5, 300 m)", (0, 1)),
        ("near(48, 11.5, 0.3 km) and not frame = 0", (1,)),
        ("width = 320 and status = new", ()),
        ("created > 2000-01-01 and frame = 1", (1,)),
        ("filename ~ DRIVE_00*.JPG and width = 320", (0, 3, 6, 9)),
    ],
)
def test_queries_by_hand(find, query, expected):
    assert find(query) == frames(*expected)


def test_what_is_not_known_is_not_equal_and_its_opposite_holds(find):
    alone = [f"alone {n}.png" for n in range(3)]
    assert find("sequence != drive and sequence != '100_night'") == alone
    assert find("not (frame >= 0)") == alone
    assert find("group != train and frame is not known") == alone
    assert find("not near(48, 11.5, 100 km)") == [*frames(7), *alone]
    assert find("label != car and annotations = 0 and sequence is not known") == alone
    assert find("file = image") == []
    assert find("not has(image) and sequence is not known") == alone


def test_pages_end_to_end_hold_everything_once(find, studio, filled):
    every = find("frame >= 0")
    ids = {s.filename: s.row_id for s in studio.multisensor.page(filled)}
    seen: list[str] = []
    while page := find("frame >= 0", limit=5, after=ids[seen[-1]] if seen else 0):
        seen += page
    assert seen == every


def test_another_annotation_set_is_asked_alone(studio, owner, filled, find):
    studio.annotation_sets.create(owner, filled.name, name="second")
    first = studio.multisensor.page(filled)[0]
    one = ANNOTATIONS.validate_python(
        [{"id": "1", "name": "car", "type": "bbox", "bounding_box": {"x": 1, "y": 1, "w": 2, "h": 2}}]
    )
    sample = NewSample(uuid=first.id, image_name=first.filename, width=320, height=480, annotations=one)
    studio.population.populate(owner, filled, [sample], annotation_set="second")
    assert find("count(label = car) = 1 and annotations = 1", "second") == [first.filename]
    assert first.filename not in find("any(type = bbox)")
    assert len(find("count() = 0", "second")) == FRAMES + 2


# --- The same conditions, read plainly ------------------------------------------------------------------

_NAMES = st.sampled_from(
    ["train", "val", "drive", "100_night", "rain", "car", "person", 'the "old" tram', "o1", "*a*"]
)


def _value(field: str) -> st.SearchStrategy[Any]:
    kind = FIELDS[field]
    if kind.values:
        return st.sampled_from(kind.values)
    if kind.type == "date":
        return st.sampled_from(
            ["2026-05-01", "2026-05-02", "2026-05-02T21:05:00Z", "2026-05-01T23:01:00+02:00"]
        )
    if kind.type == "text":
        return _NAMES
    return st.sampled_from([0, 1, 2, 3, 0.3, 0.5, 5, 11, 48.004, 55, 105, 320, 480, 640])


@st.composite
def _leaf(draw: Any, fields: list[str]) -> Any:
    field = draw(st.sampled_from(fields))
    text = FIELDS[field].type == "text"
    match draw(st.integers(0, 3)):
        case 0:
            return Known(field=field)
        case 1:
            return OneOf(field=field, values=draw(st.lists(_value(field), min_size=1, max_size=3)))
        case 2 if not text:
            return Between(field=field, low=draw(_value(field)), high=draw(_value(field)))
    op = draw(st.sampled_from(["=", "!=", "~"] if text else ["=", "!=", "<", "<=", ">", ">="]))
    return Compare(field=field, op=op, value=draw(_value(field)))


def _tree(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    adapter: TypeAdapter[Any] = TypeAdapter(Condition)

    def joined(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        several = st.lists(parts, min_size=2, max_size=3)
        return st.one_of(
            several.map(lambda found: adapter.validate_python({"kind": "all", "conditions": found})),
            several.map(lambda found: adapter.validate_python({"kind": "any", "conditions": found})),
            parts.map(lambda found: adapter.validate_python({"kind": "not", "condition": found})),
        )

    return st.recursive(leaf, joined, max_leaves=5)


_of_annotations = _tree(_leaf(list(ANNOTATION_FIELDS)))
_counts = st.builds(
    Count,
    where=st.none() | _of_annotations | _tree(_leaf(["label"])),
    op=st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
    number=st.integers(0, 3),
)
_conditions = _tree(st.one_of(_leaf([*SAMPLE_FIELDS]), _counts, _leaf(list(ANNOTATION_FIELDS))))


def holds(condition: Any, get: Any, entries: list[dict[str, Any]]) -> bool:
    """Whether a sample meets a condition: ``get`` is a field's value, None for none."""
    match condition.kind:
        case "all":
            return all(holds(each, get, entries) for each in condition.conditions)
        case "any":
            return any(holds(each, get, entries) for each in condition.conditions)
        case "not":
            return not holds(condition.condition, get, entries)
        case "count":
            fitting = [e for e in entries if condition.where is None or holds(condition.where, _of(e), [])]
            return _ordered(len(fitting), condition.op, condition.number)
    field = condition.field
    if condition.kind == "compare" and condition.op == "!=":
        return not holds(condition.model_copy(update={"op": "="}), get, entries)
    if field in ANNOTATION_FIELDS and get.__name__ == "of_sample":
        return any(holds(condition, _of(entry), []) for entry in entries)
    if field == "file":
        return any(_fits(condition, kind) for kind in get("file"))
    return _fits(condition, get(field))


def _of(entry: dict[str, Any]) -> Any:
    def of_annotation(field: str) -> Any:
        box, space = entry.get("bounding_box") or {}, entry.get("box3d")
        return {
            "label": entry["name"],
            "type": entry["type"],
            "object_id": entry.get("object_id"),
            "score": entry["confidence"],
            "area": box["w"] * box["h"] if box else None,
            "box_width": box.get("w"),
            "box_height": box.get("h"),
            "distance": math.hypot(space["x"], space["y"], space["z"]) if space else None,
        }[field]

    return of_annotation


def _fits(condition: Any, value: Any) -> bool:
    if value is None:
        return False
    match condition.kind:
        case "known":
            return True
        case "one_of":
            return any(_compared(condition.field, "=", each, value) for each in condition.values)
        case "between":
            return _compared(condition.field, ">=", condition.low, value) and _compared(
                condition.field, "<=", condition.high, value
            )
    return _compared(condition.field, condition.op, condition.value, value)


def _compared(field: str, op: str, told: Any, value: Any) -> bool:
    if op == "~":
        return bool(
            re.fullmatch(".*".join(map(re.escape, told.split("*"))), value, re.IGNORECASE | re.DOTALL)
        )
    if FIELDS[field].type != "date":
        return _ordered(value, op, told)
    moment, whole = moment_of(told)
    if whole and op in {"=", "<=", ">"}:
        ends = moment + timedelta(days=1)
        return {"=": moment <= value < ends, "<=": value < ends, ">": value >= ends}[op]
    return _ordered(value, op, moment)


def _ordered(one: Any, op: str, other: Any) -> bool:
    return bool(
        {"=": one == other, "!=": one != other}[op]
        if op in {"=", "!="}
        else {"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[op]
    )


def plainly(sample: Any) -> Any:
    def of_sample(field: str) -> Any:
        place = sample.meta.location
        return {
            "filename": sample.filename,
            "folder": sample.folder,
            "group": sample.group,
            "sequence": sample.sequence and sample.sequence.name,
            "frame": sample.frame_number,
            "width": sample.width,
            "height": sample.height,
            "status": sample.status.value,
            "annotations": sample.annotation_count,
            "file": list(sample.files),
            "date": sample.meta.date,
            "created": sample.created_at,
            "updated": sample.updated_at,
            "degradation": sample.meta.degradation,
            "source": sample.meta.source,
            "latitude": place and place.lat,
            "longitude": place and place.lon,
        }[field]

    return of_sample


def test_the_database_finds_what_a_plain_reading_finds(find, studio, filled):
    every = [(sample, plainly(sample), sample.entries) for sample in studio.multisensor.page(filled)]
    assert len(every) == FRAMES + 3
    answers = set()

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    @given(_conditions)
    def run(condition: Any) -> None:
        expected = [sample.filename for sample, get, entries in every if holds(condition, get, entries)]
        assert find(condition) == expected
        text = text_of(condition)
        assert find(parse(text)) == expected, text
        assert text_of(parse(text)) == text
        answers.add(len(expected))

    run()
    assert len(answers) > 8  # not all of them ask for everything or nothing


def test_near_is_a_distance_on_the_earth(studio, owner, dataset, find):
    """Beside the haversine formula, near the equator, the poles and the date line."""
    rng = np.random.default_rng(4)
    places = [(0, 0), (48.1, 11.6), (-33.9, 151.2), (70, 179.999), (-65, -179.99), (84, 20)]
    spots = []
    for latitude, longitude in places:
        reach = np.degrees(rng.uniform(0, 150_000, 12) / 6_371_000)
        angle = rng.uniform(0, 2 * np.pi, 12)
        east = longitude + reach * np.sin(angle) / np.cos(np.radians(latitude))
        spots += zip(latitude + reach * np.cos(angle), (east + 180) % 360 - 180, strict=True)
    news = [
        NewSample(image_name=f"spot {n}", meta=meta_of({"location": {"lat": float(lat), "lon": float(lon)}}))
        for n, (lat, lon) in enumerate(spots)
    ]
    studio.population.populate(owner, studio.datasets.get(owner, dataset.name), news)
    for latitude, longitude in places:
        for metres in (500, 20_000, 100_000):
            found = find(f"near({latitude}, {longitude}, {metres}) and filename ~ 'spot *'")
            for n, (lat, lon) in enumerate(spots):
                away = _haversine(latitude, longitude, lat, lon)
                if abs(away - metres) > 0.004 * metres:
                    assert (f"spot {n}" in found) == (away < metres), (latitude, longitude, metres, away)


def _haversine(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    a, b = math.radians(lat), math.radians(other_lat)
    half_north, half_east = (b - a) / 2, math.radians(other_lon - lon) / 2
    share = math.sin(half_north) ** 2 + math.cos(a) * math.cos(b) * math.sin(half_east) ** 2
    return 2 * 6_371_000 * math.asin(math.sqrt(share))


@pytest.mark.parametrize(
    ("query", "position", "says"),
    [
        ("", 0, "empty"),
        ("   ", 0, "empty"),
        ("group =", 7, "ends where a value"),
        ("group = train and lable = car", 18, "no field 'lable'"),
        ("group < train", 8, "group is a text"),
        ("frame = many", 8, "frame is a number"),
        ("frame ~ 3", 8, "frame is a number"),
        ("status = old", 9, "new, annotate, review, complete"),
        ("date = 31.5.2026", 7, "no date"),
        ("date = 2026-13-01", 7, "no date"),
        ("count(label = car)", 18, "ends where a comparison"),
        ("count(label = car) > 1.5", 21, "whole number"),
        ("count(label = car) ~ 1", 19, "compared with a number"),
        ("count(group = train) > 1", 0, "group is of samples"),
        ("any(near(1, 2, 3))", 0, "near is of samples"),
        ("any(any(label = car))", 0, "count is of samples"),
        ("(group = a", 10, "')' is missing"),
        ("group = a group = b", 10, "over before this"),
        ("group = a)", 9, "over before this"),
        ('label = "x', 8, "not closed"),
        ("label = 'x", 8, "not closed"),
        ("a; drop table samples", 1, "cannot stand here"),
        ("group = é", 8, "cannot stand here"),
        ("near(91, 0, 5)", 0, "latitude"),
        ("near(1, 2, 900 km)", 0, "metres"),
        ("near(x, 2, 3)", 5, "no number"),
        ("frame between 1", 15, "'and' is missing"),
        ("frame not = 3", 0, "after not"),
        ("frame is big", 9, "known"),
        ("frame in 3", 9, "list"),
        ("frame in (1, )", 13, "no value"),
        ("group = and", 8, "no value"),
        ("(" * 60 + "frame = 1" + ")" * 60, 20, "too deep"),
        (" or ".join(["frame = 1"] * 300), None, "too long"),
        ("not " * 50 + "frame = 1", None, "too deep"),
        ("x" * 5_000, None, "more than 4,000"),
    ],
)
def test_what_cannot_be_understood_is_told_with_its_place(query, position, says):
    with pytest.raises(InvalidInput, match=re.escape(says)) as refused:
        parse(query)
    assert refused.value.code == "invalid_query"
    assert refused.value.fix
    if position is not None:
        assert refused.value.details["position"] == position


@given(
    st.text(max_size=80)
    | st.lists(
        st.sampled_from(
            [
                *FIELDS,
                "and",
                "or",
                "not",
                "(",
                ")",
                ",",
                "=",
                ">=",
                "~",
                "in",
                "between",
                "count",
                "any",
                "near",
                "has",
                "is",
                "known",
                "1",
                "2026-05-01",
                "'x'",
                "car",
            ]
        ),
        max_size=14,
    ).map(" ".join)
)
@settings(max_examples=500, deadline=None)
def test_any_text_is_understood_or_refused(text):
    refused = None
    try:
        condition = parse(text)
    except InvalidInput as error:
        refused = error
    if refused is None:
        assert text_of(parse(text_of(condition))) == text_of(condition)
    else:
        assert refused.code == "invalid_query"
        assert refused.fix


def test_numbers_of_infinity_are_refused():
    for text in ("frame < 1e999", "near(1e999, 0, 1)"):
        with pytest.raises(InvalidInput):
            parse(text)


def test_a_day_begins_in_utc():
    assert moment_of("2026-05-31") == (datetime(2026, 5, 31, tzinfo=UTC), True)
    assert moment_of("2026-05-31T00:00:00") == (datetime(2026, 5, 31, tzinfo=UTC), False)

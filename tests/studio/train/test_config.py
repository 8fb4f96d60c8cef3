"""The configuration: the pipeline's defaults, one clear error per wrong value, a word on unknown keys."""

from __future__ import annotations

import json

import pytest

from tintype_studio.errors import InvalidInput
from tintype_studio.vision.train.config import TrainConfig, read_config
from tintype_studio.vision.train.pipelines import PIPELINES, pipeline_of


@pytest.mark.parametrize("name", PIPELINES)
def test_defaults_are_the_pipelines(name: str) -> None:
    pipeline = PIPELINES[name]
    config, notes = read_config(pipeline, {})
    assert (config.epochs, config.batch_size, config.image_size, config.learning_rate) == (
        pipeline.epochs,
        pipeline.batch_size,
        pipeline.image_size,
        pipeline.learning_rate,
    )
    assert notes == []


def test_values_are_taken_and_survive_json() -> None:
    raw = {"epochs": 3.0, "learning_rate": 1, "image_size": 640, "augment": False, "pretrained": "folder"}
    config, _ = read_config(pipeline_of("yolox"), raw)
    assert (config.epochs, config.learning_rate, config.image_size) == (3, 1.0, 640)
    assert TrainConfig.from_json(json.loads(json.dumps(config.as_json()))) == config


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("epochs", 2.5),
        ("epochs", True),
        ("epochs", "ten"),
        ("batch_size", 257),
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("learning_rate", "0.1"),
        pytest.param("learning_rate", 10**400, id="rate-huge"),
        pytest.param("epochs", 10**5000, id="epochs-huge"),
        ("image_size", 100),
        ("image_size", 32),
        ("image_size", 1312),
        ("max_minutes", 0),
        ("max_minutes", 1441),
        ("seed", -1),
        ("augment", 1),
        ("pretrained", ""),
        ("pretrained", 3),
        ("drafts", "none"),
        ("drafts", True),
        ("device", "tpu"),
        ("val_fraction", 0),
        ("test_fraction", 0.6),
        ("patience", -1),
    ],
)
def test_a_wrong_value_is_named(key: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=key) as refused:
        read_config(pipeline_of("yolox"), {key: value})
    assert refused.value.code == "invalid_config"
    assert refused.value.details == {"key": key}


def test_drafts_are_used_unless_told() -> None:
    assert read_config(pipeline_of("yolox"), {})[0].drafts == "use"
    assert read_config(pipeline_of("yolox"), {"drafts": "skip"})[0].drafts == "skip"
    old = {k: v for k, v in read_config(pipeline_of("yolox"), {})[0].as_json().items() if k != "drafts"}
    assert TrainConfig.from_json(old).drafts == "use"


def test_held_out_images_leave_some_to_train() -> None:
    with pytest.raises(InvalidInput, match="fifth"):
        read_config(pipeline_of("yolox"), {"val_fraction": 0.5, "test_fraction": 0.4})


@pytest.mark.parametrize(
    ("key", "near"), [("lr", "learning_rate"), ("imgsz", "image_size"), ("epoch", "epochs")]
)
def test_unknown_keys_are_ignored_and_told(key: str, near: str) -> None:
    config, notes = read_config(pipeline_of("yolox"), {key: 7, "epochs": 4})
    assert config.epochs == 4
    (note,) = notes
    assert repr(key) in note
    assert f"{near} may be meant" in note


def test_a_key_like_no_other_brings_the_list() -> None:
    _, (note,) = read_config(pipeline_of("yolox"), {"colour": 1})
    assert "batch_size" in note

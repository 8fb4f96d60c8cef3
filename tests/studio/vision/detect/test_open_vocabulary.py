"""Open-vocabulary detectors on tiny models with random weights, which this test saves; and every bad setting.

The first half needs torch and transformers, which are an extra, and is skipped without them.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tintype_studio.errors import InvalidImage, Unavailable
from tintype_studio.vision.detect import open_weights
from tintype_studio.vision.detect.open_vocabulary import (
    OpenVocabularyDetector,
    corners,
    prepare_dino,
    prepare_owl,
    shifted,
)
from tintype_studio.vision.detect.open_weights import FAMILIES, OWLV2, readiness
from tintype_studio.vision.detect.protocol import Detector

HAS_EXTRA = find_spec("torch") is not None and find_spec("transformers") is not None
needs_extra = pytest.mark.skipif(not HAS_EXTRA, reason="torch and transformers are an extra (openvocab)")
NAMES = ["cat", "red car"]
KINDS = ["owlv2", "owlvit", "grounding-dino", "sam3"]


def write_clip_tokenizer(folder: Path) -> None:
    """Letters, and no merges: every word becomes its letters."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "CLIPTokenizer",
                "bos_token": "<|startoftext|>",
                "eos_token": "<|endoftext|>",
                "pad_token": "<|endoftext|>",
                "unk_token": "<|endoftext|>",
                "model_max_length": 16,
            }
        )
    )


def write_bert_tokenizer(folder: Path) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", *letters, *(f"##{c}" for c in letters)]
    (folder / "vocab.txt").write_text("\n".join(tokens))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True})
    )


def save_owl(folder: Path, kind: str) -> None:
    import transformers

    pair = {
        "owlv2": (transformers.Owlv2Config, transformers.Owlv2ForObjectDetection),
        "owlvit": (transformers.OwlViTConfig, transformers.OwlViTForObjectDetection),
    }
    config_class, model_class = pair[kind]
    small = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = config_class(
        text_config={**small, "vocab_size": 54, "max_position_embeddings": 16, "eos_token_id": 53},
        vision_config={**small, "image_size": 96, "patch_size": 16},
        projection_dim=16,
    )
    model = model_class(config)
    # Without corrections, every patch of the picture is a box.
    model.box_head.dense2.weight.data.zero_()
    model.save_pretrained(folder)
    write_clip_tokenizer(folder)


def save_dino(folder: Path) -> None:
    import transformers

    write_bert_tokenizer(folder)
    backbone = transformers.SwinConfig(
        embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=4, out_indices=[2, 3, 4]
    )
    text = {
        "model_type": "bert",
        "vocab_size": 59,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 24,
    }
    config = transformers.GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        num_queries=20,
        num_feature_levels=3,
    )
    transformers.GroundingDinoForObjectDetection(config).save_pretrained(folder)


def save_sam3(folder: Path) -> None:
    import transformers

    write_clip_tokenizer(folder)
    size = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}
    backbone = {
        **size,
        "model_type": "sam3_vit_model",
        "num_hidden_layers": 1,
        "image_size": 56,
        "pretrain_image_size": 56,
        "patch_size": 14,
        "window_size": 2,
        "global_attn_indexes": [0],
    }
    text = {
        **size,
        "model_type": "clip_text_model",
        "vocab_size": 54,
        "num_hidden_layers": 1,
        "max_position_embeddings": 32,
        "projection_dim": 32,
        "eos_token_id": 53,
    }
    config = transformers.Sam3Config(
        vision_config={
            "backbone_config": backbone,
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        },
        text_config=text,
        geometry_encoder_config={**size, "num_layers": 1},
        detr_encoder_config={**size, "num_layers": 1},
        detr_decoder_config={**size, "num_layers": 1, "num_queries": 10},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2},
    )
    transformers.Sam3Model(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    import torch

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    found = {}
    for kind in KINDS:
        found[kind] = root / kind
        found[kind].mkdir()
        if kind == "grounding-dino":
            save_dino(found[kind])
        elif kind == "sam3":
            save_sam3(found[kind])
        else:
            save_owl(found[kind], kind)
    return found


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (120, 200, 3), dtype=np.uint8)


@needs_extra
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_from_a_folder_answers_in_form(models, image, kind):
    detector = OpenVocabularyDetector(str(models[kind]))
    assert isinstance(detector, Detector)
    assert detector.name == kind
    found = detector.detect(image, NAMES, threshold=0.0, max_detections=50)
    assert found
    assert {d.name for d in found} <= set(NAMES)
    assert [d.score for d in found] == sorted((d.score for d in found), reverse=True)
    for d in found:
        assert 0 <= d.score <= 1
        assert d.box.x >= 0
        assert d.box.y >= 0
        assert d.box.x + d.box.w <= 200.11
        assert d.box.y + d.box.h <= 120.11
    assert detector.detect(image, NAMES, threshold=0.0, max_detections=50) == found
    assert detector.detect(image, NAMES, threshold=0.0, max_detections=1) == found[:1]
    assert detector.detect(image, NAMES, threshold=1.0, max_detections=50) == []
    with pytest.raises(InvalidImage):
        detector.detect(image[..., 0], NAMES, threshold=0.5, max_detections=5)


@needs_extra
@pytest.mark.parametrize(("kind", "cell"), [("owlv2", (200 / 6, 200 / 6)), ("owlvit", (200 / 6, 120 / 6))])
def test_boxes_land_where_the_model_put_them(models, image, kind, cell):
    """OWLv2 sees the picture padded to a square, OWL-ViT sees it squeezed into one."""
    detector = OpenVocabularyDetector(str(models[kind]))
    found = detector.detect(image, ["cat"], threshold=0.0, max_detections=100)
    whole = [d.box for d in found if d.box.y + d.box.h < 119 and d.box.x + d.box.w < 199]
    assert len(whole) >= 8
    for box in whole:
        assert (box.w, box.h) == pytest.approx(cell, abs=0.3)
        for at, size in ((box.x, cell[0]), (box.y, cell[1])):
            # The models' own grid lies half a cell to the right and below.
            assert (at / size) % 1 == pytest.approx(0.5, abs=0.05)


@needs_extra
def test_every_name_is_asked_for_by_its_own_words(models, image):
    """A name alone gets the answer that it gets in company; in Grounding DINO, words see only their own."""
    for kind in ("owlv2", "owlvit"):
        detector = OpenVocabularyDetector(str(models[kind]))
        both = detector.detect(image, NAMES, threshold=0.0, max_detections=1000)
        alone = detector.detect(image, NAMES[1:], threshold=0.0, max_detections=1000)
        assert [d for d in both if d.name == NAMES[1]] == alone


@needs_extra
def test_owlv2_pictures_are_prepared_as_its_own_processor_does(image):
    pytest.importorskip("scipy", reason="their processor needs it; ours does not")
    pil = pytest.importorskip("transformers.models.owlv2.image_processing_pil_owlv2")
    processor = pil.Owlv2ImageProcessorPil(size={"height": 96, "width": 96})
    theirs = np.asarray(processor(images=[image], return_tensors="np")["pixel_values"], np.float64)
    ours = prepare_owl(image, 96, pad=True)
    assert ours.shape == theirs.shape
    # They blur before they sample, Pillow averages: both are smooth, neither is the other.
    assert np.abs(ours - theirs).mean() < 0.25
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.95


@needs_extra
def test_grounding_dino_pictures_are_prepared_as_its_own_processor_does(image):
    pil = pytest.importorskip("transformers.models.grounding_dino.image_processing_pil_grounding_dino")
    theirs = pil.GroundingDinoImageProcessorPil()(images=[image], return_tensors="np")["pixel_values"]
    ours = prepare_dino(image)
    assert ours.shape == np.asarray(theirs).shape
    assert np.abs(ours - np.asarray(theirs)).max() < 0.05


def refused(model: str) -> Any:
    with pytest.raises(Unavailable) as caught:
        OpenVocabularyDetector(model)
    return caught.value


@needs_extra
def test_a_folder_that_is_not_there(tmp_path):
    assert refused(str(tmp_path / "gone")).code == "weights_missing"


@needs_extra
def test_a_folder_without_config(tmp_path):
    assert refused(str(tmp_path)).code == "weights_missing"


@needs_extra
@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_config_that_says_nothing(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    assert refused(str(tmp_path)).code in {"weights_broken", "wrong_model"}


@needs_extra
def test_a_model_of_another_kind(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    error = refused(str(tmp_path))
    assert error.code == "wrong_model"
    assert "owlv2" in error.fix


@needs_extra
def test_weights_that_are_missing_or_broken_or_of_another_size(models, tmp_path):
    import shutil

    folder = shutil.copytree(models["owlv2"], tmp_path / "copy")
    weights = folder / "model.safetensors"
    kept = weights.read_bytes()
    weights.unlink()
    assert refused(str(folder)).code == "weights_missing"
    weights.write_bytes(b"no weights at all")
    assert refused(str(folder)).code == "weights_broken"
    weights.write_bytes((models["owlvit"] / "model.safetensors").read_bytes())
    assert refused(str(folder)).code == "weights_broken"
    weights.write_bytes(kept)
    assert OpenVocabularyDetector(str(folder)).name == "owlv2"


@needs_extra
def test_a_hub_id_without_network(monkeypatch):
    import transformers

    def unreachable(*_arguments: object, **_more: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(transformers.PreTrainedConfig, "get_config_dict", unreachable)
    error = refused("nobody/nothing-of-the-kind")
    assert error.code == "weights_unreachable"
    assert error.retryable


def test_without_the_extra(monkeypatch, tmp_path):
    monkeypatch.setattr(open_weights, "find_spec", lambda _name: None)
    error = refused(str(tmp_path))
    assert error.code == "extra_missing"
    assert "openvocab" in error.fix
    assert not readiness(str(tmp_path)).ready


def test_readiness_tells_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(open_weights, "find_spec", lambda _name: object())
    assert "TINTYPE_DETECTOR_MODEL" in readiness(None).fix
    assert not readiness(str(tmp_path / "gone")).ready
    assert not readiness(str(tmp_path)).ready
    (tmp_path / "config.json").write_text('{"model_type": "owlv2"}')
    assert readiness(str(tmp_path)).ready
    assert readiness("google/owlv2-base-patch16-ensemble").ready


def test_the_usual_threshold_becomes_one_half():
    raw = np.array([0.0, OWLV2.usual, 0.5, 1.0, np.nan])
    scores = shifted(raw, OWLV2)
    assert scores[1] == pytest.approx(0.5)
    assert 0 <= scores[0] < 0.01
    assert 0.99 < scores[3] <= 1
    assert scores[4] < 0.01
    assert all(0 < family.usual < 1 for family in FAMILIES.values())


def test_shares_become_corners():
    assert corners(np.array([[0.5, 0.5, 0.5, 1.0]]), 200, 100).tolist() == [[50, 0, 150, 100]]

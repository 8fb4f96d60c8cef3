"""The SAM engine on tiny models with random weights, saved to a folder as the hub would hold them.

Needs the extra ``sam``; random weights say nothing about quality, so what is tested is all around them:
that masks land where the model put them, that clicks are obeyed, that embeddings are kept, and the errors.
"""

import json
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

from tintype_studio.errors import InvalidImage, InvalidInput, Unavailable
from tintype_studio.vision.protocols import Box, Point, PromptSegmenter

torch = pytest.importorskip("torch", reason="the extra 'sam' (torch, transformers) is not installed")
transformers = pytest.importorskip("transformers", reason="the extra 'sam' is not installed")

from tintype_studio.vision import sam  # noqa: E402


def tiny_sam():
    config = transformers.SamConfig(
        vision_config={
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 8,
            "output_channels": 16,
            "num_pos_feats": 8,
            "window_size": 4,
            "global_attn_indexes": [0],
            "mlp_dim": 16,
        },
        prompt_encoder_config={
            "hidden_size": 16,
            "image_size": 64,
            "patch_size": 8,
            "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    return transformers.SamModel(config)


def tiny_sam2():
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [64, 64],
        "blocks_per_stage": [1, 1, 1, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 1, 1],
        "window_size_per_stage": [4, 2, 2, 2],
        "global_attention_blocks": [],
    }
    config = transformers.Sam2Config(
        vision_config={
            "backbone_config": backbone,
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={
            "hidden_size": 32,
            "image_size": 64,
            "patch_size": 16,
            "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    return transformers.Sam2Model(config)


def tiny_sam3():
    config = transformers.Sam3TrackerConfig(
        vision_config={
            "model_type": "sam3_vision_model",
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 56,
                "pretrain_image_size": 56,
                "patch_size": 14,
                "window_size": 2,
                "global_attn_indexes": [0],
            },
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        },
        prompt_encoder_config={
            "hidden_size": 32,
            "image_size": 56,
            "patch_size": 14,
            "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    return transformers.Sam3TrackerModel(config)


TINY = {"sam": tiny_sam, "sam2": tiny_sam2, "sam3": tiny_sam3}


@pytest.fixture(scope="module", params=sorted(TINY))
def weights(request, tmp_path_factory):
    """A folder with weights of each family, and the family's name."""
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp(request.param)
    TINY[request.param]().save_pretrained(folder)
    return folder, request.param


@pytest.fixture(scope="module")
def engine(weights):
    return sam.SamSegmenter(str(weights[0]))


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (90, 140, 3), dtype=np.uint8)


def test_it_is_a_prompt_segmenter_named_by_its_family(engine, weights):
    assert isinstance(engine, PromptSegmenter)
    assert engine.name == weights[1]


def test_a_click_gives_masks_that_hold_it(engine, image):
    clicks = [Point(x, y) for x in (0.5, 40.5, 139.5) for y in (0.5, 45.5, 89.5)]
    answered = 0
    for click in clicks:
        segments = engine.segment_points(image, [click])
        answered += bool(segments)
        assert [s.score for s in segments] == sorted((s.score for s in segments), reverse=True)
        for segment in segments:
            assert segment.mask.dtype == np.bool_
            assert 0 <= segment.score <= 1
            assert segment.on_canvas(140, 90)[int(click.y), int(click.x)]
            for side in (segment.mask[0], segment.mask[-1], segment.mask[:, 0], segment.mask[:, -1]):
                assert side.any()
    assert answered


def test_negative_clicks_and_boxes_stay_outside(engine, image):
    for x in (10.5, 60.5, 130.5):
        for segment in engine.segment_points(image, [Point(70.5, 45.5)], [Point(x, 10.5)]):
            assert not segment.on_canvas(140, 90)[10, int(x)]
    segment = engine.segment_box(image, Box(10, 10, 100, 70), [Box(30, 20, 20, 20), Box(500, 5, 9, 9)])
    if segment is not None:
        assert not segment.on_canvas(140, 90)[20:40, 30:50].any()


def test_same_answer_from_kept_embeddings_and_in_threads(engine, weights, image):
    fresh = sam.SamSegmenter(str(weights[0]), cache_bytes=0)
    first = fresh.segment_points(image, [Point(70.5, 45.5)])
    assert len(fresh.recent) == 0
    answers = []

    def ask():
        answers.append(engine.segment_points(image, [Point(70.5, 45.5)]))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers:
        assert len(answer) == len(first)
        for one, other in zip(answer, first, strict=True):
            assert one.offset == other.offset
            assert np.array_equal(one.mask, other.mask)
            assert one.score == pytest.approx(other.score, abs=1e-5)


def test_a_second_prompt_on_an_image_does_not_encode_it_again(weights, image, monkeypatch):
    engine = sam.SamSegmenter(str(weights[0]))
    encoded = []
    real = sam.prepare
    monkeypatch.setattr(sam, "prepare", lambda *a: encoded.append(1) or real(*a))
    engine.segment_points(image, [Point(3, 3)])
    engine.segment_points(image.copy(), [Point(50, 50)])
    engine.segment_box(image, Box(10, 10, 50, 50))
    assert len(encoded) == 1
    turned = np.ascontiguousarray(image.reshape(140, 90, 3))
    engine.segment_points(turned, [Point(3, 3)])
    assert len(encoded) == 2


def test_what_is_kept_has_a_bound(weights, image):
    engine = sam.SamSegmenter(str(weights[0]))
    engine.segment_points(image, [Point(3, 3)])
    one = engine.recent.nbytes
    small = sam.SamSegmenter(str(weights[0]), cache_bytes=int(one * 2.5))
    pictures = [np.roll(image, shift, axis=1) for shift in range(4)]
    for picture in pictures:
        small.segment_points(picture, [Point(3, 3)])
    assert (len(small.recent), small.recent.nbytes) == (2, 2 * one)


def test_masks_lie_where_the_model_put_them(engine, image, monkeypatch):
    """A made-up decoder that answers with a disc around the click shows whether the frames agree."""

    class Answer:
        iou_scores = torch.tensor([[[0.9]]])

    def decode(*, image_embeddings, multimask_output, input_points, input_labels):
        side = engine._family.side(engine._model)
        x, y = (input_points[0, 0, 0] + 0.5).tolist()
        down, across = np.mgrid[0:256, 0:256]
        far = np.hypot((across + 0.5) * side / 256 - x, (down + 0.5) * side / 256 - y)
        Answer.pred_masks = torch.from_numpy((side / 8 - far).astype(np.float32))[None, None, None]
        return Answer

    class Model:
        config = engine._model.config
        get_image_embeddings = staticmethod(engine._model.get_image_embeddings)

        def __call__(self, **prompt):
            return decode(**prompt)

    monkeypatch.setattr(engine, "_model", Model())
    (segment,) = engine.segment_points(image, [Point(60, 50)])
    rows, columns = np.nonzero(segment.on_canvas(140, 90))
    assert columns.mean() + 0.5 == pytest.approx(60, abs=0.6)
    assert rows.mean() + 0.5 == pytest.approx(50, abs=0.6)
    radius = 140 / 8
    assert columns.max() - columns.min() + 1 == pytest.approx(2 * radius, abs=2)
    expected = radius if engine.name == "sam" else 90 / 8
    assert rows.max() - rows.min() + 1 == pytest.approx(2 * expected, abs=2)


def test_a_mask_that_contradicts_a_click_is_no_answer():
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    assert not sam._obeys(mask.copy(), (0, 0), [Point(18, 18)], [], 1.5)
    assert not sam._obeys(mask.copy(), (0, 0), [Point(10, 10)], [Point(9, 9)], 1.5)
    near = mask.copy()
    assert sam._obeys(near, (0, 0), [Point(15.5, 10)], [Point(5.5, 5.5)], 1.5)
    assert near[10, 15]
    assert not near[5, 5]


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (5, 3)])
def test_pictures_of_any_shape(engine, size):
    height, width = size
    image = np.full((height, width, 3), 90, np.uint8)
    for segment in engine.segment_points(image, [Point(0.5, 0.5)]):
        assert segment.on_canvas(width, height)[0, 0]


def test_bad_prompts_are_refused(engine, image):
    with pytest.raises(InvalidInput, match="outside"):
        engine.segment_points(image, [Point(140, 3)])
    with pytest.raises(InvalidInput, match="no positive"):
        engine.segment_points(image, [])
    with pytest.raises(InvalidInput, match="at once"):
        engine.segment_points(image, [Point(3.2, 3)], [Point(3.7, 3)])
    with pytest.raises(InvalidInput, match="empty"):
        engine.segment_box(image, Box(3, 3, 0, 5))
    with pytest.raises(InvalidImage):
        engine.segment_box(image[..., 0], Box(3, 3, 5, 5))


def code_of(model):
    with pytest.raises(Unavailable) as refused:
        sam.SamSegmenter(str(model))
    assert str(model) not in refused.value.message
    assert refused.value.fix
    return refused.value.code


def test_a_missing_folder(tmp_path):
    assert code_of(tmp_path / "nothing") == "weights_missing"


def test_a_folder_without_config_or_with_a_broken_one(tmp_path):
    assert code_of(tmp_path) == "weights_missing"
    (tmp_path / "config.json").write_text("{")
    assert code_of(tmp_path) == "weights_broken"
    (tmp_path / "config.json").write_text("[]")
    assert code_of(tmp_path) == "weights_broken"


def test_a_model_of_another_kind(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    assert code_of(tmp_path) == "wrong_model"


def test_weights_that_are_missing_damaged_or_of_another_model(weights, tmp_path):
    folder, _ = weights
    shutil.copy(folder / "config.json", tmp_path)
    assert code_of(tmp_path) == "weights_missing"
    data = (folder / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[: len(data) // 2])
    assert code_of(tmp_path) == "weights_broken"
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    half = dict(sorted(tensors.items())[: len(tensors) // 2])
    save_file(half, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert code_of(tmp_path) == "weights_broken"


def test_a_hub_id_without_a_network(monkeypatch):
    def unreachable(*_args, **_kwargs):
        raise OSError("no route")

    monkeypatch.setattr(transformers.PreTrainedConfig, "get_config_dict", unreachable)
    with pytest.raises(Unavailable) as refused:
        sam.SamSegmenter("facebook/sam2.1-hiera-tiny")
    assert refused.value.code == "weights_unreachable"
    assert refused.value.retryable


def test_torchvision_is_not_needed(tmp_path):
    for name, make in TINY.items():
        make().save_pretrained(tmp_path / name)
    code = (
        "import sys; sys.modules['torchvision'] = None\n"
        "import numpy as np\n"
        "from tintype_studio.vision.sam import SamSegmenter\n"
        "from tintype_studio.vision.protocols import Point\n"
        "for folder in sys.argv[1:]:\n"
        "    SamSegmenter(folder).segment_points(np.zeros((9, 9, 3), np.uint8), [Point(3, 3)])\n"
    )
    subprocess.run([sys.executable, "-c", code, *(str(tmp_path / name) for name in TINY)], check=True)

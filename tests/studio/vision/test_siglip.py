"""The SigLIP engines on tiny models with random weights, saved to a folder as the hub would hold them.

Needs the extra ``embed``. Random weights say nothing about quality; what is tested is all around them: that
pictures are prepared as the models' own processors do, that names follow the weights, and the errors.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tintype_studio.errors import Unavailable
from tintype_studio.vision.embedders import Embedder, make_embedder

torch = pytest.importorskip("torch", reason="the extra 'embed' (torch, transformers) is not installed")
transformers = pytest.importorskip("transformers", reason="the extra 'embed' is not installed")

from tintype_studio.vision.siglip import SiglipEmbedder, patch_grid  # noqa: E402

VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 16,
}
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 64,
}


def save(folder: Path, kind: str, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    if kind == "siglip":
        config = transformers.SiglipConfig(vision_config={**VISION, "image_size": 64}, text_config=TEXT)
        model: Any = transformers.SiglipModel(config)
        prepared = {"size": {"height": 64, "width": 64}, "resample": 3}
    elif kind == "siglip2":
        config = transformers.Siglip2Config(vision_config={**VISION, "num_patches": 64}, text_config=TEXT)
        model = transformers.Siglip2Model(config)
        prepared = {"max_num_patches": 64, "patch_size": 16, "resample": 2}
    else:
        model = transformers.ViTModel(transformers.ViTConfig(**VISION, image_size=64))
        prepared = {}
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared))
    return folder


@pytest.fixture(scope="module", params=["siglip", "siglip2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / f"tiny-{request.param}", request.param)


@pytest.fixture(scope="module")
def pictures() -> list[Any]:
    rng = np.random.default_rng(0)
    return [
        rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((120, 200, 3), (64, 64, 3), (300, 31, 3))
    ]


def test_vectors_are_those_of_the_vision_tower_of_length_one(model: Path, pictures: list[Any]) -> None:
    embedder = make_embedder(str(model))
    assert isinstance(embedder, Embedder)
    made = embedder.embed(pictures)
    assert made.shape == (3, 32) == (3, embedder.dimensions)
    assert made.dtype == np.float32
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    one_by_one = np.concatenate([embedder.embed([p]) for p in pictures])
    assert np.allclose(made, one_by_one, atol=1e-5)
    assert embedder.embed([]).shape == (0, 32)

    whole = transformers.AutoModel.from_pretrained(model).eval()
    inputs = {k: torch.from_numpy(v) for k, v in SiglipEmbedder(str(model))._prepared(pictures).items()}
    with torch.inference_mode():
        features = whole.get_image_features(**inputs)
    features = getattr(features, "pooler_output", features)
    expected = torch.nn.functional.normalize(features, dim=-1).numpy()
    assert np.allclose(made, expected, atol=1e-5)


def test_pictures_are_prepared_as_the_model_s_own_processor_does(tmp_path: Path, pictures: list[Any]) -> None:
    processing = pytest.importorskip("transformers.models.siglip.image_processing_pil_siglip")
    folder = save(tmp_path / "m", "siglip")
    theirs = processing.SiglipImageProcessorPil(size={"height": 64, "width": 64}, resample=3)
    expected = theirs(pictures, return_tensors="np")["pixel_values"]
    made = SiglipEmbedder(str(folder))._prepared(pictures)["pixel_values"]
    assert np.abs(made - expected).max() < 0.02


def test_patches_are_cut_as_the_model_s_own_processor_does(tmp_path: Path, pictures: list[Any]) -> None:
    processing = pytest.importorskip("transformers.models.siglip2.image_processing_pil_siglip2")
    folder = save(tmp_path / "m", "siglip2")
    theirs = processing.Siglip2ImageProcessorPil(max_num_patches=64, patch_size=16)
    expected = theirs(pictures, return_tensors="np")
    made = SiglipEmbedder(str(folder))._prepared(pictures)
    assert (np.asarray(expected["spatial_shapes"]) == made["spatial_shapes"]).all()
    assert (np.asarray(expected["pixel_attention_mask"]) == made["pixel_attention_mask"]).all()
    assert np.abs(np.asarray(expected["pixel_values"]) - made["pixel_values"]).max() < 0.02


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (480, 270), (16, 16), (4000, 3000)])
def test_a_grid_of_patches_never_exceeds_its_number(size: tuple[int, int]) -> None:
    rows, columns = patch_grid(*size, patch=16, most=256)
    assert 1 <= rows * columns <= 256


def test_the_name_follows_the_weights_and_shows_no_path(model: Path, tmp_path: Path) -> None:
    kind = model.name.removeprefix("tiny-")
    name = SiglipEmbedder(str(model)).name
    assert name.startswith(f"{kind}:{model.name}@")
    assert str(model.parent) not in name
    again = save(tmp_path / model.name, kind)
    assert SiglipEmbedder(str(again)).name == name
    other = save(tmp_path / "other" / model.name, kind, seed=1)
    assert SiglipEmbedder(str(other)).name != name


def test_threads_share_one_model(model: Path, pictures: list[Any]) -> None:
    embedder = SiglipEmbedder(str(model))
    expected, made = embedder.embed(pictures), []
    threads = [threading.Thread(target=lambda: made.append(embedder.embed(pictures))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.allclose(m, expected, atol=1e-6) for m in made)
    assert len(made) == 4


def test_torch_is_loaded_with_the_first_picture_only(model: Path) -> None:
    code = (
        "import sys; from tintype_studio.vision.embedders import make_embedder;"
        f"print(make_embedder({str(model)!r}).name, 'torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split()[-1] == "False"


def refusal(model: str) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        SiglipEmbedder(model).embed([np.zeros((20, 20, 3), np.uint8)])
    assert model not in caught.value.message + caught.value.fix
    assert "TINTYPE_EMBEDDER_MODEL" in caught.value.fix
    assert not caught.value.retryable
    return caught.value


def test_a_folder_that_is_not_there_needs_weights(tmp_path: Path) -> None:
    assert refusal(str(tmp_path / "nowhere")).code == "weights_missing"
    assert refusal(str(tmp_path)).code == "weights_missing"


def test_a_hub_id_that_cannot_be_had_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: object, **_options: object) -> str:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", away)
    with pytest.raises(Unavailable) as caught:
        SiglipEmbedder("nobody/has-this")
    assert (caught.value.code, caught.value.retryable) == ("weights_unreachable", True)


@pytest.mark.parametrize("with_tokenizer", [True, False])
def test_a_hub_id_is_taken_from_this_machine_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_tokenizer: bool
) -> None:
    folder = save(tmp_path / "m", "siglip")
    if with_tokenizer:
        (folder / "tokenizer.json").write_text("{}")
    asked: list[bool] = []

    def here(_model: str, *, local_files_only: bool, **_options: object) -> str:
        asked.append(local_files_only)
        if not local_files_only:
            raise OSError("no network")
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", here)
    # What an older version fetched lacks the tokenizer: it is asked for, and done without.
    assert SiglipEmbedder("someone/siglip-tiny").name.split(":")[1].startswith("siglip-tiny@")
    assert asked == ([True] if with_tokenizer else [True, False])


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    error = refusal(str(save(tmp_path / "vit", "vit")))
    assert (error.code, "vit" in error.message) == ("wrong_model", True)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "mixed", "siglip")
    weights, other = folder / "model.safetensors", save(tmp_path / "v", "vit") / "model.safetensors"
    weights.write_bytes(other.read_bytes())
    assert refusal(str(folder)).code == "weights_broken"
    weights.write_bytes(b"\x00" * 100)
    assert refusal(str(folder)).code == "weights_broken"
    (folder / "config.json").write_text("{")
    assert refusal(str(folder)).code == "weights_broken"


def test_images_are_searched_by_it(model: Path, tmp_path: Path) -> None:
    from tintype_studio.identity.bootstrap import saved_api_key
    from tintype_studio.studio import Studio, Workspace

    photos = sorted((Path(__file__).parents[3] / "server/tintype_server/demo_photos").glob("*/*.jpg"))
    studio = Studio(Workspace(tmp_path / "home", embedder_model=str(model)))
    try:
        owner = studio.keys.authenticate(saved_api_key(studio.home))
        dataset = studio.datasets.create(owner, name="photos")
        added = [
            studio.ingest.add_image(owner, dataset, data=p.read_bytes(), filename=f"{n}{p.name}")
            for n in range(2)
            for p in photos
        ]
        studio.search.indexer.catch_up()  # without the time limit of a search
        found = studio.search.similar(owner, added[0].id, threshold=0)
        assert len(found.hits) == 2 * len(photos) - 1
        assert found.hits[0].sample.filename == f"1{photos[0].name}"
        assert found.hits[0].similarity == pytest.approx(1, abs=1e-3)
    finally:
        studio.close()


def test_weights_that_turn_out_broken_cost_no_image_its_place(tmp_path: Path) -> None:
    from tintype_studio.identity.bootstrap import saved_api_key
    from tintype_studio.search.tag_search import Wanted
    from tintype_studio.studio import Studio, Workspace

    folder = save(tmp_path / "m", "siglip")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-50])
    photo = next((Path(__file__).parents[3] / "server/tintype_server/demo_photos").glob("*/*.jpg"))
    studio = Studio(Workspace(tmp_path / "home", embedder_model=str(folder)))
    try:
        owner = studio.keys.authenticate(saved_api_key(studio.home))
        dataset = studio.datasets.create(owner, name="photos")
        image = studio.ingest.add_image(owner, dataset, data=photo.read_bytes(), filename="a.jpg")
        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                studio.search.similar(owner, image.id)
            assert caught.value.code == "weights_broken"
        wanted = Wanted(attributes=["square", "landscape", "portrait"])
        assert len(studio.search.by_tags(owner, dataset, wanted).hits) == 1
    finally:
        studio.close()
    (folder / "model.safetensors").write_bytes(whole)
    studio = Studio(Workspace(tmp_path / "home", embedder_model=str(folder)))
    try:
        assert studio.search.similar(owner, image.id).hits == []
        assert studio.search.indexer.missing() == 0
    finally:
        studio.close()

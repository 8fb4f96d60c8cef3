"""Scenes by SigLIP's text tower, on tiny models that are made so that a known picture has a known scene.

Needs the extra ``embed``. The towers are random but for the head of the text tower, which is solved for, so
that the sentence of one scene points where one picture's vector does.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.search.tag_search import Wanted
from tintype_studio.studio import Studio, Workspace
from tintype_studio.vision.embedders import SceneNamer, make_embedder
from tintype_studio.vision.scenes import SCENES, TEMPLATE

torch = pytest.importorskip("torch", reason="the extra 'embed' (torch, transformers) is not installed")
transformers = pytest.importorskip("transformers", reason="the extra 'embed' is not installed")

from tintype_studio.vision.siglip import SiglipEmbedder  # noqa: E402

PHOTOS = Path(__file__).parents[3] / "server/tintype_server/demo_photos"
LENGTH = 24
SHAPE = {"intermediate_size": 48, "num_attention_heads": 2}
FAMILIES = {
    "siglip": (transformers.SiglipConfig, transformers.SiglipModel, {"image_size": 64}),
    "siglip2": (transformers.Siglip2Config, transformers.Siglip2Model, {"num_patches": 64}),
}


def photo(name: str) -> bytes:
    return next(PHOTOS.glob(f"*/{name}.jpg")).read_bytes()


def pixels(name: str) -> Any:
    from PIL import Image

    return np.asarray(Image.open(next(PHOTOS.glob(f"*/{name}.jpg"))).convert("RGB"))


def save_tokenizer(folder: Path) -> Any:
    """One word, one token; the end of text and the filler as the family has them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = sorted({word for words in SCENES.values() for word in TEMPLATE.format(words).split()})
    vocabulary = {token: i for i, token in enumerate(["<pad>", "</s>", "<unk>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", None, [("</s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": "<pad>"}}))
    return tokenizer


def tokens(tokenizer: Any) -> Any:
    rows = [tokenizer.encode(TEMPLATE.format(words)).ids for words in SCENES.values()]
    return torch.tensor([[*row, *[0] * (LENGTH - len(row))] for row in rows])


def made(folder: Path, kind: str, answers: dict[str, str], seed: int = 0) -> Path:
    """A model for which each picture of ``answers`` (two) shows its scene and no other."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = save_tokenizer(folder)
    torch.manual_seed(seed)
    configuration, whole, vision = FAMILIES[kind]
    config = configuration(
        vision_config={**SHAPE, **vision, "hidden_size": 32, "num_hidden_layers": 1, "patch_size": 16},
        text_config={
            **SHAPE,
            "hidden_size": 256,
            "num_hidden_layers": 1,
            "vocab_size": tokenizer.get_vocab_size(),
            "max_position_embeddings": LENGTH,
            "projection_size": 32,
        },
    )
    model = whole(config).eval()
    with torch.no_grad():
        model.text_model.embeddings.token_embedding.weight.normal_()
    prepared = {"size": {"height": 64, "width": 64}, "max_num_patches": 64, "patch_size": 16}
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared))
    model.save_pretrained(folder)
    one, two = SiglipEmbedder(str(folder)).embed([pixels(name) for name in answers])
    # The scenes of both point from one picture to the other, all others across.
    across = np.zeros(32, np.float32)
    across[:3] = np.cross(one[:3], two[:3])
    targets = np.tile(across / np.linalg.norm(across), (len(SCENES), 1))
    apart = (one - two) / np.linalg.norm(one - two)
    first, second = (list(SCENES).index(scene) for scene in answers.values())
    targets[first], targets[second] = apart, -apart
    with torch.no_grad():
        head = model.text_model.head
        head.weight.zero_()
        head.bias.zero_()
        hidden = model.text_model(input_ids=tokens(tokenizer)).last_hidden_state[:, -1].double()
        solved = torch.linalg.lstsq(hidden, torch.tensor(targets).double()).solution
        head.weight.copy_(solved.T)
        model.logit_scale.fill_(math.log(16 / float(one @ apart)))
        model.logit_bias.fill_(-8.0)
    model.save_pretrained(folder)
    return folder


ANSWERS = {"cat": "living room", "coins": "museum"}


@pytest.fixture(scope="module", params=["siglip", "siglip2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("models") / f"scenes-{request.param}", request.param, ANSWERS)


def test_a_known_picture_gets_its_known_scene(model: Path) -> None:
    embedder = make_embedder(str(model))
    assert isinstance(embedder, SceneNamer)
    vectors = embedder.embed([pixels(name) for name in ANSWERS])
    found = embedder.scenes(vectors)
    assert [[tag.name for tag in tags] for tags in found] == [["living room"], ["museum"]]
    assert all(tags[0].confidence > 0.99 for tags in found)
    assert embedder.scenes(vectors[:0]) == []


def test_probabilities_are_those_of_the_whole_model(model: Path) -> None:
    from tokenizers import Tokenizer

    embedder = SiglipEmbedder(str(model))
    pictures = [pixels(name) for name in ("astronaut", "coffee", "cat")]
    assert embedder._texts is not None
    ours = embedder._texts.probabilities(embedder.embed(pictures))
    whole = transformers.AutoModel.from_pretrained(model).eval()
    inputs = {k: torch.from_numpy(v) for k, v in embedder._prepared(pictures).items()}
    ids = tokens(Tokenizer.from_file(str(model / "tokenizer.json")))
    with torch.inference_mode():
        theirs = torch.sigmoid(whole(input_ids=ids, **inputs).logits_per_image).numpy()
    assert ours.shape == (3, len(SCENES))
    assert np.allclose(ours, theirs, atol=1e-3)
    assert theirs.std() > 0


def test_the_text_tower_runs_once_per_model(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = SiglipEmbedder(str(model), tmp_path)
    vectors = first.embed([pixels("cat")])
    expected = first.scenes(vectors)
    (kept,) = tmp_path.glob("scenes-*.npz")
    tower = getattr(transformers, f"{first.name.split(':')[0].capitalize()}TextModel")
    loads: list[int] = []
    load = tower.from_pretrained
    monkeypatch.setattr(tower, "from_pretrained", lambda *a, **o: loads.append(1) or load(*a, **o))
    assert SiglipEmbedder(str(model), tmp_path).scenes(vectors) == expected
    assert loads == []
    kept.write_bytes(kept.read_bytes()[:100])
    again = SiglipEmbedder(str(model), tmp_path)
    assert again.scenes(vectors) == again.scenes(vectors) == expected
    assert loads == [1]


@pytest.mark.parametrize("lacks", ["tokenizer", "tower", "scale", "broken tokenizer"])
def test_what_is_missing_is_said_and_vectors_go_on(model: Path, tmp_path: Path, lacks: str) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "m"
    folder.mkdir()
    for path in model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = load_file(model / "model.safetensors")
    if lacks == "tokenizer":
        (folder / "tokenizer.json").unlink()
    elif lacks == "broken tokenizer":
        (folder / "tokenizer.json").write_text("{")
    else:
        gone = "text_model" if lacks == "tower" else "logit_bias"
        left = {k: v for k, v in weights.items() if not k.startswith(gone)}
        save_file(left, folder / "model.safetensors", metadata={"format": "pt"})
    embedder = SiglipEmbedder(str(folder), tmp_path)
    vectors = embedder.embed([pixels("cat")])
    assert embedder.scenes(vectors) == [[]]
    assert embedder.scenes_name is None
    wanted = {"tokenizer": "tokenizer.json", "tower": "text tower", "scale": "logit_bias"}
    assert wanted.get(lacks, "cannot be read") in str(embedder.scenes_problem)
    assert str(tmp_path) not in str(embedder.scenes_problem)
    assert not list(tmp_path.glob("scenes-*"))


def test_scenes_are_searched_and_follow_the_setting(model: Path, tmp_path: Path) -> None:
    kind = model.name.removeprefix("scenes-")
    swapped = made(tmp_path / "swapped", kind, {"cat": "beach", "coins": "forest"}, seed=1)

    def found(setting: str | None, *scenes: str) -> list[str]:
        studio = Studio(Workspace(tmp_path / "home", embedder_model=setting))
        try:
            owner = studio.keys.authenticate(saved_api_key(studio.home))
            dataset = studio.datasets.get_or_create(owner, "photos")
            if not dataset.image_count:
                for name in ANSWERS:
                    studio.ingest.add_image(owner, dataset, data=photo(name), filename=f"{name}.jpg")
            hits = studio.search.by_tags(owner, dataset, Wanted(scenes=scenes)).hits
            assert all(set(hit.tags.scenes) & {scene.lower() for scene in scenes} for hit in hits)
            return [hit.sample.filename for hit in hits]
        finally:
            studio.close()

    assert found(None, "living room", "museum") == []
    assert found(str(model), "Living Room") == ["cat.jpg"]
    assert found(str(model), "museum") == ["coins.jpg"]
    assert found(str(swapped), "museum") == []
    assert found(str(swapped), "beach") == ["cat.jpg"]
    assert found(None, "beach", "museum") == []
    assert found(str(model), "museum") == ["coins.jpg"]

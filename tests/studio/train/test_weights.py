"""The weights of a run, opened for a trainer: under the name that the caller knows, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.trainable import order

from tintype_studio.errors import Unavailable
from tintype_studio.storage.blobs import Blobs
from tintype_studio.vision.train.session import Order
from tintype_studio.vision.train.weights import Weights, opened


def given(tmp_path: Path, weights: Weights) -> Order:
    return replace(order(tmp_path, "0" * 64, pretrained=weights.name), weights=weights)


def model(tmp_path: Path, name: str = "signs 2.0.0") -> Order:
    digest = Blobs(str(tmp_path / "blobs")).put(b"weights of a model")
    return given(tmp_path, Weights("model", name, "some-id", digest))


def local(tmp_path: Path, name: str, real: Path) -> Order:
    return given(tmp_path, Weights("local", name, path=str(real)))


def refused(work: Order) -> Unavailable:
    with pytest.raises(Unavailable) as caught, opened(work):
        pass
    assert caught.value.code == "needs_weights"
    return caught.value


def test_without_weights_a_configuration_is_as_it_is(tmp_path: Path) -> None:
    work = order(tmp_path, "0" * 64, pretrained="anything")
    with opened(work) as config:
        assert config is work.config


def test_a_model_is_a_file_that_bears_its_name(tmp_path: Path) -> None:
    work = model(tmp_path)
    for _ in range(2):
        with opened(work) as config:
            path = Path(str(config.pretrained))
        assert path.read_bytes() == b"weights of a model"
        assert path.name == "model signs 2.0.0"
        assert path.is_relative_to(work.work_dir)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert replace(config, pretrained=work.config.pretrained) == work.config


def test_a_model_with_a_long_name_is_a_file_too(tmp_path: Path) -> None:
    with opened(model(tmp_path, "ü" * 100 + " 1.0.0")) as config:
        assert Path(str(config.pretrained)).read_bytes() == b"weights of a model"


def test_a_model_whose_bytes_are_gone(tmp_path: Path) -> None:
    work = model(tmp_path)
    assert work.weights is not None
    Blobs(work.blob_url).delete(str(work.weights.sha256))
    assert "model signs 2.0.0" in refused(work).message
    assert not list(Path(work.work_dir).rglob("model*"))


@pytest.mark.parametrize("name", ["best.pt", "runs/best.pt", "..", "~", "/"])
def test_a_local_path_is_called_as_the_caller_did(tmp_path: Path, name: str) -> None:
    real = tmp_path / "secret place" / "7f.pt"
    real.parent.mkdir()
    real.write_bytes(b"w")
    work = local(tmp_path, name, real)
    for _ in range(2):
        with opened(work) as config:
            path = Path(str(config.pretrained))
            assert path.read_bytes() == b"w"
        assert path.name == ("best.pt" if "best" in name else "weights" if name != "~" else "~")
    real.unlink()
    assert "secret" not in refused(work).message


def test_a_folder_is_a_path_too(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "config.json").write_text("{}")
    with opened(local(tmp_path, "net", tmp_path / "net")) as config:
        assert (Path(str(config.pretrained)) / "config.json").is_file()


def test_what_leads_elsewhere_by_now_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"secret")
    path = tmp_path / "best.pt"
    path.symlink_to(tmp_path / "other")
    refused(local(tmp_path, "best.pt", path))


def test_a_hub_id_names_no_folder_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org" / "net").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert Path("org/net").is_dir()
    with opened(given(tmp_path, Weights("hub", "org/net"))) as config:
        assert config.pretrained == "org/net"
        assert not Path("org/net").exists()
    assert Path.cwd() == tmp_path


def test_what_is_told_says_no_path() -> None:
    weights = Weights("local", "best.pt", path="/secret/best.pt")
    assert weights.told() == {"kind": "local", "name": "best.pt"}
    assert Weights.from_json(weights.as_json()) == weights
    assert Weights("model", "signs 1.0.0", "id", "0" * 64).told() == {
        "kind": "model",
        "name": "signs 1.0.0",
        "model_id": "id",
    }

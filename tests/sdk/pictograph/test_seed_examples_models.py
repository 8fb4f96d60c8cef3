"""The seed documentation's examples of auto-annotation, search, training and models, on real ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("transformers")

from support.sdk import Sdk
from support.seed_models import TINY, hurried, open_models_sdk


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdk]:
    with open_models_sdk(tmp_path_factory.mktemp("seed")) as opened:
        yield opened


# --- Auto-annotation -----------------------------------------------------------------------------------


def test_a_point(sdk: Sdk) -> None:
    code = """
    result = client.auto_annotate.point(
        dataset_name="my-dataset",
        image_filename="img-3.png",
        x=240, y=240,
        name="car",
        positive_points=[(230, 250)],
        negative_points=[(100, 100)],
        score_threshold=0.75,
    )
    image = [i.id for i in client.datasets.get("my-dataset", include_images=True).images
             if i.filename == "img-3.png"][0]
    saved = client.annotations.save(image, result.annotations)
    client.annotations.delete(image)
    return [result.status, result.annotations[0], saved.new_count]
    """
    status, annotation, saved = sdk.run(code)
    assert (status, annotation["type"], annotation["name"], saved) == ("success", "polygon", "car", 1)
    (ring,) = annotation["polygon"]["paths"]
    assert all(150 <= p["x"] <= 330 and 150 <= p["y"] <= 330 for p in ring)


def test_a_box(sdk: Sdk) -> None:
    code = """
    result = client.auto_annotate.box(
        dataset_name="my-dataset",
        image_filename="img-3.png",
        box={"x": 150, "y": 150, "w": 180, "h": 180},
        name="car",
        return_polygon=True,
        confidence_threshold=0.5,
        negative_boxes=[{"x": 50, "y": 50, "w": 30, "h": 30}],
    )
    return [result.status, result.annotations[0].type]
    """
    assert sdk.run(code) == ["success", "polygon"]


def test_words(sdk: Sdk) -> None:
    """A plural means the class; what nobody finds is told with a way to it."""
    code = """
    result = client.auto_annotate.text(
        dataset_name=name,
        image_filename="img-1.png",
        text_prompt="red cars",
        output_type="polygon",
        confidence_threshold=0.3,
        max_detections=50,
    )
    return [result.status, [[a.name, a.type] for a in result.annotations]]
    """
    classes = [{"name": name, "type": "polygon"} for name in ("red car", "blue car")]
    sdk.run("client.projects.update('reds', classes=classes)", classes=classes)
    assert sdk.run(code, name="reds") == ["success", [["red car", "polygon"]]]
    assert sdk.fails(code, name="my-dataset")["response"]["error"]["code"] == "needs_engine"


BATCH = """
from pictograph import BatchClass
job = client.auto_annotate.batch(
    dataset_name=name,
    image_filenames=["img-1.png", "img-2.png", "img-3.png"],
    classes=[
        BatchClass(name="stop_sign", output_type="polygon"),
        BatchClass(name="yield", output_type="bbox"),
    ],
    confidence_threshold=0.5,
    wait=wait,
    poll_interval=0.2,
    timeout=1800.0,
)
"""


def test_a_batch(sdk: Sdk) -> None:
    code = (
        BATCH
        + """
types = sorted({a.type for i in client.datasets.get(name, include_images=True).images
                for a in client.annotations.get(i.id)})
return [[job.status, job.processed_images, job.total_annotations_added], types]
"""
    )
    assert sdk.run(code, name="classes", wait=True) == [["completed", 3, 6], ["bbox", "polygon"]]


def test_a_batch_is_polled(sdk: Sdk) -> None:
    code = (
        BATCH
        + """
job = client.auto_annotate.get_batch(job.job_id)
begun = job.status
job = client.auto_annotate.wait_for_batch(job.job_id, timeout=600.0)
try:
    client.auto_annotate.cancel_batch(job.job_id)
except pictograph.ConflictError as error:
    return [begun, job.status, error.status_code]
"""
    )
    begun, ended, refused = sdk.run(hurried(code), name="half labelled", wait=False)
    assert begun in {"pending", "running", "completed"}
    assert (ended, refused) == ("completed", 409)


def test_the_workflow_with_all_its_arguments(sdk: Sdk) -> None:
    code = """
from pictograph.workflows import auto_annotate_dataset
report = auto_annotate_dataset(
    client,
    "my-dataset",
    classes=[("car", "polygon"), ("person", "bbox")],
    mode="batch",
    confidence_threshold=0.5,
    overwrite=False,
    max_images=None,
)
return [report.images_processed, report.annotations_added, len(report.failures), report.images_skipped]
"""
    assert sdk.run(hurried(code)) == [2, 4, 0, 2]


# --- Search --------------------------------------------------------------------------------------------


def test_search_by_similarity(sdk: Sdk) -> None:
    code = """
    image = client.datasets.get("to train", include_images=True).images[0]
    results = client.search.by_similarity(
        image_id=image.id,
        threshold=0.6,
        limit=50,
        folder_path=None,
    )
    return [[[r.id, r.filename, f"{r.similarity:.3f}"] for r in results], image.id,
            [hasattr(r, "image_id") for r in results]]
    """
    results, image, has_image_id = sdk.run(code)
    names = [name for _, name, _ in results]
    assert len(results) >= 5
    assert image not in [i for i, _, _ in results]
    assert set(names) >= {f"img-{n}.png" for n in (2, 3, 4, 5)}
    assert not any(has_image_id)


def test_search_by_tag(sdk: Sdk) -> None:
    """Without a model that names scenes no image has one; by what is labelled they are found."""
    code = """
    results = client.search.by_tag(
        objects=["red", "truck"],
        **more,
        dataset_name="to train",
        limit=100,
    )
    return [[r.id, r.image_auto_tags["objects"], hasattr(r, "image_id"), hasattr(r, "tags")] for r in results]
    """
    everything = {"scenes": ["outdoor"], "attributes": ["blurry"]}
    assert sdk.run(code, more=everything) == []
    found = sdk.run(code, more={})
    assert len(found) == 6
    assert all("red" in tags and not image_id and not has for _, tags, image_id, has in found)


# --- Training and models -------------------------------------------------------------------------------

TRAIN = """
from pictograph import Client
from pictograph.workflows import train_pipeline
run, model = train_pipeline(
    client,
    "to train",
    pipeline="yolox",
    gpu="a10g",
    config=config,
)
if model:
    client.models.download(model.id, path)
return [run, model]
"""
CREATE = """
client.exports.create("to train", name, include_images=True)
run = client.training.create(
    dataset_name="to train",
    export_name=name,
    pipeline_type="yolox",
    name="yolox-run-1",
    config=config,
    gpu_type="a10g",
    wait=wait,
    poll_interval=0.2,
    timeout=7200.0,
)
"""
LONG = TINY | {"epochs": 500, "max_minutes": 2}


@pytest.fixture(scope="module")
def trained(sdk: Sdk, one_core: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run, its model and the file that was downloaded."""
    file = tmp_path_factory.mktemp("model") / "yolox.onnx"
    run, model = sdk.run(hurried(TRAIN), config=TINY, path=str(file))
    return {"run": run, "model": model, "file": file}


def test_a_model_is_trained_and_downloaded(trained: dict[str, Any]) -> None:
    assert "train_pipeline(" in TRAIN
    run, model = trained["run"], trained["model"]
    assert (run["status"], run["pipeline_type"], run["gpu_type"]) == ("completed", "yolox", "a10g")
    assert (model["id"], model["status"]) == (run["model_id"], "ready")
    assert trained["file"].stat().st_size > 100_000


def test_a_training_is_polled(sdk: Sdk) -> None:
    code = """
    from pictograph.workflows import train_pipeline
    run, _ = train_pipeline(client, "to train", pipeline="yolox", wait=False, config=config)
    queued = run.id
    run = client.training.get(run.id)
    if run.status == "completed":
        model = client.models.get(run.model_id)
    client.training.cancel(run.id)
    return [queued == run.id, run.status, _]
    """
    same, status, model = sdk.run(code, config=LONG)
    assert (same, model) == (True, None)
    assert status in {"queued", "running"}


def test_a_training_run(sdk: Sdk, one_core: None) -> None:
    run = sdk.run(CREATE + "return run", name="road-signs-20260512-120000", config=TINY, wait=True)
    assert (run["name"], run["status"], run["progress"]) == ("yolox-run-1", "completed", 100)


def test_runs_are_listed(sdk: Sdk, trained: dict[str, Any]) -> None:
    code = """
    runs = client.training.list(limit=20, status="running")
    told = [[run.id, run.status, run.progress] for run in client.training.iter(page_size=50)]
    return [[run.status for run in runs], told]
    """
    running, told = sdk.run(code)
    assert set(running) <= {"running"}
    assert [trained["run"]["id"], "completed", 100] in told


def test_a_run_is_read_and_waited_for(sdk: Sdk, trained: dict[str, Any]) -> None:
    code = """
    run = client.training.get(run_id)
    told = [run.status, run.progress, run.current_epoch, run.total_epochs]
    run = client.training.wait_for_completion(run_id, timeout=3600.0)
    if run.status == "completed":
        model = client.models.get(run.model_id)
    return [told, model.id]
    """
    told, model = sdk.run(code, run_id=trained["run"]["id"])
    assert (told, model) == (["completed", 100, 1, 1], trained["model"]["id"])


def test_a_run_is_cancelled(sdk: Sdk) -> None:
    """Its minutes are given back."""
    code = (
        CREATE
        + """
before = client.credits.balance().credits_remaining
client.training.cancel(run.id)
try:
    client.training.wait_for_completion(run.id, poll_interval=0.2, timeout=60)
except pictograph.ApiError:
    pass
return [client.training.get(run.id).status, client.credits.balance().credits_remaining - before]
"""
    )
    status, back = sdk.run(code, name="to cancel", config=LONG, wait=False)
    assert status == "cancelled"
    assert 10 <= back <= 20  # of two minutes, one at most was trained


def test_a_training_that_outlasts_the_wait(sdk: Sdk) -> None:
    code = """
    from pictograph.exceptions import PollTimeoutError
    from pictograph.workflows import train_pipeline
    try:
        run, model = train_pipeline(
            client, "to train", pipeline="yolox", timeout=0.5, poll_interval=0.1, config=config
        )
    except PollTimeoutError as e:
        has_id = hasattr(e, "run_id")
        run_id = client.training.list(limit=1)[0].id
        run = client.training.get(run_id)
        if run.status == "completed":
            model = client.models.get(run.model_id)
        client.training.cancel(run_id)
        return [has_id, run.status]
    """
    has_id, status = sdk.run(code, config=LONG)
    assert not has_id
    assert status in {"queued", "running"}


def test_what_a_training_lacks(sdk: Sdk) -> None:
    asked = 'client.training.create("to train", "dear", pipeline_type="yolox")'
    told = sdk.fails(asked)
    assert (told["type"], "'name'" in told["message"]) == ("TypeError", True)
    code = """
    from pictograph.exceptions import PaymentRequiredError
    client.exports.create("to train", "dear", include_images=True)
    try:
        client.training.create("to train", "dear", pipeline_type="yolox", name="dear", config=config)
    except PaymentRequiredError as e:
        absent = [a for a in ("required", "remaining") if not hasattr(e, a)]
        return [e.credit_cost, e.credits_remaining == client.credits.balance().credits_remaining,
                e.upgrade_url, absent]
    """
    cost, right, url, absent = sdk.run(code, config={"max_minutes": 500})
    assert (cost, right, absent) == (5000, True, ["required", "remaining"])
    assert url.startswith("http")


def test_models_are_listed(sdk: Sdk, trained: dict[str, Any]) -> None:
    code = """
    models = client.models.list(limit=20)
    return [[[m.name, m.architecture, m.status, m.metrics] for m in models],
            [[m.id, m.model_type] for m in client.models.iter(page_size=50)]]
    """
    listed, paged = sdk.run(code)
    assert "road-signs finder" in [name for name, *_ in listed]
    assert [trained["model"]["id"], "object_detection"] in paged
    (mine,) = [told[1:] for told in listed if told[0] == trained["model"]["name"]]
    assert (mine[0], mine[1], "mAP" in mine[2]) == (trained["model"]["architecture"], "ready", True)


def test_a_model_is_read_downloaded_and_deleted(sdk: Sdk, trained: dict[str, Any], tmp_path: Path) -> None:
    code = """
    from pathlib import Path
    model = client.models.get(model_id)
    client.models.download(model_id, output_path=Path(path))
    spare = [m.id for m in client.models.list(limit=50) if m.name == "ungated finder"][0]
    client.models.delete(spare)
    left = [m.id for m in client.models.list(limit=50)]
    return [model.architecture, model.metrics["mAP"], model.class_mapping, spare in left]
    """
    path = tmp_path / "yolox.onnx"
    architecture, score, classes, left = sdk.run(code, model_id=trained["model"]["id"], path=str(path))
    assert architecture
    assert 0 <= score <= 1
    assert sorted(classes.values()) == ["blue", "red"]
    assert not left
    assert path.read_bytes() == trained["file"].read_bytes()


def test_a_model_runs_in_onnx_runtime(sdk: Sdk, trained: dict[str, Any], tmp_path: Path) -> None:
    """By our own ONNX Runtime: the SDK brings none."""
    ort = pytest.importorskip("onnxruntime")
    path = str(tmp_path / "model.onnx")
    code = "client.models.download(model_id, output_path=path)"
    sdk.run(code, model_id=trained["model"]["id"], path=path)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["images"]

"""All methods of all resources of the published SDK, each called and answered once, in one story.

The record of what returned is kept inside the SDK's interpreter, around its own methods.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("transformers")

from support.people import join
from support.providers import KEY
from support.sdk import Sdk
from support.sdk_worlds import LONG, TINY, open_scenes, pictures
from support.videos import clip

from tintype_server.opening import open_studio
from tintype_server.settings import Settings

METHODS = 76
RECORD = """
import functools
returned, all_methods = pictograph.__dict__.setdefault("_returned", set()), []
for name in sorted(vars(client)):
    resource = type(getattr(client, name))
    if not resource.__module__.startswith("pictograph.resources"):
        continue
    for method in [m for m in vars(resource) if not m.startswith("_") and callable(vars(resource)[m])]:
        all_methods.append(f"{name}.{method}")
        def recorded(self, *args, _call=vars(resource)[method], _name=all_methods[-1], **kwargs):
            value = _call(self, *args, **kwargs)
            returned.add(_name)
            return value
        setattr(resource, method, functools.wraps(vars(resource)[method])(recorded))
return all_methods
"""
STORY = {
    "projects and datasets": """
        made = client.projects.create("story", description="told", annotation_types=["bbox"],
            classes=[pictograph.ProjectClass(name="red", type="bbox", color="#ff0000")])
        client.projects.update("story", description="told again")
        assert client.projects.get("story").description == "told again"
        assert "story" in [p.name for p in client.projects.list(limit=50)]
        assert "story" in [p.name for p in client.projects.iter(page_size=1)]
        assert "story" in [d.name for d in client.datasets.list(limit=50)]
        assert "story" in [d.name for d in client.datasets.iter(page_size=1).all()]
        assert client.datasets.get_by_id(made.id).name == client.datasets.get("story").name
    """,
    "images and annotations": """
        dataset = client.projects.get("story").id
        image = client.images.upload(dataset_id=dataset, file_path=f"{folder}/m1.png", folder_path="/in")
        assert client.images.get(image.id).filename == "m1.png"
        client.images.download(image.id, output_path=f"{folder}/back.png")
        assert open(f"{folder}/back.png", "rb").read() == open(f"{folder}/m1.png", "rb").read()
        box = pictograph.BoundingBox(x=1, y=2, w=30, h=40)
        client.annotations.save(image.id, [pictograph.BBoxAnnotation(id="1", name="red", bounding_box=box)])
        assert [a.name for a in client.annotations.get(image.id)] == ["red"]
        assert client.annotations.delete(image.id).deleted_count == 1
        client.images.delete(image.id)
        report = client.datasets.download("scenes", output_dir=f"{folder}/out", mode="full")
        assert (report.images_downloaded, report.failures) == (7, [])
    """,
    "batch": """
        dataset = client.projects.get("story").id
        paths = [f"{folder}/{name}.png" for name in ("m2", "m3")]
        ids = [client.images.upload(dataset_id=dataset, file_path=path).id for path in paths]
        for result in (
            client.batch.move(dataset_name="story", image_ids=ids, target_folder_path="/there"),
            client.batch.copy(dataset_name="story", image_ids=ids, target_folder_path="/copy"),
            client.batch.update(dataset_name="story", image_ids=ids, status="complete"),
            client.batch.delete(dataset_name="story", image_ids=ids),
        ):
            assert (result.success, result.processed) == (True, 2)
    """,
    "auto-annotate and search": """
        asked = {"dataset_name": "scenes", "image_filename": "0.png"}
        assert client.auto_annotate.point(**asked, x=20, y=20, score_threshold=0.1).status == "success"
        box = {"x": 0, "y": 0, "w": 50, "h": 50}
        found = client.auto_annotate.box(**asked, box=box, name="c", confidence_threshold=0.1)
        assert found.status == "success"
        assert client.auto_annotate.text(**asked, text_prompt="red").status == "success"
        classes = [pictograph.BatchClass(name="red", output_type="bbox")]
        job = client.auto_annotate.batch("scenes", ["new.png"], classes, wait=False)
        done = client.auto_annotate.wait_for_batch(job.job_id, poll_interval=0.2)
        assert client.auto_annotate.get_batch(job.job_id).status == done.status == "completed"
        names = [f"{n}.png" for n in range(6)]
        for _ in range(20):  # one that is not done before it is told to stop
            job = client.auto_annotate.batch("scenes", names, classes, wait=False)
            try:
                client.auto_annotate.cancel_batch(job.job_id)
                break
            except pictograph.ConflictError:
                pass
        first = client.datasets.get("scenes", include_images=True).images[0].id
        assert client.search.by_similarity(first, threshold=0.1)
        assert client.search.by_tag(objects=["red"], dataset_name="scenes")
    """,
    "exports": """
        client.exports.create("scenes", "story", include_images=True, wait=False)
        done = client.exports.wait_for_completion("scenes", "story", poll_interval=0.2)
        assert client.exports.get("scenes", "story").status == done.status == "completed"
        assert [e.name for e in client.exports.list()] == [e.name for e in client.exports.iter(page_size=1)]
        client.exports.download("scenes", "story", output_path=f"{folder}/story.zip")
        client.exports.create("scenes", "bye", format="csv")
        client.exports.delete("scenes", "bye")
    """,
    "training and models": """
        asked = {"pipeline_type": "yolox", "config": tiny, "wait": False}
        run = client.training.create("scenes", "story", name="s", **asked)
        done = client.training.wait_for_completion(run.id, poll_interval=0.3, timeout=150)
        assert client.training.get(run.id).status == done.status == "completed"
        asked["config"] = long
        client.training.cancel(client.training.create("scenes", "story", name="t", **asked).id)
        assert len(client.training.list()) == len(client.training.iter(page_size=1).all())
        assert client.models.get(done.model_id).status == "ready"
        client.models.download(done.model_id, output_path=f"{folder}/s.onnx")
        assert client.models.list(limit=5)
        assert done.model_id in [m.id for m in client.models.iter(page_size=1)]
        client.models.delete(done.model_id)
    """,
    "credits": """
        balance = client.credits.balance()
        assert client.credits.history(limit=1)[0].id == next(iter(client.credits.iter(page_size=2))).id
        told = client.credits.estimate("sam3_per_minute", quantity=2)
        assert told.credits_remaining == balance.credits_remaining
    """,
    "connectors": """
        found = client.connectors.validate("v7", provider_key)
        assert found.valid
        remote = [d for d in found.datasets if d.slug == "story-roads"]
        assert client.connectors.check_limits(total_images=3, estimated_size_bytes=1000).allowed
        job = client.connectors.import_("v7", provider_key, remote, wait=False)
        job = client.connectors.wait_for_import(job.import_id, poll_interval=0.2)
        assert client.connectors.get_import(job.import_id).status == job.status == "completed"
        for _ in range(20):
            job = client.connectors.import_("v7", provider_key, remote, wait=False)
            try:
                client.connectors.cancel_import(job.import_id)
                break
            except pictograph.ConflictError:
                pass
    """,
    "video": """
        info = client.video.upload(video)
        assert client.video.probe(info.gcs_path).frame_count > 0
        job = client.video.extract_frames("story", info.gcs_path, folder_name="frames", wait=False)
        job = client.video.wait_for_extraction(job.job_id, poll_interval=0.2)
        assert client.video.get_extraction(job.job_id).frames_extracted == job.frames_extracted > 0
    """,
    "organization and keys": """
        assert client.organizations.me().member_count == len(client.organizations.list_members())
        client.organizations.update_member_role(member, role="viewer")
        client.organizations.remove_member(member)
        invite = client.organizations.invite(email="new@example.com", role="member")
        assert invite.id in [i.id for i in client.organizations.list_invites(status="pending")]
        client.organizations.revoke_invite(invite.id)
        made = client.api_keys.create(client.organizations.me().id, "story", role="viewer")
        client.api_keys.update(made.key_id, name="told")
        assert client.api_keys.get(made.key_id).name == "told"
        assert made.key_id in [k.id for k in client.api_keys.list()]
        client.api_keys.delete(made.key_id)
    """,
    "the end": "client.projects.delete('story')",
}


@pytest.fixture(scope="module")
def scenes(one_core: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdk]:
    with open_scenes(tmp_path_factory.mktemp("methods")) as opened:
        yield opened


@pytest.mark.slow
def test_every_method_returns(scenes: Sdk, tmp_path: Path) -> None:
    studio = open_studio(Settings(home=scenes.server.home))
    member = join(studio, studio.keys.authenticate(scenes.server.keys["owner"])).member_id
    studio.close()
    scenes.server.provider.add_v7("story-roads", 3)
    folder = pictures(tmp_path / "story", "m1.png", "m2.png", "m3.png")
    values = {
        "folder": str(folder),
        "video": str(clip(tmp_path, "story.mp4")),
        "tiny": TINY,
        "long": LONG,
        "member": member,
        "provider_key": KEY,
    }
    methods = scenes.run(RECORD)
    assert len(methods) == METHODS
    for chapter in STORY.values():
        scenes.run(chapter, **values)
    returned = scenes.run("return sorted(pictograph._returned)")
    assert sorted(set(methods) - set(returned)) == []

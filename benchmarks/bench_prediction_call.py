"""How long the published SDK of the Dragoneye dialect takes to have one small picture predicted.

    python benchmarks/bench_prediction_call.py [--quick] [--rounds N]

The SDK runs in an interpreter of its own (``make sdk`` installs it) and makes five requests for a picture:
begin, upload, predict, status, results; it looks at the status at once and then every second. The detector is
a ``yolox`` network of random numbers, which does the same work as a trained one; its own time is that of the
network in a process with one thread, as the worker's children have it, asked in turns with the SDK.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from _common import free_port, http_server, median, milliseconds, percentile, print_result
from PIL import Image

from tintype_studio import clock
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.identity.keys import Principal
from tintype_studio.predictions.looking import Eye, look
from tintype_studio.storage.training_tables import models, training_runs
from tintype_studio.studio import Studio, Workspace

ROUNDS = 20
WARM_UP = 2
POLL_SECONDS = 1.0
"""Between two looks of the SDK at a status."""
AIM = 1.5
WIDTH, HEIGHT = 640, 480
SDK = Path(__file__).parents[1] / ".sdk" / "dragoneye-2.0.1" / "bin" / "python"
NAME = "bench"

CLIENT = """
import asyncio, json, sys, time
from dragoneye import Dragoneye, Image

key, url, path, model = sys.argv[1:]
client = Dragoneye(api_key=key, base_api_url=url)


async def once():
    start = time.perf_counter()
    found = await client.classification.predict_image(Image.from_path(path), model)
    return time.perf_counter() - start, len(found.objects)


for _ in sys.stdin:
    print(json.dumps(asyncio.run(once())), flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="5 rounds")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}")
    chosen = parser.parse_args()
    rounds = chosen.rounds or (5 if chosen.quick else ROUNDS)
    if not SDK.exists():
        sys.exit("The published SDK is not installed; run `make sdk` first.")
    with tempfile.TemporaryDirectory(prefix="tintype-bench-") as name:
        home = Path(name) / "home"
        picture = Path(name) / "picture.jpg"
        noise = np.random.default_rng(0).integers(0, 255, (HEIGHT // 16, WIDTH // 16, 3), np.uint8)
        Image.fromarray(noise).resize((WIDTH, HEIGHT)).save(picture, quality=90)
        studio = Studio(Workspace(home))
        key = saved_api_key(home) or ""
        digest = add_detector(studio, studio.keys.authenticate(key))
        calls, alone = compare(studio, key, digest, picture, rounds)
        studio.close()
    call, own = median(calls), median(alone)
    bound = AIM * own + POLL_SECONDS
    rows = [
        ["SDK round trip, p50", milliseconds(call)],
        ["SDK round trip, p95", milliseconds(percentile(calls, 95))],
        ["detector alone, p50", milliseconds(own)],
        [f"{AIM:g} x detector + one poll", milliseconds(bound)],
    ]
    print_result(
        "prediction_call", [f"one picture of {WIDTH} x {HEIGHT}", "time"], rows, round_trip=call / bound
    )


def add_detector(studio: Studio, owner: Principal) -> str:
    """A ready model of the name ``NAME``; returns the digest of its ONNX file."""
    import sqlalchemy as sa
    import torch

    from tintype_studio.vision.train.config import read_config
    from tintype_studio.vision.train.export_onnx import export
    from tintype_studio.vision.train.pipelines import pipeline_of
    from tintype_studio.vision.train.trainers.yolox import Yolox

    torch.manual_seed(0)
    trainer, (config, _) = Yolox(), read_config(pipeline_of("yolox"), {})
    signature = trainer.signature(("sign", "light", "car"), config)
    size = signature.image_size
    noise = np.random.default_rng(0).uniform(0, 255, (4, 3, size, size)).astype(np.float32)
    data = export(trainer.exportable(trainer.build(signature, config).module), signature, noise).data
    now, digest = clock.now(), studio.blobs.put(data)
    dataset = studio.datasets.create(owner, name="bench")
    common = {
        "organization_id": owner.organization_id,
        "dataset_id": dataset.row_id,
        "dataset_name": dataset.name,
        "name": NAME,
        "pipeline": "yolox",
        "metrics": {},
        "created_at": now,
    }
    with studio.database.write() as connection:
        run = {
            "export_name": "e",
            "gpu": "a10g",
            "config": {},
            "outcome": "completed",
            "facts": {},
            "notes": [],
        }
        run_id = connection.execute(
            sa.insert(training_runs)
            .values(**common, **run, uuid=clock.new_id())
            .returning(training_runs.c.id)
        ).scalar_one()
        connection.execute(
            sa.insert(models).values(
                **common,
                uuid=clock.new_id(),
                run_id=run_id,
                version=1,
                model_type=signature.task.value,
                signature=signature.as_json(),
                card={},
                onnx_sha256=digest,
                onnx_size=len(data),
                updated_at=now,
                ready_at=now,
            )
        )
    return digest


def compare(
    studio: Studio, key: str, digest: str, picture: Path, rounds: int
) -> tuple[list[float], list[float]]:
    """Seconds of round trips and of the detector alone, by turns."""
    port = free_port()
    server = [str(Path(sys.executable).with_name("tintype")), "--home", str(studio.home)]
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    url = f"http://127.0.0.1:{port}/dragoneye"
    client = [str(SDK), "-c", CLIENT, key, url, str(picture), f"recognize_anything/{NAME}"]
    data, calls, alone = picture.read_bytes(), [], []
    with (
        http_server([*server, "serve", "--port", str(port)], port, environment),
        subprocess.Popen(client, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sdk,
    ):
        assert sdk.stdin is not None
        assert sdk.stdout is not None
        for number in range(WARM_UP + rounds):
            sdk.stdin.write("\n")
            sdk.stdin.flush()
            seconds, _ = json.loads(sdk.stdout.readline())
            seen = look(studio.blobs, Eye(NAME, digest), data, threshold=0.5)
            if number >= WARM_UP:
                calls.append(seconds)
                alone.append(seen.seconds)
        sdk.stdin.close()
    return calls, alone


if __name__ == "__main__":
    main()

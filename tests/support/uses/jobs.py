"""What every door does with jobs, and to learn what they cost."""

from __future__ import annotations

from support.door_world import World
from support.doors import Door, Refused


def use_get_credit_balance(door: Door, world: World) -> None:
    value = door.call("get_credit_balance", {}).value
    assert 0 < value["credits_remaining"] <= value["credits_monthly_allowance"] == 1000
    assert value["recent_history"]


def use_estimate_credit_cost(door: Door, world: World) -> None:
    arguments = {"operation": "training_h100_per_minute", "quantity": 30}
    value = door.call("estimate_credit_cost", arguments).value
    assert (value["total_credits"], value["unit"], value["sufficient"]) == (3600, "minute", False)


def use_verify_dataset(door: Door, world: World) -> None:
    value = door.call("verify_dataset", {"dataset_name": world.dataset}).value
    assert (value["job"]["status"], value["images_read"], value["damaged"]) == ("completed", 1, [])


def use_get_job(door: Door, world: World) -> None:
    job = world.make("verify_dataset", dataset_name=world.dataset, wait_seconds=0)["job"]
    value = door.call("get_job", {"job_id": job["job_id"], "wait_seconds": 30}).value
    assert (value["job"]["status"], value["result"]) == ("completed", {"images": 1, "damaged": 0})


def use_list_jobs(door: Door, world: World) -> None:
    job = world.make("verify_dataset", dataset_name=world.dataset)["job"]
    value = door.call("list_jobs", {"dataset_name": world.dataset}).value
    assert [each["job_id"] for each in value["jobs"]] == [job["job_id"]]


def use_cancel_job(door: Door, world: World) -> None:
    job_id = world.make("verify_dataset", dataset_name=world.dataset, wait_seconds=0)["job"]["job_id"]
    try:
        cancelled = door.call("cancel_job", {"job_id": job_id}).value["job"]
        assert cancelled["status"] == "cancelled" or cancelled["cancelling"]
    except Refused as refused:  # one image takes no time
        assert refused.shape["code"] == "job_ended"  # noqa: PT017
    ended = world.make("get_job", job_id=job_id, wait_seconds=30)["job"]["status"]
    assert ended in {"cancelled", "completed"}

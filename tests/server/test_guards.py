"""The guards, one by one, on the dispatcher itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tintype_server.dispatch.dispatcher import GUARDS, Dispatcher
from tintype_server.dispatch.guards.audit import redact
from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.errors import (
    Cancelled,
    Conflict,
    Forbidden,
    Internal,
    InvalidInput,
    PaymentRequired,
    TintypeError,
    Unavailable,
)
from tintype_studio.identity.roles import Role
from tintype_tools.call import Affected, Call, Outcome, Output, Plan, Request
from tintype_tools.registry import Registry
from tintype_tools.spec import Args, Category, Effect, Quote, Result, ToolSpec


class ProbeArgs(Args):
    credits: int = 5
    do: str = "work"


class ProbeResult(Result):
    ran: int


class Probe:
    """A paid tool whose behaviour each test chooses."""

    def __init__(self) -> None:
        self.runs = 0
        self.behave: Callable[[ProbeArgs, Call], Result | Output] = lambda _a, _c: ProbeResult(ran=self.runs)

    def handle(self, args: ProbeArgs, call: Call) -> Result | Output:
        self.runs += 1
        return self.behave(args, call)

    def spec(self) -> ToolSpec:
        return ToolSpec(
            name="run_probe",
            title="Run a probe",
            category=Category.RESULTS,
            toolset="probe",
            description="Use when testing.",
            args=ProbeArgs,
            result=ProbeResult,
            required_role=Role.MEMBER,
            credit_cost=5,
            quote=lambda args, _call: Quote("probe", args.credits),
            idempotent=False,
            effect=Effect.SPEND,
            plan=lambda args, _call: Plan((Affected("probe.run", 1, detail={"credits": args.credits}),)),
            handler=self.handle,
        )


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    opened = Runtime.open(Settings(home=tmp_path / "home", confirm_above_credits=10**9))
    yield opened
    opened.close()


@pytest.fixture
def probe() -> Probe:
    return Probe()


@pytest.fixture
def dispatch(runtime: Runtime, probe: Probe) -> Dispatcher:
    registry = Registry([*runtime.registry, probe.spec()])
    return Dispatcher(runtime.studio, registry, runtime.settings)


def request(runtime: Runtime, **changes: Any) -> Request:
    values: dict[str, Any] = {
        "tool": "run_probe",
        "arguments": {},
        "api_key": runtime.local_api_key(),
        "door": "toolkit",
        "files": everything(runtime.settings),
    }
    return Request(**{**values, **changes})


def balance(runtime: Runtime) -> int:
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    return runtime.studio.ledger.balance(owner).credits_remaining


def audit(runtime: Runtime) -> list[dict[str, Any]]:
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    return [asdict(call) for call in runtime.studio.audit.list(owner)]


def test_the_guards_stand_in_one_visible_order() -> None:
    assert [guard.__name__ for guard in GUARDS] == [
        "audit",
        "authenticate",
        "rate",
        "resolve",
        "authorize",
        "validate",
        "shape",
        "wait",
        "dry_run",
        "idempotency",
        "confirm",
        "credits",
        "commit",
        "restore_point",
    ]


def test_a_paid_call_costs_its_quote(runtime: Runtime, dispatch: Dispatcher) -> None:
    outcome = dispatch(request(runtime, arguments={"credits": 7}))
    assert (outcome.credits, balance(runtime)) == (7, 993)


def test_less_work_costs_less(runtime: Runtime, dispatch: Dispatcher, probe: Probe) -> None:
    probe.behave = lambda _args, _call: Output(ProbeResult(ran=1), credits=2)
    assert dispatch(request(runtime)).credits == 2
    assert balance(runtime) == 998


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (RuntimeError("secret dsn=postgres://u:p@h"), Internal),
        (InvalidInput("no"), InvalidInput),
        (MemoryError(), Unavailable),
        (OSError(28, "No space left on device"), Unavailable),
        (OSError(5, "secret path /srv/x"), Internal),
        (KeyError("secret"), Internal),
    ],
)
def test_failed_work_is_free_and_leaks_nothing(
    runtime: Runtime, dispatch: Dispatcher, probe: Probe, fault: Exception, seen: type[TintypeError]
) -> None:
    def fail(_args: ProbeArgs, _call: Call) -> Result:
        raise fault

    probe.behave = fail
    with pytest.raises(seen) as raised:
        dispatch(request(runtime))
    assert "secret" not in json.dumps(raised.value.as_dict())
    assert balance(runtime) == 1000


def test_an_overspend_is_refused_before_the_work(
    runtime: Runtime, dispatch: Dispatcher, probe: Probe
) -> None:
    with pytest.raises(PaymentRequired) as raised:
        dispatch(request(runtime, arguments={"credits": 1001}))
    assert raised.value.details == {
        "required": 1001,
        "remaining": 1000,
        "top_up": "tintype credits grant",
    }
    assert (probe.runs, balance(runtime)) == (0, 1000)


def test_money_held_by_a_running_call_cannot_be_spent_twice(
    runtime: Runtime, dispatch: Dispatcher, probe: Probe
) -> None:
    inside, leave = threading.Event(), threading.Event()

    def wait(_args: ProbeArgs, _call: Call) -> Result:
        inside.set()
        leave.wait(10)
        return ProbeResult(ran=1)

    probe.behave = wait
    with ThreadPoolExecutor() as pool:
        first = pool.submit(dispatch, request(runtime, arguments={"credits": 600}))
        inside.wait(10)
        try:
            with pytest.raises(PaymentRequired):
                dispatch(request(runtime, arguments={"credits": 600}))
        finally:
            leave.set()
        assert first.result().credits == 600
    assert balance(runtime) == 400


def test_one_key_at_once_from_many_threads_runs_and_costs_once(
    runtime: Runtime, dispatch: Dispatcher, probe: Probe
) -> None:
    def call(_n: int) -> Outcome:
        return dispatch(request(runtime, idempotency_key="same"))

    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(call, range(12)))
    assert probe.runs == 1
    assert len({o.call_id for o in outcomes}) == 1
    assert sum(o.replayed for o in outcomes) == 11
    assert balance(runtime) == 995


def test_a_failed_call_gives_its_key_back(runtime: Runtime, dispatch: Dispatcher, probe: Probe) -> None:
    def fail(_args: ProbeArgs, _call: Call) -> Result:
        raise Conflict("not yet")

    works, probe.behave = probe.behave, fail
    with pytest.raises(Conflict):
        dispatch(request(runtime, idempotency_key="k"))
    probe.behave = works
    assert not dispatch(request(runtime, idempotency_key="k")).replayed
    assert dispatch(request(runtime, idempotency_key="k")).replayed


def test_defaults_spelled_out_are_the_same_call(runtime: Runtime, dispatch: Dispatcher) -> None:
    dispatch(request(runtime, idempotency_key="k"))
    spelled = request(runtime, idempotency_key="k", arguments={"credits": 5, "do": "work"})
    assert dispatch(spelled).replayed


def test_two_api_keys_do_not_share_idempotency_keys(
    runtime: Runtime, dispatch: Dispatcher, probe: Probe
) -> None:
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    other, _ = runtime.studio.keys.create(owner, name="other", role=Role.MEMBER)
    dispatch(request(runtime, idempotency_key="k"))
    assert not dispatch(request(runtime, idempotency_key="k", api_key=other)).replayed
    assert probe.runs == 2


@pytest.mark.parametrize("key", ["", "x" * 10_240, "a\nb", "é", "a\x00"])
def test_a_bad_idempotency_key_is_refused(
    runtime: Runtime, dispatch: Dispatcher, probe: Probe, key: str
) -> None:
    with pytest.raises(InvalidInput, match="idempotency key"):
        dispatch(request(runtime, idempotency_key=key))
    assert probe.runs == 0


def test_a_cancelled_call_stops_at_its_next_step_and_is_free(
    runtime: Runtime, dispatch: Dispatcher, probe: Probe
) -> None:
    made = request(runtime)

    def work(_args: ProbeArgs, call: Call) -> Result:
        made.cancelled.set()
        call.progress(1, 2, "half")
        return ProbeResult(ran=1)

    probe.behave = work
    with pytest.raises(Cancelled):
        dispatch(made)
    assert balance(runtime) == 1000


def test_toolsets_of_the_key_and_of_the_server_bind(runtime: Runtime, probe: Probe) -> None:
    from dataclasses import replace

    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    narrow, _ = runtime.studio.keys.create(owner, name="n", role=Role.MEMBER, toolsets=["datasets"])
    registry = Registry([*runtime.registry, probe.spec()])
    settings = replace(runtime.settings, toolsets=("datasets",))
    for settings_used, key in ((runtime.settings, narrow), (settings, runtime.local_api_key())):
        dispatch = Dispatcher(runtime.studio, registry, settings_used)
        with pytest.raises(Forbidden, match="toolset"):
            dispatch(request(runtime, api_key=key))
        assert dispatch(request(runtime, api_key=key, tool="list_datasets")).value["count"] == 0
    assert probe.runs == 0


def test_every_call_is_audited_refusals_too(runtime: Runtime, dispatch: Dispatcher) -> None:
    dispatch(request(runtime, agent="robot 2.0", arguments={"do": "x"}, idempotency_key="k"))
    dispatch(request(runtime, arguments={"do": "x"}, idempotency_key="k"))
    dispatch(request(runtime, tool="list_datasets"))
    for bad in ({"tool": "no_tool"}, {"arguments": {"credits": 10**6}}, {"arguments": {"zzz": 1}}):
        with pytest.raises(TintypeError):
            dispatch(request(runtime, **bad))
    rows = [(r["tool"], r["outcome"], r["credits"], r["replayed"]) for r in audit(runtime)]
    assert sorted(rows) == sorted(
        [
            ("run_probe", "ok", 5, False),
            ("run_probe", "ok", 0, True),
            ("list_datasets", "ok", 0, False),
            ("no_tool", "unknown_tool", 0, False),
            ("run_probe", "insufficient_credits", 0, False),
            ("run_probe", "invalid_arguments", 0, False),
        ]
    )
    paid = next(r for r in audit(runtime) if r["credits"])
    assert (paid["agent"], paid["door"], paid["role"]) == ("robot 2.0", "toolkit", "owner")
    assert json.loads(paid["arguments"]) == {"do": "x"}


def test_the_time_of_a_keys_last_use_is_kept_with_the_trail(runtime: Runtime, dispatch: Dispatcher) -> None:
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    key, info = runtime.studio.keys.create(owner, name="v", role=Role.VIEWER)
    assert info.last_used_at is None
    dispatch(request(runtime, tool="list_datasets", api_key=key))
    runtime.studio.audit.flush()
    assert runtime.studio.keys.get(owner, prefix=info.id).last_used_at is not None


def test_arguments_of_any_python_type_are_answered_and_recorded(
    runtime: Runtime, dispatch: Dispatcher
) -> None:
    import numpy as np

    for odd in (np.float64(1), {1, 2}, Path("x"), object()):
        with pytest.raises(InvalidInput):
            dispatch(request(runtime, arguments={"do": odd}))
    assert len([r for r in audit(runtime) if r["outcome"] == "invalid_arguments"]) == 4


@pytest.mark.parametrize("depth", [65, 300, 990, 5000])
def test_deep_arguments_are_refused(runtime: Runtime, dispatch: Dispatcher, depth: int) -> None:
    nested: Any = []
    for _ in range(depth):
        nested = [nested]
    with pytest.raises(InvalidInput, match="nested deeper"):
        dispatch(request(runtime, arguments={"do": nested}))


def test_an_answer_that_nobody_waits_for_is_free(
    runtime: Runtime, dispatch: Dispatcher, probe: Probe
) -> None:
    made = request(runtime)

    def work(_args: ProbeArgs, _call: Call) -> Result:
        made.cancelled.set()
        return ProbeResult(ran=1)

    probe.behave = work
    with pytest.raises(Cancelled):
        dispatch(made)
    assert balance(runtime) == 1000


def test_a_hold_whose_capture_failed_is_freed_before_the_next(
    runtime: Runtime, dispatch: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_kwargs: object) -> int:
        raise Unavailable("The database is busy.", code="database_busy")

    with monkeypatch.context() as broken:
        broken.setattr(runtime.studio.ledger, "capture_in", fail)
        broken.setattr(runtime.studio.ledger, "release", fail)
        with pytest.raises(Unavailable):
            dispatch(request(runtime))
    assert balance(runtime) == 995  # still held: nobody could free it
    dispatch(request(runtime))
    assert balance(runtime) == 995  # the second call's price; the first hold is gone


def test_cut_answers_can_be_read_on_by_a_key_with_few_toolsets(runtime: Runtime) -> None:
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    narrow, _ = runtime.studio.keys.create(owner, name="n", role=Role.MEMBER, toolsets=["datasets"])
    for n in range(9):
        runtime.studio.datasets.create(owner, name=f"dataset {n}")
    listed = runtime.dispatch(
        request(runtime, tool="list_datasets", api_key=narrow, max_response_tokens=300)
    ).value
    (cut,) = listed["_truncated"]["cuts"]
    more = request(runtime, tool="read_more", api_key=narrow, arguments={"cursor": cut["cursor"]})
    assert len(listed["datasets"]) + len(runtime.dispatch(more).value["items"]) == 9


def test_a_replayed_answer_is_cut_to_the_new_callers_budget(runtime: Runtime) -> None:
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    runtime.studio.datasets.create(owner, name="d")
    classes = [{"name": f"class number {n}"} for n in range(300)]
    arguments = {"dataset_name": "d", "classes": classes}
    call = {"tool": "set_dataset_classes", "arguments": arguments, "idempotency_key": "k"}
    assert len(runtime.dispatch(request(runtime, **call)).value["classes"]) == 300
    again = runtime.dispatch(request(runtime, **call, max_response_tokens=300))
    assert again.replayed
    assert len(json.dumps(again.value)) < 300 * 4 * 1.1


def test_the_trail_holds_no_secrets_and_no_bulk() -> None:
    text = redact(
        {
            "api_key": "pk_live_x",
            "nested": {"password": "p"},
            "points": [{"x": n} for n in range(500)],
            "text": "y" * 5000,
            "broken": "\ud800",
            "huge": 10**30,
        }
    )
    assert "pk_live_x" not in text
    assert '"p"' not in text
    assert len(text) < 600
    assert json.loads(text)["points"] == "[500 items]"


def test_nan_and_infinity_in_arguments_are_refused(runtime: Runtime, dispatch: Dispatcher) -> None:
    for number in (float("nan"), float("inf")):
        box = {"x": number, "y": 0, "w": 1, "h": 1}
        annotations = [{"id": "a", "name": "s", "bounding_box": box}]
        with pytest.raises(InvalidInput):
            dispatch(
                request(
                    runtime,
                    tool="save_annotations",
                    arguments={"image_uuid": "x", "annotations": annotations},
                )
            )


@pytest.mark.parametrize("nested", [0, 1, 2])
@pytest.mark.parametrize(
    "name",
    ["api_key", "API-Key", "password", "key", "roboflow_api_key", "x-api-key", "API KEY", "access_token"],
)
def test_secrets_of_others_in_a_call_inside_a_call_are_not_recorded(name: str, nested: int) -> None:
    arguments: dict[str, Any] = {"provider": "v7", name: "abc.DEF-123 /+=ü", "datasets": []}
    for _ in range(nested):
        arguments = {"tool": "import_from_connector", "arguments": json.dumps(arguments)}
    text = redact(arguments)
    assert "abc" not in text
    assert "DEF" not in text
    assert "v7" in text


def test_ids_of_keys_and_keypoints_are_no_secrets() -> None:
    told = {"key_id": "12", "keypoint": {"x": 1}, "name": "monkey: 3", "folder": "/keys/a"}
    assert json.loads(redact(told)) == told


@pytest.mark.parametrize(
    "text", ["api_key=abc", '{"api_key": "abc', "{'api_key' : 'abc'", '{"api_key":"\\u0061bc"}']
)
def test_nor_in_a_text_that_is_badly_formed(text: str) -> None:
    assert "bc" not in redact({"arguments": text})

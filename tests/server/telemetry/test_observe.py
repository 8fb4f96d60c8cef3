"""Telemetry as a whole: what it costs when it is off, its settings, and defects in it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.telemetry import SECRET, Probe, ProbeArgs, request

from tintype_server.dispatch.dispatcher import Dispatcher
from tintype_server.dispatch.running import RunningCall
from tintype_server.runtime import Runtime
from tintype_server.settings import Settings
from tintype_server.telemetry.observe import Ending, Finish, observing
from tintype_studio.errors import InvalidInput, NotFound, Unavailable
from tintype_studio.extras import install_command
from tintype_tools.call import Call
from tintype_tools.registry import Registry
from tintype_tools.spec import Result

OPEN_AND_CALL = """
import sys
from pathlib import Path
from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_tools.call import Request

runtime = Runtime.open(Settings(home=Path(sys.argv[1])))
runtime.dispatch(Request(tool="list_datasets", arguments={}, api_key=runtime.local_api_key(), door="cli",
    files=everything(runtime.settings)))
assert runtime.telemetry.around == ()
from tintype_server.http.app import build_app
build_app(runtime)
runtime.close()
print(*sys.modules)
"""


def test_nothing_is_loaded_that_nobody_asked_for(home: Path) -> None:
    code = [sys.executable, "-c", OPEN_AND_CALL, str(home)]
    loaded = set(subprocess.run(code, capture_output=True, text=True, check=True).stdout.split())
    assert "tintype_server.http.app" in loaded
    heavy = {"opentelemetry.sdk", "opentelemetry.exporter", "prometheus_client", "requests"}
    assert not heavy & loaded


class Broken:
    """An observer with a defect."""

    def __init__(self, *, at_once: bool) -> None:
        self._at_once = at_once

    def begin(self, _call: RunningCall) -> Finish:
        def fail(_ending: Ending) -> None:
            raise RuntimeError("a defect")

        if self._at_once:
            raise RuntimeError("a defect")
        return fail


def test_a_broken_observer_changes_nothing_for_the_caller(
    runtime: Runtime, registry: Registry, probe: Probe
) -> None:
    endings: list[Ending] = []

    class Works:
        def begin(self, _call: RunningCall) -> Finish:
            return endings.append

    guard = observing([Broken(at_once=True), Works(), Broken(at_once=False)])
    dispatch = Dispatcher(runtime.studio, registry, runtime.settings, around=(guard,))
    assert dispatch(request(runtime)).value == {"text": SECRET}

    def refuse(_args: ProbeArgs, _call: Call) -> Result:
        raise NotFound("no", code="probe_not_found")

    probe.behave = refuse
    with pytest.raises(NotFound):
        dispatch(request(runtime))
    assert [(e.outcome, e.credits) for e in endings] == [("ok", 5), ("probe_not_found", 0)]


def test_switches_are_read() -> None:
    settings = Settings.from_env(
        {"TINTYPE_LOG_FORMAT": "json", "TINTYPE_METRICS": "1", "TINTYPE_TRACES": "True"}
    )
    assert (settings.log_format, settings.metrics, settings.traces) == ("json", True, True)
    settings = Settings.from_env({"TINTYPE_METRICS": "0", "TINTYPE_TRACES": "false"})
    assert (settings.log_format, settings.metrics, settings.traces) == ("text", False, False)


@pytest.mark.parametrize(
    "env",
    [
        {"TINTYPE_METRICS": "yes"},
        {"TINTYPE_METRICS": "2"},
        {"TINTYPE_TRACES": "on"},
        {"TINTYPE_LOG_FORMAT": "JSON"},
        {"TINTYPE_LOG_FORMAT": "yaml"},
    ],
)
def test_any_other_value_is_an_error(env: dict[str, str]) -> None:
    with pytest.raises(InvalidInput) as raised:
        Settings.from_env(env)
    assert raised.value.code == "invalid_setting"


@pytest.mark.parametrize(
    ("setting", "module"),
    [("metrics", "prometheus_client"), ("traces", "opentelemetry.exporter.otlp.proto.http.trace_exporter")],
)
def test_a_missing_extra_is_told_with_the_command_that_installs_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, setting: str, module: str
) -> None:
    settings = replace(Settings(home=home), **{setting: True})  # type: ignore[arg-type]
    with monkeypatch.context() as bare:
        bare.setitem(sys.modules, module, None)
        with pytest.raises(Unavailable) as raised:
            Runtime.open(settings)
    assert (raised.value.code, raised.value.retryable) == ("extra_missing", False)
    assert install_command("telemetry") in raised.value.fix
    Runtime.open(settings).close()


def test_an_otel_setting_that_cannot_be_used_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")
    with pytest.raises(InvalidInput) as raised:
        Runtime.open(Settings(home=home, traces=True))
    assert raised.value.code == "invalid_setting"

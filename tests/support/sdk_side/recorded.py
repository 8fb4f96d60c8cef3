"""Stands in front of the native objects of the EdgeFirst client, whose methods cannot be replaced, and keeps
which of them returned.
"""

import edgefirst_client as sdk

KINDS = (
    *("Client", "Project", "Dataset", "AnnotationSet", "Label", "Experiment", "TrainingSession"),
    *("ValidationSession", "Snapshot", "Sample", "TaskInfo"),
)
WITHOUT_A_SERVER = {
    "Client": {"with_no_storage", "with_storage", "with_memory_storage", "with_token", "with_url"},
    "Sample": {name for name in dir(sdk.Sample) if name.startswith(("set_", "add_"))},
}
returned = set()


def methods():
    """Every method that speaks with the server, as ``Dataset.samples``."""
    found = set()
    for kind in KINDS:
        cls = getattr(sdk, kind)
        names = {name for name in dir(cls) if not name.startswith("_")} - WITHOUT_A_SERVER.get(kind, set())
        found |= {
            f"{kind}.{name}" for name in names if type(getattr(cls, name)).__name__ == "method_descriptor"
        }
    return found


class Recorded:
    """One object; what it gives stands behind another one of these."""

    def __init__(self, native):
        self.native = native

    def __getattr__(self, name):
        value = getattr(self.native, name)
        if not callable(value):
            return shown(value)

        def call(*args, **kwargs):
            answer = value(*bare(args), **bare(kwargs))
            returned.add(f"{type(self.native).__name__}.{name}")
            return shown(answer)

        return call


def shown(value):
    """The value, recorded where it has methods."""
    if type(value).__name__ in KINDS and type(value).__module__ != "polars":
        return Recorded(value)
    return [shown(each) for each in value] if isinstance(value, list) else value


def bare(value):
    """The value as the client knows it."""
    if isinstance(value, Recorded):
        return value.native
    if isinstance(value, (list, tuple)):
        return type(value)(bare(each) for each in value)
    return {key: bare(each) for key, each in value.items()} if isinstance(value, dict) else value

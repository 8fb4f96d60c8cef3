"""``ToolSpec``: everything there is to say about a tool, validated when it is registered."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from tintype_studio.identity.roles import Role
from tintype_studio.jobs.job import Job
from tintype_tools.call import Call, Output, Plan

MAX_DESCRIPTION = 1024
NAME = re.compile(r"^[a-z]+(_[a-z]+)+$")


class Args(BaseModel):
    """Base of every argument model: unknown arguments are an error."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Result(BaseModel):
    """Base of every result model. Fields that are None are left out of the answer."""

    model_config = ConfigDict(extra="forbid")


class Effect(StrEnum):
    """What a call does to the world."""

    READ = "read"
    """Changes nothing."""
    WRITE = "write"
    """Adds or replaces something; what was there stays in the history."""
    DESTROY = "destroy"
    """Takes something away; needs confirmation."""
    SPEND = "spend"
    """Costs credits, whatever else it does; above a threshold it needs confirmation."""


class Category(StrEnum):
    """Where a tool stands in lists, after the seed."""

    WORKFLOWS = "Workflows"
    DATASETS = "Datasets"
    IMAGES = "Images"
    SAMPLES = "Samples"
    ANNOTATIONS = "Annotations"
    AUTO_ANNOTATE = "Auto-annotate"
    SEARCH = "Search"
    JOBS = "Jobs"
    EXPORTS = "Exports"
    TRAINING = "Training"
    MODELS = "Models"
    SESSIONS = "Sessions and tasks"
    PREDICTIONS = "Predictions"
    CONNECTORS = "Connectors"
    VIDEO = "Video"
    CREDITS = "Credits"
    HISTORY = "History"
    SNAPSHOTS = "Snapshots"
    VERSIONS = "Versions"
    GUARDRAILS = "Guardrails"
    DISCOVERY = "Discovery"
    RESULTS = "Results"
    ORGANIZATION = "Organization"
    API_KEYS = "API keys"


@dataclass(frozen=True, slots=True)
class Quote:
    """The exact price of one call, known before it does anything; for a job, the most that it may cost."""

    operation: str
    """Slug of the price list, as the ledger will show it."""
    credits: int


class ToolSpec(BaseModel):
    """A tool. All that an agent sees of it, on any door, derives from here.

    Rules checked at registration:
     1. the name is ``verb_noun`` in snake case;
     2. the description starts with "Use when" and has at most 1,024 characters;
     3. arguments and result forbid unknown keys;
     4. a tool spends exactly when it has a quote, and then its typical cost is above zero;
     5. a read is idempotent;
     6. only a read can be quick;
     7. a dry run of everything but a read can tell what would happen: an atomic change is rehearsed in
        its own handler and rolled back, all else needs a ``plan``;
     8. a tool that starts a job does so in one transaction, and lets its caller say how long to wait;
     9. a call with a secret among its arguments (``SecretStr``) never waits for a word, which would mean to
        keep the arguments.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: str
    title: Annotated[str, Field(min_length=3, max_length=60)]
    category: Category
    toolset: Annotated[str, Field(pattern=r"^[a-z_]+$")]
    """Group that can be switched on or off as one."""
    core: bool = True
    """Whether agents see it without asking for its toolset. Every listed tool costs each of them tokens."""
    description: Annotated[str, Field(max_length=MAX_DESCRIPTION)]
    args: type[Args]
    result: type[Result]
    required_role: Role
    credit_cost: Annotated[int, Field(ge=0)] = 0
    """Typical whole credits of a call; ``quote`` tells the exact price."""
    quote: Callable[[Any, Call], Quote] | None = None
    idempotent: bool
    """Whether a repeated call leaves the same state as one."""
    effect: Effect
    atomic: bool = True
    """For changes: whether the handler only writes to the database and to blobs, and quickly. Then all it
    writes is one transaction with the charge, the stored answer and the audit line. A handler that works
    for long, or writes elsewhere, commits as it goes.
    """
    open_world: bool = False
    """Whether a call may reach servers of others, such as a provider's datasets or a vision API. What it
    brings from there is to be trusted less.
    """
    bulk: bool = False
    """Whether a call may change very many things; a restore point is set before it."""
    takes_away: bool = False
    """Whether a call that is no deletion may take away what others made; it needs confirmation when its
    rehearsal shows that it would.
    """
    plan: Callable[[Any, Call], Plan] | None = None
    """What a call would do, found with the lookups of its handler, without doing it."""
    confidential: bool = False
    """Whether the answer shows a secret, once. It is kept sealed where retries get it from, and never cut
    and parked: it is short.
    """
    quick_unless: frozenset[str] | None = None
    """For a read of a few rows by key: the arguments that make it longer than a fraction of a millisecond.
    Without one of them, an async door runs it where it stands instead of paying for a worker thread.
    None for every other tool.
    """
    handler: Callable[[Any, Call], Result | Output]
    report: Callable[[Job, Call], Result | Output] | None = None
    """For a tool that starts a job: its result as the job stands, made anew when the wait is over."""

    @property
    def takes_secret(self) -> bool:
        """Whether an argument is a secret."""
        return any(field.annotation is SecretStr for field in self.args.model_fields.values())

    @model_validator(mode="after")
    def _is_consistent(self) -> ToolSpec:
        if not NAME.match(self.name):
            raise ValueError(f"{self.name!r} is not verb_noun in snake case")
        if not self.description.startswith("Use when"):
            raise ValueError(f"{self.name}: the description must start with 'Use when'")
        for model in (self.args, self.result):
            _require_closed(model, self.name)
        spends = self.effect is Effect.SPEND
        if spends != (self.quote is not None) or spends != (self.credit_cost > 0):
            raise ValueError(f"{self.name}: effect spend, a quote and a typical cost go together")
        if self.effect is Effect.READ and not self.idempotent:
            raise ValueError(f"{self.name}: a read is idempotent")
        rehearsed = self.effect in {Effect.WRITE, Effect.DESTROY} and self.atomic
        if self.effect is not Effect.READ and not rehearsed and self.plan is None:
            raise ValueError(f"{self.name}: what spends or is not atomic needs a plan for its dry run")
        waits = spends or self.effect is Effect.DESTROY or self.takes_away
        if waits and self.takes_secret:
            raise ValueError(f"{self.name}: what may need confirmation takes no secret")
        if self.quick_unless is not None and self.effect is not Effect.READ:
            raise ValueError(f"{self.name}: only a read can be quick")
        if self.report is not None and (not self.atomic or "wait_seconds" not in self.args.model_fields):
            raise ValueError(f"{self.name}: what starts a job is atomic and takes wait_seconds")
        return self


def _require_closed(model: type[BaseModel], tool: str) -> None:
    if model.model_config.get("extra") != "forbid":
        raise ValueError(f"{tool}: {model.__name__} must forbid unknown keys")
    for field in model.model_fields.values():
        for inner in _models_in(field.annotation):
            _require_closed(inner, tool)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]

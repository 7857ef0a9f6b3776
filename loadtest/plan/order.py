"""What the CLI hands to the coordinator: a resolved plan plus the addresses of its targets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationError

from loadtest.errors import PlanError
from loadtest.plan.headers import Headers
from loadtest.plan.kinds import Frozen, Http
from loadtest.plan.model import Plan


class Target(Frozen):
    """Where a worker of one region finds one deployment: a base URL without a path."""

    url: Annotated[str, Field(pattern=r"^https?://[^/]+$")]
    host: str = ""
    """Host header to send instead of the URL's own; empty keeps it."""
    ca_file: str = ""
    """PEM file to verify TLS against; empty uses the system's trust."""
    http: Http = "auto"
    headers: dict[str, str] = Field(default={}, repr=False)
    """Sent with every request to it; may be secret."""
    passphrase: str = Field(default="", repr=False)
    """Of the key of the client's certificate."""


Targets = dict[str, dict[str, Target]]
"""Client region -> deployment -> target."""


def with_secrets(targets: Targets, headers: Headers, passphrase: str) -> Targets:
    """Return targets whose requests carry the headers of their deployments, and the passphrase."""
    return {
        region: {
            name: target.model_copy(
                update={"headers": headers.get(name, {}), "passphrase": passphrase}
            )
            for name, target in arms.items()
        }
        for region, arms in targets.items()
    }


class RunOrder(Frozen):
    """
    One segment of a run.

    A run that extends its sampling is several orders with the same ``run_id`` and ``segment`` 0, 1,
    2; ``first_block`` makes their blocks count on, and warm-up happens in segment 0 alone.
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    run_id: str
    plan: Plan
    segment: Annotated[int, Field(ge=0)] = 0
    first_block: Annotated[int, Field(ge=0)] = 0
    targets: Targets

    def to_json(self) -> dict[str, object]:
        """Return the order as JSON-ready values."""
        return self.model_dump(mode="json", by_alias=True)


def parse_order(value: object) -> RunOrder:
    """
    Return the order that JSON-ready values say.

    Raises:
        PlanError: They say none; one sentence for each fault, the key first.
    """
    try:
        return RunOrder.model_validate(value)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        raise PlanError(
            *(f"order: {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults[:10])
        ) from error

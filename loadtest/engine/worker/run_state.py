"""What a worker keeps from one segment of a run to the next."""

from __future__ import annotations

from dataclasses import dataclass

from loadtest.engine.client.names import AddressResolver
from loadtest.engine.hub.instruments import TcpTotals
from loadtest.engine.worker.health import HealthMonitor
from loadtest.engine.worker.recorder import Recorder
from loadtest.engine.worker.shipping import Shipper
from loadtest.records.facts import SelfCheckFacts


@dataclass(slots=True)
class RunState:
    """What lasts over the segments of one run on this worker."""

    run_id: str
    recorder: Recorder
    shipper: Shipper
    health: HealthMonitor
    tcp: TcpTotals
    """What TCP had counted before the run."""
    names: AddressResolver
    self_check: SelfCheckFacts | None = None

"""
A client of the Machines API: the calls that deploying, watching and destroying need.

It knows Fly's documented behaviour only; the embedded world answers the same calls.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from loadtest.errors import WorldError
from loadtest.fly.answers import Machine
from loadtest.fly.app_calls import AppCalls
from loadtest.fly.ledger import MachineLedger
from loadtest.fly.machines import MachineConfig
from loadtest.fly.transport import LIMITED, TRANSIENT, MachinesApiError, Transport
from loadtest.fly.values import Json

_LONGEST_WAIT_S = 60  # the API's own limit for one call of wait
_BETWEEN_STATES = (409, 412)


class MachinesClient(AppCalls):
    """
    The Machines API of one world; use it as an asynchronous context manager.

    Args:
        transport: Connection to the API.
        ledger: Keeps what is made and what is destroyed.
    """

    def __init__(self, transport: Transport, ledger: MachineLedger | None = None) -> None:
        super().__init__(transport)
        self.ledger = ledger or MachineLedger()

    async def __aenter__(self) -> MachinesClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._transport.close()

    async def machine(self, app: str, machine_id: str) -> Machine | None:
        """Return one machine, None when it is gone."""
        try:
            answer = await self._transport.send("GET", f"/v1/apps/{app}/machines/{machine_id}")
        except MachinesApiError as error:
            if error.status == 404:
                return None
            raise
        return Machine.from_json(answer)

    async def create_machine(
        self,
        app: str,
        *,
        name: str,
        region: str,
        config: MachineConfig,
        min_secrets_version: int = 0,
        attempts: int = 4,
    ) -> Machine:
        """
        Create and start a machine, once, whatever happens on the way.

        An answer of 408 or 5xx, or none at all, leaves it open whether the machine exists; then it
        is looked up by its name before another try. A machine of that name which exists already is
        returned as it is, so the names must be deterministic and tell the run.
        """
        body: Json = {"name": name, "region": region, "config": config.to_json()}
        if min_secrets_version:
            body["min_secrets_version"] = min_secrets_version
        since_ns = self.ledger.now_ns

        def made(machine: Machine) -> Machine:
            self.ledger.made(
                machine.id,
                app=app,
                name=name,
                region=machine.region or region,
                guest=config.guest,
                since_ns=since_ns,
            )
            return machine

        path = f"/v1/apps/{app}/machines"
        for attempt in range(1, attempts + 1):
            try:
                answer = await self._transport.send("POST", path, json=body, attempts=1)
                return made(Machine.from_json(answer))
            except MachinesApiError as error:
                found = await self.machine_named(app, name)
                if found is not None:
                    return made(found)
                ambiguous = error.status == 0 or error.status in TRANSIENT - {LIMITED}
                if not ambiguous or attempt == attempts or error.code == "insufficient_capacity":
                    raise
                await self._transport.pause(attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def update_machine(
        self, app: str, machine: Machine, *, config: MachineConfig, min_secrets_version: int = 0
    ) -> Machine:
        """
        Give a machine another config, which it starts with anew, on the host that it is on.

        Args:
            app: The machine's app.
            machine: The machine as last seen: one that has changed since is refused.
            config: All of its new config.
            min_secrets_version: The secrets that it has to start with, 0 for any.

        Returns:
            The machine with its new version; it may still be starting.
        """
        body: Json = {"config": config.to_json(), "current_version": machine.instance_id}
        if min_secrets_version:
            body["min_secrets_version"] = min_secrets_version
        path = f"/v1/apps/{app}/machines/{machine.id}"
        answer = await self._transport.send(
            "POST", path, json=body, timeout_s=_LONGEST_WAIT_S + 15, attempts=1
        )
        return Machine.from_json(answer)

    async def machine_named(self, app: str, name: str) -> Machine | None:
        """Return the machine of that name, None when there is none."""
        found = [machine for machine in await self.machines(app) if machine.name == name]
        return found[0] if found else None

    async def wait(
        self, app: str, machine: Machine, state: str = "started", *, deadline_s: float = 60.0
    ) -> None:
        """
        Wait until a machine is in a state, for longer than the API's 60 s if need be.

        Args:
            app: The machine's app.
            machine: The machine as last seen; its version is what is waited for.
            state: ``started``, ``stopped``, ``suspended`` or ``destroyed``.
            deadline_s: Seconds to wait in all.

        Raises:
            WorldError: It did not get there in time, or is gone.
        """
        until = time.monotonic() + deadline_s
        params: dict[str, str | int] = {"state": state}
        if state == "stopped":  # Fly wants to know which version is to stop
            params["instance_id"] = machine.instance_id
        while (left_s := until - time.monotonic()) > 0:
            params["timeout"] = max(1, min(_LONGEST_WAIT_S, round(left_s)))
            try:
                await self._transport.send(
                    "GET",
                    f"/v1/apps/{app}/machines/{machine.id}/wait",
                    params=params,
                    timeout_s=_LONGEST_WAIT_S + 15,
                    attempts=1,
                )
            except MachinesApiError as error:
                if error.status == 404 and state == "destroyed":
                    return
                if error.status not in (*TRANSIENT, 0):
                    raise
                if error.status != 408:  # a wait that ran out has waited; others have not
                    await self._transport.pause(1)
            else:
                return
        raise WorldError(
            f"machine {machine.name} of app {app} in {machine.region} was not {state} within "
            f"{deadline_s:g} s; raise the deadline or look at the machine's log"
        )

    async def run_command(
        self, app: str, machine_id: str, words: Sequence[str], *, timeout_s: int
    ) -> str:
        """
        Run a command in a machine and return what it wrote to its standard output.

        Args:
            app: The machine's app.
            machine_id: The machine, which has to be started.
            words: The command.
            timeout_s: Seconds until it is killed, at most 60.

        Raises:
            WorldError: It ended with another exit code than 0, with the end of what it said.
        """
        answer = await self._transport.send(
            "POST",
            f"/v1/apps/{app}/machines/{machine_id}/exec",
            json={"command": list(words), "timeout": timeout_s},
            timeout_s=timeout_s + 15,
            attempts=1,
        )
        if code := int(answer.get("exit_code") or 0):
            said = str(answer.get("stderr") or answer.get("stdout") or "").strip()[-300:]
            raise WorldError(
                f"machine {machine_id} of app {app}: {' '.join(words)!r} ended with exit code "
                f"{code}" + (f": {said}" if said else "")
            )
        return str(answer.get("stdout") or "")

    async def stop(self, app: str, machine_id: str) -> None:
        """Ask a machine to stop with its own signal and time-out; it may stop later."""
        await self._gone_is_fine(
            "POST",
            f"/v1/apps/{app}/machines/{machine_id}/stop",
            json={},
        )

    async def restart(self, app: str, machine_id: str) -> None:
        """Stop a machine with its own signal and time-out, and start it; it may take its time."""
        await self._transport.send(
            "POST",
            f"/v1/apps/{app}/machines/{machine_id}/restart",
            timeout_s=_LONGEST_WAIT_S + 15,
        )

    async def destroy(self, app: str, machine_id: str, *, attempts: int = 4) -> None:
        """
        Destroy a machine, running or not; a machine that is gone is fine.

        A machine that somebody else holds a lease on (409), or that is between two states (412), is
        tried again.
        """
        for attempt in range(1, attempts + 1):
            try:
                await self._gone_is_fine(
                    "DELETE",
                    f"/v1/apps/{app}/machines/{machine_id}",
                    params={"force": "true"},
                )
            except MachinesApiError as error:
                if error.status not in _BETWEEN_STATES or attempt == attempts:
                    raise
                await self._transport.pause(attempt)
            else:
                self.ledger.gone(machine_id)
                return


def connect(
    base_url: str, token: str, *, paced: bool = True, ledger: MachineLedger | None = None
) -> MachinesClient:
    """
    Return a client of the Machines API at a URL.

    Args:
        base_url: ``https://api.machines.dev``, or the URL that an embedded world tells.
        token: Of Fly (``fly tokens create deploy``), or of the embedded world.
        paced: Keep below Fly's rate limits.
        ledger: Keeps what is made and what is destroyed.
    """
    return MachinesClient(Transport(base_url, token, paced=paced), ledger)

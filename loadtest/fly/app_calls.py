"""Calls of the Machines API that are about an app: its name, addresses, secrets, volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from loadtest.fly.answers import App, IpAssignment, Machine, PlatformRegion
from loadtest.fly.machines import Guest, Mount
from loadtest.fly.transport import TRANSIENT, MachinesApiError, Transport

_KNOWN_ATTEMPTS = 10
_FIRST_LOOK_S = 0.1
_RECENT = ("destroyed", "destroying")


class AppCalls:
    """
    The part of a client that makes and equips apps.

    Args:
        transport: Connection to the API.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def regions(self) -> tuple[PlatformRegion, ...]:
        """Return the regions that the platform lists today."""
        answer = await self._transport.send("GET", "/v1/platform/regions")
        listed = answer.get("regions") or answer.get("Regions") or ()
        return tuple(PlatformRegion.from_json(region) for region in listed)

    async def placements(self, org: str, region: str, count: int, guest: Guest) -> dict[str, int]:
        """Return how many of ``count`` machines each of some regions would take, by code."""
        answer = await self._transport.send(
            "POST",
            "/v1/platform/placements",
            json={
                "org_slug": org,
                "region": region,
                "count": count,
                "compute": guest.to_json(),
            },
        )
        placed = answer.get("regions") or ()
        return {str(item["region"]): int(item.get("count") or 0) for item in placed}

    async def app(self, name: str) -> App | None:
        """
        Return an app, None when there is none of that name.

        Raises:
            MachinesApiError: 403 when the app belongs to an organization that the token cannot see:
                names are global on Fly.
        """
        try:
            answer = await self._transport.send("GET", f"/v1/apps/{name}")
        except MachinesApiError as error:
            if error.status == 404:
                return None
            if error.status == 403:
                raise _taken(name, error) from error
            raise
        return App.from_json(answer)

    async def apps(self, org: str) -> tuple[App, ...]:
        """Return every app of an organization."""
        answer = await self._transport.send("GET", "/v1/apps", params={"org_slug": org})
        return tuple(App.from_json(item) for item in answer.get("apps") or ())

    async def ensure_app(self, name: str, *, org: str = "personal") -> bool:
        """
        Make an app unless it exists, and return when the platform knows it everywhere.

        Returns:
            Whether it was made by this call.

        Raises:
            MachinesApiError: The name belongs to somebody else, or is no name.
        """
        if await self.app(name) is not None:
            return False
        try:
            await self._transport.send(
                "POST",
                "/v1/apps",
                json={"name": name, "org_slug": org},
                params={"wait": "true"},
            )
        except MachinesApiError as error:
            # An answer that got lost leaves the app behind; then the name is taken, by us.
            if error.status not in (422, *TRANSIENT, 0) or await self.app(name) is None:
                raise (_taken(name, error) if error.code == "name_taken" else error) from error
        await self.until_known(name)
        return True

    async def machines(
        self, app: str, *, metadata: Mapping[str, str] | None = None
    ) -> tuple[Machine, ...]:
        """Return an app's machines that still exist, those with all of ``metadata`` only."""
        answer = await self._transport.send(
            "GET",
            f"/v1/apps/{app}/machines",
            params={f"metadata.{key}": value for key, value in (metadata or {}).items()},
        )
        found = (Machine.from_json(item) for item in answer)
        return tuple(machine for machine in found if machine.state not in _RECENT)

    async def until_known(
        self, name: str, *, attempts: int = _KNOWN_ATTEMPTS
    ) -> tuple[Machine, ...]:
        """
        Wait until a fresh app is known where machines are made: 401 or 404 until then.

        Args:
            name: The app.
            attempts: How often to ask.

        Returns:
            Its machines that still exist.

        Raises:
            MachinesApiError: It is still not known.
        """
        for attempt in range(1, attempts):
            try:
                return await self.machines(name)
            except MachinesApiError as error:
                if error.status not in (401, 404):
                    raise
                await self._transport.pause(attempt, first_s=_FIRST_LOOK_S)
        return await self.machines(name)

    async def addresses(self, app: str) -> tuple[IpAssignment, ...]:
        """Return the public and private addresses that an app is reached at."""
        answer = await self._transport.send("GET", f"/v1/apps/{app}/ip_assignments")
        return tuple(IpAssignment.from_json(item) for item in answer.get("ips") or ())

    async def ensure_addresses(self, app: str) -> None:
        """
        Give an app the addresses that its name resolves to, one of each family, unless it has them.

        An app that was made by the API has none: ``<app>.fly.dev`` does not resolve.
        """
        held = await self.addresses(app)
        wanted = [("v6", False), ("shared_v4", True)]
        for kind, four in wanted:
            if any(("." in address.ip) == four for address in held):
                continue
            await self._transport.send(
                "POST",
                f"/v1/apps/{app}/ip_assignments",
                json={"type": kind},
            )

    async def delete_app(self, name: str, *, force: bool = True) -> None:
        """
        Delete an app; a missing app is fine.

        Args:
            name: The app.
            force: With all its machines; without it an app that has some is refused.
        """
        await self._gone_is_fine(
            "DELETE",
            f"/v1/apps/{name}",
            params={"force": "true"} if force else None,
        )

    async def set_secrets(self, app: str, values: Mapping[str, str]) -> int:
        """
        Set secrets, which machines made or started from now on get as environment.

        Returns:
            Their version: a machine made with it as its least starts with these values, not with
            the ones before.  0 where the platform tells none.
        """
        answer = await self._transport.send(
            "POST",
            f"/v1/apps/{app}/secrets",
            json={"values": dict(values)},
        )
        return int(answer.get("version") or answer.get("Version") or 0)

    async def secret_names(self, app: str) -> tuple[str, ...]:
        """Return the names of an app's secrets."""
        answer = await self._transport.send("GET", f"/v1/apps/{app}/secrets")
        return tuple(str(secret["name"]) for secret in answer.get("secrets") or ())

    async def create_volume(self, app: str, mount: Mount, region: str) -> Mount:
        """Make the volume that a mount names and return the mount with the volume's id."""
        answer = await self._transport.send(
            "POST",
            f"/v1/apps/{app}/volumes",
            json={"name": mount.volume, "region": region, "size_gb": mount.size_gb},
            attempts=1,
        )
        return replace(mount, volume=str(answer["id"]))

    async def delete_volume(self, app: str, volume_id: str) -> None:
        """Delete a volume; a missing one is fine."""
        await self._gone_is_fine(
            "DELETE",
            f"/v1/apps/{app}/volumes/{volume_id}",
        )

    async def _gone_is_fine(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
    ) -> None:
        try:
            await self._transport.send(method, path, json=json, params=params)
        except MachinesApiError as error:
            if error.status != 404:
                raise


def _taken(name: str, error: MachinesApiError) -> MachinesApiError:
    """Return the sentence for an app name that is somebody else's."""
    return MachinesApiError(
        f"app {name}: the name belongs to an organization that this token cannot see; app names "
        "are global on Fly: choose names of your own with --prefix, or use its token",
        status=error.status,
        code=error.code,
        request_id=error.request_id,
    )

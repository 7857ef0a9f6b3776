"""The Machines API of the world: its regions, and whether machines would find room in them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loadtest.fly.values import Json
from loadtest.regions import region_table
from loadtest.world.api.answers import ApiError, body_of
from loadtest.world.api.apps import world_of
from loadtest.world.machines.supervisor import World

_ROOM = 50
"""Machines that fit into a region: more than any test asks for."""


async def list_regions(request: Request) -> Response:
    """GET /v1/platform/regions: the regions of this world."""
    world = world_of(request)
    return JSONResponse(
        {
            "nearest": world.spec.primary_region,
            "regions": [_region(world, code) for code in world.spec.regions],
        }
    )


async def propose_placements(request: Request) -> Response:
    """POST /v1/platform/placements: where so many machines would find room, in order."""
    world, body = world_of(request), await body_of(request)
    if not body.get("org_slug"):
        raise ApiError(400, "org_slug is required")
    count = body.get("count", 0)
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ApiError(400, f"count {count!r} is not a whole number")
    open_here = [code for code in world.spec.regions if code not in world.spec.full_regions]
    codes: list[str] = []
    for code in str(body.get("region") or f"{world.spec.primary_region},any").split(","):
        codes += open_here if code.strip() == "any" else [code.strip()]
    places, left = [], count
    for code in dict.fromkeys(code for code in codes if code in open_here):
        here = min(left, _ROOM) if count else _ROOM
        if here:
            places.append({"region": code, "count": here, "concurrency": here})
        left -= here
    return JSONResponse({"regions": places})


def _region(world: World, code: str) -> Json:
    known = region_table().get(code)
    return {
        "code": code,
        "name": known.city if known else code,
        "latitude": known.latitude if known else 0.0,
        "longitude": known.longitude if known else 0.0,
        "gateway_available": True,
        "requires_paid_plan": code in world.spec.paid_regions,
        # A retired region still runs here unless the world is told to be as strict as Fly.
        "deprecated": bool(known and known.retired and world.spec.strict_regions),
    }


ROUTES = [
    Route("/v1/platform/regions", list_regions),
    Route("/v1/platform/placements", propose_placements, methods=["POST"]),
]

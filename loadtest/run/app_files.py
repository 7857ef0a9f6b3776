"""What the apps of a run have in common: their files, their images, how they live on Fly."""

from __future__ import annotations

import re
from importlib import metadata
from typing import TypedDict

from loadtest.assets import find_asset
from loadtest.errors import PlanError
from loadtest.fly.app_config import AppConfig
from loadtest.fly.config import read_app_config
from loadtest.plan.model import Plan

OUR_IMAGE = "loadtest"
_NOBODY = "OWNER/"  # a source tree that belongs to nobody has pushed no image


def read_file(relative: str, key: str) -> AppConfig:
    """
    Read the fly.toml that a key of a plan names.

    Raises:
        PlanError: There is no such file, or it is wrong.
    """
    path = find_asset(relative)
    if path is None:
        raise PlanError(f"{key}: there is no file {relative!r}")
    return read_app_config(path)


class Platform(TypedDict, total=False):
    """What an order says only where machines cost money and names are everybody's."""

    adopt: bool
    mark: bool
    restart: str
    auto_destroy: bool


def platform_keys(plan: Plan) -> Platform:
    """
    Return how machines of a run live on Fly: none outlives its process, no other app is touched.

    In the embedded world fly.toml decides, so that a crash there shows what it would at home.
    """
    if plan.world != "fly":
        return {}
    return {"adopt": False, "mark": True, "restart": "no", "auto_destroy": True}


def our_image(plan: Plan, config: AppConfig, image: str) -> str:
    """
    Return the image of an app that runs our own program, or what another one names for itself.

    Raises:
        PlanError: Fly is asked to run an image that stands on this machine alone.
    """
    if image_name(config.image) != OUR_IMAGE:
        return config.image
    if not image and plan.world == "fly" and "/" not in config.image:
        if published := published_image():
            return published
        raise PlanError(
            f"--image: app {config.name} runs {config.image!r}, which Fly cannot pull; push the "
            "Dockerfile's image to a registry and name it: --image registry.fly.io/APP:TAG"
        )
    return image or config.image


def published_image() -> str:
    """
    Return the image that the release of this version was pushed as; empty where there is none.

    The release workflow pushes to the registry of the repository that the package names.
    """
    try:
        told = metadata.metadata("loadtest")
    except metadata.PackageNotFoundError:
        return ""
    for line in told.get_all("Project-URL") or ():
        source = re.fullmatch(r"Source, https://github\.com/([\w-]+/[\w.-]+)", line)
        if source is not None and not source[1].startswith(_NOBODY):
            return f"ghcr.io/{source[1].lower()}:{told['Version']}"
    return ""


def image_name(reference: str) -> str:
    """Return an image reference without registry and tag."""
    return reference.rpartition("/")[2].partition(":")[0]

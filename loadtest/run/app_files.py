"""What the apps of a run have in common: their files, their images, how they live on Fly."""

from __future__ import annotations

import json
import re
from importlib import metadata
from typing import TypedDict

from loadtest.assets import find_asset
from loadtest.errors import PlanError
from loadtest.fly.app_config import AppConfig
from loadtest.fly.config import read_app_config
from loadtest.plan.model import Plan

OUR_IMAGE = "loadtest"
_ON_GITHUB = re.compile(r"https://github\.com/([\w-]+/[\w.-]+)")
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
            f"--image: app {config.name} runs {config.image!r}, which Fly cannot pull, and "
            "this package is no release, which would know its image; push the Dockerfile's image "
            "to a registry and name it: --image registry.fly.io/APP:TAG"
        )
    return image or config.image


def published_image() -> str:
    """
    Return the image that the release of this version was pushed as; empty where there is none.

    The release workflow pushes to the registry of its repository.  Which one that is says the
    package that it builds, and pip of a package that it made from a release's tag itself.

    Source: PEP 610, "Recording the Direct URL Origin of installed distributions".
    """
    try:
        package = metadata.distribution("loadtest")
    except metadata.PackageNotFoundError:
        return ""
    sources = [_installed_from(package.read_text("direct_url.json") or "{}", package.version)]
    for line in package.metadata.get_all("Project-URL") or ():
        label, _, url = line.partition(", ")
        sources += [url] if label == "Source" else []
    for url in sources:
        source = _ON_GITHUB.fullmatch(url.removesuffix(".git"))
        if source is not None and not source[1].startswith(_NOBODY):
            return f"ghcr.io/{source[1].lower()}:{package.version}"
    return ""


def _installed_from(text: str, version: str) -> str:
    """Return the repository whose tag of a version pip has installed; empty for all else."""
    told = json.loads(text)
    tag = told.get("vcs_info", {}).get("requested_revision")
    return str(told["url"]) if tag == f"v{version}" else ""


def image_name(reference: str) -> str:
    """Return an image reference without registry and tag."""
    return reference.rpartition("/")[2].partition(":")[0]

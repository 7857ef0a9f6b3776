"""The image that an app is shipped as: given as a file, or built and saved by an engine on PATH."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.errors import PlanError
from loadtest.fly.app_config import AppConfig
from loadtest.run.start_command import find_dockerfile
from loadtest.text import quoted_end
from loadtest.world.hosts.layer import ask_obstacle
from loadtest.world.images.archive import ImageArchive
from loadtest.world.images.config import this_architecture

_ASK_S = 15.0
_BUILD_S = 3_600.0


@dataclass(frozen=True, slots=True)
class ImageEngine:
    """
    A program that builds and saves images.

    Args:
        name: ``docker``, ``podman`` or ``buildah``.
        program: Its path.
    """

    name: str
    program: str

    def build(self, config: AppConfig, folder: Path, target: Path) -> Path:
        """
        Build an app's image and save it; the engine keeps its layers, which the next build takes,
        and not the image, unless it had the same one before.

        Args:
            config: As its fly.toml says.
            folder: The context: the folder of that file.
            target: An empty folder for what is made.

        Returns:
            The saved image.

        Raises:
            PlanError: It could not be built; with the end of what the engine said.
        """
        build = config.build
        dockerfile = find_dockerfile(config, folder)
        assert dockerfile is not None, "who builds has looked"
        ignored = config.folder / build.ignorefile if build.ignorefile else None
        if ignored is not None and self.name == "docker":  # it has no flag: a name tells it
            dockerfile = Path(shutil.copy(dockerfile, target / "Dockerfile"))
            shutil.copy(ignored, target / "Dockerfile.dockerignore")
        written = target / "image-id"
        words = [
            *{"buildah": ("bud", "--layers")}.get(self.name, ("build",)),
            *("-f", str(dockerfile), "--platform", f"linux/{this_architecture()}"),
            *("--iidfile", str(written)),
            *(("--target", build.target) if build.target else ()),
            *(
                word
                for key, value in build.args.items()
                for word in ("--build-arg", f"{key}={value}")
            ),
            *(("--ignorefile", str(ignored)) if ignored and self.name != "docker" else ()),
            str(folder),
        ]
        before = self._images()
        self._run(words, f"building {dockerfile}")
        image = written.read_text(encoding="utf-8").strip()
        try:
            return self.save(image, target)
        finally:
            if before is not None and image.removeprefix("sha256:") not in before:
                self._answers("rmi", *(() if self.name == "buildah" else ("--no-prune",)), image)

    def save(self, reference: str, target: Path) -> Path:
        """
        Save an image that the engine has or can pull.

        Args:
            reference: Its name or id.
            target: A folder for what is made.

        Raises:
            PlanError: It could not; with the end of what the engine said.
        """
        saved = target / "image.tar"
        if reference.startswith("-"):
            raise PlanError(f"image {reference!r}: is no name of an image")
        known, words = {
            "docker": (("image", "inspect"), ("save", "-o", str(saved), reference)),
            "podman": (
                ("image", "exists"),
                ("save", "--format", "oci-archive", "-o", str(saved), reference),
            ),
            "buildah": (
                ("inspect", "--type", "image"),
                ("push", reference, f"oci-archive:{saved}"),
            ),
        }[self.name]
        if not self._answers(*known, reference):
            self._run(["pull", reference], f"pulling {reference}")
        self._run(words, f"saving {reference}")
        return saved

    def works(self) -> bool:
        """Tell whether it is there and answers; Docker's client may have no engine."""
        return self._answers("info")

    def _images(self) -> set[str] | None:
        """Return the ids of all that it has; None where it does not tell."""
        told = self._answer("images", "-a", "-q", "--no-trunc")
        if told is None:
            return None
        return {line.strip().removeprefix("sha256:") for line in told.splitlines()}

    def _answers(self, *words: str) -> bool:
        return self._answer(*words) is not None

    def _answer(self, *words: str) -> str | None:
        """Return what it prints; None where it fails or takes too long."""
        try:
            done = subprocess.run(
                [self.program, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_ASK_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None

    def _run(self, words: Sequence[str], what: str) -> None:
        try:
            done = subprocess.run(
                [self.program, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_BUILD_S,
                check=False,
            )
        except OSError as error:
            raise PlanError(f"{self.name}: {what}: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise PlanError(f"{self.name}: {what} took over {error.timeout:g} s") from error
        if done.returncode != 0:
            raise PlanError(
                f"{self.name}: {what} ended with exit code {done.returncode}:\n"
                + quoted_end(done.stdout + done.stderr)
            )


def find_engine() -> ImageEngine | None:
    """Return the first of docker, podman and buildah that works here, or None."""
    for name in ("docker", "podman", "buildah"):
        program = shutil.which(name)
        if program is not None and (engine := ImageEngine(name, program)).works():
            return engine
    return None


def image_from(text: str, option: str, target: Path) -> Path:
    """
    Return an image that somebody named: a file, a folder, or what an engine knows.

    Args:
        text: Path or reference.
        option: What messages call it.
        target: A folder for what has to be saved.

    Raises:
        PlanError: It is neither, or cannot be read.
    """
    path = Path(text)
    if not path.exists():
        engine = find_engine()
        if engine is None:
            raise PlanError(
                f"{option}: there is no file {text!r}, and no docker, podman or buildah here that "
                "could know an image of that name; save it: docker save -o image.tar NAME"
            )
        target.mkdir(exist_ok=True)
        path = engine.save(text, target)
    return checked(path, option)


def checked(path: Path, option: str) -> Path:
    """
    Return the absolute path of an image that can be read and runs on this machine.

    Raises:
        PlanError: It cannot.
    """
    try:
        with ImageArchive(path):
            return path.resolve()
    except PlanError as error:
        raise PlanError(f"{option}: {error}") from error


def hosts_are_possible() -> bool:
    """Tell whether machines with file trees of their own can be made here."""
    return not ask_obstacle()

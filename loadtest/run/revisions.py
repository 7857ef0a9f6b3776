"""
Two revisions of an app as two arms of one run: the base from git, the candidate as it stands.

Both run at once in one world and are asked in random order within short blocks, so both see the
same weather.  No stored number is compared.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.errors import PlanError
from loadtest.fly.app_config import AppConfig
from loadtest.fly.config import read_app_config
from loadtest.plan.thresholds import BASE_ARM, CANDIDATE_ARM
from loadtest.run.app_files import OUR_IMAGE, image_name
from loadtest.run.gate_arms import RevisionArm, RevisionArms
from loadtest.run.git import Git
from loadtest.run.images import (
    checked,
    find_engine,
    hosts_are_possible,
    image_from,
)
from loadtest.run.prepared import set_up, set_up_commit, set_up_packages
from loadtest.run.start_command import find_dockerfile, search_path
from loadtest.world.guard.reaper import remove_dir
from loadtest.world.guard.remains import FOLDER_PREFIX, write_owner

APP_PLACES = ("fly.toml", "fly/recipes-multi/fly.toml")
"""Where an app's fly.toml is looked for when none is named."""
_ANEW = "--setup-anew runs it"


@dataclass(frozen=True, slots=True)
class BaseRevision:
    """
    How the two revisions of a gate are found and prepared.

    Args:
        app: Path of the app's fly.toml; None looks at APP_PLACES.
        revision: What git knows as a commit.
        exact: Compare with that commit, not with where HEAD left its branch.
        base_app: Path of fly.toml in the base, where it has been moved since.
        machines: ``all`` or ``primary``: where both arms run.
        programs: Folder to put first on the app's PATH; None takes ``.venv/bin`` beside its
            fly.toml or at the top of the repository, if there is one.
        setup: Shell line that prepares each revision's folder; empty for none.
        setup_anew: Run it whatever is remembered of the base.
        command: Start command in place of the one that fly.toml names; empty keeps it.
        release_command: The same of what makes its database.
        seed_command: The same of what fills it after that.
        image: Image of the working tree: a file, a folder, or a name that an engine knows.
        base_image: The same of the base.
        context: Folder that images are built from; None takes that of fly.toml.
    """

    app: str | None
    revision: str
    exact: bool = False
    base_app: str | None = None
    machines: str = "all"
    programs: str | None = None
    setup: str = ""
    setup_anew: bool = False
    command: str = ""
    release_command: str = ""
    seed_command: str = ""
    image: str = ""
    base_image: str = ""
    context: str | None = None

    @property
    def speaks_of_folders(self) -> bool:
        """Whether something is asked for that only an app in a folder has."""
        return bool(self.setup or self.command or self.programs)


@contextmanager
def revision_arms(asked: BaseRevision) -> Iterator[RevisionArms]:
    """
    Write a base revision's files down and give both revisions as arms.

    Raises:
        PlanError: No fly.toml, no git repository, no such revision, or the app is not in it.
    """
    path = _find_app(asked.app)
    git = Git(path.parent)
    inside = path.relative_to(git.top)
    base_inside = Path(asked.base_app) if asked.base_app else inside
    commit = git.base_commit(asked.revision, exact=asked.exact)
    with _files_of(git, commit) as tree:
        if not (tree / base_inside).is_file():
            raise PlanError(
                f"--base: {asked.revision!r} ({commit[:12]}) has no {base_inside}; name a later "
                "revision, or with --base-app where the file was"
            )
        arms = {BASE_ARM: (tree, base_inside), CANDIDATE_ARM: (git.top, inside)}
        images = _images(asked, arms, _context_inside(asked, git.top), tree.parent)
        env = {} if images else search_path(asked.programs, (path.parent, git.top))
        notes = list(_missing_files(git, arms))
        if asked.setup:
            notes += _set_up(asked, arms, commit, env)
        yield RevisionArms(
            tuple(
                RevisionArm(
                    name=name,
                    title=(git.subject(commit) if name == BASE_ARM else "working tree")
                    + (", its image" if images else ", in its folder"),
                    fly_toml=str(root / file),
                    folder=str(_start_folder(root, file)),
                    machines=asked.machines,
                    command=asked.command,
                    release_command=asked.release_command,
                    seed_command=asked.seed_command,
                    env=env,
                    image=images.get(name, ""),
                    database=name,  # a column that the candidate renames is the base's too
                )
                for name, (root, file) in arms.items()
            ),
            scratch=tree.parent,
            notes=tuple(notes),
        )


def _set_up(
    asked: BaseRevision,
    arms: Mapping[str, tuple[Path, Path]],
    commit: str,
    env: Mapping[str, str],
) -> Iterator[str]:
    """Prepare both folders; yields what a person should know of that."""
    line, anew = asked.setup, asked.setup_anew
    for name, (root, file) in arms.items():
        folder = _start_folder(root, file)
        known = set_up_packages(line, folder, name, env=env, anew=anew)
        if known:
            yield f"{name}: its packages are those of the same lock file before; {_ANEW}"
        elif known is None and name == CANDIDATE_ARM:  # the user's own tree
            set_up(line, folder, name, env)
        elif known is None and set_up_commit(line, root, folder, commit=commit, env=env, anew=anew):
            yield f"{name}: its folder is what --setup made of this commit before; {_ANEW}"


def _missing_files(git: Git, arms: Mapping[str, tuple[Path, Path]]) -> Iterator[str]:
    for name, (root, _) in arms.items():
        if missing := git.missing_large_files(root):
            yield (
                f"{name}: {missing[0]}{_more(missing)} is kept by Git LFS and not here, only "
                "named; where the app reads it: install git-lfs, `git lfs install`, `git lfs fetch "
                "--all`"
            )


def _more(names: Sequence[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _context_inside(asked: BaseRevision, top: Path) -> Path | None:
    """Return the folder that images are built from, from the top of the repository."""
    if asked.context is None:
        return None
    folder = Path(asked.context).resolve()
    if not folder.is_dir() or not folder.is_relative_to(top):
        raise PlanError(
            f"--context: {asked.context!r} is no folder of the repository {top}; name the one "
            "that `fly deploy` is run in"
        )
    return folder.relative_to(top)


def _images(
    asked: BaseRevision,
    arms: Mapping[str, tuple[Path, Path]],
    context: Path | None,
    scratch: Path,
) -> dict[str, str]:
    """
    Return the image of each arm, or nothing where both run in their folders.

    What is given is taken; otherwise the image that fly.toml names is pulled, or a Dockerfile is
    built, where an engine works.

    Raises:
        PlanError: One arm has an image and the other cannot have one, or a build failed.
    """
    given = {BASE_ARM: asked.base_image, CANDIDATE_ARM: asked.image}
    if any(given.values()) and asked.speaks_of_folders:
        raise PlanError(
            "--image: an image brings its own programs and command; leave out --setup, --programs "
            "and --command, or the image"
        )
    configs = {name: read_app_config(root / file) for name, (root, file) in arms.items()}
    folders = {
        name: _start_folder(root, file) if context is None else root / context
        for name, (root, file) in arms.items()
    }
    if not any(given.values()) and (
        asked.speaks_of_folders
        or not all(_has_image(configs[name], folders[name]) for name in configs)
    ):
        return {}
    engine = find_engine()
    if engine is None and not any(given.values()):
        return {}
    if not any(given.values()) and not hosts_are_possible():
        return {}
    found: dict[str, str] = {}
    for name, text in given.items():
        option = "--base-image" if name == BASE_ARM else "--image"
        target = scratch / f"image-{name}"
        if text:
            found[name] = str(image_from(text, option, target))
            continue
        config, folder = configs[name], folders[name]
        if engine is None or not _has_image(config, folder):
            raise PlanError(
                f"{option}: the other revision runs as an image, so this one needs one too; name "
                "it, or give it a Dockerfile where docker, podman or buildah works"
            )
        target.mkdir()
        made = (
            engine.save(config.build.image, target)
            if config.build.image
            else engine.build(config, folder, target)
        )
        found[name] = str(checked(made, option))
    return found


def _has_image(config: AppConfig, folder: Path) -> bool:
    """Tell whether a revision names an image, or has one to build, that is not our program's."""
    if image_name(config.image) == OUR_IMAGE:
        return False
    return bool(config.build.image) or find_dockerfile(config, folder) is not None


def _find_app(app: str | None) -> Path:
    places = (app,) if app else APP_PLACES
    for place in places:
        if Path(place).is_file():
            return Path(place).resolve()
    told = f"{app!r} is no file" if app else f"there is no {' and no '.join(APP_PLACES)} here"
    raise PlanError(f"--app: {told}; name the fly.toml of the app that the gate is about")


def _start_folder(root: Path, inside: Path) -> Path:
    """Return where an app's command runs: our apps at the top, others beside their fly.toml."""
    config = read_app_config(root / inside)
    return root if image_name(config.image) == OUR_IMAGE else (root / inside).parent


@contextmanager
def _files_of(git: Git, commit: str) -> Iterator[Path]:
    """Give a folder with a commit's files, and take it away afterwards."""
    base = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX)).resolve()
    base.chmod(0o755)
    write_owner(base, os.getpid())  # if this process is killed, the next world sweeps it
    try:
        git.write_files(commit, base / "base")
        yield base / "base"
    finally:
        remove_dir(base)

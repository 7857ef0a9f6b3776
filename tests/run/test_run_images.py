"""Images of a gate's revisions: given, built by an engine, or left out."""

from __future__ import annotations

import sys
from pathlib import Path

import image_files as made
import pytest
from test_run_git import commit, git

from loadtest.errors import PlanError
from loadtest.fly.config import parse_app_config
from loadtest.run import images as module
from loadtest.run import revisions
from loadtest.run.images import ImageEngine, checked, find_engine, image_from
from loadtest.run.revisions import BaseRevision, revision_arms

FLY = 'app = "tiny"\n[http_service]\ninternal_port = 8080\n'
HELLO = made.layer(made.entry("hello", b"hello"))

# Does what the three do as far as files are concerned, and writes down what it was told.
ENGINE = """#!{python}
import pathlib, shutil, sys
words = sys.argv[1:]
here = pathlib.Path(__file__).parent
with (here / "told").open("a") as file:
    file.write(repr(words) + "\\n")
if words[0] in ("build", "bud"):
    if "--build-arg" in words and "FAIL=1" in words:
        sys.exit("step 3: no such file\\x1b[31m")
    pathlib.Path(words[words.index("--iidfile") + 1]).write_text("sha256:abc\\n")
elif words[0] == "images":
    print((here / "images").read_text())
elif words[0] == "save":
    shutil.copy(here / "saved.tar", words[words.index("-o") + 1])
elif words[0] == "push":
    shutil.copy(here / "saved.tar", words[2].partition(":")[2])
elif words[0] in ("image", "inspect") and "here" not in words[-1]:
    sys.exit(1)
elif words[0] == "info" and (here / "no-engine").exists():
    sys.exit("Cannot connect to the Docker daemon")
"""


@pytest.fixture
def bin_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the only folder on PATH beside git's; engines are put there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    made.write_saved(folder / "saved.tar", [HELLO], {"Cmd": ["/hello"]})
    (folder / "images").write_text("sha256:its-own\n")
    (folder / "git").symlink_to(module.shutil.which("git") or "git")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(revisions, "hosts_are_possible", lambda: True)
    return folder


def put_engine(folder: Path, name: str) -> None:
    (folder / name).write_text(ENGINE.format(python=sys.executable))
    (folder / name).chmod(0o755)


def told(folder: Path) -> list[list[str]]:
    return [eval(line) for line in (folder / "told").read_text().splitlines()]


class TestEngine:
    def test_the_first_that_answers_is_taken(self, bin_dir: Path) -> None:
        assert find_engine() is None
        put_engine(bin_dir, "buildah")
        put_engine(bin_dir, "docker")
        found = find_engine()
        assert found is not None
        assert found.name == "docker"
        (bin_dir / "no-engine").touch()
        assert find_engine() is None

    @pytest.mark.parametrize("name", ["docker", "podman", "buildah"])
    def test_it_builds_what_fly_toml_says(self, bin_dir: Path, tmp_path: Path, name: str) -> None:
        put_engine(bin_dir, name)
        for file in ("web.Dockerfile", "web.ignore"):
            (tmp_path / file).write_text("FROM scratch")
        build = 'dockerfile = "web.Dockerfile"\nignorefile = "web.ignore"\nbuild-target = "web"'
        toml = f'{FLY}[build]\n{build}\n[build.args]\nA = "1"\n'
        (tmp_path / "made").mkdir()
        config = parse_app_config(toml, tmp_path / "fly.toml")
        engine = ImageEngine(name, str(bin_dir / name))
        assert engine.build(config, tmp_path, tmp_path / "made").read_bytes()
        words = told(bin_dir)[1]
        assert words[0] == ("bud" if name == "buildah" else "build")
        assert words[-1] == str(tmp_path)
        assert words[words.index("--target") + 1] == "web"
        assert words[words.index("--build-arg") + 1] == "A=1"
        dockerfile = Path(words[words.index("-f") + 1])
        if name == "docker":  # which finds a file to ignore by, by name alone
            assert dockerfile.with_name("Dockerfile.dockerignore").read_text()
        else:
            assert words[words.index("--ignorefile") + 1] == str(tmp_path / "web.ignore")
            assert dockerfile == tmp_path / "web.Dockerfile"

    @pytest.mark.parametrize("name", ["docker", "podman", "buildah"])
    @pytest.mark.parametrize(
        ("images", "goes"), [("sha256:other\n", True), ("abc\n", False), (None, False)]
    )
    def test_an_image_that_was_not_there_before_is_not_there_afterwards(
        self, bin_dir: Path, tmp_path: Path, name: str, images: str | None, *, goes: bool
    ) -> None:
        """Where an engine does not tell what it has, all of it may be somebody's."""
        put_engine(bin_dir, name)
        (bin_dir / "images").unlink()
        if images is not None:
            (bin_dir / "images").write_text(images)
        (tmp_path / "Dockerfile").write_text("FROM scratch")
        config = parse_app_config(FLY, tmp_path / "fly.toml")
        ImageEngine(name, str(bin_dir / name)).build(config, tmp_path, tmp_path)
        removed = [words for words in told(bin_dir) if words[0] == "rmi"]
        assert [words[-1] for words in removed] == ["sha256:abc"] * goes

    def test_a_build_that_fails_is_told_with_its_last_words(
        self, bin_dir: Path, tmp_path: Path
    ) -> None:
        put_engine(bin_dir, "docker")
        (tmp_path / "Dockerfile").write_text("FROM scratch")
        config = parse_app_config(f'{FLY}[build.args]\nFAIL = "1"\n', tmp_path / "fly.toml")
        with pytest.raises(
            PlanError, match=r"(?s)docker: building .*exit code 1.*step 3"
        ) as caught:
            ImageEngine("docker", str(bin_dir / "docker")).build(config, tmp_path, tmp_path)
        assert "\x1b" not in str(caught.value)

    @pytest.mark.parametrize(("name", "pulled"), [("here:1", False), ("far:1", True)])
    def test_an_image_that_it_does_not_have_is_pulled(
        self, bin_dir: Path, tmp_path: Path, name: str, *, pulled: bool
    ) -> None:
        put_engine(bin_dir, "docker")
        assert image_from(name, "--image", tmp_path / "made").is_file()
        assert (["pull", name] in told(bin_dir)) is pulled


def test_a_name_without_an_engine_says_what_to_do(bin_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"--image: there is no file 'shop:1'.*docker save -o"):
        image_from("shop:1", "--image", tmp_path / "made")
    put_engine(bin_dir, "docker")
    with pytest.raises(PlanError, match=r"image '-v': is no name of an image"):
        image_from("-v", "--image", tmp_path / "made")


def test_a_file_that_is_no_image_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(PlanError, match=r"--base-image: image .*/x: cannot be read"):
        checked(tmp_path / "x", "--base-image")


@pytest.fixture
def repo(tmp_path: Path, bin_dir: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "one", fly_toml=FLY, Dockerfile='FROM scratch\nCMD ["/hello"]\n')
    commit(folder, "two", note_txt="x")
    return folder


def images_of(repo: Path, **more: str) -> list[str]:
    asked = BaseRevision(app=str(repo / "fly.toml"), revision="HEAD~1", **more)  # type: ignore[arg-type]
    with revision_arms(asked) as arms:
        both = arms.deployments
        assert all((", its image" in arm.title) == bool(arm.image) for arm in both)
        return [arm.image for arm in both]


class TestRevisions:
    def test_both_are_built_where_an_engine_works(self, repo: Path, bin_dir: Path) -> None:
        assert images_of(repo) == ["", ""]
        put_engine(bin_dir, "podman")
        base, candidate = images_of(repo)
        assert "image-base" in base
        assert "image-candidate" in candidate
        contexts = [words[-1] for words in told(bin_dir) if words[0] == "build"]
        assert contexts[0].endswith("/base")
        assert contexts[1] == str(repo)
        assert git(repo, "status", "--short") == ""

    def test_an_image_that_the_file_names_is_taken_or_pulled(
        self, repo: Path, bin_dir: Path
    ) -> None:
        commit(repo, "three", fly_toml=f'{FLY}[build]\nimage = "far:1"\n')
        commit(repo, "four", fly_toml=f'{FLY}[build]\nimage = "here:2"\n')
        put_engine(bin_dir, "docker")
        base, candidate = images_of(repo)
        assert "image-base" in base
        assert "image-candidate" in candidate
        assert [words[1] for words in told(bin_dir) if words[0] == "pull"] == ["far:1"]

    def test_the_context_is_the_folder_that_is_named(self, repo: Path, bin_dir: Path) -> None:
        (repo / "web").mkdir()
        git(repo, "mv", "fly.toml", "web/fly.toml")
        commit(repo, "three")
        put_engine(bin_dir, "docker")
        asked = BaseRevision(app=str(repo / "web" / "fly.toml"), revision="HEAD", context=str(repo))
        with revision_arms(asked) as arms:
            assert all(arm.image for arm in arms.deployments)
        contexts = [words[-1] for words in told(bin_dir) if words[0] == "build"]
        assert contexts[0].endswith("/base")
        assert contexts[1] == str(repo)
        for wrong in (str(repo.parent), str(repo / "nowhere")):
            asked = BaseRevision(app=asked.app, revision="HEAD", context=wrong)
            with pytest.raises(PlanError, match="--context"), revision_arms(asked):
                pass

    def test_what_speaks_of_the_folder_runs_in_it(self, repo: Path, bin_dir: Path) -> None:
        put_engine(bin_dir, "docker")
        assert images_of(repo, command="python app.py") == ["", ""]
        with pytest.raises(PlanError, match=r"--image: an image brings its own programs"):
            images_of(repo, command="x", image=str(bin_dir / "saved.tar"))

    def test_where_hosts_cannot_be_the_folder_is_taken(
        self, repo: Path, bin_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put_engine(bin_dir, "docker")
        monkeypatch.setattr(revisions, "hosts_are_possible", lambda: False)
        assert images_of(repo) == ["", ""]

    def test_given_ones_are_taken_and_the_other_one_is_missed(
        self, repo: Path, bin_dir: Path
    ) -> None:
        saved = str(bin_dir / "saved.tar")
        assert images_of(repo, image=saved, base_image=saved) == [saved, saved]
        with pytest.raises(PlanError, match=r"--base-image: the other revision runs as an image"):
            images_of(repo, image=saved)
        put_engine(bin_dir, "docker")
        base, candidate = images_of(repo, image=saved)
        assert "image-base" in base
        assert candidate == saved

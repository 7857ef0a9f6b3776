"""Git is asked and never changed, whatever a hook, a worktree or a variable says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.errors import PlanError
from loadtest.run.gate_arms import setup_of, with_arms
from loadtest.run.git import Git, clean_environment
from loadtest.run.revisions import BaseRevision, revision_arms

FLY = 'app = "tiny"\n[processes]\napp = "python3 app.py"\n[http_service]\ninternal_port = 8080\n'
ZEROS = "0" * 40


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=Someone", "-c", "user.email=someone@example.com")
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *words],
        capture_output=True,
        text=True,
        check=True,
        env=clean_environment(os.environ),
    )
    return done.stdout.strip()


def commit(folder: Path, message: str, **files: str) -> str:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "one", fly_toml=FLY, app_py="base = 1\n")
    commit(folder, "two", app_py="candidate = 1\n")
    return folder


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return every file of a repository's own records, with its content."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted((folder / ".git").rglob("*"))
        if path.is_file()
    }


def arms(repo: Path, revision: str = "HEAD~1", **more: object) -> Iterator[tuple[Path, Path]]:
    asked = BaseRevision(app=str(repo / "fly.toml"), revision=revision, **more)  # type: ignore[arg-type]
    with revision_arms(asked) as arms:
        base, candidate = (Path(arm.folder) for arm in arms.deployments)
        yield base, candidate


def test_the_base_has_its_files_and_nothing_of_the_users_repository_changes(repo: Path) -> None:
    before = snapshot(repo)
    for base, candidate in arms(repo):
        assert (base / "app.py").read_text() == "base = 1\n"
        assert candidate == repo
        assert snapshot(repo) == before
    assert snapshot(repo) == before
    assert not base.exists()


def test_variables_that_a_hook_hands_down_do_not_reach_our_git(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(repo)
    index = (repo / ".git" / "index").read_bytes()
    monkeypatch.setenv("GIT_INDEX_FILE", str(repo / ".git" / "index"))
    monkeypatch.setenv("GIT_DIR", str(repo / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(repo))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.bare")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    for base, _ in arms(repo):
        assert (base / "app.py").read_text() == "base = 1\n"
    assert (repo / ".git" / "index").read_bytes() == index
    assert snapshot(repo) == before


def test_all_that_this_git_calls_local_is_taken_out(repo: Path) -> None:
    told = git(repo, "rev-parse", "--local-env-vars").split()
    assert told
    environment = dict.fromkeys(told, "x") | {"PATH": os.environ["PATH"], "HOME": "/"}
    assert not set(told) & set(clean_environment(environment))


def test_worktrees_whose_disk_is_away_keep_their_records(repo: Path, tmp_path: Path) -> None:
    feature = tmp_path / "feature"
    git(repo, "worktree", "add", "-q", str(feature), "-b", "feature")
    (feature / "staged.txt").write_text("work")
    git(feature, "add", "staged.txt")
    feature.rename(away := tmp_path / "away")
    for _ in arms(repo):
        pass
    away.rename(feature)
    assert git(feature, "status", "--short") == "A  staged.txt"


def test_a_linked_worktree_can_be_gated(repo: Path, tmp_path: Path) -> None:
    feature = tmp_path / "feature"
    git(repo, "worktree", "add", "-q", str(feature), "-b", "feature")
    for base, candidate in arms(feature):
        assert (base / "app.py").read_text() == "base = 1\n"
        assert candidate == feature


def test_no_hook_is_run(repo: Path, tmp_path: Path) -> None:
    for name in ("post-checkout", "post-index-change", "reference-transaction"):
        hook = repo / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 3\n")
        hook.chmod(0o755)
    for base, _ in arms(repo):
        assert (base / "app.py").is_file()
    assert not (tmp_path / "ran").exists()


def test_a_branch_is_compared_with_where_it_left_main(repo: Path) -> None:
    left = git(repo, "rev-parse", "HEAD")
    git(repo, "branch", "feature")
    tip = commit(repo, "main goes on", app_py="faster = 1\n")
    git(repo, "checkout", "-q", "feature")
    commit(repo, "words only", README="words")
    found = Git(repo)
    assert found.base_commit("main", exact=False) == left
    assert found.base_commit("main", exact=True) == tip


def test_what_forges_name_as_base_is_what_the_change_is_held_against(repo: Path) -> None:
    """The table of docs/gate.md: a merge as HEAD, the branch itself, a push, a forced push."""
    left = git(repo, "rev-parse", "HEAD")
    git(repo, "branch", "feature")
    tip = commit(repo, "main goes on", app_py="faster = 1\n")
    git(repo, "checkout", "-q", "feature")
    head = commit(repo, "words", README="words")
    assert Git(repo).base_commit(tip, exact=False) == left, "the branch is checked out"
    assert Git(repo).base_commit(left, exact=False) == left, "GitLab names where it left"
    git(repo, "merge", "-q", "-m", "as a pull request is tried", "main")
    assert Git(repo).base_commit(tip, exact=False) == tip, "the merge has all of main"
    git(repo, "reset", "-q", "--hard", head)
    pushed = commit(repo, "more words", README="more")
    assert Git(repo).base_commit(head, exact=False) == head, "what was there before the push"
    git(repo, "reset", "-q", "--hard", head)
    commit(repo, "other words", README="other")
    assert Git(repo).base_commit(pushed, exact=False) == head, "a forced push"


@pytest.mark.parametrize("revision", ["", ZEROS, " "])
def test_no_revision_means_the_default_branch(repo: Path, revision: str) -> None:
    with pytest.raises(PlanError, match="empty or all zeros"):
        Git(repo).base_commit(revision, exact=False)
    git(repo, "update-ref", "refs/remotes/origin/main", "HEAD~1")
    assert Git(repo).base_commit(revision, exact=False) == git(repo, "rev-parse", "HEAD~1")


def test_an_unknown_revision_is_told_in_gits_own_words(repo: Path) -> None:
    with pytest.raises(
        PlanError, match=r"'nowhere' names no commit that is here \(fetch it, or commit first\)"
    ) as told:
        Git(repo).base_commit("nowhere", exact=False)
    assert "shallow" not in str(told.value)


def test_an_option_is_no_revision(repo: Path) -> None:
    with pytest.raises(PlanError):
        Git(repo).base_commit("--output=x", exact=True)


def test_a_shallow_clone_is_told(repo: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repo}", str(clone))
    with pytest.raises(PlanError, match="the clone is shallow: git fetch --unshallow"):
        Git(clone).base_commit("HEAD~1", exact=False)


def test_no_common_commit_is_told(repo: Path) -> None:
    git(repo, "checkout", "-q", "--orphan", "other")
    commit(repo, "other", app_py="x")
    with pytest.raises(PlanError, match="no commit in common"):
        Git(repo).base_commit("main", exact=False)


def test_a_folder_without_a_repository_is_told(tmp_path: Path) -> None:
    (tmp_path / "fly.toml").write_text(FLY)
    with pytest.raises(PlanError, match="git repository"):
        list(arms(tmp_path))


def test_an_app_that_moved_is_found_with_base_app(repo: Path) -> None:
    git(repo, "mv", "fly.toml", "app.toml")
    commit(repo, "three")
    asked = BaseRevision(app=str(repo / "app.toml"), revision="HEAD~1")
    with pytest.raises(PlanError, match="--base-app"), revision_arms(asked):
        pass
    asked = BaseRevision(app=str(repo / "app.toml"), revision="HEAD~1", base_app="fly.toml")
    with revision_arms(asked) as arms:
        assert arms.deployments[0].fly_toml.endswith("/fly.toml")


def test_submodules_come_with_the_revision(repo: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "-q", "-b", "main")
    commit(library, "lib", lib_py="there = 1\n")
    git(
        repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib"
    )
    commit(repo, "with a library")
    commit(repo, "and on", app_py="more = 1\n")
    for base, _ in arms(repo):
        assert (base / "lib" / "lib.py").read_text() == "there = 1\n"


def test_a_submodule_that_is_not_here_comes_from_beside_the_remote(
    repo: Path, tmp_path: Path
) -> None:
    """Its address is relative to the repository's own, as forges have them; it has one itself."""
    forge = tmp_path / "forge"
    for name, inner in (("deep", ""), ("library", "deep"), ("shop", "library")):
        folder = repo if name == "shop" else tmp_path / name
        if name != "shop":
            folder.mkdir()
            git(folder, "init", "-q", "-b", "main")
            commit(folder, name, **{f"{name}_py": "there = 1\n"})
        if inner:
            add = ("submodule", "--quiet", "add", str(forge / f"{inner}.git"), inner)
            git(folder, "-c", "protocol.file.allow=always", *add)
            git(folder, "config", "-f", ".gitmodules", f"submodule.{inner}.url", f"../{inner}.git")
            commit(folder, f"with {inner}")
        git(tmp_path, "clone", "-q", "--bare", str(folder), str(forge / f"{name}.git"))
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(forge / "shop.git"), str(clone))
    for base, _ in arms(clone, "HEAD"):
        assert (base / "library" / "library.py").read_text() == "there = 1\n"
        assert (base / "library" / "deep" / "deep.py").read_text() == "there = 1\n"
    assert not (clone / "library" / "library.py").exists(), "the user's own are left alone"


def test_large_files_that_are_only_named_are_told(repo: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
    (repo / ".gitattributes").write_text("*.bin filter=lfs\n")
    commit(repo, "large", model_bin=pointer, other_bin="here", text_txt=pointer)
    asked = BaseRevision(app=str(repo / "fly.toml"), revision="HEAD")
    with revision_arms(asked) as found:
        assert [note.partition(" is kept")[0] for note in found.notes] == [
            "base: model.bin",
            "candidate: model.bin",
        ]


def test_large_files_are_fetched_as_the_users_repository_would(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fills them is told where the forge is, by the settings of the user's repository."""
    smudge = tmp_path / "smudge"
    smudge.write_text("#!/bin/sh\ncat > /dev/null\ngit config --get remote.origin.url\n")
    smudge.chmod(0o755)
    (repo / ".gitattributes").write_text("*.bin filter=lfs\n")
    commit(repo, "large", model_bin="version https://git-lfs.github.com/spec/v1\n")
    git(repo, "config", "filter.lfs.smudge", str(smudge))
    git(repo, "config", "filter.lfs.required", "true")
    git(repo, "config", "remote.origin.url", "https://forge.example/shop.git")
    for base, _ in arms(repo, "HEAD"):
        assert (base / "model.bin").read_text() == "https://forge.example/shop.git\n"
        assert "forge.example" not in (base / ".git" / "config").read_text()


def test_each_revision_is_set_up_in_its_own_folder(repo: Path) -> None:
    for base, candidate in arms(repo, setup="cat app.py > made.txt"):
        assert (base / "made.txt").read_text() == "base = 1\n"
        assert (candidate / "made.txt").read_text() == "candidate = 1\n"


def test_a_setup_does_not_work_on_the_repository_whose_hook_runs_the_gate(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.setenv(name, str(repo / ".git"))
    for base, candidate in arms(repo, setup="env | grep ^GIT_ > told.txt; true"):
        assert (base / "told.txt").read_text() == (candidate / "told.txt").read_text() == ""


def test_a_setup_that_fails_says_whose_and_why(repo: Path) -> None:
    with pytest.raises(PlanError, match=r"--setup: .* of base ended with exit code 3:\n  \| no"):
        list(arms(repo, setup="echo no; exit 3"))


def test_a_plan_says_what_prepares_both_revisions_and_what_they_need(repo: Path) -> None:
    raw = {
        "name": "gate",
        "gate": {"setup": "touch made.txt", "env": {"SHOP_KEY": "k", "MODE": "test"}},
        "deployments": [
            {"name": "candidate", "env": {"MODE": "new"}, "http": "1.1", "command": "other"},
            {"name": "other", "url": "http://x.example"},
        ],
    }
    asked = BaseRevision(
        app=str(repo / "fly.toml"), revision="HEAD~1", setup=setup_of(raw), command="run"
    )
    with revision_arms(asked) as arms:
        found = with_arms(raw, arms)["deployments"]
        assert all((Path(arm.folder) / "made.txt").exists() for arm in arms.deployments)
    assert isinstance(found, list)
    base, candidate = found
    assert (base["name"], base["env"]) == ("base", {"SHOP_KEY": "k", "MODE": "test"})
    assert candidate["env"] == {"SHOP_KEY": "k", "MODE": "new"}
    assert (candidate["http"], candidate["command"]) == ("1.1", "run")


@pytest.mark.parametrize("gate", [None, "x", {}, {"setup": 3}])
def test_a_plan_that_prepares_nothing(gate: object) -> None:
    assert setup_of({"gate": gate}) == ""

"""Keys of machines of one's own: made once, read by whoever needs them, shown to nobody."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from loadtest.engine.wire.protocol import curve_keys
from loadtest.errors import PlanError
from loadtest.run.own_keys import NEEDED, TOKEN, find_keys, make_keys


def test_each_process_has_a_file_that_its_owner_alone_can_read(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "keys"
    made = make_keys(folder)
    assert [path.name for path in made] == ["coordinator.env", "worker.env", "driver.env"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / ".gitignore").read_text() == "*\n"
    for path in made:
        names = [line.partition("=")[0] for line in path.read_text().splitlines()]
        assert names == list(NEEDED[path.stem])
        assert all(re.fullmatch(r"\w+=[\w-]{30,}", line) for line in path.read_text().splitlines())


def test_a_worker_has_no_token_and_the_keys_fit_together(tmp_path: Path) -> None:
    make_keys(tmp_path / "keys")
    told = {who: find_keys(who, tmp_path / "keys" / f"{who}.env", {}) for who in NEEDED}
    assert TOKEN not in told["worker"]
    assert told["coordinator"][TOKEN] == told["driver"][TOKEN]
    server, client = curve_keys("SERVER", told["coordinator"]), curve_keys("CLIENT", told["worker"])
    assert (server.server_public, server.client_public) == (
        client.server_public,
        client.client_public,
    )
    assert len({server.secret, client.secret, server.server_public, server.client_public}) == 4


@pytest.mark.parametrize("there", ["coordinator.env", "worker.env", "driver.env"])
def test_nothing_is_overwritten_and_nothing_half_made(tmp_path: Path, there: str) -> None:
    (tmp_path / there).symlink_to(tmp_path / "nowhere")
    with pytest.raises(PlanError, match=f"--out: .*{there} is there already"):
        make_keys(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [there]


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PlanError, match=r"--out: .*Not a directory"):
        make_keys(tmp_path / "file" / "keys")


def test_keys_come_from_the_file_named_then_the_environment_then_the_usual_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlanError, match="no keys: set LOADTEST_TOKEN, or name their file"):
        find_keys("driver", None, {})
    make_keys(Path("loadtest-keys"))
    usual = find_keys("driver", None, {})[TOKEN]
    assert find_keys("driver", None, {TOKEN: "given"}) == {TOKEN: "given"}
    (tmp_path / "other.env").write_text(f"# mine\n\n{TOKEN}=named\n")
    assert find_keys("driver", Path("other.env"), {TOKEN: "given"}) == {TOKEN: "named"}
    assert usual not in ("given", "named")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"LOADTEST_TOKEN=\n", "has no LOADTEST_TOKEN; `loadtest keys` makes a file"),
        (b"secret of another kind", "has no LOADTEST_TOKEN"),
        (b"\xff\xfe", "it is not UTF-8"),
        (None, "No such file"),
    ],
)
def test_a_file_without_the_key_is_refused_without_a_word_of_it(
    tmp_path: Path, content: bytes | None, told: str
) -> None:
    if content is not None:
        (tmp_path / "keys.env").write_bytes(content)
    with pytest.raises(PlanError, match=f"--keys: .*keys.env: {told}") as caught:
        find_keys("driver", tmp_path / "keys.env", {})
    assert "secret" not in str(caught.value)


def test_half_an_environment_is_no_set_of_keys() -> None:
    with pytest.raises(PlanError, match="LOADTEST_CURVE_CLIENT_SECRET: not set, while others"):
        find_keys("worker", None, dict.fromkeys(NEEDED["worker"][:2], "x"))

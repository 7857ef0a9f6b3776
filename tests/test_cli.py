"""The command line: help, usage, exit codes, the gentle stop, and what a terminal shows."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from loadtest import cli as program
from loadtest import errors
from loadtest.cli import cli
from loadtest.cli_options import EXIT_CODES, gentle_stop, typed_after, typed_command
from loadtest.terminal import Terminal

SLOW = ("pandas", "matplotlib", "locust", "gevent", "pyarrow", "numpy", "httpx", "pydantic")


def commands(group: click.Group, *above: str) -> Iterator[tuple[str, ...]]:
    yield above
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)
        else:
            yield (*above, name)


@pytest.mark.parametrize("words", list(commands(cli)), ids=" ".join)
def test_every_command_has_help(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli, [*words, "--help"])
    assert done.exit_code == 0
    assert done.output.startswith("Usage:")
    assert len(done.output.splitlines()) > 4


def test_the_command_line_loads_nothing_slow() -> None:
    """Rooms are entered by the command that needs them, so help comes at once."""
    code = f"import sys, loadtest.cli; print([m for m in {SLOW} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_exit_code_is_in_the_help() -> None:
    codes = [value for name, value in vars(errors).items() if name.startswith("EXIT_")]
    assert all(f" {code}  " in EXIT_CODES for code in codes)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "--no-such-flag"], "No such option"),
        (["run", "--rate", "many"], "'many' is not a valid float"),
        (["run", "a.toml", "b.toml"], "unexpected extra argument"),
        (["dance"], "No such command 'dance'"),
        (["gate", "--candidate", "https://example.org"], "only with --base: --candidate;"),
        (
            ["gate", "run", "--threshold", "ttfb.p95 < 1s"],
            "only with --base: --threshold; a stored run",
        ),
    ],
    ids=["flag", "number", "argument", "command", "half a comparison", "a rule for a stored run"],
)
def test_bad_usage_ends_with_two(
    words: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(words, monkeypatch) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "--world", "mars"], "--world: 'mars' is neither 'embedded', 'fly' nor the URL"),
        (["run", "nowhere.toml"], "plan: there is no file 'nowhere.toml'"),
        (["run", "--scenario", "gone.py"], "scenario: there is no file 'gone.py'"),
        (["run", "--threshold", "ttfb.p95 < 9 parsecs"], "parsecs"),
        (["world", "up", "--regions", "atlantis"], "'atlantis' is no known region"),
    ],
    ids=["world", "plan", "scenario", "threshold", "region"],
)
def test_a_wrong_plan_ends_with_thirteen_and_a_sentence(
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert outcome(words, monkeypatch) == errors.EXIT_PLAN
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def outcome(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    """Run the command line in this process; return the code it exits with."""
    monkeypatch.setattr(sys, "argv", ["loadtest", *words])
    with pytest.raises(SystemExit) as caught:
        program.main()
    return caught.value.code


def raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    """Let a command end with an error; return the code the program exits with."""

    @click.command()
    def broken() -> None:
        raise error

    monkeypatch.setattr(program, "cli", broken)
    return outcome([], monkeypatch)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.LoadtestError("so it is"), 1),
        (errors.PlanError("so it is"), 13),
        (errors.WorldError("so it is"), 14),
        (errors.EngineError("so it is"), 15),
        (errors.RecordsError("so it is"), 12),
        (OSError(28, "so it is", "records.parquet"), 14),
        (OSError("so it is"), 14),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_every_foreseen_error_is_a_sentence_and_a_code(
    error: Exception,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert raising(error, monkeypatch) == code
    told = capsys.readouterr().err
    assert "so it is" in told
    assert told.startswith("error")
    assert "Traceback" not in told


def test_every_fault_of_a_plan_has_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(errors.PlanError("first: [wrong]", "second: [/wrong]"), monkeypatch)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["error   first: [wrong]", "error   second: [/wrong]"]


def test_a_signal_while_the_first_is_answered_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program.cli, "main", interrupted)
    monkeypatch.setattr(program, "say_failure", interrupted)
    with pytest.raises(SystemExit) as caught:
        program.main()
    assert caught.value.code == errors.EXIT_INTERRUPTED


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_is_no_error(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    assert raising(error, monkeypatch) == errors.EXIT_INTERRUPTED


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def broken() -> None:
        raise AssertionError("a bug")

    monkeypatch.setattr(program, "cli", broken)
    monkeypatch.setattr(sys, "argv", ["loadtest"])
    with pytest.raises(AssertionError, match="a bug"):
        program.main()


def test_a_reader_that_leaves_ends_the_program_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "loadtest", "run", "--help"],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "")


def test_the_first_signal_asks_and_the_second_ends() -> None:
    before = signal.getsignal(signal.SIGINT)
    asked: list[str] = []
    with gentle_stop(lambda: asked.append("stop"), lambda: asked.append("end")):
        signal.raise_signal(signal.SIGTERM)
        assert asked == ["stop"]
        signal.raise_signal(signal.SIGINT)
    assert asked == ["stop", "end"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_in_the_middle_of_an_import_waits_for_it() -> None:
    """An exception there leaves the lock of imports taken, and who imports next waits for ever."""
    done: list[str] = []
    line = "signal.raise_signal(signal.SIGINT); done.append('imported')"
    importing = compile(line, "<frozen importlib._bootstrap>", "exec")

    def interrupt() -> None:
        exec(importing, {"signal": signal, "done": done})
        while signal.getitimer(signal.ITIMER_REAL)[0]:
            pass  # it is tried again then

    with gentle_stop(lambda: done.append("stop"), lambda: done.append("end")):
        interrupt()
        interrupt()
    assert done == ["imported", "stop", "imported", "end"]


def test_the_command_is_kept_as_it_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["loadtest", "world", "up", "--threshold", "ttfb.p50 < 9ms"])
    assert typed_command() == "loadtest world up --threshold 'ttfb.p50 < 9ms'"
    assert typed_after("up") == "--threshold 'ttfb.p50 < 9ms'"
    assert typed_after("down") == ""


def test_a_table_is_aligned_and_takes_words_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Terminal().table("Times [ms]", ["region", "p50"], [["cdg", "7.1 ms"], ["[b]x", "1,234 ms"]])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "",
        "Times [ms]",
        " region       p50",
        " cdg       7.1 ms",
        " [b]x    1,234 ms",
    ]


def test_what_others_say_is_no_command_to_who_reads_the_log_and_our_own_lines_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal, foreign = Terminal(), "::error::x ##[add-mask]y :bomb:"
    terminal.table(foreign, [foreign], [[foreign]])
    terminal.lines([foreign])
    terminal.verdict("pass", [foreign])
    for say in (terminal.done, terminal.warn, terminal.error):
        say(foreign)
    terminal.aside([foreign])
    terminal.commands(["::error title=loadtest::ours"])
    terminal.result({"told": foreign})
    told = capsys.readouterr()
    *lines, ours, result = told.out.splitlines()
    for line in (*lines, *told.err.splitlines()):
        assert not line.lstrip().startswith("::")
        assert "##[" not in line
    assert told.err.count(":bomb:") == 4
    assert ours == "::error title=loadtest::ours"
    assert "##[" not in result
    assert json.loads(result) == {"told": foreign}


def test_a_verdict_is_the_last_word_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.step("measuring")
    terminal.done("measured [all]")
    terminal.warn("a note")
    terminal.verdict("fail", ["ttfb.p95 < 100ms: 120 ms"])
    told = capsys.readouterr()
    assert told.out.splitlines() == ["", "verdict: FAIL", "ttfb.p95 < 100ms: 120 ms"]
    assert "measured [all]" in told.err
    assert "note    a note" in told.err


def test_load_is_told_once_a_state_and_every_ten_seconds_where_nobody_watches(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    moments = iter((100.0,) * 40)
    monkeypatch.setattr("loadtest.terminal.time.monotonic", lambda: next(moments))
    for state in ("warm-up", "warm-up", "steady", "steady"):
        terminal.load(state, "12 s left", [], "")
    assert capsys.readouterr().err.count("load: 12 s left\n") == 2
    moments = iter((110.1,) * 10)
    terminal.load("steady", "2 s left", [["region"], ["cdg"]], "cdg 7/9 ms")
    assert "load: 2 s left; provisional: cdg 7/9 ms\n" in capsys.readouterr().err


def test_on_a_terminal_every_region_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    terminal = Terminal()
    table = [["region", "app p50 / p95", "per s", "errors"], ["cdg", "7.1 / 9.3", "5.0", "0"]]
    terminal.load("steady", "2 s left", table, "")
    terminal.finish()
    shown = screen.getvalue()
    assert "2 s left  (provisional)" in shown
    assert "cdg" in shown
    assert "7.1 / 9.3" in shown


def test_an_object_is_the_only_thing_on_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A command that comes to nothing says so in the same form, and in words beside it."""
    monkeypatch.chdir(tmp_path)
    for words, code in ((["run", "no.toml", "--json"], 13), (["run", "--json", "--nope"], 2)):
        assert outcome(words, monkeypatch) == code
        told = capsys.readouterr()
        value = json.loads(told.out)
        assert (value["exit_code"], value["decision"]) == (code, None)
        assert value["sentence"].splitlines()[0][:30] in told.err


def test_a_quiet_terminal_keeps_to_errors(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(quiet=True)
    terminal.step("begin")
    terminal.done("end")
    terminal.error("wrong")
    assert capsys.readouterr().err == "error   wrong\n"

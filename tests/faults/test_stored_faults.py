"""
The campaign of stored faults: a good run, bent in every way that we know of, is never believed.

Every fault has its right outcome and a word that has to be said.  A part runs with every test run,
the whole with `make faults`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import command_line
import pytest
import stored_accounts
import stored_files
import stored_forged
import stored_places
import stored_records
import stored_seen
from stored import Fault, bent, commands_on, make_pair, word_on, wrong_end

from loadtest.analysis.load import load_run
from loadtest.errors import RecordsError
from loadtest.run.judge import judge_folder

Pair = tuple[Path, Path]

READERS = {0, 10, 11, 12}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("good"))


def catalogue(pair: Pair) -> Iterator[Fault]:
    """Yield every fault but flipped bits."""
    yield from stored_accounts.accounts(pair[0])
    yield from stored_accounts.manifests()
    yield from stored_accounts.stories()
    yield from stored_records.records()
    yield from stored_files.files()
    yield from stored_forged.forged()
    yield from stored_places.placed()
    yield from stored_seen.seen()


def ended(faults: list[Fault], pair: Pair, place: Path) -> tuple[list[str], Counter[str]]:
    """Judge a run with each fault; return what ended wrongly, and how often each outcome was."""
    wrong, counts = [], Counter[str]()
    for number, fault in enumerate(faults):
        word = word_on(bent(fault, pair, place / str(number)))
        counts[word.decision] += 1
        if said := wrong_end(fault, word):
            wrong.append(said)
    return wrong, counts


def test_the_run_that_is_bent_is_good(pair: Pair) -> None:
    assert [word_on(folder).decision for folder in pair] == ["pass", "pass"]


def test_the_catalogue_is_long_and_names_each_fault_once(pair: Pair) -> None:
    names = Counter(fault.name for fault in catalogue(pair))
    assert names.most_common(1)[0][1] == 1
    assert len(names) >= 1_000


def test_some_of_every_kind_of_fault(pair: Pair, tmp_path: Path) -> None:
    """Those that are refused take a fortieth of a second, the others a tenth."""
    faults = [
        *list(stored_accounts.accounts(pair[0]))[::40],
        *list(stored_accounts.manifests())[::4],
        *list(stored_accounts.stories())[::8],
        *list(stored_records.records())[::12],
        *list(stored_files.files())[::9],
        *list(stored_files.flips(3)),
        *list(stored_forged.forged())[::9],
        *list(stored_places.placed())[::9],
        *list(stored_seen.seen())[::9],
    ]
    assert ended(faults, pair, tmp_path)[0] == []


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_every_stored_fault(pair: Pair, tmp_path: Path) -> None:
    wrong, counts = ended([*catalogue(pair), *stored_files.flips()], pair, tmp_path)
    print(dict(counts))
    assert wrong == []


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_a_flipped_bit_that_was_vouched_for_is_noticed_or_changes_nothing(
    pair: Pair, tmp_path: Path
) -> None:
    """The pages' own sums see what the seal cannot; what they do not cover is no datum."""
    good = load_run(pair[0]).frame
    counts = Counter[str]()
    for number, fault in enumerate(stored_files.resealed_flips()):
        try:
            frame = load_run(bent(fault, pair, tmp_path / str(number))).frame
        except RecordsError:
            counts["refused"] += 1
            continue
        counts["the same rows"] += 1
        assert frame.equals(good), fault.name
    print(dict(counts))


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_every_command_on_stored_faults(pair: Pair, tmp_path: Path) -> None:
    """Each ends with a code that is documented, and a bent run is shown as good by none."""
    judge_folder(pair[0])
    faults = [
        *list(stored_accounts.accounts(pair[0]))[::10],
        *stored_accounts.manifests(),
        *stored_accounts.stories(),
        *stored_records.records(),
        *stored_files.files(),
        *stored_files.flips(6),
        *stored_forged.forged(),
        *stored_places.placed(),
        *stored_seen.seen(),
    ]
    wrong = []
    for number, fault in enumerate(faults):
        folder = bent(fault, pair, tmp_path / str(number))
        for command, told in commands_on(folder, pair[0]).items():
            believed = told.code == 0 and command in ("gate", "analyze", "compare")
            if told.code not in READERS or (believed and "pass" not in fault.ends):
                wrong.append(f"{command}: {fault.name}: {told.code}: {told.err[:200]}")
            if told.code not in (0, 10, 11) and not (told.err or told.out).strip():
                wrong.append(f"{command}: {fault.name}: {told.code} without a word")
    assert wrong == []


def test_an_invalid_run_is_not_compared_and_not_in_a_history(pair: Pair, tmp_path: Path) -> None:
    """Both say which run and why; forced, the comparison is marked."""
    place = tmp_path / "runs"
    fault = next(f for f in stored_accounts.stories() if "state = 'lost'" in f.name)
    folder = bent(fault, pair, place)
    told = command_line.run("compare", str(pair[0]), str(folder))
    assert told.code == 12
    assert "run-0 is invalid" in told.err
    forced = command_line.run("compare", "--force", str(pair[0]), str(folder))
    assert forced.code == 0
    assert "run-0 is invalid" in forced.out
    assert command_line.run("gate", str(folder)).code == 12
    shown = command_line.run("history", str(place))
    assert "left out as invalid: 3 of 6 cells" in shown.out
    summary = folder / "summary.json"
    summary.write_text(summary.read_text().replace('"errors": 0', '"errors": 1', 1))
    gone = command_line.run("history", str(place))
    assert gone.code == 12
    assert "is not what was derived from the run's files" in gone.err

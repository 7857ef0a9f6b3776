"""Prices as Fly lists them, and the record of machine-seconds that they are multiplied with."""

from __future__ import annotations

import pytest

from loadtest.clock import FakeClock
from loadtest.fly.ledger import MachineLedger
from loadtest.fly.machines import Guest
from loadtest.fly.prices import size_name, usd_per_s
from loadtest.units import NS_PER_S

THIRTY_DAYS_S = 30 * 86_400
SMALL = Guest("shared", 1, 256)
LARGE = Guest("performance", 1, 2_048)


@pytest.mark.parametrize(
    ("guest", "region", "usd"),
    [
        (SMALL, "iad", 2.19),
        (Guest("shared", 1, 512), "iad", 3.69),
        (Guest("shared", 1, 1_024), "iad", 6.70),
        (Guest("shared", 2, 2_048), "ewr", 13.39),
        (Guest("shared", 1, 1_024), "fra", 7.73),
        (Guest("shared", 1, 1_024), "sin", 8.50),
        (LARGE, "iad", 33.00),
        (Guest("performance", 2, 4_096), "iad", 66.00),
        (LARGE, "scl", 33.00 * 1.615384615),
    ],
)
def test_thirty_days_cost_what_the_price_list_says(guest: Guest, region: str, usd: float) -> None:
    """The rows of the page "Resource pricing"; a region that is not listed is the dearest."""
    assert usd_per_s(guest, region) * THIRTY_DAYS_S == pytest.approx(usd, abs=0.006)


def test_sizes_have_the_names_that_people_know() -> None:
    assert size_name(SMALL) == "shared-cpu-1x 0.25 GB"
    assert size_name(LARGE) == "performance-1x 2 GB"
    assert size_name(Guest("performance", 8, 32_768, "l40s", 1)).endswith("32 GB 1 x l40s")


def test_a_machine_counts_from_its_order_until_it_is_gone() -> None:
    clock = FakeClock(5 * NS_PER_S)
    ledger = MachineLedger(clock)
    for machine_id in ("a", "b", "a"):
        ledger.made(
            machine_id, app="shop", name=f"shop-{machine_id}", region="iad", guest=LARGE,
            since_ns=2 * NS_PER_S,
        )  # fmt: skip
    clock.advance(7 * NS_PER_S)
    ledger.gone("a")
    ledger.gone("unknown")
    clock.advance(90 * NS_PER_S)
    ledger.gone("a")
    assert [entry.seconds(ledger.now_ns) for entry in ledger.entries] == [10.0, 100.0]
    per_s = usd_per_s(LARGE, "iad")
    assert ledger.usd() == pytest.approx(110 * per_s)
    assert ledger.usd(ahead_s=10) == pytest.approx(120 * per_s)
    ledger.only("other", ())
    ledger.only("shop", ("b",))
    assert [entry.gone_ns is None for entry in ledger.entries] == [False, True]
    ledger.only("shop", ())
    clock.advance(NS_PER_S)
    assert ledger.usd() == pytest.approx(110 * per_s)

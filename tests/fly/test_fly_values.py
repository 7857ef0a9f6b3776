"""Durations, sizes, images: what Fly writes is read, what it would not accept is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.fly.values import (
    format_duration,
    parse_duration_s,
    parse_memory_mb,
    parse_vm_size,
    split_image,
)


@pytest.mark.parametrize(
    ("value", "unit_s", "seconds"),
    [
        ("15s", 1, 15.0),
        ("1m30s", 1, 90.0),
        ("250ms", 1, 0.25),
        ("1h", 1, 3_600.0),
        (5, 1, 5.0),
        ("5", 1, 5.0),
        (15_000_000_000, 1e-9, 15.0),
        (10_000, 1e-3, 10.0),
        ("1.5s", 1, 1.5),
    ],
)
def test_a_duration_is_read_in_its_unit(value: object, unit_s: float, seconds: float) -> None:
    assert parse_duration_s(value, bare_unit_s=unit_s) == pytest.approx(seconds)


@pytest.mark.parametrize("value", ["soon", "", "5 s", "s5", "-1s", True, None, [], "1s2"])
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration_s(value)


@settings(max_examples=200)
@given(st.integers(0, 10**15))
def test_a_duration_survives_being_written(nanoseconds: int) -> None:
    seconds = nanoseconds / 1e9
    assert parse_duration_s(format_duration(seconds)) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    ("value", "mb"), [("512mb", 512), ("1gb", 1_024), (256, 256), ("2GB", 2_048)]
)
def test_memory_sizes(value: object, mb: int) -> None:
    assert parse_memory_mb(value) == mb


@pytest.mark.parametrize(
    ("size", "guest"),
    [("shared-cpu-2x", ("shared", 2, 512)), ("performance-1x", ("performance", 1, 2_048))],
)
def test_presets(size: str, guest: tuple[str, int, int]) -> None:
    assert parse_vm_size(size) == guest


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("flyio/postgres-flex:17", ("flyio/postgres-flex", "17")),
        ("app", ("app", "latest")),
        ("registry.fly.io:443/a/b", ("registry.fly.io:443/a/b", "latest")),
        ("a/b:1@sha256:ff", ("a/b", "1@sha256:ff")),
        ("a/b@sha256:ff", ("a/b", "sha256:ff")),
    ],
)
def test_an_image_is_split_at_its_tag(image: str, parts: tuple[str, str]) -> None:
    assert split_image(image) == parts

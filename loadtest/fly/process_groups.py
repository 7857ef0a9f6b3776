"""
Settings of fly.toml that hold for some process groups, and which of them a group gets.

Source: superfly/flyctl, internal/appconfig: processgroups.go, machines.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from loadtest.fly.machines import Guest

T = TypeVar("T")

_DEFAULT_GROUP = "app"


@dataclass(frozen=True, slots=True)
class Scoped(Generic[T]):
    """A setting and the process groups it holds for; no groups means all of them."""

    value: T
    groups: tuple[str, ...] = ()

    def holds_for(self, group: str) -> bool:
        """Tell whether the setting applies to a process group."""
        return not self.groups or group in self.groups


def strangers(scoped: Iterable[Scoped[Any]], groups: Mapping[str, str]) -> list[str]:
    """Return the groups that settings name and the file does not define."""
    return sorted({group for item in scoped for group in item.groups} - set(groups))


def owned(scoped: Iterable[Scoped[T]], default: str) -> list[Scoped[T]]:
    """Give what names no group to the default one."""
    return [replace(item, groups=item.groups or (default,)) for item in scoped]


def default_group_of(groups: Iterable[str]) -> str:
    """Return the group that sections without ``processes`` belong to, all but ``[[vm]]``."""
    names = sorted(groups)
    return _DEFAULT_GROUP if _DEFAULT_GROUP in names else names[0]


def guest_of(vms: Sequence[Scoped[Guest]], group: str) -> Guest:
    """Return the size for a group: the last one that names it, else the first that names none."""
    named = [vm.value for vm in vms if group in vm.groups]
    general = [vm.value for vm in vms if not vm.groups]
    return next(iter([*named[::-1], *general]), Guest())

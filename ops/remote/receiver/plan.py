"""Which slot takes a release, and which slots have no more to do. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Slot:
    """One slot: the release its link names, and its unit: `running`, `leaving` (it drains) or `free`.
    `told` is what it says of itself, as `calls=3`."""

    name: str
    release: str | None
    state: str
    told: str = ""


def slot_for(slots: Sequence[Slot], in_force: str | None, release: str | None) -> Slot | None:
    """The slot that takes a release, to be started if it is `free`; None where every slot still has calls.

    A slot that runs the release already takes it, the one in force before one that a deploy which was cut
    off has started; otherwise the first free one.
    """
    by_use = sorted(slots, key=lambda one: one.name != in_force)
    has_it = [one for one in by_use if one.release == release and one.state != "leaving"]
    runs_it = [one for one in has_it if one.state == "running"]
    stopped = [one for one in has_it if one.name == in_force]
    free = [one for one in slots if one.state == "free" and one.name != in_force]
    return next(iter((*runs_it, *stopped, *free)), None)


def leftovers(slots: Sequence[Slot], *kept: str | None) -> tuple[str, ...]:
    """The slots that run and are neither of these."""
    return tuple(one.name for one in slots if one.state == "running" and one.name not in kept)

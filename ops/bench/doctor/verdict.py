"""What a report of `validate --json` says of a seeded fault: was its rule on top, did others speak. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GRAVITY = ("fail", "unknown", "warn")


@dataclass(frozen=True)
class Verdict:
    """One fault as the doctor saw it: the bad findings by gravity, and whether the right one says it."""

    fault: str
    rule: str
    ranked: tuple[str, ...]
    says: bool
    seconds: float
    mended: bool | None = None  # for an automatic fix: whether it held; None for the others

    @property
    def place(self) -> int | None:
        """1 for the top finding, None when the rule did not speak."""
        return self.ranked.index(self.rule) + 1 if self.rule in self.ranked and self.says else None

    @property
    def others(self) -> tuple[str, ...]:
        """Who cried wolf."""
        return tuple(one for one in self.ranked if one != self.rule)


def ranked(findings: Sequence[Mapping[str, Any]], known: Sequence[str] = ()) -> tuple[str, ...]:
    """The ids of all that is not well, the gravest first, else as the report has them; `known` left out."""
    bad = [one for one in findings if one["status"] in GRAVITY and one["id"] not in known]
    return tuple(one["id"] for one in sorted(bad, key=lambda one: GRAVITY.index(one["status"])))


def says(findings: Sequence[Mapping[str, Any]], rule: str, words: str) -> bool:
    """Whether the rule's finding names the fault in these words and has a fix."""
    found = next((one for one in findings if one["id"] == rule), None)
    text = f"{found['summary']} {found['evidence']} {found['fix']}" if found else ""
    return found is not None and bool(found["fix"]) and words in text

"""What a response costs: tokens by modality, cached or not, and a dated table of prices. Pure.

Source: OpenAI's price page, US dollars per million tokens. A model that is not in the table counts
at the dearest row, so that a cap on money never lets more through than it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

AS_OF = "2026-11"
MOST = 10**9  # tokens: no response has so many; a larger number is no number of tokens
KINDS = ("text_in", "text_cached", "text_out", "audio_in", "audio_cached", "audio_out")


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens."""

    text_in: float
    text_cached: float
    text_out: float
    audio_in: float
    audio_cached: float
    audio_out: float


FULL = Price(4.0, 0.4, 24.0, 32.0, 0.4, 64.0)
MINI = Price(0.6, 0.06, 2.4, 10.0, 0.3, 20.0)


def price(model: str) -> Price:
    """The price of a model by its name; `mini` models have their own row."""
    return MINI if "mini" in model else FULL


@dataclass(frozen=True)
class Tokens:
    """How many tokens of each kind; cached ones are not counted again as input."""

    counts: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens({kind: self.counts[kind] + other.counts[kind] for kind in KINDS})

    def costs(self, model: str) -> dict[str, float]:
        """What those of each kind cost, in dollars."""
        row = price(model)
        return {kind: self.counts[kind] * float(getattr(row, kind)) / 1_000_000 for kind in KINDS}

    def dollars(self, model: str) -> float:
        """What they cost together."""
        return sum(self.costs(model).values())


def tokens(usage: Mapping[str, Any]) -> Tokens:
    """The tokens of a response's `usage`; what is missing or malformed counts as none."""
    came, went = _part(usage, "input_token_details"), _part(usage, "output_token_details")
    cached = _part(came, "cached_tokens_details")
    found = {}
    for name in ("text", "audio"):
        whole, again = _count(came, f"{name}_tokens"), _count(cached, f"{name}_tokens")
        found[f"{name}_cached"] = min(whole, again)
        found[f"{name}_in"] = whole - min(whole, again)
        found[f"{name}_out"] = _count(went, f"{name}_tokens")
    return Tokens(found)


def _part(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = of.get(name)
    return part if isinstance(part, Mapping) else {}


def _count(of: Mapping[str, Any], name: str) -> int:
    count = of.get(name)
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 < count < MOST else 0

"""What is left of OpenAI's limits, from what it tells when a response begins."""

from __future__ import annotations

from typing import Any

import pytest

from ops.vendors.openai import headroom


def _limits(tokens: int) -> list[dict[str, Any]]:
    return [
        {"name": "requests", "limit": 500, "remaining": 499, "reset_seconds": 0.1},
        {"name": "tokens", "limit": 40_000, "remaining": tokens, "reset_seconds": 20.0},
    ]


@pytest.mark.parametrize(("tokens", "status"), [(39_000, "ok"), (8_000, "ok"), (7_900, "warn"), (0, "warn")])
def test_a_fifth_must_be_left(tokens: int, status: str) -> None:
    """The scarcest limit counts, and is named with its share."""
    found = headroom.judge(_limits(tokens), "wss://a.test")
    assert found.status == status
    assert found.evidence["percent_left"]["tokens"] == round(tokens / 400)
    if status == "warn":
        assert "tokens" in found.summary


@pytest.mark.parametrize(
    "limits", [[], [{"name": "tokens"}], [{"name": "tokens", "limit": 0, "remaining": 0}]], ids=str
)
def test_no_limits_are_unknown(limits: list[dict[str, Any]]) -> None:
    """What is not told is not judged."""
    assert headroom.judge(limits, "wss://a.test").status == "unknown"

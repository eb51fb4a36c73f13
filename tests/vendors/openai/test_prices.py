"""What a response costs."""

from __future__ import annotations

import pytest

from ops.vendors.openai.prices import KINDS, tokens


def test_cached_tokens_are_cheaper_and_not_counted_twice() -> None:
    """Input tokens include the cached ones: each is paid once, at its own price."""
    used = tokens(
        {
            "input_token_details": {
                "text_tokens": 1000, "audio_tokens": 2000,
                "cached_tokens_details": {"text_tokens": 400, "audio_tokens": 500},
            },
            "output_token_details": {"text_tokens": 100, "audio_tokens": 300},
        }
    )  # fmt: skip
    assert used.counts == {
        "text_in": 600, "text_cached": 400, "text_out": 100, "audio_in": 1500, "audio_cached": 500, "audio_out": 300,
    }  # fmt: skip
    expected = (600 * 4 + 400 * 0.4 + 100 * 24 + 1500 * 32 + 500 * 0.4 + 300 * 64) / 1e6
    assert used.dollars("gpt-realtime-2.1") == pytest.approx(expected)
    costs = used.costs("gpt-realtime-2.1")
    assert (costs["audio_in"], costs["text_cached"]) == pytest.approx((0.048, 0.00016))
    assert set(costs) == set(KINDS)
    assert used.dollars("gpt-realtime-mini") < expected
    assert (used + used).counts["audio_in"] == 3000


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"input_token_details": 7},
        {"output_token_details": {"audio_tokens": "x"}},
        {"output_token_details": {"audio_tokens": 10**400}},  # more than a float can say
    ],
)
def test_malformed_usage_costs_nothing(usage: dict[str, object]) -> None:
    """A shape that nobody knows is no reason to end a call."""
    assert tokens(usage).counts == dict.fromkeys(KINDS, 0)

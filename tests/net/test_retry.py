"""When to try again."""

from __future__ import annotations

import random

from ops.net.retry import Attempts, Policy

POLICY = Policy(limit=3, first=1.0, cap=30.0, jitter=0.3, stable=5.0)


def test_delays_double_up_to_the_cap_within_their_jitter() -> None:
    """1, 2, 4 … 30 seconds, each spread by at most 30 %."""
    dice = random.Random(1)
    for failed, wanted in ((1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (500, 30)):
        delays = [Attempts(failed).delay(POLICY, dice) for _ in range(200)]
        assert 0.7 * wanted <= min(delays) < max(delays) <= 1.3 * wanted
        assert max(delays) - min(delays) > 0.3 * wanted  # it really is spread


def test_only_a_connection_that_lasted_resets_the_count() -> None:
    """An accept followed by a close is a failure like any other."""
    attempts = Attempts(3)
    assert attempts.after(POLICY, uptime=4.9) == Attempts(4)
    assert attempts.after(POLICY, uptime=5.0) == Attempts(1)


def test_the_limit_counts_retries() -> None:
    """A limit of 3 is one try and three more."""
    assert not Attempts(3).exhausted(POLICY)
    assert Attempts(4).exhausted(POLICY)

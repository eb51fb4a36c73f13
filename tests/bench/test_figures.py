"""Goals and statistics: what is met, what was not measured, and what the report says of each."""

from __future__ import annotations

import pytest

from ops.bench.figures import Figure, middle, percentile, shown, spread


@pytest.mark.parametrize(
    ("value", "outcome", "met", "status"),
    [
        (60.0, False, True, "ok"),
        (60.1, False, False, "warn"),
        (61, True, False, "fail"),
        (None, False, None, "skip"),
    ],
)
def test_a_goal_is_the_most_that_is_allowed(
    value: float | None, outcome: bool, met: bool | None, status: str
) -> None:
    """The goal itself is met; a missed time warns, a wrong outcome fails, nothing measured is neither."""
    figure = Figure("bench.x", "x", value, 60, "ms", "absent", outcome=outcome)
    assert figure.met is met
    assert figure.finding().status == status
    assert "60 ms" in figure.finding().summary or value is None


def test_what_was_not_measured_says_why() -> None:
    """A figure without a value names its reason and never passes for met."""
    figure = Figure("bench.x", "start", None, 0.6, "×", "neither was measured")
    assert (figure.verdict, figure.text) == ("–", "not measured")
    assert "neither was measured" in figure.finding().summary


def test_percentiles_are_values_that_occurred() -> None:
    """Nearest rank: the least value that so many do not exceed."""
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values[::-1], share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert percentile([7.0], 0.01) == 7.0
    with pytest.raises(ValueError, match="at least one"):
        percentile([], 0.5)


def test_medians_leave_out_what_did_not_happen() -> None:
    """None is not zero: it is left out, and nothing at all stays nothing."""
    assert middle([None, 4.0, 2.0, 9.0]) == 4.0
    assert middle([None, None]) is None
    assert spread([None, 1.6, 3.4]) == "2 (2-3)"
    assert spread([None]) == "–"


def test_values_are_shown_with_the_digits_that_matter() -> None:
    """Three digits at most after rounding, whole numbers without any."""
    texts = [shown(250, "ms"), shown(61.25, "ms"), shown(0.594, "×"), shown(123.4, "kB"), shown(3, "")]
    assert texts == ["250 ms", "61.2 ms", "0.59×", "123 kB", "3"]

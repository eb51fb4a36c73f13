"""One service's life: the state machine, and when it tries again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ops.processes.state import (
    LONGEST_DELAY,
    Answer,
    Life,
    Rules,
    answered,
    delay,
    died,
    launched,
    not_started,
    probe_pause,
    stopped,
    unresponsive,
)

OK, NO, SILENT = Answer("ok"), Answer("no", "answers 500"), Answer("silent", "no answer")


def test_the_first_start_after_a_stable_life_is_immediate() -> None:
    """After 10 s stable a death is followed by a start at once; quick deaths wait 100 ms, doubling to 30 s."""
    life = answered(launched(Life(), 0.0), OK, Rules(), 1.0)
    assert died(life, "x", 1, Rules(), 11.0, 0.5).retry_at == 11.0
    assert [delay(quick, False, 0.5) for quick in (1, 2, 3, 20)] == [0.1, 0.2, 0.4, LONGEST_DELAY]
    assert delay(3, False, 0.0) < delay(3, False, 1.0)
    assert delay(1, True, 0.5) == 0.0
    assert delay(2, True, 0.5) == 0.2


def test_probes_begin_at_ten_milliseconds() -> None:
    """At 10, 20, 40, 60 … ms while it starts; once a second when it has been ready."""
    assert [probe_pause(n, False) for n in range(5)] == [0.01, 0.01, 0.02, 0.02, 0.02]
    assert probe_pause(500, False) == 0.5
    assert probe_pause(0, True) == 1.0


def test_what_could_not_be_asked_says_nothing() -> None:
    """`unknown` neither makes a service ready nor takes that away."""
    for life in (launched(Life(), 0.0), answered(launched(Life(), 0.0), OK, Rules(), 1.0)):
        assert answered(life, Answer("unknown", "no descriptors"), Rules(), 99.0) == life


def test_a_slow_start_is_late_but_not_silent() -> None:
    """A service that is not ready in time is unready with the reason, and is not ended for it."""
    life = answered(launched(Life(), 0.0), SILENT, Rules(startup=30.0), 31.0)
    assert life.state == "unready"
    assert "not ready after 30 s" in life.reason
    assert not unresponsive(life, 10.0, 1000.0)


def test_silence_counts_from_its_beginning() -> None:
    """An answer of any kind ends a silence; only an unbroken one makes a service unresponsive."""
    life = answered(launched(Life(), 0.0), OK, Rules(), 1.0)
    life = answered(life, SILENT, Rules(), 2.0)
    assert not unresponsive(answered(life, SILENT, Rules(), 11.9), 10.0, 11.9)
    assert unresponsive(answered(life, SILENT, Rules(), 12.0), 10.0, 12.0)
    assert not unresponsive(answered(life, NO, Rules(), 12.0), 10.0, 12.0)


@pytest.mark.parametrize(
    ("restart", "code", "state"),
    [
        ("always", 0, "restarting"),
        ("always", 1, "restarting"),
        ("on-failure", 0, "stopped"),
        ("on-failure", 1, "restarting"),
        ("on-failure", None, "restarting"),
        ("never", 0, "stopped"),
        ("never", -9, "failed"),
    ],
)
def test_the_restart_policy_decides(restart: str, code: int | None, state: str) -> None:
    """What a death means for each policy and exit code."""
    rules = Rules(restart=restart)  # type: ignore[arg-type]
    assert died(launched(Life(), 0.0), "x", code, rules, 1.0, 0.5).state == state


class Lives(RuleBasedStateMachine):
    """A service through any row of launches, answers, deaths, stops and failed attempts."""

    def __init__(self) -> None:
        super().__init__()
        self.life, self.now, self.rules = Life(), 0.0, Rules(most_quick_deaths=3)
        self.quick = self.deaths = 0

    @rule(seconds=st.floats(0.0, 40.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.life.launched is None and self.life.state in ("starting", "restarting"))
    @rule()
    def is_launched(self) -> None:
        before = self.life
        if before.retry_at is not None:
            self.now = max(self.now, before.retry_at)
        self.life = launched(before, self.now)
        assert self.life.restarts == before.restarts + (before.deaths > 0)

    @rule(answer=st.sampled_from([OK, NO, SILENT, Answer("unknown")]))
    def answers(self, answer: Answer) -> None:
        before = self.life
        self.life = answered(before, answer, self.rules, self.now)
        if answer.kind == "ok" and before.launched is not None:
            assert self.life.state == "ready"
        elif answer.kind in ("no", "silent"):
            assert self.life.state != "ready" or before.launched is None

    @precondition(lambda self: self.life.launched is not None)
    @rule(jitter=st.floats(0.0, 1.0))
    def dies(self, jitter: float) -> None:
        stable = self.now - (self.life.launched or 0.0) >= self.rules.stable
        self.quick = 0 if stable else self.quick + 1
        self.deaths += 1
        self.life = died(self.life, "x", 1, self.rules, self.now, jitter)
        assert (self.life.state == "failed") == (self.quick >= 3)

    @precondition(lambda self: self.life.launched is None and self.life.state in ("starting", "restarting"))
    @rule()
    def cannot_start(self) -> None:
        self.life = not_started(self.life, "no descriptors", self.now)
        assert self.life.retry_at == self.now + 1.0

    @rule()
    def is_stopped(self) -> None:
        self.life = stopped(self.life)

    @precondition(lambda self: self.life.state in ("stopped", "failed"))
    @rule()
    def is_started_anew(self) -> None:
        self.life = Life(restarts=self.life.restarts)
        self.quick = self.deaths = 0

    @invariant()
    def holds_together(self) -> None:
        life = self.life
        assert life.deaths == self.deaths
        if life.state in ("ready", "unready"):
            assert life.launched is not None
        if life.state in ("failed", "stopped"):
            assert life.launched is None
            assert life.retry_at is None
        if life.state == "ready":
            assert life.was_ready
            assert life.silent_since is None
        if life.retry_at is not None:
            assert life.launched is None
            assert life.retry_at <= self.now + LONGEST_DELAY * 1.25
        if life.silent_since is not None:
            assert life.launched is not None
            assert life.silent_since <= self.now


Lives.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLives = Lives.TestCase
TestLives.__doc__ = "Whatever happens in whatever order, a life stays whole and deaths are counted rightly."


def test_a_retry_is_taken_off_when_a_person_stops_it() -> None:
    """A stop during the pause before a restart ends the pause."""
    life = died(launched(Life(), 0.0), "x", 1, Rules(), 1.0, 0.5)
    assert life.retry_at is not None
    assert replace(stopped(life), reason="") == Life(state="stopped", deaths=1)

"""What a call waits for, how long, and what it does when that does not come; replayed without a socket."""

from __future__ import annotations

import random

import pytest

from ops.apps.actions import OpenModel, Transfer
from ops.apps.recovery import ROLL_OVER, ROLL_OVER_LATEST, Recovery
from ops.journal.hops import Hop
from ops.vendors.openai import events
from tests.apps.test_recovery import (
    COLLEAGUE,
    FRAME,
    READY,
    SOUND,
    Line,
    hangups,
    notes,
    sounds,
    to_model,
)


def test_nobody_is_spoken_over_by_a_filler() -> None:
    """The caller asks, and goes on before the answer: the silence that is filled counts from their last word."""
    line = Line().up()
    line.says("u1", "Are you open?")
    line.until(line.now + 0.8)
    line.event(events.SpeechStarted(int(line.now * 1000), "u2"))
    line.until(line.now + 4, frame=FRAME)
    assert Hop.FILLED not in notes(line.done)
    line.event(events.SpeechStopped(int(line.now * 1000), "u2"))
    assert Hop.FILLED in notes(line.until(line.now + 1.2))


def test_a_transfer_that_does_not_happen_is_not_waited_for() -> None:
    """Twilio took it, and the stream goes on: after twelve seconds the call ends, with its reason."""
    line = Line(transfer_to=COLLEAGUE).up()
    line.event(events.ResponseCreated("r"), events.Audio("r", "i", SOUND))
    line.event(events.ToolCall("c", "transfer_to_agent", "{}"), events.ResponseDone("r", "completed"))
    assert Transfer(COLLEAGUE) in line.until(line.now + 1)
    line.take(line.session.transferred(None, line.now))
    assert not hangups(line.until(line.now + 10))
    assert [end.reason for end in hangups(line.until(line.now + 4))] == ["the transfer did not happen"]


def test_a_goodbye_whose_mark_is_lost_ends_the_call_all_the_same() -> None:
    """Two seconds after it must have been played."""
    line = Line().up()
    line.event(events.ResponseCreated("r"), events.Audio("r", "bye", SOUND))
    line.event(events.ToolCall("c", "hang_up", "{}"), events.ResponseDone("r", "completed"))
    began = line.now
    assert [end.reason for end in hangups(line.until(line.now + 8, marks=False))] == ["the agent hung up"]
    assert 2 < line.now - began < 3


def test_an_answer_that_can_never_come_is_not_asked_for_again() -> None:
    """Without quota each try would fail: the apology at once."""
    line = Line().up()
    line.says("u1", "Are you open?")
    line.event(events.ResponseCreated("r"))
    line.event(events.ResponseDone("r", "failed", "failed", "insufficient_quota", fatal=True))
    assert "model.given-up" in notes(line.done)
    assert "response.create" not in to_model(line.until(line.now + 3))


def test_an_answer_without_a_word_is_asked_for_again() -> None:
    """It is complete, and nothing was said: the caller still waits."""
    line = Line().up()
    line.says("u1", "Are you open?")
    line.event(events.ResponseCreated("r"), events.ResponseDone("r", "completed"))
    assert "response.create" in to_model(line.until(line.now + 0.6))


@pytest.mark.parametrize("frames", [300, 600])
def test_a_caller_who_speaks_to_no_model_is_heard_later(frames: int) -> None:
    """Six seconds before the first session is ready: all of it; longer: the last ten seconds."""
    line = Line(greets=False)
    line.until(0.02 * frames, frame=FRAME)
    assert sounds(line.event(events.Created("s", "m"), READY)) == [FRAME] * min(frames, 500)


def test_a_session_is_replaced_in_a_pause_but_in_time() -> None:
    """From 55 minutes on when nobody speaks; at 59 in any case."""
    recovery = Recovery()
    recovery.ready(0.0)
    assert [recovery.rolls_over(at, pause=True) for at in (ROLL_OVER - 1, ROLL_OVER)] == [False, True]
    late = [
        recovery.rolls_over(at, pause=False) for at in (ROLL_OVER, ROLL_OVER_LATEST - 1, ROLL_OVER_LATEST)
    ]
    assert late == [False, False, True]


def test_calls_that_lose_their_model_together_do_not_come_back_in_one_moment() -> None:
    """The first try is at once, spread over a tenth of a second."""
    times = []
    for seed in range(20):
        recovery = Recovery(dice=random.Random(seed))
        recovery.ready(0.0)
        assert recovery.lost(100.0)
        times.append(recovery.reopen_at or 0.0)
    assert len(set(times)) == 20
    assert 100.0 <= min(times) < max(times) <= 100.1
    assert max(times) - min(times) > 0.05


def test_a_model_that_is_lost_while_it_is_dialled_is_dialled_again() -> None:
    """The greeting is owed all the time, and comes from whichever session is first."""
    line = Line()
    line.take(line.session.model_lost("Connection refused", line.now, 1))
    line.until(line.now + 0.3)
    assert sum(isinstance(action, OpenModel) for action in line.done) == 2
    assert "response.create" in to_model(line.event(events.Created("s", "m"), READY))

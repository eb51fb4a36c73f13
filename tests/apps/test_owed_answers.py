"""Whoever waits for an answer gets one, or is told the truth: the ways in which it could be forgotten."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ops.apps.actions import Action, Hangup, OpenModel, Remember, ToModel, ToPhone, Transfer
from ops.apps.dialogue import of_json
from ops.journal.hops import Hop
from ops.vendors.openai import events
from ops.vendors.openai import wire as model
from ops.vendors.twilio import wire as phone
from tests.apps.conversation import (
    COLLEAGUE,
    FRAME,
    READY,
    SOUND,
    Line,
    notes,
    sounds,
    texts,
    to_model,
)

BUSY = events.Failure(model.BUSY, "one is under way", busy=True)


def asked(actions: list[Action]) -> list[str]:
    """The instructions of every answer that is asked for; empty for one without."""
    told = [json.loads(action.text) for action in actions if isinstance(action, ToModel)]
    return [
        one.get("response", {}).get("instructions", "") for one in told if one["type"] == "response.create"
    ]


def rows(line: Line) -> Any:
    """The call's file, as whoever takes the call up again reads it."""
    return tuple(
        of_json(a.fields["entry"] for a in line.done if isinstance(a, Remember) and a.event == "said")
    )


def again(line: Line, **agent: Any) -> tuple[Line, list[Action]]:
    """The same call in another stream, and what its first session is told."""
    other = Line(resumed=True, past=rows(line), **agent)
    other.take(other.session.model_connected(0.0, 0.01))
    return other, other.event(events.Created("s", "m"), READY)


def test_a_tool_that_returns_while_the_caller_speaks_lets_them_speak() -> None:
    """The model gets the result at once; an answer to both comes when the turn ends, and is not asked for twice."""
    line = Line().up()
    line.event(
        events.ResponseCreated("r"), events.ToolCall("c", "f", "{}"), events.ResponseDone("r", "completed")
    )
    line.event(events.SpeechStarted(int(line.now * 1000), "u"))
    done = line.take(line.session.tool_done("c", "nine", line.now))
    assert to_model(done) == ["conversation.item.create"]
    assert Hop.FILLED not in notes(line.until(line.now + 3, frame=FRAME))
    line.event(events.SpeechStopped(int(line.now * 1000), "u"))
    assert asked(line.answer("a", "From nine.")) == []


def test_a_turn_whose_answer_was_refused_for_another_gets_one_behind_it() -> None:
    """An answer was under way when the caller's turn ended, so its own was refused: it is asked for again."""
    line = Line().up()
    line.event(events.SpeechStarted(int(line.now * 1000), "u"))
    line.event(events.ResponseCreated("r"), events.SpeechStopped(int(line.now * 1000) + 600, "u"))
    assert asked(line.event(BUSY)) == []
    assert asked(line.event(events.ResponseDone("r", "completed"))) == [""]


def test_a_result_that_an_answer_under_way_did_not_know_is_told_behind_it() -> None:
    """The tool returned in the moment in which the model began to answer the caller."""
    line = Line().up()
    line.event(
        events.ResponseCreated("r"), events.ToolCall("c", "f", "{}"), events.ResponseDone("r", "completed")
    )
    line.take(line.session.tool_done("c", "nine", line.now))
    line.event(events.ResponseCreated("r2"), BUSY, events.Audio("r2", "i2", SOUND))
    assert asked(line.event(events.ResponseDone("r2", "completed"))) == [""]


def test_however_often_an_answer_is_refused_it_is_not_asked_for_at_once_again() -> None:
    """One that we know nothing of is under way, and may hang: the next is asked for behind it, or the model counts as
    lost."""
    line = Line().up()
    line.take(line.session.on_phone(phone.Dtmf("4"), line.now))
    line.until(line.now + 2)
    assert asked(line.event(*[BUSY] * 20)) == []
    assert "model.lost" in notes(line.until(line.now + 5))
    assert asked(line.reopened()) == [""]


def test_a_greeting_that_met_another_answer_is_not_said_behind_it() -> None:
    """Nothing new was told: one answer is enough."""
    line = Line()
    line.take(line.session.model_connected(0.0, 0.01))
    line.event(
        events.Created("s", "m"), READY, events.ResponseCreated("r"), BUSY, events.Audio("r", "i", SOUND)
    )
    assert asked(line.event(events.ResponseDone("r", "completed"))) == []


def test_an_answer_cut_short_before_its_first_word_is_asked_for_again() -> None:
    """`incomplete`, of a content filter for one, is no answer."""
    line = Line().up()
    line.says("u", "Are you open?")
    line.event(events.ResponseCreated("r"), events.ResponseDone("r", "incomplete", "content_filter"))
    assert asked(line.until(line.now + 0.5)) == [""]


def test_while_nobody_works_on_what_is_owed_the_filler_asks() -> None:
    """However it came to that, a recorded sentence is not said for ever."""
    line = Line().up()
    line.says("u", "Are you open?")
    line.event(events.ResponseCreated("r"), events.ResponseDone("r", "cancelled"))
    done = line.until(line.now + 2)
    assert Hop.FILLED in notes(done)
    assert asked(done) == [""]
    assert "model.lost" in notes(line.until(line.now + 5))  # and from then on it is due


def test_who_speaks_while_the_model_is_away_hears_that_we_are_there() -> None:
    """A second and a half behind their words, and the next session hears them."""
    line = Line().up()
    line.take(line.session.model_lost("reset", line.now))
    line.until(line.now + 0.6, frame=FRAME)
    silent = line.now
    assert Hop.FILLED not in notes(line.until(silent + 1.4))
    assert Hop.FILLED in notes(line.until(silent + 1.7))
    told = line.reopened()
    assert sounds(told).count(FRAME) == 30
    assert to_model(told)[-1] == "session.update"  # does it hear them?
    assert asked(told) == []
    line.event(events.SpeechStarted(0, "u"), READY, events.SpeechStopped(1200, "u"))
    assert asked(line.answer("a", "Yes?")) == []


def test_a_silent_caller_is_told_nothing_while_the_model_is_away() -> None:
    """Nobody waits for anything."""
    line = Line().up()
    line.take(line.session.model_lost("reset", line.now))
    assert Hop.FILLED not in notes(line.until(line.now + 6))
    assert asked(line.reopened()) == []


def test_noise_that_a_deaf_session_heard_does_not_cost_the_next_ones() -> None:
    """The next one hears it and says nothing, rightly: asked, it answers, and with the next recorded sentence the
    caller is asked what it was; not before, for it may still be listening."""
    line = Line().up()
    line.until(line.now + 6, frame=FRAME)
    assert "model.lost" in notes(line.done)
    told = line.reopened()
    assert to_model(told)[-1] == "session.update"
    assert asked(line.event(READY)) == []
    done = line.until(line.now + 4)
    assert ["say that again" in words for words in asked(done)] == [True]
    line.answer("a", "Sorry, could you say that again?")
    line.until(line.now + 8)
    assert sum(isinstance(action, OpenModel) for action in line.done) == 2


def test_a_question_that_was_not_written_down_is_asked_for() -> None:
    """The bridge died before the words were known: the next stream asks for them, it does not answer nothing."""
    line = Line().up()
    line.says("u", None)
    _, told = again(line)
    assert ["say that again" in words for words in asked(told)] == [True]


def test_of_a_long_turn_the_next_session_hears_the_end_and_is_told_so() -> None:
    """Ten seconds are kept: nothing is dropped without a word."""
    line = Line().up()
    line.event(events.SpeechStarted(int(line.now * 1000), "u"))
    line.until(line.now + 14, frame=FRAME)
    line.take(line.session.model_lost("reset", line.now))
    told = line.reopened()
    assert sounds(told).count(FRAME) >= 480
    assert [role for role, text in texts(told) if "beginning" in text] == ["system"]


def test_keys_are_part_of_the_conversation() -> None:
    """The next session, and the next stream, know the number that was keyed in."""
    line = Line().up()
    for digit in "42#":
        line.take(line.session.on_phone(phone.Dtmf(digit), line.now))
    line.until(line.now + 2)
    line.answer("a", "Thank you.")
    line.until(line.now + 1)
    line.take(line.session.model_lost("reset", line.now))
    other, resumed = again(line)
    for told in (line.reopened(), resumed):
        assert ["4 2 #" in text for role, text in texts(told) if role == "user"] == [True]
    assert other.session.ended is None


def test_the_model_hears_the_caller_while_the_agent_says_goodbye() -> None:
    """Else it could never notice that there is one more thing."""
    line = Line().up()
    line.event(
        events.ResponseCreated("r"), events.Audio("r", "bye", SOUND), events.ToolCall("c", "hang_up", "{}")
    )
    line.event(events.ResponseDone("r", "completed"))
    assert len(sounds(line.until(line.now + 0.1, frame=FRAME))) == 5
    told = line.event(events.SpeechStarted(int(line.now * 1000) + 50, "u"))
    assert ["hang_up again" in text for role, text in texts(told) if role == "system"] == [True]


def test_after_a_transfer_that_failed_nothing_old_is_heard_again() -> None:
    """What the caller said meanwhile was sent when it was said."""
    line = Line(transfer_to=COLLEAGUE).up()
    line.event(events.ResponseCreated("r"), events.Audio("r", "i", SOUND))
    line.event(events.ToolCall("c", "transfer_to_agent", "{}"), events.ResponseDone("r", "completed"))
    line.until(line.now + 2, frame=FRAME)
    line.event(READY)
    line.take(line.session.transferred("21220", line.now))
    line.answer("sorry", "Nobody is there.")
    line.until(line.now + 3)
    line.take(line.session.model_lost("reset", line.now))
    assert FRAME not in sounds(line.reopened())


@pytest.mark.parametrize(("tool", "how"), [("hang_up", Hangup), ("transfer_to_agent", Transfer)])
def test_a_goodbye_that_the_model_does_not_say_is_a_recorded_one(tool: str, how: type[Action]) -> None:
    """It wants to leave without a word, and falls silent: the caller hears a sentence before the line goes."""
    line = Line(transfer_to=COLLEAGUE).up()
    line.event(
        events.ResponseCreated("r"), events.ToolCall("c", tool, "{}"), events.ResponseDone("r", "completed")
    )
    line.done.clear()
    line.until(line.now + 7)
    left = next(index for index, action in enumerate(line.done) if isinstance(action, how))
    assert any(isinstance(action, ToPhone) for action in line.done[:left])


def test_a_greeting_that_was_lost_is_asked_for_as_a_greeting() -> None:
    """Nobody has said anything yet that could be said again."""
    line = Line()
    line.take(line.session.model_connected(0.0, 0.01))
    line.event(events.Created("s", "m"), READY, events.ResponseCreated("r"))
    line.take(line.session.model_lost("reset", line.now))
    assert asked(line.reopened()) == [""]


def test_a_tools_result_that_came_while_the_model_was_away_is_answered() -> None:
    """The next session is told it, and asked for an answer to it."""
    line = Line().up()
    line.says("u", "Are you open?")
    line.event(
        events.ResponseCreated("r"), events.ToolCall("c", "f", "{}"), events.ResponseDone("r", "completed")
    )
    line.take(line.session.model_lost("reset", line.now))
    line.take(line.session.tool_done("c", "nine", line.now))
    assert asked(line.reopened()) == [""]

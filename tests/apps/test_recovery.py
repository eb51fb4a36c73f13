"""A model that is lost, slow, silent or refused: what the caller gets, replayed without a socket."""

from __future__ import annotations

import base64
import json

import pytest

from ops.apps.actions import (
    CloseModel,
    Note,
    OpenModel,
    Remember,
    RunTool,
    ToModel,
    ToPhone,
    Transfer,
)
from ops.apps.dialogue import of_json
from ops.journal.hops import Hop
from ops.vendors.openai import events
from ops.vendors.openai import wire as model
from ops.vendors.twilio import wire as phone
from tests.apps.conversation import (
    COLLEAGUE,
    FRAME,
    OTHER,
    READY,
    SOUND,
    Line,
    hangups,
    items,
    notes,
    sounds,
    texts,
    to_model,
)


def test_a_lost_model_is_replaced_and_told_what_was_said() -> None:
    """A reset in the middle of a conversation: another session within a tenth of a second, with every word."""
    line = Line().up()
    line.says("u1", "Are you open?")
    line.answer("a1", "Yes.")
    line.until(line.now + 1)
    line.take(line.session.model_lost("reset", line.now))
    before = line.now
    told = line.reopened()
    opened = [action for action in line.done if isinstance(action, OpenModel)]
    assert [action.generation for action in opened] == [1, 2]
    assert line.now - before < 0.35
    assert texts(told) == [("assistant", "Hello!"), ("user", "Are you open?"), ("assistant", "Yes.")]
    assert "response.create" not in to_model(told)  # nothing was owed
    assert not hangups(line.done)


def test_a_session_is_lost_but_once() -> None:
    """One that falls silent, takes nothing and then closes, before the next is tried, uses up one try."""
    line = Line().up()
    for cause in ("it sends nothing", "it takes nothing", "closed", "closed again"):
        line.take(line.session.model_lost(cause, line.now))
    assert notes(line.done).count("model.lost") == 1
    line.reopened()
    assert "model.given-up" not in notes(line.done)


def test_an_old_session_cannot_touch_the_new_state() -> None:
    """Late events of a generation that is gone are not heard: no audio, no failure, no loss."""
    line = Line().up()
    line.take(line.session.model_lost("reset", line.now, 1))
    line.reopened()
    late: tuple[events.Event, ...] = (
        events.Audio("r-old", "i-old", SOUND),
        events.Failure("invalid_api_key", "no", fatal=True),
        events.SpeechStarted(0, "u"),
    )
    assert line.event(*late, generation=1) == []
    assert line.session.model_lost("again", line.now, 1) == []


def test_a_question_whose_words_are_known_is_asked_again_as_text() -> None:
    """Lost between question and answer: the new session gets the text, and is asked for the answer."""
    line = Line().up()
    line.says("u1", "Are you open?")
    line.take(line.session.model_lost("reset", line.now))
    told = line.reopened()
    assert texts(told)[-1] == ("user", "Are you open?")
    assert to_model(told)[-1] == "response.create"


def test_a_question_whose_words_are_unknown_is_played_again() -> None:
    """Lost before the transcript came: the new session hears the caller's own frames, and answers by itself."""
    line = Line().up()
    line.says("u1", None)
    line.take(line.session.model_lost("reset", line.now))
    told = line.reopened()
    assert to_model(told).count("input_audio_buffer.append") > 75
    assert "response.create" not in to_model(told)
    assert not [t for t in texts(told) if t[0] == "user"]


def test_words_that_no_session_told_of_are_heard_by_the_next() -> None:
    """Lost when the caller had just begun: the new session hears the beginning too."""
    line = Line().up()
    line.until(line.now + 0.3, frame=FRAME)
    line.take(line.session.model_lost("reset", line.now))
    heard = sounds(line.reopened())
    assert heard.count(FRAME) == 15


def test_a_turn_told_of_late_is_played_again_from_its_beginning() -> None:
    """The model tells 0.9 s late that the caller speaks, and is lost then."""
    line = Line().up()
    at = int(line.now * 1000)
    line.until(line.now + 0.9, frame=FRAME)
    line.event(events.SpeechStarted(at, "u1"))
    line.take(line.session.model_lost("reset", line.now))
    assert sounds(line.reopened()).count(FRAME) == 45


def test_a_turn_that_was_understood_is_not_played_again() -> None:
    """Its words are told instead: heard twice, it would be answered twice."""
    line = Line().up()
    line.event(events.SpeechStarted(int(line.now * 1000), "u1"))
    line.until(line.now + 1.0, frame=FRAME)
    line.until(line.now + 0.5)
    line.event(events.SpeechStopped(int(line.now * 1000), "u1"), events.Transcript("caller", "u1", "Hello?"))
    line.take(line.session.model_lost("reset", line.now))
    assert FRAME not in sounds(line.reopened())


def test_a_turn_whose_words_come_during_the_next_is_not_played_again() -> None:
    """The caller goes on before the first turn's transcript: it is told as text, and the second turn alone is heard."""
    line = Line().up()
    line.event(events.SpeechStarted(int(line.now * 1000), "u1"))
    line.until(line.now + 1.0, frame=FRAME)
    line.until(line.now + 0.5)
    line.event(events.SpeechStopped(int(line.now * 1000), "u1"))
    line.until(line.now + 0.2)
    line.event(events.SpeechStarted(int(line.now * 1000), "u2"))
    line.until(line.now + 0.7, frame=OTHER)
    line.event(events.Transcript("caller", "u1", "Hello?"))
    line.until(line.now + 0.3, frame=OTHER)
    line.take(line.session.model_lost("reset", line.now))
    told = line.reopened()
    assert [text for role, text in texts(told) if role == "user"] == ["Hello?"]
    assert FRAME not in sounds(told)
    assert sounds(told).count(OTHER) >= 50


def test_an_answer_that_broke_off_is_gone_on_with() -> None:
    """Lost in the middle of an answer: the next session is told what was heard and asked to go on."""
    line = Line().up()
    line.says("u1", "What does it cost?")
    line.event(
        events.ResponseCreated("r"), events.Audio("r", "i", SOUND), events.Speaking("i", "Forty dollars for")
    )
    line.take(line.session.model_lost("reset", line.now))
    told = line.reopened()
    (ask,) = [json.loads(a.text) for a in told if isinstance(a, ToModel) and "response.create" in a.text]
    assert "Forty dollars for" in ask["response"]["instructions"]
    assert "be kind" in ask["response"]["instructions"]


def test_an_interrupted_answer_is_replayed_as_it_was_heard() -> None:
    """What was cut off is not told as said."""
    line = Line().up()
    line.says("u1", "What does it cost?")
    line.event(
        events.ResponseCreated("r"),
        *(events.Audio("r", "i", SOUND) for _ in range(5)),
        events.Transcript("agent", "i", "one two three four five six seven eight nine ten"),
    )
    line.until(line.now + 0.5, marks=False)
    cut = line.event(events.SpeechStarted(int(line.now * 1000), "u2"))
    assert "transcript.interrupted" in notes(cut)
    line.take(line.session.model_lost("reset", line.now))
    heard = next(text for role, text in texts(line.reopened()) if role == "assistant" and "one" in text)
    assert heard.endswith("—")
    assert "ten" not in heard


def test_a_stall_is_noticed_in_time_and_silence_is_filled() -> None:
    """No event although an answer is due: a recorded sentence after 1.5 s, another session within 5 s."""
    line = Line().up()
    line.says("u1", "Are you open?")
    silent = line.now - 0.5
    done = line.until(line.now + 1.2)
    assert Hop.FILLED in notes(done)
    assert any(isinstance(action, ToPhone) for action in done)
    assert line.now - silent < 1.8
    done = line.until(silent + 5.1)
    assert "model.lost" in notes(done)
    assert any(isinstance(action, OpenModel) for action in done)
    assert sum(event == Hop.FILLED for event in notes(line.done)) == 1  # and not one at every tick


def test_a_model_that_hears_nothing_is_noticed_when_the_caller_speaks() -> None:
    """Silent while nothing is due: the caller's own sound makes an answer due, and the next one hears it all."""
    line = Line().up()
    line.until(line.now + 20)  # nobody speaks, nothing is due
    line.done.clear()
    spoke = line.now
    line.until(spoke + 2.0, frame=FRAME)
    assert to_model(line.done).count("session.update") == 1
    done = line.until(spoke + 5.0)
    assert "model.lost" in notes(done)
    told = line.reopened()
    assert sounds(told).count(FRAME) == 100
    assert Hop.FILLED in notes(line.until(line.now + 2))


def test_noise_that_is_no_speech_costs_no_session() -> None:
    """The model hears it and says nothing: asked once, it answers, and stays."""
    line = Line().up()
    line.done.clear()
    line.until(line.now + 1.0, frame=FRAME)
    line.event(READY)
    line.until(line.now + 10, frame=FRAME)
    assert to_model(line.done).count("session.update") == 1
    assert not [action for action in line.done if isinstance(action, OpenModel)]
    line.until(line.now + 1)
    line.take(line.session.model_lost("reset", line.now))
    assert FRAME not in sounds(line.reopened())


def test_a_turn_whose_words_stay_unknown_costs_no_session() -> None:
    """Its transcript failed; the quiet after its answer is no stall."""
    line = Line().up()
    line.says("u1", None)
    line.answer("a1", "Yes, until six.")
    line.done.clear()
    line.until(line.now + 10)
    assert not [action for action in line.done if isinstance(action, OpenModel)]


def test_an_answer_that_runs_dry_is_filled() -> None:
    """Nothing comes in the middle of it: a recorded sentence after 1.5 s. What comes then is the same answer, of
    which the model is told how much was heard, first and last."""
    line = Line().up()
    line.says("u1", "Are you open?")
    line.event(events.ResponseCreated("r"), events.Audio("r", "i", SOUND))
    assert Hop.FILLED not in notes(line.until(line.now + 1.6))
    assert Hop.FILLED in notes(line.until(line.now + 0.2))
    line.until(line.now + 1)
    line.event(events.Audio("r", "i", SOUND))
    line.until(line.now + 0.1)
    cut = line.event(events.SpeechStarted(int(line.now * 1000), "u2"))
    (truncated,) = [json.loads(a.text) for a in cut if isinstance(a, ToModel) and "truncate" in a.text]
    assert 280 <= truncated["audio_end_ms"] <= 320
    assert Hop.FILLED not in notes(line.until(line.now + 3, frame=FRAME))  # the caller speaks


def test_the_rest_of_an_answer_that_nobody_heard_is_not_told_as_heard() -> None:
    """The caller speaks into the filler, behind which the rest waits: what was heard is what sounded before, and that
    is what the model is told."""
    line = Line().up()
    line.says("u1", "Are you open?")
    line.event(events.ResponseCreated("r"), events.Audio("r", "i", SOUND))
    line.until(line.now + 1.74)
    line.event(events.Audio("r", "i", SOUND))
    cut = line.event(events.SpeechStarted(int(line.now * 1000), "u2"))
    told = [action.fields["entry"] for action in cut if isinstance(action, Remember)]
    assert [(entry["heard_ms"], entry["produced_ms"]) for entry in told if entry["id"] == "i"] == [(200, 400)]
    (truncated,) = [json.loads(a.text) for a in cut if isinstance(a, ToModel) and "truncate" in a.text]
    assert (truncated["item_id"], truncated["audio_end_ms"]) == ("i", 200)


def test_who_speaks_into_an_answer_hears_no_filler() -> None:
    """The model has said all but the answer's end, the caller goes on talking: that is no dead air."""
    line = Line().up()
    line.says("u1", "Are you open?")
    line.event(events.ResponseCreated("r"), events.Audio("r", "i", SOUND))
    line.until(line.now + 1)
    line.event(events.SpeechStarted(int(line.now * 1000), "u2"))
    assert Hop.FILLED not in notes(line.until(line.now + 3, frame=FRAME))


def test_a_filler_is_no_answer_and_no_barge_in() -> None:
    """The turn's latency counts to the model's own voice; speech over a recorded sentence truncates nothing."""
    line = Line().up()
    line.says("u1", "Are you open?")
    line.until(line.now + 1.1)
    assert Hop.ANSWERED not in notes(line.done)
    cut = line.event(events.SpeechStarted(int(line.now * 1000), "u2"))
    assert [json.loads(a.text)["event"] for a in cut if isinstance(a, ToPhone)] == ["clear"]
    assert to_model(cut) == []


def test_what_cannot_be_mended_is_told_honestly() -> None:
    """A refused key: the apology is heard to its end, then the call ends; nothing is tried again."""
    line = Line()
    line.take(line.session.model_lost("HTTP 401", 0.1, 1, final=True))
    assert any(isinstance(action, CloseModel) for action in line.done)
    assert any(isinstance(action, ToPhone) for action in line.done)
    assert not hangups(line.done)
    (end,) = hangups(line.until(3.0))
    assert end.code == 1011
    assert 0.2 < line.now < 2
    assert sum(isinstance(action, OpenModel) for action in line.done) == 1


def test_a_colleague_takes_over_what_cannot_be_mended() -> None:
    """With a number to transfer to the caller is connected there; if that fails too, the truth and the end."""
    line = Line(transfer_to=COLLEAGUE)
    line.take(line.session.model_lost("quota", 0.1, 1, final=True))
    assert Transfer(COLLEAGUE) in line.until(2.0)
    assert not hangups(line.done)
    line.take(line.session.transferred("Twilio refused", line.now))
    assert hangups(line.until(line.now + 3))


def test_tries_are_limited_and_spread() -> None:
    """Refused again and again: the number of tries of the settings, each later, then the apology."""
    line = Line()
    times = []
    for _ in range(3):
        line.take(line.session.model_lost("HTTP 503", line.now))
        before = sum(isinstance(action, OpenModel) for action in line.done)
        while sum(isinstance(action, OpenModel) for action in line.done) == before:
            line.until(line.now + 0.02)
        times.append(line.now)
    assert times[0] < 0.15
    assert times[2] - times[1] > times[1] - times[0]
    line.take(line.session.model_lost("HTTP 503", line.now))
    assert "model.given-up" in notes(line.done)


def test_an_expired_session_is_replaced_at_once() -> None:
    """session_expired ends the session, not the call."""
    done = Line().up().event(events.Failure(model.EXPIRED, "60 minutes", expired=True))
    assert any(isinstance(action, OpenModel) for action in done)


def test_the_session_rolls_over_in_a_pause() -> None:
    """After 55 minutes the next session takes over while nobody speaks, and not in the middle of an answer."""
    line = Line().up()
    line.session._recovery.ready_at = line.now - 55 * 60 - 1
    line.says("u1", "Are you open?")
    assert "model.rolled-over" not in notes(line.done)
    line.answer("a1", "Yes.")
    done = line.until(line.now + 4)
    assert "model.rolled-over" in notes(done)
    assert "response.create" not in to_model(line.reopened())


def test_a_tool_runs_once_whatever_happens() -> None:
    """The same call_id never runs twice, and a reconnect while it runs neither repeats nor forgets it."""
    line = Line().up()
    call = events.ToolCall("call-1", "opening_hours", "{}")
    first = line.event(events.ResponseCreated("r"), call, call, events.ResponseDone("r", "completed"))
    assert [a for a in first if isinstance(a, RunTool)] == [RunTool("call-1", "opening_hours", "{}")]
    line.take(line.session.model_lost("reset", line.now))
    told = line.reopened()
    assert [item["type"] for item in items(told)][-1] == "function_call"
    assert "response.create" not in to_model(told)
    assert [a for a in line.event(call) if isinstance(a, RunTool)] == []
    done = line.take(line.session.tool_done("call-1", "nine to five", line.now))
    assert items(done)[0]["output"] == "nine to five"
    assert to_model(done)[-1] == "response.create"
    assert line.session.tool_done("call-1", "again", line.now) == []


def test_silence_while_a_tool_runs_is_filled() -> None:
    """The agent says that it looks, and the look takes long: the caller hears a recorded sentence meanwhile, and no
    session is given up for it."""
    line = Line().up()
    line.says("u1", "Are you open?")
    line.event(events.ResponseCreated("r"), events.Audio("r", "i", SOUND), events.ToolCall("c", "f", "{}"))
    line.event(events.ResponseDone("r", "completed"))
    done = line.until(line.now + 1.4)
    assert Hop.FILLED not in notes(done)
    done = line.until(line.now + 0.8)
    assert Hop.FILLED in notes(done)
    line.until(line.now + 1, frame=FRAME)  # noise, to a model that hears it
    line.event(READY)
    line.until(line.now + 6)
    assert not [action for action in line.done[1:] if isinstance(action, OpenModel)]
    assert to_model(line.take(line.session.tool_done("c", "nine", line.now)))[-1] == "response.create"


def test_an_answer_is_not_asked_for_while_one_is_under_way() -> None:
    """A tool that returns before its response is done waits for it: two answers at once would be refused."""
    line = Line().up()
    line.event(events.ResponseCreated("r"), events.ToolCall("c", "f", "{}"))
    assert "response.create" not in to_model(line.take(line.session.tool_done("c", "x", line.now)))
    assert to_model(line.event(events.ResponseDone("r", "completed"))) == ["response.create"]


def test_the_agent_hangs_up_when_its_goodbye_was_heard() -> None:
    """hang_up asks for a last sentence, and the call ends when that has been played."""
    line = Line().up()
    done = line.event(
        events.ResponseCreated("r"),
        events.ToolCall("c", "hang_up", "{}"),
        events.ResponseDone("r", "completed"),
    )
    assert to_model(done)[-1] == "response.create"
    assert not hangups(line.done)
    line.answer("bye", "Goodbye.")
    assert not hangups(line.done)
    assert [end.reason for end in hangups(line.until(line.now + 2))] == ["the agent hung up"]


def test_who_wants_to_leave_twice_can_still_stay() -> None:
    """Two calls of hang_up are one wish; when the caller has more to say, a later tool's result is still told."""
    line = Line().up()
    line.event(events.ResponseCreated("r"), events.Audio("r", "bye", SOUND))
    line.event(events.ToolCall("c1", "hang_up", "{}"), events.ToolCall("c2", "hang_up", "{}"))
    assert [item["call_id"] for item in items(line.done)] == ["c1", "c2"]
    line.event(events.ResponseDone("r", "completed"))
    line.says("u1", "One more thing.")
    line.event(events.ResponseCreated("r2"), events.ToolCall("c3", "hours", "{}"))
    line.event(events.ResponseDone("r2", "completed"))
    assert to_model(line.take(line.session.tool_done("c3", "nine", line.now)))[-1] == "response.create"


def test_a_goodbye_that_never_comes_is_not_waited_for() -> None:
    """However often the model asks to hang up instead of saying it."""
    line = Line().up()
    began = line.now
    for wish in range(4):
        line.event(events.ResponseCreated(f"r{wish}"), events.ToolCall(f"c{wish}", "hang_up", "{}"))
        line.event(events.ResponseDone(f"r{wish}", "completed"))
        line.until(line.now + 4)
    assert [end.reason for end in hangups(line.done)] == ["the agent hung up"]
    assert line.now - began < 13


def test_a_caller_who_speaks_over_the_goodbye_stays() -> None:
    """Speech before the goodbye was heard keeps the line."""
    line = Line().up()
    line.event(
        events.ResponseCreated("r"), events.Audio("r", "bye", SOUND), events.ToolCall("c", "hang_up", "{}")
    )
    line.event(events.ResponseDone("r", "completed"), events.SpeechStarted(int(line.now * 1000) + 50, "u"))
    line.until(line.now + 2, frame=FRAME)
    assert not hangups(line.done)


def test_a_transfer_goes_to_the_one_allowed_number() -> None:
    """Whatever the model writes, the number is ours; without one the tool does nothing of that kind."""
    line = Line(transfer_to=COLLEAGUE).up()
    evil = events.ToolCall("c", "transfer_to_agent", '{"number": "+12025550199"}')
    line.event(
        events.ResponseCreated("r"),
        events.Audio("r", "i", SOUND),
        evil,
        events.ResponseDone("r", "completed"),
    )
    assert [a for a in line.until(line.now + 2) if isinstance(a, Transfer)] == [Transfer(COLLEAGUE)]
    line.take(line.session.on_phone(phone.Stop(), line.now))
    assert line.session.ended == "the caller was transferred"
    other = Line().up()
    other.event(events.ResponseCreated("r"), evil, events.ResponseDone("r", "completed"))
    assert not [a for a in other.until(other.now + 2) if isinstance(a, Transfer)]


def test_a_transfer_that_fails_is_told_to_the_model() -> None:
    """The call goes on, and the model hears why."""
    line = Line(transfer_to=COLLEAGUE).up()
    line.event(events.ResponseCreated("r"), events.Audio("r", "i", SOUND))
    line.event(events.ToolCall("c", "transfer_to_agent", "{}"), events.ResponseDone("r", "completed"))
    line.until(line.now + 1)
    done = line.take(line.session.transferred("21220", line.now))
    assert texts(done)[0][0] == "system"
    assert to_model(done)[-1] == "response.create"
    assert not hangups(line.until(line.now + 1))


def test_keys_are_told_as_one_item() -> None:
    """Digits are joined until a pause, told to the model, and never written to the journal."""
    line = Line().up()
    for digit in "42#":
        line.take(line.session.on_phone(phone.Dtmf(digit), line.now))
        line.until(line.now + 0.3)
    told = texts(line.until(line.now + 1.6))
    assert len(told) == 1
    assert "4 2 #" in told[0][1]
    assert "42" not in str([note.fields for note in line.done if isinstance(note, Note)])


def test_the_money_cap_ends_the_call_with_a_goodbye() -> None:
    """When a response takes the call over its cap: a recorded goodbye, then the end, and no further answer."""
    usage = {"input_token_details": {"audio_tokens": 10_000}, "output_token_details": {"audio_tokens": 1000}}
    line = Line(max_dollars=0.1).up()
    line.event(events.ResponseCreated("r"), events.Audio("r", "i", SOUND))
    line.event(events.ResponseDone("r", "completed", usage=usage))
    (end,) = hangups(line.until(line.now + 3))
    assert "0.1 dollars" in end.reason
    assert line.session.summary(line.now).fields["dollars"] == pytest.approx(0.384)


def test_a_phone_that_says_nothing_at_all_is_gone() -> None:
    """Five seconds without a frame end the call, and with it the model's session."""
    line = Line().up()
    began = line.now
    line.until(line.now + 8, frame=None)
    assert line.session.ended == "the media stream was lost"
    assert line.now - began < 5.2


@pytest.mark.parametrize(
    ("answered", "heard", "word"),
    [(False, False, None), (True, False, "nine to five"), (True, True, "say that again")],
)
def test_a_call_that_comes_back_goes_on(answered: bool, heard: bool, word: str | None) -> None:
    """With the history of its first stream: a question is answered, an answer that was cut is said again, and
    where all was heard the caller is asked."""
    line = Line().up()
    line.says("u1", "Are you open?")
    if answered:
        line.answer("a1", "From nine to five.")
    if heard:
        line.until(line.now + 1)
    rows = [a.fields["entry"] for a in line.done if isinstance(a, Remember) and a.event == "said"]
    again = Line(resumed=True, past=tuple(of_json(rows)))
    again.take(again.session.model_connected(0.0, 0.01))
    told = again.event(events.Created("s", "m"), READY)
    assert ("user", "Are you open?") in texts(told)
    (ask,) = [json.loads(a.text) for a in told if isinstance(a, ToModel) and "response.create" in a.text]
    assert word is None or word in ask["response"]["instructions"]
    assert (word is None) == ("response" not in ask)


def test_a_tool_that_ran_when_the_process_died_is_never_run_again() -> None:
    """Its call is replayed with the honest word that nobody knows whether it happened."""
    line = Line().up()
    line.event(events.ResponseCreated("r"), events.ToolCall("c", "book", "{}"))
    rows = [a.fields["entry"] for a in line.done if isinstance(a, Remember) and a.event == "said"]
    again = Line(resumed=True, past=tuple(of_json(rows)))
    told = again.event(events.Created("s", "m"), READY)
    assert "may or may not have happened" in items(told)[-1]["output"]
    assert [a for a in again.event(events.ToolCall("c", "book", "{}")) if isinstance(a, RunTool)] == []


def test_audio_in_another_codec_is_recognised() -> None:
    """16-bit samples under the name of mu-law end the call before they are heard."""
    pcm = base64.b64encode(
        b"".join((v * 37 % 3000 - 1500).to_bytes(2, "little", signed=True) for v in range(2000))
    )
    line = Line()
    line.take(line.session.model_connected(0.0, 0.01))
    line.event(events.Created("s", "m"), READY, events.ResponseCreated("r"))
    done = line.event(events.Audio("r", "i", pcm.decode()))
    assert "model.codec" in notes(done)
    assert hangups(line.until(3))


def test_an_answer_that_was_never_heard_is_not_told_as_said() -> None:
    """It waited behind another item, or behind a recorded sentence, when the caller spoke: the next session hears of
    what was heard alone."""
    for before in ("an item", "a recorded sentence"):
        line = Line().up()
        line.says("u1", "Are you open?")
        if before == "a recorded sentence":
            line.until(line.now + 1.1)
            assert Hop.FILLED in notes(line.done)
        else:
            line.event(events.ResponseCreated("r0"), *(events.Audio("r0", "i0", SOUND) for _ in range(9)))
            line.event(
                events.Transcript("agent", "i0", "Let me look"), events.ResponseDone("r0", "completed")
            )
        line.answer("never", "Yes, from nine to five.")
        cut = line.event(events.SpeechStarted(int(line.now * 1000), "u2"))
        assert [json.loads(a.text)["event"] for a in cut if isinstance(a, ToPhone)] == ["clear"]
        assert "conversation.item.truncate" not in to_model(cut)
        line.take(line.session.model_lost("reset", line.now))
        assert not [text for _, text in texts(line.reopened()) if "nine" in text], before


def test_an_answer_of_an_older_session_is_not_truncated_in_the_new_one() -> None:
    """It goes on playing over the change; interrupted, the phone falls silent and the model is told in words."""
    line = Line().up()
    line.says("u1", "What does it cost?")
    line.event(
        events.ResponseCreated("r"),
        *(events.Audio("r", "i", SOUND) for _ in range(20)),
        events.Transcript("agent", "i", "one two three four five six seven eight nine ten"),
        events.ResponseDone("r", "completed"),
    )
    line.take(line.session.model_lost("reset", line.now))
    line.reopened()
    line.until(line.now + 1)
    cut = line.event(events.SpeechStarted(int(line.now * 1000) + 5000, "u2"))
    assert [json.loads(a.text)["event"] for a in cut if isinstance(a, ToPhone)] == ["clear"]
    assert "conversation.item.truncate" not in to_model(cut)
    ((role, told),) = texts(cut)
    assert role == "system"
    assert "one two" in told
    assert "ten" not in told

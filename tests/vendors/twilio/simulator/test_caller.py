"""The person on the phone, step by step."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from ops.vendors.twilio.simulator.caller import SILENT, STAY, BadScript, Caller, Ear, Step, script

LOUD, QUIET = -20.0, -96.0
LINE = b"a" * 480


def steps(*raw: dict[str, Any]) -> tuple[Step, ...]:
    return script(list(raw), {"hello": LINE}.__getitem__)


def live(caller: Caller, *heard: tuple[float, int]) -> list[bytes]:
    """Let the person hear levels for so many ms; the frames that they spoke."""
    spoken, at_ms = [], 0
    for level, ms in heard:
        for _ in range(ms // 20):
            at_ms += 20
            act = caller.tick(at_ms, level)
            spoken.append(act.sound)
            if act.hangs_up:
                return spoken
    return spoken


def test_says_a_line_frame_by_frame_and_is_silent_before_and_after() -> None:
    """A line of three frames takes three frames, then comes silence."""
    caller = Caller(steps({"do": "pause", "ms": 40}, {"do": "say", "line": "hello"}))
    spoken = live(caller, (QUIET, 160))
    assert [frame for frame in spoken if frame != SILENT] == [b"a" * 160] * 3
    assert spoken[0] == SILENT
    assert [done.done for done in caller.report] == [True, True]


def test_listen_waits_for_speech_and_then_for_quiet() -> None:
    """Silence alone does not satisfy `listen`; speech followed by quiet_ms of silence does."""
    caller = Caller(steps({"do": "listen", "quiet_ms": 200}, {"do": "say", "line": "hello"}))
    spoken = live(caller, (QUIET, 1000), (LOUD, 600), (QUIET, 400))
    first = next(index for index, frame in enumerate(spoken) if frame != SILENT)
    assert (first + 1) * 20 == 1000 + 600 + 200


def test_listen_that_hears_nothing_gives_up() -> None:
    """After timeout_ms the step is recorded as not done and the person hangs up."""
    caller = Caller(steps({"do": "listen", "timeout_ms": 500}, {"do": "say", "line": "hello"}))
    live(caller, (QUIET, 2000))
    assert caller.gone
    assert [done.done for done in caller.report] == [False, None]
    assert caller.report[0].ended_ms == 500


def test_hear_is_satisfied_while_the_other_still_speaks() -> None:
    """`hear` 300 ms ends 300 ms after the onset of speech, which makes a barge-in possible."""
    caller = Caller(steps({"do": "hear", "ms": 300}, {"do": "say", "line": "hello"}))
    spoken = live(caller, (QUIET, 200), (LOUD, 600))
    first = next(index for index, frame in enumerate(spoken) if frame != SILENT)
    assert (first + 1) * 20 == 200 + 300


def test_a_short_gap_belongs_to_the_utterance() -> None:
    """Pauses between words do not end what is heard; a long one does."""
    ear = Ear()
    for index in range(100):
        level = QUIET if 20 <= index < 30 or index >= 60 else LOUD
        ear.hear((index + 1) * 20, level)
        if 3 <= index < 60:
            assert ear.speaking
    assert not ear.speaking


def test_keys_come_one_after_the_other() -> None:
    """Each key is pressed once, with a pause between two."""
    caller = Caller(steps({"do": "press", "digits": "1w2"}, {"do": "hang-up"}))
    keys, at = [], []
    for at_ms in range(20, 3000, 20):
        act = caller.tick(at_ms, QUIET)
        if act.key:
            keys.append(act.key)
            at.append(at_ms)
    assert keys == ["1", "2"]
    assert at[1] - at[0] >= 500
    assert caller.gone


def test_hang_up_ends_the_script() -> None:
    """After hanging up the person does nothing any more."""
    caller = Caller(steps({"do": "hang-up"}, {"do": "say", "line": "hello"}))
    assert caller.tick(20, QUIET).hangs_up
    assert caller.tick(40, QUIET).sound == SILENT


def test_a_person_without_a_script_leaves_after_ten_quiet_seconds() -> None:
    """The default person listens, and hangs up when nothing is heard for ten seconds."""
    caller = Caller((STAY,))
    spoken = live(caller, (QUIET, 4000), (LOUD, 2000), (QUIET, 20_000))
    assert len(spoken) * 20 == 6000 + 10_000


def test_sound_of_its_own_can_be_given_as_base64() -> None:
    """A stranger's script brings its own mu-law."""
    (step,) = steps({"do": "say", "audio": base64.b64encode(b"abc").decode()})
    assert step.audio == b"abc"


@pytest.mark.parametrize(
    "raw",
    [
        {"do": "dance"},
        {"do": "say"},
        {"do": "say", "line": "nobody"},
        {"do": "say", "audio": "!"},
        {"do": "listen", "ms": 5},
        {"do": "pause", "ms": -1},
        {"do": "pause", "ms": "1"},
        {"do": "press", "digits": "x"},
        {"do": "press"},
        "say",
    ],
)
def test_a_bad_step_says_what_was_expected(raw: Any) -> None:
    """The number of the step and what was expected are in the error."""
    with pytest.raises(BadScript, match=r"step 0.*expected"):
        script([raw], {"hello": LINE}.__getitem__)


def test_waits_for_the_media_stream() -> None:
    """What is said before it is open reaches nobody; one that never opens ends the call."""
    caller = Caller(steps({"do": "stream", "timeout_ms": 500}, {"do": "say", "line": "hello"}))
    assert set(live(caller, (LOUD, 300))) == {SILENT}
    caller.streaming = True
    assert caller.tick(320, QUIET).sound != SILENT
    waits = Caller(steps({"do": "stream", "timeout_ms": 500}))
    live(waits, (QUIET, 600))
    assert waits.gone
    assert waits.report[0].done is False


def test_listen_goes_on_when_nobody_says_anything() -> None:
    """With silent_ms: an agent that waits to be asked is asked, one that speaks is heard out."""
    order = {"do": "listen", "quiet_ms": 200, "silent_ms": 1000, "timeout_ms": 5000}
    silent = live(Caller(steps(order, {"do": "say", "line": "hello"})), (QUIET, 1200))
    assert next(index for index, frame in enumerate(silent) if frame != SILENT) == 49
    polite = live(
        Caller(steps(order, {"do": "say", "line": "hello"})), (QUIET, 800), (LOUD, 1000), (QUIET, 400)
    )
    assert next(index for index, frame in enumerate(polite) if frame != SILENT) == 99

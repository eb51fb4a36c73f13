"""The catalogue of faults: armed by name, counted down, seeded; and what each does to a response."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from ops.speech import library
from ops.vendors.openai.simulator.faults import Faults, catalogue
from tests.vendors.openai.simulator.rig import Rig

GREETING = library.line("agent-greeting").audio


def _greeted(name: str, **numbers: Any) -> Rig:
    faults = Faults()
    faults.arm(name, **numbers)
    rig = Rig(faults=faults)
    rig.send("response.create")
    rig.run(8)
    return rig


def _pieces(rig: Rig) -> list[bytes]:
    return [base64.b64decode(event["delta"]) for event in rig.of("response.output_audio.delta")]


WHERE = {"connect", "rest", "models", "session", "update", "limits", "socket", "response", "transcription"}


def test_every_fault_says_what_it_does() -> None:
    """Names are kebab case, each strikes somewhere and is described."""
    for name, fault in catalogue().items():
        assert name == name.lower().replace("_", "-") == fault.name
        assert fault.about
        assert fault.where in WHERE


def test_a_fault_happens_as_often_as_armed() -> None:
    """take counts down and leaves others alone."""
    faults = Faults()
    faults.arm("delay", times=2, seconds=7)
    faults.arm("stall")
    assert [bool(faults.take("connect")) for _ in range(3)] == [True, True, False]
    assert faults.take("socket") is not None
    assert faults.armed == []


@pytest.mark.parametrize(
    "wrong", [{"times": -1}, {"seconds": "x"}, {"seconds": True}, {"hours": 1}, {"seed": 1e12}]
)
def test_wrong_numbers_are_refused(wrong: dict[str, Any]) -> None:
    """Nothing is armed, and the reason names the field."""
    faults = Faults()
    with pytest.raises(ValueError, match=next(iter(wrong))):
        faults.arm("delay", **wrong)
    assert faults.armed == []


def test_slice_keeps_the_sound_in_uneven_pieces_and_repeats() -> None:
    """The same seed cuts in the same places; another seed elsewhere."""
    first, again, other = (_pieces(_greeted("slice", seed=seed)) for seed in (1, 1, 2))
    assert b"".join(first) == b"".join(other) == GREETING
    assert first == again != other
    assert any(len(piece) % 160 for piece in first)


def test_dropped_frames_are_missing() -> None:
    """Some deltas never come; the rest is in order."""
    pieces = _pieces(_greeted("dropped-frame", share=0.5, seed=3))
    assert 0 < len(b"".join(pieces)) < len(GREETING)
    assert all(piece in GREETING for piece in pieces)


def test_wrong_codec_sends_six_times_the_bytes() -> None:
    """PCM where mu-law was agreed."""
    assert len(b"".join(_pieces(_greeted("wrong-codec")))) == 6 * len(GREETING)


def test_slow_silent_and_filtered_responses() -> None:
    """Late first audio; no output at all; cut by the filter."""
    rig = _greeted("slow-response", seconds=3)
    assert rig.last("response.done")["response"]["status"] == "completed"
    silent = _greeted("silent-response").last("response.done")["response"]
    assert (silent["status"], silent["output"]) == ("completed", [])
    filtered = _greeted("content-filter").last("response.done")["response"]
    assert filtered["status_details"] == {"type": "incomplete", "reason": "content_filter"}


def test_a_slow_response_is_late_by_its_seconds() -> None:
    """The first audio comes 250 ms and those seconds after the request."""
    faults = Faults()
    faults.arm("slow-response", seconds=3)
    rig = Rig(faults=faults)
    rig.send("response.create")
    rig.run(3.2)
    assert not _pieces(rig)
    rig.run(0.1)
    assert _pieces(rig)


def test_an_expired_session_ends_early_once() -> None:
    """The armed session ends after its seconds; the next one lives."""
    faults = Faults()
    faults.arm("expired-session", after=2)
    first, second = Rig(faults=faults), Rig(faults=faults)
    first.run(2.1)
    second.run(2.1)
    assert first.session.closing is not None
    assert second.session.closing is None

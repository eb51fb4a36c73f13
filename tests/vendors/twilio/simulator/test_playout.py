"""The play-out clock: what is heard when, and when marks come back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ops.vendors.twilio.simulator.playout import FRAME, LIMIT, SILENT_FRAME, PlayOut


def test_audio_on_an_idle_line_begins_when_it_arrives() -> None:
    """Audio that arrives at sample 100 is heard from sample 100 on, to the sample."""
    playout = PlayOut()
    playout.media(b"a" * 160, 100)
    assert playout.frame() == b"\xff" * 100 + b"a" * 60
    assert playout.frame() == b"a" * 100 + b"\xff" * 60
    assert playout.frame() is SILENT_FRAME


def test_audio_behind_other_audio_follows_without_a_gap() -> None:
    """Two messages that arrive together are heard one after the other."""
    playout = PlayOut()
    playout.media(b"a" * 100, 0)
    playout.media(b"b" * 60, 3)
    assert playout.frame() == b"a" * 100 + b"b" * 60


def test_a_mark_is_due_when_the_audio_before_it_has_played() -> None:
    """A mark behind 800 samples is not due at 799, and due at 800."""
    playout = PlayOut()
    playout.media(b"a" * 800, 0)
    playout.mark("one", 10)
    playout.media(b"b" * 800, 20)
    playout.mark("two", 30)
    assert playout.due(799) == []
    assert playout.next_due == 800
    assert playout.due(800) == ["one"]
    assert playout.due(1600) == ["two"]
    assert playout.next_due is None


def test_a_mark_on_an_idle_line_is_due_at_once() -> None:
    """With nothing to play a mark comes straight back."""
    playout = PlayOut()
    playout.mark("now", 500)
    assert playout.due(500) == ["now"]


def test_clear_stops_at_the_sample_and_returns_the_marks() -> None:
    """What was not played by the moment of the clear is never heard; all waiting marks come back in order."""
    playout = PlayOut()
    playout.media(b"a" * 1600, 0)
    playout.mark("first", 0)
    playout.media(b"b" * 1600, 0)
    playout.mark("second", 0)
    assert playout.frame() == b"a" * 160
    assert playout.clear(200) == ["first", "second"]
    assert playout.frame() == b"a" * 40 + b"\xff" * 120
    assert playout.frame() is SILENT_FRAME
    assert playout.waiting(200) == 0
    playout.media(b"c" * 10, 480)
    assert playout.frame() == b"c" * 10 + b"\xff" * 150


def test_more_than_ten_minutes_are_refused() -> None:
    """The buffer takes ten minutes of audio and refuses what comes on top."""
    playout = PlayOut()
    assert playout.media(b"a" * (LIMIT + 1), 0)
    assert not playout.media(b"b", 0)
    assert playout.media(b"b", 100)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["media", "mark", "clear", "frame"]), st.integers(0, 500)), max_size=60
    )
)
def test_every_mark_returns_once_and_no_sample_is_played_twice(steps: list[tuple[str, int]]) -> None:
    """Whatever the order of messages, frames are whole, marks return exactly once, and audio is not repeated."""
    playout, now, frames, sent, returned = PlayOut(), 0, 0, [], []
    given_bytes = heard = 0
    for index, (what, amount) in enumerate(steps):
        if what == "media":
            playout.media(b"x" * amount, now)
            given_bytes += amount
        elif what == "mark":
            sent.append(str(index))
            playout.mark(str(index), now)
        elif what == "clear":
            returned += playout.clear(now)
        else:
            frames += 1
            now = max(now, frames * FRAME) + amount % 7
            frame = playout.frame()
            assert len(frame) == FRAME
            heard += frame.count(b"x")
        returned += playout.due(now)
    returned += playout.due(10**9)
    assert returned == sent
    assert heard <= given_bytes

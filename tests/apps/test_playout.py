"""What the caller has heard, by marks and by the clock."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.apps.playout import Playout, milliseconds


def audio(ms: int) -> str:
    return base64.b64encode(b"\x55" * (8 * ms)).decode()


@pytest.mark.parametrize("ms", [1, 20, 21, 22, 160, 1000])
def test_duration_of_base64(ms: int) -> None:
    """The duration is right for every padding of base64."""
    assert milliseconds(audio(ms)) == ms


def test_audio_goes_out_ahead_by_the_lead_and_no_more() -> None:
    """A long answer made at once leaves in step with the clock, a lead ahead; waking is announced."""
    playout = Playout(lead=0.4)
    for _ in range(10):
        playout.produce("item", audio(200))
    assert len(playout.due(100.0)) == 2
    assert playout.wake_at() == pytest.approx(100.0)
    assert len(playout.due(100.001)) == 1
    assert playout.due(100.1) == []
    assert playout.wake_at() == pytest.approx(100.2)


def test_heard_follows_marks_and_the_clock_between_them() -> None:
    """Between marks the clock counts, but never past the mark that has not come back."""
    playout = Playout(lead=9)
    for _ in range(3):
        playout.produce("item", audio(200))
    marks = [send.mark for send in playout.due(10.0)]
    playout.marked(marks[0], 10.25)  # late by 50 ms: what the phone says counts
    assert playout.interrupt(10.30).heard == pytest.approx(250)  # type: ignore[union-attr]


def test_a_phone_that_is_late_is_not_believed_to_be_on_time() -> None:
    """Without a returned mark no more than the first piece counts as heard."""
    playout = Playout(lead=9)
    playout.produce("item", audio(200))
    playout.produce("item", audio(200))
    playout.due(10.0)
    assert playout.interrupt(15.0).heard == 200  # type: ignore[union-attr]


def test_marks_of_a_cut_answer_say_nothing() -> None:
    """Marks that come back on `clear` do not count for the next answer, nor do unknown ones."""
    playout = Playout()
    playout.produce("one", audio(200))
    (old,) = playout.due(1.0)
    assert playout.interrupt(1.05).item_id == "one"  # type: ignore[union-attr]
    playout.produce("two", audio(200))
    playout.due(1.1)
    for name in (old.mark, "x", "", "1:", "99:200"):
        assert not playout.marked(name, 1.2)
    assert playout.interrupt(1.15).heard == pytest.approx(50)  # type: ignore[union-attr]


def test_an_answer_is_over_when_it_was_produced_and_heard() -> None:
    """Speaking ends with the last mark or with the word that nothing follows, whichever is later."""
    playout = Playout()
    playout.produce("one", audio(200))
    (send,) = playout.due(1.0)
    assert not playout.marked(send.mark, 1.2)
    assert playout.speaking
    assert playout.completed()
    assert not playout.speaking
    assert playout.interrupt(2.0) is None


def test_a_mark_stands_for_a_fifth_of_a_second_and_for_each_end() -> None:
    """Ten frames share a mark; the last piece has one of its own, whether it was known to be the last or not."""
    playout = Playout()
    marks = []
    for index in range(12):
        playout.produce("one", audio(20))
        marks += [send.mark for send in playout.due(1 + 0.02 * index)]
    assert [bool(mark) for mark in marks] == [False] * 9 + [True] + [False] * 2
    playout.produce("two", audio(20))  # so the first item has ended
    (end,) = playout.ends()
    assert (end.payload, end.mark) == ("", "0:240")
    assert not playout.completed()
    (late,) = playout.due(1.3)
    assert late.mark == "1:20"
    assert playout.ends() == []
    assert [playout.marked(mark, 1.4) for mark in (marks[9], end.mark, late.mark)] == [False, True, True]
    assert not playout.speaking


def test_two_items_of_one_answer_are_kept_apart() -> None:
    """A second item begins while the first still sounds: the cut one is the one that sounds."""
    playout = Playout(lead=9)
    playout.produce("one", audio(200))
    playout.produce("two", audio(200))
    first, second = playout.due(1.0)
    assert second.sounds_at == pytest.approx(1.2)
    cut = playout.interrupt(1.1)
    assert cut is not None
    assert (cut.item_id, cut.heard) == ("one", pytest.approx(100))
    assert not playout.marked(first.mark, 1.2)


@given(
    st.lists(
        st.tuples(st.sampled_from(["produce", "tick", "mark", "cut", "end"]), st.integers(1, 400)),
        max_size=60,
    )
)
def test_heard_is_never_more_than_produced_nor_negative(steps: list[tuple[str, int]]) -> None:
    """Whatever happens in whatever order: 0 ≤ heard ≤ sent ≤ produced."""
    playout, now, out, items = Playout(), 0.0, [], 0
    for kind, number in steps:
        now += number / 1000
        if kind == "produce":
            playout.produce(f"item{items}", audio(number))
        elif kind == "mark" and out:
            playout.marked(out.pop(0), now)
        elif kind == "cut":
            cut = playout.interrupt(now)
            items += 1
            assert cut is None or 0 <= cut.heard <= cut.sent <= cut.produced
        elif kind == "end":
            playout.completed()
        out += [send.mark for send in (*playout.ends(), *playout.due(now)) if send.mark]
    playout.completed()
    now = playout.done_at(now) + 1
    out += [send.mark for send in (*playout.ends(), *playout.due(now)) if send.mark]
    while out or playout.sends_at is not None:
        now += 1
        out += [send.mark for send in playout.due(now) if send.mark]
        if out:
            playout.marked(out.pop(0), now)
    assert not playout.speaking  # every mark has come back, so nothing is left to wait for


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from([10, 20, 40, 160]), st.booleans(), st.booleans()),
        max_size=60,
    )
)
def test_what_passes_is_what_would_have_been_sent(pieces: list[tuple[int, int, bool, bool]]) -> None:
    """The short way for a piece that goes out at once and alone leaves behind what the long one does, also for
    one that comes after the end of its answer was told."""
    short, long, now = Playout(), Playout(), 0.0
    for gap, size, next_item, complete in pieces:
        now += gap / 1000
        if complete:
            assert short.completed() == long.completed()
            assert short.ends() == long.ends()
        item = f"item{next_item}"
        long.produce(item, audio(size))
        sends = long.due(now)
        if short.passes(item, audio(size), now):
            assert [(send.payload, send.mark, send.gap) for send in sends] == [(audio(size), "", 0.0)]
        else:
            short.produce(item, audio(size))
            assert short.due(now) == sends
        assert vars_of(short) == vars_of(long)


def vars_of(playout: Playout) -> tuple[object, ...]:
    return playout.ends_at, playout.sends_at, list(playout._answers)


def test_a_piece_in_good_time_passes() -> None:
    """All but the first piece of an item, one with a mark, and one that comes too late take the short way."""
    playout = Playout()
    assert not playout.passes("one", audio(20), 1.0)
    playout.produce("one", audio(20))
    assert len(playout.due(1.0)) == 1
    assert [playout.passes("one", audio(20), 1.0 + 0.02 * index) for index in range(1, 10)] == [True] * 8 + [
        False
    ]
    assert not playout.passes("two", audio(20), 1.2)

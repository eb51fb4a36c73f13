"""The ring that keeps the caller's last frames."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.apps.frame_ring import FRAME, PLACE, FrameRing

SILENT = base64.b64encode(b"\xff" * FRAME).decode()


def frame(number: int) -> str:
    """A whole frame that differs from its neighbours."""
    return base64.b64encode(bytes([number % 256]) * FRAME).decode()


@given(st.integers(1, 7), st.integers(0, 40), st.integers(0, 10))
def test_it_holds_the_last_frames_in_their_order(room: int, frames: int, asked: int) -> None:
    ring = FrameRing(room)
    for number in range(frames):
        ring.add(frame(number))
    there = [frame(number) for number in range(frames)][-room:]
    assert ring.held == len(there)
    assert ring.last(asked) == there[len(there) - min(asked, len(there)) :]


@given(st.integers(1, 7), st.integers(0, 20), st.integers(0, 10), st.integers(1, 20))
def test_it_goes_on_in_another_room(room: int, frames: int, moved: int, other: int) -> None:
    ring = FrameRing(room)
    for number in range(frames):
        ring.add(frame(number))
    there = ring.last(moved)
    ring = ring.moved(moved, other)
    ring.add(frame(99))
    assert ring.last(other) == [*there, frame(99)][-other:]


@pytest.mark.parametrize(
    ("payload", "kept"),
    [
        (base64.b64encode(bytes(80)).decode(), base64.b64encode(bytes(80) + b"\xff" * 80).decode()),
        (base64.b64encode(bytes(400)).decode(), base64.b64encode(bytes(160)).decode()),
        ("", SILENT),
        ("AAA", SILENT),
    ],
)
def test_a_frame_of_another_length_takes_the_place_of_one(payload: str, kept: str) -> None:
    ring = FrameRing(3)
    for one in (frame(1), payload, frame(2)):
        ring.add(one)
    assert len(kept) == PLACE
    assert ring.last(3) == [frame(1), kept, frame(2)]

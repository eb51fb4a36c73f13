"""The calls' own files: what a bridge that was started anew knows of a call."""

from __future__ import annotations

import asyncio
import os
import time
import tracemalloc
from pathlib import Path

import pytest

from ops.apps.callbook import KEPT, Callbook, page_of
from ops.apps.dialogue import Said, to_json
from ops.apps.past_calls import PastCalls
from ops.apps.tickets import Terms

SID = "CA" + "1" * 32


def test_a_page_tells_the_terms_and_the_last_version_of_each_entry(tmp_path: Path) -> None:
    """Written by one process and read by the next; an entry that changed counts as it was last."""
    book = Callbook(tmp_path / "calls")
    book.add(SID, "began", Terms(party="+12025550123", voice="cedar").to_json())
    for text in ("Yes", "Yes, from nine"):
        book.add(SID, "said", {"entry": to_json(Said("i1", "agent", text))})
    book.add(SID, "turn", {"turn": 0})
    book.close()
    successor = Callbook(tmp_path / "calls")
    page = asyncio.run(successor.read(SID))
    successor.close()
    assert page is not None
    assert page.terms.voice == "cedar"
    assert [entry.text for entry in page.entries if isinstance(entry, Said)] == ["Yes, from nine"]
    assert (page.ended, page.resumes, page.turns) == (None, 0, 1)
    assert (tmp_path / "calls" / f"{SID}.jsonl").stat().st_mode & 0o777 == 0o600


def test_what_was_added_a_moment_ago_is_read(tmp_path: Path) -> None:
    """A page holds everything that was added before it was asked for."""

    async def scenario() -> None:
        book = Callbook(tmp_path)
        for index in range(200):
            book.add(SID, "turn", {"turn": index})
        page = await book.read(SID)
        assert page is not None
        assert page.turns == 200
        assert await book.read("CA" + "2" * 32) is None
        book.close()

    asyncio.run(scenario())


def test_a_torn_or_foreign_line_costs_only_itself() -> None:
    """After a crash in the middle of a line the rest is still known."""
    lines = ['{"event":"began","party":"x"}', '{"event":"sa', "", "[1]", "null", '{"event":"said","entry":{"by":"agent"}}',
             '{"event":"resumed"}', '{"event":"ended","reason":"over"}']  # fmt: skip
    page = page_of(lines)
    assert (page.terms.party, page.entries, page.ended, page.resumes) == ("x", (), "over", 1)


def test_a_disk_that_fails_is_told_and_stops_nothing(tmp_path: Path) -> None:
    """Where the folder cannot be written, the book says so and goes on."""

    async def scenario() -> None:
        (tmp_path / "calls").write_text("a file in the way")
        book = Callbook(tmp_path / "calls")
        book.add(SID, "began", {})
        assert await book.read(SID) is None
        assert book.failing
        book.close()

    asyncio.run(scenario())


def test_old_pages_are_forgotten(tmp_path: Path) -> None:
    """A day after its last row a call's file is removed. That it was over stays known, and nothing else of it."""
    old = tmp_path / f"{SID}.jsonl"
    old.write_text('{"event":"began","party":"x"}')
    os.utime(old, (time.time() - KEPT - 60,) * 2)
    Callbook(tmp_path).close()
    assert not old.exists()
    book = Callbook(tmp_path)
    page = asyncio.run(book.read(SID))
    assert page is not None
    assert (page.ended, page.terms.party) == ("it was on an earlier day", "")
    assert asyncio.run(book.read("CA" + "2" * 32)) is None
    book.close()


def test_of_many_past_calls_the_newest_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a look ends, and in a file of its owner's alone that does not grow for ever."""
    monkeypatch.setattr("ops.apps.past_calls.AT_ONCE", 100)
    monkeypatch.setattr("ops.apps.past_calls.MOST", 3500)
    past = PastCalls(tmp_path / "past")
    sids = [f"CA{number:032x}" for number in range(160)]
    assert sids[0] not in past
    for sid in sids:
        past.add(sid)
    assert [sid for sid in sids[-50:] if sid not in past] == []
    assert sids[0] not in past
    assert (tmp_path / "past").stat().st_size <= 3500
    assert (tmp_path / "past").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["past"]


def test_a_day_of_pages_is_looked_through_one_at_a_time(tmp_path: Path) -> None:
    """The look for old pages takes no more memory where there are many."""
    for number in range(2000):
        (tmp_path / f"CA{number:032x}.jsonl").touch()
    tracemalloc.start()
    try:
        Callbook(tmp_path).close()
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()

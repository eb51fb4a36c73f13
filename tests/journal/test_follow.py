from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ops.config import Settings
from ops.journal import write
from ops.journal.collect import Source
from ops.journal.follow import Tail, follow
from ops.journal.query import Query
from tests.journal.conftest import NOON, call_sid, line


class Follower:
    """`follow` in a thread of its own, and what it has given so far."""

    def __init__(self, settings: Settings, query: Query) -> None:
        self.texts: list[str] = []
        self._stop = threading.Event()
        self._new = threading.Condition()
        self._thread = threading.Thread(target=self._run, args=(settings, query))
        self._thread.start()

    def _run(self, settings: Settings, query: Query) -> None:
        for entry in follow(settings, query, stopped=self._stop.is_set):
            with self._new:
                self.texts.append(entry.msg)
                self._new.notify()

    def wait_for(self, count: int) -> list[str]:
        with self._new:
            assert self._new.wait_for(lambda: len(self.texts) >= count, 8), self.texts
            return list(self.texts)

    def stop(self) -> list[str]:
        self._stop.set()
        self._thread.join(8)
        assert not self._thread.is_alive()
        return self.texts


@pytest.fixture
def following(settings: Settings) -> Iterator[Callable[..., Follower]]:
    """`following(query)` follows, and is ready: what is written from now on counts as new."""
    started: list[Follower] = []

    def start(query: Query = Query()) -> Follower:  # noqa: B008
        ready = settings.logs / "ready.jsonl"
        ready.write_text("")
        follower = Follower(settings, query)
        started.append(follower)
        deadline = time.monotonic() + 5
        while not any(text == "ready" for text in follower.texts):
            assert time.monotonic() < deadline
            with ready.open("a") as file:
                file.write(line(datetime.now(UTC), "ready", "ERROR", msg="ready", call_sid="CA" + "0" * 32))
            time.sleep(0.1)
        ready.unlink()
        return follower

    yield start
    for follower in started:
        follower.stop()


def told(follower: Follower) -> list[str]:
    return [text for text in follower.stop() if text != "ready"]


def wait_for(follower: Follower, *texts: str) -> None:
    deadline = time.monotonic() + 8
    while not set(texts) <= set(follower.texts):
        assert time.monotonic() < deadline, follower.texts
        time.sleep(0.02)


def append(settings: Settings, name: str, text: str) -> None:
    with (settings.logs / name).open("a") as file:
        file.write(text)


def test_new_records_of_all_services_in_order(settings: Settings, following: Callable[..., Follower]) -> None:
    """What is written now is told, in order of time although the files are read one after the other."""
    append(settings, "a.jsonl", line(NOON, "a", msg="old"))
    follower = following()
    now = datetime.now(UTC)
    for n in range(20):
        append(settings, f"{'ab'[n % 2]}.jsonl", line(now + timedelta(milliseconds=n), msg=f"m{n}"))
    wait_for(follower, *(f"m{n}" for n in range(20)))
    found = told(follower)
    assert sorted(found) == sorted(f"m{n}" for n in range(20))
    assert [text for text in found if int(text[1:]) % 2] == [f"m{n}" for n in range(1, 20, 2)]


def test_two_files_written_at_once_are_merged(settings: Settings, following: Callable[..., Follower]) -> None:
    """Records that reach two files within the watermark come out by their time, not by their file."""
    append(settings, "a.jsonl", "")
    append(settings, "b.jsonl", "")
    follower = following()
    now = datetime.now(UTC)
    append(settings, "b.jsonl", "".join(line(now + timedelta(milliseconds=n), msg=f"m{n}") for n in (1, 3)))
    time.sleep(0.1)  # long enough for the first to be read, within the watermark
    append(settings, "a.jsonl", "".join(line(now + timedelta(milliseconds=n), msg=f"m{n}") for n in (0, 2)))
    wait_for(follower, "m3")
    assert told(follower) == ["m0", "m1", "m2", "m3"]


def test_the_past_first_then_the_present_nothing_twice(
    settings: Settings, following: Callable[..., Follower]
) -> None:
    """With `since`, what was written before is told once, and what comes after follows it."""
    now = datetime.now(UTC)
    append(settings, "a.jsonl", line(now - timedelta(hours=2), msg="too old"))
    append(settings, "a.jsonl", line(now - timedelta(minutes=2), msg="past") + '{"ts":"torn')
    follower = following(Query(since=now - timedelta(hours=1)))
    append(settings, "a.jsonl", "\n" + line(datetime.now(UTC), msg="present"))
    wait_for(follower, "present")
    found = told(follower)
    assert [text for text in found if "torn" not in text] == ["past", "present"]
    assert len([text for text in found if "torn" in text]) == 1


def test_rotation_truncation_and_new_files_lose_nothing(
    settings: Settings, following: Callable[..., Follower]
) -> None:
    """A renamed file is read to its end and its successor from its start; a truncated one from its start."""
    append(settings, "a.jsonl", line(NOON, msg="old"))
    follower = following()
    append(settings, "a.jsonl", line(datetime.now(UTC), msg="before"))
    wait_for(follower, "before")
    append(settings, "a.jsonl", line(datetime.now(UTC), msg="last"))
    (settings.logs / "a.jsonl").rename(settings.logs / "a-20251123T100000.jsonl")
    append(settings, "a.jsonl", line(datetime.now(UTC), msg="first of the new"))
    wait_for(follower, "last", "first of the new")
    (settings.logs / "a.jsonl").write_text("")
    time.sleep(0.15)  # a truncation is seen at the next look
    append(settings, "a.jsonl", line(datetime.now(UTC), msg="after"))
    append(settings, "later.jsonl", line(datetime.now(UTC), msg="another service"))
    wait_for(follower, "after", "another service")
    assert sorted(told(follower)) == sorted(
        ["before", "last", "first of the new", "after", "another service"]
    )


def test_filters_hold_and_a_journal_that_writes_is_followed(
    settings: Settings, following: Callable[..., Follower]
) -> None:
    """Level and call filter what is followed; the writer is the real one."""
    sid = call_sid()
    write.setup("bridge", settings.logs)
    try:
        follower = following(Query(level="WARNING", call="CA"))
        log = write.logger("tests.follow")
        with write.bound(call_sid=sid):
            log.info("e", "too low")
            log.error("e", "bad")
        log.error("e", "of no call")
        log.warning("e", "of the call", call_sid=sid)
        wait_for(follower, "of the call")
    finally:
        write.close()
    assert told(follower) == ["bad", "of the call"]


def test_half_a_line_waits_for_the_other_half(settings: Settings) -> None:
    """A line is told when it is whole, once; a traceback when nothing more comes."""
    path = settings.logs / "a.out"
    tail = Tail(Source(path, "a", raw=True))
    try:
        _in_halves(path, tail)
    finally:
        tail.close()


def _in_halves(path: Path, tail: Tail) -> None:
    assert list(tail.new()) == []
    whole = line(NOON, msg="whole")
    with path.open("w") as file:
        file.write(whole[:20])
        file.flush()
        assert list(tail.new()) + list(tail.new()) == []
        file.write(whole[20:] + "Traceback (most recent call last):\n  File 'x'\n")
        file.flush()
        assert list(tail.new()) == []
        file.write("ValueError: y\n")
        file.flush()
        assert list(tail.new()) == []
        (record,) = tail.new()
    assert (record.msg, record.fields["exc_type"]) == ("whole", "ValueError")

"""The folders of past calls are bounded; that of a call that may still live is not touched."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from ops.apps.callbook import Callbook
from ops.apps.tickets import Terms
from ops.journal.past_calls import LOOK, Folder, Limits, may_live, surplus
from ops.journal.rotate import rotate
from tests.journal.conftest import NOON, call_sid

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
NONE = Limits(calls=0)  # keeps no call but a live one


def folder(logs: Path, age: timedelta, sid: str = "") -> Path:
    """A call's folder that was last written to so long before noon."""
    path = logs / "calls" / (sid or call_sid())
    path.mkdir(parents=True)
    at = (NOON - age).timestamp()
    for one in (path / "journal.jsonl", path / "call.wav"):
        one.write_text("{}\n")
        os.utime(one, (at, at))
    os.utime(path, (at, at))
    return path


def left(logs: Path) -> set[str]:
    return {path.name for path in (logs / "calls").iterdir() if not path.name.startswith(".")}


def told(rows: Iterable[str]) -> str:
    return "".join(json.dumps({"event": event}) + "\n" for event in rows)


@pytest.mark.parametrize(
    ("limits", "kept"),
    [(Limits(days=3), 3), (Limits(bytes=25), 2), (Limits(calls=4), 4), (Limits(), 5), (NONE, 0)],
)
def test_the_newest_stay_within_each_limit(limits: Limits, kept: int) -> None:
    """By days, by bytes in all, by number: what is beyond any of them goes, the oldest first."""
    folders = [Folder(Path(f"{n}"), 10, NOON - n * DAY - 2 * HOUR) for n in range(5)]
    assert surplus(reversed(folders), NOON, limits) == tuple(one.path for one in folders[kept:])


def test_what_was_written_to_just_now_stays(logs: Path) -> None:
    """Whoever follows a call may be about to write its report."""
    fresh, old = folder(logs, HOUR / 2), folder(logs, 2 * HOUR)
    (finding,) = rotate(logs, now=NOON, calls=NONE)
    assert left(logs) == {fresh.name}
    assert finding.evidence == {"remove-call": 1}
    assert not old.exists()


def test_a_call_that_has_not_ended_keeps_its_folder(logs: Path) -> None:
    """The bridge's own file of the call says so: also of one that came back after its end."""
    rows = {
        "live": ("began", "said"),
        "over": ("began", "ended"),
        "came back": ("began", "ended", "resumed"),
        "left again": ("began", "ended", "resumed", "ended"),
    }
    sids = {name: folder(logs, 5 * HOUR).name for name in rows}
    (logs / "run/calls").mkdir(parents=True)
    for name, events in rows.items():
        (logs / f"run/calls/{sids[name]}.jsonl").write_text(told(events))
    rotate(logs, now=NOON, calls=NONE)
    assert left(logs) == {sids["live"], sids["came back"]}


def test_it_reads_what_the_bridge_writes(logs: Path) -> None:
    """By the call book itself, also when somebody says the very words that it looks for."""
    sid, book = call_sid(), Callbook(logs / "run/calls")
    assert not may_live(logs, sid)
    book.add(sid, "began", Terms().to_json())
    book.add(sid, "said", {"entry": {"text": told(["ended"])}})
    book.close()
    assert may_live(logs, sid)
    book = Callbook(logs / "run/calls")
    book.add(sid, "ended", {"reason": "caller"})
    book.close()
    assert not may_live(logs, sid)


def test_only_folders_of_calls_and_not_all_the_time(logs: Path, tmp_path: Path) -> None:
    """What is no call's, and what a link leads to, stays; between two looks nothing is read."""
    first = folder(logs, DAY)
    mine, kept = folder(logs, DAY, "mine"), folder(tmp_path, DAY)
    linked = logs / "calls" / call_sid()
    linked.symlink_to(kept)
    (finding,) = rotate(logs, now=NOON, calls=NONE)
    assert finding.evidence == {"remove-call": 1}
    assert left(logs) == {mine.name, linked.name}
    assert kept.exists()
    assert not first.exists()
    second = folder(logs, DAY)
    rotate(logs, now=NOON, calls=NONE)
    assert second.exists()
    looked = logs / "calls/.looked"
    os.utime(looked, (looked.stat().st_atime, looked.stat().st_mtime - LOOK))
    rotate(logs, now=NOON, calls=NONE)
    assert not second.exists()
    third = folder(logs, DAY)
    rotate(logs, now=NOON, calls=NONE, force=True)
    assert not third.exists()

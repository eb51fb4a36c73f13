from __future__ import annotations

import gzip
import json
import os
import random
from datetime import timedelta
from pathlib import Path

import pytest

from ops.config import Settings
from ops.journal.collect import offset_of, read, run_started, sources, summary
from ops.journal.entry import json_line
from ops.journal.parse import relayed
from ops.journal.query import Query
from tests.journal.conftest import NOON, call_sid, canaries, line, traces


def texts(settings: Settings, query: Query = Query()) -> list[str]:  # noqa: B008
    return [entry.msg for entry in read(settings, query)]


def fill(path: Path, numbers: range, service: str, **fields: object) -> None:
    with path.open("a") as file:
        for n in numbers:
            file.write(line(NOON + timedelta(milliseconds=n), service, msg=f"m{n}", **fields))


def test_many_files_become_one_stream_in_order(settings: Settings) -> None:
    """Records of several services, in files nearly in order, come out in order of time, none lost."""
    rng = random.Random(7)
    for service, offset in (("a", 0), ("b", 1), ("c", 2)):
        numbers = list(range(offset, 3000, 3))
        numbers.sort(key=lambda n: n + rng.uniform(0, 100))
        path = settings.logs / f"{service}.jsonl"
        path.write_text(
            "".join(line(NOON + timedelta(milliseconds=n), service, msg=f"m{n}") for n in numbers)
        )
    assert texts(settings) == [f"m{n}" for n in range(3000)]


def test_archives_packed_or_not_come_before_the_live_file(settings: Settings) -> None:
    """What was rotated and packed is part of the story."""
    packed = settings.logs / "a-20251123T100000.jsonl.gz"
    with gzip.open(packed, "wt") as file:
        file.write(line(NOON, "a", msg="oldest"))
    fill(settings.logs / "a-20251123T110000.000001.jsonl", range(1, 2), "a")
    fill(settings.logs / "a.jsonl", range(2, 3), "a")
    assert texts(settings) == ["oldest", "m1", "m2"]


@pytest.mark.parametrize("damage", ["cut", "garbled", "no gzip"])
def test_a_damaged_archive_and_a_torn_tail_spoil_nothing_else(settings: Settings, damage: str) -> None:
    """An archive that cannot be read is named; NUL bytes and half a line cost nothing: all else is told."""
    whole = bytearray(gzip.compress(b"".join(line(NOON, "a", msg=call_sid()).encode() for _ in range(500))))
    if damage == "cut":
        del whole[-99:]
    elif damage == "garbled":
        whole[1000:1100] = b"\xff" * 100
    else:
        whole[:2] = b"no"
    (settings.logs / "a-20251123T100000.jsonl.gz").write_bytes(whole)
    (settings.logs / "b.jsonl").write_bytes(
        line(NOON, "b", msg="whole").encode() + b'{"ts":"2025-11-23T1' + b"\0" * 50
    )
    found = list(read(settings, Query()))
    assert [entry.msg for entry in found].count("whole") == 1
    (told,) = [entry for entry in found if entry.event == "journal.unreadable"]
    assert "a-20251123T100000.jsonl.gz" in told.msg
    assert found[-1] == told


def test_the_combined_log_and_other_files_are_no_sources(settings: Settings) -> None:
    """latest.log repeats what the services' files say, and is not read again; nor are other files."""
    fill(settings.logs / "a.jsonl", range(1), "a")
    (settings.logs / "latest.log").write_text("2025-11-23 12:00:00Z INFO a m0\n")
    (settings.logs / "notes.txt").write_text("x\n")
    assert [source.path.name for source in sources(settings.logs)] == ["a.jsonl"]


def test_the_raw_output_of_our_own_services_is_read_and_cleaned(settings: Settings) -> None:
    """A crash that only standard error knows is told, without the secrets that no sink has seen."""
    secret = canaries()["openai"]
    fill(settings.logs / "a.jsonl", range(1), "a")
    (settings.logs / "a.out").write_text(
        f"Traceback (most recent call last):\n  File 'x', key={secret}\nValueError: {secret}\n"
    )
    crash = list(read(settings, Query(level="ERROR")))
    assert [entry.fields["exc_type"] for entry in crash] == ["ValueError"]
    assert not [trace for trace in traces(secret) if trace in json_line(crash[0].to_dict())]


@pytest.mark.parametrize("rotated", [False, True])
def test_output_that_was_relayed_is_told_once(settings: Settings, rotated: bool) -> None:
    """A foreign service's lines are in its journal file already, also when that was rotated since."""
    told = json_line(relayed(b"listening", "node", NOON).to_dict()) + "\n"
    if rotated:
        (settings.logs / "node.jsonl").write_text("")
        (settings.logs / "node-20251123T100000.jsonl").write_text(told)
    else:
        (settings.logs / "node.jsonl").write_text(told)
    (settings.logs / "node.out").write_text("listening\n")
    assert texts(settings) == ["listening"]


def test_output_without_a_journal_is_read(settings: Settings) -> None:
    """A service whose output nobody relayed is told from its output."""
    (settings.logs / "node.out").write_text("listening\n")
    assert [(entry.service, entry.msg) for entry in read(settings, Query())] == [("node", "listening")]


def test_a_call_is_read_from_its_own_file(settings: Settings) -> None:
    """The full SID reads the call's folder alone; its beginning looks through everything."""
    sid = call_sid()
    fill(settings.logs / "a.jsonl", range(3), "a", call_sid=sid)
    fill(settings.logs / "a.jsonl", range(3, 9), "a", call_sid=call_sid())
    folder = settings.logs / "calls" / sid
    assert texts(settings, Query(call=sid)) == ["m0", "m1", "m2"]
    folder.mkdir(parents=True)
    fill(folder / "journal.jsonl", range(3), "a", call_sid=sid)
    assert [source.path.parent.name for source in sources(settings.logs, Query(call=sid))] == [sid]
    assert texts(settings, Query(call=sid)) == texts(settings, Query(call=sid[:12])) == ["m0", "m1", "m2"]


@pytest.mark.parametrize("pad", [0, 300])
def test_since_reads_only_the_end_of_a_long_file(settings: Settings, pad: int) -> None:
    """`since` finds its place by bisection: the answer is that of a full scan, the bytes read are few."""
    path = settings.logs / "a.jsonl"
    with path.open("w") as file:
        for n in range(9000):
            file.write(line(NOON + timedelta(seconds=n), "a", msg=f"m{n}", pad="x" * pad))
            if n % 50 == 0:
                file.write("a stray line without a time\n" * 20)
    size = path.stat().st_size
    for n in (0, 1, 4500, 8999, 9500):
        since = NOON + timedelta(seconds=n)
        with path.open("rb") as binary:
            at = offset_of(binary, since, size)
            binary.seek(max(0, at - 1))
            assert at == 0 or binary.read(1) == b"\n"
        found = [text for text in texts(settings, Query(since=since)) if text.startswith("m")]
        assert found == [f"m{k}" for k in range(n, 9000)]
        assert n < 8000 or size - at < 600_000


def test_filters_that_skip_unparsed_lines_find_the_same(settings: Settings) -> None:
    """The glance at a line's head and the full look agree, for level, time and call."""
    sid = call_sid()
    with (settings.logs / "a.jsonl").open("w") as file:
        for n in range(200):
            level = ["DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR"][n % 5]
            file.write(
                line(NOON + timedelta(seconds=n), "a", level, msg=f"m{n}", call_sid=sid if n % 2 else "")
            )
    everything = list(read(settings, Query()))
    span = (NOON + timedelta(seconds=20), NOON + timedelta(seconds=90))
    for query in (
        Query(level="SUCCESS"),
        Query(since=span[0], until=span[1]),
        Query(call=sid),
        Query(call=sid[:9]),
    ):
        assert list(read(settings, query)) == [entry for entry in everything if query.admits(entry)]


def test_an_old_file_is_not_opened_for_a_late_since(settings: Settings) -> None:
    """A file that was last written before the time asked for is left out."""
    fill(settings.logs / "a.jsonl", range(1), "a")
    os.utime(settings.logs / "a.jsonl", (1, 1))
    assert sources(settings.logs, Query(since=NOON)) == []


def test_no_logs_give_no_entries(settings: Settings) -> None:
    """An empty or missing logs folder is no error."""
    settings.logs.rmdir()
    assert texts(settings) == []
    findings, data = summary(settings, Query())
    assert (findings[0].status, data["records"]) == ("ok", 0)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"started": 5}', '{"started": "x"}'])
def test_no_run_when_its_file_is_missing_or_odd(settings: Settings, text: str) -> None:
    """`run` needs a state file that says when the stack was started; anything else is no run."""
    settings.run_dir.mkdir()
    (settings.run_dir / "stack.json").write_text(text)
    assert run_started(settings) is None
    (settings.run_dir / "stack.json").write_text(json.dumps({"started": NOON.isoformat()}))
    assert run_started(settings) == NOON

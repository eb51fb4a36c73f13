from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.journal.entry import LEVELS, Entry, json_line
from ops.journal.parse import bare, entries, entry, head, relayed, when
from tests.journal.conftest import NOON, call_sid, line


def one(text: str, start: datetime = NOON) -> Entry:
    return entry(text.encode(), "web", start)


def many(text: str) -> list[Entry]:
    return list(entries(text.encode().splitlines(keepends=True), "web", NOON))


def test_our_own_line_comes_back_as_it_was() -> None:
    """What the journal writes, it reads: fields called text, message or name stay fields."""
    fields = {"text": "hi", "message": "m", "name": "n", "turn": 1, "call_sid": call_sid()}
    written = Entry(NOON, "SUCCESS", "bridge", "transcript.agent", "", 7, "ops.x", fields)
    assert one(json_line(written.to_dict())) == written


AT = datetime(2025, 11, 23, 6, 20, 0, 123000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "ts", "level", "msg"),
    [
        ('{"level":30,"time":1763878800123,"msg":"pino","pid":3}', AT, "INFO", "pino"),
        ('{"lvl":"eror","t":"2025-11-23T06:20:00.123+00:00","msg":"ngrok"}', AT, "ERROR", "ngrok"),
        ('{"severity":"warn","timestamp":"2025-11-23T08:20:00.123+02:00","message":"x"}', AT, "WARNING", "x"),
        ('{"levelname":"CRITICAL","asctime":"2025-11-23 06:20:00,123","message":"py"}', AT, "ERROR", "py"),
        (
            't=2025-11-23T06:20:00.123Z lvl=info msg="started tunnel" obj=tunnels',
            AT,
            "INFO",
            "started tunnel",
        ),
        ("2025-11-23 06:20:00,123 ERROR it broke", AT, "ERROR", "ERROR it broke"),
        ("[2025-11-23T06:20:00.123Z] warn: slow", AT, "WARNING", "warn: slow"),
        ("\x1b[32minfo\x1b[39m: listening on 3000", NOON, "INFO", "info: listening on 3000"),
        ("Server listening on port 3000", NOON, "INFO", "Server listening on port 3000"),
        ("no errors today, information only", NOON, "INFO", "no errors today, information only"),
        ("TypeError: x is not a function", NOON, "ERROR", "TypeError: x is not a function"),
        ("x" * 60 + " 2025-11-23 06:20:00 too far right for a time", NOON, "INFO", None),
        (
            '{"ts":"2025-11-23T06:20:00.123456Z","level":"INFO","serv',
            AT.replace(microsecond=123456),
            "INFO",
            None,
        ),
        ("{not json}", NOON, "INFO", "{not json}"),
        ("a=b", NOON, "INFO", "a=b"),
        ('{"time":"never","level":"loud","message":{"a":1}}', NOON, "INFO", '{"a": 1}'),
    ],
)
def test_lines_of_other_programs_are_understood(text: str, ts: datetime, level: str, msg: str | None) -> None:
    """JSON with the usual names, logfmt and plain text give a time, a level and a text."""
    found = one(text)
    assert (found.ts, found.level) == (ts, level)
    assert msg is None or found.msg == msg


def test_a_call_named_in_the_text_is_the_records_call() -> None:
    """A foreign line that names exactly one call belongs to it; one that names two belongs to none."""
    sid, other = call_sid(), call_sid()
    assert one(f"Incoming call {sid} from +12025550123").call_sid == sid
    assert one(f"{sid} and {other}").call_sid is None


PYTHON = """starting up
Traceback (most recent call last):
  File "app.py", line 1, in <module>
    boom()

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "app.py", line 3, in <module>
ValueError: bad thing
"""


def test_a_traceback_belongs_to_the_record_above() -> None:
    """A traceback is no record of its own but the stack of the one above, which becomes an ERROR."""
    (found,) = many(PYTHON)
    assert (found.msg, found.level) == ("starting up", "ERROR")
    assert (found.fields["exc_type"], found.fields["exc_msg"]) == ("ValueError", "bad thing")
    assert found.fields["exc_stack"].startswith("Traceback")


def test_every_crash_of_a_restarted_program_is_told() -> None:
    """Two tracebacks one after the other are two errors, although nothing stands between them."""
    crash = "Traceback (most recent call last):\n  File 'x'\nOSError: port taken\n"
    found = many(crash + crash + "up\n")
    assert [(one.level, one.fields.get("exc_type")) for one in found] == [
        ("ERROR", "OSError"), ("ERROR", "OSError"), ("INFO", None),
    ]  # fmt: skip


def test_node_stacks_and_indented_lines_stay_with_their_record() -> None:
    """Node's `at …` lines follow their error; lines that are indented follow theirs."""
    failed, listing = many("Error: no such file\n    at open (fs.js:1)\n    at main\nrouts:\n  /a\n  /b\n")
    assert (failed.level, failed.fields["exc_type"], failed.fields["exc_msg"]) == (
        "ERROR",
        "Error",
        "no such file",
    )
    assert failed.fields["exc_stack"].count("at ") == 2
    assert (listing.level, listing.fields["exc_stack"]) == ("INFO", "  /a\n  /b")


def test_relayed_tracebacks_are_put_together_again() -> None:
    """Lines that a supervisor wrote one by one become one record again, at the time of the first."""
    lines = [
        json_line(relayed(text.encode(), "node", NOON + timedelta(seconds=n), 9).to_dict()).encode() + b"\n"
        for n, text in enumerate(PYTHON.splitlines())
        if text
    ]
    (found,) = entries(lines, "node", NOON)
    assert (found.ts, found.level, found.fields["exc_type"], found.pid) == (NOON, "ERROR", "ValueError", 9)


def test_a_line_without_a_time_has_that_of_the_line_before() -> None:
    """Only lines before any time get the time that the file was changed."""
    found = many("first\n2025-11-23T06:20:00.123Z timed\nafter\n")
    assert [one.ts for one in found] == [NOON, AT, AT]


def test_the_head_is_read_without_parsing() -> None:
    """Time and level of our own lines are seen in their first bytes; of others they are not guessed."""
    own = line(NOON, level="WARNING").encode()
    assert head(own) == (bare(NOON), "WARNING")
    assert head(b'{"level":"INFO","ts":"2025-11-23T06:20:00.123456Z"}') is None
    assert head(b"") is None
    assert when(own) == NOON


@given(st.binary(max_size=300))
def test_no_bytes_can_break_the_reader(data: bytes) -> None:
    """Garbage, cut UTF-8, NUL tails: every line gives a record with a known level, or nothing."""
    found = list(entries(data.split(b"\n"), "web", NOON))
    assert all(one.level in LEVELS and one.ts.tzinfo for one in found)


@given(
    st.dictionaries(
        st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.text(max_size=9), max_size=6
    )
)
def test_no_json_object_can_break_the_reader(record: dict[str, object]) -> None:
    """Any JSON object on a line, also with our own names and odd values, is a record."""
    import json

    odd = {"ts": None, "level": [], "service": 1, "pid": "x", "logger": None, "event": 2, "msg": 3}
    for one_record in (record, odd | record):
        found = one(json.dumps(one_record))
        assert found.level in LEVELS
        assert json_line(found.to_dict())

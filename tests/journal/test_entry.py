from __future__ import annotations

import json
from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.journal.entry import HEAD, MAX_LINE, Entry, human, json_line, level_name, plain, stamp, visible
from ops.journal.hops import Hop
from tests.journal.conftest import NOON, call_sid


def test_the_head_stands_first_and_no_field_replaces_it() -> None:
    """A record begins with the same seven names in the same order; a field of such a name gets another."""
    entry = Entry(NOON, "INFO", "web", "e", "text", 7, "ops.x", {"n": 1, "level": "odd", "ts": 5})
    record = json.loads(json_line(entry.to_dict()))
    assert tuple(record)[:7] == HEAD
    assert record["level"] == "INFO"
    assert (record["level_"], record["ts_"], record["n"]) == ("odd", 5, 1)


def test_times_are_utc_with_six_decimals() -> None:
    """A time of any zone is written in UTC with microseconds and Z."""
    east = NOON.astimezone(timezone(timedelta(hours=3)))
    assert stamp(east) == stamp(NOON) == "2025-11-23T12:00:00.000000Z"


@pytest.mark.parametrize(
    ("sid", "found"),
    [
        ("CA" + "0" * 32, True),
        ("CA" + "0" * 32 + "\n", False),
        ("../../CA", False),
        ("CA" + "G" * 32, False),
        (7, False),
    ],
)
def test_only_a_well_formed_sid_names_a_call(sid: object, found: bool) -> None:
    """Nothing but CA and 32 hexadecimal digits can become the name of a folder."""
    assert (Entry(NOON, "INFO", "web", fields={"call_sid": sid}).call_sid is not None) is found


@given(
    st.dictionaries(st.text(max_size=20), st.text(max_size=300) | st.integers() | st.floats(), max_size=5),
    st.text(),
)
def test_any_record_is_one_json_line(fields: dict[str, object], msg: str) -> None:
    """Whatever the fields hold, the record is one line of valid JSON that says the same."""
    entry = Entry(NOON, "INFO", "web", msg=msg, fields=plain(fields))
    line = json_line(entry.to_dict())
    assert len(line.encode().splitlines()) == 1
    assert json.loads(line)["msg"] == msg


@pytest.mark.parametrize(
    "big", [{"a": "x" * 200_000}, {f"k{n}": "ü" * 900 for n in range(200)}, {"l": list(range(90_000))}]
)
def test_a_long_record_is_cut_and_says_so(big: dict[str, object]) -> None:
    """One record is at most 64 KiB, for machines and for people; a cut one tells how long it was."""
    entry = Entry(NOON, "INFO", "web", "e", "short", fields=big)
    line = json_line(entry.to_dict())
    assert len(line.encode()) < MAX_LINE
    assert json.loads(line)["cut"] > MAX_LINE
    assert json.loads(line)["msg"] == "short"
    assert len(human(entry).encode()) < MAX_LINE


def test_nothing_a_terminal_would_obey_reaches_people() -> None:
    """Escapes, line breaks, bidirectional and zero-width marks are written out; in JSON they are escaped."""
    evil = "a\x1b[31m\r\n\x9b\u202e\u200b\u2028\ufeffz"
    entry = Entry(NOON, "ERROR", "web", "e", evil, fields={"f": evil, evil: 1})
    shown = human(entry)
    assert not set("\x1b\r\n\x9b\u202e\u200b\u2028\ufeff") & set(shown)
    assert "\\x1b[31m\\r\\n\\x9b\\u202e\\u200b\\u2028\\ufeff" in shown
    assert not set("\x1b\x9b\u202e\u200b\u2028\ufeff") & set(json_line(entry.to_dict()))
    assert visible("Größe – 5 µs …") == "Größe – 5 µs …"


def test_people_see_time_level_service_event_fields_and_call() -> None:
    """The line for people has all that matters, so that grep on a level or a call finds it."""
    sid = call_sid()
    entry = Entry(
        NOON, "SUCCESS", "web", Hop.ENDED, "bye", fields={"call_sid": sid, "reason": "hung up", "n": 2}
    )
    assert human(entry) == (
        f'2025-11-23 12:00:00.000Z SUCCESS web              call.ended bye reason="hung up" n=2 [{sid[:10]}]'
    )


def test_colour_and_stack_only_when_asked_for() -> None:
    """Colour marks the level alone; a traceback's lines are indented, so they pass for no record."""
    entry = Entry(NOON, "ERROR", "web", "e", "x", fields={"exc_stack": "Traceback\n  File\x1b[0m"})
    assert "\x1b" not in human(entry)
    assert human(entry, colour=True).count("\x1b") == 2
    assert human(entry, stack=True).splitlines()[1:] == ["    | Traceback", "    |   File\\x1b[0m"]


@pytest.mark.parametrize(
    ("number", "name"), [(5, "DEBUG"), (20, "INFO"), (25, "SUCCESS"), (29, "SUCCESS"), (50, "ERROR")]
)
def test_levels_of_logging_become_the_journals_five(number: int, name: str) -> None:
    """A level between two of ours counts as the lower one."""
    assert level_name(number) == name


def test_values_that_json_does_not_know_become_text() -> None:
    """Not-a-number, paths, enums, deep nests: all are written, none raises."""
    deep: list[object] = []
    deep.append(deep)
    shown = plain({"nan": float("nan"), "hop": Hop.ENDED, "set": {1}, "bytes": b"x", 1: deep, "ok": True})
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    assert (shown["nan"], shown["hop"], shown["set"], shown["ok"]) == ("nan", "call.ended", [1], True)

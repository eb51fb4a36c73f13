from __future__ import annotations

from datetime import timedelta

import pytest

from ops.errors import OpsError
from ops.journal.entry import Entry
from ops.journal.query import Query, query
from tests.journal.conftest import NOON, call_sid


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOON - timedelta(seconds=90)),
        ("5m", NOON - timedelta(minutes=5)),
        ("1.5h", NOON - timedelta(minutes=90)),
        ("2d", NOON - timedelta(days=2)),
        ("11:59", NOON - timedelta(minutes=1)),
        ("12:01", NOON - timedelta(days=1) + timedelta(minutes=1)),
        ("2025-11-23T11:00:00Z", NOON - timedelta(hours=1)),
        ("2025-11-23 11:00", NOON - timedelta(hours=1)),
        ("2025-11-23T13:00:00+02:00", NOON - timedelta(hours=1)),
        ("run", NOON - timedelta(minutes=7)),
    ],
)
def test_times_as_people_write_them(text: str, expected: object) -> None:
    """Ago, a clock time (of yesterday if it is still to come), ISO, and the start of this run."""
    assert query(now=NOON, run=NOON - timedelta(minutes=7), since=text).since == expected


@pytest.mark.parametrize(
    "words",
    [
        {"since": "soon"}, {"since": "25:00"}, {"since": "99999999999d"}, {"since": "run"},
        {"level": "LOUD"}, {"call": "MZ12"}, {"call": "../x"}, {"grep": "("},
    ],
)  # fmt: skip
def test_a_word_that_is_not_understood_says_what_was_expected(words: dict[str, str]) -> None:
    """No traceback for a mistyped option: what was expected, what came, what to do."""
    with pytest.raises(OpsError) as caught:
        query(now=NOON, **words)  # type: ignore[arg-type]
    assert caught.value.fix


SID = call_sid()
ENTRY = Entry(
    NOON,
    "WARNING",
    "web",
    "door.refused",
    "bad signature",
    fields={"call_sid": SID, "peer": "10.0.0.1", "stream_sid": "MZ77"},
)


@pytest.mark.parametrize(
    ("asked", "admitted"),
    [
        (Query(), True),
        (Query(level="WARNING"), True),
        (Query(level="ERROR"), False),
        (Query(services=("web", "x")), True),
        (Query(services=("x",)), False),
        (Query(call=SID), True),
        (Query(call=SID[:6]), True),
        (Query(call=call_sid()), False),
        (Query(since=NOON, until=NOON), True),
        (Query(since=NOON + timedelta(microseconds=1)), False),
        (Query(until=NOON - timedelta(microseconds=1)), False),
        (query(now=NOON, grep="refused.*10.0"), True),
        (query(now=NOON, grep="REFUSED"), False),
        (query(now=NOON, grep=SID[-8:]), True),
        (query(now=NOON, grep="MZ77"), True),
    ],
)
def test_each_filter_admits_what_it_says(asked: Query, admitted: bool) -> None:
    """Level at least, services, call or its beginning, time, and what the shown text contains."""
    assert asked.admits(ENTRY) is admitted

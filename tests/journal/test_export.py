from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from ops.errors import OpsError
from ops.journal.entry import Entry
from ops.journal.export import FORMATS, lines, otlp, save
from tests.journal.conftest import NOON, call_sid, canaries, disguises

SID = call_sid()
ENTRY = Entry(
    NOON,
    "SUCCESS",
    "bridge",
    "call.ended",
    'said "bye", ü',
    7,
    "ops.x",
    {"call_sid": SID, "turns": 3, "ok": True},
)


def test_json_and_csv_say_the_same() -> None:
    """Each format holds every field of every record."""
    (text,) = lines([ENTRY], "json")
    assert json.loads(text) == ENTRY.to_dict()
    rows = list(csv.DictReader(io.StringIO("".join(lines([ENTRY, ENTRY], "csv")))))
    assert len(rows) == 2
    assert (rows[0]["msg"], rows[0]["call_sid"], rows[0]["level"]) == (ENTRY.msg, SID, "SUCCESS")
    assert json.loads(rows[0]["fields"]) == {"turns": 3, "ok": True}


def test_otlp_follows_the_log_data_model() -> None:
    """Names, numbers and types are those of OTLP/JSON: SUCCESS is INFO2 (10), 64-bit numbers are texts."""
    (text,) = lines([ENTRY], "otlp")
    resource = json.loads(text)["resourceLogs"][0]
    assert resource["resource"]["attributes"][0] == {
        "key": "service.name",
        "value": {"stringValue": "bridge"},
    }
    record = resource["scopeLogs"][0]["logRecords"][0]
    assert record["timeUnixNano"] == str(int(NOON.timestamp()) * 10**9)
    assert (record["severityNumber"], record["severityText"], record["eventName"]) == (
        10,
        "SUCCESS",
        "call.ended",
    )
    assert record["attributes"] == [
        {"key": "twilio.call_sid", "value": {"stringValue": SID}},
        {"key": "turns", "value": {"intValue": "3"}},
        {"key": "ok", "value": {"boolValue": True}},
    ]
    assert otlp(ENTRY) == json.loads(text)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", ["twilio", "openai", "ngrok", "odd"])
def test_an_export_with_a_secret_is_refused_and_leaves_no_file(
    tmp_path: Path, format: str, kind: str
) -> None:
    """The second scan: a record that holds a secret in any disguise stops the export, and nothing is left."""
    secret = canaries()[kind]
    for text in disguises(secret):
        bad = Entry(NOON, "INFO", "bridge", msg="ok", fields={"deep": [{"er": text}]})
        with pytest.raises(OpsError, match="holds a secret"):
            save(tmp_path / "out", [ENTRY, bad], format, [secret])
        assert list(tmp_path.iterdir()) == []


def test_a_clean_export_is_private_and_whole(tmp_path: Path) -> None:
    """The file appears complete, readable by its owner alone."""
    assert save(tmp_path / "out.jsonl", [ENTRY] * 3, "json", ["another secret"]) == 3
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_spreadsheet_takes_no_text_for_a_formula() -> None:
    """A caller's words that begin like a formula are marked as text."""
    text = "".join(lines([Entry(NOON, "INFO", "bridge", msg="=HYPERLINK(1)")], "csv"))
    assert ",'=HYPERLINK(1)," in text


def test_bad_words_are_refused_with_a_fix(tmp_path: Path) -> None:
    """An unknown format and a place that cannot be written say what to do."""
    with pytest.raises(OpsError, match="Expected a format"):
        list(lines([], "xml"))
    with pytest.raises(OpsError, match="cannot be written"):
        save(tmp_path / "none" / "out", [ENTRY], "json")

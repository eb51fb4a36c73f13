from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ops.apps.overview import ERRORS, Overview
from ops.config import Settings

BEGAN = datetime(2026, 11, 23, 6, 20, tzinfo=UTC)


def record(ms: int, event: str, level: str = "INFO", **fields: Any) -> str:
    ts = (BEGAN + timedelta(milliseconds=ms)).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    head = {"ts": ts, "level": level, "service": "websocket-server", "pid": 1, "logger": "x", "event": event}
    return json.dumps({**head, "msg": fields.pop("msg", ""), **fields}) + "\n"


def call_folder(root: Path) -> Path:
    folder = root / "logs" / "calls" / ("CA" + secrets.token_hex(16))
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def settings(root: Path) -> Settings:
    return Settings.load(root, {"WEBSOCKET_PORT": "18081", "WEBAPP_PORT": "13000"}, files=False)


def looked(
    overview: Overview, *, times: int = 2, now: float = BEGAN.timestamp(), **health: Any
) -> dict[str, Any]:
    """What a look shows; a record counts as complete at the look after the one that read it."""
    for _ in range(times):
        found = overview.look({18081: health}, now)
    return found


def test_a_call_is_told_while_it_goes_on(settings: Settings) -> None:
    """Hops, words, turns and troubles, with milliseconds since its first record."""
    folder = call_folder(settings.root)
    journal = folder / "journal.jsonl"
    overview = Overview(settings)
    journal.write_text(record(0, "stream.started") + record(900, "transcript.caller", text="Hello?"))
    (call,) = looked(overview)["calls"]
    assert (call["call_sid"], call["live"], call["reason"]) == (folder.name, True, None)
    assert call["hops"] == [{"at_ms": 0, "name": "stream.started"}]
    assert call["said"] == [{"at_ms": 900, "speaker": "caller", "text": "Hello?"}]
    with journal.open("a") as file:
        file.write(record(1500, "turn.answered", turn=0, latency_ms=600, barge_in=True))
        file.write(record(1600, "model.retry", "WARNING", msg="again"))
        file.write(record(2000, "call.ended", "SUCCESS", reason="the caller hung up"))
    (call,) = looked(overview)["calls"]
    overview.close()
    assert call["turns"] == [{"at_ms": 1500, "turn": 0, "latency_ms": 600, "barge_in": True}]
    assert call["troubles"] == [{"at_ms": 1600, "level": "WARNING", "text": "again"}]
    assert (call["live"], call["reason"], call["seconds"]) == (False, "the caller hung up", 2.0)


def test_a_call_that_fell_silent_without_an_end_is_over_unless_the_bridge_holds_it(
    settings: Settings,
) -> None:
    """A bridge that died wrote no end; a caller who listens causes no records."""
    folder = call_folder(settings.root)
    (folder / "journal.jsonl").write_text(record(0, "stream.started"))
    overview = Overview(settings)
    later = BEGAN.timestamp() + 60
    assert not looked(overview, now=later)["calls"][0]["live"]
    assert looked(overview, now=later, calls=[{"call_sid": folder.name}])["calls"][0]["live"]
    overview.close()


def test_a_sid_from_the_bridge_that_is_no_sid_is_not_a_path(settings: Settings) -> None:
    """Whoever answers on the port, no other folder is read."""
    elsewhere = settings.root / "elsewhere"
    elsewhere.mkdir()
    (settings.logs / "calls").mkdir()
    (elsewhere / "journal.jsonl").write_text(record(0, "stream.started"))
    overview = Overview(settings)
    assert looked(overview, calls=[{"call_sid": "../../elsewhere"}, {}])["calls"] == []
    overview.close()


def test_the_stack_is_told_without_its_token(settings: Settings) -> None:
    """Only named fields of the state file are shown."""
    token = secrets.token_hex(16)
    service = {
        "name": "ngrok",
        "state": "ready",
        "port": 4040,
        "env": {"SECRET": token},
        "last_lines": [token],
    }
    state = {"token": token, "mode": "start", "vendors": {"twilio": "live"}, "services": [service]}
    settings.run_dir.mkdir()
    (settings.run_dir / "stack.json").write_text(json.dumps(state))
    overview = Overview(settings)
    found = looked(overview)
    overview.close()
    assert token not in json.dumps(found)
    assert found["stack"]["vendors"] == {"twilio": "live", "openai": "unknown", "ngrok": "unknown"}
    assert [(one["name"], one["state"]) for one in found["stack"]["services"]] == [("ngrok", "ready")]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"services": 5}', '{"services": [7]}', '{"vendors": []}', "\x00"]
)
def test_a_damaged_state_file_is_as_good_as_none(settings: Settings, text: str) -> None:
    """The page then shows the two services it knows, and what their ports answer."""
    settings.run_dir.mkdir()
    (settings.run_dir / "stack.json").write_text(text)
    overview = Overview(settings)
    services = looked(overview, answers=True)["stack"]["services"]
    overview.close()
    assert [(one["name"], one["health"]["answers"]) for one in services] == [
        ("websocket-server", True),
        ("webapp", None),
    ]


def test_the_last_errors_come_first(settings: Settings) -> None:
    """Errors of all services by time, newest first, not more than fit; other levels are left out."""
    rows = [record(n, f"broke.{n}", "ERROR", msg="x") for n in range(ERRORS + 5)]
    (settings.logs / "websocket-server.jsonl").write_text("".join(rows) + record(9999, "fine"))
    overview = Overview(settings)
    errors = looked(overview)["errors"]
    overview.close()
    assert [one["event"] for one in errors] == [f"broke.{n}" for n in range(ERRORS + 4, 4, -1)]


@pytest.mark.parametrize(
    "text", ["{}", "nonsense", '{"turns": [1, {}], "findings": [{"status": "fail"}], "vendors": []}']
)
def test_a_damaged_report_is_told_as_what_it_is(settings: Settings, text: str) -> None:
    """One bad file does not take the page down."""
    (call_folder(settings.root) / "report.json").write_text(text)
    overview = Overview(settings)
    (report,) = looked(overview)["reports"]
    overview.close()
    assert report["verdict"] == "unreadable"


def test_a_report_is_read_again_when_it_changed(settings: Settings) -> None:
    """Its verdict, turns and files; the checklist knows that a call has passed."""
    folder = call_folder(settings.root)
    overview = Overview(settings)
    (folder / "report.json").write_text('{"verdict": "failed"}')
    assert looked(overview)["reports"][0]["verdict"] == "failed"
    (folder / "report.json").write_text('{"verdict": "ok", "turns": [{"latency_ms": 700}]}')
    (folder / "call.wav").write_bytes(b"RIFF")
    found = looked(overview)
    overview.close()
    (report,) = found["reports"]
    assert (report["verdict"], report["slowest_ms"], report["files"]) == ("ok", 700, ["call.wav"])
    assert next(step["done"] for step in found["steps"] if "test call" in step["what"])

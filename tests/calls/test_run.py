from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops.calls.place import Progress
from ops.calls.run import run
from ops.errors import OpsError, Unreachable
from tests.calls import histories
from tests.calls.sound import silence, tone, wav
from tests.calls.stand_in import StandIn, serving, settings_for


def test_a_good_call_passes_and_leaves_its_report(root: Path) -> None:
    """Verdict ok, the data that the contract names, and files that exist."""
    stand_in = StandIn(root / "logs", histories.good())
    stand_in.wav = wav(tone(1.0), tone(1.0))
    seen: list[Progress] = []
    with serving(stand_in) as address:
        outcome = run(settings_for(root, address), progress=seen.append)
    assert [one.id for one in outcome.findings if one.status != "ok"] == []
    data = outcome.data
    assert data["verdict"] == "ok"
    assert data["call_sid"] == stand_in.sid
    assert {hop["status"] for hop in data["hops"]} == {"ok"}
    assert [turn["index"] for turn in data["turns"]] == [1, 2, 3]
    assert sum(turn["barge_in"] for turn in data["turns"]) == 1
    assert data["audio"]["agent_dbfs"] == pytest.approx(-13.5, abs=0.1)
    assert set(data["files"]) == {"report.html", "report.json", "call.wav", "journal.jsonl"}
    assert all(Path(path).is_file() for path in data["files"].values())
    document = json.loads(Path(data["files"]["report.json"]).read_text())
    assert document["verdict"] == "ok"
    assert document["vendors"]["twilio"] == "simulated"
    paths = [path for _, path, _ in stand_in.asked]
    assert paths.index("/_sim/phones/%2B12025550199") < next(
        n for n, path in enumerate(paths) if "Calls" in path
    )


def test_a_silent_agent_fails_the_call(root: Path) -> None:
    """All hops may be good and the caller hears nothing all the same."""
    stand_in = StandIn(root / "logs", histories.good())
    stand_in.wav = wav(tone(1.0), silence(1.0))
    with serving(stand_in) as address:
        outcome = run(settings_for(root, address))
    assert [one.id for one in outcome.findings if one.status == "fail"] == ["call.audio"]
    assert outcome.data["verdict"] == "failed"


def test_a_bridge_that_records_nothing_is_helped_out_by_the_phone(root: Path) -> None:
    """The simulated phone's own recording stands in; a user's own bridge may write none."""
    stand_in = StandIn(root / "logs", histories.good())
    stand_in.phone_wav = wav(tone(1.0), tone(1.0))
    with serving(stand_in) as address:
        outcome = run(settings_for(root, address))
    assert outcome.data["verdict"] == "ok"
    assert Path(outcome.data["files"]["call.wav"]).read_bytes() == stand_in.phone_wav


def test_the_phones_undone_step_and_a_fault_are_told(root: Path) -> None:
    """A fault that was ordered shows in the progress, what came of it in the findings."""
    stand_in = StandIn(root / "logs", histories.good())
    stand_in.wav = wav(tone(1.0), tone(1.0))
    stand_in.view["steps"] = [{"do": "listen", "done": False}]
    seen: list[Progress] = []
    with serving(stand_in) as address:
        outcome = run(settings_for(root, address), fault="drop-frames", progress=seen.append)
    assert seen[0].kind == "note"
    assert "drop-frames" in seen[0].text
    assert [method for method, path, _ in stand_in.asked if path == "/_sim/faults"] == [
        "POST",
        "DELETE",
        "POST",
    ]
    assert [one.id for one in outcome.findings if one.status == "fail"] == ["call.phone-step"]


def test_a_bad_scenario_rings_nobody(root: Path) -> None:
    """The file is read before anything is asked."""
    stand_in = StandIn(root / "logs", [])
    with serving(stand_in) as address, pytest.raises(OpsError):
        run(settings_for(root, address), scenario="none.toml")
    assert stand_in.asked == []


def test_a_stack_that_does_not_run_is_told_at_once(root: Path) -> None:
    """Nothing listens where the phone is simulated: the fix is to start the stack."""
    with pytest.raises(Unreachable, match="inv start"):
        run(settings_for(root, "http://127.0.0.1:9"))

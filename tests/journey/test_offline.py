"""The whole main job from a real command line, offline: start, validate, call, logs, cleanup."""

from __future__ import annotations

import json
import socket
import wave
from pathlib import Path

import psutil

from ops.config import Settings
from tests.conftest import Project


def test_a_call_goes_through(project: Project) -> None:
    """One chain of commands: every hop passed, three turns, one of them a barge-in, and nothing is left behind."""
    done = project.inv("start", "validate", "call", "--json", "logs", "--json", "cleanup", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    documents = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    call = next(document for document in documents if document.get("task") == "call")
    cleanup = next(document for document in documents if document.get("task") == "cleanup")
    records = [document for document in documents if "event" in document]

    assert call["vendors"] == {"twilio": "simulated", "openai": "simulated", "ngrok": "simulated"}
    data = call["data"]
    assert data["verdict"] == "ok"
    assert [hop["status"] for hop in data["hops"]] == ["ok"] * len(data["hops"])
    assert {
        "webhook.received",
        "stream.started",
        "model.ready",
        "barge-in.cleared",
        "barge-in.truncated",
    } <= {hop["name"] for hop in data["hops"]}
    assert len(data["turns"]) >= 3
    assert sum(turn["barge_in"] for turn in data["turns"]) == 1
    assert all(isinstance(turn["latency_ms"], int | float) for turn in data["turns"])
    assert -40 < data["audio"]["caller_dbfs"] < 0
    assert -40 < data["audio"]["agent_dbfs"] < 0
    files = {name: Path(path) for name, path in data["files"].items()}
    assert {"report.html", "report.json", "call.wav"} <= set(files)
    with wave.open(str(files["call.wav"])) as recording:
        assert recording.getnchannels() == 2
        assert recording.getnframes() / recording.getframerate() > 8
    assert json.loads(files["report.json"].read_text())["call_sid"] == data["call_sid"]

    stamps = [record["ts"] for record in records]
    assert stamps == sorted(stamps)
    assert {"websocket-server", "openai-simulator", "supervisor"} <= {record["service"] for record in records}

    assert cleanup["data"]["left"] == []
    assert all(row["gone"] for row in cleanup["data"]["receipt"])
    for port in (
        project.environ["WEBSOCKET_PORT"],
        project.environ["WEBAPP_PORT"],
        project.environ["NGROK_PORT"],
    ):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(port))) != 0
    assert not [one for one in psutil.process_iter(["cwd"]) if one.info["cwd"] == str(project.root)]


def _no_secret_shows(project: Project, said: str) -> None:
    """No credential stands in any output, log, report or recording of the run; run files are their owner's alone."""
    secrets = Settings.load(project.root, project.environ).secrets
    assert secrets
    for path in (project.root / "logs").rglob("*"):
        if path.is_file() and "run" in path.relative_to(project.root / "logs").parts:
            assert path.stat().st_mode & 0o077 == 0, path
        elif path.is_file():
            said += path.read_text("utf-8", "replace")
    assert not [secret for secret in secrets if secret in said]


def test_a_hop_that_is_missing_is_named(project: Project) -> None:
    """When the model refuses the key the call fails with exit 3, and the finding names the hop that did not come."""
    assert project.inv("start").returncode == 0
    document = project.json("call", "--fault", "invalid-key")
    assert document["exit_code"] == 3
    assert document["data"]["verdict"] == "failed"
    failed = [finding for finding in document["findings"] if finding["status"] == "fail"]
    assert any("model.ready" in finding["summary"] + finding["id"] for finding in failed), failed
    assert all(finding["fix"] for finding in failed)


def test_workers_belong_to_their_service(project: Project) -> None:
    """With several processes that carry calls, `status` finds nothing wrong, also when one was killed, and
    `cleanup` ends them with their service: nothing is left."""
    environ = {"WEBSOCKET_WORKERS": "2"}
    assert project.inv("start", **environ).returncode == 0
    keeper = next(
        row["pid"]
        for row in project.json("status", **environ)["data"]["services"]
        if row["name"] == "websocket-server"
    )
    (bridge,) = psutil.Process(keeper).children()
    first, second = bridge.children()
    first.kill()
    psutil.wait_procs([first], 5)
    status = project.json("status", **environ)
    assert status["exit_code"] == 0, status["findings"]
    cleanup = project.json("cleanup", **environ)
    assert cleanup["data"]["left"] == []
    ended = {row["pid"]: row["name"] for row in cleanup["data"]["receipt"]}
    assert ended[second.pid] == ended[bridge.pid] == "websocket-server"
    assert not second.is_running()

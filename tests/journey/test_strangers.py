"""Other people's bridges, called through the simulators from a real command line, held and judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values

from tests.conftest import Project, project_in
from tests.journey import strangers

Ports = Callable[[int], list[int]]
SCRIPTS: dict[str, Any] = {
    "two turns, one of them an interruption": [
        {"do": "stream"}, {"do": "say", "line": "caller-price"}, {"do": "hear", "ms": 700},
        {"do": "say", "line": "caller-book"}, {"do": "listen", "timeout_ms": 4000}, {"do": "hang-up"},
    ],
    "an interruption": [
        {"do": "stream"}, {"do": "say", "line": "caller-price"}, {"do": "hear", "ms": 700},
        {"do": "say", "line": "caller-book"}, {"do": "pause", "ms": 1600}, {"do": "hang-up"},
    ],
    "one question": [
        {"do": "stream"}, {"do": "say", "line": "caller-hours"}, {"do": "listen", "timeout_ms": 1500}, {"do": "hang-up"},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory, free_ports: Ports) -> Iterator[Project]:
    """A project in which the simulators run alone."""
    with project_in(tmp_path_factory.mktemp("strangers"), free_ports(3)) as project:
        assert project.inv("simulate", "--only", "twilio,openai").returncode == 0
        yield project


@pytest.fixture(scope="module")
def env(simulated: Project) -> dict[str, str]:
    """What a stranger's bridge is started with."""
    values = dotenv_values(simulated.root / "logs/run/simulated.env")
    return {name: text for name, text in values.items() if text is not None}


def called(project: Project, webhook: str, script: str, **expect: int) -> dict[str, Any]:
    file = project.root / "scenario.json"
    file.write_text(json.dumps({"name": script, "steps": SCRIPTS[script], "expect": expect}))
    return project.json("call", "--webhook", webhook, "--scenario", "scenario.json")


def failures(document: dict[str, Any]) -> dict[str, str]:
    return {one["id"]: one["summary"] for one in document["findings"] if one["status"] == "fail"}


def test_a_script_of_somebody_holds_the_whole_conversation(
    simulated: Project, env: dict[str, str], free_ports: Ports
) -> None:
    """Own HTTP, a global upstream, no marks: three turns with an interruption, every hop seen from outside."""
    with strangers.script(env, *free_ports(2)) as webhook:
        document = simulated.json("call", "--webhook", webhook)
    assert document["exit_code"] == 0, document["findings"]
    data = document["data"]
    assert data["verdict"] == "ok"
    assert [hop["status"] for hop in data["hops"]] == ["ok"] * len(data["hops"])
    assert {"webhook.answered", "stream.started", "model.ready", "barge-in.cleared"} <= {
        h["name"] for h in data["hops"]
    }
    assert [turn["barge_in"] for turn in data["turns"]] == [False, False, True]
    assert all(300 < turn["latency_ms"] < 1800 for turn in data["turns"])
    assert data["audio"]["caller_dbfs"] > -40
    assert data["audio"]["agent_dbfs"] > -40
    assert all(
        Path(data["files"][name]).stat().st_size for name in ("report.html", "report.json", "call.wav")
    )
    said = [one["text"] for one in data["transcript"] if one["speaker"] == "agent"]
    assert said[:2] == ["Hello! How can I help?", "Yes, from nine to five."]
    warned = [one["id"] for one in document["findings"] if one["status"] == "warn"]
    assert warned == ["call.model-truncate"]  # it clears the phone, and never tells the model


def test_an_application_of_somebody_checks_signatures_and_truncates(
    simulated: Project, env: dict[str, str], free_ports: Ports
) -> None:
    """Behind an imagined TLS it writes wss://, signed as it reads it; nothing is left to remark."""
    with strangers.application(env, *free_ports(1)) as webhook:
        document = called(simulated, webhook, "two turns, one of them an interruption", turns=2, barge_ins=1)
    assert not failures(document)
    assert {one["status"] for one in document["findings"]} == {"ok"}
    assert [turn["barge_in"] for turn in document["data"]["turns"]] == [False, True]


def test_an_agent_that_speaks_on_is_found_out(
    simulated: Project, env: dict[str, str], free_ports: Ports
) -> None:
    """No `clear` on an interruption: the verdict is failed, and the finding says what to send."""
    with strangers.application(env, *free_ports(1), clears=False) as webhook:
        document = called(simulated, webhook, "an interruption", turns=1, barge_ins=1)
    assert document["exit_code"] == 3
    assert document["data"]["verdict"] == "failed"
    assert set(failures(document)) == {"call.hop.barge-in.cleared", "call.turns"}
    assert "spoke on" in failures(document)["call.hop.barge-in.cleared"]


def test_a_beta_session_is_named(simulated: Project, env: dict[str, str], free_ports: Ports) -> None:
    """The shape of the beta API: the model's own words, its close code, and the shape to send instead."""
    with strangers.application(env, *free_ports(1), beta=True) as webhook:
        document = called(simulated, webhook, "one question", turns=1)
    assert document["exit_code"] == 3
    told = failures(document)
    assert "4000" in told["call.model-beta_api_shape_disabled"]
    assert "call.hop.agent.first-audio" in told or "call.hop.model.ready" in told


def test_a_bridge_that_does_not_run(simulated: Project, free_ports: Ports) -> None:
    """Nobody at the webhook: one missing hop, Twilio's number, and no guesses about the model."""
    [port] = free_ports(1)
    document = simulated.json("call", "--webhook", f"http://127.0.0.1:{port}/voice")
    assert document["exit_code"] == 3
    assert set(failures(document)) == {"call.hop.webhook.received", "call.twilio-11202"}


def test_what_is_no_address_rings_nobody(simulated: Project) -> None:
    """A webhook that cannot be one is refused with an example."""
    document = simulated.json("call", "--webhook", "ftp://x")
    assert document["exit_code"] == 3
    [finding] = document["findings"]
    assert "http://127.0.0.1:5000/incoming-call" in finding["fix"]

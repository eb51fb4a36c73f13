"""A second protocol of a speaking model is one thing with the names of `Dialect`: a whole call is had over a toy."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ops.apps.actions import Action, Agent, Note, OpenModel, RunTool, ToModel, ToPhone
from ops.apps.session import Session
from ops.net.retry import Policy
from ops.vendors.openai import events
from ops.vendors.twilio import wire as phone

APPS = Path(__file__).parents[2] / "ops/apps"
START = phone.Start("MZ" + "0" * 32, "CA" + "0" * 32, "AC" + "0" * 32, "audio/x-mulaw", 8000, {})
FRAME = base64.b64encode(b"\x50" * 160).decode()
SOUND = base64.b64encode(bytes(range(0x20, 0x70)) * 20).decode()  # 200 ms


class Words:
    """Events and commands as one line each: a verb, a tab, JSON. Nothing in it is like the Realtime protocol."""

    FORMAT = "ulaw"
    SILENCE_MS = 200
    PADDING_MS = 0

    def address(self, url: str, model: str, key: str) -> tuple[str, dict[str, str]]:
        return f"{url}/{model}", {"X-Key": key}

    def final(self, code: int | None, cause: str) -> bool:
        return code == 402 or "never" in cause

    def decode(self, text: str | bytes) -> events.Event:
        verb, _, told = str(text).partition("\t")
        kinds: dict[str, type[Any]] = {
            "HELLO": events.Created, "GO": events.Ready, "TALKS": events.SpeechStarted, "RESTS": events.SpeechStopped,
            "TURN": events.ResponseCreated, "SOUND": events.Audio, "TEXT": events.Transcript, "DO": events.ToolCall,
            "END": events.ResponseDone,
        }  # fmt: skip
        if verb not in kinds:
            return events.Garbage(f"expected a verb, got {verb}")
        found: events.Event = kinds[verb](*json.loads(told))
        return found

    def configure(
        self, *, instructions: str, voice: str, transcription: str, tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        return f"BE\t{instructions}"

    def probe(self) -> str:
        return "HEARS?"

    def append(self, payload: str) -> str:
        return f"HEAR\t{payload}"

    def answer(self, instructions: str | None = None) -> str:
        return f"SPEAK\t{instructions}"

    def truncate(self, item_id: str, heard_ms: int) -> str:
        return f"CUT\t{item_id} {heard_ms}"

    def message(self, role: str, text: str) -> str:
        return f"SAID\t{role}: {text}"

    def tool_call(self, call_id: str, name: str, arguments: str) -> str:
        return f"DID\t{name}"

    def tool_output(self, call_id: str, output: str) -> str:
        return f"GAVE\t{output}"


def told(actions: list[Action]) -> list[str]:
    """What went to the model."""
    return [action.text for action in actions if isinstance(action, ToModel)]


def test_a_call_is_had_over_a_second_dialect() -> None:
    """Set up, hear, speak, measure, be interrupted, call a tool, be lost and told everything again."""
    toy = Words()
    one = Session(START, Agent("kind", "v", "t"), 0.0, dialect=toy, policy=Policy(limit=3, first=0.2))

    def model(line: str, now: float) -> list[Action]:
        return one.on_model(toy.decode(line), now)

    one.begin()
    assert told(model('HELLO\t["s", "m"]', 0.0)) == ["BE\tkind"]
    assert told(model('GO\t["ulaw", "ulaw"]', 0.1)) == ["SPEAK\tNone"]
    assert told(one.on_phone(phone.Media(FRAME, 0), 0.2)) == [f"HEAR\t{FRAME}"]
    model('TALKS\t[1000, "u1"]', 1.0)
    model('RESTS\t[2200, "u1"]', 2.2)  # the last voiced sample was at 2.0 s: this dialect waits for 0.2 s
    model('TEXT\t["caller", "u1", "Open?"]', 2.3)
    model('TURN\t["r1"]', 2.4)
    spoken = model(f'SOUND\t["r1", "a1", "{SOUND}"]', 2.5)
    assert any(isinstance(action, ToPhone) for action in spoken)
    answered = next(a for a in spoken if isinstance(a, Note) and "latency_ms" in a.fields)
    assert answered.fields["latency_ms"] == 500
    model(f'SOUND\t["r1", "a1", "{SOUND}"]', 2.5)
    model('TEXT\t["agent", "a1", "Yes we are."]', 2.55)
    assert [line[:7] for line in told(model('TALKS\t[2600, "u2"]', 2.6))] == ["CUT\ta1 "]
    model('END\t["r1", "cancelled"]', 2.6)
    model('RESTS\t[2650, "u2"]', 2.65)
    asked = model('DO\t["c1", "book", "{}"]', 2.7)
    assert any(isinstance(action, RunTool) for action in asked)
    assert told(one.tool_done("c1", "done", 2.8)) == ["GAVE\tdone", "SPEAK\tNone"]
    one.model_lost("reset", 3.0)
    again = [a for a in one.on_time(3.0) + one.on_time(4.0) if isinstance(a, OpenModel)]
    assert again == [OpenModel(2)]
    model('HELLO\t["s2", "m"]', 4.1)
    replayed = told(model('GO\t["ulaw", "ulaw"]', 4.2))
    assert [line.split("\t")[0] for line in replayed[:4]] == ["SAID", "SAID", "DID", "GAVE"]
    assert replayed[0] == "SAID\tuser: Open?"


def test_another_format_is_refused_by_the_dialects_own_name() -> None:
    """The Realtime protocol's name for mu-law is a foreign word here."""
    one = Session(START, Agent("kind", "v", "t"), 0.0, dialect=Words())
    refused = one.on_model(events.Ready("audio/pcmu", "audio/pcmu"), 0.1)
    assert "the phone ulaw" in next(a.message for a in refused if isinstance(a, Note) and a.level == "ERROR")


def test_only_the_bridge_names_a_dialect() -> None:
    """No other file of the apps imports one."""
    naming = {
        path.name for path in APPS.rglob("*.py") if "vendors.openai import wire" in path.read_text("utf-8")
    }
    assert naming == {"bridge.py"}

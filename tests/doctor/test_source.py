"""The lint of a user's own bridge: each killer is found where it stands, and good code raises no alarm."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from ops import checks
from ops.config import Settings
from ops.doctor import source
from ops.world import World

FAULTS = {
    "source.beta-header": ("a.ts", 'headers: { "OpenAI-Beta": "realtime=v1" },'),
    "source.beta-events": ("a.js", "if (event.type === 'response.audio.delta') play(event)"),
    "source.flat-session": ("a.py", '"input_audio_format": "g711_ulaw",'),
    "source.retired-model": ("a.ts", 'const MODEL = "gpt-4o-realtime-preview-2024-12-17"'),
    "source.stream-query": ("twiml.xml", '<Connect><Stream url="wss://a.test/call?id=1" /></Connect>'),
    "source.one-way-stream": (
        "t.xml",
        '<Response><Start><Stream url="wss://a.test/call"/></Start></Response>',
    ),
    "source.nameless-mark": ("a.js", 'ws.send(JSON.stringify({ event: "mark", streamSid }))'),
    "source.global-session": ("a.ts", "let session: Session = {};"),
    "source.no-signature": ("a.py", '@app.post("/incoming-call")'),
    "source.upstream-open": ("a.py", 'socket = connect("wss://api.openai.com/v1/realtime?model=m")'),
    "source.extra-headers": ("a.py", "ws = websockets.connect(url, extra_headers=headers)"),
}
GOOD = {
    "server.ts": """
import twilio from "twilio";
// the beta sent "OpenAI-Beta: realtime=v1" and response.audio.delta
app.post("/twiml", twilio.webhook(), (req, res) => {
  res.type("text/xml").send(`<Response><Connect><Stream url="wss://${host}/call">
    <Parameter name="ticket" value="${ticket}"/></Stream></Connect></Response>`);
});
wss.on("connection", (ws) => {
  let session = newSession();
  const model = new WebSocket("wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1");
  if (event.type === "response.output_audio.delta") forward(event);
  if (type === "conversation.item.input_audio_transcription.completed") log(event);
  ws.send(JSON.stringify({ event: "mark", streamSid, mark: { name: "turn-1" } }));
  ws.on("close", () => model.close());
});
""",
    "bridge.py": """
validator = RequestValidator(token)
UPDATE = {"type": "session.update", "session": {"type": "realtime",
          "audio": {"input": {"format": {"type": "audio/pcmu"}}}}}
async def handle(ws):
    session = Session()
    async with websockets.connect(url, additional_headers=headers) as model:
        await ws.send(json.dumps({
            "event": "mark",
            "streamSid": sid,
            "mark": {
                "name": "turn-1"
            },
        }))
        if message["event"] == "stop":
            await model.close()
""",
}


GOOD |= {
    "fastify.js": """
import Fastify from "fastify";
import WebSocket from "ws";
const sessions = new Map(); // one for each call, by streamSid
fastify.post("/incoming-call", { preHandler: twilioSignature }, async (request, reply) => {
  if (!twilio.validateRequest(token, request.headers["x-twilio-signature"], url, request.body)) return reply.code(403);
  const response = new VoiceResponse();
  response.connect().stream({ url: `wss://${host}/media-stream` }).parameter({ name: "caller", value: from });
  reply.type("text/xml").send(response.toString());
});
fastify.get("/media-stream", { websocket: true }, (phone) => {
  let streamSid = null;
  const model = new WebSocket(`wss://api.openai.com/v1/realtime?model=${MODEL}`, { headers: { Authorization } });
  model.on("open", () => model.send(JSON.stringify({
    type: "session.update",
    session: { type: "realtime", audio: { input: { format: { type: "audio/pcmu" } }, output: { format: { type: "audio/pcmu" } } } },
  })));
  const sendMark = (name) => phone.send(JSON.stringify({ event: "mark", streamSid, mark: { name } }));
  phone.on("message", (raw) => {
    const data = JSON.parse(raw);
    switch (data.event) {
      case "start": streamSid = data.start.streamSid; sessions.set(streamSid, model); break;
      case "mark": played(data.mark.name); break;
      case "stop": model.close(); sessions.delete(streamSid); break;
    }
  });
});
""",
    "app.py": """
from fastapi import FastAPI, WebSocket
from twilio.request_validator import RequestValidator
from twilio.twiml.voice_response import Connect, VoiceResponse

app = FastAPI()
sessions: dict[str, "Session"] = {}
MODEL = "gpt-realtime-2.1"

@app.post("/incoming-call")
async def incoming_call(request):
    response, connect = VoiceResponse(), Connect()
    stream = connect.stream(url=f"wss://{HOST}/media-stream")
    stream.parameter(name="caller", value=form["From"])
    response.append(connect)
    return Response(str(response), media_type="application/xml")

async def relay(model, phone, stream_sid):
    async for event in model:
        if event["type"] == "response.output_audio.delta":
            await phone.send_json({"event": "media", "streamSid": stream_sid, "media": {"payload": event["delta"]}})
            await phone.send_json({"event": "mark", "streamSid": stream_sid, "mark": {"name": event["item_id"]}})
        elif event["type"] == "conversation.item.added":
            remember(event)
""",
}


def _world(root: Path, files: dict[str, str]) -> World:
    folder = root / "websocket-server"
    (folder / "node_modules" / "old").mkdir(parents=True)
    (folder / "node_modules" / "old" / "a.js").write_text("'OpenAI-Beta': 'realtime=v1'")
    for name, text in files.items():
        (folder / name).write_text(text)
    rows = '[services.websocket-server]\ncommand = "node server.js"\ncwd = "websocket-server"\nport = 8081\n'
    (root / "ops.toml").write_text(rows)
    return World.of(Settings.load(root, {}), today=date(2026, 11, 23))


@pytest.mark.parametrize("id", FAULTS)
def test_each_killer_is_found_and_no_other_rule_fires(id: str, root: Path) -> None:
    """The line is named by file and number, and only its own rule speaks."""
    name, line = FAULTS[id]
    world = _world(root, {name: f"first line\n{line}\n"})
    found = {finding.id: finding for finding in checks.ask(source.checks(world), world)}
    assert [one for one, finding in found.items() if finding.status != "ok"] == [id]
    assert found[id].summary.startswith(f"{name}:2 ")


def test_a_construct_over_several_lines_is_found(root: Path) -> None:
    """Templates are indented: the tag that begins the construct is named."""
    twiml = '<Response>\n  <Start>\n    <Stream\n      url="wss://a.test/call" />\n  </Start>\n</Response>\n'
    query = '<Connect>\n  <Stream\n    url="wss://a.test/call?id=1" />\n</Connect>\n'
    world = _world(root, {"one-way.xml": twiml, "query.xml": query})
    found = {one.id: one for one in checks.ask(source.checks(world), world) if one.status != "ok"}
    assert found["source.one-way-stream"].evidence["lines"] == ["one-way.xml:2"]
    assert found["source.stream-query"].evidence["lines"] == ["query.xml:2"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("wss://api.openai.com/v1/realtime?model=gpt-realtime&voice=alloy", True),
        ("model: 'gpt-realtime-2025-08-28'", True),
        ("model: 'gpt-realtime-mini'", True),
        ("model: 'gpt-realtime-2.1'", False),
        ("model: 'gpt-realtime-2.1-mini'", False),
        ("model: 'gpt-realtime-1.5'", False),
    ],
)
def test_a_model_is_pointed_out_when_its_last_day_is_near(line: str, found: bool) -> None:
    """58 days before the shutdown of the first GA models, and not of their successors."""
    assert source.retires(line, date(2026, 11, 23)) is found
    assert not source.retires(line, date(2026, 10, 1))


def test_settings_of_the_agents_sdk_are_its_own(root: Path) -> None:
    """The SDK has settings of the beta's names, and sends the GA shape."""
    sdk = 'from agents.realtime import RealtimeRunner\nSETTINGS = {"input_audio_format": "g711_ulaw"}\n'
    world = _world(root, {"handler.py": sdk, "raw.py": '"output_audio_format": "g711_ulaw",\n'})
    (found,) = [one for one in checks.ask(source.checks(world), world) if one.status != "ok"]
    assert found.evidence["lines"] == ["raw.py:1"]


def test_every_rule_has_its_fault() -> None:
    """A rule without a seeded fault is not proved."""
    assert set(FAULTS) == {rule.id for rule in source.RULES}


def test_a_good_bridge_raises_no_alarm(root: Path) -> None:
    """Current code in Node and Python, comments about the beta included, is left in peace."""
    world = _world(root, GOOD)
    found = checks.ask(source.checks(world), world)
    assert [one for one in found if one.status != "ok"] == []


def test_the_built_in_stack_is_not_linted(root: Path) -> None:
    """Without services in ops.toml these questions are not asked."""
    assert source.checks(World.of(Settings.load(root, {}), today=date(2026, 11, 23))) == ()

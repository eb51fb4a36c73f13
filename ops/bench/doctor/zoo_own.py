"""The bug zoo's other half: faults of a user's own bridge, at its door and in its source. Data alone."""

from __future__ import annotations

from ops.bench.doctor.seeds import Door, File
from ops.bench.doctor.zoo import MACHINE, SETTINGS, Fault
from ops.bench.doctor.zoo_vendors import OPENAI, TWILIO, WAY_IN

STREAM = "<Response><Connect><Stream url='{}'/></Connect></Response>"


def _twiml(name: str, words: str, text: str) -> Fault:
    return Fault(name, "webhook.signed", words, (Door({"twiml": text}),), where="own")


def _origin(name: str, words: str, origin: str) -> Fault:
    return Fault(name, "webhook.signed", words, (Door({"origin": origin}),), where="own")


DOOR: tuple[Fault, ...] = (
    _twiml("a web page", "DOCTYPE", "<!DOCTYPE html><html></html>"),
    _twiml("text before the document", "first character", "ok <Response/>"),
    _twiml("a byte order mark", "first character", "\ufeff<Response/>"),
    _twiml("broken XML", "line 1", "<Response><Say>a & b</Say></Response>"),
    _twiml("a wrong root", "<response>", "<response/>"),
    _twiml("no stream", "no <Stream>", "<Response><Say>Hello</Say></Response>"),
    _twiml("a one-way stream", "one-way", "<Response><Start><Stream url='{stream}'/></Start></Response>"),
    _twiml("a query in the stream's URL", "31920", STREAM.format("wss://a.test/media-stream?id=1")),
    _twiml("https for the stream", "begin with wss", STREAM.format("https://a.test/media-stream")),
    _twiml("a doubled scheme", "not a URL", STREAM.format("wss://https://a.test/media-stream")),
    _origin("the server sees its own port", "(port ", "http://127.0.0.1:{port}"),
    _origin("the server sees localhost", "host localhost", "http://localhost:{port}"),
    _origin("the server believes in https", "scheme https", "{https}"),
    _origin("a proxy strips a prefix", "with /api in front", "{origin}/api"),
    _origin("another origin", "whatever spelling", "https://elsewhere.test"),
    Fault("a slow webhook", "webhook.signed", "only after", (Door({"late_seconds": 2.2}),), where="own"),
    Fault("the webhook fails", "webhook.signed", "answers 500", (Door({"status": 500}),), where="own"),
    Fault(
        "an open webhook", "webhook.stranger", "any stranger", (Door({"check_webhooks": False}),), where="own"
    ),
    Fault(
        "an open stream", "websocket.stranger", "any stranger", (Door({"check_streams": False}),), where="own"
    ),
    Fault(
        "a stream to nowhere",
        "websocket.stream",
        "Expected 101",
        (Door({"twiml": STREAM.format("ws://127.0.0.1:{port}/nowhere")}),),
        where="own",
    ),
    Fault(
        "the stream is checked as https",
        "websocket.stream",
        "scheme http in place of ws",
        (Door({"stream_scheme": "http"}),),
        where="own",
    ),
    Fault("open pages", "security.door", "/metrics", (Door({"private_open": True}),), where="own"),
    Fault(
        "the start is refused",
        "deep.session",
        "1011",
        (Door({"refuse_start": True}),),
        where="own",
        deep=True,
    ),
    Fault("no answer", "deep.line", "answer", (Door({"silent": True}),), where="own", deep=True),
    Fault(
        "a program that is not there",
        "env.programs",
        "no-such-program",
        (File("ops.toml", '[services.worker]\ncommand = "no-such-program-here"\n', more=True),),
        where="own",
    ),
)


def _source(rule: str, text: str, name: str = "bridge/extra.ts") -> Fault:
    return Fault(
        rule.removeprefix("source."), rule, name.rpartition("/")[2], (File(name, text),), where="own"
    )


SOURCE: tuple[Fault, ...] = (
    _source("source.beta-header", 'const headers = { "OpenAI-Beta": "realtime=v1" };\n'),
    _source("source.beta-events", "if (event.type === 'response.audio.delta') play(event);\n"),
    _source("source.flat-session", 'SESSION = {"input_audio_format": "g711_ulaw"}\n', "bridge/session.py"),
    _source("source.retired-model", 'const MODEL = "gpt-4o-realtime-preview-2024-12-17";\n'),
    _source(
        "source.stream-query", '<Connect><Stream url="wss://a.test/call?id=1" /></Connect>\n', "bridge/t.xml"
    ),
    _source("source.one-way-stream", '<Start><Stream url="wss://a.test/call"/></Start>\n', "bridge/t.xml"),
    _source("source.nameless-mark", 'ws.send(JSON.stringify({ event: "mark", streamSid }));\n'),
    _source("source.global-session", "let session: Session = {};\n"),
    _source(
        "source.no-signature",
        '@app.post("/incoming-call")\nasync def incoming(request):\n    ...\n',
        "bridge/bridge.py",
    ),
    _source(
        "source.upstream-open",
        'VALIDATOR = RequestValidator(TOKEN)\nmodel = connect("wss://api.openai.com/v1/realtime?model=m")\n',
        "bridge/bridge.py",
    ),
    _source("source.extra-headers", "ws = websockets.connect(url, extra_headers=headers)\n", "bridge/ws.py"),
)

FAULTS: tuple[Fault, ...] = (*SETTINGS, *MACHINE, *TWILIO, *OPENAI, *WAY_IN, *DOOR, *SOURCE)

"""TwiML's grammar: text → verbs, and every fault with its line and column. Pure.

Source: Twilio, "TwiML for Programmable Voice" and the error dictionary. A document that cannot be
run raises `BadTwiml`; what Twilio would only warn of (12200 and the 13000s) is in `warnings`, and
the verb or attribute is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ops.vendors.twilio.simulator.errors import Notice
from ops.vendors.twilio.simulator.markup import BadTwiml, Element, tree
from ops.vendors.twilio.simulator.twiml import (
    Connect,
    Dial,
    Document,
    Gather,
    Hangup,
    NotSimulated,
    Pause,
    Play,
    Redirect,
    Reject,
    Say,
    Start,
    Stop,
    Stream,
    Verb,
)

MAX_BYTES = 64 * 1024


def parse(text: bytes) -> Document:
    """The verbs of a document in order; raises `BadTwiml`."""
    if not text.strip():
        raise BadTwiml(11770, "expected a <Response>, got an empty body")
    if len(text) > MAX_BYTES:
        raise BadTwiml(11750, f"expected at most {MAX_BYTES} bytes, got {len(text)}")
    root = tree(text)
    if root.name != "Response":
        raise BadTwiml(
            12100, f"expected the root element <Response>, got <{root.name}>", root.line, root.column
        )
    warnings: list[Notice] = []
    reader = _Reader(warnings)
    reader.attributes(root, ())
    return Document(tuple(reader.verbs(root)), tuple(warnings))


class _Reader:
    """Reads elements into verbs; what Twilio would warn of goes to `warnings`."""

    def __init__(self, warnings: list[Notice]) -> None:
        self._warnings = warnings

    def warn(self, code: int, detail: str, element: Element) -> None:
        self._warnings.append(Notice(code, f"{detail} (line {element.line}, column {element.column})"))

    def attributes(self, element: Element, allowed: tuple[str, ...]) -> None:
        for name in element.attributes:
            if name not in allowed and not name.startswith("xml"):
                self.warn(
                    12200, f"Attribute '{name}' is not allowed to appear in element '{element.name}'", element
                )

    def children(self, element: Element, allowed: tuple[str, ...], code: int = 12200) -> Iterator[Element]:
        for child in element.children:
            if child.name in allowed:
                yield child
            else:
                listed = ", ".join(allowed) or "no element"
                found = f"Invalid content was found starting with element '{child.name}'"
                self.warn(code, f"{found}. One of '{{{listed}}}' is expected", child)

    def number(self, element: Element, name: str, default: int, code: int, low: int = 0) -> int:
        raw = element.attributes.get(name)
        if raw is None:
            return default
        if not (raw.isascii() and raw.isdigit() and len(raw) < 7) or int(raw) < low:
            self.warn(code, f"{name}: expected a whole number from {low}, got {raw[:40]!r}", element)
            return default
        return int(raw)

    def method(self, element: Element, name: str = "method", code: int = 12200) -> str:
        raw = element.attributes.get(name, "POST")
        if raw.upper() not in ("GET", "POST"):
            self.warn(code, f"{name}: expected GET or POST, got {raw[:40]!r}", element)
            return "POST"
        return raw.upper()

    def verbs(self, root: Element) -> Iterator[Verb]:
        for element in self.children(root, (*_VERBS, *_NOT_SIMULATED)):
            if element.name in _NOT_SIMULATED:
                yield NotSimulated(element.name)
            elif (verb := _VERBS[element.name](self, element)) is not None:
                yield verb

    def say(self, element: Element) -> Say | None:
        self.attributes(element, ("voice", "language", "loop"))
        words = [element.text]
        for child in self.children(element, _SSML):
            words.append(child.text)
        text = " ".join(" ".join(words).split())
        if not text:
            self.warn(13520, "expected words, got none", element)
            return None
        return Say(text, self.number(element, "loop", 1, 13510))

    def play(self, element: Element) -> Play | None:
        self.attributes(element, ("loop", "digits"))
        url, digits = element.text.strip(), element.attributes.get("digits", "")
        if not url and not digits:
            self.warn(12200, "expected the URL of a sound in <Play>, got nothing", element)
            return None
        return Play(url, self.number(element, "loop", 1, 13410), digits)

    def pause(self, element: Element) -> Pause:
        self.attributes(element, ("length",))
        return Pause(self.number(element, "length", 1, 13610))

    def hangup(self, element: Element) -> Hangup:
        self.attributes(element, ())
        return Hangup()

    def reject(self, element: Element) -> Reject:
        self.attributes(element, ("reason",))
        reason = element.attributes.get("reason", "rejected")
        if reason not in ("rejected", "busy"):
            self.warn(12200, f"reason: expected rejected or busy, got {reason[:40]!r}", element)
            reason = "rejected"
        return Reject(reason)

    def redirect(self, element: Element) -> Redirect:
        self.attributes(element, ("method",))
        return Redirect(element.text.strip(), self.method(element, code=13710))

    def gather(self, element: Element) -> Gather:
        self.attributes(element, _GATHER)
        prompts = []
        for child in self.children(element, ("Say", "Play", "Pause"), code=13320):
            prompt = {"Say": self.say, "Play": self.play, "Pause": self.pause}[child.name](child)
            if prompt is not None:
                prompts.append(prompt)
        finish_on = element.attributes.get("finishOnKey", "#")
        if len(finish_on) > 1 or finish_on not in "0123456789*#":
            self.warn(13310, f"expected one of 0-9 * # or nothing, got {finish_on[:40]!r}", element)
            finish_on = "#"
        raw = element.attributes.get("timeout", "5")
        return Gather(
            prompts=tuple(prompts),
            action=element.attributes.get("action", "").strip(),
            method=self.method(element, code=13312),
            timeout=5 if raw == "auto" else self.number(element, "timeout", 5, 13313, low=1),
            digits=self.number(element, "numDigits", 0, 13314, low=1),
            finish_on=finish_on,
            on_empty=element.attributes.get("actionOnEmptyResult", "false").lower() == "true",
        )

    def dial(self, element: Element) -> Dial | None:
        self.attributes(element, _DIAL)
        number, place = element.text.strip(), element
        for child in self.children(element, ("Number", *_NOUNS), code=13215):
            if child.name != "Number":
                self.warn(13215, f"<{child.name}> is not simulated; only numbers are dialled", child)
                continue
            self.attributes(child, _NUMBER)
            number, place = child.text.strip(), child
        if not number:
            self.warn(12200, "expected a number in <Dial>, got nothing", element)
            return None
        compact = "".join(c for c in number if c not in " ()-.")
        if not compact.lstrip("+").isdigit() or not 3 <= len(compact) <= 16:
            self.warn(13223, f"expected a phone number, got {number[:40]!r}", place)
            return None
        events = place.attributes.get("statusCallbackEvent", "completed").split()
        return Dial(
            number=compact,
            caller_id=element.attributes.get("callerId", "").strip(),
            timeout=self.number(element, "timeout", 30, 12200, low=1),
            time_limit=self.number(element, "timeLimit", 14_400, 12200, low=1),
            action=element.attributes.get("action", "").strip(),
            method=self.method(element),
            status_callback=place.attributes.get("statusCallback", "") if place is not element else "",
            status_method=self.method(place, "statusCallbackMethod") if place is not element else "POST",
            status_events=tuple(events),
        )

    def connect(self, element: Element) -> Connect | NotSimulated | None:
        self.attributes(element, ("action", "method"))
        stream = None
        for child in self.children(element, ("Stream", *_CONNECT)):
            if child.name != "Stream":
                return NotSimulated(f"Connect/{child.name}")
            stream = self.stream(child)
        if stream is None:
            self.warn(12200, "expected a <Stream> with a url in <Connect>, got none", element)
            return None
        return Connect(stream, element.attributes.get("action", "").strip(), self.method(element))

    def start(self, element: Element) -> Start | NotSimulated | None:
        self.attributes(element, ("action", "method"))
        for child in self.children(element, ("Stream", "Siprec", "Transcription", "Recording")):
            if child.name != "Stream":
                return NotSimulated(f"Start/{child.name}")
            stream = self.stream(child)
            return Start(stream) if stream else None
        return None

    def stop(self, element: Element) -> Stop | None:
        self.attributes(element, ())
        for child in self.children(element, ("Stream",)):
            return Stop(child.attributes.get("name", ""))
        return None

    def stream(self, element: Element) -> Stream | None:
        self.attributes(element, _STREAM)
        parameters = []
        for child in self.children(element, ("Parameter",)):
            self.attributes(child, ("name", "value"))
            if "name" in child.attributes and "value" in child.attributes:
                parameters.append((child.attributes["name"], child.attributes["value"]))
            else:
                self.warn(12200, "expected name and value in <Parameter>", child)
        track = element.attributes.get("track", "inbound_track")
        if track not in ("inbound_track", "outbound_track", "both_tracks"):
            self.warn(
                12200,
                f"track: expected inbound_track, outbound_track or both_tracks, got {track[:40]!r}",
                element,
            )
            track = "inbound_track"
        if not element.attributes.get("url"):
            self.warn(12200, "expected a url in <Stream>, got none", element)
            return None
        return Stream(
            url=element.attributes["url"],
            name=element.attributes.get("name", ""),
            track=track,
            parameters=tuple(parameters),
            status_callback=element.attributes.get("statusCallback", "").strip(),
            status_method=self.method(element, "statusCallbackMethod"),
        )


_VERBS: dict[str, Callable[[_Reader, Element], Verb | None]] = {
    "Say": _Reader.say,
    "Play": _Reader.play,
    "Pause": _Reader.pause,
    "Hangup": _Reader.hangup,
    "Reject": _Reader.reject,
    "Redirect": _Reader.redirect,
    "Gather": _Reader.gather,
    "Dial": _Reader.dial,
    "Connect": _Reader.connect,
    "Start": _Reader.start,
    "Stop": _Reader.stop,
}
_NOT_SIMULATED = ("Record", "Enqueue", "Leave", "Pay", "Prompt", "Refer", "Echo", "Queue", "Sms", "Message")
_SSML = ("break", "emphasis", "lang", "p", "phoneme", "prosody", "s", "say-as", "sub", "w")
_NOUNS = ("Client", "Conference", "Queue", "Sim", "Sip", "Application", "WhatsApp")
_CONNECT = (
    "Room",
    "VirtualAgent",
    "Conversation",
    "Autopilot",
    "ConversationRelay",
    "AiSession",
    "Assistant",
)
_STREAM = ("url", "name", "track", "connectorName", "statusCallback", "statusCallbackMethod")
_NUMBER = (
    "url", "method", "sendDigits", "statusCallback", "statusCallbackEvent", "statusCallbackMethod", "byoc",
    "machineDetection", "amdStatusCallback", "amdStatusCallbackMethod",
)  # fmt: skip
_DIAL = (
    "action", "method", "timeout", "timeLimit", "callerId", "hangupOnStar", "record", "trim", "ringTone",
    "recordingStatusCallback", "recordingStatusCallbackMethod", "recordingStatusCallbackEvent",
    "recordingTrack", "answerOnBridge", "referUrl", "referMethod", "sequential", "events",
)  # fmt: skip
_GATHER = (
    "action", "method", "timeout", "numDigits", "finishOnKey", "input", "actionOnEmptyResult", "bargeIn",
    "debug", "enhanced", "hints", "language", "maxSpeechTime", "partialResultCallback",
    "partialResultCallbackMethod", "profanityFilter", "speechModel", "speechTimeout",
)  # fmt: skip

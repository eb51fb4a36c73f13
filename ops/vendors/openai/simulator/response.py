"""One response as a timeline: a script of events and pauses, which can be cut at any point. Pure.

The order of events is that of OpenAI's documentation; audio comes about five times faster than it plays.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ops.vendors.openai.simulator import codec, usage
from ops.vendors.openai.simulator.conversation import (
    AGENT_MS_PER_TOKEN,
    Conversation,
    Item,
    text_tokens,
)
from ops.vendors.openai.simulator.events import Event, Ids, Problem, event
from ops.vendors.openai.simulator.rules import Call, McpCall, Output, Say

ITEM_AFTER = 0.15  # seconds from the response's creation to its first item
AUDIO_AFTER = 0.25  # … to its first audio
CHUNK_MS = 300
CHUNK_EVERY = 0.06  # seconds between two chunks: 300 ms of speech each
Step = float | Event  # a pause until so many seconds after the beginning, or an event


@dataclass
class Misbehaviour:
    """What a fault makes of a response; the numbers are the fault's own."""

    name: str = ""
    numbers: dict[str, float] = field(default_factory=dict)
    chance: random.Random = field(default_factory=random.Random)


@dataclass
class Response:
    """A response that is being generated, and everything that its events have to show."""

    id: str
    ids: Ids
    output: Output
    conversation: Conversation | None  # None: out of band
    options: dict[str, Any]  # modalities, format, voice, max_output_tokens, metadata
    context: usage.Context
    context_before: usage.Context
    limits: Event
    refusal: Problem | None = None  # what it fails with before it begins
    misbehaviour: Misbehaviour = field(default_factory=Misbehaviour)
    items: list[Item] = field(default_factory=list)
    status: str = "in_progress"
    status_details: dict[str, Any] | None = None
    _open: Item | None = None
    _part_open: bool = False
    _said: str = ""

    @property
    def audio_ms(self) -> int:
        return sum(item.audio_ms for item in self.items)

    def shown(self) -> Event:
        done = self.status != "in_progress"
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": self.status,
            "status_details": self.status_details,
            "output": [item.shown() for item in self.items],
            "conversation_id": self.conversation.id if self.conversation else None,
            "output_modalities": self.options["output_modalities"],
            "max_output_tokens": self.options["max_output_tokens"],
            "audio": {"output": {"format": self.options["format"], "voice": self.options["voice"]}},
            "usage": self._usage() if done else None,
            "metadata": self.options["metadata"],
        }

    def script(self) -> Iterator[Step]:
        """All events from `response.created` to `response.done`, with pauses between them."""
        yield event("response.created", response=self.shown())
        yield self.limits
        if self.refusal is not None:
            yield from self.cut("failed", problem=self.refusal)
            return
        late = self.misbehaviour.numbers.get("seconds", 0.0) if self._is("slow-response") else 0.0
        yield ITEM_AFTER + late
        if self._is("failed-response"):
            yield from self.cut("failed")
            return
        if isinstance(self.output, Say) and not self._is("silent-response"):
            yield from self._message(self.output, late)
        elif isinstance(self.output, Call):
            yield from self._call(self.output)
        elif isinstance(self.output, McpCall):
            yield from self._mcp(self.output)
        if self.status == "in_progress":
            yield from self._finish("completed", None)

    def cut(self, status: str, reason: str | None = None, problem: Problem | None = None) -> list[Event]:
        """End the response where it is: the `.done` events of what is open, then response.done."""
        events = self._close("incomplete")
        return [*events, *self._finish(status, reason, problem)]

    def _finish(self, status: str, reason: str | None, problem: Problem | None = None) -> list[Event]:
        self.status = status
        if status != "completed":
            self.status_details = {"type": status, **({"reason": reason} if reason else {})}
        if status == "failed":
            shown = (problem or self._failure()).shown()
            self.status_details = {
                "type": status,
                "error": {key: shown[key] for key in ("type", "code", "message")},
            }
        return [event("response.done", response=self.shown())]

    def _failure(self) -> Problem:
        if self.misbehaviour.numbers.get("quota"):
            return Problem(
                "You exceeded your current quota.", "insufficient_quota", type="insufficient_quota"
            )
        return Problem("The server had an error while processing your request.", None, type="server_error")

    # One message: text, or audio with its transcript.

    def _message(self, say: Say, late: float) -> Iterator[Step]:
        spoken = self.options["output_modalities"] == ["audio"]
        item = Item(
            self.ids.new("item"), {"type": "message", "role": "assistant", "content": []}, "in_progress"
        )
        yield from self._begin(item)
        kind = "audio" if spoken else "text"
        part = {"type": kind, "transcript" if spoken else "text": ""}
        self._part_open = True
        content = {"type": f"output_{kind}", "transcript" if spoken else "text": ""}
        item.fields["content"].append(content)
        yield self._at("response.content_part.added", content_index=0, part=part)
        text, audio = self._allowed(say)
        chunk = CHUNK_MS * 8
        count = max(1, -(-len(audio) // chunk))
        words = text.split(" ")
        spoken_words = 0
        for number in range(count):
            yield AUDIO_AFTER + late + number * CHUNK_EVERY
            upto = max(1, round(len(words) * min(1.0, (number + 2) / count)))
            for word in words[spoken_words:upto]:
                delta = word if not self._said else f" {word}"
                self._said += delta
                name = "response.output_audio_transcript.delta" if spoken else "response.output_text.delta"
                yield self._at(name, content_index=0, delta=delta)
            spoken_words = max(spoken_words, upto)
            if spoken:
                yield from self._audio(item, audio[number * chunk : (number + 1) * chunk])
            if self._is("content-filter"):
                yield from self.cut("incomplete", "content_filter")
                return
        if len(audio) < len(say.line.audio) or text != say.line.text:
            yield from self.cut("incomplete", "max_output_tokens")
            return
        yield from self._close("completed")

    def _allowed(self, say: Say) -> tuple[str, bytes]:
        """The line, or as much of it as max_output_tokens lets through."""
        most = self.options["max_output_tokens"]
        text, audio = say.line.text, say.line.audio
        if most == "inf":
            return text, audio
        if self.options["output_modalities"] == ["text"]:
            return text[: most * 4], audio
        kept = min(len(audio), most * AGENT_MS_PER_TOKEN * 8)
        return text[: max(1, len(text) * kept // len(audio))], audio[:kept]

    def _audio(self, item: Item, mulaw: bytes) -> Iterator[Event]:
        format = self.options["format"]["type"]
        if self._is("wrong-codec"):
            format = "audio/pcm" if format != "audio/pcm" else "audio/pcmu"
        item.audio += mulaw
        for piece in self._pieces(mulaw):
            if (
                self._is("dropped-frame")
                and self.misbehaviour.chance.random() < self.misbehaviour.numbers["share"]
            ):
                continue
            delta = base64.b64encode(codec.encode(format, piece)).decode()
            yield self._at("response.output_audio.delta", content_index=0, delta=delta)

    def _pieces(self, mulaw: bytes) -> list[bytes]:
        """The chunk whole, or in uneven slices that fit no frame."""
        if not self._is("slice"):
            return [mulaw]
        found = []
        while mulaw:
            size = self.misbehaviour.chance.randint(1, 333)
            found.append(mulaw[:size])
            mulaw = mulaw[size:]
        return found

    # One call of a tool.

    def _call(self, call: Call) -> Iterator[Step]:
        fields = {
            "type": "function_call",
            "name": call.name,
            "call_id": self.ids.new("call"),
            "arguments": "",
        }
        item = Item(self.ids.new("item"), fields, "in_progress", tool=call.name)
        yield from self._begin(item)
        for at in range(0, len(call.arguments), 16):
            yield ITEM_AFTER + 0.02 * (1 + at // 16)
            delta = call.arguments[at : at + 16]
            item.fields["arguments"] += delta
            yield self._at("response.function_call_arguments.delta", call_id=fields["call_id"], delta=delta)
        yield from self._close("completed")

    def _mcp(self, call: McpCall) -> Iterator[Step]:
        fields = {"server_label": call.server_label, "name": call.name, "arguments": call.arguments}
        if call.approval:
            request = Item(self.ids.new("mcpr"), {"type": "mcp_approval_request", **fields})
            yield from self._begin(request)
            yield from self._close("completed")
            return
        item = Item(self.ids.new("mcp"), {"type": "mcp_call", **fields, "output": None, "error": None})
        yield from self._begin(item)
        yield self._at("response.mcp_call_arguments.delta", delta=call.arguments)
        yield self._at("response.mcp_call_arguments.done", arguments=call.arguments)
        yield event("response.mcp_call.in_progress", item_id=item.id, output_index=0)
        yield ITEM_AFTER + 0.1
        if self._is("failed-tool"):
            item.fields["error"] = {
                "type": "http_error",
                "code": 503,
                "message": "the MCP server is unavailable",
            }
            yield event("response.mcp_call.failed", item_id=item.id, output_index=0)
        else:
            item.fields["output"] = "{}"
            yield event("response.mcp_call.completed", item_id=item.id, output_index=0)
        yield from self._close("completed")

    # Beginning and closing an item; the conversation hears of it too.

    def _begin(self, item: Item) -> Iterator[Event]:
        self.items.append(item)
        self._open = item
        self._said = ""
        yield event("response.output_item.added", response_id=self.id, output_index=0, item=item.shown())
        if self.conversation is not None:
            previous = self.conversation.add(item)
            yield event("conversation.item.added", previous_item_id=previous, item=item.shown())

    def _close(self, status: str) -> list[Event]:
        item = self._open
        if item is None:
            return []
        events = []
        if self._part_open:
            events += self._close_part(item)
        elif item.type == "function_call":
            events.append(
                self._at(
                    "response.function_call_arguments.done",
                    call_id=item.fields["call_id"],
                    name=item.fields["name"],
                    arguments=item.fields["arguments"],
                )
            )
        item.status = status
        if self.conversation is not None and item in self.conversation.items:
            previous = self.conversation.before(item)
            events.append(event("conversation.item.done", previous_item_id=previous, item=item.shown()))
        events.append(
            event("response.output_item.done", response_id=self.id, output_index=0, item=item.shown())
        )
        self._open = None
        return events

    def _close_part(self, item: Item) -> list[Event]:
        self._part_open = False
        content = item.fields["content"][0]
        if content["type"] == "output_audio":
            content["transcript"] = self._said
            part = {"type": "audio", "transcript": self._said}
            said = [
                self._at("response.output_audio.done", content_index=0),
                self._at("response.output_audio_transcript.done", content_index=0, transcript=self._said),
            ]
        else:
            content["text"] = self._said
            part = {"type": "text", "text": self._said}
            said = [self._at("response.output_text.done", content_index=0, text=self._said)]
        return [*said, self._at("response.content_part.done", content_index=0, part=part)]

    def _at(self, type: str, **fields: Any) -> Event:
        """An event of the open item."""
        assert self._open is not None
        return event(type, response_id=self.id, item_id=self._open.id, output_index=0, **fields)

    def _usage(self) -> dict[str, Any]:
        audio = sum(item.tokens()[1] for item in self.items)
        written = sum(item.tokens()[0] for item in self.items) + (text_tokens(self._said) if audio else 0)
        if self.status == "failed":
            return usage.usage([], [], 0, 0)
        return usage.usage(self.context, self.context_before, written, audio)

    def _is(self, name: str) -> bool:
        return self.misbehaviour.name == name

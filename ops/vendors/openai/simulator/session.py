"""The state machine of one Realtime session: client event and time in, server events out. Pure.

`now` is any monotonic clock in seconds. `open`, `receive` and `tick` return the events to send, in
order; `due` is when `tick` wants to be called next; `closing` says that the server ends the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ops.vendors.openai.simulator import (
    events,
    incoming,
    rules,
    settings,
    transcription,
    validation,
)
from ops.vendors.openai.simulator.conversation import Conversation, Item
from ops.vendors.openai.simulator.events import Close, Event, Ids, Problem, event
from ops.vendors.openai.simulator.faults import Faults
from ops.vendors.openai.simulator.hearing import Hearing
from ops.vendors.openai.simulator.recogniser import recognise
from ops.vendors.openai.simulator.responses import Responses
from ops.vendors.openai.simulator.timers import Timers
from ops.vendors.openai.simulator.vad import Moment

LIFETIME = 3600.0  # seconds
SHORTEST_COMMIT_MS = 100
MCP_LISTING = 0.1  # seconds


class Session:
    """One connection's conversation with the model."""

    def __init__(
        self,
        model: str,
        *,
        now: float,
        wall: float,
        faults: Faults | None = None,
        answers: rules.Rules | None = None,
        seed: int | None = None,
        lifetime: float = LIFETIME,
    ) -> None:
        self.ids = Ids(seed)
        self.id = self.ids.new("sess")
        self.config = settings.default(self.id, model, int(wall + lifetime))
        self.conversation = Conversation(self.ids.new("conv"))
        self.closing: Close | None = None
        self.heard: list[str] = []  # names of the lines that were recognised, "" for none
        self._faults = faults or Faults()
        self._hearing = Hearing("audio/pcm", self._turns)
        self._timers: Timers[list[Event]] = Timers()
        self.responses = Responses(
            self.ids,
            self.conversation,
            self._timers,
            self._faults,
            answers or rules.load(),
            self._response_ended,
        )
        self._speech_item = ""
        self._listed: set[str] = set()
        self._idle = 0  # counts what makes an idle timeout void
        early = self._faults.take("session")
        self._timers.at(now + (early.numbers["after"] if early else lifetime), lambda _: self._expire())

    @property
    def due(self) -> float | None:
        """When `tick` wants to be called."""
        return self._timers.due

    def open(self) -> list[Event]:
        """The first events of a connection."""
        conversation = {"id": self.conversation.id, "object": "realtime.conversation"}
        return self._stamped(
            [
                event("session.created", session=self.config),
                event("conversation.created", conversation=conversation),
            ]
        )

    def receive(self, raw: str | bytes, now: float) -> list[Event]:
        """What one client frame leads to at once; whatever is wrong with it becomes an `error` event."""
        client_event_id = None
        try:
            asked = validation.parse(raw)
            if isinstance(asked.get("event_id"), str):
                client_event_id = asked["event_id"][:512]
            validation.check(asked)
            return self._stamped(self._handle(asked, now))
        except Problem as problem:
            return self._stamped([events.error(problem, client_event_id)])

    def tick(self, now: float) -> list[Event]:
        """What is due by now."""
        found: list[Event] = []
        for made in self._timers.run(now):
            found += made
        return self._stamped(found)

    def _later(self, when: float, made: Callable[[], list[Event]]) -> None:
        self._timers.at(when, lambda _: made())

    def _stamped(self, found: list[Event]) -> list[Event]:
        return [{"type": e["type"], "event_id": self.ids.new("event"), **e} for e in found]

    def _handle(self, asked: dict[str, Any], now: float) -> list[Event]:
        match asked["type"]:
            case "session.update":
                return self._update(asked["session"], now)
            case "input_audio_buffer.append":
                return self._append(asked["audio"], now)
            case "input_audio_buffer.commit":
                return self._client_commit(now)
            case "input_audio_buffer.clear":
                self._hearing.take_all()
                self._speech_item = ""
                return [event("input_audio_buffer.cleared")]
            case "conversation.item.create":
                return self._create_item(asked["item"], asked.get("previous_item_id"))
            case "conversation.item.retrieve":
                item = self.conversation.find(asked["item_id"], "retrieving", "retrieve")
                side = "output" if item.from_agent else "input"
                format = self.config["audio"][side]["format"]["type"]
                return [event("conversation.item.retrieved", item=item.with_audio(format))]
            case "conversation.item.truncate":
                fields = {key: asked[key] for key in ("item_id", "content_index", "audio_end_ms")}
                self.conversation.truncate(*fields.values())
                return [event("conversation.item.truncated", **fields)]
            case "conversation.item.delete":
                item = self.conversation.find(asked["item_id"], "deleting", "delete")
                self.conversation.items.remove(item)
                return [event("conversation.item.deleted", item_id=item.id)]
            case "response.create":
                return self._create_response(asked.get("response") or {}, now)
            case "response.cancel":
                return self.responses.cancel(asked.get("response_id"))
            case other:
                raise Problem(
                    f"'{other}' is supported on WebRTC and SIP connections only.", "invalid_value", "type"
                )

    # Configuration.

    @property
    def _input_format(self) -> str:
        return str(self.config["audio"]["input"]["format"]["type"])

    @property
    def _turns(self) -> dict[str, Any] | None:
        turns: dict[str, Any] | None = self.config["audio"]["input"]["turn_detection"]
        return turns

    def _update(self, patch: Any, now: float) -> list[Event]:
        if validation.is_beta(patch):
            self.closing = events.close_of(events.BETA, 4000)
            raise events.BETA
        validation.check_session(patch)
        if patch.get("model", self.config["model"]) != self.config["model"]:
            raise Problem("Cannot update a conversation's model.", "cannot_update_model", "session.model")
        voice = patch.get("audio", {}).get("output", {}).get("voice", self.config["audio"]["output"]["voice"])
        spoken = any(item.from_agent and item.audio for item in self.conversation.items)
        if spoken and voice != self.config["audio"]["output"]["voice"]:
            raise Problem(
                "Cannot update a conversation's voice if assistant audio is present.", "cannot_update_voice"
            )
        self.config = settings.updated(self.config, patch)
        self._hearing.configure(self._input_format, self._turns)
        shown = self.config if self._faults.take("update") is None else settings.with_pcm(self.config)
        return [event("session.updated", session=shown), *self._list_mcp_tools(now)]

    def _list_mcp_tools(self, now: float) -> list[Event]:
        found: list[Event] = []
        for tool in self.config["tools"]:
            if tool["type"] == "mcp" and tool["server_label"] not in self._listed:
                self._listed.add(tool["server_label"])
                fields = {"type": "mcp_list_tools", "server_label": tool["server_label"], "tools": []}
                item = Item(self.ids.new("mcpl"), fields, "in_progress")
                previous = self.conversation.add(item)
                found.append(event("conversation.item.added", previous_item_id=previous, item=item.shown()))
                found.append(event("mcp_list_tools.in_progress", item_id=item.id))
                self._later(now + MCP_LISTING, partial(self._listed_tools, item, tool))
        return found

    def _listed_tools(self, item: Item, tool: Mapping[str, Any]) -> list[Event]:
        if str(tool.get("server_url", "")).split("/")[2:3] and ".invalid" in tool["server_url"]:
            item.status = "incomplete"
            return [event("mcp_list_tools.failed", item_id=item.id)]
        item.status = "completed"
        item.fields["tools"] = [
            {"name": name, "input_schema": {"type": "object", "properties": {}}}
            for name in rules.mcp_tools(tool)
        ]
        return [
            event("mcp_list_tools.completed", item_id=item.id),
            event("conversation.item.done", previous_item_id=None, item=item.shown()),
        ]

    # What the caller says.

    def _append(self, encoded: str, now: float) -> list[Event]:
        found: list[Event] = []
        for moment in self._hearing.append(incoming.audio(encoded, self._input_format, "audio")):
            found += self._moment(moment, now)
        return found

    def _moment(self, moment: Moment, now: float) -> list[Event]:
        turns = self._turns
        assert turns is not None
        self._idle += 1
        if moment.what == "started":
            start = max(self._hearing.start_ms, moment.ms - turns.get("prefix_padding_ms", 300))
            self._hearing.drop_before(start)
            self._speech_item = self.ids.new("item")
            found = [
                event("input_audio_buffer.speech_started", audio_start_ms=start, item_id=self._speech_item)
            ]
            return found + (self.responses.interrupt() if turns["interrupt_response"] else [])
        if moment.what == "paused":
            said = bytes(self._hearing.buffer)
            if turns["type"] != "semantic_vad" or recognise(said) is None:
                return []
            self._hearing.stop_speech()  # a whole sentence: no need to wait on
        return self._turn_over(moment.ms, turns, now)

    def _turn_over(self, end_ms: int, turns: Mapping[str, Any], now: float) -> list[Event]:
        stopped = event("input_audio_buffer.speech_stopped", audio_end_ms=end_ms, item_id=self._speech_item)
        committed = self._commit(self._speech_item, self._hearing.take(end_ms), now)
        self._speech_item = ""
        return [stopped, *committed, *(self._answer(now) if turns["create_response"] else [])]

    def _answer(self, now: float) -> list[Event]:
        """A response that nobody asked for by event; a conflict is told, not raised."""
        try:
            return self._create_response({}, now)
        except Problem as problem:
            return [events.error(problem)]

    def _create_response(self, asked: Mapping[str, Any], now: float) -> list[Event]:
        self._idle += 1
        return self.responses.create(asked, self.config, now)

    def _client_commit(self, now: float) -> list[Event]:
        length = self._hearing.buffered_ms
        if length < SHORTEST_COMMIT_MS:
            raise Problem(
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
                f"but buffer only has {length:.2f}ms of audio.",
                "input_audio_buffer_commit_empty",
            )
        id, self._speech_item = self._speech_item or self.ids.new("item"), ""
        return self._commit(id, self._hearing.take_all(), now)

    def _commit(self, id: str, mulaw: bytes, now: float) -> list[Event]:
        line = recognise(mulaw)
        self.heard.append(line.name if line else "")
        content = {"type": "input_audio", "transcript": None}
        fields = {"type": "message", "role": "user", "content": [content]}
        item = Item(id, fields, audio=bytearray(mulaw), line=line.name if line else None)
        previous = self.conversation.add(item)
        found = [
            event("input_audio_buffer.committed", item_id=id, previous_item_id=previous),
            event("conversation.item.added", previous_item_id=previous, item=item.shown()),
            event("conversation.item.done", previous_item_id=previous, item=item.shown()),
        ]
        self._transcribe(item, line.text if line else transcription.UNCLEAR, now)
        return found

    def _transcribe(self, item: Item, said: str, now: float) -> None:
        config = self.config["audio"]["input"]["transcription"]
        if config is None:
            return
        fails = self._faults.take("transcription") is not None
        logprobs = bool(self.config["include"])
        for after, made in transcription.script(item, said, config, logprobs=logprobs, fails=fails):
            self._later(now + after, partial(list, (made,)))
        if not fails:
            item.fields["content"] = [{"type": "input_audio", "transcript": said}]

    # Items.

    def _create_item(self, given: Mapping[str, Any], after: str | None) -> list[Event]:
        item = incoming.item(given, "item", self._input_format, self.conversation, self.ids)
        previous = self.conversation.add(item, after)
        return [
            event("conversation.item.added", previous_item_id=previous, item=item.shown()),
            event("conversation.item.done", previous_item_id=previous, item=item.shown()),
        ]

    # Silence, and the end.

    def _response_ended(self, now: float, unplayed: float) -> None:
        """Begin to wait for the caller, from when the answer will have been played."""
        wait = (self._turns or {}).get("idle_timeout_ms")
        if wait is not None:
            self._idle += 1
            token = self._idle
            start = self._hearing.end_ms + round(unplayed * 1000)
            self._timers.at(now + unplayed + wait / 1000, lambda at: self._idle_timeout(token, start, at))

    def _idle_timeout(self, token: int, start_ms: int, now: float) -> list[Event]:
        if token != self._idle or self._hearing.speaking:
            return []
        id = self.ids.new("item")
        end = self._hearing.end_ms
        return [
            event(
                "input_audio_buffer.timeout_triggered",
                audio_start_ms=min(start_ms, end),
                audio_end_ms=end,
                item_id=id,
            ),
            *self._commit(id, self._hearing.take_all(), now),
            *self._answer(now),
        ]

    def _expire(self) -> list[Event]:
        self.closing = Close(1001, events.EXPIRED.message)
        return [events.error(events.EXPIRED)]

"""The responses of a session: one at a time in the default conversation, others beside it. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ops.vendors.openai.simulator import events, incoming, rules, usage
from ops.vendors.openai.simulator.conversation import Conversation, Item
from ops.vendors.openai.simulator.events import Event, Ids, Problem
from ops.vendors.openai.simulator.faults import Faults
from ops.vendors.openai.simulator.limits import Limits
from ops.vendors.openai.simulator.response import Misbehaviour, Response, Step
from ops.vendors.openai.simulator.timers import Timers

Ended = Callable[[float, float], None]  # (when, seconds of audio not played yet)


@dataclass
class _Running:
    """A response being generated: what is left of its script and when it began."""

    response: Response
    script: Iterator[Step]
    began: float
    audio_from: float | None = None


class Responses:
    """Creates, follows and cuts responses; `ended` is told when one of the conversation is complete."""

    def __init__(
        self,
        ids: Ids,
        conversation: Conversation,
        timers: Timers[list[Event]],
        faults: Faults,
        answers: rules.Rules,
        ended: Ended,
    ) -> None:
        self._ids = ids
        self._conversation = conversation
        self._timers = timers
        self._faults = faults
        self._rules = answers
        self._ended = ended
        self._running: dict[str, _Running] = {}
        self.limits = Limits()
        self._context: usage.Context = []

    @property
    def active(self) -> Response | None:
        """The response that writes to the default conversation."""
        found = (each.response for each in self._running.values())
        return next((each for each in found if each.conversation is self._conversation), None)

    def create(self, asked: Mapping[str, Any], config: Mapping[str, Any], now: float) -> list[Event]:
        """Begin a response as `response.create` asks, over the session's configuration."""
        default = asked.get("conversation", "auto") == "auto"
        if default and self.active is not None:
            raise events.active_response(self.active.id)
        items = self._items(asked.get("input"), config["audio"]["input"]["format"]["type"])
        tools, choice = (asked.get(key, config[key]) for key in ("tools", "tool_choice"))
        output = incoming.approved(items, self._conversation) or rules.decide(
            incoming.heard(items), tools, choice, asked.get("instructions"), self._rules
        )
        context = usage.context(asked.get("instructions", config["instructions"]), tools, items)
        refusal = self.limits.take(now, sum(part[2] + part[3] for part in context))
        response = Response(
            id=self._ids.new("resp"),
            ids=self._ids,
            output=output,
            conversation=self._conversation if default else None,
            options=_options(asked, config),
            context=context,
            context_before=self._context,
            limits=self.limits.event(self._faults.take("limits")),
            refusal=refusal,
            misbehaviour=self._misbehaviour(),
        )
        self._context = context
        running = _Running(response, response.script(), now)
        self._running[response.id] = running
        return self._advance(running, now)

    def cancel(self, id: str | None) -> list[Event]:
        """As `response.cancel` asks: the named one, or the active one."""
        wanted = id or (self.active.id if self.active else None)
        if wanted not in self._running:
            raise Problem("Cancellation failed: no active response found", "response_cancel_not_active")
        return self._running.pop(wanted).response.cut("cancelled", "client_cancelled")

    def interrupt(self) -> list[Event]:
        """The caller speaks: the active response ends where it is."""
        if self.active is None:
            return []
        return self._running.pop(self.active.id).response.cut("cancelled", "turn_detected")

    def _items(self, given: list[Mapping[str, Any]] | None, format: str) -> list[Item]:
        """What the response answers: the conversation, or its own input."""
        if given is None:
            return self._conversation.items
        found = []
        for index, each in enumerate(given):
            if each["type"] == "item_reference":
                found.append(self._conversation.find(each["id"], "referring to", "reference"))
            else:
                path = f"response.input[{index}]"
                found.append(incoming.item(each, path, format, self._conversation, self._ids))
        return found

    def _misbehaviour(self) -> Misbehaviour:
        armed = self._faults.take("response")
        if armed is None:
            return Misbehaviour()
        return Misbehaviour(armed.fault.name, armed.numbers, random.Random(armed.seed))

    def _advance(self, running: _Running, now: float) -> list[Event]:
        """Follow a response's script up to now and set a timer for the rest."""
        response = running.response
        found: list[Event] = []
        if response.id not in self._running:
            return found
        for step in running.script:
            if isinstance(step, dict):
                found.append(step)
                if step["type"] == "response.output_audio.delta" and running.audio_from is None:
                    running.audio_from = now
            elif running.began + step > now:
                self._timers.at(running.began + step, lambda at: self._advance(running, at))
                return found
        del self._running[response.id]
        if response.conversation is not None:
            played = now - (running.audio_from if running.audio_from is not None else now)
            self._ended(now, max(0.0, response.audio_ms / 1000 - played))
        return found


def _options(asked: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    audio = {**config["audio"]["output"], **asked.get("audio", {}).get("output", {})}
    return {
        "output_modalities": asked.get("output_modalities", config["output_modalities"]),
        "format": audio["format"],
        "voice": audio["voice"],
        "max_output_tokens": asked.get("max_output_tokens", config["max_output_tokens"]),
        "metadata": asked.get("metadata"),
    }

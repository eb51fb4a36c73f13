"""The items of a conversation in their order: adding, truncating, and what they cost in tokens. Pure."""

from __future__ import annotations

import base64
import math
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from ops.vendors.openai.simulator import codec
from ops.vendors.openai.simulator.events import Event, Problem

USER_MS_PER_TOKEN = 100
AGENT_MS_PER_TOKEN = 50


@dataclass(eq=False)
class Item:
    """One item: its public fields, the sound in it (mu-law), and what the model made of it.

    `line` is the caller's line recognised in it, `tool` the name of the tool whose output it is.
    """

    id: str
    fields: dict[str, Any]
    status: str = "completed"
    audio: bytearray = field(default_factory=bytearray)
    line: str | None = None
    tool: str | None = None
    version: int = 0  # changes with truncation, which spoils the cache

    @property
    def type(self) -> str:
        return str(self.fields["type"])

    @property
    def role(self) -> str | None:
        return self.fields.get("role")

    @property
    def from_agent(self) -> bool:
        return self.role == "assistant"

    @property
    def audio_ms(self) -> int:
        return len(self.audio) // 8

    def shown(self) -> Event:
        """The item as events carry it now, without audio."""
        return {"id": self.id, "object": "realtime.item", "status": self.status, **deepcopy(self.fields)}

    def with_audio(self, format: str) -> Event:
        """The item as `conversation.item.retrieved` shows it, audio in the session's format."""
        shown = self.shown()
        for part in shown.get("content", []):
            if part["type"] in ("input_audio", "output_audio"):
                part["audio"] = base64.b64encode(codec.encode(format, bytes(self.audio))).decode()
        return shown

    def tokens(self) -> tuple[int, int]:
        """(text tokens, audio tokens) that this item is in the context; audio's transcript is free."""
        per = AGENT_MS_PER_TOKEN if self.from_agent else USER_MS_PER_TOKEN
        written = "".join(part.get("text") or "" for part in self.fields.get("content", []))
        written += "".join(str(self.fields.get(key) or "") for key in ("name", "arguments", "output"))
        return text_tokens(written), math.ceil(self.audio_ms / per)


class Conversation:
    """The default conversation, or the input of one response out of it."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.items: list[Item] = []

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Put an item at the end, or after another one ("root": first); the id of the one before it."""
        if self.get(item.id) is not None:
            raise Problem(
                f"Error adding item: an item with id '{item.id}' already exists.",
                "item_create_duplicate_item_id",
                "item.id",
            )
        if after is None:
            place = len(self.items)
        elif after == "root":
            place = 0
        else:
            previous = self.get(after)
            if previous is None:
                raise Problem(
                    f"Error adding item: the previous item with id '{after[:100]}' does not exist.",
                    "item_create_invalid_previous_item_id",
                    "previous_item_id",
                )
            place = self.items.index(previous) + 1
        self.items.insert(place, item)
        return self.before(item)

    def before(self, item: Item) -> str | None:
        place = self.items.index(item)
        return self.items[place - 1].id if place else None

    def get(self, id: str) -> Item | None:
        return next((item for item in self.items if item.id == id), None)

    def find(self, id: str, doing: str, verb: str) -> Item:
        """The item, or the Problem that this verb's event answers with."""
        item = self.get(id)
        if item is None:
            raise Problem(
                f"Error {doing} item: the item with id '{id[:100]}' does not exist.",
                f"item_{verb}_invalid_item_id",
                "item_id",
            )
        return item

    def truncate(self, id: str, content_index: int, audio_end_ms: int) -> None:
        """Cut an assistant's audio and delete its transcript; Problem where that is not possible."""
        item = self.find(id, "truncating", "truncate")
        content = item.fields.get("content", [])
        if not item.from_agent or not item.audio:
            raise Problem(
                "Only model output audio messages can be truncated", "unsupported_content_type", "item_id"
            )
        if content_index >= len(content):
            raise Problem(
                f"Error truncating item: content index {content_index} does not exist.",
                "item_truncate_invalid_content_index",
                "content_index",
            )
        if audio_end_ms > item.audio_ms:
            raise Problem(
                f"Audio content of {item.audio_ms}ms is already shorter than {audio_end_ms}ms",
                "invalid_value",
                "audio_end_ms",
            )
        del item.audio[audio_end_ms * 8 :]
        content[content_index].pop("transcript", None)
        item.version += 1


def text_tokens(text: str) -> int:
    """Roughly what a tokeniser would count: four characters a token."""
    return math.ceil(len(text) / 4)

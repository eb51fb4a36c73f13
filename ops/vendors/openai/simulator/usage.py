"""What a response cost: tokens by modality, and how many of them were cached. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ops.vendors.openai.simulator.conversation import Item, text_tokens

BLOCK = 64  # tokens: the cache holds whole blocks
Context = list[tuple[str, int, int, int]]  # (item, version, text tokens, audio tokens)


def context(instructions: str, tools: Sequence[Mapping[str, Any]], items: Sequence[Item]) -> Context:
    """What the model reads for a response: instructions with tools, then every item."""
    head = text_tokens(instructions) + (text_tokens(json.dumps(tools)) if tools else 0)
    return [
        (f"head:{instructions}:{json.dumps(tools)}", 0, head, 0),
        *((item.id, item.version, *item.tokens()) for item in items),
    ]


def cached(now: Context, before: Context) -> tuple[int, int]:
    """(text, audio) tokens that the previous response has read already: the common beginning."""
    text = audio = 0
    for ours, theirs in zip(now, before, strict=False):
        if ours != theirs:
            break
        text += ours[2]
        audio += ours[3]
    return text - text % BLOCK, audio - audio % BLOCK


def usage(now: Context, before: Context, out_text: int, out_audio: int) -> dict[str, Any]:
    """The `usage` of response.done; cached tokens are a part of the input tokens."""
    text, audio = sum(part[2] for part in now), sum(part[3] for part in now)
    cached_text, cached_audio = cached(now, before)
    return {
        "total_tokens": text + audio + out_text + out_audio,
        "input_tokens": text + audio,
        "output_tokens": out_text + out_audio,
        "input_token_details": {
            "text_tokens": text,
            "audio_tokens": audio,
            "image_tokens": 0,
            "cached_tokens": cached_text + cached_audio,
            "cached_tokens_details": {
                "text_tokens": cached_text,
                "audio_tokens": cached_audio,
                "image_tokens": 0,
            },
        },
        "output_token_details": {"text_tokens": out_text, "audio_tokens": out_audio},
    }

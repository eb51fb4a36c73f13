"""Tokens by modality, and the share of them that was cached."""

from __future__ import annotations

from typing import Any

from ops.speech import library
from tests.vendors.openai.simulator.rig import Rig


def _usage(rig: Rig) -> dict[str, Any]:
    return dict(rig.last("response.done")["response"]["usage"])


def test_audio_tokens_follow_its_length() -> None:
    """The caller's audio is a token for 100 ms, the agent's one for 50 ms."""
    rig = Rig()
    rig.say("caller-hours")
    rig.run(3)
    usage = _usage(rig)
    heard = rig.last("input_audio_buffer.speech_stopped")["audio_end_ms"]
    assert usage["input_token_details"]["audio_tokens"] == -(-heard // 100)
    said = len(library.line("agent-hours").audio) // 8
    assert usage["output_token_details"]["audio_tokens"] == -(-said // 50)
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_what_the_last_response_read_is_cached_in_blocks() -> None:
    """Nothing at first, then whole blocks of 64 tokens, a part of the input tokens."""
    rig = Rig()
    rig.configure(instructions="x" * 4000)
    rig.send("response.create")
    rig.run(3)
    assert _usage(rig)["input_token_details"]["cached_tokens"] == 0
    rig.say("caller-hours")
    rig.run(3)
    details = _usage(rig)["input_token_details"]
    assert details["cached_tokens_details"]["text_tokens"] == 960  # of 1000
    assert details["cached_tokens"] < _usage(rig)["input_tokens"]


def test_truncation_spoils_the_cache_from_there_on() -> None:
    """Audio that was cached is read anew after its item was cut."""

    def cached(truncate: bool) -> int:
        rig = Rig()
        rig.say("caller-price")
        rig.run(3)
        item = rig.last("response.done")["response"]["output"][0]["id"]
        rig.send("response.create")
        rig.run(3)
        if truncate:
            rig.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=100)
        rig.say("caller-hours")
        rig.run(3)
        return int(_usage(rig)["input_token_details"]["cached_tokens_details"]["audio_tokens"])

    assert cached(truncate=False) >= 128
    assert cached(truncate=True) == 0


def test_rate_limits_shrink_and_recover() -> None:
    """Each response takes from what is left of the minute."""
    rig = Rig()
    left = []
    for pause in (3, 3, 61):
        rig.send("response.create", response={"conversation": "none"})
        requests, tokens = rig.last("rate_limits.updated")["rate_limits"]
        assert (requests["name"], tokens["name"]) == ("requests", "tokens")
        left.append(tokens["remaining"])
        rig.run(pause)
    rig.send("response.create", response={"conversation": "none"})
    left.append(rig.last("rate_limits.updated")["rate_limits"][1]["remaining"])
    assert left[0] > left[1] > left[2] < left[3] == left[0]


def test_what_a_minute_does_not_hold_fails() -> None:
    """About a hundred responses use its tokens up: the next fails and takes nothing; a minute later all is well."""
    rig = Rig()

    def asked() -> tuple[str, int]:
        rig.send("response.create", response={"conversation": "none"})
        rig.run(0.5)
        response = rig.last("response.done")["response"]
        left = rig.last("rate_limits.updated")["rate_limits"][1]["remaining"]
        if response["status"] == "failed":
            error = response["status_details"]["error"]
            assert (error["type"], error["code"]) == ("tokens", "rate_limit_exceeded")
            assert "Please try again in" in error["message"]
        return response["status"], left

    rig.run(1)
    found = [asked() for _ in range(100)]
    statuses = [status for status, _ in found]
    enough = statuses.index("failed")
    assert 90 <= enough <= 98
    assert set(statuses[enough:]) == {"failed"}
    assert len({left for _, left in found[enough - 1 :]}) == 1
    rig.run(61)
    rig.send("response.create", response={"conversation": "none"})
    rig.run(10)
    assert rig.last("response.done")["response"]["status"] == "completed"

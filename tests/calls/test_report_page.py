from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ops.calls.audio import recording
from ops.calls.judge import judge
from ops.calls.report_page import render
from ops.calls.scenario import REPAIR_SHOP
from ops.calls.timeline import read
from tests.calls import histories
from tests.calls.sound import tone, wav, written

VENDORS = {"twilio": "simulated", "openai": "live", "ngrok": "simulated"}
VOID = {"meta"}


def page(records: histories.Records, folder: Path | None = None, **data: Any) -> str:
    timeline = read(REPAIR_SHOP, records)
    sound = wav(tone(1.0), tone(1.0)) if folder else None
    return render(
        data={
            "verdict": "ok",
            "scenario": "repair-shop",
            "started": "2026-11-23T06:20:00.000+00:00",
            "seconds": 12.3,
            "call_sid": "CA…",
            **data,
        },
        vendors=VENDORS,
        timeline=timeline,
        recording=recording(written(folder / "call.wav", sound)) if folder and sound else None,
        findings=judge(REPAIR_SHOP, timeline),
        wav=sound,
    )


class Balance(HTMLParser):
    """Whether every tag that is opened is closed, in order; and all tags and addresses seen."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [
            value or "" for name, value in attrs if name in ("src", "href", "action", "poster")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(tmp_path: Path) -> None:
    """Well nested, no script, no address but the sound inside the page itself."""
    text = page(histories.good(), tmp_path)
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert {"svg", "audio", "table"} <= parser.tags
    assert "script" not in parser.tags
    assert [address[:22] for address in parser.addresses] == ["data:audio/wav;base64,"]
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert "url(" not in text


def test_the_page_tells_the_whole_call(tmp_path: Path) -> None:
    """Every hop, the transcript, turn latencies, and each vendor as live or simulated."""
    text = page(histories.good(), tmp_path)
    for expected in REPAIR_SHOP.hops:
        assert expected.hop.value in text
    assert "How much is a repair?" in text
    assert "656 ms" in text
    assert "twilio SIMULATED" in text
    assert "openai LIVE" in text


@pytest.mark.parametrize("event", ["transcript.caller", "transcript.agent"])
def test_what_was_said_cannot_become_markup(event: str) -> None:
    """A caller may say anything."""
    hostile = "</dd><script>alert(1)</script><img src=x onerror=alert(2)>"
    text = page(histories.changed(event, lambda one: {**one, "text": hostile}))
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;" in text


def test_names_and_errors_cannot_become_markup() -> None:
    """Nor may a scenario's name, a SID or a logged message."""
    records = histories.good()
    records.append({**records[5], "level": "ERROR", "event": "<b>e</b>", "msg": "<u>m</u>"})
    text = page(records, scenario="<i>s</i>", call_sid="<s>c</s>", started='"><q>')
    for tag in ("<b>", "<u>", "<i>", "<s>", "<q>"):
        assert tag not in text


def test_a_call_without_anything_is_still_a_page() -> None:
    """No records and no recording: the page says so."""
    text = page([], verdict="failed")
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert "There is no recording." in text
    assert "Nothing was transcribed." in text

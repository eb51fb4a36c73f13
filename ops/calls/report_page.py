"""A call's report as one HTML file: no request, no script, every text escaped. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ops.calls.audio import Recording
from ops.calls.report_style import CSS
from ops.calls.report_svg import hop_bar, waveform
from ops.calls.timeline import Timeline, percentile
from ops.findings import VENDORS, Finding

INLINE_AT_MOST = 3 * 1024 * 1024  # bytes of call.wav that are put into the page
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; media-src data:; base-uri 'none'; form-action 'none'"
)
_ORDER = {"fail": 0, "unknown": 1, "warn": 2, "ok": 3, "skip": 4}


def render(
    *,
    data: Mapping[str, Any],
    vendors: Mapping[str, str],
    timeline: Timeline,
    recording: Recording | None,
    findings: Sequence[Finding],
    wav: bytes | None,
) -> str:
    """The page; `data` is the report's data and `wav` the recording, when it may stand in the page."""
    good = data["verdict"] == "ok"
    verdict = ("ok", "passed") if good else ("fail", "failed")
    sections = (
        _figures(data, timeline, recording),
        _findings(findings),
        _card("Sound", waveform(timeline, recording) + _player(recording, wav)),
        _hops(timeline),
        _transcript(timeline),
        _turns(timeline),
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{verdict[1].capitalize()}: test call {escape(str(data["scenario"]))}</title>
<style>{CSS}</style>
</head>
<body>
<main>
<header>
<h1>Test call {escape(str(data["scenario"]))} {_badge(*verdict)}</h1>
<p class="soft">{escape(str(data["started"]))} · {float(data["seconds"]):.1f} s ·
<code>{escape(str(data["call_sid"]))}</code></p>
<ul class="badges">{"".join(f"<li>{_vendor(name, vendors.get(name, 'error'))}</li>" for name in VENDORS)}</ul>
</header>
{"".join(sections)}
<footer>Written by Trunkline. Times are milliseconds since the call was placed.</footer>
</main>
</body>
</html>
"""


def _badge(kind: str, text: str) -> str:
    return f'<span class="badge {escape(kind)}">{escape(text)}</span>'


def _card(title: str, body: str) -> str:
    return f'<h2>{title}</h2><div class="card">{body}</div>'


def _table(head: str, rows: Iterable[str]) -> str:
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _vendor(name: str, how: str) -> str:
    return _badge(how, f"{name} {how.upper()}")


def _figures(data: Mapping[str, Any], timeline: Timeline, recording: Recording | None) -> str:
    yields = data.get("yields_ms") or timeline.stops_ms
    latencies = [turn.latency_ms for turn in timeline.turns]
    rows = (
        ("Turns answered", f"{len(latencies)}"),
        ("Turn latency p95", f"{percentile(latencies, 0.95):.0f} ms" if latencies else "none"),
        ("Interrupted, silent in", f"{max(yields):.0f} ms" if yields else "none"),
        ("Caller level", f"{recording.caller.dbfs:.0f} dBFS" if recording else "not recorded"),
        ("Agent level", f"{recording.agent.dbfs:.0f} dBFS" if recording else "not recorded"),
    )
    cells = (f'<div class="figure"><dt>{name}</dt><dd>{value}</dd></div>' for name, value in rows)
    return f'<dl class="figures">{"".join(cells)}</dl>'


def _findings(findings: Sequence[Finding]) -> str:
    rows = []
    for finding in sorted(findings, key=lambda one: _ORDER[one.status]):
        fix = (
            f'<p class="soft">Fix: {escape(finding.fix)}</p>'
            if finding.fix and finding.status != "ok"
            else ""
        )
        rows.append(
            f"<li>{_badge(finding.status, finding.status)}<div><p>{escape(finding.summary)}</p>{fix}</div>"
            f'<code class="soft">{escape(finding.id)}</code></li>'
        )
    return _card("Findings", f'<ul class="findings">{"".join(rows)}</ul>')


def _player(recording: Recording | None, wav: bytes | None) -> str:
    if wav:
        data = base64.b64encode(wav).decode("ascii")
        return (
            f'<audio controls preload="metadata" src="data:audio/wav;base64,{data}"></audio>'
            '<p class="soft">The caller is on the left, the agent on the right.</p>'
        )
    where = (
        "The recording is long: play call.wav, beside this file." if recording else "There is no recording."
    )
    return f'<p class="soft">{where}</p>'


def _hops(timeline: Timeline) -> str:
    rows = []
    for row in timeline.hops:
        at, took = _ms(row.at_ms), _ms(row.took_ms)
        bar = hop_bar(row, timeline.length_ms)
        rows.append(
            f'<tr><td><code>{escape(row.name)}</code></td><td class="bar">{bar}</td>'
            f'<td class="number">{took}</td><td class="number">{at}</td>'
            f"<td>{_badge(row.status, row.status)}</td></tr>"
        )
    head = (
        '<th>hop</th><th class="bar">from the hop it follows</th>'
        '<th class="number">took ms</th><th class="number">at ms</th><th></th>'
    )
    return _card("Hops", _table(head, rows))


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _transcript(timeline: Timeline) -> str:
    if not timeline.said:
        return _card("Transcript", '<p class="soft">Nothing was transcribed.</p>')
    rows = (
        f'<dt><span class="number">{said.at_ms / 1000:.1f} s</span>'
        f'<span class="{said.speaker}">{said.speaker}</span></dt><dd>{escape(said.text)}</dd>'
        for said in timeline.said
    )
    return _card("Transcript", f'<dl class="said">{"".join(rows)}</dl>')


def _turns(timeline: Timeline) -> str:
    if not timeline.turns:
        return ""
    rows = (
        f'<tr><td class="number">{turn.index}</td><td class="number">{turn.latency_ms:.0f}</td>'
        f"<td>{'after an interruption' if turn.barge_in else ''}</td></tr>"
        for turn in timeline.turns
    )
    return _card(
        "Turns", _table('<th class="number">turn</th><th class="number">latency ms</th><th></th>', rows)
    )

"""The pictures of a call's report as inline SVG: the two-track waveform, a bar of the waterfall. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ops.calls.audio import Recording
from ops.calls.timeline import HopRow, Timeline
from ops.journal.hops import Hop

WIDTH = 960
COLUMNS = 480  # bars of the waveform
TRACK = 56  # height of one side's track
FRAME = 0.02  # seconds that one peak stands for


def waveform(timeline: Timeline, recording: Recording | None) -> str:
    """Both sides over time, the caller above the agent, with turns and interruptions marked.

    The time axis is the timeline's.
    """
    offset = recording.at_ms / 1000 if recording else 0.0
    total = max(timeline.length_ms / 1000, offset + (recording.seconds if recording else 0), 0.5)
    top, bottom = 34, 34 + 2 * TRACK + 14
    parts = [
        f'<svg class="wave" viewBox="0 0 {WIDTH} {bottom + 24}" role="img" '
        f'aria-label="Waveform of caller and agent over {total:.1f} seconds">'
    ]
    parts += _axis(total, bottom)
    for number, side in enumerate(("caller", "agent")):
        middle = top + TRACK / 2 + number * (TRACK + 14)
        parts.append(
            f'<line x1="0" x2="{WIDTH}" y1="{middle}" y2="{middle}" stroke="var(--line)"/>'
            f'<text x="0" y="{middle - TRACK / 2 + 4}" style="fill:var(--{side})">{side}</text>'
        )
        if recording:
            peaks = recording.caller.peaks if side == "caller" else recording.agent.peaks
            path = _bars(peaks, offset, total, middle)
            parts.append(f'<path d="{path}" stroke="var(--{side})" stroke-width="1.4" fill="none"/>')
    for number, turn in enumerate(timeline.turns):
        x = turn.at_ms / 1000 / total * WIDTH
        row = 24 if number % 2 else 11  # two rows, so that labels of short turns do not meet
        note = ", after interruption" if turn.barge_in else ""
        anchor = "end" if x > WIDTH - 170 else "start"
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{row + 3}" y2="{bottom}" stroke="var(--soft)" '
            f'stroke-dasharray="2 3"/>'
            f'<text x="{x:.1f}" y="{row}" text-anchor="{anchor}">turn {turn.index}: '
            f"{turn.latency_ms:.0f} ms{note}</text>"
        )
    for mark in timeline.marks:
        if mark.name == Hop.CLEARED:
            x = mark.at_ms / 1000 / total * WIDTH
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" stroke="var(--fail)">'
                f"<title>the phone's buffer was cleared at {mark.at_ms:.0f} ms</title></line>"
            )
    return "".join([*parts, "</svg>"])


def hop_bar(row: HopRow, length_ms: float) -> str:
    """One hop of the waterfall: from the hop that it waits for to itself."""
    if row.at_ms is None or length_ms <= 0:
        return ""
    scale = 400 / length_ms
    end = max(0.0, row.at_ms) * scale
    begin = max(0.0, (row.at_ms - max(0.0, row.took_ms or 0.0)) * scale)
    wait = max(0.0, end - begin)
    colour = "var(--fail)" if row.status == "late" else "var(--agent)"
    title = f"{row.took_ms or 0:.0f} ms after {row.expected.after.value}"
    return (
        f'<svg viewBox="0 0 404 12" preserveAspectRatio="none" height="12" aria-hidden="true">'
        f'<rect x="{begin:.1f}" y="4.5" width="{wait:.1f}" height="3" fill="{colour}" opacity=".35"/>'
        f'<rect x="{end:.1f}" y="1" width="3" height="10" rx="1" fill="{colour}">'
        f"<title>{escape(title)}</title></rect></svg>"
    )


def _axis(total: float, y: float) -> list[str]:
    step = next((step for step in (1, 2, 5, 10, 30, 60, 300) if total / step <= 16), 600)
    parts = []
    for second in range(0, int(total) + 1, step):
        x = second / total * WIDTH
        anchor = "start" if second == 0 else "end" if x > WIDTH - 14 else "middle"
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 4}" stroke="var(--soft)"/>'
            f'<text x="{x:.1f}" y="{y + 17}" text-anchor="{anchor}">{second} s</text>'
        )
    return parts


def _bars(peaks: Sequence[float], offset: float, total: float, middle: float) -> str:
    width = total / COLUMNS  # seconds of one bar
    highest: dict[int, float] = {}
    for number, peak in enumerate(peaks):
        column = int((offset + number * FRAME) / width)
        highest[column] = max(highest.get(column, 0.0), peak)
    bars = []
    for column, peak in highest.items():
        half = min(1.0, peak**0.6) * TRACK / 2  # compressed, so that quiet speech can be seen
        if half > 0.4:
            x = (column + 0.5) * WIDTH / COLUMNS
            bars.append(f"M{x:.0f} {middle - half:.1f}V{middle + half:.1f}")
    return "".join(bars)

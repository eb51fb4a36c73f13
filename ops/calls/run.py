"""The end-to-end test call as one function: teach the phone, place, follow, judge, leave a report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.calls import audio, ending, phone, report_page
from ops.calls.judge import judge
from ops.calls.place import Followed, Progress, numbers, place
from ops.calls.scenario import REPAIR_SHOP, Scenario, load
from ops.calls.timeline import Timeline, read
from ops.config import Settings
from ops.errors import OpsError, Unreachable
from ops.findings import Finding
from ops.journal.hops import Hop
from ops.vendors.ngrok.client import public_url

TUNNEL_WAIT = 3.0  # seconds; `start` has waited for the tunnel already
WAV_WAIT = 2.0  # seconds that the bridge may need to finish call.wav after its last record


@dataclass(frozen=True)
class Outcome:
    """What a test call found: the findings, and `data` of the report as `call` gives it."""

    findings: tuple[Finding, ...]
    data: Mapping[str, Any]


def run(
    settings: Settings,
    *,
    scenario: str = REPAIR_SHOP.name,
    to: str | None = None,
    fault: str | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Outcome:
    """Place one test call and judge it; `scenario` is a built-in name or a .json or .toml file.

    `progress` is called with everything that is seen while the call goes on. Raises OpsError when
    the call could not be placed; a call that went wrong is a failing finding. Ctrl-C hangs up.
    """
    script = load(scenario, lambda name: Path(name).read_text("utf-8"))
    called, _ = numbers(settings, to)
    try:
        address = public_url(settings, deadline=min(TUNNEL_WAIT, settings.timeout_ngrok_tunnel))
        scripted = phone.teach(settings, called, script)
    except Unreachable as problem:
        raise Unreachable(problem.message, fix="start the stack first: inv start") from None
    if not scripted:
        progress(Progress(0.0, "note", f"{called} rings now: answer it and say what the scenario says"))
    with failing(settings, fault, progress):
        followed = place(settings, script, public_url=address, to=called, progress=progress)
    return conclude(settings, script, followed, scripted=scripted)


@contextmanager
def failing(settings: Settings, fault: str | None, progress: Callable[[Progress], None]) -> Iterator[None]:
    """With a fault ordered from the simulator that knows it, for this call alone."""
    if fault is None:
        yield
        return
    vendor = phone.order_fault(settings, fault)
    progress(Progress(0.0, "note", f"the {vendor} simulator will fail once: {fault}"))
    try:
        yield
    finally:
        phone.withdraw_fault(settings, vendor, fault)


def conclude(settings: Settings, scenario: Scenario, followed: Followed, *, scripted: bool) -> Outcome:
    """Judge a call that is over and leave report.json, report.html and call.wav in its folder."""
    folder = settings.logs / "calls" / followed.call_sid
    folder.mkdir(parents=True, exist_ok=True)
    heard = None
    with suppress(OpsError):  # the phone's view is a witness more; the call is judged without it, too
        heard = phone.heard(settings, followed.call_sid)
    timeline = read(scenario, followed.records)
    # A user's own bridge writes no hops; then the phone is the witness that a stream was opened.
    streamed = timeline.first(Hop.STARTED) is not None or (heard is not None and heard.streamed)
    wanted = settings.record_calls != "none"
    recording, problem = None, ""
    if streamed:
        wait = WAV_WAIT if wanted else 0.0
        recording, problem = recorded(settings, followed.call_sid, folder / "call.wav", wait)
        if recording:  # it begins with the media stream
            recording = replace(recording, at_ms=timeline.first(Hop.STARTED) or 0.0)
    yields = _yields(timeline, recording)
    findings = (
        ending.status(followed.status, cut_short=followed.cut_short, seconds=scenario.seconds),
        *judge(scenario, timeline, scripted=scripted, yields_ms=yields),
        *(ending.phone(heard.steps, heard.errors) if heard else ()),
        audio.judge(recording, problem=problem, streamed=streamed, recorded=wanted),
    )
    return leave(settings, scenario, followed.call_sid, timeline, recording, findings, yields_ms=yields)


def leave(
    settings: Settings,
    scenario: Scenario,
    call_sid: str,
    timeline: Timeline,
    recording: audio.Recording | None,
    findings: tuple[Finding, ...],
    **more: Any,
) -> Outcome:
    """Write what was found into the call's folder; the outcome names the files. `more` data is told, too."""
    folder = settings.logs / "calls" / call_sid
    data = _data(scenario, call_sid, timeline, recording, findings) | more
    files = _write(settings, folder, data, timeline, recording, findings)
    return Outcome(findings, {**data, "files": files})


def recorded(
    settings: Settings, call_sid: str, path: Path, wait: float
) -> tuple[audio.Recording | None, str]:
    """The recording that the bridge leaves, or else the simulated phone's own, and why there is none."""
    until = time.monotonic() + wait
    problem = ""
    while True:
        try:
            return audio.recording(path), ""
        except ValueError as found:
            problem = str(found) if path.exists() else ""
        if time.monotonic() > until:
            break
        time.sleep(0.05)
    with suppress(OpsError, ValueError):
        if not path.exists() and (heard := phone.audio(settings, call_sid)):
            path.write_bytes(heard)
            return audio.recording(path), ""
    return None, problem


def _yields(timeline: Timeline, recording: audio.Recording | None) -> list[float]:
    """For each interruption, ms from the caller's first recorded sound to the emptied phone buffer."""
    if recording is None:
        return []
    zero = recording.at_ms
    cleared = [mark.at_ms for mark in timeline.marks if mark.name == Hop.CLEARED]
    began = [(at, audio.onset(recording.caller, at - zero)) for at in cleared]
    return [round(at - zero - onset, 1) for at, onset in began if onset is not None]


def _data(
    scenario: Scenario,
    call_sid: str,
    timeline: Timeline,
    recording: audio.Recording | None,
    findings: tuple[Finding, ...],
) -> dict[str, Any]:
    good = all(finding.status in ("ok", "warn", "skip") for finding in findings)
    return {
        "call_sid": call_sid,
        "verdict": "ok" if good else "failed",
        "scenario": scenario.name,
        "started": datetime.fromtimestamp(timeline.started, UTC).isoformat(timespec="milliseconds"),
        "seconds": round(timeline.length_ms / 1000, 3),
        "hops": [{"name": row.name, "at_ms": row.at_ms, "status": row.status} for row in timeline.hops],
        "turns": [
            {"index": turn.index, "latency_ms": turn.latency_ms, "barge_in": turn.barge_in}
            for turn in timeline.turns
        ],
        "stops_ms": list(timeline.stops_ms),
        "transcript": [
            {"at_ms": said.at_ms, "speaker": said.speaker, "text": said.text} for said in timeline.said
        ],
        "audio": recording.to_dict() if recording else {"caller_dbfs": None, "agent_dbfs": None},
    }


def _write(
    settings: Settings,
    folder: Path,
    data: Mapping[str, Any],
    timeline: Timeline,
    recording: audio.Recording | None,
    findings: tuple[Finding, ...],
) -> dict[str, str]:
    """Write report.json and report.html; the files that exist now, by name."""
    document = {
        "schema": "trunkline/call@1",
        "vendors": dict(settings.vendors),
        **data,
        "findings": [finding.to_dict() for finding in findings],
    }
    (folder / "report.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
    wav = folder / "call.wav"
    page = report_page.render(
        data=data,
        vendors=settings.vendors,
        timeline=timeline,
        recording=recording,
        findings=findings,
        wav=wav.read_bytes() if recording and wav.stat().st_size <= report_page.INLINE_AT_MOST else None,
    )
    (folder / "report.html").write_text(page, "utf-8")
    names = ("report.html", "report.json", "call.wav", "journal.jsonl")
    return {name: str((folder / name).resolve()) for name in names if (folder / name).is_file()}

"""Opens the streams of <Connect> and <Start> on a phone, and tells their status callback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.vendors.twilio.simulator import twiml
from ops.vendors.twilio.simulator.calls import utc_now
from ops.vendors.twilio.simulator.errors import Notice
from ops.vendors.twilio.simulator.stream import MediaStream, Refused, Troubles, Whose
from ops.vendors.twilio.simulator.websocket import absolute_address

if TYPE_CHECKING:
    from ops.vendors.twilio.simulator.phone import Phone

TRACKS = {
    "inbound_track": ("inbound",),
    "outbound_track": ("outbound",),
    "both_tracks": ("inbound", "outbound"),
}


async def open_stream(phone: Phone, spec: twiml.Stream, *, two_way: bool) -> MediaStream | None:
    """Open a stream; None when it could not be opened, which the debugger then tells."""
    faults = phone.exchange.faults
    whose = Whose(
        account_sid=phone.call.account_sid,
        call_sid=phone.call.sid,
        stream_sid=phone.exchange.new_sid("MZ"),
        url=absolute_address(spec.url, phone.documents.base_url),
        name=spec.name,
        parameters={} if faults.strikes("stream-ticketless") else dict(spec.parameters),
        tracks=("inbound",) if two_way else TRACKS[spec.track],
        two_way=two_way,
        webhook=phone.documents.base_url,
    )
    form = {
        "AccountSid": whose.account_sid,
        "CallSid": whose.call_sid,
        "StreamSid": whose.stream_sid,
        "StreamName": spec.name or whose.stream_sid,
    }

    def tell(event: str, **more: str) -> None:
        if spec.status_callback:
            now = utc_now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
            url = phone.documents.address(spec.status_callback)
            phone.reports.tell(
                spec.status_method, url, {**form, "StreamEvent": event, "Timestamp": now, **more}
            )

    def on_notice(notice: Notice) -> None:
        phone.notice(notice)
        if notice.level == "error":
            tell("stream-error", StreamError=f"{notice.code} {notice.message}")

    def on_end() -> None:
        if stream in phone.streams:
            phone.streams.remove(stream)
        tell("stream-stopped")

    assert phone.line is not None, "the call was answered before its verbs ran"
    stream = MediaStream(whose, phone.line, phone.history, _troubles(phone), on_notice, on_end)
    try:
        if faults.strikes("stream-refused"):
            raise Refused(Notice(31902, "on request"))
        await stream.open("0" * 32 if faults.strikes("stream-forged") else phone.exchange.account.token)
    except Refused as problem:
        on_notice(problem.notice)
        return None
    if not stream.finished.done():
        phone.streams.append(stream)
    tell("stream-started")
    return stream


def _troubles(phone: Phone) -> Troubles:
    """What goes wrong on the next stream: faults that strike, and the person's own bad line."""
    faults, quality = phone.exchange.faults, phone.person.quality

    def option(name: str, option: str) -> float | None:
        struck = faults.strike(name)
        return None if struck is None else struck.numbers[option]

    def seeded(name: str, option: str) -> tuple[float, int] | None:
        struck = faults.strike(name)
        return None if struck is None else (struck.numbers[option], struck.seed)

    stall = option("stream-stall", "ms")
    half_open = option("caller-half-open", "ms") if stall is None else stall
    slow = option("stream-slow", "ms")
    return Troubles(
        reset_ms=option("stream-reset", "ms"),
        stall_ms=quality.half_open_ms if half_open is None else half_open,
        slow_ms=quality.late_ms if slow is None else slow,
        slice_bytes=option("stream-slice", "bytes"),
        drop=seeded("stream-drop", "share"),
        garbage=seeded("stream-garbage", "every"),
        alaw=faults.strikes("stream-alaw"),
        marks_lost=faults.strikes("marks-lost"),
    )

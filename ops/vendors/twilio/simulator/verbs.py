"""What each TwiML verb does to a phone. A verb ends by giving way to the next one, by naming where
the next TwiML comes from, or by ending the call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ops.vendors.twilio.simulator import twiml
from ops.vendors.twilio.simulator.callbacks import Failed
from ops.vendors.twilio.simulator.documents import Source
from ops.vendors.twilio.simulator.errors import Notice
from ops.vendors.twilio.simulator.line import Line, Tap
from ops.vendors.twilio.simulator.streaming import open_stream

if TYPE_CHECKING:
    from ops.vendors.twilio.simulator.phone import Phone


class _Over(Exception):
    """The call ends with this verb."""


ENDLESS_LOOPS = 1000  # what loop="0" means


async def run(phone: Phone, document: twiml.Document) -> Source | None:
    """Carry a document out; where the next one comes from, or None when the call is over."""
    try:
        for verb in document.verbs:
            phone.history.note("twiml", verb=type(verb).__name__)
            if (source := await _one(phone, verb)) is not None:
                return source
    except _Over:
        pass
    return None


async def _one(phone: Phone, verb: twiml.Verb) -> Source | None:
    if isinstance(verb, twiml.Redirect):
        return Source(phone.documents.address(verb.url), verb.method)
    if phone.line is None:
        if isinstance(verb, twiml.Reject):
            phone.hang_up("twiml", "busy" if verb.reason == "busy" else "no-answer")
            raise _Over
        if isinstance(verb, twiml.Pause):
            await asyncio.sleep(verb.seconds)
            return None
        phone.answer()
    if isinstance(verb, twiml.Say | twiml.Play | twiml.Pause):
        await _sound(phone, verb)
    elif isinstance(verb, twiml.Gather):
        return await _gather(phone, verb)
    elif isinstance(verb, twiml.Dial):
        return await _dial(phone, verb)
    elif isinstance(verb, twiml.Connect):
        return await _connect(phone, verb)
    elif isinstance(verb, twiml.Start):
        phone.beside(open_stream(phone, verb.stream, two_way=False))  # the next verb does not wait for it
    elif isinstance(verb, twiml.Stop):
        for stream in [each for each in phone.streams if not each.whose.two_way]:
            if verb.name in ("", stream.whose.name):
                stream.end()
    elif isinstance(verb, twiml.NotSimulated):
        phone.history.note("twiml.not-simulated", verb=verb.name)
    else:
        raise _Over  # Hangup, or a Reject that comes too late
    return None


async def _sound(phone: Phone, verb: twiml.Say | twiml.Play | twiml.Pause) -> None:
    if isinstance(verb, twiml.Pause):
        await asyncio.sleep(verb.seconds)
        return
    audio = await _audio(phone, verb)
    for _ in range(verb.loop or ENDLESS_LOOPS):
        if not audio:
            return
        line = _line(phone)
        line.play(audio)
        try:
            await line.played()
        except asyncio.CancelledError:
            line.quiet()
            raise


async def _audio(phone: Phone, verb: twiml.Say | twiml.Play) -> bytes:
    if isinstance(verb, twiml.Say):
        from ops.vendors.twilio.simulator import voice

        return voice.speak(verb.text)
    if not verb.url:
        return b""
    from ops.vendors.twilio.simulator import sound

    url = phone.documents.address(verb.url)
    try:
        answer = await phone.exchange.requester.send("GET", url, {})
        if answer.status >= 400:
            raise Failed(Notice(11217, f"{url} answered {answer.status}"), url)
        return sound.mulaw(answer.body, answer.content_type)
    except Failed as problem:
        phone.notice(problem.notice)
    except sound.BadSound as problem:
        phone.notice(Notice(13420, f"{url}: {problem}"))
    return b""


async def _gather(phone: Phone, verb: twiml.Gather) -> Source | None:
    while not phone.keys.empty():
        phone.keys.get_nowait()
    prompts = asyncio.get_running_loop().create_task(_prompts(phone, verb))
    pressed = ""
    try:
        while True:
            key = await _key(phone, prompts, verb.timeout)
            if key is None or (verb.finish_on and key == verb.finish_on):
                break
            pressed += key
            if verb.digits and len(pressed) >= verb.digits:
                break
    finally:
        prompts.cancel()
    phone.history.note("gathered", digits=len(pressed))
    if not pressed and not verb.on_empty:
        return None
    return Source(
        phone.documents.address(verb.action), verb.method, form={"Digits": pressed, "msg": "Gather End"}
    )


async def _prompts(phone: Phone, verb: twiml.Gather) -> None:
    for prompt in verb.prompts:
        await _sound(phone, prompt)


async def _key(phone: Phone, prompts: asyncio.Task[None], timeout: float) -> str | None:
    """The next key: during the prompts, which it ends, or within `timeout` of silence."""
    waiting = asyncio.get_running_loop().create_task(phone.keys.get())
    try:
        await asyncio.wait({waiting, prompts}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            await asyncio.wait({waiting}, timeout=timeout)
        if not waiting.done():
            return None
        prompts.cancel()
        return waiting.result()
    finally:
        waiting.cancel()


async def _dial(phone: Phone, verb: twiml.Dial) -> Source | None:
    child = phone.exchange.dial_out(phone, verb)
    if child is None:
        status, bridged = "failed", False
    else:
        try:
            await asyncio.wait({child.answered})  # awaited bare, our own end would cancel the future
            bridged = child.answered.result()
            if bridged:
                with _bridge(_line(phone), _line(child)):
                    await asyncio.wait({child.ended}, timeout=verb.time_limit)
        finally:
            child.hang_up("parent", "completed" if child.answered.done() else "canceled")
        await asyncio.wait({child.ended})
        status = child.call.status
    phone.history.note("dialled", status=status)
    if not verb.action:
        return None
    form = {"DialCallStatus": status, "DialBridged": str(bridged).lower()}
    if child is not None:
        form |= {"DialCallSid": child.call.sid, "DialCallDuration": str(child.call.duration)}
    return Source(phone.documents.address(verb.action), verb.method, form=form)


@contextmanager
def _bridge(one: Line, other: Line) -> Iterator[None]:
    """Let two phones hear each other; each line's clock stays its own."""
    one.quiet()
    taps = ((one, _into(other)), (other, _into(one)))
    for line, tap in taps:
        line.taps.append(tap)
    try:
        yield
    finally:
        for line, tap in taps:
            if tap in line.taps:
                line.taps.remove(tap)


def _into(ear: Line) -> Tap:
    def carry(number: int, said: bytes | None, heard: bytes) -> None:
        if said is not None:
            ear.play(said)

    return carry


async def _connect(phone: Phone, verb: twiml.Connect) -> Source | None:
    stream = await open_stream(phone, verb.stream, two_way=True)
    if stream is not None:
        try:
            await asyncio.wait({stream.finished})
        finally:
            stream.end()
        if stream.finished.result() == "lost" and not phone.exchange.resume_after_loss:
            raise _Over
    return Source(phone.documents.address(verb.action), verb.method) if verb.action else None


def _line(phone: Phone) -> Line:
    assert phone.line is not None, "the call was answered before its verbs ran"
    return phone.line

"""The media stream's door: does it open for Twilio, fast, and for nobody else?"""

from __future__ import annotations

from contextlib import suppress

from ops.doctor import knock, misfit
from ops.errors import OpsError
from ops.findings import Check, Finding, Knowledge, fail, ok, skip, warn
from ops.net.probe import UpgradeRefused
from ops.world import World

SLOW = 1.0  # seconds for a handshake from this machine through the public URL


def checks(world: World) -> tuple[Check[World], ...]:
    """The media stream's checks, each waiting for the service behind it."""
    return (
        Check(
            "websocket.stranger",
            "Is a media stream without Twilio's signature refused?",
            stranger,
            needs=knock.service(world),
            about=Knowledge(
                symptom="The OpenAI bill grows without calls; calls that nobody made.",
                evidence="The status of an upgrade with a wrong signature.",
                cause="The media stream's socket is open to anyone who knows its address.",
                fix="Check X-Twilio-Signature on the upgrade before anything is accepted.",
                verify="An upgrade with a wrong signature is refused before it opens.",
                source="https://github.com/openai/openai-agents-python/pull/5110",
            ),
        ),
        Check(
            "websocket.stream",
            "Does the media stream open for Twilio through the public URL?",
            stream,
            needs=(*knock.service(world), *knock.tunnel(world)),
            unless=("webhook.signed",),
            about=Knowledge(
                symptom="The greeting is cut off and the call ends; Twilio shows 31920.",
                evidence="The status and time of a rightly signed upgrade; on 403 the spelling of the "
                "URL that fits.",
                cause="The upgrade is not answered with 101: a wrong path, a signature checked against "
                "another URL, "
                "a tunnel or proxy that drops the upgrade, or a query string in <Stream url>.",
                fix="Point the stream at the public URL and /call; pass values as <Parameter>.",
                verify="A rightly signed upgrade of the TwiML's stream URL opens.",
                source="https://www.twilio.com/docs/api/errors/31920",
                vantage="public URL",
            ),
        ),
    )


def stranger(world: World) -> Finding:
    id = "websocket.stranger"
    if world.bridge is None:
        return skip(id, "No service of this stack listens on WEBSOCKET_PORT.")
    url = _door(world)
    try:
        with knock.stream(world.settings, url, signature=knock.WRONG) as connection:
            ms = round(connection.seconds * 1000)
    except UpgradeRefused as problem:
        if problem.status in (401, 403):
            return ok(
                id, f"A wrong signature is refused with {problem.status}.", asked=url, status=problem.status
            )
        if world.own_stack:
            return skip(
                id, f"{url} answers {problem.status}: the media stream of this stack is elsewhere.", asked=url
            )
        return fail(
            id,
            f"Expected 403 for a wrong signature, got {problem.status}.",
            fix="read the websocket server's log: `inv logs --service websocket-server`",
            asked=url,
            status=problem.status,
        )
    words = "A media stream with a wrong signature is accepted: any stranger can open model sessions at "
    "your cost."
    fix = "check X-Twilio-Signature on the upgrade, before it is accepted"
    answer = warn if world.own_stack else fail
    return answer(id, words, fix=fix, asked=url, handshake_ms=ms)


def _door(world: World) -> str:
    """Where a stream is opened: the URL of the TwiML, else our own path on this machine."""
    if world.has_way_in:
        with suppress(OpsError):
            found, _ = knock.stream_of(knock.webhook(world.settings, knock.voice_url(world), timeout=2.0))
            if found is not None:
                return found
    return f"ws://127.0.0.1:{world.settings.websocket_port}{knock.STREAM_PATH}"


def stream(world: World) -> Finding:
    id = "websocket.stream"
    if nobody := knock.nobody(id, world):
        return nobody
    settings = world.settings
    webhook = knock.voice_url(world)
    twiml = knock.webhook(settings, webhook)
    url = knock.parse_twiml(twiml.text).stream_url if twiml.status == 200 else None
    if url is None:
        return skip(
            id,
            f"{webhook} gave no stream to open ({twiml.status}).",
            asked=webhook,
            waits_for="webhook.signed",
        )
    if fault := knock.stream_fault(url):
        return fail(
            id,
            f"The TwiML's stream cannot be opened by Twilio: {fault[0]}.",
            fix=fault[1],
            asked=webhook,
            url=url,
        )
    try:
        with knock.stream(settings, url) as connection:
            seconds = connection.seconds
    except UpgradeRefused as problem:
        return _refused(id, world, url, problem)
    ms = round(seconds * 1000)
    if seconds > SLOW:
        return warn(
            id,
            f"The media stream opens, but only after {ms} ms.",
            fix="use a tunnel region or host nearer to Twilio's edge; look at the machine's load",
            asked=url,
            handshake_ms=ms,
        )
    return ok(id, f"The media stream opens for Twilio in {ms} ms.", asked=url, handshake_ms=ms)


def _refused(id: str, world: World, url: str, problem: UpgradeRefused) -> Finding:
    """Why a rightly signed upgrade was not answered with 101; on 403 with the spelling that would fit."""
    evidence: dict[str, object] = {"asked": url, "status": problem.status}
    if problem.status not in (401, 403):
        return fail(
            id,
            f"Expected 101 from {url}, got {problem.status}: nothing upgrades there.",
            fix="check the stream's path, and that every proxy on the way passes websocket upgrades",
            **evidence,
        )

    def taken(spelled: str) -> bool:
        try:
            with knock.stream(
                world.settings, url, signature=knock.sign(world.settings, spelled), timeout=1.0
            ):
                return True
        except UpgradeRefused:
            return False

    variant = misfit.fitting(world.settings, url, taken, websocket=True)
    if variant is not None:
        return fail(
            id,
            f"A rightly signed stream is refused: the server checks the signature of {variant.url} "
            f"({variant.difference}), but Twilio opens {url}.",
            fix="let the server check the stream's URL as it stands in the TwiML, with wss",
            expects=variant.url,
            **evidence,
        )
    return fail(
        id,
        f"Expected 101 from {url}, got {problem.status}, whatever spelling of the URL is signed: the server "
        "has another token, or another public URL.",
        fix="set PUBLIC_URL to what Twilio calls, and check the token",
        **evidence,
    )

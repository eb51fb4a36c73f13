"""Where the agent's number sends its calls: to this stack, or somewhere else?"""

from __future__ import annotations

from urllib.parse import urlsplit

from ops.config import Settings
from ops.doctor import knock
from ops.findings import Finding, fail, ok, skip, warn
from ops.vendors.twilio.client import Number, Twilio
from ops.world import World

TUNNELS = (".ngrok.app", ".ngrok-free.app", ".ngrok.dev", ".ngrok.io", ".trycloudflare.com", ".loca.lt")


def drift(world: World) -> Finding:
    id = "webhook.drift"
    if nobody := knock.nobody(id, world):
        return nobody
    number = agent_number(world)
    if number is None:
        return skip(
            id, "TWILIO_PHONE_NUMBER is not set, so no number can point here.", waits_for="twilio.number"
        )
    wanted = here(world.settings, number)
    evidence = {
        "asked": f"{world.settings.twilio_api_url}/2010-04-01/…/IncomingPhoneNumbers/{number.sid}.json",
        "vendor": f"twilio {world.mode('twilio')}",
        "voice_url": number.voice_url,
        "wanted": wanted,
    }
    if number.application_sid or number.trunk_sid:
        what = "a TwiML application" if number.application_sid else "a SIP trunk"
        return fail(
            id,
            f"{number.phone_number} is routed by {what}, so its voice URL is not used.",
            fix="take the application or trunk off the number in the Twilio console",
            routed_by=number.application_sid or number.trunk_sid,
            **evidence,
        )
    if not number.voice_url:
        return fail(
            id,
            f"{number.phone_number} has no voice URL: nobody answers.",
            fix=f"set it to {wanted}: `inv validate --fix`",
            **evidence,
        )
    if number.voice_url.rstrip("/") != wanted.rstrip("/"):
        return fail(
            id,
            f"{number.phone_number} points at {number.voice_url}, but this stack is at {wanted}.",
            fix=f"point it here: `inv validate --fix` sets it to {wanted}",
            **evidence,
        )
    if number.voice_method.upper() not in ("POST", "") and not world.own_stack:
        return fail(
            id,
            f"{number.phone_number} asks with {number.voice_method}; the webhook takes POST.",
            fix="set the method to HTTP POST: `inv validate --fix`",
            **evidence,
        )
    return ok(id, f"{number.phone_number} points at this stack.", **evidence)


def here(settings: Settings, number: Number) -> str:
    """Where the number should point: the public URL and the bridge's path; a bridge of the user's own
    keeps the path that the number already asks."""
    asked = urlsplit(number.voice_url)
    keeps = settings.table.get("services") and not (asked.hostname or "").endswith(".twilio.com")
    path = asked.path if keeps and asked.path.strip("/") else knock.VOICE_PATH
    return knock.origin(settings) + path


def callbacks(world: World) -> Finding:
    id = "webhook.callbacks"
    if nobody := knock.nobody(id, world):
        return nobody
    number = agent_number(world)
    if number is None:
        return skip(id, "TWILIO_PHONE_NUMBER is not set.", waits_for="twilio.number")
    host_here = urlsplit(knock.origin(world.settings)).hostname
    urls = {"fallback URL": number.voice_fallback_url, "status callback": number.status_callback}
    stale = {
        name: url
        for name, url in urls.items()
        if (host := urlsplit(url).hostname) and host.endswith(TUNNELS) and host != host_here
    }
    if stale:
        name, url = next(iter(stale.items()))
        return warn(
            id,
            f"The number's {name} names another tunnel than the current one: {url}.",
            fix="set it to a URL that does not depend on a tunnel, or clear it, in the Twilio console",
            **{name.replace(" ", "_"): url for name, url in stale.items()},
        )
    return ok(id, "The number's fallback and status URLs name no tunnel that is gone.")


def agent_number(world: World) -> Number | None:
    """The agent's own number as Twilio has it."""
    wanted = world.settings.twilio_phone_number
    if wanted is None:
        return None
    with Twilio.of(world.settings) as twilio:
        found = (one for one in twilio.numbers() if one.phone_number == wanted)
        return next(found, None)

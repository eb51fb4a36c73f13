"""The voice webhook: does the number point here, does the door open for Twilio, and for nobody else?"""

from __future__ import annotations

from ops.doctor import certificate, knock, misfit, routing
from ops.errors import Refused
from ops.findings import Check, Finding, Knowledge, fail, ok, skip, warn
from ops.net.http import Answer, Http
from ops.vendors.ngrok import client as ngrok
from ops.world import World

SLOW = 2.0  # seconds for a webhook's answer


def checks(world: World) -> tuple[Check[World], ...]:
    """The webhook's checks, each waiting for the way in and the service behind it."""
    tunnel = knock.tunnel(world)
    way = (*knock.service(world), *tunnel)
    return (
        Check(
            "webhook.drift",
            "Does the number's voice URL point at this stack?",
            routing.drift,
            needs=("twilio.number", *tunnel),
            unless=("env.public-url",),
            about=Knowledge(
                symptom="It rings and nobody answers, or an old version of the agent does.",
                evidence="The number's voice URL, method, application and trunk beside the URL of this "
                "stack.",
                cause="The tunnel got a new address at its restart, and the number still points at the "
                "old one.",
                fix="Point the number's voice URL at the public URL and /twiml: `inv validate --fix` does "
                "it and "
                "remembers the old value in logs/run/webhook-before.json.",
                verify="The number is fetched again and its voice URL is the public URL and /twiml.",
                source="https://github.com/twilio-labs/call-gpt/issues/13",
                mend="automatic",
                vantage="vendor",
            ),
        ),
        Check(
            "webhook.callbacks",
            "Do the number's fallback and status URLs lead somewhere that still exists?",
            routing.callbacks,
            needs=("twilio.number", *tunnel),
            unless=("env.public-url",),
            about=Knowledge(
                symptom="When the agent is down callers hear an error in place of the fallback.",
                evidence="The number's fallback and status URLs beside the tunnel's name.",
                cause="The number's fallback or status URL names a tunnel that is gone.",
                fix="Set it to a URL that does not go through the tunnel, or clear it.",
                verify="No URL of the number names another tunnel than the current one.",
                source="https://www.twilio.com/docs/usage/webhooks/webhooks-overview",
                vantage="vendor",
            ),
        ),
        Check(
            "webhook.certificate",
            "Is the public URL's certificate one that Twilio accepts?",
            certificate.verified,
            needs=tunnel,
            unless=("env.public-url",),
            about=Knowledge(
                symptom="'An application error has occurred'; Twilio shows 11235 or 31910.",
                evidence="The outcome of a TLS handshake with the public host, and the days left.",
                cause="The certificate is self-signed, for another name, expired, or its chain is "
                "incomplete.",
                fix="Use a certificate of a public authority with its whole chain, and renew it in time.",
                verify="A TLS handshake with the public URL verifies, and its certificate lasts two more "
                "weeks.",
                source="https://www.twilio.com/docs/api/errors/11235",
                vantage="public URL",
            ),
        ),
        Check(
            "webhook.signed",
            "Does a signed webhook through the public URL get TwiML with a stream?",
            signed,
            needs=way,
            unless=("env.public-url", "twilio.credentials", "twilio.token", "webhook.certificate"),
            deadline=6.0,
            about=Knowledge(
                symptom="'An application error has occurred' is read out; Twilio shows 11200 or 12100.",
                evidence="Status, time and TwiML of a rightly signed POST; on 403 the spelling of the "
                "URL that fits.",
                cause="The webhook cannot be reached, refuses Twilio's signature, or answers something "
                "that is not TwiML.",
                fix="The finding names where it died: tunnel, service, signature or document.",
                verify="A rightly signed POST through the public URL gets TwiML with <Connect><Stream>.",
                source="https://www.twilio.com/docs/api/errors/11200",
                vantage="public URL",
            ),
        ),
        Check(
            "webhook.stranger",
            "Is a webhook with a wrong signature refused?",
            stranger,
            needs=way,
            unless=("webhook.signed",),
            about=Knowledge(
                symptom="Calls in the log that Twilio does not know; the model's bill grows.",
                evidence="The status of the same POST with a wrong signature.",
                cause="The webhook does not check X-Twilio-Signature.",
                fix="Check the signature on every webhook before anything else.",
                verify="A POST with a wrong signature through the public URL gets 403.",
                source="https://www.twilio.com/docs/usage/webhooks/webhooks-security",
                vantage="public URL",
            ),
        ),
    )


def signed(world: World) -> Finding:
    id = "webhook.signed"
    if nobody := knock.nobody(id, world):
        return nobody
    url = knock.voice_url(world)
    answer = knock.webhook(world.settings, url)
    evidence = {"asked": url, "status": answer.status, "ms": round(answer.seconds * 1000)}
    if answer.status != 200:
        return _refused(id, world, answer, evidence)
    twiml = knock.parse_twiml(answer.text)
    evidence |= {"verbs": list(twiml.verbs), "stream_url": twiml.stream_url}
    if twiml.stream_url is None:
        return warn(
            id,
            f"The TwiML has no <Stream> (verbs: {', '.join(twiml.verbs) or 'none'}): the caller does not "
            "reach the agent.",
            fix="read the websocket server's log: it may be draining or at a cap",
            **evidence,
        )
    if twiml.one_way:
        return fail(
            id,
            "The TwiML uses <Start><Stream>, which is one-way: the caller can never hear the agent.",
            fix="use <Connect><Stream>",
            **evidence,
        )
    if fault := knock.stream_fault(twiml.stream_url):
        return fail(
            id, f"The TwiML's stream cannot be opened by Twilio: {fault[0]}.", fix=fault[1], **evidence
        )
    if answer.seconds > SLOW:
        return warn(
            id,
            f"The webhook answers rightly, but only after {answer.seconds:.1f} s: the caller hears silence.",
            fix="answer with TwiML at once, and do slow work after it; Twilio gives up after 15 s",
            **evidence,
        )
    return ok(
        id,
        f"A signed webhook through the public URL gets TwiML with a stream in {evidence['ms']} ms.",
        **evidence,
    )


def _refused(id: str, world: World, answer: Answer, evidence: dict[str, object]) -> Finding:
    if "ngrok-error-code" in answer.headers:
        raise ngrok.declined(answer)
    if answer.status in (401, 403):
        return _unfit(id, world, answer, evidence)
    if answer.status in (404, 405) and world.own_stack:
        return skip(
            id, f"{answer.url} answers {answer.status}: the webhook of this stack is elsewhere.", **evidence
        )
    if 300 <= answer.status < 400:
        where = answer.headers.get("location", "nowhere")
        raise Refused(
            f"The webhook redirects to {where}: the signature will not fit there.",
            fix="give Twilio the final URL; behind a proxy keep scheme and host as they are",
        )
    return fail(
        id,
        f"The webhook answers {answer.status}: {answer.text.strip()[:120]}",
        fix="read the websocket server's log: `inv logs --service websocket-server`",
        **evidence,
    )


def _unfit(id: str, world: World, answer: Answer, evidence: dict[str, object]) -> Finding:
    """Tries the spellings of the URL until the server takes one: that is what it checks against."""
    settings, url = world.settings, answer.url

    with Http(url, timeout=1.0) as http:

        def taken(spelled: str) -> bool:
            fields = knock.form(settings)
            header = {knock.HEADER: knock.sign(settings, spelled, fields)}
            return http.post("", fields, headers=header).status == 200

        variant = misfit.fitting(settings, url, taken)
    if variant is not None:
        return fail(
            id,
            f"A rightly signed webhook is refused: the server checks the signature of {variant.url} "
            f"({variant.difference}), but Twilio calls {url}.",
            fix="let the server build the URL from its configured public origin, not from what it sees",
            expects=variant.url,
            **evidence,
        )
    return fail(
        id,
        f"A rightly signed webhook is refused with {answer.status}, whatever spelling of the URL is signed: "
        "the server has another token, or another public URL.",
        fix="use the primary auth token and set PUBLIC_URL to what Twilio calls, then `inv cleanup start`",
        **evidence,
    )


def stranger(world: World) -> Finding:
    id = "webhook.stranger"
    if nobody := knock.nobody(id, world):
        return nobody
    url = knock.voice_url(world)
    answer = knock.webhook(world.settings, url, signature=knock.WRONG)
    evidence = {"asked": url, "status": answer.status}
    if answer.status in (401, 403):
        return ok(id, f"A wrong signature is refused with {answer.status}.", **evidence)
    if answer.status < 300:
        report = warn if world.own_stack else fail
        return report(
            id,
            "A webhook with a wrong signature is answered: any stranger can open calls at your cost.",
            fix="check X-Twilio-Signature before anything else, and answer 403",
            **evidence,
        )
    if world.own_stack:
        return skip(id, f"{url} answers {answer.status}: the webhook of this stack is elsewhere.", **evidence)
    return fail(
        id,
        f"Expected 403 for a wrong signature, got {answer.status}.",
        fix="read the websocket server's log: `inv logs --service websocket-server`",
        **evidence,
    )

"""Twilio's error numbers that a phone agent meets: what each means and what to do. Pure.

The texts are our own; each number's page is https://www.twilio.com/docs/api/errors/NUMBER.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    meaning: str
    fix: str


CODES: dict[int, Code] = {
    20003: Code(
        "the credentials are not accepted",
        "copy TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN (the primary one) again from the Twilio console's "
        "front page; "
        "with an API key check that it belongs to this account",
    ),
    20005: Code(
        "the account is not active", "look at the account's status and balance in the Twilio console"
    ),
    20404: Code(
        "what was asked for does not exist in this account",
        "check the SID, and whether it belongs to this account and region",
    ),
    20429: Code("too many requests at once", "wait a moment; the account's concurrency limit was reached"),
    10004: Code("too many calls at once", "wait for calls to end, or ask Twilio for more concurrency"),
    11100: Code("a URL is not valid", "correct PUBLIC_URL: one scheme, no spaces"),
    11200: Code("the webhook could not be fetched", "run `inv validate --only webhook` to see where it dies"),
    11205: Code(
        "no connection to the webhook's host", "start the tunnel and the websocket server: `inv start`"
    ),
    11210: Code(
        "the webhook's host name is not known",
        "point the number at the current public URL: `inv validate --fix`",
    ),
    11206: Code("the webhook did not answer in HTTP", "check scheme and port of the public URL"),
    11216: Code(
        "the webhook answered with a redirect that cannot be followed",
        "let the number point at the final address",
    ),
    11217: Code(
        "the webhook answered with an error (4xx or 5xx)", "look into the websocket server's log: `inv logs`"
    ),
    11235: Code(
        "the webhook's TLS certificate is not accepted", "use a public certificate for the public URL"
    ),
    11750: Code("the webhook's answer is too big", "answer TwiML of less than 64 KiB"),
    12100: Code(
        "the webhook's answer is not TwiML", "answer XML with <Response> as its root, nothing before it"
    ),
    12200: Code("the TwiML does not fit its schema", "check the verbs and attributes of the TwiML"),
    13227: Code(
        "calls to this country are not allowed", "allow it under Voice geographic permissions in the console"
    ),
    21205: Code("the call's URL is not valid", "set PUBLIC_URL to an absolute https URL"),
    21210: Code(
        "the caller's number is not verified or bought",
        "set TWILIO_PHONE_NUMBER to a number of this account",
    ),
    21211: Code("the number to call is not valid", "write it in E.164 form, like +12025550123"),
    21212: Code("the caller's number is not valid", "set TWILIO_PHONE_NUMBER in E.164 form"),
    21214: Code("the number to call cannot be reached", "check the number"),
    21215: Code(
        "calls to this number are not allowed", "allow it under Voice geographic permissions in the console"
    ),
    21219: Code(
        "a trial account calls verified numbers only",
        "verify the number in the Twilio console, or upgrade the account",
    ),
    21220: Code("the call is not in progress any more", "nothing: it has ended"),
    21606: Code("the number has no such capability", "use a number that is voice capable"),
    31901: Code(
        "the media stream got no answer in time", "check that the websocket server runs: `inv status`"
    ),
    31910: Code("the media stream's TLS failed", "use https on port 443 with a public certificate"),
    31920: Code(
        "the media stream's handshake was not answered with 101",
        "check the path of <Stream url>; values belong into <Parameter>, a query string is not supported",
    ),
    31921: Code("our side closed the media stream", "look for an error or a restart in `inv logs`"),
    31924: Code(
        "the media stream's protocol was broken", "check proxies between Twilio and the websocket server"
    ),
    31930: Code("we read the media stream too slowly, and audio was lost", "look at the machine's load"),
    31951: Code(
        "a message to the phone was not valid", "check streamSid, mark.name and the JSON of what is sent"
    ),
    57012: Code("a webhook's signature could not be checked", "check that PUBLIC_URL is what Twilio calls"),
}


def explain(code: int | str | None) -> Code | None:
    """What an error number means, or None for one that is not in the table."""
    try:
        return CODES.get(int(code)) if code is not None else None
    except ValueError:
        return None

"""Whether the host of Twilio's REST has a name that is served: told from the settings, nobody is asked."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ops.findings import Check, Finding, Knowledge, fail, ok
from ops.world import World


def region(world: World) -> Finding:
    """A REST host with a region needs an edge too, since the old names were switched off."""
    url = world.settings.twilio_api_url
    host = urlsplit(url).hostname or ""
    found = re.fullmatch(r"api\.([a-z]{2}\d)\.twilio\.com", host)
    if found and found[1] != "us1":
        return fail(
            "twilio.region",
            f"{host} names a region without an edge; such names were switched off on 28 April 2026.",
            fix=f"set TWILIO_API_URL to https://api.EDGE.{found[1]}.twilio.com, for example with edge "
            "dublin or sydney",
            url=url,
        )
    return ok("twilio.region", f"{host} is a name that is served.", url=url)


CHECKS: tuple[Check[World], ...] = (
    Check(
        "twilio.region",
        "Is Twilio's REST host one that is served?",
        region,
        about=Knowledge(
            symptom="Every request of a regional account fails: unknown host, or 20404.",
            evidence="The host of TWILIO_API_URL.",
            cause="A host name with a region but no edge; REST names without an edge ended on 28 April 2026.",
            fix="Use api.EDGE.REGION.twilio.com.",
            verify="The host has no region, or region and edge.",
            source="https://www.twilio.com/docs/global-infrastructure/edge-locations",
        ),
    ),
)

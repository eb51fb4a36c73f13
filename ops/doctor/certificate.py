"""The public URL's certificate: does it verify, and for how long still?"""

from __future__ import annotations

import socket
import ssl
import time
from urllib.parse import urlsplit

from ops.doctor import knock
from ops.findings import Finding, fail, ok, unknown, warn
from ops.net.http import tls_context
from ops.world import World

RENEW = 14  # days before its end a certificate should have been renewed


def verified(world: World) -> Finding:
    id = "webhook.certificate"
    if nobody := knock.nobody(id, world):
        return nobody
    origin = urlsplit(knock.origin(world.settings))
    if origin.scheme != "https":
        return ok(id, "The public URL is plain HTTP on this machine: there is no certificate.")
    host, port = origin.hostname or "", origin.port or 443
    try:
        with socket.create_connection((host, port), timeout=3.0) as plain:
            plain.settimeout(3.0)
            with tls_context().wrap_socket(plain, server_hostname=host) as secure:
                found = secure.getpeercert() or {}
    except ssl.SSLCertVerificationError as problem:
        return fail(
            id,
            f"The certificate of {host} is not accepted: {problem.verify_message}.",
            fix="use a certificate of a public authority, for this name, with its whole chain",
            asked=f"{host}:{port}",
        )
    except (OSError, ssl.SSLError) as problem:
        return unknown(id, f"{host}:{port} could not be asked for its certificate: {problem}.")
    ends = ssl.cert_time_to_seconds(str(found["notAfter"]))
    return judge(host, (ends - time.time()) / 86_400)


def judge(host: str, days: float) -> Finding:
    """Whether a certificate that verifies lasts long enough."""
    if days < RENEW:
        return warn(
            "webhook.certificate",
            f"The certificate of {host} ends in {days:.0f} days.",
            fix="renew it, and check that its renewal is automatic",
            days_left=round(days, 1),
        )
    return ok("webhook.certificate", f"The certificate of {host} is good for {days:.0f} days.")

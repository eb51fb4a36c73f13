"""What a child process gets as its environment: little, and nothing by accident."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ops.services import Service

# What programs need to find themselves, speak the person's language and reach the network.
KEPT = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM", "VIRTUAL_ENV",
    "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "LD_LIBRARY_PATH",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
    "http_proxy", "https_proxy", "no_proxy", "all_proxy",
)  # fmt: skip
PACKAGE = Path(__file__).resolve().parents[2]  # the folder that holds `ops`


def minimal() -> dict[str, str]:
    """The part of our own environment that children keep."""
    return {name: text for name, text in os.environ.items() if name in KEPT or name.startswith("LC_")}


def for_service(service: Service, marks: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a service: minimal, its own, and the marks of its stack."""
    ours = {"PYTHONPATH": str(PACKAGE)} if is_ours(service) else {}
    return {**minimal(), **ours, "PYTHONUNBUFFERED": "1", **service.env, **marks}


def is_ours(service: Service) -> bool:
    """Whether it is one of our own programs, which write the journal themselves."""
    words = [word for word in service.argv[1:4] if word != "-P"]
    return words[:1] == ["-m"] and words[1:2] != [] and words[1].startswith("ops.")


def python(*arguments: str) -> tuple[str, ...]:
    """The command that runs one of our own modules; `-P` keeps a folder named `ops` in the user's
    project from standing in for ours."""
    return (sys.executable, "-P", "-m", *arguments)

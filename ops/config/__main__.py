"""`python -m ops.config` prints `.env.example`."""

from __future__ import annotations

import os
from dataclasses import fields

from ops.config import Settings, variables


def example() -> str:
    """The text of `.env.example`: every variable with a comment, the optional ones commented out."""
    defaults = {spec.name.upper(): spec.default for spec in fields(Settings)}
    lines = [
        "# Every setting of Trunkline. As it stands everything runs offline, on simulators.",
        "# Uncomment what you want to change. This file's copy, .env, belongs to you: chmod 600 .env",
    ]
    group = ""
    for name, variable in variables().items():
        if variable.group != group:
            group = variable.group
            lines += ["", f"# --- {group}"]
        default = defaults[name]
        shown = "" if default is None else f"{default:g}" if isinstance(default, float) else str(default)
        shown = f'"{shown}"' if " " in shown else shown
        lines += [f"# {variable.comment}", f"# {name}={shown}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    os.write(1, example().encode())

"""Where settings come from: environment, env files and ops.toml as layers of texts, the first wins."""

from __future__ import annotations

import difflib
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops import values
from ops.config.variable import Variable
from ops.errors import Fault
from ops.findings import Finding, warn
from ops.values import Repaired

ENV_FILES = (".env", "webapp/.env", "websocket-server/.env")


@dataclass(frozen=True)
class Text:
    value: str
    source: str


def gather(
    root: Path,
    environ: Mapping[str, str],
    known: Mapping[str, Variable],
    faults: list[Fault],
    warnings: list[Finding],
    *,
    files: bool,
) -> tuple[dict[str, Text], dict[str, Any]]:
    """The text in force for each variable, and the table of ops.toml."""
    layers = [{name: Text(environ[name], "the environment") for name in known if environ.get(name)}]
    table: dict[str, Any] = {}
    if files:
        table = _ops_toml(root, faults)
        dotenvs = [(name, _dotenv(root / name, name, faults)) for name in ENV_FILES]
        warnings += _disagreements(dotenvs, known)
        layers += [{key: Text(text, name) for key, text in found.items()} for name, found in dotenvs]
        layers += _ops_toml_layers(table, layers, known, faults)
    texts = {name: layer[name] for layer in reversed(layers) for name in layer if name in known}
    return texts, table


def parse(
    texts: Mapping[str, Text], known: Mapping[str, Variable], faults: list[Fault], warnings: list[Finding]
) -> dict[str, Any]:
    """The typed values by field name; what cannot be read becomes a fault, what was mended a warning."""
    parsed: dict[str, Any] = {}
    for name, found in texts.items():
        _read_one(name, found, known[name], parsed, faults, warnings)
    return parsed


def open_secret_files(
    root: Path,
    known: Mapping[str, Variable],
    faults: list[Fault],
    warnings: list[Finding],
    *,
    production: bool,
) -> None:
    """Files with secrets that others can read: a warning, and refused in production."""
    for finding in _open_files(root, known):
        if production:
            faults.append(Fault("OPS_ENV", finding.summary, finding.fix or "", finding.evidence["file"]))
        else:
            warnings.append(finding)


def _dotenv(path: Path, shown: str, faults: list[Fault]) -> dict[str, str]:
    try:
        if not path.exists():
            return {}
        from dotenv import dotenv_values

        if not stat.S_ISREG(path.stat().st_mode) or path.stat().st_size > 1 << 20:
            raise OSError("not a regular file of at most 1 MiB")
        found = dotenv_values(path, interpolate=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
        faults.append(
            Fault(shown, f"{shown} cannot be read: {reason}.", f"make {shown} a readable text file", shown)
        )
        return {}
    return {name: text for name, text in found.items() if text is not None}


def _ops_toml(root: Path, faults: list[Fault]) -> dict[str, Any]:
    path = root / "ops.toml"
    try:
        return tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    except (OSError, ValueError) as problem:
        faults.append(
            Fault("ops.toml", f"ops.toml cannot be read: {problem}.", "correct ops.toml", "ops.toml")
        )
        return {}


def _ops_toml_layers(
    table: Mapping[str, Any],
    above: list[dict[str, Text]],
    known: Mapping[str, Variable],
    faults: list[Fault],
) -> list[dict[str, Text]]:
    """The `[env.NAME]` rows of the environment in force, then `[settings]`."""
    named = next((layer["OPS_ENV"].value for layer in above if "OPS_ENV" in layer), "development")
    layers = []
    for title, rows in (
        (f"env.{named}", table.get("env", {}).get(named, {})),
        ("settings", table.get("settings", {})),
    ):
        if not isinstance(rows, dict):
            faults.append(
                Fault(
                    title,
                    f"[{title}] in ops.toml is not a table.",
                    f"write [{title}] and one row a setting",
                    "ops.toml",
                )
            )
            continue
        layer = {}
        for key, value in rows.items():
            name = str(key).upper()
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}?" if near else "see .env.example for the names"
                faults.append(
                    Fault(name, f"ops.toml [{title}] has an unknown setting {key}.", hint, "ops.toml")
                )
            elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
                layer[name] = Text(str(value), f"ops.toml [{title}]")
            else:
                faults.append(
                    Fault(
                        name, f"ops.toml [{title}] {key} is not a text or a number.", "quote it", "ops.toml"
                    )
                )
        layers.append(layer)
    return layers


def _read_one(
    name: str,
    found: Text,
    variable: Variable,
    parsed: dict[str, Any],
    faults: list[Fault],
    warnings: list[Finding],
) -> None:
    where = f"; {variable.where}" if variable.where else ""
    secret = variable.parse is values.secret
    try:
        if not found.value.strip() or (secret and values.is_placeholder(found.value)):
            raise ValueError("a value")
        value = variable.parse(found.value)
    except ValueError as problem:
        if values.is_placeholder(found.value):
            message = f"{name} in {found.source} is a placeholder or empty."
            fix = f"put the real value there, or remove the line{where}"
        else:
            hidden = secret or name in ("TWILIO_ACCOUNT_SID", "TWILIO_API_KEY")
            came = f"a text of {len(found.value)} characters" if hidden else repr(found.value[:80])
            message = f"{name} in {found.source}: expected {problem}, got {came}."
            fix = f"correct {name} in {found.source}{where}"
        faults.append(Fault(name, message, fix, found.source))
        return
    if isinstance(value, Repaired):
        warnings.append(
            warn(
                "env.repaired",
                f"{name} in {found.source} {value.warning}; {value.value} is used.",
                fix=f"write {name}={value.value} in {found.source}",
                variable=name,
                source=found.source,
                used=value.value,
            )
        )
        value = value.value
    parsed[name.lower()] = value


def _disagreements(dotenvs: list[tuple[str, dict[str, str]]], known: Mapping[str, Variable]) -> list[Finding]:
    findings = []
    for name, variable in known.items():
        holders = [(file, found[name]) for file, found in dotenvs if name in found]
        if len({text for _, text in holders}) > 1 and variable.where:
            files = [file for file, _ in holders]
            findings.append(
                warn(
                    "env.disagree",
                    f"{' and '.join(files)} disagree on {name}; {files[0]} wins.",
                    fix=f"keep {name} in one file, or make them equal",
                    variable=name,
                    files=files,
                )
            )
    return findings


def _open_files(root: Path, known: Mapping[str, Variable]) -> list[Finding]:
    findings = []
    for name in ENV_FILES:
        path = root / name
        try:
            mode = path.stat().st_mode
            holds_secret = mode & 0o077 and any(
                line.split("=", 1)[0].removeprefix("export ").strip() in known
                and known[line.split("=", 1)[0].removeprefix("export ").strip()].parse is values.secret
                for line in path.read_text("utf-8", "replace").splitlines()
                if "=" in line
            )
        except OSError:
            continue
        if holds_secret:
            findings.append(
                warn(
                    "env.permissions",
                    f"{name} holds secrets and others can read it (mode {stat.S_IMODE(mode):04o}).",
                    fix=f"chmod 600 {name}",
                    file=name,
                    mode=f"{stat.S_IMODE(mode):04o}",
                )
            )
    return findings

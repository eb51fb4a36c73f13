"""The programs of the user's own stack: are they there, and are their packages installed?"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ops.findings import Check, Finding, Knowledge, fail, ok
from ops.services import Service
from ops.world import World

INSTALL = {"pnpm-lock.yaml": "pnpm install", "yarn.lock": "yarn install", "package-lock.json": "npm ci"}


def programs(world: World) -> Finding:
    """Looks for each service's program, and for the packages that its package.json names."""
    id = "env.programs"
    for service in world.table:
        program = service.argv[0]
        path = service.env.get("PATH")
        there = shutil.which(program, path=path) or (service.cwd / program).is_file()
        if not there:
            return fail(
                id,
                f"The program of {service.name} is not there: {program}.",
                fix=f"install {program}, or correct the command of [services.{service.name}] in ops.toml",
                service=service.name,
                command=list(service.argv[:1]),
            )
        if missing := missing_packages(service):
            install = next(
                (how for lock, how in INSTALL.items() if (service.cwd / lock).exists()), "npm install"
            )
            return fail(
                id,
                f"{service.name} lacks packages that its package.json names: {', '.join(missing[:5])}.",
                fix=f"in {service.cwd}: `{install}`",
                service=service.name,
                missing=missing,
            )
    return ok(id, f"The programs of {len(world.table)} services are there, with their packages.")


def missing_packages(service: Service) -> list[str]:
    """The dependencies that Node would not find from the service's folder; none for other programs."""
    if Path(service.argv[0]).name not in ("node", "npm", "npx", "tsx", "ts-node", "yarn", "pnpm"):
        return []
    try:
        wanted = json.loads((service.cwd / "package.json").read_text("utf-8")).get("dependencies") or {}
    except (OSError, ValueError, AttributeError):
        return []
    folders = [one / "node_modules" for one in (service.cwd, *service.cwd.parents)]
    return [name for name in wanted if not any((folder / name).is_dir() for folder in folders)]


def checks(world: World) -> tuple[Check[World], ...]:
    """Asked of a stack of the user's own; the built-in one runs in the Python that asks."""
    return CHECKS if world.own_stack else ()


CHECKS: tuple[Check[World], ...] = (
    Check(
        "env.programs",
        "Are the programs of the stack there, with their packages?",
        programs,
        about=Knowledge(
            symptom="A service fails at once: command not found, or Cannot find module.",
            evidence="Each service's program on the PATH, and the folders below node_modules.",
            cause="Node is not installed, or `npm install` was not run in a fresh clone.",
            fix="Install the program, or its packages with the command that the finding names.",
            verify="Every program of ops.toml is found, and every dependency of package.json is installed.",
            source="https://docs.npmjs.com/cli/commands/npm-ci",
        ),
    ),
)

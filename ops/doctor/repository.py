"""Asks git about the project's folder: its files, what it ignores, what its history added. Reads only."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ops.config.sources import ENV_FILES
from ops.doctor import leaks
from ops.doctor.leaks import Leak
from ops.findings import Check, Finding, Knowledge, fail, ok, skip, warn
from ops.world import World

LEAVE_OUT = {".git", ".venv", "venv", "node_modules", "__pycache__", "logs", "dist", "build", ".next"}
LARGEST = 512 * 1024  # bytes of one file
MOST = 16 * 1024 * 1024  # bytes of all files, and characters of the history
SECONDS = 2.5


@dataclass(frozen=True)
class Git:
    """The git command in a folder, without hooks, pagers or the network."""

    root: Path

    def run(self, *arguments: str) -> str | None:
        """What git prints within SECONDS, cut off there; None when it fails or is not there."""
        argv = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(self.root), *arguments]
        try:
            done = subprocess.run(argv, capture_output=True, timeout=SECONDS, check=True)
        except subprocess.TimeoutExpired as problem:
            return (problem.stdout or b"").decode("utf-8", "replace")
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.decode("utf-8", "replace")

    @property
    def is_repository(self) -> bool:
        return self.run("rev-parse", "--is-inside-work-tree") is not None


def files(root: Path, git: Git) -> list[Path]:
    """The project's own files: what git tracks or would track; without git, everything but the usual."""
    listed = (
        git.run("ls-files", "-z", "--cached", "--others", "--exclude-standard") if git.is_repository else None
    )
    if listed is not None:
        found = [root / name for name in listed.split("\0") if name]
    else:
        found = sorted(_walk(root))
    return [path for path in found if str(path.relative_to(root)) not in ENV_FILES]


def _walk(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.is_symlink() or entry.name in LEAVE_OUT:
            continue
        if entry.is_dir():
            yield from _walk(entry)
        else:
            yield entry


def tree_leaks(root: Path, paths: Iterable[Path]) -> Iterator[Leak]:
    """Credentials in the working tree."""
    left = MOST
    for path in paths:
        try:
            if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST:
                continue
            data = path.read_bytes()
        except OSError:
            continue
        left -= len(data)
        if left < 0:
            return
        text = data.decode("utf-8", "replace")
        if b"\0" not in data and leaks.likely(text):
            yield from leaks.scan(str(path.relative_to(root)), text.splitlines())


def history_leaks(log: str) -> Iterator[Leak]:
    """Credentials that commits added, from the output of `git log -p -U0`; the file is `commit:path`."""
    commit, file = "", ""
    added: list[str] = []
    for line in [*log.split("\n"), "commit end"]:
        if line.startswith(("commit ", "+++ ")):
            yield from leaks.scan(f"{commit}:{file}", added)
            added = []
            if line.startswith("commit "):
                commit = line[7:15]
            else:
                file = line[4:].removeprefix("b/")
        elif line.startswith("+") and leaks.likely(line):
            added.append(line[1:])


def tree(world: World) -> Finding:
    root = world.settings.root
    found = list(tree_leaks(root, files(root, Git(root))))
    if found:
        return fail(
            "security.leaks",
            f"{found[0]}" + (f", and {len(found) - 1} more" if len(found) > 1 else "") + ".",
            fix="take it out of the file, and change the credential: it counts as known to others",
            found=[str(one) for one in found[:20]],
        )
    return ok("security.leaks", "No credential stands in the project's files.")


def history(world: World) -> Finding:
    git = Git(world.settings.root)
    log = git.run(
        "log", "--all", "-p", "-U0", "--no-color", "--no-ext-diff", "--no-textconv", "--max-count=2000"
    )
    if log is None:
        return skip("security.history", "This folder has no git history.")
    found = list(history_leaks(log[:MOST]))
    if found:
        return fail(
            "security.history",
            f"The git history holds {found[0].shape} ({found[0].file})"
            + (f", and {len(found) - 1} more." if len(found) > 1 else "."),
            fix="change the credential: taking it out of the history does not take it back",
            found=[f"{one.shape} in {one.file}" for one in found[:20]],
        )
    part = " (its newest part)" if len(log) >= MOST else ""
    return ok("security.history", f"No credential stands in the git history{part}.")


def env_tracked(world: World) -> Finding:
    """Whether git holds, or would take, a file of settings."""
    id = "security.env-tracked"
    git = Git(world.settings.root)
    if not git.is_repository:
        return skip(id, "This folder is not a git repository.")
    tracked = (git.run("ls-files", "-z", "--cached", "--", *ENV_FILES) or "").split("\0")
    held = [name for name in tracked if name]
    if held:
        return fail(
            id,
            f"git tracks {', '.join(held)}: everyone who has the repository has its credentials.",
            fix=f"git rm --cached {held[0]}, add it to .gitignore, and change the credentials in it",
            files=held,
        )
    there = [name for name in ENV_FILES if (world.settings.root / name).is_file()]
    would = (git.run("ls-files", "-z", "--others", "--exclude-standard", "--", *there) or "") if there else ""
    loose = [name for name in would.split("\0") if name]
    if loose:
        return warn(
            id,
            f"git does not ignore {', '.join(loose)}: the next `git add .` takes it in.",
            fix=f"add /{loose[0]} to .gitignore",
            files=loose,
        )
    return ok(id, "git neither holds nor would take a .env file.")


CHECKS: tuple[Check[World], ...] = (
    Check(
        "security.leaks",
        "Are the project's files free of credentials?",
        tree,
        about=Knowledge(
            symptom="Nobody notices until the key is used by someone else.",
            evidence="Kind, file and line of each text of a credential's shape; never the text.",
            cause="A credential was pasted into a file: source, notes, a README's command line.",
            fix="Take it out and change it at the vendor.",
            verify="No file holds a text of a credential's shape.",
            source="https://docs.github.com/code-security/secret-scanning",
        ),
    ),
    Check(
        "security.history",
        "Is the git history free of credentials?",
        history,
        about=Knowledge(
            symptom="The same, long after the file was cleaned.",
            evidence="Kind, commit and file of each such text in an added line; never the text.",
            cause="A commit once added the credential; every clone has it.",
            fix="Change the credential at the vendor; rewriting history does not take it back.",
            verify="No added line of any commit holds a text of a credential's shape.",
            source="https://docs.github.com/code-security/secret-scanning",
        ),
    ),
    Check(
        "security.env-tracked",
        "Does git leave the .env files alone?",
        env_tracked,
        about=Knowledge(
            symptom="Credentials appear on a code host.",
            evidence="The .env files that `git ls-files` names, tracked or not ignored.",
            cause=".env is tracked, or not ignored.",
            fix="git rm --cached .env, ignore it, change the credentials.",
            verify="git neither tracks nor would add a .env file.",
            source="https://git-scm.com/docs/gitignore",
        ),
    ),
)

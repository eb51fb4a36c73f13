"""The kinds of seeds: each breaks one thing of a habitat, in its files, its processes or on the wire.

`plant` gives back the way to undo it. A text may name `{token}`, `{openai_key}`, `{ngrok_token}`,
`{account}`, `{port}` (of the bridge), `{spare}` (a port that nobody has), `{public}` and `{hex}` (fresh
each time): no credential stands in the table itself.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from ops.bench.doctor.habitat import CHECKOUT, Habitat

Undo = Callable[[], None]


class Seed(Protocol):
    """What breaks one thing."""

    def plant(self, habitat: Habitat) -> Undo: ...


def filled(text: str, habitat: Habitat) -> str:
    """The text with its names filled in."""
    vendors = habitat.vendors
    known = {
        "token": vendors.token, "openai_key": vendors.openai_key, "ngrok_token": vendors.ngrok_token,
        "account": vendors.account, "port": str(habitat.ports[1]), "public": habitat.public_url,
        "spare": str(habitat.ports[6]),
        "api_key": vendors.api_key, "api_secret": vendors.api_secret,
        "hex": secrets.token_hex(16),
    }  # fmt: skip
    for name, value in known.items():
        text = text.replace(f"{{{name}}}", value)
    return text


@dataclass(frozen=True)
class Env:
    """Lines of .env set anew, or taken away with None."""

    lines: Mapping[str, str | None]

    def plant(self, habitat: Habitat) -> Undo:
        lines: dict[str, str | None] = {**habitat.settings(), **self.lines}
        habitat.write_env({name: filled(text, habitat) for name, text in lines.items() if text is not None})
        return lambda: habitat.write_env(habitat.settings())


@dataclass(frozen=True)
class Export:
    """The settings come from the environment and there is no .env: the ports stay this habitat's own."""

    def plant(self, habitat: Habitat) -> Undo:
        habitat.exported = habitat.settings()
        gone = File(".env", None).plant(habitat)

        def undo() -> None:
            gone()
            habitat.exported = {}

        return undo


@dataclass(frozen=True)
class File:
    """A file of the project with this text, or none with None; `more` adds the text to what is there."""

    name: str
    text: str | None
    mode: int = 0o600
    more: bool = False

    def plant(self, habitat: Habitat) -> Undo:
        path = habitat.root / self.name
        link = path.readlink() if path.is_symlink() else None
        before = path.read_bytes() if path.is_file() else None
        mode = path.stat().st_mode if before is not None else 0o600
        made = not path.parent.exists()
        if self.text is None or link:
            path.unlink()
        if self.text is not None:
            path.parent.mkdir(exist_ok=True)
            kept = before.decode() if before is not None and self.more else ""
            path.write_text(kept + filled(self.text, habitat), "utf-8")
            path.chmod(self.mode)

        def undo() -> None:
            path.unlink(missing_ok=True)
            if link is not None:
                path.symlink_to(link)
            elif before is not None:
                path.write_bytes(before)
                path.chmod(mode)
            elif made:
                with suppress(OSError):  # the program may have written there too
                    path.parent.rmdir()

        return undo


@dataclass(frozen=True)
class Mode:
    """Another mode of a file that is there."""

    name: str
    mode: int

    def plant(self, habitat: Habitat) -> Undo:
        path = habitat.root / self.name
        before = path.stat().st_mode
        path.chmod(self.mode)
        return lambda: path.chmod(before)


@dataclass(frozen=True)
class Arm:
    """A fault of a vendor's simulator, until it is taken away."""

    vendor: str
    name: str
    numbers: Mapping[str, float] = field(default_factory=dict)

    def plant(self, habitat: Habitat) -> Undo:
        habitat.vendors.arm(self.vendor, self.name, self.numbers)
        return lambda: habitat.vendors.disarm(self.vendor)


@dataclass(frozen=True)
class Number:
    """Fields of the agent's number at Twilio, such as VoiceUrl."""

    form: Mapping[str, str]

    def plant(self, habitat: Habitat) -> Undo:
        told = {name: filled(text, habitat) for name, text in self.form.items()}
        before = habitat.vendors.point(**told)
        return lambda: void(habitat.vendors.point(**before))


@dataclass(frozen=True)
class Queue:
    """Outgoing calls that wait to be placed."""

    calls: int

    def plant(self, habitat: Habitat) -> Undo:
        form = {"To": "+12025550155", "From": "+12025550100", "Twiml": "<Response/>"}
        with habitat.vendors.rest() as http:
            sids = [http.post("/Calls.json", form).checked().json()["sid"] for _ in range(self.calls)]

        def undo() -> None:
            with habitat.vendors.rest() as http:
                for sid in sids:
                    http.post(f"/Calls/{sid}.json", {"Status": "canceled"})
                    http.post(f"/Calls/{sid}.json", {"Status": "completed"})

        return undo


@dataclass(frozen=True)
class Door:
    """What the bridge of one's own does wrong from now on."""

    wrong: Mapping[str, object]

    def plant(self, habitat: Habitat) -> Undo:
        path = habitat.root / "bridge/door.json"
        path.write_text(json.dumps(dict(self.wrong)), "utf-8")
        return path.unlink


@dataclass(frozen=True)
class Commit:
    """A file that one commit added and the next one took away."""

    name: str
    text: str

    def plant(self, habitat: Habitat) -> Undo:
        path = habitat.root / self.name
        path.write_text(filled(self.text, habitat), "utf-8")
        habitat.commit("Notes")
        path.unlink()
        habitat.commit("Clean up")
        return lambda: habitat.git("reset", "-q", "--hard", "HEAD~2")


@dataclass(frozen=True)
class Track:
    """A file that git holds although it should not."""

    name: str

    def plant(self, habitat: Habitat) -> Undo:
        habitat.git("add", "-f", self.name)
        return lambda: habitat.git("rm", "-q", "--cached", self.name)


@dataclass(frozen=True)
class Program:
    """A Python program that runs beside the stack, and writes a line when it is ready."""

    code: str
    words: tuple[str, ...] = ()

    def plant(self, habitat: Habitat) -> Undo:
        words = [filled(word, habitat) for word in self.words]
        folder = habitat.here.folder
        environment = habitat.here.environment(folder) | {"PYTHONPATH": str(CHECKOUT)}
        process = subprocess.Popen(
            [sys.executable, "-c", self.code, *words], stdout=subprocess.PIPE, cwd=folder, env=environment
        )
        assert process.stdout
        process.stdout.readline()

        def end() -> None:
            assert process.stdout
            process.kill()
            process.wait()
            process.stdout.close()

        return end


@dataclass(frozen=True)
class Halt:
    """A service of the stack that lives and does nothing."""

    service: str

    def plant(self, habitat: Habitat) -> Undo:
        pid = habitat.pid(self.service)
        handle = os.pidfd_open(pid)
        signal.pidfd_send_signal(handle, signal.SIGSTOP)

        def undo() -> None:
            signal.pidfd_send_signal(handle, signal.SIGCONT)
            os.close(handle)

        return undo


def void(_: object) -> None:
    """Takes a value and does nothing with it."""


def apply(seeds: tuple[Seed, ...], habitat: Habitat) -> Undo:
    """Plants all, and gives the way to undo all, the last one first."""
    undos: list[Undo] = []

    def undo() -> None:
        for one in reversed(undos):
            one()

    try:
        for seed in seeds:
            undos.append(seed.plant(habitat))
    except BaseException:
        undo()
        raise
    return undo

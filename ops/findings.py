"""A question (Check), an answer (Finding), all answers of one command (Report)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeVar

Status = Literal["ok", "warn", "fail", "skip", "unknown"]
SCHEMA = "trunkline/report@1"
VENDORS = ("twilio", "openai", "ngrok")
World = TypeVar("World")


@dataclass(frozen=True)
class Finding:
    """One answer: a stable id, a status, a sentence, the evidence for it, and what to do.

    A `warn` or `fail` without a fix cannot be constructed. `unknown` means that the question
    could not be asked; it is never mixed up with `fail`. `seconds` is how long asking took.
    """

    id: str
    status: Status
    summary: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    fix: str | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.status in ("warn", "fail") and not self.fix:
            raise ValueError(f"finding {self.id} is a {self.status} without a fix")

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "status": self.status,
            "summary": self.summary,
            "evidence": dict(self.evidence),
            "fix": self.fix,
            "seconds": round(self.seconds, 3),
        }


def ok(id: str, summary: str, **evidence: Any) -> Finding:
    return Finding(id, "ok", summary, evidence)


def warn(id: str, summary: str, *, fix: str, **evidence: Any) -> Finding:
    return Finding(id, "warn", summary, evidence, fix)


def fail(id: str, summary: str, *, fix: str, **evidence: Any) -> Finding:
    return Finding(id, "fail", summary, evidence, fix)


def skip(id: str, summary: str, **evidence: Any) -> Finding:
    return Finding(id, "skip", summary, evidence)


def unknown(id: str, summary: str, *, fix: str | None = None, **evidence: Any) -> Finding:
    return Finding(id, "unknown", summary, evidence, fix)


@dataclass(frozen=True)
class Knowledge:
    """What is known about one fault: how a caller notices it, what the rule looks at, why it happens, the
    mend and its proof.

    `mend` says whether the fix is automatic (`validate --fix` does it), offered or manual;
    `vantage` says from where the question is asked.
    """

    symptom: str
    evidence: str
    cause: str
    fix: str
    verify: str
    source: str = ""
    mend: Literal["automatic", "offered", "manual"] = "manual"
    vantage: Literal["this machine", "vendor", "public URL", "source code"] = "this machine"


@dataclass(frozen=True)
class Check(Generic[World]):
    """One question, asked of a world: stable id, the question in words, ids it waits for.

    It is not asked when one of `needs` gave no good answer, or one of `unless` failed: that
    failure already explains this one. `deadline` in seconds; `about` is what
    `validate --explain ID` tells.
    """

    id: str
    question: str
    ask: Callable[[World], Finding]
    needs: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    deadline: float = 5.0
    about: Knowledge | None = None


@dataclass(frozen=True)
class Report:
    """All answers of one task, and the one rule for its exit code."""

    task: str
    vendors: Mapping[str, str]
    findings: tuple[Finding, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    unusable: bool = False  # the settings themselves could not be used: exit code 2
    interrupted: bool = False  # by Ctrl-C, after which there was still something to tell: exit code 130

    @property
    def exit_code(self) -> int:
        """0 all ok or warn, 2 settings unusable, 3 something failed, 4 something unknown, 130 interrupted."""
        statuses = {finding.status for finding in self.findings}
        if self.interrupted:
            return 130
        if self.unusable:
            return 2
        if "fail" in statuses:
            return 3
        return 4 if "unknown" in statuses else 0

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    def plus(self, *findings: Finding, **data: Any) -> Report:
        """This report with more answers and more data."""
        return replace(self, findings=(*self.findings, *findings), data={**self.data, **data})

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "task": self.task,
            "ok": self.ok,
            "exit_code": self.exit_code,
            "vendors": {name: self.vendors.get(name, "error") for name in VENDORS},
            "findings": [finding.to_dict() for finding in self.findings],
            "data": dict(self.data),
        }

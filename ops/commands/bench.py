"""`inv bench WHAT`: measured, shown beside the goals, written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from ops.bench import call_figures, calls, install, page, processes
from ops.bench.figures import Figure
from ops.bench.machine import Machine, machine
from ops.config import Settings
from ops.errors import OpsError
from ops.findings import Report, ok
from ops.report import Printer, table

PAGE = "docs/benchmarks.md"
LONG_SECONDS = 600.0


@dataclass(frozen=True)
class BenchOptions:
    """What a person asks of `bench`."""

    what: str
    rounds: int = 5
    long: bool = False
    only: tuple[str, ...] = ()
    install: bool = False
    write: bool = False


@dataclass(frozen=True)
class Bench:
    """What one bench has to say."""

    figures: list[Figure]
    rows: list[dict[str, Any]]
    notes: list[str]
    raw: Any


class BadBench(OpsError):
    """What was asked of `bench` does not exist."""

    exit_code = 2


def bench(settings: Settings, printer: Printer, options: BenchOptions) -> Report:
    """Measure; each goal is a finding, the table is for reading."""
    benches = {
        "processes": _processes, "bridge": _bridge, "simulators": _simulators, "deploy": _deploy,
        "doctor": _doctor,
    }  # fmt: skip
    if options.what not in benches:
        raise BadBench(f"There is no bench {options.what}.", fix=f"choose from: {', '.join(benches)}")
    if not 1 <= options.rounds <= 1000:
        raise BadBench(f"expected rounds from 1 to 1000, got {options.rounds}.", fix="give another number")
    if options.install:
        peers = {"processes": install.SUPERVISORS, "bridge": install.RELAYS, "deploy": install.SHIPPERS}
        if options.what not in peers:
            raise BadBench(f"The bench {options.what} has nothing to install.", fix="leave --install out")
        install.install(install.cache(), peers[options.what], printer.progress)
    here = machine()
    done = benches[options.what](options, printer.progress)
    if not printer.json:
        _show(printer, here, done)
    data = {"bench": options.what, "machine": asdict(here), "table": done.rows, "measured": done.raw}
    report = Report("bench", settings.vendors, tuple(one.finding() for one in done.figures), data)
    return report.plus(_write(settings, here, options, done)) if options.write else report


def _processes(options: BenchOptions, progress: Callable[[str], None]) -> Bench:
    result = processes.measure(rounds=options.rounds, only=options.only, progress=progress)
    return Bench(
        processes.figures(result), processes.table(result), processes.notes(result), processes.raw(result)
    )


def _bridge(options: BenchOptions, progress: Callable[[str], None]) -> Bench:
    from ops.bench.bridge import figures, result, run

    sizes = result.Sizes(rounds=options.rounds)
    if options.long:
        sizes = replace(sizes, churn=figures.AN_HOUR)
    measured = run.measure(sizes, options.only, progress)
    return Bench(
        figures.figures(measured), figures.table(measured), figures.notes(measured), figures.raw(measured)
    )


def _doctor(options: BenchOptions, progress: Callable[[str], None]) -> Bench:
    from ops.bench.doctor import figures, run, zoo_own

    chosen = [one for one in zoo_own.FAULTS if not options.only or {one.name, one.rule} & {*options.only}]
    if not chosen:
        rules = sorted({one.rule for one in zoo_own.FAULTS})
        raise BadBench(
            f"No seeded fault has the rule {', '.join(options.only)}.", fix=f"choose from: {', '.join(rules)}"
        )
    measured = run.measure(progress, faults=chosen, healthy=0 if options.only else run.HEALTHY)
    return Bench(
        figures.figures(measured), figures.table(measured), figures.notes(measured), figures.raw(measured)
    )


def _simulators(options: BenchOptions, progress: Callable[[str], None]) -> Bench:
    sizes = calls.Sizes(rounds=options.rounds)
    if options.long:
        sizes = replace(sizes, seconds=LONG_SECONDS)
    result = calls.measure(sizes, progress)
    return Bench(
        call_figures.figures(result),
        call_figures.table(result),
        call_figures.notes(),
        call_figures.raw(result),
    )


def _deploy(options: BenchOptions, progress: Callable[[str], None]) -> Bench:
    from ops.bench.shipping import figures, run

    measured = run.measure(rounds=options.rounds, only=options.only, progress=progress)
    return Bench(
        figures.figures(measured), figures.table(measured), figures.notes(measured), figures.raw(measured)
    )


def _show(printer: Printer, here: Machine, done: Bench) -> None:
    printer.line(f"{here.sentence}.\n")
    if done.rows:
        keys = max(done.rows, key=len)
        for line in table([{key: row.get(key, "–") for key in keys} for row in done.rows], printer.color()):
            printer.line(line)
    for note in done.notes:
        printer.line(f"- {note}")
    printer.line("")


def _write(settings: Settings, here: Machine, options: BenchOptions, done: Bench) -> Any:
    path = settings.root / PAGE
    words = ["inv bench", options.what, f"--rounds {options.rounds}", *(["--long"] if options.long else [])]
    words += [f"--only {','.join(options.only)}"] if options.only else []
    title = page.title(options.what, options.only)
    text = page.section(
        title,
        " ".join([*words, "--write"]),
        here.sentence,
        done.figures,
        done.rows,
        done.notes,
    )
    try:
        before = path.read_text("utf-8") if path.exists() else ""
        path.parent.mkdir(exist_ok=True)
        path.write_text(page.page(before, title, text), "utf-8")
    except OSError as error:
        raise OpsError(f"{path} cannot be written: {error.strerror}.", fix="make docs/ writable") from None
    return ok("bench.page", f"The section is in {PAGE}.", path=str(path))

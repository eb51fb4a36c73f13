"""Writes the journal: stdlib logging in front, one thread that redacts and writes behind.

    setup("websocket-server", settings.logs, level=settings.log_level, secrets=settings.secrets)
    log = logger(__name__)
    with bound(call_sid=sid):
        log.info("call.started", "a caller is on the line", caller=number)

A record costs its caller a queue entry, never a disk access; only after an ERROR it waits, at most
one frame of audio, until the record is written. Records of other libraries flow in from WARNING up,
and so does an exception that nobody catches. Three places get each record: `logs/<service>.jsonl`,
the combined `logs/latest.log`, and for records with a `call_sid` also
`logs/calls/<call_sid>/journal.jsonl`.
"""

from __future__ import annotations

import atexit
import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from ops.journal.drain import OURS, Record, Writer
from ops.journal.entry import LEVELS
from ops.journal.redact import Redactor

SUCCESS = LEVELS["SUCCESS"]
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

logging.addLevelName(SUCCESS, "SUCCESS")
OURS.addHandler(logging.NullHandler())  # silent until `setup`
_context: ContextVar[Mapping[str, Any]] = ContextVar("journal", default=MappingProxyType({}))


class Log:
    """A named logger whose records are an event, a sentence and fields."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name if name == "ops" or name.startswith("ops.") else f"ops.{name}")

    def debug(self, event: str, message: str = "", **fields: Any) -> None:
        if self._logger.isEnabledFor(logging.DEBUG):
            self._write(logging.DEBUG, event, message, fields)

    def info(self, event: str, message: str = "", **fields: Any) -> None:
        if self._logger.isEnabledFor(logging.INFO):
            self._write(logging.INFO, event, message, fields)

    def success(self, event: str, message: str = "", **fields: Any) -> None:
        if self._logger.isEnabledFor(SUCCESS):
            self._write(SUCCESS, event, message, fields)

    def warning(self, event: str, message: str = "", **fields: Any) -> None:
        if self._logger.isEnabledFor(logging.WARNING):
            self._write(logging.WARNING, event, message, fields)

    def error(self, event: str, message: str = "", **fields: Any) -> None:
        self._write(logging.ERROR, event, message, fields)

    def exception(self, event: str, message: str = "", **fields: Any) -> None:
        """An ERROR with the exception being handled, and its traceback."""
        self._write(logging.ERROR, event, message, {**fields, **_exception(sys.exc_info())})

    def hop(self, event: str, message: str = "", *, level: str = "INFO", **fields: Any) -> None:
        """A step of a call: written whatever the level, since it is what the call is judged by."""
        self._write(LEVELS[level], event, message, fields)

    def at(self, level: str, event: str, message: str = "", **fields: Any) -> None:
        """A record whose level is known only when it is written."""
        if self._logger.isEnabledFor(LEVELS[level]):
            self._write(LEVELS[level], event, message, fields)

    def _write(self, level: int, event: str, message: str, fields: Mapping[str, Any]) -> None:
        record = Record(self._logger.name, level, "", 0, message, (), None)
        record.event = event
        record.fields = {**_context.get(), **fields}
        self._logger.handle(record)


def logger(name: str) -> Log:
    """The log of a module; a name outside `ops` is put below it, so that one level governs all."""
    return Log(name)


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Put these fields on every record written below, in this thread or task and the tasks it starts."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def setup(
    service: str, logs: Path, *, level: str = "INFO", secrets: Iterable[str] = (), console: bool | None = None
) -> None:
    """Begin to write this process's records as `service` below `logs`; a second call begins anew.

    `console` also shows them on standard error; left out, that is so where it is a terminal.
    `logs/run/log-level`, when it holds a level's name, stands above `level` until it is removed (see
    `ops.journal.level`).
    """
    global _door
    if not _SERVICE.fullmatch(service):
        raise ValueError(f"a service is named with letters, digits, '.', '_' and '-', not {service!r}")
    close()
    console = sys.stderr.isatty() if console is None else console
    _door = _Door(Writer(service, logs, level, Redactor(secrets), console))


def flush(timeout: float = 5.0) -> bool:
    """Wait until all records so far are written; False when that took longer than `timeout` seconds."""
    return _door.writer.flush(timeout) if _door else True


def close() -> None:
    """Write what is waiting, at most 5 seconds, and stop."""
    global _door
    door, _door = _door, None
    if door:
        door.shut()


class _Door(logging.Handler):
    """The handler on the root logger, and the hooks for exceptions that nobody catches."""

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self.writer = writer
        self._hooks = (sys.excepthook, threading.excepthook)
        sys.excepthook, threading.excepthook = self._uncaught, self._uncaught_in_thread
        logging.getLogger().addHandler(self)

    def createLock(self) -> None:
        self.lock = None  # the queue needs none

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.writer.put(record if isinstance(record, Record) else _foreign(record))
        except Exception:
            self.handleError(record)

    def shut(self) -> None:
        logging.getLogger().removeHandler(self)
        if sys.excepthook == self._uncaught:
            sys.excepthook = self._hooks[0]
        if threading.excepthook == self._uncaught_in_thread:
            threading.excepthook = self._hooks[1]
        self.writer.close()

    def _uncaught(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, Exception):
            told = _exception((kind, error, trace))
            Log("ops").error("process.crashed", f"{kind.__qualname__}: {error}", **told)
        self._hooks[0](kind, error, trace)

    def _uncaught_in_thread(self, args: threading.ExceptHookArgs) -> None:
        if issubclass(args.exc_type, Exception):
            told = _exception((args.exc_type, args.exc_value, args.exc_traceback))
            name = args.thread.name if args.thread else ""
            Log("ops").error(
                "thread.crashed", f"{args.exc_type.__qualname__}: {args.exc_value}", thread=name, **told
            )
        self._hooks[1](args)


def _foreign(record: logging.LogRecord) -> Record:
    """A library's record, with its message made now: its arguments may change later."""
    ours = Record(record.name, record.levelno, "", 0, record.getMessage(), (), None)
    ours.created = record.created
    ours.fields = {**_context.get(), **(_exception(record.exc_info) if record.exc_info else {})}
    return ours


def _exception(
    info: tuple[type[BaseException] | None, BaseException | None, TracebackType | None],
) -> dict[str, str]:
    kind, error, trace = info
    if kind is None:
        return {}
    stack = "".join(traceback.format_exception(kind, error, trace, limit=-30))
    return {"exc_type": kind.__qualname__, "exc_msg": str(error), "exc_stack": stack}


_door: _Door | None = None
atexit.register(close)

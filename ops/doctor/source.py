"""Reads the source of the user's own bridge for lines that are known to break calls.

Each rule is a row: where it looks, what it looks for, what excuses a match, and what is known of
the fault. Only the user's own stack (ops.toml) is read; a rule that finds nothing stays silent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ops.findings import Check, Finding, Knowledge, ok, warn
from ops.vendors.openai.checks import SOON, known_shutdown
from ops.world import World

RETIRED = "source.retired-model"
CODE = (".js", ".mjs", ".cjs", ".ts", ".tsx", ".py")
MARKUP = (*CODE, ".xml", ".html", ".ejs", ".hbs", ".txt")
LEAVE_OUT = {
    "node_modules",
    ".venv",
    "venv",
    ".git",
    "dist",
    "build",
    ".next",
    "__pycache__",
    "site-packages",
}
SPAN = 4  # lines over which one construct may be spread
MOST_FILES, LARGEST = 2000, 512 * 1024


@dataclass(frozen=True)
class Rule:
    """One killer: `pattern` anywhere in a line; or, when `absent` is given, a file that has the
    pattern but nowhere in the whole source what `absent` looks for."""

    id: str
    question: str
    pattern: str
    summary: str
    about: Knowledge
    files: tuple[str, ...] = CODE
    excuse: str = ""
    absent: str = ""
    elsewhere: str = ""  # in a file that has this, the words mean something else


@dataclass(frozen=True)
class Line:
    """One line of the user's source."""

    file: str
    number: int
    text: str


def _known(symptom: str, cause: str, fix: str, source: str) -> Knowledge:
    evidence, verify = "The file and line of the source.", "The pattern is gone from the source."
    return Knowledge(symptom, evidence, cause, fix, verify, source, vantage="source code")


MODEL = re.compile(
    r"(?<![\w.-])(?:gpt-4o(?:-mini)?-realtime-preview|gpt-realtime(?:-mini)?)(?:-20\d\d-\d\d-\d\d)?(?![\w.-])"
)
_GA = "https://platform.openai.com/docs/guides/realtime"
_DEMO = "https://github.com/openai/openai-realtime-twilio-demo"

RULES: tuple[Rule, ...] = (
    Rule(
        "source.beta-header",
        "Does the source ask for the retired beta of the Realtime API?",
        r"OpenAI-Beta['\"]?\s*[:=,]\s*['\"]realtime=v1|\.beta\.realtime\.connect",
        "asks for the Realtime beta, which OpenAI has switched off",
        _known(
            "The call is answered and silent; the model's socket closes with 4000.",
            "The header OpenAI-Beta: realtime=v1 asks for the beta shape (beta_api_shape_disabled).",
            "Remove the header and use the GA shape.",
            "https://github.com/pickle-com/glass/issues/220",
        ),
    ),
    Rule(
        "source.beta-events",
        "Does the source wait for events that are not sent any more?",
        r"['\"`]response\.(audio|audio_transcript|text)\.(delta|done)['\"`]|['\"`]conversation\.item\.created['\"`]",
        "waits for an event of the beta",
        _known(
            "The model answers, but the caller hears nothing.",
            "GA renamed response.audio.* to response.output_audio.*, conversation.item.created to .added.",
            "Use the GA names.",
            _GA,
        ),
    ),
    Rule(
        "source.flat-session",
        "Does the source configure the session in the flat shape of the beta?",
        r"\b(input_audio_format|output_audio_format|input_audio_transcription)\b['\"]?\s*:",
        "sets a flat audio format, which GA ignores or refuses",
        _known(
            "The caller hears noise: the model speaks 24 kHz PCM into an 8 kHz mu-law line.",
            "GA takes audio.input.format and audio.output.format; the flat keys are of the beta.",
            'Nest them: audio: {input: {format: {type: "audio/pcmu"}}, output: {…}}.',
            "https://github.com/PatterAI/Patter/issues/154",
        ),
        excuse=r"input_audio_transcription\.(delta|completed|failed)",
        elsewhere=r"\bagents\.realtime\b|@openai/agents",  # the Agents SDK has settings of these names
    ),
    Rule(
        RETIRED,
        "Does the source name a model that is gone, or goes soon?",
        MODEL.pattern,
        "names a model that was shut down, or will be within 60 days",
        _known(
            "From one day to the next every call is silent; model_not_found in the log.",
            "The preview models were shut down in May 2026; the first GA models follow in January 2027.",
            "Use a current model, such as gpt-realtime-2.1.",
            "https://platform.openai.com/docs/deprecations",
        ),
    ),
    Rule(
        "source.stream-query",
        "Does a <Stream> pass values in a query string?",
        r"<Stream[^>]*url=[\"'`]?[^\"'`>\s]*\?[\w$]|\.stream\([^)]*url[^)]*\?\w+=",
        "puts a query string into <Stream url>, which Twilio does not support",
        _known(
            "The greeting plays, then the call ends with 31920.",
            "Twilio drops or refuses query strings in a stream's URL.",
            "Pass the values as <Parameter name value> and read start.customParameters.",
            "https://www.twilio.com/docs/api/errors/31920",
        ),
        MARKUP,
    ),
    Rule(
        "source.one-way-stream",
        "Does the TwiML use a one-way stream?",
        r"<Start>\s*<Stream|\.start\(\)\s*\.stream\(",
        "uses <Start><Stream>, on which nothing can be played",
        _known(
            "The caller is heard, but hears nothing.",
            "<Start><Stream> is one-way.",
            "Use <Connect><Stream>.",
            "https://github.com/twilio/media-streams/issues/56",
        ),
        MARKUP,
    ),
    Rule(
        "source.nameless-mark",
        "Does every mark have a name?",
        r"event['\"]?\s*:\s*['\"]mark['\"]",
        "sends a mark without mark.name, so it never comes back",
        _known(
            "Barge-in cuts at the wrong place; Twilio warns 31951 once a stream.",
            "A mark needs mark: {name: …}; without it there is no echo.",
            "Give every mark a name and count the echoes.",
            _DEMO,
        ),
        absent=r"mark['\"]?\s*:\s*(\{\s*['\"]?name|[A-Za-z_]\w*\s*[,}])",
    ),
    Rule(
        "source.global-session",
        "Does each call have a session of its own?",
        r"^(let|var)\s+session\b|^session\s*(:\s*[\w\[\], |]+)?\s*=\s*(None|\{\}|Session\()",
        "keeps one session for all calls",
        _known(
            "A second caller ends the first one's call.",
            "The session is a variable of the module, shared by every connection.",
            "Keep the session in the connection's own scope.",
            "https://github.com/openai/openai-realtime-twilio-demo/issues/6",
        ),
    ),
    Rule(
        "source.no-signature",
        "Are Twilio's signatures checked?",
        r"<Stream\b|['\"]/(twiml|incoming-call|media-stream)['\"]",
        "answers Twilio, and nowhere is X-Twilio-Signature checked",
        _known(
            "The model's bill grows without calls.",
            "Anyone who knows the address can open calls and sessions.",
            "Check the signature on every webhook and on the websocket's upgrade.",
            "https://github.com/openai/openai-agents-js/pull/1968",
        ),
        absent=r"validateRequest|RequestValidator|x-twilio-signature|twilio\.webhook\(|validateExpressRequest",
    ),
    Rule(
        "source.upstream-open",
        "Is the model's socket closed when the caller hangs up?",
        r"api\.openai\.com/v1/realtime|realtime\.connect\(|OPENAI_REALTIME_URL",
        "never handles Twilio's `stop`, so the model's session stays open and is billed",
        _known(
            "Sessions of the model go on for an hour after the call; Ctrl-C hangs.",
            "Twilio sends `stop`, not `close`; the source does not handle it.",
            "Close the model's socket on `stop` and when the phone's socket closes.",
            "https://github.com/twilio-samples/speech-assistant-openai-realtime-api-python/issues/36",
        ),
        absent=r"['\"]stop['\"]|\.on\(\s*['\"]close['\"]|\bfinally\b",
    ),
    Rule(
        "source.extra-headers",
        "Does the source use a name that websockets has dropped?",
        r"websockets\.connect\([^)]*extra_headers|\bextra_headers\s*=",
        "passes extra_headers, which websockets 14 and later do not know",
        _known(
            "The first call after an upgrade dies with a TypeError.",
            "websockets 14 renamed extra_headers to additional_headers.",
            "Use additional_headers.",
            "https://github.com/twilio-samples/speech-assistant-openai-realtime-api-python/issues/42",
        ),
        files=(".py",),
    ),
)


def read(folders: tuple[Path, ...]) -> Iterator[Line]:
    """The lines of all source files below the folders, without installed packages and build output."""
    count = 0
    for folder in folders:
        for path in sorted(_files(folder)):
            count += 1
            if count > MOST_FILES:
                return
            shown = str(path.relative_to(folder))
            for number, text in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
                yield Line(shown, number, text[:2000])


def judge(rule: Rule, lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """The lines that a rule objects to."""
    pattern = re.compile(rule.pattern)
    excuse = re.compile(rule.excuse) if rule.excuse else None
    files = tuple(line for line in lines if line.file.endswith(rule.files))
    if rule.elsewhere:
        spared = {line.file for line in files if re.search(rule.elsewhere, line.text)}
        files = tuple(line for line in files if line.file not in spared)
    whole = "\n".join(line.text for line in files)
    if rule.absent and re.search(rule.absent, whole, re.IGNORECASE):
        return ()
    return tuple(
        line
        for index, line in enumerate(files)
        if _begins(pattern, line, files[index + 1 : index + SPAN])
        and not _comment(line.text)
        and not (excuse and excuse.search(line.text))
    )


def _begins(pattern: re.Pattern[str], line: Line, following: tuple[Line, ...]) -> bool:
    """Whether a match begins in this line; it may end in one of the next ones of its file."""
    after = "\n".join(one.text for one in following if one.file == line.file)
    found = pattern.search(f"{line.text}\n{after}")
    return found is not None and found.start() < max(1, len(line.text))


def retires(text: str, today: date) -> bool:
    """Whether a line names a model whose announced last day is past, or near."""
    days = (known_shutdown(name) for name in MODEL.findall(text))
    return any(day is not None and (day - today).days <= SOON for day in days)


def _comment(text: str) -> bool:
    return text.lstrip().startswith(("#", "//", "*", "/*", "<!--"))


def _files(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink() or entry.name in LEAVE_OUT:
            continue
        if entry.is_dir():
            yield from _files(entry)
        elif entry.suffix in MARKUP and entry.stat().st_size <= LARGEST:
            yield entry


def _folders(world: World) -> tuple[Path, ...]:
    """Where the user's own services live; the project folder itself only when nothing else is named."""
    found = {service.cwd for service in world.table if service.cwd.is_dir()}
    inner = {one for one in found if not any(other in one.parents for other in found)}
    return tuple(sorted(inner))


def _asker(rule: Rule) -> Callable[[World], Finding]:
    def ask(world: World) -> Finding:
        lines = tuple(read(_folders(world)))
        found = judge(rule, lines)
        if rule.id == RETIRED:
            found = tuple(line for line in found if retires(line.text, world.today))
        if not found:
            return ok(rule.id, f"{len({line.file for line in lines})} files read: nothing of this kind.")
        first = found[0]
        return warn(
            rule.id,
            f"{first.file}:{first.number} {rule.summary}.",
            fix=rule.about.fix,
            lines=[f"{line.file}:{line.number}" for line in found[:20]],
        )

    return ask


CHECKS: tuple[Check[World], ...] = tuple(
    Check(rule.id, rule.question, _asker(rule), about=rule.about) for rule in RULES
)


def checks(world: World) -> tuple[Check[World], ...]:
    """The rules for a stack of the user's own; the built-in one has its tests instead."""
    return CHECKS if world.own_stack else ()

"""Over 200 texts that mean harm to a shell, a unit, a proxy, a terminal or a file system."""

from __future__ import annotations

from itertools import product

RUN = "touch HIT"
SHELL = [
    f"; {RUN}", f"$({RUN})", f"`{RUN}`", f"| {RUN}", f"|| {RUN}", f"& {RUN}", f"&& {RUN}", f"\n{RUN}\n", f"' ; {RUN}; '",
    f'" ; {RUN}; "', f"-- {RUN}", f"<({RUN})", f"${{IFS}};{RUN.replace(' ', '${IFS}')}", f"$'\\n'{RUN}", f"!{RUN}",
    f"\\'; {RUN} #", f"$(({RUN}))", f"%0a{RUN}", f"\r\n{RUN}", f"';{RUN}#", f'";{RUN}#', f"a\n\n{RUN}", "> HIT", ">> HIT",
]  # fmt: skip
WORDS = [
    "--help", "-x", "--json", "-oProxyCommand=touch HIT", "--to=../..", "*", "~", "~root", "$HOME", "a b", "", "\\", "'",
    '"', "{a,b}", "!!", "#x", "=", "a=b", "%s", "%h", "%i", "%%", "\t", "\n", "\r", "\x00"[:0] + "\x01", "\x1b[31m",
    "\x1b]0;x\x07", "\u202e", "\u2028", "ü", "\ufeff", ".", "..", "../x", "../../etc/passwd", "/etc/passwd", "a//b", "a/./b",
    "x\nUser=root", "x\nExecStartPre=/bin/touch HIT", "x\n    bind :1", "x weight 100\n    server y", "${X}", "$X", "%{x}",
    "[x]", "x]", "@", "@x", "x@", "a@b@c", "x:", ":22", "x:0", "x:99999", "x:-1", "[::1", "::1]", "[::1]:x", "x,,y", ",",
]  # fmt: skip
PREFIXES = ("", "web1", "ann@web1", "a.b", "0123456789ab")
PAYLOADS = list(dict.fromkeys([*WORDS, *(before + text for before, text in product(PREFIXES, SHELL)), *(
    f"web1{word}" for word in WORDS if word
)]))  # fmt: skip

"""Runs on a host and keeps the releases there, below one folder. It travels as text and needs only Python.

    releases/ID/      one release: its files, `.env` and `.venv` as links, `logs` shared; it counts from the
                      moment that its file COMPLETE (its manifest) is there, which is written last
    current           what is in force, replaced in one step: a link to a release, or to the slot that runs it
    slots/NAME        a link to the release that this slot runs; slots/NAME.env its ports (0600)
    store/            contents by their SHA-256, as they arrived; what releases share is sent once
    venvs/KEY/        environments, by lock file and Python
    shared/           logs, and environment files (0600)
    lock.json         who deploys, since when and why; history.jsonl, audit.jsonl: what was done

A request is one JSON object on standard input, the answer one on standard output, behind a one-time word.

files         names that lead nowhere else, files that are whole (imported by all others)
plan          which slot takes a release, and which ones end (pure)
base          the folder, its lock and its records
environments  a release's Python environment, by uv or pip
releases      taken in, installed, switched, rolled back, removed
units         systemd: a slot started, proven, drained
balancer      HAProxy on this host: its configuration, and what its runtime is told
program       one request carried out; `MODULES` above it, in the order in which they are sent
"""

MODULES = ("files", "plan", "base", "environments", "releases", "units", "balancer", "program")

"""Trunkline's inside, as a map.

Values describe, plans decide, edges act, findings answer; one printer speaks.

errors findings values config     values that every other file may use: what can go wrong, what was
services own_stack world          found, the settings, what runs, what a check is asked of
speech      recorded lines, G.711, levels in dBFS
net         talking to others: HTTP, the reconnecting websocket, when to try again
journal     structured logs: written, collected, followed, analysed, exported
vendors     twilio, openai, ngrok: wire, client, checks, and a simulator that knows none of these
apps        the programs we operate: the bridge and the web page
processes   our programs on this machine: plan, start, watch, stop
calls       the end-to-end test call and its judge
remote      the same tasks on other hosts: strict SSH, all hosts at once, releases
doctor      checks that belong to no vendor, and what can be mended
checks      the list of all checks, and the loop that asks them
bench       what is promised in figures, measured beside its goals
report      the only file that prints; live   what moves on a terminal
commands    what each task does, one file each
program     the running `inv` with its flag -H, and the script `ops`
cli         the shape of every task: settings, one function, report, exit code
"""

"""The same tasks on other machines: hosts, strict SSH, one task on all hosts at once, releases.

hosts      who is meant by a name (pure)
forward    a parsed task as a remote command line (pure)
screen     a host's bytes as lines that are safe to show (pure)
outcome    what came of a task on each host, and the exit code of all (pure)
hostkeys   whom the known hosts files vouch for
apply      SSH itself: the only file that knows Fabric
abreast    one piece of work on all hosts at once, with a barrier and Ctrl-C
build      what a release is made of: files by git, wheels by pip
deliver    one host's part of a deploy: what it lacks, install, switch, back
units      what systemd runs there: slots, their ports, their template unit (pure)
proxy      HAProxy's settings and configuration (pure)
front      what stands before one host's calls: its slots, and who leads calls to them (pure)
receiver   the program that a host's Python carries out, sent along as text
"""

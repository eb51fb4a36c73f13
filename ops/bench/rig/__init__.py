"""Throw-away hosts on this machine: real systemd as PID 1, real sshd, an address and a disk of their own.

outside.py   `rig()`: builds them, says where they are, cuts and mends their links, takes them down
inside.py    the program that holds them: alone in its namespaces, it ends with whoever started it

    198.18.N.1                       here, in the network namespace of whoever asked
        │ veth
    bridge in the keeper's namespace
        │ veth          │ veth          │ veth
    198.18.N.11     198.18.N.12     198.18.N.13      one systemd-nspawn --boot each

The hosts see this machine's own files through an overlay whose changes lie in memory, so nothing is
downloaded and every start is a fresh host. Mounts, processes and networks live in the keeper's own
namespaces: when it ends, however it ends, the kernel takes them all.
"""

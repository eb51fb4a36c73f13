"""Our programs on this machine: started, watched, and ended without a trace.

    start.py awaiting.py stop.py status.py attach.py   what the tasks call: settings in, an Outcome out
    state.py plan.py records.py outcome.py       pure: one service's life, what to do next, the run files
    procfs.py identity.py ports.py census.py     read only: processes, who they are, what belongs to us
    observe.py drain.py probe.py                 read only: the situation, live calls, readiness
    spawn.py apply.py take_over.py handle.py     act: fork, end, free a port, deal with the supervisor
    run_files.py lock.py sole.py environment.py interrupt.py
    supervisor.py member.py ledger.py tail.py wakeup.py     the supervisor, small and detached
    watcher.py                                   restarts on code change; a supervised program

A command orders (`logs/run/wanted.json`), the supervisor carries out and tells how things stand
(`logs/run/stack.json`). The supervisor starts and restarts; commands end services themselves, so
that stopping is the same whether the supervisor lives or not. When it dies the services go on,
and the next command starts another one that takes them over.
"""

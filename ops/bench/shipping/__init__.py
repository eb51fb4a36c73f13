"""`inv bench deploy`: this checkout shipped to three hosts with real systemd and sshd, timed and cut off.

result.py figures.py    pure: what was measured, what that says
desk.py                 where a person would deploy from: a clone, keys, `inv` with a stopwatch
cuts.py                 links cut in the middle of a deploy
rolling.py              deploys under calls, behind a proxy
callers.py model.py     who is on the line meanwhile, and who answers
others.py               pyinfra and Ansible doing the same steps
run.py                  everything in turn
"""

"""What Trunkline costs and promises in figures, measured on this machine. Nothing here runs in production.

figures.py pacing.py wire.py page.py    pure: statistics, goals, frames of RFC 6455, the page
machine.py                              what the figures were taken on. Read only
stage.py service.py answers.py          programs that carry the bench's token, counted and ended by it
tools.py install.py trials.py           the supervisors: described, installed, put to the test
processes.py                            `inv bench processes`: all of them, taking turns
bridge/                                 `inv bench bridge`: our bridge beside reference relays
sink.py phones.py calls.py              `inv bench simulators`: calls placed, frames and marks timed
shipping/                               `inv bench deploy`: shipped to three hosts, timed, cut off
rig/                                    hosts with systemd and sshd on this machine, for this and the tests
call_figures.py                         what that says. Pure
"""

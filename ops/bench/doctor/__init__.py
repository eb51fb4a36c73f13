"""`inv bench doctor`: is `validate` right? Faults seeded one by one, and stacks that are well.

setups.py habitat.py vendors.py  where it is asked: a project of its own, its vendors, its bridge
own_bridge.py selfsigned.py      programs that stand there: a bridge of one's own, a server that is wrong
seeds.py zoo*.py                 what is broken: kinds of seeds, and the table of faults
verdict.py                       what a report says of a seeded fault. Pure
run.py figures.py                taking turns, and the figures beside their goals
"""

"""`inv bench bridge`: our bridge and reference relays under the same load.

frames.py book.py result.py figures.py  pure: messages with watermarks, their times, what they say
phone.py echo.py load.py                the load: callers, a model that echoes, both on one clock
designs.py relays/ certificate.py       what is measured: how each bridge is started and trusted
churn.py outages.py                     calls that come and go; what breaks under calls
run.py                                  all of it: taking turns, level by level
"""

"""What each task does: one file, one function (settings, printer, options) → report.

They may use everything below them; nobody but `tasks.py` uses them.
"""

"""What the doctor asks beside the vendors' own checks: this machine, the stack, the public way in.

Each file is one group of checks as data, with what is known of each fault beside its question.
"""

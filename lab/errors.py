"""What goes wrong in a way that a person can mend: one line, no traceback."""

from __future__ import annotations


class LabError(Exception):
    """Something that the lab needs is not so. The message says what, where and the remedy."""

    exit_code = 1


class UsageError(LabError):
    """What was asked for cannot be right: a setting, an argument, a file of the user's."""

    exit_code = 2

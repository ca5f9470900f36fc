"""What ends a worker with one line.

What it is: the base of errors whose message says what is wrong, where, and what to do.
Who calls it: whatever raises one of its kinds; ``stream.worker`` prints it and ends with status 1.
What it must never know: anything of what went wrong.
"""

from __future__ import annotations


class FatalError(RuntimeError):
    """Going on would be wrong or useless; the message is one line."""

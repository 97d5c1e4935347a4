"""Exit statuses, and the error that ends a command with one of them.

Other errors reach the person as they are: those of `edge_operator.errors` and of `edge_runtime.errors`.
"""

from enum import IntEnum
from typing import Final


class ExitStatus(IntEnum):
    """Exit status of `ei`."""

    OK = 0
    PROBLEM = 1
    USAGE = 2
    UNREACHABLE = 3
    DENIED = 4
    TIMED_OUT = 5
    INTERRUPTED = 130
    NO_READER = 141


MEANINGS: Final = {
    ExitStatus.OK: "the command did what it was called for, and found no problem",
    ExitStatus.PROBLEM: "a problem was found, an object does not exist or has no plan, or a request failed",
    ExitStatus.USAGE: "the command line is wrong: an unknown flag, or a value that does not parse",
    ExitStatus.UNREACHABLE: "the API server, the model store or the service could not be reached",
    ExitStatus.DENIED: "the account lacks a permission that the command needs",
    ExitStatus.TIMED_OUT: "`ei wait` gave up",
    ExitStatus.INTERRUPTED: "the command was interrupted by Ctrl-C",
    ExitStatus.NO_READER: "the reader of the output closed it, as `head` does",
}
"""What each exit status means, for docs/cli.md."""


class CommandError(Exception):
    """Ends a command with a message, `field: "value" problem: fix`."""

    def __init__(self, message: str, status: ExitStatus = ExitStatus.PROBLEM) -> None:
        super().__init__(message)
        self.status = status

"""Errors of the testbed.

TestbedError
├── MachineUnfitError        this machine cannot host the testbed; the message names an alternative
├── BinaryUnavailableError   a program could not be found or built
├── ImageUnavailableError    a container image could not be built or imported
├── NotRunningError          the command needs a running testbed
├── UnknownNodeError         no node of that name
├── BadValueError            an invalid rate, speed or node description
├── BusyError                another command holds the testbed
├── NotReadyInTimeError      a deadline passed; the message shows the state
└── CommandFailedError       a program ended with an error; holds its output
    └── KubectlFailed   kubectl or helm failed
"""

from __future__ import annotations

from collections.abc import Sequence


class TestbedError(Exception):
    """Base class of the testbed's errors; its text is a message for users."""

    __test__ = False  # not a test class, despite its name


class MachineUnfitError(TestbedError):
    """This machine cannot host the testbed."""


class BinaryUnavailableError(TestbedError):
    """A program could not be found or built."""


class ImageUnavailableError(TestbedError):
    """A container image could not be built or imported."""


class NotRunningError(TestbedError):
    """The command needs a running testbed."""


class UnknownNodeError(TestbedError):
    """No node of that name."""


class BadValueError(TestbedError):
    """A value is invalid."""


class BusyError(TestbedError):
    """Another command holds the testbed."""


class NotReadyInTimeError(TestbedError):
    """A deadline passed."""


class CommandFailedError(TestbedError):
    """A program ended with an error."""

    def __init__(self, argv: Sequence[str], code: int, output: str) -> None:
        self.argv, self.code, self.output = list(argv), code, output
        tail = output.strip()[-4000:]
        super().__init__(f"{' '.join(argv)[:400]} ended with {code}: {tail or 'no output'}")


class KubectlFailed(CommandFailedError):  # noqa: N818 - the failure of a command, named as such in the API
    """kubectl or helm ended with an error; `output` is its stderr."""

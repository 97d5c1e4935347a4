# ruff: noqa: N818 - a class is named by what happened
"""Errors of the demo; each text is a message for users.

DemoError
├── StepFailed       a step of the setup did not succeed
├── NotInTime        a condition was not met before its deadline; the message shows the state
├── NotSuited        the existing cluster lacks something that the message names
└── LoadFailed       a client process ended, or its output cannot be parsed
"""


class DemoError(Exception):
    """Base class of the demo's errors."""


class StepFailed(DemoError):
    """A step of the setup did not succeed."""


class NotInTime(DemoError):
    """A deadline passed."""


class NotSuited(DemoError):
    """The cluster of KUBECONFIG lacks something that the demo needs."""


class LoadFailed(DemoError):
    """A client process ended, or its output cannot be parsed."""

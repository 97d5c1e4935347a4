# ruff: noqa: N818 - a class is named by what happened
"""Everything the demo raises; each text is a sentence for people.

DemoError
├── StepFailed       a step of the setup did not succeed
├── NotInTime        a condition was not met before its deadline; the message shows the state
├── NotSuited        the existing cluster lacks something: the sentence says what to give
└── LoadFailed       a client process ended, or said nothing that can be read
"""


class DemoError(Exception):
    """The base of every error of the demo."""


class StepFailed(DemoError):
    """A step of the setup did not succeed."""


class NotInTime(DemoError):
    """A deadline passed."""


class NotSuited(DemoError):
    """The cluster of KUBECONFIG lacks something that the demo needs."""


class LoadFailed(DemoError):
    """A client process ended, or said nothing that can be read."""

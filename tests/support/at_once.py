"""The executor of the operator's tests: it does at once what it is given."""

from typing import Any

from edge_operator.effects.executor import FAILED, Action
from edge_operator.errors import ClusterError


class AtOnce:
    """Runs the actions of loops where they are submitted, and those that fail or repeat once a reconcile."""

    def __init__(self) -> None:
        self.resting: dict[object, float] = {}

    def submit(self, action: Action[Any]) -> None:
        if action.key in self.resting:
            return
        try:
            again = action.done(action.call())
        except ClusterError:
            again = FAILED
        if again is not None:
            self.resting[action.key] = again
        action.wake()

    def mended(self, *keys: object) -> None:
        for key in keys:
            self.resting.pop(key, None)

"""What a review decides. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

LONGEST_WARNING: Final = 250
"""Characters of a warning: the API server cuts longer ones when there are many."""
_MOST_WARNINGS: Final = 10


class Problem(NamedTuple):
    """A sentence with its reason. refuses: whether the object must not be stored."""

    reason: str
    message: str
    refuses: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an object is stored, and why not.

    Attributes:
        reasons: Why it is refused; empty if it is not.
        message: The sentences of the refusal.
        warnings: Sentences that `kubectl` prints when it is stored.
    """

    allowed: bool = True
    reasons: tuple[str, ...] = ()
    message: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        """The label of metrics: refused, warned or accepted."""
        if not self.allowed:
            return "refused"
        return "warned" if self.warnings else "accepted"


ACCEPTED: Final = Verdict()


def verdict(problems: Iterable[Problem]) -> Verdict:
    """Returns the verdict on an object with these problems. A refusal also has its warnings."""
    found = tuple(problems)
    refusing = [each for each in found if each.refuses]
    warned = [f"{each.reason}: {each.message}" for each in found if not each.refuses]
    shown = [_shortened(each) for each in warned[:_MOST_WARNINGS]]
    if len(warned) > _MOST_WARNINGS:
        shown.append(f"and {len(warned) - _MOST_WARNINGS} more warnings")
    return Verdict(
        not refusing,
        tuple(dict.fromkeys(each.reason for each in refusing)),
        "; ".join(each.message for each in refusing),
        tuple(shown),
    )


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_WARNING else f"{text[: LONGEST_WARNING - 1]}…"

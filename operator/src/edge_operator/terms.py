"""The term of a leader: how often the Lease had changed its holder when the leader took it. Pure."""

from typing import NamedTuple


class Term(NamedTuple):
    """A term. lease: the uid of the Lease, since another one of its name counts from 0."""

    lease: str
    number: int

    def __str__(self) -> str:
        """Returns the text by which a model in Triton is marked."""
        return f"{self.lease}:{self.number}"

    def is_before(self, other: "Term") -> bool:
        """Whether another leader of the same Lease followed."""
        return self.lease == other.lease and self.number < other.number


def read(text: str) -> Term | None:
    """Returns the term of a mark; None if it has none, as those of earlier versions."""
    lease, _, number = text.rpartition(":")
    return Term(lease, int(number)) if lease and number.isascii() and number.isdecimal() else None

"""The part of a test's API server that says what it can do."""

from edge_operator.cluster import Kind


class ServedKinds:
    """An API server of a current version with all kinds."""

    def version(self) -> tuple[int, int]:
        return (1, 34)

    def serves(self, kind: Kind) -> bool:
        return True

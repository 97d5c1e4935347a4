"""The model store of the operator's tests, as far as Jobs put files into it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_api.model_sources import ModelSource
from edge_operator.errors import StoreError
from edge_operator.store_answers import Progress


@dataclass(kw_only=True)
class FetchedFiles:
    """fetched: addresses of files that Jobs have put there. receiving: files that arrive now, by address."""

    fetched: set[str] = field(default_factory=set)
    receiving: dict[str, Progress] = field(default_factory=dict)

    def check_fetched(self, address: str) -> None:
        """Raises StoreError for a file that no Job has put there."""
        if address.startswith("store://fetched/") and address not in self.fetched:
            raise StoreError("NotFound", f'path: no file "{address}"')

    def check_source(self, source: ModelSource) -> None:
        """Checks the addresses of a model and of its samples."""
        self.check_fetched(source.storage_uri)
        if source.samples is not None:
            self.check_fetched(source.samples.storage_uri)

    def progress(self, address: str) -> Progress | None:
        """Returns how far the store is with a file."""
        return self.receiving.get(address)


def has_label(labels: Mapping[str, str], key: str, value: str | None = None) -> bool:
    """Whether a label is there, with a value if one is given."""
    return key in labels if value is None else labels.get(key) == value

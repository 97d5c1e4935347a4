"""Whether a namespace may read the files that a service names. Pure."""

import posixpath
from collections.abc import Iterator
from urllib.parse import unquote

from edge_api import reasons
from edge_api.model_sources import ModelSource, Samples, Validation
from edge_operator.admission.states import Rules
from edge_operator.admission.verdicts import Problem


def unreadable(new: ModelSource, old: ModelSource | None, rules: Rules) -> Iterator[Problem]:
    """Yields the files that the installation lets no service read.

    Names in the model store and volumes are those of the service's own namespace: an address cannot name a
    file of another one there. old: a file that was accepted before only causes a warning.
    """
    for field, source in _files(new):
        accepted = None if old is None else dict(_files(old)).get(field)
        known = accepted is not None and _place(accepted) == _place(source)
        for each in _of(field, source, rules):
            yield each._replace(refuses=not known)


def _of(field: str, source: ModelSource | Samples | Validation, rules: Rules) -> Iterator[Problem]:
    scheme, _, rest = source.storage_uri.partition("://")
    if scheme == "file" and not _shared(rest, rules.shared_folders):
        folders = ", ".join(rules.shared_folders) or "none"
        yield Problem(
            reasons.MODEL_NOT_SHARED,
            f'{field}.storageUri: "{source.storage_uri}" is in no shared folder of the model store '
            f"({folders}): "
            "upload the file and write its store:// address, or add the folder to store.sharedFolders",
        )
    if not rules.fetching and (scheme == "pvc" or source.secret_name):
        yield Problem(
            reasons.FETCHING_DISABLED,
            f'{field}.storageUri: "{source.storage_uri}" needs a Job in the namespace, which this '
            "installation "
            "does not allow: upload the file and write its store:// address, or set store.fetching.enabled",
        )


def _files(model: ModelSource) -> Iterator[tuple[str, ModelSource | Samples | Validation]]:
    yield "spec.model", model
    if model.samples is not None:
        yield "spec.model.samples", model.samples
    if model.validation is not None:
        yield "spec.model.validation", model.validation


def _place(source: ModelSource | Samples | Validation) -> tuple[str, str | None]:
    return source.storage_uri, source.secret_name


def _shared(path: str, folders: tuple[str, ...]) -> bool:
    plain = posixpath.normpath(unquote(path))
    return any(plain.startswith(f"{folder.rstrip('/')}/") for folder in folders)

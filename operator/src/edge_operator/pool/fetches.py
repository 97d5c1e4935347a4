"""Models, samples and validation data that a Job of their service's namespace stores. Pure.

The operator and the store read no Secret and no volume of others: a Job with the service's Secret or claim
does, with a token of its own ServiceAccount. A Job that ended is the record of its attempt.
"""

from dataclasses import dataclass
from typing import Literal

from edge_api import reasons
from edge_api.model_sources import ModelSource, Samples, Validation
from edge_operator.cluster import Object
from edge_operator.conditions import Blocked
from edge_operator.names import fetch_name, fetched_address
from edge_operator.nodes.fetch_jobs import FetchOrder, fetch_account, fetch_job
from edge_operator.pool import attempts
from edge_operator.pool.actions import Apply, Delete
from edge_operator.pool.attempts import Attempt
from edge_operator.pool.drafts import Draft
from edge_operator.pool.facts import CardOf, Need, NotKnownError, ProgressOf
from edge_operator.pool.pod_troubles import cannot_start, pod_trouble
from edge_operator.store_answers import Progress

_POLL = 2.0
_WITHOUT_POD = 30.0
"""Seconds after which a Job without a pod is reported."""
_VOLUME = "pvc"
_REMOTE = ("s3", "gs", "hf", "oci", "https")
"""Schemes whose servers a Secret can be for."""

Field = Literal["model", "samples", "validation"]


@dataclass(frozen=True, slots=True)
class Fetch:
    """A file that a Job fetches. address: where the store has it afterwards. job: as last seen."""

    order: FetchOrder
    address: str
    job: Object | None

    @property
    def done(self) -> str:
        """The uid of the Job that completed; empty if none did."""
        if self.job is None or attempts.outcome(self.job) != "Complete":
            return ""
        return str(self.job["metadata"].get("uid", ""))


def needed(draft: Draft, source: ModelSource | Samples | Validation, field: Field) -> Fetch | Blocked | None:
    """Returns how a file is fetched that the store cannot read itself; None if it can."""
    scheme, _, rest = source.storage_uri.partition("://")
    where = f"spec.model.{'' if field == 'model' else f'{field}.'}"
    secret = source.secret_name or ""
    if scheme != _VOLUME and not secret:
        return None
    if secret and scheme not in _REMOTE:
        known = ", ".join(f"{name}://" for name in _REMOTE)
        message = (
            f'{where}secretName: "{secret}" is not used with {scheme}://: remove it, or write a storageUri '
            f"with one of {known}"
        )
        return Blocked(reasons.MODEL_READY, reasons.BAD_REQUEST, message)
    if not draft.settings.fetching.enabled:
        message = (
            f'{where}storageUri: "{source.storage_uri}" needs a Job in namespace {draft.key.namespace}, '
            "which this installation does not allow: set store.fetching.enabled of the chart, or upload the "
            "file and use store://"
        )
        return Blocked(reasons.MODEL_READY, reasons.REFUSED, message)
    what = (source.storage_uri, source.digest or "", secret)
    name = fetch_name(draft.key.name, what)
    file_name = rest.partition("#")[2].rpartition("/")[2] or rest.rpartition("/")[2].partition("?")[0]
    address = fetched_address(what, file_name.replace(":", "-") or "model.onnx")
    order = FetchOrder(
        name=name,
        uri=source.storage_uri,
        stored_as=address.removeprefix("store://"),
        field="model.samples" if field == "samples" else field,
        digest=source.digest or "",
        secret=secret,
        claim=rest.partition("/")[0] if scheme == _VOLUME else "",
        with_data=field == "model",
    )
    return Fetch(order, address, draft.own.fetches.get(name))


def fetch(draft: Draft, wanted: Fetch) -> Blocked:
    """Has a Job fetch a file that the store lacks. Returns why the service waits."""
    job = wanted.job
    circumstances = attempts.circumstances(draft.settings, ())
    if job is None:
        return _start(draft, wanted, Attempt(frozenset(), circumstances))
    attempt = attempts.attempt_of(job)
    pods = draft.own.fetch_pods.get(wanted.order.name, ())
    match attempts.outcome(job):
        case None:
            return _running(draft, wanted, job, pods)
        case "Complete":
            failure = f"{reasons.NOT_FOUND}: the model store has lost the file that was fetched"
        case _:
            failure = attempts.failure(job, list(pods))
    due = attempts.retry_at(job) or draft.now.wall
    if due <= draft.now.wall or attempt.circumstances != circumstances:
        return _start(draft, wanted, attempt.next((), circumstances, failure))
    reason, message = _told(failure)
    message = (
        f"{message}: attempt {attempt.number} failed, the next one starts at {due:%H:%M:%S} UTC, or at "
        f"once if you delete Job {draft.key.namespace}/{wanted.order.name}"
    )
    left = (due - draft.now.wall).total_seconds()
    return Blocked(reasons.MODEL_READY, reason, message, transient=True, again=left)


def end_others(draft: Draft, *wanted: Fetch) -> None:
    """Ends the Jobs for addresses that the service does not have any more."""
    names = {each.order.name for each in wanted}
    for name, job in sorted(draft.own.fetches.items()):
        if name not in names and not job["metadata"].get("deletionTimestamp"):
            draft.write(Delete(job))


def progress(draft: Draft, need: Need[object]) -> str:
    """Returns how far the store is with a model that it fetches itself, as an addition to a message."""
    return _share(draft, need.source.storage_uri) if isinstance(need, CardOf) else ""


def _share(draft: Draft, address: str) -> str:
    try:
        found = draft.lookups.get(ProgressOf(draft.key.namespace, address))
    except NotKnownError:
        return ""
    return "" if found is None else f", {_amount(found)}"


def _amount(found: Progress) -> str:
    """Returns what arrived, in tenths, so that few conditions are written."""
    if not found.size:
        return f"{found.received >> 20} MiB arrived"
    return f"{10 * (10 * found.received // found.size)} % of {found.size} bytes arrived"


def _start(draft: Draft, wanted: Fetch, attempt: Attempt) -> Blocked:
    draft.write(Apply(fetch_account(draft.body, wanted.order), own=True))
    if wanted.job is not None:
        draft.write(Delete(wanted.job))
    authority = draft.state.authority
    job = fetch_job(draft.body, wanted.order, draft.settings, attempt.annotations(), authority)
    draft.write(Apply(job))
    return _under_way(wanted, attempt, f"a Job fetches {wanted.order.uri}")


def _running(draft: Draft, wanted: Fetch, job: Object, pods: tuple[Object, ...]) -> Blocked:
    doing = f"a Job fetches {wanted.order.uri}"
    named = f"{draft.key.namespace}/{wanted.order.name}"
    began = attempts.created_at(job)
    if not pods and began is not None and (draft.now.wall - began).total_seconds() > _WITHOUT_POD:
        message = f"{doing}: Job {named} has no pod: its events say what refuses it, e.g. a quota"
        return _failed(reasons.FETCH_FAILED, message)
    trouble = next((text for pod in reversed(pods) if (text := pod_trouble(pod))), "")
    if any(cannot_start(pod) for pod in pods):
        message = f"{doing}: the pod of Job {named} does not start: {trouble}: correct what it names"
        return _failed(reasons.FETCH_FAILED, message)
    said = f" ({trouble})" if trouble else _share(draft, wanted.address)
    return _under_way(wanted, attempts.attempt_of(job), doing + said)


def _under_way(wanted: Fetch, attempt: Attempt, doing: str) -> Blocked:
    """Later attempts keep the reason of the failure, so that conditions do not change to and fro."""
    if not attempt.failure:
        return Blocked(reasons.MODEL_READY, reasons.FETCHING, doing, transient=True, again=_POLL)
    reason, message = _told(attempt.failure)
    return _failed(reason, f"{doing} (attempt {attempt.number}); the attempt before it failed: {message}")


def _failed(reason: str, message: str) -> Blocked:
    return Blocked(reasons.MODEL_READY, reason, message, transient=True, again=_POLL)


def _told(failure: str) -> tuple[str, str]:
    """Returns the reason that a Job gave, and its message with the field of the manifest."""
    first, _, rest = failure.partition(": ")
    reason = reasons.known(first, reasons.FETCH_FAILED)
    message = rest if reason == first else failure
    if message.startswith("model."):
        return reason, f"spec.{message}"
    return reason, f"spec.model.{message}" if message.startswith("validation.") else message

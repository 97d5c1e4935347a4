"""The verdict on a change of an object, given the objects of the cluster. Pure."""

from collections.abc import Callable, Iterator
from typing import Final

from pydantic import ValidationError

from edge_operator.admission.cluster_checks import check_pool_deletion, check_tenant, check_tenant_deletion
from edge_operator.admission.requests import Request
from edge_operator.admission.service_checks import check_service
from edge_operator.admission.states import State
from edge_operator.admission.verdicts import ACCEPTED, Problem, Verdict, verdict

Check = Callable[[Request, State], Iterator[Problem]]
ON_SPEC: Final[dict[str, Check]] = {"InferenceService": check_service, "Tenant": check_tenant}
ON_DELETION: Final[dict[str, Check]] = {
    "Tenant": check_tenant_deletion,
    "DevicePool": check_pool_deletion,
}
"""The checks of each kind. Other kinds and operations are accepted."""


def review(request: Request, state: State) -> Verdict:
    """Returns whether the API server may store a change.

    Only changes of a spec and deletions that begin are reviewed. Values that this version cannot read are
    left to the CRD's rules and to the operator's condition. Takes time proportional to the Tenants, and for
    ports and Tenants to the services.
    """
    if request.operation == "DELETE":
        ending = (request.old.get("metadata") or {}).get("deletionTimestamp")
        check = None if ending else ON_DELETION.get(request.kind)
    else:
        check = ON_SPEC.get(request.kind) if request.changes_spec else None
    if check is None:
        return ACCEPTED
    try:
        return verdict(check(request, state))
    except ValidationError:
        return ACCEPTED

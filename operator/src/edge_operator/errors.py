"""Errors of the systems around the operator. Decisions return values instead of raising these.

OperatorError
├── SettingsError        the operator's own flags or environment
├── ExplanationError     a service that cannot be explained yet
├── CertificatesError    a file of the operator's certificates
├── ReviewError          a request to the admission webhook that cannot be read
├── ClusterError           the API server
│   ├── ApiUnreachableError
│   ├── ObjectRefusedError      it rejects the object: schema, quota, policy
│   │   └── PermissionDeniedError   the account has no permission for the request
│   ├── WriteConflictError      the object changed, or was created again, since it was read
│   └── NotLeadingError         another replica of the operator writes
├── StoreError             the model store, with its reason (NotOnnx, DigestMismatch, Unreachable, ...)
└── TritonError            Triton's model control
    ├── TritonUnreachableError
    │   ├── TritonBusyError         an earlier request is still running
    │   └── TritonUntrustedError    TLS fails because of a certificate of the server or of the operator
    ├── ControlDeniedError          it requires a key for model control
    └── TailRefusedError        it could not load or unload a model
"""

from edge_api import reasons


class OperatorError(Exception):
    """Base class; its text is the message of a condition or a log line."""


class SettingsError(OperatorError):
    """A flag or an environment variable is missing or has an invalid value."""


class ExplanationError(OperatorError):
    """There is no plan to explain: the service or its pool does not exist, or the model is not profiled."""


class CertificatesError(OperatorError):
    """A file of the operator's certificates cannot be used."""


class ReviewError(OperatorError):
    """A request to the admission webhook is not an AdmissionReview."""


class ClusterError(OperatorError):
    """A request to the API server failed."""


class ApiUnreachableError(ClusterError):
    """The API server does not respond, or responds that it is unavailable."""


class ObjectRefusedError(ClusterError):
    """The API server rejected the request."""


class PermissionDeniedError(ObjectRefusedError):
    """The account has no permission for the request."""


class WriteConflictError(ClusterError):
    """The object changed, or was created again, between reading and writing; read again and decide again."""


class NotLeadingError(ClusterError):
    """This replica does not hold the Lease for long enough to begin a write."""


class StoreError(OperatorError):
    """A request to the model store failed; `reason` is the store's, or `Unreachable`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    @property
    def transient(self) -> bool:
        """Whether it will pass without a change to the service."""
        return self.reason == reasons.UNREACHABLE


class TritonError(OperatorError):
    """A request to Triton's model control failed."""


class TritonUnreachableError(TritonError):
    """The Triton server does not respond.

    rest: seconds for which its circuit breaker lets no request through.
    """

    def __init__(self, message: str, rest: float = 0.0) -> None:
        super().__init__(message)
        self.rest = rest


class TritonBusyError(TritonUnreachableError):
    """The Triton server has not finished an earlier request."""


class TritonUntrustedError(TritonUnreachableError):
    """TLS with the Triton server fails because of a certificate."""


class ControlDeniedError(TritonError):
    """The Triton server requires a key for model control that the operator does not have."""


class TailRefusedError(TritonError):
    """Triton responded that it cannot load or unload the model."""

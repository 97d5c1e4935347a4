"""What can go wrong around the operator. The decisions themselves answer with values, not with these.

OperatorError
├── SettingsError        the operator's own flags or environment
├── ExplanationError     a service that cannot be explained yet
├── CertificatesError    a file of the operator's certificates
├── ClusterError           the API server
│   ├── ApiUnreachableError
│   ├── ObjectRefusedError      it says no: schema, permission, quota
│   └── WriteConflictError      somebody else wrote in between
├── StoreError             the model store, with its reason (NotOnnx, DigestMismatch, Unreachable, ...)
└── TritonError            Triton's model control
    ├── TritonUnreachableError
    │   └── TritonUntrustedError    TLS fails: its certificate, the operator's, or the files of the operator's
    └── TailRefusedError        it could not load or unload a model
"""


class OperatorError(Exception):
    """Root of the tree; its text is a sentence for a condition or a log line."""


class SettingsError(OperatorError):
    """A flag or an environment variable names something impossible."""


class ExplanationError(OperatorError):
    """There is no plan to explain: no such service, no pool, not profiled yet."""


class CertificatesError(OperatorError):
    """A file of the operator's certificates cannot be used."""


class ClusterError(OperatorError):
    """The API server could not do what was asked."""


class ApiUnreachableError(ClusterError):
    """No answer from the API server, or one that says it is not itself at the moment."""


class ObjectRefusedError(ClusterError):
    """The API server understood and said no."""


class WriteConflictError(ClusterError):
    """The object changed between reading and writing; read again and retry."""


class StoreError(OperatorError):
    """The model store's answer; `reason` is the store's own, or `Unreachable`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TritonError(OperatorError):
    """Triton's model control could not do what was asked."""


class TritonUnreachableError(TritonError):
    """Nobody answers at the Triton server's address."""


class TritonUntrustedError(TritonUnreachableError):
    """TLS with the Triton server's address fails for a certificate."""


class TailRefusedError(TritonError):
    """Triton answered and could not load or unload the model."""

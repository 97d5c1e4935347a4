# ruff: noqa: N818 - a class is named by the reason that users read
"""Every error this distribution raises. None knows of HTTP, gRPC or Kubernetes: the edges map them.

EdgeError
├── ModelError               the model or what was said about it
│   ├── NotOnnx
│   ├── UnknownOutput
│   ├── UnknownTensor
│   ├── NoExits
│   └── BadAccuracy
├── StorageError             bytes and where they lie
│   ├── DigestMismatch
│   ├── NotFound
│   ├── Unreachable
│   ├── Refused
│   ├── UnsupportedScheme
│   └── TooLarge
├── BadRequest               an argument that is neither of the above
│   ├── BadTensor            a tensor that does not fit the contract of the model
│   ├── UnsupportedEncoding  a body in a compression that is not read here
│   ├── HeadersTooLarge      a request that goes on and on before its body begins
│   ├── NotOffered           a part of HTTP that no path here has
│   ├── UnknownVersion       another HTTP than 1.0 and 1.1
│   └── TooSlow              a body that pauses for longer than anybody waits
├── MethodNotAllowed         an HTTP method that the path does not take
├── UnknownModel             a model name that is not served here
├── BadPlacement             a Placement that cannot be read
├── CannotLoad               a route table that cannot be made ready
│   ├── TrialCrashed         a slice that ends the process in which it is tried
│   ├── TrialHung            one whose trial does not end
│   ├── TrialOverran         one whose trial takes more memory than there is
│   └── NotTried             one whose trial has no result yet
├── CannotListen             an address that cannot be bound
├── BadCertificates          a folder of certificates that cannot be used
├── ModelFailed              a model that fails on inputs which fit its contract
├── ConnectionFailed         a peer that cannot be reached, or broke off
├── CallerLeft               nobody is there to be answered
└── CannotAnswer             a request that no route can answer
    ├── NotReady             nothing is loaded yet, or the server is going down
    ├── QueueFull            more requests wait than can be answered in good time
    ├── DeadlinePassed       the time that the caller gave is over
    ├── HopFailed            the next hop refused, broke off or answered nonsense
    ├── HopLate              the next hop's answer did not come in time
    └── LinkBusy             it could not: what is on the link already takes too long
"""

from __future__ import annotations


class EdgeError(Exception):
    """A fault with a sentence for the person who can mend it."""

    @property
    def reason(self) -> str:
        """The CamelCase word by which programs tell errors apart."""
        return type(self).__name__


class ModelError(EdgeError):
    """The model, or what was said about it, is wrong."""


class NotOnnx(ModelError):
    """The bytes are no ONNX model that can be served."""


class UnknownOutput(ModelError):
    """An exit names an output that the graph lacks."""


class UnknownTensor(ModelError):
    """A slice names a tensor that the graph lacks, or that cannot bound a slice."""


class NoExits(ModelError):
    """Neither the manifest nor the file says which outputs are exits."""


class BadAccuracy(ModelError):
    """An accuracy is no share between 0 and 1."""


class StorageError(EdgeError):
    """Bytes are missing, wrong or out of reach."""


class DigestMismatch(StorageError):
    """Bytes that arrived are not those that were asked for."""


class NotFound(StorageError):
    """Nothing is stored under this name."""


class Unreachable(StorageError):
    """The source did not answer, or refused."""


class Refused(StorageError):
    """The source answered that it will not give this."""


class UnsupportedScheme(StorageError):
    """A storageUri whose scheme is not read here."""


class TooLarge(StorageError):
    """More bytes than the limit allows."""


class BadRequest(EdgeError):
    """An argument is missing or of the wrong form."""


class BadTensor(BadRequest):
    """A tensor's name, datatype, shape or size does not fit the model."""


class UnsupportedEncoding(BadRequest):
    """A body in a compression that is not read here."""


class HeadersTooLarge(BadRequest):
    """A request goes on and on before its body begins."""


class NotOffered(BadRequest):
    """A part of HTTP that no path here has, such as tunnels."""


class UnknownVersion(BadRequest):
    """Another HTTP than 1.0 and 1.1."""


class TooSlow(BadRequest):
    """A body paused on its way for longer than anybody waits."""


class MethodNotAllowed(EdgeError):
    """An HTTP method that the path does not take; `allowed` is the one that it does."""

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed


class UnknownModel(EdgeError):
    """No model of this name is served here."""


class BadPlacement(EdgeError):
    """A Placement that cannot be read."""


class CannotLoad(EdgeError):
    """A route table that cannot be made ready."""


class TrialCrashed(CannotLoad):
    """A slice that ends the process in which it is tried."""


class TrialHung(CannotLoad):
    """A slice whose trial does not end in the time that it has."""


class TrialOverran(CannotLoad):
    """A slice whose trial takes more memory than there is."""


class NotTried(CannotLoad):
    """A slice that was not tried to the end; it is tried again."""


class CannotListen(EdgeError):
    """An address that cannot be bound."""


class BadCertificates(EdgeError):
    """A folder of certificates that cannot be used."""


class ModelFailed(EdgeError):
    """The model fails on inputs that fit its contract."""


class ConnectionFailed(EdgeError):
    """A peer that cannot be reached, or broke off."""


class CallerLeft(EdgeError):
    """The caller left before its body was complete."""


class CannotAnswer(EdgeError):
    """A request that no route can answer."""


class NotReady(CannotAnswer):
    """Nothing is loaded yet, or the server is going down."""


class QueueFull(CannotAnswer):
    """More requests wait than can be answered in good time; `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlinePassed(CannotAnswer):
    """The time that the caller gave is over, and there is no answer yet."""


class HopFailed(CannotAnswer):
    """The next hop refused, broke off or answered nonsense."""


class HopLate(CannotAnswer):
    """The next hop's answer did not come in time."""


class LinkBusy(CannotAnswer):
    """The next hop's answer could not come in time, so nothing was sent."""

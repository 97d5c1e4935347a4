# ruff: noqa: N818 - a class is named by the reason that users read
"""Every error that this distribution raises. Transports map them to HTTP, gRPC and Kubernetes codes.

EdgeError
├── ModelError               the model or its description is wrong
│   ├── NotOnnx
│   ├── UnknownOutput
│   ├── UnknownTensor
│   ├── NoExits
│   └── BadAccuracy
├── StorageError             stored bytes are missing, wrong or out of reach
│   ├── DigestMismatch
│   ├── NotFound
│   ├── Unreachable
│   ├── Refused
│   ├── UnsupportedScheme
│   ├── TooLarge
│   └── DiskFull
├── BadRequest               an invalid argument
│   ├── BadTensor            a tensor that does not match the model's contract
│   ├── UnsupportedEncoding  a body with an unsupported compression
│   ├── HeadersTooLarge      a request whose header section exceeds the limit
│   ├── NotOffered           an HTTP feature that no path supports
│   ├── UnknownVersion       an HTTP version other than 1.0 and 1.1
│   └── TooSlow              a body that stalls
├── AccessDenied             a caller without the right
│   ├── Unauthenticated      no valid token
│   └── Forbidden            a valid token or certificate without the right
├── MethodNotAllowed         an HTTP method that the path does not support
├── UnknownModel             a model name that is not served here
├── BadPlacement             a Placement that cannot be read
├── CannotLoad               a route table that cannot be loaded
│   ├── TrialCrashed         a slice that crashes its trial process
│   ├── TrialHung            a slice whose trial does not finish
│   ├── TrialOverran         a slice whose trial exceeds the memory limit
│   └── NotTried             a slice whose trial has no result yet
├── CannotListen             an address that cannot be bound
├── BadCertificates          a folder of certificates that cannot be used
├── CannotInstall            a host on which the unit cannot be installed
├── ModelFailed              a model that fails on inputs that match its contract
├── ConnectionFailed         a peer that cannot be reached, or closed the connection
├── CallerLeft               the client disconnected
└── CannotAnswer             a request to which no route can respond
    ├── NotReady             nothing is loaded yet, or the server is shutting down
    ├── Withdrawn            the service is suspended, or its tenant is drained
    ├── Overloaded           too many requests wait for a response in time
    ├── DeadlinePassed       the client's timeout passed
    ├── HopFailed            the next hop returned an error or closed the connection
    ├── HopLate              the response of the next hop did not arrive in time
    └── LinkBusy             the link is too busy for a response in time
"""

from __future__ import annotations


class EdgeError(Exception):
    """Base class: an error with a message for the person who can fix it."""

    @property
    def reason(self) -> str:
        """The CamelCase identifier by which programs distinguish errors."""
        return type(self).__name__


class ModelError(EdgeError):
    """The model or its description is wrong."""


class NotOnnx(ModelError):
    """The bytes are not an ONNX model that can be served."""


class UnknownOutput(ModelError):
    """An exit names an output that the graph lacks."""


class UnknownTensor(ModelError):
    """A slice names a tensor that the graph lacks, or that cannot bound a slice."""


class NoExits(ModelError):
    """Neither the manifest nor the file says which outputs are exits."""


class BadAccuracy(ModelError):
    """An accuracy is not between 0 and 1."""


class BadInputs(ModelError):
    """A shape that is stated for an input does not match the file."""


class InputsRefused(ModelError):
    """The model fails on the inputs that it is measured on."""


class BadSamples(ModelError):
    """The file of samples has no inputs that the model takes."""


class StorageError(EdgeError):
    """Stored bytes are missing, wrong or out of reach."""


class DigestMismatch(StorageError):
    """The received bytes do not have the requested digest."""


class NotFound(StorageError):
    """Nothing is stored under this name."""


class Unreachable(StorageError):
    """The source did not respond, or refused the connection."""


class Refused(StorageError):
    """The source denied access."""


class UnsupportedScheme(StorageError):
    """The scheme of a storageUri is not supported."""


class TooLarge(StorageError):
    """More bytes than the limit."""


class DiskFull(StorageError):
    """The store's disk has no room for a file."""


class BadRequest(EdgeError):
    """An argument is missing or malformed."""


class BadTensor(BadRequest):
    """A tensor's name, datatype, shape or size does not match the model."""


class UnsupportedEncoding(BadRequest):
    """The compression of a body is not supported."""


class HeadersTooLarge(BadRequest):
    """The header section of a request exceeds the limit."""


class NotOffered(BadRequest):
    """An HTTP feature that no path supports, such as tunnels."""


class UnknownVersion(BadRequest):
    """An HTTP version other than 1.0 and 1.1."""


class TooSlow(BadRequest):
    """A body stalled for longer than the time limit."""


class AccessDenied(EdgeError):
    """The caller lacks the right."""


class Unauthenticated(AccessDenied):
    """The request shows no token, or one that is not valid."""


class Forbidden(AccessDenied):
    """The token or certificate is valid, but its holder does not have the right."""


class MethodNotAllowed(EdgeError):
    """The path does not support the HTTP method; `allowed` is the one that it supports."""

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed


class UnknownModel(EdgeError):
    """No model of this name is served here."""


class BadPlacement(EdgeError):
    """A Placement cannot be read."""


class CannotLoad(EdgeError):
    """A route table cannot be loaded."""


class TrialCrashed(CannotLoad):
    """A slice crashes the process in which it is tried."""


class TrialHung(CannotLoad):
    """The trial of a slice exceeds its time limit."""


class TrialOverran(CannotLoad):
    """The trial of a slice exceeds the memory limit."""


class NotTried(CannotLoad):
    """The trial of a slice was interrupted; it is retried."""


class CannotListen(EdgeError):
    """An address cannot be bound."""


class BadCertificates(EdgeError):
    """A folder of certificates cannot be used."""


class CannotInstall(EdgeError):
    """The systemd unit cannot be installed on this host, or not be removed."""


class ModelFailed(EdgeError):
    """The model fails on inputs that match its contract."""


class ConnectionFailed(EdgeError):
    """A peer cannot be reached, or closed the connection."""


class CallerLeft(EdgeError):
    """The client disconnected before its body was complete."""


class CannotAnswer(EdgeError):
    """No route can respond to a request."""


class NotReady(CannotAnswer):
    """Nothing is loaded yet, or the server is shutting down."""


class Withdrawn(CannotAnswer):
    """The Placement of the service refuses requests: it is suspended, or its tenant is drained."""


class Overloaded(CannotAnswer):
    """Too many requests wait for a response in time; `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlinePassed(CannotAnswer):
    """The client's timeout passed before the response was ready."""


class HopFailed(CannotAnswer):
    """The next hop returned an error or an invalid response, or closed the connection."""


class HopLate(CannotAnswer):
    """The response of the next hop did not arrive in time."""


class LinkBusy(CannotAnswer):
    """The link is too busy for a response in time, so nothing was sent."""

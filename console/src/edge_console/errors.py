"""Errors of the console, each with the HTTP status of its response."""


class ConsoleError(Exception):
    """A request that is not carried out. The message says why, and what to do."""

    status = 500


class UnauthenticatedError(ConsoleError):
    """The token is missing or not valid."""

    status = 401


class HiddenError(ConsoleError):
    """The object does not exist, or the viewer cannot read it: the message is the same."""

    status = 404


class RefusedError(ConsoleError):
    """The request is too large, or a field of it is wrong."""

    status = 400


class TooManyError(ConsoleError):
    """The viewer sends too many requests. seconds: after which the next one is accepted."""

    status = 429

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class UnavailableError(ConsoleError):
    """The API server does not respond, or the console has not read its objects yet."""

    status = 503

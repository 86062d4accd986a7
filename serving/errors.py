"""What goes wrong: a server that cannot start, a release that is refused, a request that is not answered as asked."""

from __future__ import annotations


class ServingError(Exception):
    """The server cannot do what it was asked at start or by an operator; the message says what would be right."""


class Refused(Exception):  # noqa: N818 (not a fault of the program)
    """A request gets this HTTP status (RFC 9110) and message instead of an answer."""

    def __init__(self, status: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


def overloaded(message: str, seconds: int = 1) -> Refused:
    """Return a 503 that tells the client when to come back (RFC 9110, section 10.2.3)."""
    return Refused(503, message, ((b"retry-after", b"%d" % seconds),))

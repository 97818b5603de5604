"""What the clients raise, as errors of this package."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from agent_persistence.exceptions import AdapterError, FailureState


def as_adapter_error(
    error: BaseException, states: Mapping[type[Exception], FailureState], host: str = "the server"
) -> AdapterError:
    """A client's exception as ours: the nearest class in its ancestry that has a state says what became of the request.

    A certificate that is not accepted is a rejection: a man in the middle stays one. The client's exception, which
    stays the cause, loses its request.
    """
    certificate = next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLCertVerificationError)), None)
    distrusts = certificate is not None or "CERTIFICATE_VERIFY_FAILED" in str(error)
    _forget_request(error)
    if distrusts:
        return _distrusted(certificate, host)
    state = next(states[cls] for cls in type(error).__mro__ if cls in states)
    if state is FailureState.NOT_SENT:
        return AdapterError(f"{type(error).__name__}: {host} was not reached, nothing was sent", state=state)
    return AdapterError(f"{type(error).__name__} on the way to {host}; the request may have arrived", state=state)


def _distrusted(certificate: ssl.SSLCertVerificationError | None, host: str) -> AdapterError:
    """What OpenSSL found fault with (X509_V_ERR_…), and what helps."""
    reason = getattr(certificate, "verify_message", "").rstrip(".")
    return AdapterError(
        f"the TLS certificate of {host} was not accepted{reason and f': {reason}'}; nothing was sent",
        hint=_REMEDIES.get(getattr(certificate, "verify_code", 0), _SIGNED_BY_NOBODY),
    )


_WRONG_NAME: Final = "use the URL with the host name that the certificate is for, or get one for this name"
_WRONG_TIME: Final = "renew the certificate on the server, or set this machine's clock right"
_SIGNED_BY_NOBODY: Final = (
    "only public authorities are trusted; for one of your own pass client=httpx.AsyncClient(verify=<its SSLContext>)"
)
_REMEDIES: Final = {9: _WRONG_TIME, 10: _WRONG_TIME, 62: _WRONG_NAME, 64: _WRONG_NAME}


def _forget_request(error: BaseException) -> None:
    """Take the request out of the exceptions: its URL and headers hold values of filters and keys."""
    for cause in _causes(error):
        if hasattr(cause, "_request"):
            vars(cause)["_request"] = None
        if "://" in str(cause):
            cause.args = ("its text is left out, because it holds a URL",)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@contextmanager
def mapped_exceptions(states: Mapping[type[Exception], FailureState], host: str = "the server") -> Iterator[None]:
    """Within, an exception that has a state becomes an AdapterError."""
    try:
        yield
    except tuple(states) as error:
        raise as_adapter_error(error, states, host) from error

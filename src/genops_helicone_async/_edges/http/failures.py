"""What aiohttp and the operating system raise, as our errors: one short line, and the facts."""

from __future__ import annotations

import errno
import os
import ssl

import aiohttp
from aiohttp.http import HttpProcessingError
from yarl import URL

from ..._values import HttpRequest
from ...errors import Billed, ConfigurationError, DeadlineExceededError, DecodeError, GatewayError, HeliconeError

CONNECT_TIMEOUT_S = 30.0
"""Longest wait for a TCP and TLS handshake; the call's deadline may be nearer."""
_LONGEST_REASON = 200  # characters


def translated(exc: Exception, request: HttpRequest) -> HeliconeError:
    """Our error for one of aiohttp's or the operating system's."""
    host = URL(request.url).authority
    billed: Billed = "maybe" if request.sent else "no"
    if isinstance(exc, HeliconeError):
        return exc
    if isinstance(exc, aiohttp.ServerTimeoutError):
        return GatewayError(f"no connection to {host} within {CONNECT_TIMEOUT_S:g} s", retry_safe=True)
    if isinstance(exc, TimeoutError):
        return DeadlineExceededError(f"{host} did not answer before the deadline", billed=billed)
    if isinstance(exc, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError | ssl.SSLError):
        return GatewayError(f"TLS with {host} failed: {_reason(exc)}", code="tls_failure")
    if isinstance(exc, aiohttp.ClientHttpProxyError):
        why = f"the proxy refused to connect to {host}: {exc.status} {exc.message}"
        return GatewayError(why, retry_safe=exc.status >= 500)
    if isinstance(exc, aiohttp.ClientConnectorDNSError):
        why = f"the host name of {host} cannot be resolved: check the URL or the network"
        return GatewayError(why, retry_safe=True)
    if isinstance(exc, aiohttp.ClientConnectorError):
        hint = ": lower max_connections or raise the open-file limit" if exc.errno == errno.EMFILE else ""
        return GatewayError(f"no connection to {host} ({_reason(exc)}){hint}", retry_safe=True)
    if isinstance(exc, aiohttp.ClientPayloadError):
        why = f"the body of {host}'s reply is cut short or wrongly encoded ({_reason(exc)})"
        return DecodeError(why, billed=billed)
    if isinstance(exc, aiohttp.ClientConnectionError | OSError):
        why = f"{host} closed the connection before the reply was complete ({_reason(exc)})"
        return GatewayError(why, retry_safe=not request.sent, billed=billed)
    if isinstance(exc, aiohttp.InvalidURL | ValueError):
        return ConfigurationError(f"the request to {host} cannot be sent: {_reason(exc)}")
    return GatewayError(f"{host} answered with something that is not HTTP ({_reason(exc)})", billed=billed)


def _reason(exc: Exception) -> str:
    """What went wrong in one short line, without addresses of objects or of internal code."""
    if isinstance(exc, aiohttp.ServerDisconnectedError):
        return "no whole reply"
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return str(exc.certificate_error)
    inner = exc.os_error if isinstance(exc, aiohttp.ClientConnectorError) else exc
    if isinstance(inner, OSError) and inner.errno is not None and not isinstance(inner, ssl.SSLError):
        text = os.strerror(inner.errno)
    else:
        text = exc.message if isinstance(exc, aiohttp.ClientResponseError | HttpProcessingError) else str(inner)
    return " ".join(text.split())[:_LONGEST_REASON] or type(inner).__name__


__all__ = ["CONNECT_TIMEOUT_S", "translated"]

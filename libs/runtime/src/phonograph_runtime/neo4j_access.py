"""Connections to Neo4j: what its driver needs for encryption, and a clear reason where it is refused."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from phonograph_runtime.errors import AccessRefusedError

SCHEMES = ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")
_REFUSED_LOGINS = ("Unauthorized", "AuthenticationRateLimit", "CredentialsExpired")
_SECURITY_CODES = "Neo.ClientError.Security."


def driver_options(uri: str, ca_file: Path | None) -> tuple[str, dict[str, Any]]:
    """Return the URI and the keyword arguments of a driver.

    The driver accepts an authority of its own only with a URI that does not ask for encryption by itself.

    Args:
        uri: `bolt://…` or `neo4j://…` without encryption; `+s` encrypts, and `+ssc` accepts any certificate.
        ca_file: Certificate authority as PEM; the authorities of the system if None.

    Raises:
        AccessRefusedError: If the scheme is unknown, or the authority cannot be read.
    """
    scheme, separator, rest = uri.partition("://")
    if scheme not in SCHEMES:
        raise AccessRefusedError(
            f"NEO4J_URI is {uri!r}; it must begin with one of {', '.join(SCHEMES)}, then ://."
        )
    if ca_file is None or not scheme.endswith("+s"):
        return uri, {}
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise AccessRefusedError(f"The certificate authority {ca_file} cannot be read: {error}.") from error
    return scheme.removesuffix("+s") + separator + rest, {"ssl_context": context}


def describe_refusal(error: BaseException) -> str | None:
    """Return what the server refuses and what to correct, as "refuses …", or None for any other failure.

    Args:
        error: What the driver raised. With `neo4j://` and `neo4j+s://` the cause is inside a group of errors.
    """
    for each in _with_causes(error):
        code = getattr(each, "code", None)
        if isinstance(code, str) and code.removeprefix(_SECURITY_CODES) in _REFUSED_LOGINS:
            message = str(getattr(each, "message", each)).rstrip(".")
            return f"refuses the login: {message}. Check NEO4J_USER and NEO4J_PASSWORD."
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"has a certificate that cannot be verified: {each.verify_message}. Check NEO4J_CA_FILE."
        if isinstance(each, ssl.SSLError):
            return f"and this machine agree on no TLS: {each.reason}. Check the scheme of NEO4J_URI."
        if "incomplete handshake" in str(each):
            return "closes the connection. If it requires TLS, NEO4J_URI must be bolt+s://… or neo4j+s://…."
    return None


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    yield error
    for each in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield from _with_causes(each)
    if error.__cause__ is not None:
        yield from _with_causes(error.__cause__)

"""Encryption of the connections to Neo4j."""

import ssl
from pathlib import Path
from typing import Any

from phonograph_runtime.errors import AccessRefusedError


def driver_options(uri: str, ca_file: Path | None) -> tuple[str, dict[str, Any]]:
    """Return the URI and the keyword arguments of a driver.

    The driver accepts an authority of its own only with a URI that does not ask for encryption by itself.

    Args:
        uri: `bolt://…` or `neo4j://…` without encryption; `+s` encrypts, and `+ssc` accepts any certificate.
        ca_file: Certificate authority as PEM; the authorities of the system if None.

    Raises:
        AccessRefusedError: If the authority cannot be read.
    """
    scheme, separator, rest = uri.partition("://")
    if ca_file is None or not scheme.endswith("+s"):
        return uri, {}
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise AccessRefusedError(f"The certificate authority {ca_file} cannot be read: {error}.") from error
    return scheme.removesuffix("+s") + separator + rest, {"ssl_context": context}

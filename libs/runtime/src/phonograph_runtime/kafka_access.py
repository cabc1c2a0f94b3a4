"""Access to Kafka: what its clients need for login and encryption, and a clear reason where it refuses."""

import asyncio
import base64
import json
import ssl
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest
from faststream.security import (
    BaseSecurity,
    SASLOAuthBearer,
    SASLPlaintext,
    SASLScram256,
    SASLScram512,
)
from pydantic import SecretStr

from phonograph_runtime.errors import AccessRefusedError
from phonograph_runtime.kafka_security import KafkaSecurity

CONNECT_TIMEOUT_S = 10.0
TOKEN_TIMEOUT_S = 10.0
TOKEN_MARGIN_S = 30.0
"""Time before its expiry at which a token is replaced."""
DEFAULT_TOKEN_LIFE_S = 300.0
"""Life of a token whose answer does not contain one."""

_CLOSED = ConnectionResetError, ConnectionAbortedError, BrokenPipeError
_PASSWORD_LOGINS = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}


class TokenError(KafkaError):
    """No token is available; as an error of Kafka, so that its clients try again."""


class TokenFile(AbstractTokenProvider):
    """A file with a token, which another program renews."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def token(self) -> str:
        """Return the token; aiokafka calls it for each connection.

        Raises:
            TokenError: If the file cannot be read.
        """
        try:
            return self._path.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise TokenError(f"the file of the token cannot be read: {error}.") from error


class TokenEndpoint(AbstractTokenProvider):
    """Tokens from an OAuth 2.0 server, requested with client credentials and used until they expire."""

    def __init__(self, url: str, *, client_id: str, client_secret: str, scope: str | None) -> None:
        """Create the provider.

        Args:
            url: Token endpoint.
            client_id: Client that is registered there.
            client_secret: Its secret.
            scope: Scope to request; that of the server if None.
        """
        self._url = url
        self._login = f"{urllib.parse.quote_plus(client_id)}:{urllib.parse.quote_plus(client_secret)}"
        self._form = {"grant_type": "client_credentials"} | ({} if scope is None else {"scope": scope})
        self._token = ""
        self._renewed_at = 0.0
        self._lock = asyncio.Lock()

    async def token(self) -> str:
        """Return a valid token; aiokafka calls it for each connection.

        Raises:
            TokenError: If the server does not answer with a token.
        """
        async with self._lock:  # several connections open at once, and need one token
            if time.monotonic() >= self._renewed_at:
                self._token, life_s = await asyncio.to_thread(self._request)
                self._renewed_at = time.monotonic() + max(life_s - TOKEN_MARGIN_S, life_s / 2)
            return self._token

    def _request(self) -> tuple[str, float]:
        """Return a new token and its life in seconds."""
        opener = urllib.request.build_opener()
        login = base64.b64encode(self._login.encode()).decode()
        opener.addheaders = [("Authorization", f"Basic {login}"), ("Accept", "application/json")]
        form = urllib.parse.urlencode(self._form).encode()
        try:
            with opener.open(self._url, form, TOKEN_TIMEOUT_S) as response:
                answer = json.load(response)
            return str(answer["access_token"]), float(answer.get("expires_in", DEFAULT_TOKEN_LIFE_S))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TokenError(
                f"{self._url} returned no token: {error!r}. Check the URL, the client and its secret."
            ) from error


def client_options(security: KafkaSecurity | None) -> dict[str, Any]:
    """Return the keyword arguments of an aiokafka client.

    Raises:
        AccessRefusedError: If a certificate or its key cannot be used.
    """
    if security is None or security.kafka_security_protocol == "PLAINTEXT":
        return {}
    options: dict[str, Any] = {"security_protocol": security.kafka_security_protocol}
    if security.uses_tls:
        options["ssl_context"] = _tls_context(security)
    if security.kafka_sasl_mechanism is not None:
        options["sasl_mechanism"] = security.kafka_sasl_mechanism
    if security.kafka_sasl_mechanism == "OAUTHBEARER":
        options["sasl_oauth_token_provider"] = _token_provider(security)
    elif security.kafka_sasl_mechanism is not None:
        options["sasl_plain_username"] = security.kafka_username
        options["sasl_plain_password"] = _secret(security.kafka_password)
    return options


def broker_options(security: KafkaSecurity | None) -> dict[str, Any]:
    """Return the keyword arguments of FastStream's broker, which wants objects of its own.

    Raises:
        AccessRefusedError: If a certificate or its key cannot be used.
    """
    if security is None or security.kafka_security_protocol == "PLAINTEXT":
        return {}
    context = _tls_context(security) if security.uses_tls else None
    if security.kafka_sasl_mechanism is None:
        return {"security": BaseSecurity(ssl_context=context)}
    if security.kafka_sasl_mechanism == "OAUTHBEARER":
        return {
            "security": SASLOAuthBearer(ssl_context=context),
            "sasl_oauth_token_provider": _token_provider(security),
        }
    login = _PASSWORD_LOGINS[security.kafka_sasl_mechanism]
    password = _secret(security.kafka_password) or ""
    return {"security": login(security.kafka_username or "", password, ssl_context=context)}


async def check_access(servers: str, security: KafkaSecurity | None) -> None:
    """Connect to Kafka once, because its clients report no reason when they are refused.

    A server that cannot be reached is no refusal: the clients wait for it, or report it.

    Args:
        servers: Comma-separated `host:port`; the first that answers counts.
        security: Login and encryption; none if None.

    Raises:
        AccessRefusedError: If the certificate or the login is refused; the message says what to correct.
    """
    options = client_options(security)
    for host, port, _ in collect_hosts(servers, randomize=False):
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                connection = await create_conn(host, port, **options)
                try:
                    cluster = await connection.send(MetadataRequest([]))
                finally:
                    await connection.close()
            if not cluster.brokers:
                # aiokafka 0.14 takes the error of OAUTHBEARER for a success, and what follows for metadata.
                raise SaslAuthenticationFailed
        except (ssl.SSLError, KafkaError, *_CLOSED) as error:
            reason = _refusal(error, security)
            if reason is not None:
                raise AccessRefusedError(f"Kafka at {host}:{port} {reason}") from error
        except (OSError, TimeoutError):
            continue
        else:
            return


def _refusal(error: Exception, security: KafkaSecurity | None) -> str | None:
    """Return what Kafka refused and what to correct, or None if it is only unavailable."""
    protocol = "PLAINTEXT" if security is None else security.kafka_security_protocol
    mechanism = None if security is None else security.kafka_sasl_mechanism
    user = None if security is None else security.kafka_username
    is_closed = isinstance(error, _CLOSED) or "closed" in str(error)
    reason = None
    match error:
        case TokenError():
            reason = f"was not asked: {error.args[0]}"
        case ssl.SSLCertVerificationError():
            reason = (
                f"has a certificate that cannot be verified: {error.verify_message.rstrip('.')}. Set "
                "KAFKA_CA_FILE to the authority of its certificate, and use its name in the address."
            )
        case ssl.SSLError():
            detail = error.reason or str(error)
            reason = f"does not accept TLS ({detail}). Check KAFKA_SECURITY_PROTOCOL and the certificates."
        case SaslAuthenticationFailed():
            who = "the token" if user is None else f"the login of {user}"
            what = (
                "that it is valid and has not expired"
                if user is None
                else "KAFKA_USERNAME and KAFKA_PASSWORD"
            )
            reason = f"refuses {who} by {mechanism}. Check {what}."
        case UnsupportedSaslMechanismError():
            reason = f"does not offer the login by {mechanism}. Check KAFKA_SASL_MECHANISM."
        case IllegalSaslStateError():
            reason = f"expects no login. Check KAFKA_SECURITY_PROTOCOL, which is {protocol}."
        case _ if is_closed and mechanism == "OAUTHBEARER":
            reason = "refuses the token by OAUTHBEARER. Check that it is valid and has not expired."
        case _ if is_closed:
            reason = (
                f"closed the connection. Check KAFKA_SECURITY_PROTOCOL, which is {protocol}, "
                "and whether a client certificate is needed."
            )
        case _:
            pass
    return reason


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def _tls_context(security: KafkaSecurity) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=security.kafka_ca_file)
        if security.kafka_certificate_file is not None:
            context.load_cert_chain(
                security.kafka_certificate_file,
                security.kafka_key_file,
                _secret(security.kafka_key_password) or "",
            )
    except OSError as error:  # also that of the ssl module, which names no file
        files = security.kafka_ca_file, security.kafka_certificate_file, security.kafka_key_file
        listed = ", ".join(str(file) for file in files if file is not None)
        raise AccessRefusedError(
            f"The certificates for Kafka cannot be used ({listed}): {error}. They must be PEM files, the "
            "key must belong to the certificate, and its password must be right."
        ) from error
    return context


def _token_provider(security: KafkaSecurity) -> AbstractTokenProvider:
    if security.kafka_token_file is not None:
        return TokenFile(security.kafka_token_file)
    return TokenEndpoint(
        security.kafka_token_url or "",
        client_id=security.kafka_client_id or "",
        client_secret=_secret(security.kafka_client_secret) or "",
        scope=security.kafka_token_scope,
    )

"""Settings of the login to Kafka and of its encryption."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, Field, SecretStr, model_validator


class KafkaSecurity(BaseModel):
    """Settings of the connections to Kafka, which services, command line and replays share."""

    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT",
        title="Protocol of Kafka",
        description="`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`, as the listener demands.",
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = Field(
        default=None,
        title="Login mechanism of Kafka",
        description="`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`.",
    )
    kafka_username: str | None = Field(default=None, title="User of Kafka")
    kafka_password: SecretStr | None = Field(default=None, title="Password of Kafka")
    kafka_ca_file: Path | None = Field(
        default=None,
        title="Certificate authority of Kafka",
        description="PEM file; the authorities of the system without it.",
    )
    kafka_certificate_file: Path | None = Field(
        default=None, title="Client certificate", description="PEM file, for mutual TLS."
    )
    kafka_key_file: Path | None = Field(
        default=None,
        title="Key of the client certificate",
        description="PEM file; the file of the certificate without it.",
    )
    kafka_key_password: SecretStr | None = Field(default=None, title="Password of the key")
    kafka_token_file: Path | None = Field(
        default=None,
        title="Token",
        description="File with an OAuth token; it is read again for each connection.",
    )
    kafka_token_url: str | None = Field(
        default=None,
        pattern="^https?://",
        title="Token endpoint",
        description="Where a token is requested with the client credentials of OAuth 2.0.",
    )
    kafka_client_id: str | None = Field(default=None, title="OAuth client")
    kafka_client_secret: SecretStr | None = Field(default=None, title="Secret of the OAuth client")
    kafka_token_scope: str | None = Field(default=None, title="OAuth scope")

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        uses_login = self.kafka_security_protocol.startswith("SASL_")
        if uses_login and self.kafka_sasl_mechanism is None:
            raise ValueError("kafka_sasl_mechanism must be set, because the protocol has a login.")
        if not uses_login and self.kafka_sasl_mechanism is not None:
            protocols = "SASL_SSL or SASL_PLAINTEXT"
            raise ValueError(f"kafka_security_protocol must be {protocols}, because a mechanism is set.")
        if self.kafka_sasl_mechanism == "OAUTHBEARER":
            if (self.kafka_token_file is None) == (self.kafka_token_url is None):
                raise ValueError("OAUTHBEARER needs either kafka_token_file or kafka_token_url.")
            if self.kafka_token_url and not (self.kafka_client_id and self.kafka_client_secret):
                raise ValueError("kafka_token_url needs kafka_client_id and kafka_client_secret.")
        elif uses_login and not (self.kafka_username and self.kafka_password):
            name = self.kafka_sasl_mechanism
            raise ValueError(f"kafka_username and kafka_password must be set for the mechanism {name}.")
        if self.kafka_certificate_file and not self.uses_tls:
            raise ValueError("kafka_security_protocol must be SSL or SASL_SSL, because a certificate is set.")
        return self

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], prefix: str) -> "KafkaSecurity":
        """Return the settings in environment variables.

        Args:
            environment: Environment variables.
            prefix: First part of their names, for example `PHONOGRAPH_`.

        Raises:
            ValidationError: If a value or a combination is wrong.
        """
        values = {name: environment.get(f"{prefix}{name.upper()}") for name in cls.model_fields}
        return cls.model_validate({name: value for name, value in values.items() if value})

    @property
    def uses_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.kafka_security_protocol in {"SSL", "SASL_SSL"}

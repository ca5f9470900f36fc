"""A real Kafka with TLS, SCRAM, mutual TLS and access control on, and credentials for each role.

The listener without TLS is the administrator's: whoever comes that way is the super user, so all
that a test shows of access it must show over one of the other two.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

from stream.access import ROLES
from stream.local_kafka import LOOPBACK, LocalKafka
from stream.settings import Settings


@dataclass(frozen=True)
class SecuredKafka:
    """The broker's addresses, and where the files of the credentials are."""

    kafka: LocalKafka
    directory: Path
    prefix: str
    passwords: dict[str, str]

    def administrator(self) -> Settings:
        """The super user, without TLS."""
        return Settings(
            broker=self.kafka.bootstrap_servers,
            topic_prefix=self.prefix,
            partitions=2,
            customs_partitions=1,
        )

    def scram(self, role: str) -> Settings:
        """By name and password over TLS."""
        return dataclasses.replace(
            self.administrator(),
            broker=self.kafka.listener("SCRAM"),
            security_protocol="SASL_SSL",
            tls_ca_file=str(self.directory / "ca.pem"),
            sasl_username=f"gatejoin-{role}",
            sasl_password_file=str(self.directory / f"{role}.password"),
        )

    def mutual(self, role: str) -> Settings:
        """By certificate."""
        return dataclasses.replace(
            self.administrator(),
            broker=self.kafka.listener("MUTUAL"),
            security_protocol="SSL",
            tls_ca_file=str(self.directory / "ca.pem"),
            tls_certificate_file=str(self.directory / f"{role}.pem"),
            tls_key_file=str(self.directory / f"{role}.key"),
        )


def variables(settings: Settings) -> dict[str, str]:
    """The settings as a process gets them."""
    return {
        f"GATEJOIN_{name.upper()}": str(value)
        for name, value in dataclasses.asdict(settings).items()
    }


@contextlib.contextmanager
def secured_kafka(directory: Path, prefix: str) -> Iterator[SecuredKafka]:
    """Runs the broker for the block; credentials are made for each role, and for a stranger whom
    another authority vouches for."""
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    other.cert_pem.write_to_path(directory / "other-ca.pem")
    _write_pair(directory, "broker", authority.issue_cert(LOOPBACK, common_name="broker"))
    for role in ROLES:
        certificate = authority.issue_cert(role, common_name=f"gatejoin-{role}")
        _write_pair(directory, role, certificate)
    _write_pair(directory, "stranger", other.issue_cert("worker", common_name="gatejoin-worker"))
    passwords = {role: secrets.token_urlsafe(16) for role in ROLES}
    for role, password in passwords.items():
        (directory / f"{role}.password").write_text(password + "\n")
    keystore = directory / "broker-keystore.pem"
    keystore.write_bytes(
        (directory / "broker.key").read_bytes() + (directory / "broker.pem").read_bytes()
    )
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    with LocalKafka(
        heap_mb=384,
        is_short_lived=True,
        listeners={"MUTUAL": "SSL", "SCRAM": "SASL_SSL"},
        properties={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(keystore),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(directory / "ca.pem"),
            "listener.name.mutual.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]+),.*$/$1/,DEFAULT",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.scram.scram-sha-512.sasl.jaas.config": scram,
        },
        format_options=[
            f"--add-scram=SCRAM-SHA-512=[name=gatejoin-{role},password={password}]"
            for role, password in passwords.items()
        ],
    ) as kafka:
        yield SecuredKafka(kafka, directory, prefix, passwords)


def _write_pair(directory: Path, name: str, issued: trustme.LeafCert) -> None:
    chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
    (directory / f"{name}.pem").write_bytes(chain)
    # Java reads keys in PKCS #8 only.
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    (directory / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )

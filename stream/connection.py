"""How a broker is reached: addresses, TLS and who we say we are.

What it is: the settings of the connection turned into what every Kafka client takes, and a first
connection that tells a refusal from a broker that is away.
Who calls it: everything that makes an aiokafka client.
What it must never know: topics, records, what a client is for.

Passwords and keys are read from files here, each time a client is made, and nowhere else.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError

from stream.settings import Settings, SettingsError, variable_of

# The one mechanism of passwords: it never sends them, and every managed Kafka offers it.
SASL_MECHANISM = "SCRAM-SHA-512"
# A password file holds one line; more is a wrong file.
PASSWORD_BYTES_MAX = 4096
# Seconds until a broker that was reached must have said who it is.
FIRST_CONNECTION_S_MAX = 10.0


class BrokerRefusesError(RuntimeError):
    """A broker answers and will not have us, or is not who it says; waiting does not help."""


class Secret(str):
    """Text that is not shown where somebody prints it; only ``encode`` gives it away."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "(hidden)"

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return "(hidden)"


def addresses(settings: Settings) -> list[str]:
    """``host:port`` of each broker that the settings name."""
    return [address.strip() for address in settings.broker.split(",")]


def client_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments for any of aiokafka's clients.

    Raises SettingsError if a file that the settings name can't be used.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": addresses(settings),
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol != "PLAINTEXT":
        options["ssl_context"] = _tls_context(settings)
    if settings.security_protocol == "SASL_SSL":
        options["sasl_mechanism"] = SASL_MECHANISM
        options["sasl_plain_username"] = settings.sasl_username
        options["sasl_plain_password"] = _password(settings)
    return options


def _tls_context(settings: Settings) -> ssl.SSLContext:
    """Verifies brokers' certificates and names, as Python does by default."""
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise _unusable("tls_ca_file", settings, error) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.tls_certificate_file:

        def no_password() -> bytes:
            raise _unusable("tls_key_file", settings, "it is encrypted; give it as it is")

        try:
            context.load_cert_chain(
                settings.tls_certificate_file, settings.tls_key_file, password=no_password
            )
        except (OSError, ssl.SSLError) as error:
            named = "tls_certificate_file"
            if not Path(settings.tls_key_file).is_file():
                named = "tls_key_file"
            raise _unusable(named, settings, error) from None
    return context


def _password(settings: Settings) -> Secret:
    try:
        with Path(settings.sasl_password_file).open("rb") as file:
            raw = file.read(PASSWORD_BYTES_MAX + 1)
        lines = raw.decode().splitlines()
    except OSError as error:
        raise _unusable("sasl_password_file", settings, error) from None
    except UnicodeDecodeError:
        raise _unusable("sasl_password_file", settings, "it is not UTF-8 text") from None
    if len(raw) > PASSWORD_BYTES_MAX or len(lines) != 1 or not lines[0]:
        raise _unusable("sasl_password_file", settings, "it must hold one line, the password")
    return Secret(lines[0])


def _unusable(name: str, settings: Settings, why: object) -> SettingsError:
    if isinstance(why, ssl.SSLError):
        why = f"no PEM file, or of another certificate ({why.reason or 'unreadable'})"
    elif isinstance(why, OSError):
        why = why.strerror
    return SettingsError(f"{variable_of(name)}={getattr(settings, name)}: {why}")


async def check_connection(settings: Settings) -> None:
    """Connects once to find out what would keep every client from ever getting in.

    A broker that does not answer is no reason to complain: clients wait for it, saying so.

    Raises:
        SettingsError: a file that the settings name can't be used.
        BrokerRefusesError: no broker took us, and one of them refuses for good.
    """
    options = client_options(settings)
    refusal: BrokerRefusesError | None = None
    for address in options.pop("bootstrap_servers"):
        host, _, port = address.rpartition(":")
        try:
            connection = await create_conn(
                host.strip("[]"),
                int(port),
                client_id="gatejoin-check",
                request_timeout_ms=int(FIRST_CONNECTION_S_MAX * 1000),
                **options,
            )
        except (TimeoutError, OSError, KafkaError) as error:
            if why := _refusal(settings, error):
                refusal = BrokerRefusesError(f"the broker at {address} {why}")
        else:
            connection.close()
            return
    if refusal is not None:
        raise refusal


def _refusal(settings: Settings, error: Exception) -> str:
    """What of a failed connection would fail again, in words; empty if waiting may help."""
    if isinstance(error, SaslAuthenticationFailed):
        return (
            f"refuses the user {settings.sasl_username}: name or password is wrong "
            "(GATEJOIN_SASL_USERNAME, GATEJOIN_SASL_PASSWORD_FILE)"
        )
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"does not take {SASL_MECHANISM}: give it a listener that does"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"is not vouched for ({error.verify_message}): GATEJOIN_TLS_CA_FILE must name the "
            "authority of its certificate, which must name the host"
        )
    if isinstance(error, ssl.SSLError):
        return (
            f"breaks off TLS ({error.reason or error}): it may want a certificate "
            "(GATEJOIN_TLS_CERTIFICATE_FILE), or speak no TLS (GATEJOIN_SECURITY_PROTOCOL)"
        )
    return ""

"""How a broker is reached: addresses, TLS and who we say we are.

What it is: the settings of the connection turned into what every Kafka client takes, and a first
connection that tells a refusal from a broker that is away.
Who calls it: everything that makes an aiokafka client.
What it must never know: topics, records, what a client is for.

Passwords and keys are read from files here, each time a client is made, and nowhere else.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from aiokafka.protocol.metadata import MetadataRequest

from stream.settings import Settings, SettingsError, variable_of

# The one mechanism of passwords: it never sends them, and every managed Kafka offers it.
SASL_MECHANISM = "SCRAM-SHA-512"
# A password file holds one line; more is a wrong file.
PASSWORD_BYTES_MAX = 4096
# Seconds until a broker that was reached must have said who it is.
FIRST_CONNECTION_S_MAX = 10.0
# A connection that is closed at once is tried so often before that counts as a refusal.
FIRST_CONNECTION_ATTEMPTS = 4
RETRY_S = 0.5


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
    for attempts_left in reversed(range(FIRST_CONNECTION_ATTEMPTS)):
        options = client_options(settings)
        refusals: list[Refusal] = []
        for address in options.pop("bootstrap_servers"):
            try:
                await _connect(address, options)
            except (OSError, KafkaError, TimeoutError) as error:
                if refusal := _refusal(settings, address, error):
                    refusals.append(refusal)
            else:
                return
        if not refusals:
            return
        final = [refusal for refusal in refusals if not refusal.may_pass]
        if final or not attempts_left:
            raise BrokerRefusesError((final or refusals)[0].message)
        await asyncio.sleep(RETRY_S)


async def _connect(address: str, options: dict[str, Any]) -> None:
    """Connects, says who we are and asks one question, which a broker that wants to know who we
    are answers to nobody else."""
    host, _, port = address.rpartition(":")
    connection = await create_conn(
        host.strip("[]"),
        int(port),
        client_id="gatejoin-check",
        request_timeout_ms=int(FIRST_CONNECTION_S_MAX * 1000),
        **options,
    )
    try:
        await connection.send(MetadataRequest([]))
    finally:
        connection.close()


class Refusal(NamedTuple):
    """Why a broker that answers does not take us."""

    message: str
    may_pass: bool


def _refusal(settings: Settings, address: str, error: BaseException) -> Refusal | None:
    """What of a failed connection is a refusal; None if the broker is only away."""
    if isinstance(error.__cause__, ssl.SSLError | asyncio.IncompleteReadError):
        error = error.__cause__
    may_pass = False
    if isinstance(error, SaslAuthenticationFailed):
        why = (
            f"refuses the user {settings.sasl_username}: name or password is wrong "
            "(GATEJOIN_SASL_USERNAME, GATEJOIN_SASL_PASSWORD_FILE)"
        )
    elif isinstance(error, UnsupportedSaslMechanismError):
        why = f"does not take {SASL_MECHANISM}: name a listener that does (GATEJOIN_BROKER)"
    elif isinstance(error, ssl.SSLCertVerificationError):
        why = (
            f"is not vouched for ({error.verify_message}): GATEJOIN_TLS_CA_FILE must name the "
            "authority of its certificate, which must name the host"
        )
    elif isinstance(error, ssl.SSLError):
        why = (
            f"breaks off TLS ({error.reason or error}): GATEJOIN_TLS_CERTIFICATE_FILE must name a "
            "certificate that it takes"
        )
    elif isinstance(error, ConnectionResetError | asyncio.IncompleteReadError):
        # Of a broker that stops or a proxy without one it may pass.
        may_pass = True
        why = (
            "closes the connection before it says who it is: its listener may not be one for "
            f"GATEJOIN_SECURITY_PROTOCOL={settings.security_protocol}"
        )
    else:
        return None
    return Refusal(f"the broker at {address} {why}", may_pass)

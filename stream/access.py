"""Who may do what with the topics: Kafka's access control list, of least privilege.

What it is: the list, derived from the declaration of the topics, and bringing it to a broker.
Who calls it: ``stream.access_command``; ``deploy/generate.py``, which writes it down for people
and for Kubernetes; the tests, which run a worker with nothing else.
What it must never know: passwords and certificates.

Nothing is taken away here: an entry that the list does not have may be somebody else's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import CreateAclsRequest, DescribeAclsRequest

from stream import topics
from stream.connection import client_options
from stream.settings import Settings

# Numbers of Kafka's protocol.
RESOURCES = {"TOPIC": 2, "GROUP": 3, "CLUSTER": 4, "TRANSACTIONAL_ID": 5}
PATTERNS = {"LITERAL": 3, "PREFIXED": 4}
OPERATIONS = {
    "READ": 3,
    "WRITE": 4,
    "CREATE": 5,
    "DESCRIBE": 8,
    "DESCRIBE_CONFIGS": 10,
    "ALTER_CONFIGS": 11,
    "IDEMPOTENT_WRITE": 12,
}
ANY = 1
ALLOW = 3
ANY_HOST = "*"


class AccessError(RuntimeError):
    """The broker does not take the list; the message says why."""


class Entry(NamedTuple):
    """One thing that a principal may do, from any host."""

    principal: str
    resource: str
    name: str
    pattern: str
    operation: str


#: Roles and what each is for, in the order of the list.
ROLES = {
    "worker": "the workers",
    "topics": "gatejoin topics: makes topics and extends their configuration",
    "platform": "registers operators",
    "customs": "the bridge of customs' system: declarations and holds",
    "gateway": "takes operators' events and hands them their answers",
    "operator": "an operator that writes to the broker itself",
    "officers": "customs officers' systems",
    "reader": "gatejoin why and report on the live topics",
    "scaler": "KEDA: how far the workers are behind",
}


def access_list(settings: Settings, principal_prefix: str = "User:gatejoin-") -> list[Entry]:
    """All entries; the principal of role ``worker`` is ``User:gatejoin-worker``."""
    entries: list[Entry] = []
    names = [settings.topic(topic.name) for topic in topics.declarations(settings)]
    inputs = [settings.topic(name) for name in (*topics.CUSTOMS, topics.PORT_EVENTS)]
    outputs = [name for name in names if name not in inputs]

    def allow(
        role: str, resource: str, name: str, *operations: str, pattern: str = "LITERAL"
    ) -> None:
        entries.extend(
            Entry(principal_prefix + role, resource, name, pattern, operation)
            for operation in operations
        )

    def allow_topics(role: str, names: Iterable[str], *operations: str) -> None:
        for name in names:
            allow(role, "TOPIC", name, *operations, "DESCRIBE")

    allow_topics("worker", inputs, "READ")
    # Its own output is where a worker that takes over reads how far it had come.
    allow_topics("worker", outputs, "READ", "WRITE")
    allow("worker", "GROUP", settings.group_id, "READ")
    # One transactional id for each partition fences whoever had it before.
    allow(
        "worker", "TRANSACTIONAL_ID", f"{settings.group_id}-", "WRITE", "DESCRIBE",
        pattern="PREFIXED",
    )  # fmt: skip
    allow("worker", "CLUSTER", "kafka-cluster", "IDEMPOTENT_WRITE")
    allow_topics("topics", names, "CREATE", "DESCRIBE_CONFIGS", "ALTER_CONFIGS")
    allow_topics("platform", [settings.topic(topics.OPERATORS)], "WRITE")
    allow_topics("customs", map(settings.topic, (topics.DECLARATIONS, topics.HOLDS)), "WRITE")
    allow_topics("gateway", [settings.topic(topics.PORT_EVENTS)], "WRITE")
    allow_topics("gateway", map(settings.topic, (topics.DECISIONS, topics.REJECTS)), "READ")
    allow("gateway", "GROUP", settings.topic("gateway"), "READ")
    allow_topics("operator", [settings.topic(topics.PORT_EVENTS)], "WRITE")
    allow_topics("officers", map(settings.topic, (topics.DECISIONS, topics.ALERTS)), "READ")
    allow("officers", "GROUP", settings.topic("officers"), "READ")
    allow_topics("reader", names, "READ")
    allow_topics("scaler", [settings.topic(topics.PORT_EVENTS)])
    allow("scaler", "GROUP", settings.group_id, "DESCRIBE")
    return entries


async def missing(settings: Settings, wanted: Iterable[Entry]) -> list[Entry]:
    """What of ``wanted`` the broker does not have. Raises AccessError or KafkaError."""
    async with _Admin(settings) as admin:
        present = await admin.entries()
        return [entry for entry in wanted if entry not in present]


async def grant(settings: Settings, wanted: Iterable[Entry]) -> list[Entry]:
    """Adds what of ``wanted`` the broker does not have; returns that.

    Raises:
        AccessError: the broker refuses, or keeps no list.
        KafkaError: no broker answers.
    """
    async with _Admin(settings) as admin:
        present = await admin.entries()
        added = [entry for entry in wanted if entry not in present]
        for entry in added:
            await admin.create(entry)
        return added


class _Admin:
    """Kafka's requests about access, which aiokafka can encode but has no methods for."""

    def __init__(self, settings: Settings) -> None:
        self._client = AIOKafkaAdminClient(client_id="gatejoin-access", **client_options(settings))

    async def __aenter__(self) -> _Admin:
        await self._client.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def entries(self) -> set[Entry]:
        """What is allowed now, from any host."""
        request = DescribeAclsRequest(ANY, None, ANY, None, None, ANY, ANY)
        response = await self._client._send_request(request)
        _refuse(response.error_code, response.error_message)
        resources, patterns, operations = (
            {number: name for name, number in table.items()}
            for table in (RESOURCES, PATTERNS, OPERATIONS)
        )
        return {
            Entry(principal, resources[resource], name, patterns[pattern], operations[operation])
            for resource, name, pattern, entries in response.resources
            for principal, host, operation, permission in entries
            if (host, permission) == (ANY_HOST, ALLOW)
            and resource in resources
            and pattern in patterns
            and operation in operations
        }

    async def create(self, entry: Entry) -> None:
        """Adds one entry."""
        response: Any = await self._client._send_request(
            CreateAclsRequest(
                RESOURCES[entry.resource],
                entry.name,
                PATTERNS[entry.pattern],
                entry.principal,
                ANY_HOST,
                OPERATIONS[entry.operation],
                ALLOW,
            )
        )
        for code, message in response.creation_responses:
            _refuse(code, message)


def _refuse(code: int, message: str | None) -> None:
    if code:
        error: type[KafkaError] = for_code(code)
        raise AccessError(f"the broker refuses: {message or error.__name__}")

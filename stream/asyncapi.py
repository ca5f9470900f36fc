"""The interfaces as an AsyncAPI 3 document: topics, keys, records, examples.

What it is: one document made from ``stream.topics`` and ``stream.record_schemas``.
Who calls it: ``deploy/generate.py``, which writes ``deploy/asyncapi.json``.
What it must never know: a broker.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from stream import record_schemas as schemas
from stream import topics
from stream.settings import Settings

Document = dict[str, Any]

# The version of the interfaces, not of the program.
VERSION = "1.0.0"

INFO = """\
Ports, yards, warehouses and airports send what happens to every container and lot; customs sends \
declarations and holds; gatejoin answers each gate what may pass, and why.

Values are UTF-8 JSON objects, at most 64 KiB for a port event and 1 MiB for the rest, 64 levels \
deep. Unknown fields are ignored; null is the same as absent. A record that the engine takes is \
valid by its schema; the engine also looks at what a schema can't say (sizes in bytes, weights as \
written, the record's key), and what it refuses comes back on `rejects`. Keys are the bytes named \
with each message, partitioned by Kafka's default (murmur2) partitioner. All names take the \
prefix of the installation.
"""

REJECTS = """\
What could not be taken, with the original bytes. Tested in this order: TOO_LARGE, MALFORMED, and \
for port events FUTURE (its version is more than 24 hours after the record's timestamp), \
MISPARTITIONED (not the partition that murmur2 gives the normalised unit), UNKNOWN_OPERATOR, \
OPERATOR_NOT_CONNECTED (SURVEYED or TESTING), OPERATOR_LOCATION (not among the operator's \
locations). A refused record changes nothing; send it again corrected, with the same eventID.
"""


class Interface(NamedTuple):
    """One topic as others see it."""

    topic: str
    message: str
    schema: schemas.Schema
    key: str
    sender: str
    is_read: bool
    about: str
    example: Document


DECLARATION_NUMBER = "100000000001"
INTERFACES = (
    Interface(
        topics.OPERATORS, "operator", schemas.OPERATOR, "operatorID", "platform", True,
        "Who is connected, and where each may report.",
        {
            "operatorID": "HP-01", "name": "Cảng Hải Phòng", "kind": "SEAPORT",
            "departmentCode": "03", "departmentName": "Cục Hải quan Hải Phòng",
            "locations": ["03CCS01"], "status": "CONNECTED", "connectedDate": "2018-01-15",
            "version": 1,
        },
    ),
    Interface(
        topics.DECLARATIONS, "declaration", schemas.DECLARATION, "declarationNumber", "customs",
        True, "What customs says of goods: always the full list of a declaration's units.",
        {
            "declarationNumber": DECLARATION_NUMBER, "version": 2, "direction": "IMPORT",
            "status": "CLEARED", "registeredDateTime": "2018-08-01T08:00:00+07:00",
            "statusDateTime": "2018-08-09T09:30:00+07:00", "locationCode": "03CCS01",
            "units": [{"unit": "MSKU9070323", "unitType": "CONTAINER", "seals": ["AB12345"]}],
        },
    ),
    Interface(
        topics.HOLDS, "hold", schemas.HOLD, "holdID", "customs", True,
        "Orders of customs that goods stay, or pass on a condition.",
        {
            "holdID": "H1", "version": 1, "scope": "DECLARATION", "reference": DECLARATION_NUMBER,
            "reason": "STOP", "state": "ACTIVE", "issuedDateTime": "2018-08-02T07:00:00+07:00",
        },
    ),
    Interface(
        topics.PORT_EVENTS, "portEvent", schemas.PORT_EVENT, "unit", "gateway", True,
        "What happens to units, and questions at the gate.",
        {
            "eventID": "E2", "eventType": "GATE_CHECK",
            "eventDateTime": "2018-08-09T10:04:05+07:00", "operatorID": "HP-01",
            "locationCode": "03CCS01", "unitType": "CONTAINER", "unit": "MSKU9070323",
            "direction": "IMPORT", "seals": ["AB12345"], "declarations": [DECLARATION_NUMBER],
        },
    ),
    Interface(
        topics.DECISIONS, "decision", schemas.DECISION, "unit", "worker", False,
        "Answers at the gate, each published once.",
        {
            "decisionID": "MSKU9070323/HP-01/E2/1", "sequence": 1, "eventID": "E2",
            "operatorID": "HP-01", "locationCode": "03CCS01", "unit": "MSKU9070323",
            "unitType": "CONTAINER", "direction": "IMPORT", "outcome": "HOLD",
            "reasons": ["NOT_CLEARED", "STOPPED"], "flags": [],
            "declarations": [{"declarationNumber": DECLARATION_NUMBER, "version": 1,
                              "status": "REGISTERED"}],
            "holds": ["H1"], "eventDateTime": "2018-08-09T03:04:05.000000Z",
            "decidedDateTime": "2018-08-09T03:04:05.020000Z", "validUntilDateTime": None,
            "ruleSet": "TT38-2015+TT39-2018",
            "trigger": {"topic": "port-events", "partition": 3, "offset": 17},
        },
    ),
    Interface(
        topics.ALERTS, "alert", schemas.ALERT, "unit", "worker", False,
        "What officers should look at, each raised once.",
        {
            "alertID": "UNAUTHORISED_EXIT/MSKU9070323/HP-01/E3", "type": "UNAUTHORISED_EXIT",
            "unit": "MSKU9070323", "operatorID": "HP-01", "locationCode": "03CCS01",
            "eventID": "E3", "detail": {}, "raisedDateTime": "2018-08-09T03:14:05.000000Z",
        },
    ),
    Interface(
        topics.REJECTS, "reject", schemas.REJECT, "the key of the refused record", "worker", False,
        REJECTS,
        {
            "reason": "OPERATOR_LOCATION", "field": "locationCode",
            "detail": "operator HP-01 is not registered at 99XXX01",
            "source": {"topic": "port-events", "partition": 3, "offset": 18},
            "value": "eyJldmVudElEIjoiRTQifQ==",
        },
    ),
)  # fmt: skip


def document(settings: Settings) -> Document:
    """The document for these settings' partitions, retention and prefix."""
    declared = {topic.name: topic for topic in topics.declarations(settings)}
    channels, operations, messages = {}, {}, {}
    for interface in INTERFACES:
        topic = declared[interface.topic]
        names = [interface.message]
        messages[interface.message] = {
            "name": interface.message,
            "contentType": "application/json",
            "summary": interface.schema["description"],
            "payload": {"$ref": f"#/components/schemas/{interface.message}"},
            "bindings": {"kafka": {"key": {"type": "string", "description": interface.key}}},
            "examples": [{"name": interface.message, "payload": interface.example}],
        }
        if topic.config["cleanup.policy"] == "compact":
            names.append(removed := f"{interface.message}Removed")
            messages[removed] = {
                "name": removed,
                "summary": f"A null value takes the {interface.message} and its version away.",
                "payload": {"type": "null"},
                "bindings": {"kafka": {"key": {"type": "string", "description": interface.key}}},
            }
        channels[interface.topic] = {
            "address": settings.topic(interface.topic),
            "description": f"{interface.about}\n\nWritten by: {interface.sender}.",
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
            "bindings": {
                "kafka": {
                    "topic": settings.topic(interface.topic),
                    "partitions": topic.partitions,
                    "topicConfiguration": _topic_configuration(topic),
                }
            },
        }
        action = "receive" if interface.is_read else "send"
        operations[f"{action}-{interface.topic}"] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{interface.topic}"},
            "summary": interface.about.split("\n")[0],
            "messages": [{"$ref": f"#/channels/{interface.topic}/messages/{name}"}
                         for name in names],
        }  # fmt: skip
    return {
        "asyncapi": "3.1.0",
        "id": "urn:gatejoin",
        "info": {
            "title": "gatejoin",
            "version": VERSION,
            "description": INFO,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": "kafka:9093",
                "protocol": "kafka-secure",
                "description": "Apache Kafka, with TLS and SCRAM or a certificate.",
                "security": [{"$ref": "#/components/securitySchemes/scram"},
                             {"$ref": "#/components/securitySchemes/certificate"}],
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": {interface.message: interface.schema for interface in INTERFACES},
            "securitySchemes": {
                "scram": {"type": "scramSha512"},
                "certificate": {"type": "X509"},
            },
        },
    }  # fmt: skip


def _topic_configuration(topic: topics.TopicDeclaration) -> Document:
    """What of a topic's configuration the Kafka binding has a place for."""
    config: Document = {"cleanup.policy": [topic.config["cleanup.policy"]]}
    for name in ("retention.ms", "max.message.bytes"):
        if name in topic.config:
            config[name] = int(topic.config[name])
    return config

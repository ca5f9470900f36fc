"""What of other operators' resources deploy/kubernetes uses, as small schemas.

Read by test_kubernetes.py. Written from the definitions of Strimzi 1.2 (kafka.strimzi.io/v1), KEDA
2.19 (keda.sh/v1alpha1) and the Prometheus operator 0.86 (monitoring.coreos.com/v1); a field that is
not here is refused, so that a wrong name is found and a new one is looked up.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
COUNT: Schema = {"type": "integer", "minimum": 1}
DURATION: Schema = {"type": "string", "pattern": r"^([0-9]+(ms|[smhdwy]))+$"}
QUANTITY: Schema = {"type": "string", "pattern": r"^[0-9]+(m|[KMGT]i)?$"}


def fields(required: dict[str, Any], optional: dict[str, Any] | None = None) -> Schema:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
        "additionalProperties": False,
    }


def many(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1}


def one_of(*values: object) -> Schema:
    return {"enum": list(values)}


RESOURCES = fields(
    {"requests": fields({"cpu": QUANTITY, "memory": QUANTITY}),
     "limits": fields({"cpu": QUANTITY, "memory": QUANTITY})}
)  # fmt: skip
SCALING = fields(
    {
        "stabilizationWindowSeconds": {"type": "integer", "minimum": 0, "maximum": 3600},
        "policies": many(
            fields({"type": one_of("Pods", "Percent"), "value": COUNT, "periodSeconds": COUNT})
        ),
    }
)

KAFKA_TRIGGER = (
    "bootstrapServers", "consumerGroup", "topic", "lagThreshold", "offsetResetPolicy",
    "allowIdleConsumers", "tls",
)  # fmt: skip

SCHEMAS: dict[tuple[str, str], Schema] = {
    ("kafka.strimzi.io/v1", "Kafka"): fields(
        {
            "kafka": fields(
                {
                    "version": TEXT,
                    "metadataVersion": TEXT,
                    "listeners": many(
                        fields(
                            {"name": {"type": "string", "pattern": "^[a-z0-9]{1,11}$"},
                             "port": {"type": "integer", "minimum": 9092},
                             "type": one_of("internal"),
                             "tls": {"type": "boolean"},
                             "authentication": fields({"type": one_of("tls", "scram-sha-512")})}
                        )
                    ),
                    "authorization": fields({"type": one_of("simple")}),
                    "rack": fields({"topologyKey": TEXT}),
                    "config": {"type": "object"},
                }
            ),
            "entityOperator": fields({"topicOperator": fields({}), "userOperator": fields({})}),
        }
    ),
    ("kafka.strimzi.io/v1", "KafkaNodePool"): fields(
        {
            "replicas": COUNT,
            "roles": many(one_of("controller", "broker")),
            "storage": fields(
                {
                    "type": one_of("jbod"),
                    "volumes": many(
                        fields(
                            {"id": {"type": "integer"}, "type": one_of("persistent-claim"),
                             "size": QUANTITY, "kraftMetadata": one_of("shared"),
                             "deleteClaim": one_of(False)}
                        )
                    ),
                }
            ),
            "resources": RESOURCES,
        }
    ),
    ("kafka.strimzi.io/v1", "KafkaTopic"): fields(
        {"partitions": COUNT, "replicas": COUNT, "config": {"type": "object"}}
    ),
    ("kafka.strimzi.io/v1", "KafkaUser"): fields(
        {
            "authentication": fields({"type": one_of("tls", "scram-sha-512")}),
            "authorization": fields(
                {
                    "type": one_of("simple"),
                    "acls": many(
                        fields(
                            {
                                "resource": fields(
                                    {"type": one_of("topic", "group", "cluster",
                                                    "transactionalId")},
                                    {"name": TEXT, "patternType": one_of("literal", "prefix")},
                                ),
                                "operations": many(
                                    one_of("Read", "Write", "Describe", "IdempotentWrite")
                                ),
                            }
                        )
                    ),
                }
            ),
        }
    ),
    ("keda.sh/v1alpha1", "ScaledObject"): fields(
        {
            "scaleTargetRef": fields({"apiVersion": TEXT, "kind": TEXT, "name": TEXT}),
            "minReplicaCount": COUNT,
            "maxReplicaCount": COUNT,
            "pollingInterval": COUNT,
            "advanced": fields(
                {
                    "horizontalPodAutoscalerConfig": fields(
                        {"behavior": fields({"scaleUp": SCALING, "scaleDown": SCALING})}
                    )
                }
            ),
            "triggers": many(
                fields(
                    {
                        "type": one_of("kafka"),
                        # KEDA takes texts only.
                        "metadata": fields(dict.fromkeys(KAFKA_TRIGGER, TEXT)),
                        "authenticationRef": fields({"name": TEXT}),
                    }
                )
            ),
        }
    ),
    ("keda.sh/v1alpha1", "TriggerAuthentication"): fields(
        {
            "secretTargetRef": many(
                fields({"parameter": one_of("ca", "cert", "key"), "name": TEXT, "key": TEXT})
            )
        }
    ),
    ("monitoring.coreos.com/v1", "PodMonitor"): fields(
        {
            "selector": fields({"matchLabels": {"type": "object"}}),
            "podMetricsEndpoints": many(
                fields(
                    {"port": TEXT, "path": TEXT, "interval": DURATION, "scrapeTimeout": DURATION,
                     "relabelings": many(fields({"targetLabel": TEXT, "replacement": TEXT}))}
                )
            ),
        }
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): fields(
        {
            "groups": many(
                fields(
                    {
                        "name": TEXT,
                        "rules": many(
                            fields(
                                {"expr": TEXT},
                                {"record": TEXT, "alert": TEXT, "for": DURATION,
                                 "keep_firing_for": DURATION, "labels": {"type": "object"},
                                 "annotations": {"type": "object"}},
                            )
                        ),
                    },
                    {"interval": DURATION},
                )
            )
        }
    ),
}  # fmt: skip

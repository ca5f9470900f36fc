/* The records of CONTRACT.md section 3 as the core sees them after scanning.
 *
 * What it is: enumerations and structs, nothing else.
 * Who calls it: the scanner fills these structs, the matcher reads them.
 * What it must never know: JSON, Kafka, hash tables.
 *
 * Every text is UTF-8, decoded (no JSON escapes left), and lives either in the record's own bytes
 * or in the scanner's scratch memory: it is valid until the next record is scanned.
 */
#ifndef GATEJOIN_RECORD_TYPES_H
#define GATEJOIN_RECORD_TYPES_H

#include <stdint.h>

enum topic {
    TOPIC_OPERATORS,
    TOPIC_DECLARATIONS,
    TOPIC_HOLDS,
    TOPIC_PORT_EVENTS,
    TOPIC_COUNT,
    /* written by the worker, never read by the matcher */
    TOPIC_DECISIONS = TOPIC_COUNT,
    TOPIC_ALERTS,
    TOPIC_REJECTS
};

enum event_type {
    EVENT_GET_IN, EVENT_GATE_CHECK, EVENT_GET_OUT, EVENT_RESEAL, EVENT_STRIP, EVENT_STUFF,
    EVENT_DISCREPANCY, EVENT_STOCK_COUNT, EVENT_TYPE_COUNT
};
enum unit_type { UNIT_CONTAINER, UNIT_PACKAGES, UNIT_BULK, UNIT_LIQUID, UNIT_TYPE_COUNT };
enum direction {
    DIRECTION_IMPORT, DIRECTION_EXPORT, DIRECTION_TRANSIT, DIRECTION_DOMESTIC, DIRECTION_COUNT
};
enum purpose {
    PURPOSE_CLEARANCE, PURPOSE_INSPECTION, PURPOSE_EMPTY, PURPOSE_DOMESTIC, PURPOSE_SEIZED,
    PURPOSE_COUNT
};
enum declaration_status {
    STATUS_REGISTERED, STATUS_CLEARED, STATUS_RELEASED, STATUS_TO_STORAGE, STATUS_TO_INSPECTION,
    STATUS_TRANSPORT_APPROVED, STATUS_CANCELLED, STATUS_COUNT
};
enum hold_scope { SCOPE_UNIT, SCOPE_DECLARATION, SCOPE_COUNT };
enum hold_reason { REASON_STOP, REASON_SCAN, REASON_CUSTOMS_SEAL, REASON_COUNT };
enum hold_state { HOLD_ACTIVE, HOLD_LIFTED, HOLD_STATE_COUNT };
enum operator_kind {
    KIND_SEAPORT, KIND_AIRPORT, KIND_WAREHOUSE, KIND_YARD, KIND_OTHER, KIND_COUNT
};
enum operator_status {
    OPERATOR_SURVEYED, OPERATOR_TESTING, OPERATOR_CONNECTED, OPERATOR_SUSPENDED,
    OPERATOR_STATUS_COUNT
};

/* Why a record was refused, in the order of testing (section 3, reject). */
enum reject_reason {
    REJECT_NONE, REJECT_TOO_LARGE, REJECT_MALFORMED, REJECT_FUTURE, REJECT_MISPARTITIONED,
    REJECT_UNKNOWN_OPERATOR, REJECT_OPERATOR_NOT_CONNECTED, REJECT_OPERATOR_LOCATION
};

#define UNIT_NAME_MAX 35
#define SEALS_MAX 20
#define PRESENTED_MAX 100
#define DECLARATION_UNITS_MAX 5000
#define OPERATOR_LOCATIONS_MAX 1000
#define PORT_EVENT_BYTES_MAX 65536
#define CUSTOMS_RECORD_BYTES_MAX 1048576
#define NO_TIME INT64_MIN /* an absent date-time */
#define NO_VERSION (-1)   /* of what is not known, or was removed */

typedef struct {
    const uint8_t *bytes;
    uint32_t length;
} text;

/* Seals after normalising (ASCII upper case, no U+0020 and no hyphen), blanks removed, ascending
 * bytewise, each once. `looked` is what CONTRACT.md section 1 and row 13 say: the array was there
 * and empty, or has a seal that is no blank. */
typedef struct {
    const text *seals;
    uint32_t count;
    uint8_t looked;
} seal_set;

typedef struct {
    uint8_t name[UNIT_NAME_MAX + 1]; /* normalised, zeros after the last byte */
    uint8_t length;
} unit_name;

typedef struct {
    text event_id;
    text operator_id;
    text location_code;
    text document; /* length 0: absent */
    unit_name unit;
    int64_t event_time_us;
    int64_t version_us;      /* eventUpdatedDateTime, else eventCreated..., else eventDateTime */
    int64_t weight_grams;    /* meaningful if has_weight */
    uint32_t pieces;         /* meaningful if has_pieces */
    uint8_t event_type, unit_type, direction, purpose;
    uint8_t is_retracted, has_pieces, has_weight;
    uint8_t version_field;   /* index into port_event_fields of the field that gave the version */
    seal_set seals;
    const uint64_t *presented; /* declaration numbers as written, in order */
    uint32_t presented_count;
} port_event;

typedef struct {
    unit_name unit;
    uint8_t unit_type;
    uint8_t shared;
    uint8_t has_pieces, has_weight;
    uint32_t pieces;
    int64_t weight_grams;
    seal_set seals;
    text location_code; /* the unit's own; length 0: the declaration's */
} declaration_unit;

typedef struct {
    uint64_t number; /* 12 digits */
    int64_t version;
    uint8_t direction, status;
    int64_t registered_us;
    int64_t status_us;    /* NO_TIME: absent */
    int64_t arrive_by_us; /* NO_TIME: absent */
    text branch_code;     /* length 0: absent */
    text location_code;
    text destination_location_code; /* length 0: absent */
    const declaration_unit *units;
    uint32_t unit_count;
} declaration_record;

typedef struct {
    text hold_id;
    int64_t version;
    uint8_t scope, reason, state;
    unit_name unit;             /* scope UNIT */
    uint64_t declaration_number; /* scope DECLARATION */
    text seal;                  /* normalised; reason CUSTOMS_SEAL, else length 0 */
    int64_t issued_us;
} hold_record;

typedef struct {
    text operator_id;
    int64_t version;
    uint8_t kind, status;
    const text *locations;
    uint32_t location_count;
    text department_code, department_name;
    text branch_code, branch_name; /* length 0: absent */
    int32_t connected_day;         /* days since 1970-01-01; INT32_MIN: absent */
} operator_record;

/* What the scanner says of a record. `field` is a NUL-terminated name of section 3, or NULL. */
typedef struct {
    uint8_t reason; /* REJECT_NONE, REJECT_TOO_LARGE or REJECT_MALFORMED */
    const char *field;
    char detail[160]; /* for people; NUL-terminated, plain ASCII */
} scan_verdict;

#endif

/*
 * Fuzz target: what a worker reads back of its own topics when it takes a partition over.
 *
 * Input: published decisions and alerts, one a line. An engine that knows an operator, a
 * declaration, a container and a lot with their checks takes each of them back as both, weighs
 * again, says its aggregates, and forgets the partition.
 */
#include "engine_under_fuzz.h"
#include "restore.h"

#define TIMESTAMP_MS INT64_C(1533814400000)

static const char OPERATOR[] =
    "{\"operatorID\":\"OP\",\"name\":\"n\",\"kind\":\"SEAPORT\",\"departmentCode\":\"03\","
    "\"departmentName\":\"d\",\"locations\":[\"L1\"],\"status\":\"CONNECTED\",\"version\":1}";
static const char DECLARATION[] =
    "{\"declarationNumber\":\"100000000001\",\"version\":1,\"direction\":\"IMPORT\","
    "\"status\":\"CLEARED\",\"registeredDateTime\":\"2018-08-01T00:00:00Z\","
    "\"locationCode\":\"L1\",\"units\":[{\"unit\":\"CSQU3054383\",\"unitType\":\"CONTAINER\"},"
    "{\"unit\":\"LOT1\",\"unitType\":\"BULK\",\"weightKg\":500}]}";
static const char *const EVENTS[] = {
    "{\"eventID\":\"I\",\"eventType\":\"GET_IN\",\"eventDateTime\":\"2018-08-09T09:00:00Z\","
    "\"operatorID\":\"OP\",\"locationCode\":\"L1\",\"unitType\":\"CONTAINER\","
    "\"unit\":\"CSQU3054383\",\"direction\":\"IMPORT\"}",
    "{\"eventID\":\"E\",\"eventType\":\"GATE_CHECK\",\"eventDateTime\":\"2018-08-09T10:00:00Z\","
    "\"operatorID\":\"OP\",\"locationCode\":\"L1\",\"unitType\":\"CONTAINER\","
    "\"unit\":\"CSQU3054383\",\"direction\":\"IMPORT\"}",
    "{\"eventID\":\"F\",\"eventType\":\"GATE_CHECK\",\"eventDateTime\":\"2018-08-09T10:00:00Z\","
    "\"operatorID\":\"OP\",\"locationCode\":\"L1\",\"unitType\":\"BULK\",\"weightKg\":7,"
    "\"unit\":\"LOT1\",\"direction\":\"IMPORT\"}",
    "{\"eventID\":\"O\",\"eventType\":\"GET_OUT\",\"eventDateTime\":\"2018-08-09T11:00:00Z\","
    "\"operatorID\":\"OP\",\"locationCode\":\"L1\",\"unitType\":\"CONTAINER\","
    "\"unit\":\"CSQU3054383\",\"direction\":\"IMPORT\"}",
};

static record_view view_of(const char *key, const void *value, size_t length, int64_t offset)
{
    return (record_view){.key = (const uint8_t *)key,
                         .key_length = key ? (int32_t)strlen(key) : -1,
                         .value = value,
                         .value_length = (int32_t)length,
                         .offset = offset,
                         .timestamp_ms = TIMESTAMP_MS};
}

static void apply(engine *engine_, uint8_t topic, const char *key, const char *value, int is_silent)
{
    const record_view record = view_of(key, value, strlen(value), 0);
    engine_->silent = (uint8_t)is_silent;
    engine_apply_all(engine_, topic, NULL, 0, &record, 1, TIMESTAMP_MS * 1000);
    engine_->silent = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > (1 << 16)) {
        return 0;
    }
    engine engine_;
    published_reader reader;
    engine_under_fuzz_init(&engine_, 1, 1);
    published_reader_init(&reader);
    apply(&engine_, TOPIC_OPERATORS, "OP", OPERATOR, 0);
    apply(&engine_, TOPIC_DECLARATIONS, "100000000001", DECLARATION, 0);
    engine_.partitions[0].restoring = 1; /* as matcher.pyx does until the take-over */
    for (size_t i = 0; i < sizeof EVENTS / sizeof *EVENTS; i++) {
        apply(&engine_, TOPIC_PORT_EVENTS, i == 2 ? "LOT1" : "CSQU3054383", EVENTS[i], 1);
    }
    REQUIRE(unit_index_count(&engine_.units.index) == 2);
    for (size_t at = 0; at < size;) {
        const uint8_t *line_end = memchr(data + at, '\n', size - at);
        const size_t length = line_end ? (size_t)(line_end - data) - at : size - at;
        const record_view record = view_of(NULL, data + at, length, 0);
        (void)restore_decision(&engine_, &reader, &record);
        (void)restore_alert(&engine_, &reader, &record);
        at += length + 1;
    }
    engine_take_over(&engine_, 0, TIMESTAMP_MS, TIMESTAMP_MS * 1000);
    volume_cells_write(&engine_, 0, TIMESTAMP_MS);
    stock_cells_write(&engine_, 0, TIMESTAMP_MS);
    activity_cells_write(&engine_, 0, TIMESTAMP_MS);
    engine_forget_partition(&engine_, 0);
    published_reader_free(&reader);
    engine_free(&engine_);
    return 0;
}

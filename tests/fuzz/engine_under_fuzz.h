/*
 * An engine with a policy, for the fuzz targets that need one; for some with a state to begin from.
 *
 * Called by the targets. It must never know what they feed it.
 */
#ifndef GATEJOIN_TESTS_ENGINE_UNDER_FUZZ_H
#define GATEJOIN_TESTS_ENGINE_UNDER_FUZZ_H

#include <stdio.h>

#include "engine.h"
#include "unit_log.h"

#define REQUIRE(condition) ((condition) ? (void)0 : broken(#condition))

static void broken(const char *what)
{
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

/* The shipped parameters, and every row with the effect that the table gives it. */
static void engine_under_fuzz_init(engine *engine_, uint32_t partition_count, int is_worker)
{
    const int64_t minute = 60 * INT64_C(1000000), day = 1440 * minute;
    crc32c_initialise();
    engine_init(engine_, partition_count, is_worker);
    for (int topic = 0; topic < TOPIC_COUNT; topic++) {
        snprintf(engine_->topic_names[topic], TOPIC_NAME_MAX + 1, "topic-%d", topic);
    }
    engine_->periods = malloc(sizeof *engine_->periods);
    REQUIRE(engine_->periods != NULL);
    engine_->period_count = 1;
    *engine_->periods = (policy_period){
        .from_us = INT64_MIN, .to_us = INT64_MAX, .hold_mask = (1u << 18) - 1,
        .flag_mask = (1u << 24) - (1u << 18), .name = "fuzzed"};
    engine_->parameters = (rule_parameters){.overstay_us = 90 * day,
                                            .late_import_us = 15 * minute,
                                            .late_export_us = 30 * minute,
                                            .clock_ahead_us = 5 * minute,
                                            .return_us = 30 * day,
                                            .stale_us = 180 * day,
                                            .reservation_us = day};
}

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

/* An engine of one partition that knows an operator, a declaration, and the events of a container
 * and a lot, which came back silently. */
static void engine_under_fuzz_restoring(engine *engine_)
{
    engine_under_fuzz_init(engine_, 1, 1);
    const record_view operator_ = view_of("OP", OPERATOR, sizeof OPERATOR - 1, 0);
    const record_view declaration_ =
        view_of("100000000001", DECLARATION, sizeof DECLARATION - 1, 0);
    engine_apply_all(engine_, TOPIC_OPERATORS, NULL, 0, &operator_, 1, TIMESTAMP_MS * 1000);
    engine_apply_all(engine_, TOPIC_DECLARATIONS, NULL, 0, &declaration_, 1, TIMESTAMP_MS * 1000);
    engine_->partitions[0].restoring = 1; /* as matcher.pyx does until the take-over */
    engine_->mute = MUTE_ALL;
    for (size_t i = 0; i < sizeof EVENTS / sizeof *EVENTS; i++) {
        const record_view event_ =
            view_of(i == 2 ? "LOT1" : "CSQU3054383", EVENTS[i], strlen(EVENTS[i]), (int64_t)i);
        engine_apply_all(engine_, TOPIC_PORT_EVENTS, NULL, 0, &event_, 1, -1);
    }
    engine_->mute = MUTE_NOTHING;
    REQUIRE(unit_index_count(&engine_->units.index) == 2);
}

/* All that a worker does with a partition from the take-over on until it loses it. */
static void engine_under_fuzz_end(engine *engine_)
{
    engine_take_over(engine_, 0, TIMESTAMP_MS, TIMESTAMP_MS * 1000);
    volume_cells_write(engine_, 0, TIMESTAMP_MS);
    stock_cells_write(engine_, 0, TIMESTAMP_MS);
    activity_cells_write(engine_, 0, TIMESTAMP_MS);
    unit_changes_write(engine_, 0, TIMESTAMP_MS, 0);
    engine_forget_partition(engine_, 0);
    engine_free(engine_);
}

#endif

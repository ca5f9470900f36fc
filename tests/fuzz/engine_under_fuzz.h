/*
 * An engine with a policy, for the fuzz targets that need one.
 *
 * Called by fuzz_log_lines.c and fuzz_published.c. It must never know what they feed it.
 */
#ifndef GATEJOIN_TESTS_ENGINE_UNDER_FUZZ_H
#define GATEJOIN_TESTS_ENGINE_UNDER_FUZZ_H

#include <stdio.h>

#include "engine.h"

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

#endif

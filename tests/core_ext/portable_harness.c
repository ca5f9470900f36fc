/*
 * Every part of the compiled core that has a path of its own for a processor, with answers that are
 * the same everywhere, for test_other_machines.py, which compiles it for arm64 and with clang.
 *
 * Prints the path, and a hash of the answers of each part.
 */
#include <stdio.h>

#include "log_replay.h"
#include "record_batch.h"
#include "unit_index_batch.h"

enum { UNITS = 20000, QUERIES = 5000 };

static uint64_t hash = UINT64_C(0xcbf29ce484222325);

static void note(const void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
    }
}

static void say(const char *part)
{
    printf("%s %016llx\n", part, (unsigned long long)hash);
    hash = UINT64_C(0xcbf29ce484222325);
}

static void numbers_and_index(simd_path path)
{
    uint8_t *numbers = malloc(UNITS * CONTAINER_NUMBER_LENGTH);
    uint64_t *keys = malloc(UNITS * sizeof *keys);
    uint8_t *fit = malloc(UNITS);
    int32_t *rows = malloc(UNITS * sizeof *rows);
    uint64_t random = 5;
    for (uint64_t i = 0; i < UNITS; i++) {
        uint8_t *number = numbers + i * CONTAINER_NUMBER_LENGTH;
        const uint64_t spread = (i * 15485863 + 7) % UINT64_C(52728000000);
        container_number_unpack((spread / 1000000 + 1) << 20 | spread % 1000000, number);
        if (i % 7 == 0) { /* any byte anywhere */
            number[slot_random(&random) % 11] = (uint8_t)slot_random(&random);
        }
    }
    container_number_pack_batch(path, numbers, UNITS, keys);
    container_number_validate_batch(path, numbers, UNITS, fit);
    note(keys, UNITS * sizeof *keys);
    note(fit, UNITS);
    say("numbers");

    unit_index index;
    const unit_batch batch = {.numbers = numbers};
    if (unit_index_init_seeded(&index, 0, 0, 3) != 0) {
        exit(1);
    }
    (void)unit_batch_insert(&index, path, &batch, UNITS / 2, 0, rows);
    note(rows, UNITS / 2 * sizeof *rows);
    unit_batch_probe(&index, path, &batch, UNITS, rows);
    note(rows, UNITS * sizeof *rows);
    unit_batch_remove(&index, path, &batch, QUERIES, rows);
    unit_batch_probe(&index, path, &batch, UNITS, rows);
    note(rows, UNITS * sizeof *rows);
    say("index");
    unit_index_free(&index);
    free(numbers);
    free(keys);
    free(fit);
    free(rows);
}

static void batches(void)
{
    static uint8_t bytes[1 << 16], batch[(1 << 16) + 4096];
    uint64_t random = 9;
    record_output output = {0};
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)slot_random(&random);
    }
    for (uint64_t at = 0; at + 1000 < sizeof bytes; at += 200 + at % 37) {
        uint8_t *place = record_output_reserve(&output, 1000);
        output_record *record = record_output_append(&output);
        if (place == NULL || record == NULL) {
            exit(1);
        }
        memcpy(place, bytes + at, 200);
        *record = (output_record){.key_offset = output.bytes_size, .key_length = at % 3 ? 11 : -1,
                                  .value_offset = output.bytes_size + 11, .value_length = 150,
                                  .timestamp_ms = (int64_t)(at * 1000)};
        output.bytes_size += 200;
    }
    const record_source source = {.output = &output};
    batch_plan plan;
    size_t index = 0;
    if (!batch_plan_next(&source, output.records_size, 0, sizeof batch, INT32_MAX, &index, &plan)) {
        exit(1);
    }
    const size_t length = BATCH_HEADER_LENGTH + plan.body_length;
    batch_write_body(&source, &plan, 0, batch + BATCH_HEADER_LENGTH);
    batch_write_header(batch, length, &plan, 0);
    note(batch, length);
    batch_decoder decoder = {.position = batch, .end = batch + length, .check_crc = 1,
                             .base_offset = -1, .last_offset = -1};
    if (batch_decode(&decoder) != BATCH_END || decoder.records_size != plan.record_count) {
        fprintf(stderr, "%s\n", decoder.error);
        exit(1);
    }
    for (size_t length_ = 0; length_ < 3000; length_ += 7) {
        const uint32_t checksum = crc32c(bytes, length_);
        note(&checksum, sizeof checksum);
    }
    say("batches");
    free(decoder.records);
    record_output_free(&output);
}

static void replay(simd_path path, const char *name)
{
    engine engine_;
    log_line_reader reader;
    log_progress progress = {0, 0};
    char error[LOG_LINE_ERROR_BYTES] = "";
    FILE *file = fopen(name, "rb");
    uint8_t *log = malloc(1 << 24);
    const size_t size = file ? fread(log, 1, 1 << 24, file) : 0;
    const int64_t minute = 60 * INT64_C(1000000);
    engine_init(&engine_, 1, 0);
    json_document_use(&engine_.scanner.document, path);
    engine_.explain = 1;
    engine_.periods = malloc(sizeof *engine_.periods);
    if (log == NULL || engine_.periods == NULL || size == 0) {
        exit(1);
    }
    *engine_.periods = (policy_period){.from_us = INT64_MIN, .to_us = INT64_MAX,
                                       .hold_mask = (1u << 18) - 1,
                                       .flag_mask = (1u << 24) - (1u << 18), .name = "all"};
    engine_.period_count = 1;
    engine_.parameters = (rule_parameters){
        .overstay_us = 129600 * minute, .late_import_us = 15 * minute,
        .late_export_us = 30 * minute, .clock_ahead_us = 5 * minute,
        .return_us = 43200 * minute, .stale_us = 259200 * minute, .reservation_us = 1440 * minute};
    log_line_reader_init(&reader);
    json_document_use(&reader.document, path);
    (void)log_apply(&engine_, &reader, log, size, 1, &progress, error);
    note(&progress.line, sizeof progress.line);
    note(error, strlen(error));
    note(engine_.decisions.bytes, engine_.decisions.bytes_size);
    note(engine_.alerts.bytes, engine_.alerts.bytes_size);
    note(engine_.rejects.bytes, engine_.rejects.bytes_size);
    note(engine_.explanations.bytes, engine_.explanations.bytes_size);
    say("replay");
    engine_free(&engine_);
    log_line_reader_free(&reader);
    free(log);
    fclose(file);
}

int main(int argc, char **argv)
{
    const simd_path path = simd_path_from_environment();
    if (argc != 2 || path < 0) {
        return 2;
    }
    crc32c_initialise();
    fprintf(stderr, "path %d\n", (int)path);
    numbers_and_index(path);
    batches();
    replay(path, argv[1]);
    return 0;
}

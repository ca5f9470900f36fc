/*
 * Fuzz target: the changelog of unit states, which a worker reads when it takes a partition over.
 *
 * Input: records, each a byte that says how long its key is, two bytes (little-endian) how long its
 * value, 65535 being null, then key and value. The frame of a value is renewed, checksum included,
 * so that what lies behind it is reached; a value of an odd length is left as it is. Whatever is
 * taken must come back from writing and reading it again, byte for byte. Then all that may be
 * forgotten is, and whoever reads what is written of that, up to anywhere, must know the same
 * volumes.
 */
#include "engine_under_fuzz.h"

enum { RECORDS_MAX = 8, NULL_VALUE = 65535 };

/* Writes a unit, key and value, and has `to` read it; returns the value, which is the caller's. */
static uint8_t *hand_over(engine *from, uint32_t row, engine *to, size_t *length)
{
    uint8_t key[LOG_KEY_BYTES];
    record_output output = {0};
    const int32_t key_length = unit_log_key(from, row, key);
    const uint8_t *end =
        unit_state_write(&output, &from->customs, &from->arena_, unit_at(from, row),
                         &from->log_operators, &from->log_locations);
    *length = (size_t)(end - output.bytes);
    const record_view record = {.key = key,
                                .key_length = key_length,
                                .value = output.bytes,
                                .value_length = (int32_t)*length};
    const record_view *failed = NULL;
    uint64_t units = 0;
    REQUIRE(unit_log_restore(to, 0, &record, 1, &failed, &units) == NULL && units == 1);
    return output.bytes;
}

static uint32_t same_unit(const engine *from, uint32_t row, const engine *to)
{
    unit_name name;
    unit_table_name(&from->units, row, &name);
    const uint32_t found = unit_table_find(&to->units, &name, unit_at(from, row)->class_);
    REQUIRE(found != UINT32_MAX);
    return found;
}

/* Every unit with events goes to a second engine and from there to a third. The list of raised
 * alerts turns round each time, which means nothing; so the first and the third write the same. */
static void check_round_trip(engine *first)
{
    engine second, third;
    engine_under_fuzz_init(&second, 1, 1);
    engine_under_fuzz_init(&third, 1, 1);
    for (uint32_t row = 0; row < unit_index_row_limit(&first->units.index); row++) {
        if (!unit_index_row_is_used(&first->units.index, row) ||
            !unit_at(first, row)->event_count) {
            continue;
        }
        size_t length, length_again, length_third;
        uint8_t *value = hand_over(first, row, &second, &length);
        const uint32_t second_row = same_unit(first, row, &second);
        uint8_t *value_again = hand_over(&second, second_row, &third, &length_again);
        const uint32_t third_row = same_unit(&second, second_row, &third);
        uint8_t *value_third = hand_over(&third, third_row, &second, &length_third);
        REQUIRE(length == length_again && length == length_third);
        REQUIRE(memcmp(value, value_third, length) == 0);
        free(value);
        free(value_again);
        free(value_third);
    }
    engine_free(&second);
    engine_free(&third);
}

/* One number that tells volumes apart, whatever rows their operators have. */
static uint64_t volumes_mark(const engine *of)
{
    const volume_table *volumes = &of->partitions[0].volumes;
    uint64_t mark = 0;
    for (uint64_t i = 0; i < volumes->count; i++) {
        const volume_cell *cell = &volumes->cells[i];
        const uint64_t kind = (uint64_t)cell->day * 31 + cell->direction * 7 + cell->unit_type + 1;
        for (int out = 0; out < 2; out++) {
            mark += (kind + 1000003 * (uint64_t)out) *
                    ((uint64_t)cell->movements[out] * 3 + (uint64_t)cell->pieces[out] * 5 +
                     (uint64_t)cell->grams[out] * 11);
        }
    }
    return mark;
}

/* Has `to` read the first records of what is to be written of `from`, and `from` forget that. */
static void write_and_read(engine *from, engine *to, size_t cut)
{
    record_output *output = &from->unit_changes;
    unit_changes_write(from, 0, TIMESTAMP_MS, 0);
    const size_t count = output->records_size < cut ? output->records_size : cut;
    record_view *records = malloc((count + 1) * sizeof *records);
    REQUIRE(records != NULL);
    for (size_t i = 0; i < count; i++) {
        const output_record *record = &output->records[i];
        records[i] = (record_view){.key = output->bytes + record->key_offset,
                                   .key_length = record->key_length,
                                   .value = output->bytes + record->value_offset,
                                   .value_length = record->value_length};
    }
    const record_view *failed = NULL;
    uint64_t units = 0;
    REQUIRE(unit_log_restore(to, 0, records, count, &failed, &units) == NULL);
    free(records);
    record_output_clear(output);
}

static void check_forgetting(engine *writer, size_t cut)
{
    engine reader;
    engine_under_fuzz_init(&reader, 1, 1);
    engine_take_over(writer, 0, TIMESTAMP_MS, TIMESTAMP_MS * 1000);
    volume_table *retired = &writer->partitions[0].retired;
    for (uint64_t i = 0; i < retired->count; i++) { /* the reader has none of them yet */
        const volume_cell cell = retired->cells[i];
        volumes_cell(retired, cell.operator_row, cell.day, cell.direction, cell.unit_type);
    }
    for (uint32_t row = 0; row < unit_index_row_limit(&writer->units.index); row++) {
        if (unit_index_row_is_used(&writer->units.index, row) &&
            unit_at(writer, row)->event_count) {
            unit_changed(writer, row);
        }
    }
    write_and_read(writer, &reader, SIZE_MAX);
    REQUIRE(volumes_mark(&reader) == volumes_mark(writer));
    retire(writer, 0, INT64_MAX, 0);
    write_and_read(writer, &reader, cut);
    REQUIRE(volumes_mark(&reader) == volumes_mark(writer));
    engine_free(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    engine engine_;
    const size_t cut = size ? data[size - 1] % 32 : 0;
    record_view records[RECORDS_MAX];
    uint8_t *copies[RECORDS_MAX];
    uint32_t count = 0;
    engine_under_fuzz_restoring(&engine_);
    while (size >= 3 && count < RECORDS_MAX) {
        const size_t key_length = data[0], length = data[1] | (size_t)data[2] << 8;
        const size_t value_length = length == NULL_VALUE ? 0 : length;
        if (size < 3 + key_length + value_length) {
            break;
        }
        /* Copies of their own length, so that a read past one is seen. */
        copies[count] = malloc(key_length + value_length + 1);
        REQUIRE(copies[count] != NULL);
        memcpy(copies[count], data + 3, key_length + value_length);
        uint8_t *value = copies[count] + key_length;
        if (value_length >= STATE_FRAME_BYTES && value_length % 2 == 0) {
            state_frame(value, value + value_length);
        }
        records[count] = (record_view){.key = copies[count],
                                       .key_length = (int32_t)key_length,
                                       .value = value,
                                       .value_length = length == NULL_VALUE ? -1 : (int32_t)length,
                                       .offset = count};
        data += 3 + key_length + value_length;
        size -= 3 + key_length + value_length;
        count++;
    }
    const record_view *failed = NULL;
    uint64_t units = 0;
    const char *wrong = unit_log_restore(&engine_, 0, records, count, &failed, &units);
    REQUIRE((wrong == NULL) == (failed == NULL) && units <= count);
    check_round_trip(&engine_);
    check_forgetting(&engine_, cut);
    for (uint32_t i = 0; i < count; i++) {
        free(copies[i]);
    }
    engine_under_fuzz_end(&engine_);
    return 0;
}

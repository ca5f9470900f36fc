/*
 * Fuzz target: the record batch codec, decoding and encoding.
 *
 * Input: a byte of switches, then what a fetch brought. Switches: bit 0 renews the length and the
 * CRC of the first batch, so that what lies behind them is reached, and has CRCs checked; bit 1
 * reads committed records only, two transactions having been rolled back; bit 2 takes a batch that
 * says it is compressed for one that was decompressed already; bits 3 to 7 are the offset to fetch
 * from. Whatever is decoded without an error must come back from encoding and decoding again.
 */
#include <stdio.h>

#include "record_batch.h"

#define REQUIRE(condition) ((condition) ? (void)0 : broken(#condition))

static void broken(const char *what)
{
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

static int same_bytes(const uint8_t *left, int32_t left_length, const uint8_t *right,
                      int32_t right_length)
{
    return left_length == right_length &&
           (left_length <= 0 || memcmp(left, right, (size_t)left_length) == 0);
}

/* Every byte of what was decoded is read, so that a view outside of its memory is seen. */
static void check_views(const batch_decoder *decoder, record_output *copy)
{
    int64_t last = -1;
    for (size_t i = 0; i < decoder->records_size; i++) {
        const record_view *view = &decoder->records[i];
        REQUIRE(view->offset > last && view->offset <= decoder->last_offset);
        REQUIRE(view->offset >= decoder->fetch_offset);
        REQUIRE(view->key_length >= -1 && view->value_length >= -1);
        last = view->offset;
        const size_t key_length = view->key_length > 0 ? (size_t)view->key_length : 0;
        const size_t value_length = view->value_length > 0 ? (size_t)view->value_length : 0;
        uint8_t *at = record_output_reserve(copy, key_length + value_length + 1);
        output_record *record = record_output_append(copy);
        REQUIRE(at != NULL && record != NULL);
        *record = (output_record){.key_offset = copy->bytes_size,
                                  .value_offset = copy->bytes_size + key_length,
                                  .key_length = view->key_length,
                                  .value_length = view->value_length,
                                  .timestamp_ms = view->timestamp_ms};
        if (key_length) {
            memcpy(at, view->key, key_length);
        }
        if (value_length) {
            memcpy(at + key_length, view->value, value_length);
        }
        copy->bytes_size += key_length + value_length;
    }
}

/* Encodes the records in batches of at most `records_max`, decodes each batch, compares. */
static void check_round_trip(const record_output *records, uint64_t bytes_max,
                             uint32_t records_max)
{
    const record_source source = {.output = records};
    batch_plan plan;
    size_t index = 0, compared = 0;
    while (batch_plan_next(&source, records->records_size, 0, bytes_max, records_max, &index,
                           &plan)) {
        const size_t length = BATCH_HEADER_LENGTH + plan.body_length;
        uint8_t *batch = malloc(length);
        REQUIRE(batch != NULL && plan.record_count <= records_max);
        batch_write_body(&source, &plan, 0, batch + BATCH_HEADER_LENGTH);
        batch_write_header(batch, length, &plan, 0);
        batch_write_producer(batch, length, 7, 1, 3, 0);
        batch_decoder again = {.position = batch, .end = batch + length, .check_crc = 1,
                               .base_offset = -1, .last_offset = -1};
        REQUIRE(batch_decode(&again) == BATCH_END && again.position == again.end);
        REQUIRE(again.records_size == plan.record_count);
        for (size_t i = 0; i < again.records_size; i++, compared++) {
            const record_view *found = &again.records[i];
            const record_view wanted = source_record(&source, compared);
            REQUIRE(found->timestamp_ms == wanted.timestamp_ms);
            REQUIRE(same_bytes(found->key, found->key_length, wanted.key, wanted.key_length));
            REQUIRE(
                same_bytes(found->value, found->value_length, wanted.value, wanted.value_length));
        }
        free(again.records);
        free(batch);
    }
    REQUIRE(compared == records->records_size);
}

/* Timestamps 2^63 apart can't be told in one batch; nobody but an attacker writes such. */
static int timestamps_fit(const record_output *records)
{
    for (size_t i = 0; i < records->records_size; i++) {
        const int64_t time = records->records[i].timestamp_ms;
        if (time < 0 || time > INT64_C(253402300799999)) {
            return 0;
        }
    }
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int initialised;
    if (!initialised) {
        crc32c_initialise();
        initialised = 1;
    }
    if (size < 1) {
        return 0;
    }
    const uint8_t switches = *data++;
    size--;
    uint8_t *fetched = malloc(size ? size : 1);
    REQUIRE(fetched != NULL);
    memcpy(fetched, data, size);
    if (switches & 1 && size >= BATCH_HEADER_LENGTH) {
        put_big_endian(fetched + 8, size - BATCH_LENGTH_FIELD_END, 4);
        batch_write_crc(fetched, size);
    }
    const aborted_transaction aborted[2] = {{3, 0}, {7, 5}};
    int64_t producers[2];
    batch_decoder decoder = {.position = fetched,
                             .end = fetched + size,
                             .fetch_offset = switches >> 3,
                             .check_crc = switches & 1,
                             .committed_only = switches >> 1 & 1,
                             .aborted = aborted,
                             .aborted_count = 2,
                             .aborted_producers = producers,
                             .base_offset = -1,
                             .last_offset = -1};
    int result;
    while ((result = batch_decode(&decoder)) == BATCH_COMPRESSED) {
        if (!(switches & 4)) {
            break;
        }
        result = batch_decode_records(&decoder, decoder.current.body, decoder.current.body_end);
        if (result != BATCH_END) {
            break;
        }
        batch_finish(&decoder);
    }
    REQUIRE(result != BATCH_NO_MEMORY);
    REQUIRE(decoder.position >= fetched && decoder.position <= decoder.end);
    if (result == BATCH_BROKEN) {
        REQUIRE(memchr(decoder.error, 0, sizeof decoder.error) != NULL && decoder.error[0]);
    }
    record_output copy = {0};
    check_views(&decoder, &copy);
    if (timestamps_fit(&copy)) {
        check_round_trip(&copy, 1 << 20, INT32_MAX);
        check_round_trip(&copy, 100, 3);
    }
    record_output_free(&copy);
    free(decoder.records);
    free(fetched);
    return 0;
}

/*
 * Fuzz target: lines of a log, and through them the whole engine.
 *
 * Input: a byte of switches, then lines. Bit 0 writes explanations, bit 1 gives the log in two
 * pieces. A line is read exactly if strict_json.h takes it for an object (deep nesting and lone
 * surrogates are the record's affair, not the line's), or said to be wrong.
 */
#include "engine_under_fuzz.h"
#include "log_replay.h"
#include "stock.h"
#include "strict_json.h"

/* Whether strict_json.h contradicts what the reader says of a line. */
static void check_line(log_line_reader *reader, const uint8_t *line, size_t length)
{
    log_line parsed;
    char error[LOG_LINE_ERROR_BYTES];
    const int answer = log_line_parse(reader, line, length, &parsed, error);
    if (answer == LOG_LINE_GOOD) {
        REQUIRE(strict_json_object(line, length, 1 << 16, 1));
        REQUIRE(parsed.topic < TOPIC_COUNT && parsed.timestamp_ms >= 0);
        REQUIRE(parsed.key_length >= -1 && parsed.value_length >= -1);
    } else if (answer == LOG_LINE_WRONG) {
        REQUIRE(memchr(error, 0, sizeof error) != NULL && error[0]);
    } else {
        REQUIRE(answer == LOG_LINE_BLANK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > (1 << 16)) {
        return 0;
    }
    const uint8_t switches = *data++;
    size--;
    log_line_reader reader;
    log_line_reader_init(&reader);
    for (size_t at = 0; at < size;) {
        const uint8_t *line_end = memchr(data + at, '\n', size - at);
        const size_t length = line_end ? (size_t)(line_end - data) - at : size - at;
        check_line(&reader, data + at, length);
        at += length + 1;
    }

    engine engine_;
    engine_under_fuzz_init(&engine_, 1, 0);
    engine_.explain = switches & 1;
    log_progress progress = {0, 0};
    char error[LOG_LINE_ERROR_BYTES];
    if (switches & 2) {
        (void)log_apply(&engine_, &reader, data, size / 2, 0, &progress, error);
        REQUIRE(progress.used <= size / 2);
    }
    const int answer = log_apply(&engine_, &reader, data, size, 1, &progress, error);
    REQUIRE(progress.used <= size && (answer != LOG_LINE_GOOD || progress.used == size));
    REQUIRE(answer != LOG_LINE_OUT_OF_MEMORY);

    stock_table stock = {0};
    stock_count(&engine_, -1, engine_.partitions[0].clock_us, &stock);
    stock_table_free(&stock);
    engine_free(&engine_);
    log_line_reader_free(&reader);
    return 0;
}

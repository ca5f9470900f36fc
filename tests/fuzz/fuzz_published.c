/*
 * Fuzz target: what a worker reads back of its own topics when it takes a partition over.
 *
 * Input: published decisions, alerts and rejects, one a line. An engine that knows an operator, a
 * declaration, a container and a lot with their checks takes each of them back as all of these,
 * takes the partition over, says what it has to say, and forgets it.
 */
#include "engine_under_fuzz.h"
#include "restore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > (1 << 16)) {
        return 0;
    }
    engine engine_;
    published_reader reader;
    engine_under_fuzz_restoring(&engine_);
    published_reader_init(&reader);
    for (size_t at = 0; at < size;) {
        const uint8_t *line_end = memchr(data + at, '\n', size - at);
        const size_t length = line_end ? (size_t)(line_end - data) - at : size - at;
        const record_view record = view_of(NULL, data + at, length, 0);
        (void)restore_alert(&engine_, &reader, &record);
        (void)restore_decision(&engine_, &reader, &record);
        (void)suppress_alert(&engine_.partitions[0].published, &reader, &record);
        (void)suppress_reject(&engine_, 0, &reader, &record);
        at += length + 1;
    }
    published_reader_free(&reader);
    engine_under_fuzz_end(&engine_);
    return 0;
}

/* Kafka's record batches, message format 2: bytes to `record_view`, records to bytes.
 *
 * What it is: a decoder that walks the batches of one fetch response, back to back, and an encoder
 * that lays out batches. Both work on plain memory, so that the GIL can be released around them;
 * compression is the caller's affair, and so is every byte handed in or out.
 * Who calls it: record_batch.pyx.
 * What it must never know: topics, what a record means, how a block is compressed.
 *
 * Layout (big-endian; varints are zigzag):
 *
 *   RecordBatch =>                      byte
 *     BaseOffset => Int64                  0   set by the broker
 *     Length => Int32                      8   of everything from byte 12
 *     PartitionLeaderEpoch => Int32       12   outside the CRC: brokers write it
 *     Magic => Int8                       16   2
 *     CRC => Uint32                       17   CRC-32C of everything from byte 21
 *     Attributes => Int16                 21   0-2 compression, 3 timestamp type, 4 transactional,
 *                                              5 control
 *     LastOffsetDelta => Int32            23   kept when the last record is compacted away
 *     FirstTimestamp => Int64             27   milliseconds
 *     MaxTimestamp => Int64               35   the records' own, with timestamp type 1
 *     ProducerId => Int64                 43
 *     ProducerEpoch => Int16              51
 *     BaseSequence => Int32               53
 *     RecordCount => Int32                57
 *     Records => [Record]                 61   compressed together, if at all
 *
 *   Record =>
 *     Length => Varint                         of everything after it
 *     Attributes => Int8                       unused
 *     TimestampDelta => Varlong                against FirstTimestamp
 *     OffsetDelta => Varint                    against BaseOffset
 *     Key, Value => Varint length, Bytes       length -1: null
 *     Headers => Varint count, [Varint length, Bytes, Varint length, Bytes]
 */
#ifndef GATEJOIN_RECORD_BATCH_H
#define GATEJOIN_RECORD_BATCH_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "record_view.h"

#define BATCH_HEADER_LENGTH 61
#define BATCH_LENGTH_FIELD_END 12
#define BATCH_MAGIC_END 17
#define BATCH_CRC_START 21
#define BATCH_MAGIC 2
#define BATCH_CODEC_MASK 0x07
#define BATCH_LOG_APPEND_TIME 0x08
#define BATCH_TRANSACTIONAL 0x10
#define BATCH_CONTROL 0x20
/* Length, attributes, timestamp, offset, key, value and headers take at least one byte each. */
#define RECORD_LENGTH_MIN 7
#define CONTROL_TYPE_ABORT 0
#define BATCH_ERROR_LENGTH 200

static inline uint64_t big_endian(const uint8_t *bytes, int count)
{
    uint64_t value = 0;
    for (int i = 0; i < count; i++)
        value = value << 8 | bytes[i];
    return value;
}

static inline void put_big_endian(uint8_t *bytes, uint64_t value, int count)
{
    for (int i = count; i--; value >>= 8)
        bytes[i] = (uint8_t)value;
}

/* Reads one zigzag varint of at most 10 bytes; returns where it ends, or NULL if it does not. */
static inline const uint8_t *varint_read(const uint8_t *at, const uint8_t *end, int64_t *value)
{
    uint64_t raw = 0;
    if (at < end && *at < 128) { /* nearly every varint of a record is one byte */
        raw = *at++;
    } else {
        int shift = 0;
        for (;;) {
            if (at == end || shift > 63)
                return NULL;
            uint8_t byte = *at++;
            raw |= (uint64_t)(byte & 127) << shift;
            if (byte < 128)
                break;
            shift += 7;
        }
    }
    *value = (int64_t)(raw >> 1) ^ -(int64_t)(raw & 1);
    return at;
}

static inline uint8_t *varint_write(uint8_t *at, int64_t value)
{
    uint64_t raw = (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
    while (raw >= 128) {
        *at++ = (uint8_t)(raw | 128);
        raw >>= 7;
    }
    *at++ = (uint8_t)raw;
    return at;
}

static inline uint32_t varint_length(int64_t value)
{
    uint64_t raw = (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
    return raw < 128 ? 1u : (uint32_t)(63 - __builtin_clzll(raw)) / 7u + 1u;
}

/* ---- decoding ---- */

/* A producer whose batches from `first_offset` on were rolled back, as the broker lists them. */
typedef struct {
    int64_t producer_id;
    int64_t first_offset;
} aborted_transaction;

typedef struct {
    int64_t base_offset;
    int64_t last_offset;
    int64_t first_timestamp_ms;
    int64_t max_timestamp_ms;
    int64_t producer_id;
    int32_t record_count;
    int32_t attributes;
    const uint8_t *body;     /* the records, perhaps compressed */
    const uint8_t *body_end; /* also where the next batch starts */
} batch_header;

typedef struct {
    /* Set by the caller. */
    const uint8_t *position, *end;
    int64_t fetch_offset; /* records below are dropped: the broker sends whole batches */
    int check_crc;
    int committed_only;
    const aborted_transaction *aborted; /* ascending first_offset */
    size_t aborted_count;
    int64_t *aborted_producers; /* room for aborted_count */
    /* The answer so far. */
    record_view *records;
    size_t records_size, records_capacity;
    int64_t base_offset, last_offset; /* -1: no batch yet */
    size_t batch_count;
    /* Between the calls. */
    size_t aborted_next, aborted_producers_size;
    batch_header current;
    char error[BATCH_ERROR_LENGTH];
} batch_decoder;

enum batch_result {
    BATCH_END,        /* no whole batch is left at `position` */
    BATCH_COMPRESSED, /* `current.body` must be decompressed and given to batch_decode_records */
    BATCH_BROKEN,     /* `error` says what and where */
    BATCH_NO_MEMORY
};

static int batch_fail(batch_decoder *decoder, const char *what)
{
    snprintf(decoder->error, sizeof decoder->error, "record batch at offset %" PRId64 ": %s",
             decoder->current.base_offset, what);
    return BATCH_BROKEN;
}

static int record_fail(batch_decoder *decoder, int32_t index, const char *what)
{
    snprintf(decoder->error, sizeof decoder->error,
             "record batch at offset %" PRId64 ": record %" PRId32 " of %" PRId32 ": %s",
             decoder->current.base_offset, index, decoder->current.record_count, what);
    return BATCH_BROKEN;
}

static int batch_reserve_records(batch_decoder *decoder, size_t extra)
{
    size_t needed = decoder->records_size + extra;
    if (needed <= decoder->records_capacity)
        return 1;
    size_t capacity = decoder->records_capacity ? decoder->records_capacity * 2 : 64;
    while (capacity < needed)
        capacity *= 2;
    record_view *records =
        (record_view *)realloc(decoder->records, capacity * sizeof *records);
    if (!records)
        return 0;
    decoder->records = records;
    decoder->records_capacity = capacity;
    return 1;
}

static const uint8_t *headers_skip(const uint8_t *at, const uint8_t *end, int64_t count)
{
    while (count--) {
        int64_t length;
        if (!(at = varint_read(at, end, &length)) || length < 0 || length > end - at)
            return NULL;
        at += length;
        if (!(at = varint_read(at, end, &length)) || length > end - at)
            return NULL;
        if (length > 0)
            at += length;
    }
    return at;
}

/* One record as it lies in its batch. */
typedef struct {
    int64_t timestamp_delta, offset_delta;
    int64_t key_length, value_length; /* below 0: null */
    const uint8_t *key, *value;
} batch_record;

/* Reads a zigzag varint of one or two bytes, which must be readable; NULL if it is longer. */
static inline const uint8_t *varint_read_short(const uint8_t *at, int64_t *value)
{
    uint32_t raw = at[0];
    if (raw >= 128) {
        if (at[1] >= 128)
            return NULL;
        raw = (raw & 127) | (uint32_t)at[1] << 7;
        at++;
    }
    *value = (int64_t)(raw >> 1) ^ -(int64_t)(raw & 1);
    return at + 1;
}

/* Reads a record as nearly all are: short varints, no headers, not among the last bytes. Returns
 * where it ends, or NULL, which says only that record_read has to look. */
static inline const uint8_t *record_read_usual(const uint8_t *at, const uint8_t *end,
                                               batch_record *record)
{
    int64_t length;
    if (end - at < 9 || !(at = varint_read_short(at, &length)) || length < 9 || length > end - at)
        return NULL;
    const uint8_t *record_end = at + length;
    if (!(at = varint_read_short(at + 1, &record->timestamp_delta))
        || !(at = varint_read_short(at, &record->offset_delta))
        || !(at = varint_read_short(at, &record->key_length)))
        return NULL;
    const int64_t key_bytes = record->key_length > 0 ? record->key_length : 0;
    if (record_end - at < key_bytes + 2)
        return NULL;
    record->key = at;
    if (!(at = varint_read_short(at + key_bytes, &record->value_length)))
        return NULL;
    const int64_t value_bytes = record->value_length > 0 ? record->value_length : 0;
    record->value = at;
    return record_end - at == value_bytes + 1 && at[value_bytes] == 0 ? record_end : NULL;
}

/* Reads any record. Returns where it ends, or NULL with `wrong`. */
static const uint8_t *record_read(const uint8_t *at, const uint8_t *end, batch_record *record,
                                  const char **wrong)
{
    int64_t length, header_count;
    *wrong = "its length does not fit the batch";
    if (!(at = varint_read(at, end, &length)) || length < 1 || length > end - at)
        return NULL;
    const uint8_t *record_end = at + length;
    at++; /* attributes */
    *wrong = "it ends inside its own fields";
    if (!(at = varint_read(at, record_end, &record->timestamp_delta))
        || !(at = varint_read(at, record_end, &record->offset_delta))
        || !(at = varint_read(at, record_end, &record->key_length)))
        return NULL;
    *wrong = "its key is longer than the record";
    if (record->key_length > record_end - at)
        return NULL;
    record->key = at;
    at += record->key_length > 0 ? record->key_length : 0;
    *wrong = "its value is longer than the record";
    if (!(at = varint_read(at, record_end, &record->value_length))
        || record->value_length > record_end - at)
        return NULL;
    record->value = at;
    at += record->value_length > 0 ? record->value_length : 0;
    *wrong = "its length and its fields disagree";
    if (!(at = varint_read(at, record_end, &header_count)) || header_count < 0
        || (header_count && !(at = headers_skip(at, record_end, header_count)))
        || at != record_end)
        return NULL;
    return record_end;
}

/* The records of `current` from its plain bytes; they must live as long as the views. */
static int batch_decode_records(batch_decoder *decoder, const uint8_t *at, const uint8_t *end)
{
    const batch_header *batch = &decoder->current;
    int64_t last_delta = batch->last_offset - batch->base_offset, previous_delta = -1;
    if (batch->record_count > (end - at) / RECORD_LENGTH_MIN)
        return batch_fail(decoder, "more records are announced than its bytes can hold");
    if (!batch_reserve_records(decoder, (size_t)batch->record_count))
        return BATCH_NO_MEMORY;
    record_view *view = decoder->records + decoder->records_size;
    for (int32_t i = 0; i < batch->record_count; i++) {
        batch_record record;
        const char *wrong;
        const uint8_t *record_end = record_read_usual(at, end, &record);
        if (!record_end && !(record_end = record_read(at, end, &record, &wrong)))
            return record_fail(decoder, i, wrong);
        at = record_end;
        if (record.offset_delta <= previous_delta || record.offset_delta > last_delta)
            return record_fail(decoder, i, "its offset is out of order or outside the batch");
        view->key = record.key;
        view->key_length = record.key_length < 0 ? -1 : (int32_t)record.key_length;
        view->value = record.value;
        view->value_length = record.value_length < 0 ? -1 : (int32_t)record.value_length;
        view->offset = batch->base_offset + record.offset_delta;
        if (batch->attributes & BATCH_LOG_APPEND_TIME)
            view->timestamp_ms = batch->max_timestamp_ms;
        else if (__builtin_add_overflow(batch->first_timestamp_ms, record.timestamp_delta,
                                        &view->timestamp_ms))
            return record_fail(decoder, i, "its timestamp does not fit 64 bits");
        previous_delta = record.offset_delta;
        view += view->offset >= decoder->fetch_offset; /* written over if it is to be dropped */
    }
    if (at != end)
        return batch_fail(decoder, "bytes are left after its last record");
    decoder->records_size = (size_t)(view - decoder->records);
    return BATCH_END;
}

/* Marks `current` as done: the run now answers for its offsets, with records or without. */
static void batch_finish(batch_decoder *decoder)
{
    const batch_header *batch = &decoder->current;
    if (decoder->base_offset < 0)
        decoder->base_offset = batch->base_offset;
    decoder->last_offset = batch->last_offset;
    decoder->batch_count++;
    decoder->position = batch->body_end;
}

/* Reads the header at `position`: 1 if a whole batch is there, 0 if not, -1 if it is broken. */
static int batch_read_header(batch_decoder *decoder)
{
    const uint8_t *at = decoder->position;
    ptrdiff_t left = decoder->end - at;
    batch_header *batch = &decoder->current;
    if (left < BATCH_MAGIC_END)
        return 0;
    batch->base_offset = (int64_t)big_endian(at, 8);
    int64_t length = (int32_t)big_endian(at + 8, 4);
    /* The format comes first: the older ones are laid out otherwise from here on. */
    if (at[16] != BATCH_MAGIC) {
        batch_fail(decoder, "not message format 2; older formats ended with Kafka 4.0");
        return -1;
    }
    if (length < BATCH_HEADER_LENGTH - BATCH_LENGTH_FIELD_END) {
        batch_fail(decoder, "its length is less than a header's");
        return -1;
    }
    if (length > left - BATCH_LENGTH_FIELD_END)
        return 0;
    batch->body = at + BATCH_HEADER_LENGTH;
    batch->body_end = at + BATCH_LENGTH_FIELD_END + length;
    if (decoder->check_crc) {
        const uint8_t *covered = at + BATCH_CRC_START;
        if (crc32c(covered, (size_t)(batch->body_end - covered)) != big_endian(at + 17, 4)) {
            batch_fail(decoder, "its CRC is wrong, the bytes were damaged on their way");
            return -1;
        }
    }
    batch->attributes = (int32_t)big_endian(at + 21, 2);
    int64_t last_delta = (int32_t)big_endian(at + 23, 4);
    batch->first_timestamp_ms = (int64_t)big_endian(at + 27, 8);
    batch->max_timestamp_ms = (int64_t)big_endian(at + 35, 8);
    batch->producer_id = (int64_t)big_endian(at + 43, 8);
    batch->record_count = (int32_t)big_endian(at + 57, 4);
    if (batch->base_offset < 0 || batch->base_offset > INT64_MAX - INT32_MAX
        || last_delta < 0 || batch->base_offset <= decoder->last_offset) {
        batch_fail(decoder, "its offsets are out of order or out of range");
        return -1;
    }
    batch->last_offset = batch->base_offset + last_delta;
    if (batch->record_count < 0) {
        batch_fail(decoder, "its number of records is negative");
        return -1;
    }
    return 1;
}

/* Whether `current` was rolled back; keeps account of who is rolling back at this offset. */
static int batch_is_aborted(batch_decoder *decoder, int is_abort_marker)
{
    const batch_header *batch = &decoder->current;
    while (decoder->aborted_next < decoder->aborted_count
           && decoder->aborted[decoder->aborted_next].first_offset <= batch->base_offset) {
        decoder->aborted_producers[decoder->aborted_producers_size++] =
            decoder->aborted[decoder->aborted_next++].producer_id;
    }
    for (size_t i = 0; i < decoder->aborted_producers_size; i++) {
        if (decoder->aborted_producers[i] != batch->producer_id)
            continue;
        if (!is_abort_marker)
            return (batch->attributes & BATCH_TRANSACTIONAL) != 0;
        decoder->aborted_producers[i] =
            decoder->aborted_producers[--decoder->aborted_producers_size];
        i--;
    }
    return 0;
}

/* Whether `current`, a control batch, says that its producer's transaction was rolled back. */
static int batch_is_abort_marker(const batch_header *batch)
{
    const uint8_t *at = batch->body, *end = batch->body_end;
    int64_t length, skipped, key_length;
    if (batch->record_count < 1 || (batch->attributes & BATCH_CODEC_MASK)
        || !(at = varint_read(at, end, &length)) || length < 1 || length > end - at)
        return 0;
    at++;
    if (!(at = varint_read(at, end, &skipped)) || !(at = varint_read(at, end, &skipped))
        || !(at = varint_read(at, end, &key_length)) || key_length < 4 || key_length > end - at)
        return 0;
    return big_endian(at + 2, 2) == CONTROL_TYPE_ABORT; /* after a version of 2 bytes */
}

/* Decodes from `position` on until the end or the next compressed batch. */
static int batch_decode(batch_decoder *decoder)
{
    int found;
    while ((found = batch_read_header(decoder)) > 0) {
        const batch_header *batch = &decoder->current;
        int is_control = (batch->attributes & BATCH_CONTROL) != 0;
        int is_skipped = is_control || batch->last_offset < decoder->fetch_offset;
        if (decoder->committed_only && batch->producer_id >= 0
            && batch_is_aborted(decoder, is_control && batch_is_abort_marker(batch)))
            is_skipped = 1;
        if (!is_skipped && batch->record_count > 0) {
            if (batch->attributes & BATCH_CODEC_MASK)
                return BATCH_COMPRESSED;
            int result = batch_decode_records(decoder, batch->body, batch->body_end);
            if (result != BATCH_END)
                return result;
        }
        batch_finish(decoder);
    }
    return found < 0 ? BATCH_BROKEN : BATCH_END;
}

/* ---- encoding ---- */

/* Records to encode, in one of two shapes: a `record_output` (rows), or buffers with offset arrays
 * (columns). */
typedef struct {
    const record_output *output; /* rows, or NULL for columns */
    const uint8_t *values, *keys; /* columns; keys NULL: all keys are null */
    const int64_t *value_offsets, *key_offsets; /* count + 1 each */
    const int64_t *timestamps_ms;
} record_source;

static inline record_view source_record(const record_source *source, size_t index)
{
    record_view view;
    view.offset = (int64_t)index;
    if (source->output) {
        const output_record *record = source->output->records + index;
        view.key = source->output->bytes + record->key_offset;
        view.key_length = record->key_length;
        view.value = source->output->bytes + record->value_offset;
        view.value_length = record->value_length;
        view.timestamp_ms = record->timestamp_ms;
        return view;
    }
    view.value = source->values + source->value_offsets[index];
    view.value_length = (int32_t)(source->value_offsets[index + 1] - source->value_offsets[index]);
    view.key = NULL;
    view.key_length = -1;
    if (source->keys) {
        view.key = source->keys + source->key_offsets[index];
        view.key_length = (int32_t)(source->key_offsets[index + 1] - source->key_offsets[index]);
    }
    view.timestamp_ms = source->timestamps_ms[index];
    return view;
}

/* What one batch will hold: the records `first` .. `last` of the source, of one partition. */
typedef struct {
    size_t first, last;
    uint32_t record_count;
    uint64_t body_length; /* uncompressed */
    int64_t first_timestamp_ms, max_timestamp_ms;
} batch_plan;

#define EVERY_PARTITION INT32_MIN

static inline int source_wants(const record_source *source, size_t index, int32_t partition)
{
    return partition == EVERY_PARTITION
        || source->output->records[index].partition == partition;
}

static inline uint64_t bytes_length(int32_t length)
{
    return varint_length(length) + (length > 0 ? (uint64_t)length : 0);
}

static inline uint64_t record_body_length(const record_view *view, int64_t timestamp_delta,
                                          int64_t offset_delta)
{
    return 1 + varint_length(timestamp_delta) + varint_length(offset_delta)
         + bytes_length(view->key_length) + bytes_length(view->value_length) + 1;
}

/* Plans one batch from record `*index` on: as many records of the partition as fit, at least one.
 * Returns 0 when none is left; leaves `*index` behind the batch's last record. */
static int batch_plan_next(const record_source *source, size_t count, int32_t partition,
                           uint64_t bytes_max, uint32_t records_max, size_t *index,
                           batch_plan *plan)
{
    size_t i = *index;
    memset(plan, 0, sizeof *plan);
    for (; i < count && plan->record_count < records_max; i++) {
        if (!source_wants(source, i, partition))
            continue;
        record_view view = source_record(source, i);
        if (!plan->record_count) {
            plan->first = i;
            plan->first_timestamp_ms = plan->max_timestamp_ms = view.timestamp_ms;
        }
        int64_t timestamp_delta =
            (int64_t)((uint64_t)view.timestamp_ms - (uint64_t)plan->first_timestamp_ms);
        uint64_t length = record_body_length(&view, timestamp_delta, plan->record_count);
        length += varint_length((int64_t)length);
        if (plan->record_count && BATCH_HEADER_LENGTH + plan->body_length + length > bytes_max)
            break;
        plan->body_length += length;
        plan->last = i;
        plan->record_count++;
        if (view.timestamp_ms > plan->max_timestamp_ms)
            plan->max_timestamp_ms = view.timestamp_ms;
    }
    *index = i;
    return plan->record_count > 0;
}

static inline uint8_t *bytes_write(uint8_t *at, const uint8_t *bytes, int32_t length)
{
    at = varint_write(at, length);
    if (length > 0) {
        memcpy(at, bytes, (size_t)length);
        at += length;
    }
    return at;
}

/* Writes the `plan->body_length` bytes of the planned records. */
static void batch_write_body(const record_source *source, const batch_plan *plan,
                             int32_t partition, uint8_t *at)
{
    int64_t offset_delta = 0;
    for (size_t i = plan->first; i <= plan->last; i++) {
        if (!source_wants(source, i, partition))
            continue;
        record_view view = source_record(source, i);
        int64_t timestamp_delta =
            (int64_t)((uint64_t)view.timestamp_ms - (uint64_t)plan->first_timestamp_ms);
        at = varint_write(at, (int64_t)record_body_length(&view, timestamp_delta, offset_delta));
        *at++ = 0; /* attributes */
        at = varint_write(at, timestamp_delta);
        at = varint_write(at, offset_delta++);
        at = bytes_write(at, view.key, view.key_length);
        at = bytes_write(at, view.value, view.value_length);
        *at++ = 0; /* no headers */
    }
}

static void batch_write_crc(uint8_t *batch, size_t length)
{
    put_big_endian(batch + 17, crc32c(batch + BATCH_CRC_START, length - BATCH_CRC_START), 4);
}

/* Writes the header in front of a body that is in place, without a producer. */
static void batch_write_header(uint8_t *batch, size_t length, const batch_plan *plan, int codec)
{
    put_big_endian(batch, 0, 8);
    put_big_endian(batch + 8, length - BATCH_LENGTH_FIELD_END, 4);
    put_big_endian(batch + 12, UINT32_MAX, 4); /* no leader epoch: the broker knows it */
    batch[16] = BATCH_MAGIC;
    put_big_endian(batch + 21, (uint64_t)codec, 2);
    put_big_endian(batch + 23, plan->record_count - 1, 4);
    put_big_endian(batch + 27, (uint64_t)plan->first_timestamp_ms, 8);
    put_big_endian(batch + 35, (uint64_t)plan->max_timestamp_ms, 8);
    put_big_endian(batch + 43, UINT64_MAX, 8);
    put_big_endian(batch + 51, UINT16_MAX, 2);
    put_big_endian(batch + 53, UINT32_MAX, 4);
    put_big_endian(batch + 57, plan->record_count, 4);
    batch_write_crc(batch, length);
}

/* Puts a producer's state into a finished batch; the checksum covers it. */
static void batch_write_producer(uint8_t *batch, size_t length, int64_t producer_id,
                                 int16_t producer_epoch, int32_t base_sequence,
                                 int is_transactional)
{
    put_big_endian(batch + 43, (uint64_t)producer_id, 8);
    put_big_endian(batch + 51, (uint16_t)producer_epoch, 2);
    put_big_endian(batch + 53, (uint32_t)base_sequence, 4);
    batch[22] = (uint8_t)((batch[22] & ~BATCH_TRANSACTIONAL)
                          | (is_transactional ? BATCH_TRANSACTIONAL : 0));
    batch_write_crc(batch, length);
}

#endif

/*
 * The hot loops of the core, one a run, over inputs that are the same each time.
 *
 * Called by count.py under valgrind's callgrind, which collects inside of `measured` only. It must
 * never know what the counts were before.
 *
 * Usage: loops LOOP PATH, PATH being a number of simd_path.h. Prints how many items the loop dealt
 * with and a hash of its answers. Ends with status 3 if the machine lacks the path.
 */
#include <stdio.h>

#include "log_replay.h"
#include "record_batch.h"
#include "unit_index_batch.h"

enum { UNITS = 1 << 16, QUERIES = 1 << 14, EVENTS = 2000, VISITS = 400 };
enum { HOT_EVENTS = 500, VIEWS_MAX = 500 };

#define NOON_MS INT64_C(1533787200000) /* 2018-08-09T04:00:00Z */
#define MORNING_MS INT64_C(1533747605000) /* 2018-08-09T00:00:05+07:00, of the first events */
#define REPORTED_MS INT64_C(120000)       /* an event is reported two minutes after */

static uint64_t hash_of_answers;
static simd_path path;

static void note(uint64_t value)
{
    hash_of_answers = (hash_of_answers ^ value) * UINT64_C(0x100000001b3);
}

static void stop(const char *why)
{
    fprintf(stderr, "%s\n", why);
    exit(1);
}

/* ---- inputs ---- */

static uint64_t spread_key(uint64_t number)
{
    const uint64_t spread = (number * 15485863 + 7) % UINT64_C(52728000000);
    return (spread / 1000000 + 1) << CONTAINER_NUMBER_SERIAL_BITS | spread % 1000000;
}

/* 95 of 100 are among the first UNITS. */
static uint64_t query(uint64_t *random)
{
    const uint64_t drawn = slot_random(random);
    return (drawn >> 32) % UNITS + (drawn % 100 < 95 ? 0 : UNITS);
}

static int name_of(uint64_t number, uint8_t name[UNIT_NAME_BYTES_MAX + 1])
{
    return snprintf((char *)name, UNIT_NAME_BYTES_MAX + 1, "PKG%0*u", (int)(5 + number % 22),
                    (unsigned)number);
}

/* Event i is of visit i % VISITS, an hour after that visit's event before. */
static int64_t event_ms(uint64_t number)
{
    return MORNING_MS + (int64_t)(number / VISITS % 20) * 3600000 +
           (int64_t)(number % VISITS % 60) * 60000;
}

static int event_of(uint64_t number, const char *type, char *out, size_t room)
{
    uint8_t name[CONTAINER_NUMBER_LENGTH + 1] = {0};
    const uint64_t visit = number % VISITS, hour = number / VISITS % 20;
    container_number_unpack(spread_key(visit), name);
    return snprintf(out, room,
                    "{\"eventID\":\"HPH-%09u\",\"eventType\":\"%s\",\"eventDateTime\":"
                    "\"2018-08-09T%02u:%02u:05+07:00\",\"operatorID\":\"HPH01\","
                    "\"locationCode\":\"03CES01\",\"unitType\":\"CONTAINER\",\"unit\":\"%s\","
                    "\"direction\":\"IMPORT\",\"seals\":[\"VN%06u\"],\"declarations\":"
                    "[\"1018%08u\"]}",
                    (unsigned)number, type, (unsigned)hour, (unsigned)(visit % 60),
                    (const char *)name, (unsigned)visit, (unsigned)visit);
}

/* ---- what is measured ---- */

typedef struct input {
    unit_index index;
    unit_batch batch;
    int32_t rows[QUERIES];
    record_scanner scanner;
    record_output records; /* of port events */
    uint8_t *batch_bytes;
    size_t batch_length;
    engine engine_;
    log_line_reader reader;
    uint8_t *log;
    size_t log_length;
    record_view views[VIEWS_MAX];
    uint64_t view_count;
    uint64_t items;
} input;

typedef void (*loop)(input *given);

static void probe(input *given)
{
    unit_batch_probe(&given->index, path, &given->batch, QUERIES, given->rows);
    given->items = QUERIES;
}

static void insert(input *given)
{
    given->items = (uint64_t)unit_batch_insert(&given->index, path, &given->batch, QUERIES, 0,
                                               given->rows);
}

static void scan(input *given)
{
    for (uint64_t i = 0; i < given->records.records_size; i++) {
        const output_record *record = &given->records.records[i];
        port_event event;
        scan_verdict verdict;
        if (scan_port_event(&given->scanner, given->records.bytes + record->value_offset,
                            record->value_length, &event, &verdict) != 1) {
            stop(verdict.detail);
        }
        note((uint64_t)event.event_time_us ^ event.unit.length);
    }
    given->items = given->records.records_size;
}

static void encode(input *given)
{
    const record_source source = {.output = &given->records};
    batch_plan plan;
    size_t index = 0;
    if (!batch_plan_next(&source, given->records.records_size, 0, 1 << 30, INT32_MAX, &index,
                         &plan)) {
        stop("nothing to encode");
    }
    given->batch_length = BATCH_HEADER_LENGTH + plan.body_length;
    batch_write_body(&source, &plan, 0, given->batch_bytes + BATCH_HEADER_LENGTH);
    batch_write_header(given->batch_bytes, given->batch_length, &plan, 0);
    given->items = plan.record_count;
}

static void decode(input *given)
{
    batch_decoder decoder = {.position = given->batch_bytes,
                             .end = given->batch_bytes + given->batch_length,
                             .check_crc = 1,
                             .base_offset = -1,
                             .last_offset = -1};
    if (batch_decode(&decoder) != BATCH_END) {
        stop(decoder.error);
    }
    given->items = decoder.records_size;
    note((uint64_t)decoder.last_offset);
    free(decoder.records);
}

static void apply(input *given)
{
    log_progress progress = {0, 0};
    char error[LOG_LINE_ERROR_BYTES];
    if (log_apply(&given->engine_, &given->reader, given->log, given->log_length, 1, &progress,
                  error) != LOG_LINE_GOOD) {
        stop(error);
    }
    given->items = (uint64_t)progress.line;
    note(given->engine_.decisions.bytes_size);
    note(given->engine_.alerts.bytes_size);
}

/* The last HOT_EVENTS records, of a worker that answers and writes what changed. */
static void apply_hot(input *given)
{
    engine *engine_ = &given->engine_;
    engine_apply_all(engine_, TOPIC_PORT_EVENTS, NULL, 0, given->views, HOT_EVENTS, NOON_MS * 1000);
    given->items = HOT_EVENTS;
    note(engine_->decisions.bytes_size);
    note(engine_->alerts.bytes_size);
}

/* Declarations as a worker reads them when it starts. */
static void load(input *given)
{
    engine_apply_all(&given->engine_, TOPIC_DECLARATIONS, NULL, 0, given->views, given->view_count,
                     NOON_MS * 1000);
    given->items = given->view_count;
    note(given->engine_.customs.line_count);
}

/* States of units as a worker reads them when it takes a partition over. */
static void restore(input *given)
{
    const record_view *failed = NULL;
    const char *wrong = unit_log_restore(&given->engine_, 0, given->views, given->view_count,
                                         &failed, &given->items);
    if (wrong) {
        stop(wrong);
    }
    note(given->engine_.arena_.bytes_in_use);
}

__attribute__((noinline)) void measured(loop run, input *given)
{
    run(given);
}

/* ---- preparing ---- */

static void make_index(input *given, uint64_t capacity)
{
    if (unit_index_init_seeded(&given->index, capacity, capacity, 7) != 0) {
        stop("no memory");
    }
}

static void fill_index(input *given, int with_names)
{
    for (uint64_t i = 0; i < UNITS; i++) {
        uint8_t name[UNIT_NAME_BYTES_MAX + 1];
        int was_new, length = CONTAINER_NUMBER_LENGTH;
        if (with_names) {
            length = name_of(i, name);
        } else {
            container_number_unpack(spread_key(i), name);
        }
        const unit_key key = unit_index_key(&given->index, name, (uint32_t)length, with_names);
        (void)unit_index_insert(&given->index, key, name, (uint32_t)length, &was_new);
    }
}

static void make_queries(input *given, const char *form)
{
    uint64_t random = 42;
    uint8_t *bytes = malloc((size_t)QUERIES * UNIT_NAME_BYTES_MAX + 64);
    uint64_t *keys = malloc(QUERIES * sizeof *keys);
    int64_t *offsets = calloc(QUERIES + 1, sizeof *offsets);
    if (bytes == NULL || keys == NULL || offsets == NULL) {
        stop("no memory");
    }
    for (int64_t i = 0; i < QUERIES; i++) {
        const uint64_t wanted = query(&random);
        uint8_t name[UNIT_NAME_BYTES_MAX + 1];
        keys[i] = spread_key(wanted);
        container_number_unpack(keys[i], name);
        const int length = strcmp(form, "names") == 0 ? name_of(wanted, name)
                                                      : CONTAINER_NUMBER_LENGTH;
        memcpy(bytes + offsets[i], name, (size_t)length);
        offsets[i + 1] = offsets[i] + length;
    }
    given->batch = (unit_batch){0};
    if (strcmp(form, "numbers") == 0) {
        given->batch.numbers = bytes;
    } else if (strcmp(form, "keys") == 0) {
        given->batch.keys = keys;
    } else {
        given->batch.names = bytes;
        given->batch.offsets = offsets;
        given->batch.is_lot = 1;
    }
}

static void make_records(input *given)
{
    for (uint64_t i = 0; i < EVENTS; i++) {
        uint8_t *at = record_output_reserve(&given->records, 1024);
        output_record *record = record_output_append(&given->records);
        if (at == NULL || record == NULL) {
            stop("no memory");
        }
        const int length = event_of(i, "GATE_CHECK", (char *)at + 11, 1000);
        container_number_unpack(spread_key(i % VISITS), at);
        *record = (output_record){.key_offset = given->records.bytes_size,
                                  .key_length = CONTAINER_NUMBER_LENGTH,
                                  .value_offset = given->records.bytes_size + 11,
                                  .value_length = length,
                                  .timestamp_ms = INT64_C(1533758645000) + (int64_t)i * 7};
        given->records.bytes_size += 11 + (uint64_t)length;
    }
    given->batch_bytes = malloc(given->records.bytes_size + EVENTS * 32 + BATCH_HEADER_LENGTH);
    if (given->batch_bytes == NULL) {
        stop("no memory");
    }
}

static void make_engine(input *given, int check_partition)
{
    const int64_t minute = 60 * INT64_C(1000000);
    engine *engine_ = &given->engine_;
    engine_init(engine_, 1, check_partition);
    unit_index_free(&engine_->units.index); /* for one whose seed is known */
    if (unit_index_init_seeded(&engine_->units.index, 0, 0, 7) != 0) {
        stop("no memory");
    }
    json_document_use(&engine_->scanner.document, path);
    engine_->periods = malloc(sizeof *engine_->periods);
    if (engine_->periods == NULL) {
        stop("no memory");
    }
    *engine_->periods = (policy_period){.from_us = INT64_MIN, .to_us = INT64_MAX,
                                        .hold_mask = (1u << 18) - 1,
                                        .flag_mask = (1u << 24) - (1u << 18), .name = "counted"};
    engine_->period_count = 1;
    engine_->parameters = (rule_parameters){
        .overstay_us = 129600 * minute, .late_import_us = 15 * minute,
        .late_export_us = 30 * minute, .clock_ahead_us = 5 * minute,
        .return_us = 43200 * minute, .stale_us = 259200 * minute, .reservation_us = 1440 * minute};
}

/* Applies a record to a worker's engine. */
static void apply_at(input *given, uint8_t topic, const char *key, const char *value,
                     int64_t timestamp_ms)
{
    const record_view record = {.key = (const uint8_t *)key,
                                .key_length = (int32_t)strlen(key),
                                .value = (const uint8_t *)value,
                                .value_length = (int32_t)strlen(value),
                                .timestamp_ms = timestamp_ms};
    engine_apply_all(&given->engine_, topic, NULL, 0, &record, 1, timestamp_ms * 1000);
}

static void apply_one(input *given, uint8_t topic, const char *key, const char *value)
{
    apply_at(given, topic, key, value, NOON_MS);
}

/* One lot that trucks fetch at three places: of ten events one brings some of it, four ask, four
 * take what was asked for, two or three checks later, and one reseals or counts. Every eighth is
 * reported ten minutes late. */
static char *hot_event(uint64_t number)
{
    static const char *const types[10] = {"GET_IN", "GATE_CHECK", "GATE_CHECK", "GATE_CHECK",
                                          "GET_OUT", "GET_OUT", "GATE_CHECK", "GET_OUT",
                                          "GET_OUT", "STOCK_COUNT"};
    char *value = malloc(512);
    if (value == NULL) {
        stop("no memory");
    }
    const uint64_t second = number * 30 + (number % 8 == 7 ? 0 : 600);
    snprintf(value, 512,
             "{\"eventID\":\"HPH-%09u\",\"eventType\":\"%s\",\"eventDateTime\":"
             "\"2018-08-%02uT%02u:%02u:%02uZ\",\"operatorID\":\"HPH01\",\"locationCode\":"
             "\"03CES0%u\",\"unitType\":\"PACKAGES\",\"unit\":\"112345678901\",\"direction\":"
             "\"IMPORT\",\"pieces\":%u}",
             (unsigned)number, types[number % 10], (unsigned)(1 + second / 86400),
             (unsigned)(second / 3600 % 24), (unsigned)(second / 60 % 60), (unsigned)(second % 60),
             (unsigned)(number / 10 % 3 + 1), number % 10 ? 1u : 4u);
    return value;
}

/* A worker that knows one operator with three places. */
static void make_worker(input *given)
{
    make_engine(given, 1);
    apply_one(given, 0, "HPH01",
              "{\"operatorID\":\"HPH01\",\"name\":\"n\",\"kind\":\"SEAPORT\",\"departmentCode\":"
              "\"03\",\"departmentName\":\"d\",\"locations\":[\"03CES01\",\"03CES02\","
              "\"03CES03\"],\"status\":\"CONNECTED\",\"version\":1}");
}

/* A cleared declaration for each visit. */
static void make_declarations(input *given)
{
    make_worker(given);
    for (uint64_t visit = 0; visit < VISITS; visit++) {
        uint8_t name[CONTAINER_NUMBER_LENGTH + 1] = {0};
        char *record = malloc(512);
        if (record == NULL) {
            stop("no memory");
        }
        container_number_unpack(spread_key(visit), name);
        const int length = snprintf(
            record, 512,
            "1018%08u{\"declarationNumber\":\"1018%08u\",\"version\":1,\"direction\":"
            "\"IMPORT\",\"status\":\"CLEARED\",\"registeredDateTime\":"
            "\"2018-08-01T08:00:00Z\",\"locationCode\":\"03CES01\",\"units\":[{\"unit\":"
            "\"%s\",\"unitType\":\"CONTAINER\",\"seals\":[\"VN%06u\"]}]}",
            (unsigned)visit, (unsigned)visit, (const char *)name, (unsigned)visit);
        given->views[given->view_count++] = (record_view){.key = (const uint8_t *)record,
                                                          .key_length = 12,
                                                          .value = (const uint8_t *)record + 12,
                                                          .value_length = length - 12,
                                                          .timestamp_ms = NOON_MS};
    }
}

/* What a worker writes of VISITS containers that came in, asked and left, and one that is to read
 * it. */
static void make_states(input *given)
{
    static const char *const steps[3] = {"GET_IN", "GATE_CHECK", "GET_OUT"};
    make_worker(given);
    for (uint64_t i = 0; i < (uint64_t)VISITS * 3; i++) {
        uint8_t name[CONTAINER_NUMBER_LENGTH + 1] = {0};
        char value[1024];
        container_number_unpack(spread_key(i % VISITS), name);
        event_of(i, steps[i / VISITS], value, sizeof value);
        apply_at(given, TOPIC_PORT_EVENTS, (const char *)name, value,
                 event_ms(i) + REPORTED_MS);
    }
    unit_changes_write(&given->engine_, 0, NOON_MS, 0);
    const record_output *written = &given->engine_.unit_changes;
    for (uint64_t i = 0; i < written->records_size && i < VIEWS_MAX; i++) {
        const output_record *record = &written->records[i];
        given->views[given->view_count++] =
            (record_view){.key = written->bytes + record->key_offset,
                          .key_length = record->key_length,
                          .value = written->bytes + record->value_offset,
                          .value_length = record->value_length};
    }
    make_worker(given); /* the first is left as it is: the records lie in it */
}

/* A worker that knows all events of a hot lot but the last HOT_EVENTS. */
static void make_hot(input *given, uint64_t events)
{
    make_worker(given);
    for (int place = 1; place <= 3; place++) {
        char key[16], value[512];
        snprintf(key, sizeof key, "10180000000%d", place);
        snprintf(value, sizeof value,
                 "{\"declarationNumber\":\"%s\",\"version\":1,\"direction\":\"IMPORT\","
                 "\"status\":\"CLEARED\",\"registeredDateTime\":\"2018-07-01T08:00:00Z\","
                 "\"locationCode\":\"03CES0%d\",\"units\":[{\"unit\":\"112345678901\","
                 "\"unitType\":\"PACKAGES\",\"pieces\":100000}]}",
                 key, place);
        apply_one(given, 1, key, value);
    }
    for (uint64_t number = 0; number < events; number++) {
        char *value = hot_event(number);
        if (number + HOT_EVENTS < events) {
            apply_one(given, TOPIC_PORT_EVENTS, "112345678901", value);
            free(value);
        } else {
            given->views[number + HOT_EVENTS - events] =
                (record_view){.key = (const uint8_t *)"112345678901",
                              .key_length = 12,
                              .value = (const uint8_t *)value,
                              .value_length = (int32_t)strlen(value),
                              .timestamp_ms = NOON_MS};
        }
    }
}

/* Per visit a declaration and its clearance, a GET_IN, a GATE_CHECK and a GET_OUT. */
static void make_log(input *given)
{
    size_t room = (size_t)VISITS * 5 * 800 + 1000, at = 0;
    char *log = malloc(room);
    if (log == NULL) {
        stop("no memory");
    }
    at += (size_t)snprintf(
        log, room,
        "{\"topic\":\"operators\",\"timestamp\":1533000000000,\"key\":\"HPH01\",\"value\":"
        "{\"operatorID\":\"HPH01\",\"name\":\"n\",\"kind\":\"SEAPORT\",\"departmentCode\":\"03\","
        "\"departmentName\":\"d\",\"locations\":[\"03CES01\"],\"status\":\"CONNECTED\","
        "\"version\":1}}\n");
    const char *const steps[5] = {"REGISTERED", "GET_IN", "CLEARED", "GATE_CHECK", "GET_OUT"};
    for (int step = 0; step < 5; step++) {
        for (uint64_t visit = 0; visit < VISITS; visit++) {
            uint8_t name[CONTAINER_NUMBER_LENGTH + 1] = {0};
            container_number_unpack(spread_key(visit), name);
            at += (size_t)snprintf(
                log + at, room - at, "{\"topic\":\"%s\",\"timestamp\":%lld,\"key\":\"",
                step == 0 || step == 2 ? "declarations" : "port-events",
                (long long)(event_ms((uint64_t)step * VISITS + visit) + REPORTED_MS));
            if (step == 0 || step == 2) {
                at += (size_t)snprintf(
                    log + at, room - at,
                    "1018%08u\",\"value\":{\"declarationNumber\":\"1018%08u\",\"version\":%d,"
                    "\"direction\":\"IMPORT\",\"status\":\"%s\",\"registeredDateTime\":"
                    "\"2018-08-01T08:00:00Z\",\"locationCode\":\"03CES01\",\"units\":[{\"unit\":"
                    "\"%s\",\"unitType\":\"CONTAINER\",\"seals\":[\"VN%06u\"]}]}}\n",
                    (unsigned)visit, (unsigned)visit, step + 1, steps[step], (const char *)name,
                    (unsigned)visit);
            } else {
                at += (size_t)snprintf(log + at, room - at, "%s\",\"value\":", (const char *)name);
                at += (size_t)event_of((uint64_t)step * VISITS + visit, steps[step], log + at,
                                       room - at);
                at += (size_t)snprintf(log + at, room - at, "}\n");
            }
        }
    }
    given->log = (uint8_t *)log;
    given->log_length = at;
    log_line_reader_init(&given->reader);
    json_document_use(&given->reader.document, path);
    make_engine(given, 0);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        return 2;
    }
    const char *name = argv[1];
    path = (simd_path)atoi(argv[2]);
    if (!simd_path_available(path)) {
        return 3;
    }
    input *given = calloc(1, sizeof *given);
    loop run;
    if (given == NULL) {
        stop("no memory");
    }
    crc32c_initialise();
    record_scanner_init(&given->scanner);
    json_document_use(&given->scanner.document, path);
    if (strncmp(name, "probe-", 6) == 0) {
        make_index(given, UNITS);
        fill_index(given, strcmp(name + 6, "names") == 0);
        make_queries(given, name + 6);
        run = probe;
    } else if (strncmp(name, "insert-", 7) == 0) {
        make_index(given, 0);
        make_queries(given, name + 7);
        run = insert;
    } else if (strcmp(name, "scan-port-events") == 0) {
        make_records(given);
        run = scan;
    } else if (strcmp(name, "encode-batch") == 0) {
        make_records(given);
        run = encode;
    } else if (strcmp(name, "decode-batch") == 0) {
        make_records(given);
        encode(given);
        run = decode;
    } else if (strcmp(name, "apply-log") == 0) {
        make_log(given);
        run = apply;
    } else if (strcmp(name, "load-declarations") == 0) {
        make_declarations(given);
        run = load;
    } else if (strcmp(name, "restore-units") == 0) {
        make_states(given);
        run = restore;
    } else if (strncmp(name, "hot-lot-", 8) == 0) {
        make_hot(given, (uint64_t)atoi(name + 8));
        run = apply_hot;
    } else {
        return 2;
    }
    measured(run, given);
    for (int i = 0; i < QUERIES; i++) {
        note((uint64_t)given->rows[i]);
    }
    printf("%llu %016llx\n", (unsigned long long)given->items,
           (unsigned long long)hash_of_answers);
    return 0;
}

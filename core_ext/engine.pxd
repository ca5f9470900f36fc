# cython: language_level=3
"""The engine's structs, tables and rules as compiled modules see them.

What it is: the declarations of engine.h and of what it includes; each stands here once.
Who calls it: matcher.pyx (records), clearance_join.pyx (columns).
What it must never know: where records come from, which of the two is asking.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from core_ext.record_batch cimport record_output, record_view
from core_ext.unit_index cimport unit_index


cdef extern from "engine.h" nogil:
    enum:
        TOPIC_COUNT
        TOPIC_PORT_EVENTS
        RULE_COUNT
        REJECT_COUNT
        ALERT_COUNT
        NO_VERSION
        DIRECTION_DOMESTIC
        DIRECTION_COUNT
        UNIT_TYPE_COUNT
        EVENT_TYPE_COUNT
        PURPOSE_COUNT
        STATUS_COUNT
        REASON_COUNT
        REASON_CUSTOMS_SEAL
        DECLARATION_UNITS_MAX
        RULE_SET_NAME_MAX
        TOPIC_NAME_MAX
        MUTE_NOTHING
        MUTE_DECISIONS
        MUTE_ALL
        PARTITIONS_MAX
    const char *const rule_codes[]
    const char *const reject_names[]
    const char *const alert_names[]
    const char *const direction_names[]
    const char *const unit_type_names[]
    const char *const operator_status_words[]
    const char *const event_type_words[]
    const char *const unit_type_words[]
    const char *const direction_words[]
    const char *const purpose_words[]
    const char *const declaration_status_words[]
    const char *const hold_reason_words[]

    ctypedef struct rule_parameters:
        int64_t overstay_us
        int64_t late_import_us
        int64_t late_export_us
        int64_t clock_ahead_us
        int64_t return_us
        int64_t stale_us
        int64_t reservation_us
        int64_t weight_tolerance_thousandths

    ctypedef struct policy_period:
        int64_t from_us
        int64_t to_us
        uint32_t hold_mask
        uint32_t flag_mask
        char name[65]

    ctypedef struct interned_text:
        char *bytes
        uint32_t length

    ctypedef struct volume_cell:
        uint32_t operator_row
        int32_t day
        uint8_t direction
        uint8_t unit_type
        int64_t movements[2]
        int64_t pieces[2]
        int64_t grams[2]

    ctypedef struct volume_table:
        volume_cell *cells
        uint64_t count

    ctypedef struct stock_ledger:
        pass

    ctypedef struct published_tail:
        pass

    ctypedef struct unit_rows:
        uint64_t size

    ctypedef struct partition_state:
        uint8_t restoring
        int64_t clock_us
        uint64_t timer_count
        volume_table volumes
        stock_ledger stock
        unit_rows changed_units
        uint64_t taken
        uint64_t take_end
        published_tail published

    ctypedef struct engine_counters:
        uint64_t records[4]
        uint64_t duplicates[4]
        uint64_t rejects[8]
        uint64_t customs_rejects[8]
        uint64_t decisions[2]
        uint64_t standing[24]
        uint64_t alerts[10]
        uint64_t exit_reports[4]
        uint64_t late_reports[4]

    ctypedef struct operator_figures_row "operator_figures":
        uint64_t accepted
        uint64_t rejected
        uint64_t late

    ctypedef struct operator_figures_table:
        operator_figures_row *rows
        uint64_t capacity

    ctypedef struct slot_map:
        uint64_t count

    ctypedef struct declaration_table:
        slot_map index

    ctypedef struct text_table:
        uint64_t size
        uint32_t row_count

    ctypedef struct arena:
        uint64_t bytes_in_use

    ctypedef struct operator_row:
        int64_t version
        uint8_t status

    ctypedef struct customs_tables:
        text_table operator_names
        operator_row *operators
        text_table hold_names
        declaration_table declarations
        uint64_t line_count

    ctypedef struct unit_table:
        unit_index index
        uint64_t capacity

    ctypedef struct unit:
        pass

    ctypedef struct engine:
        arena arena_
        customs_tables customs
        unit_table units
        rule_parameters parameters
        policy_period *periods
        uint64_t period_count
        char topic_names[4][250]
        partition_state *partitions
        uint32_t partition_count
        uint8_t mute
        uint8_t explain
        record_output decisions
        record_output alerts
        record_output rejects
        record_output registry
        record_output explanations
        record_output volume_cells
        record_output stock_cells
        record_output activity_cells
        record_output unit_changes
        engine_counters counters
        operator_figures_table figures

    void engine_init(engine *engine_, uint32_t partition_count, int check_partition)
    void engine_free(engine *engine_)
    void engine_apply_all(engine *engine_, uint8_t topic, const uint8_t *topics,
                          int32_t partition, const record_view *records, uint64_t count,
                          int64_t now_us)
    void engine_forget_partition(engine *engine_, uint32_t partition)
    void engine_take_over(engine *engine_, uint32_t partition, int64_t timestamp_ms,
                          int64_t now_us)
    void volume_cells_write(engine *engine_, uint32_t partition, int64_t timestamp_ms)
    void stock_cells_write(engine *engine_, uint32_t partition, int64_t timestamp_ms)
    void activity_cells_write(engine *engine_, uint32_t partition, int64_t timestamp_ms)
    void clock_advance(engine *engine_, partition_state *partition, int64_t clock_us,
                       int64_t timestamp_ms)
    void clock_set(partition_state *partition, int64_t clock_us)
    void unit_changes_write(engine *engine_, uint32_t partition, int64_t timestamp_ms,
                            uint64_t bytes_max)
    const char *unit_log_restore(engine *engine_, uint32_t partition, const record_view *records,
                                 uint64_t count, const record_view **failed, uint64_t *units)
    uint32_t retire(engine *engine_, uint32_t partition, int64_t before_us,
                    uint32_t unchanged_takes)
    void published_tail_free(published_tail *tail)
    void crc32c_initialise()
    const interned_text *operator_name(const customs_tables *tables, uint32_t row)
    const interned_text *location_name(const customs_tables *tables, uint32_t row)
    uint64_t unit_index_memory_bytes(const unit_index *index)

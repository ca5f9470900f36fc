/* What was published of a partition and is not yet told by its state.
 *
 * What it is: the IDs of alerts and the sources of rejects in the tail of their topics, so that a
 * worker that applies the last events of a former owner again doesn't publish them twice.
 * Who calls it: restore.h fills it; alerts.h and engine.h ask before they write.
 * What it must never know: how the tail was read, who wrote it.
 *
 * An entry is taken away by whoever would have written it, and what is left is dropped once the
 * partition has passed the place where the tail ended: no more is held than the tail had.
 */
#ifndef GATEJOIN_PUBLISHED_TAIL_H
#define GATEJOIN_PUBLISHED_TAIL_H

#include "lookup_tables.h"

typedef struct {
    text_table alert_ids;
    number_table reject_offsets; /* of the records of port-events that were rejected */
} published_tail;

/* 1 if an alert of this ID was published; it is then no longer in the tail. */
static inline int published_alert_claim(published_tail *tail, const uint8_t *id, uint64_t length)
{
    if (!tail->alert_ids.size)
        return 0;
    uint32_t row = text_table_find(&tail->alert_ids, id, (uint32_t)length);
    if (row == NO_ROW)
        return 0;
    text_table_remove(&tail->alert_ids, row);
    return 1;
}

static inline int published_reject_claim(published_tail *tail, int64_t offset)
{
    if (number_table_find(&tail->reject_offsets, (uint64_t)offset) == NO_ROW)
        return 0;
    number_table_remove(&tail->reject_offsets, (uint64_t)offset);
    return 1;
}

static inline void published_tail_free(published_tail *tail)
{
    text_table_free(&tail->alert_ids);
    number_table_free(&tail->reject_offsets);
}

#endif

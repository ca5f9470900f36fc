/* Kafka's default partitioner for records with a key.
 *
 * What it is: murmur2 (Austin Appleby, public domain) with the seed that Kafka's Java client uses
 * (org.apache.kafka.common.utils.Utils.murmur2), sign bit cleared, modulo the partition count.
 * Who calls it: the matcher (MISPARTITIONED, partition of a decision), the national year.
 * What it must never know: what the key means.
 */
#ifndef GATEJOIN_KAFKA_PARTITIONER_H
#define GATEJOIN_KAFKA_PARTITIONER_H

#include <stdint.h>
#include <string.h>

static inline int32_t kafka_partition(const uint8_t *key, uint32_t length, uint32_t partitions)
{
    const uint32_t multiplier = 0x5bd1e995u;
    uint32_t hash = 0x9747b28cu ^ length;
    for (; length >= 4; key += 4, length -= 4) {
        uint32_t word;
        memcpy(&word, key, 4); /* Kafka reads little-endian, as do the machines that we build for */
        word *= multiplier;
        word ^= word >> 24;
        word *= multiplier;
        hash = hash * multiplier ^ word;
    }
    if (length == 3)
        hash ^= (uint32_t)key[2] << 16;
    if (length >= 2)
        hash ^= (uint32_t)key[1] << 8;
    if (length >= 1)
        hash = (hash ^ key[0]) * multiplier;
    hash ^= hash >> 13;
    hash *= multiplier;
    hash ^= hash >> 15;
    return (int32_t)((hash & 0x7fffffffu) % partitions);
}

#endif

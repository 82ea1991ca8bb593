/* Consumers that stay open while a fact looks at topics again and again: opening and destroying one for each look costs more
 * than the look. */
#ifndef HARNESS_READER_H
#define HARNESS_READER_H

#include <librdkafka/rdkafka.h>
#include <stdint.h>

/* A consumer of the current cluster. `isolation` is read_committed or read_uncommitted; the latter does not wait for open
 * offset commits either. Destroy it with rd_kafka_destroy. */
rd_kafka_t *reader_open(const char *group, const char *isolation);
/* End offset: for committed readers the last stable one. */
int64_t reader_end(rd_kafka_t *reader, const char *topic, int partition);
/* Reads each partition of `list` from its offset to its end, and leaves the next offset there. */
void reader_to_end(rd_kafka_t *reader, rd_kafka_topic_partition_list_t *list,
                   void (*take)(void *user, const rd_kafka_message_t *message), void *user);

#endif

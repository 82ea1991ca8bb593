/* Reading a stretch of a partition on a handle of its own, for what is read once: the ledger's tail, and everything
 * that `weir ledger verify` looks at. Blocks in slices; not for task or job threads. */
#ifndef KAFKA_SCAN_H
#define KAFKA_SCAN_H

#include "topics.h"

/* A consumer without a group. */
enum weir_code scan_open(const struct weir_connector_context *context, const char *brokers, const char *purpose,
                         bool committed, struct kafka_client **client, struct weir_error *error);

/* First offset, and the end: the last stable offset for a client that reads committed records, else the high watermark.
 * */
enum weir_code scan_bounds(struct kafka_client *client, const char *topic, int32_t partition,
                           const struct topics_patience *patience, int64_t *low, int64_t *high,
                           struct weir_error *error);

typedef enum weir_code scan_fn(void *user, const rd_kafka_message_t *message, struct weir_error *error);

struct scan_stretch {
    struct kafka_client *client;
    const char *topic;
    int32_t partition;
    int64_t begin;
    int64_t end; /* first offset that is not wanted any more */
    scan_fn *each;
    void *user;
};
/* Calls `each` for every record of the stretch that the client may see; stops when it answers other than WEIR_OK, and
 * answers that. */
enum weir_code scan_records(const struct scan_stretch *stretch, const struct topics_patience *patience,
                            struct weir_error *error);

#endif

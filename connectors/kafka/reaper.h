/* Closes clients on threads of their own: rd_kafka_destroy waits for all threads of a handle, sometimes for a second,
 * and neither a task thread nor a roll-back can wait that long. */
#ifndef KAFKA_REAPER_H
#define KAFKA_REAPER_H

#include "client.h"

struct kafka_reaper;

/* NULL when there is no memory. */
struct kafka_reaper *kafka_reaper_create(void);
/* Takes `client` over and mutes it: its callbacks may still run, so nothing but the client itself may be reached
 * through its `user` any more. Any thread. Closes in place where no thread can be had. */
void kafka_reaper_take(struct kafka_reaper *reaper, struct kafka_client *client);
/* Waits until all clients are closed, `timeout_ms` at most; what is left goes on by itself, and frees the reaper. NULL
 * is fine. */
void kafka_reaper_destroy(struct kafka_reaper *reaper, int64_t timeout_ms);

#endif

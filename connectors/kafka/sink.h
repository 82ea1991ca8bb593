/* The Kafka sink.
 *
 *   sink.c         options, life cycle, topics and their limits      environment thread, may block
 *   sink_writer.c  one writer for each subtask                       task thread
 *   sink_queue.c   what a writer holds back, as bytes                task thread
 *   partitioner.c  which partition
 *
 * A writer between two epochs (R2): records that follow barrier n are held back until n is flushed, or records of one
 * key could swap places on their way through two handles.
 *
 *              prepare(n): counts and digests of n go out              proceed(n+1): n is flushed, n+1 is open
 *   SENDING n ──────────────────────────────────────────> HOLDING n+1 ────────────────────────────────────> SENDING n+1
 *   (handle of n)                                         (no handle: queue)        the queue goes out first
 *
 * Counts and digests are taken when a record comes in: whatever is held back goes out before the next barrier can come.
 * */
#ifndef KAFKA_SINK_H
#define KAFKA_SINK_H

#include "decider.h"

struct sink {
    struct weir_kafka_sink_options options;
    struct weir_connector_context context;
    struct decider *decider;
    struct output *topic;        /* NULL = `topic_of` chooses */
    struct output *dead_letters; /* NULL = none */
    int64_t record_bytes_max;    /* of the client */
    int64_t held_bytes_max;      /* of one writer */
};

/* Looks a topic up, creating it where that is allowed. Blocks when it is not known yet. */
enum weir_code sink_resolve(struct sink *sink, const char *topic, struct output **output, struct weir_error *error);

/* Bytes that a record takes in a request, at most. */
int64_t sink_record_bytes(const struct weir_record *record);
/* What the topic and the client take; the smaller one. */
int64_t sink_record_bytes_max(const struct sink *sink, const struct output *output);

/* The writer's part of struct weir_sink_type. */
enum weir_code sink_writer_open(void *sink, uint32_t subtask_index, uint64_t epoch, struct weir_waker waker,
                                void **writer, struct weir_error *error);
bool sink_writer_room(void *writer);
enum weir_code sink_writer_write(void *writer, const struct weir_record *record, struct weir_error *error);
enum weir_code sink_writer_prepare(void *writer, uint64_t epoch, struct weir_output_totals *totals,
                                   struct weir_error *error);
enum weir_code sink_writer_proceed(void *writer, uint64_t epoch, struct weir_error *error);
enum weir_code sink_writer_tick(void *writer, struct weir_error *error);
uint64_t sink_writer_bytes_unflushed(void *writer);
void sink_writer_close(void *writer);

extern const struct weir_sink_type sink_type;

#endif

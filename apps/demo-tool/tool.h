/* demo-tool: what apps/demo needs of a Kafka cluster, without a JVM for each question.
 *
 * Answers go to stdout, one fact a line; a failure is a sentence on stderr and exit code 1. Everything runs on the main
 * thread. The only state is the librdkafka handle, which each command opens and closes. */
#ifndef DEMO_TOOL_H
#define DEMO_TOOL_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

enum { PATIENCE_MS = 30000, PARTITIONS_MAX = 256 };

struct tool {
    const char *brokers;
    const char *kafka_config; /* file with client properties, or NULL */
    const char *topic;
    int argc; /* what stands behind the topic */
    char **argv;
    uint64_t lines_failed;
};

/* A handle of `type` with further properties: name, value, ..., NULL. NULL after a sentence. */
rd_kafka_t *tool_open(struct tool *tool, rd_kafka_type_t type, const char *const *properties);
/* The delivery report of every producer. */
void tool_delivered(rd_kafka_t *handle, const rd_kafka_message_t *message, void *opaque);
void tool_close(rd_kafka_t *handle);
/* Prints the sentence and returns 1, the exit code. */
int tool_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
double tool_clock_s(void); /* monotonic */

/* create TOPIC:PARTITIONS...; delete TOPIC... [group=NAME] (missing ones are no failure). */
int command_create(struct tool *tool);
int command_delete(struct tool *tool);
/* load TOPIC LINES_PER_SECOND: stdin's lines become values. */
int command_load(struct tool *tool);
/* records TOPIC: "VALUE KEY" of every committed record up to now, in the order of each partition. */
int command_records(struct tool *tool);
/* open TOPIC: records beyond the last stable offset: "COUNT PARTITION:FIRST-LAST ...". */
int command_open(struct tool *tool);
/* visible TOPIC PARTITION:FIRST-LAST...: how many records of these ranges a reader of committed data gets. */
int command_visible(struct tool *tool);
/* watch TOPIC: prints "ready", then the wall clock in milliseconds when the first record that is committed from now on
 * reaches a reader. */
int command_watch(struct tool *tool);

#endif

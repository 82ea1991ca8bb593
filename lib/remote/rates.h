/* Numbers per second, and shares of time, of each subtask: the difference of two readings a second apart. Owner: whoever
 * holds the mutex of the remote interface. */
#ifndef REMOTE_RATES_H
#define REMOTE_RATES_H

#include "weir/observe.h"

enum { RATES_PERIOD_US = 1000000 };

struct rates_of_subtask {
    double records_in, records_out, bytes_in, bytes_out; /* per second */
    double busy, idle, backpressured;                    /* shares of the time, 0 to 1 */
};

struct rates_row {
    struct weir_subtask last;
    struct rates_of_subtask now;
};

struct rates {
    struct rates_row *rows; /* vertex by vertex */
    uint32_t *first;        /* row of each vertex, and behind the last one the number of rows */
    uint32_t vertex_count;
    int64_t at_us; /* of `last` */
};

/* For another job; NULL = for none. Without memory there are no rates. */
void rates_reset(struct rates *rates, const weir_job *job, int64_t now_us);
void rates_measure(struct rates *rates, const weir_job *job, int64_t now_us);
/* All zero when there are none. */
struct rates_of_subtask rates_find(const struct rates *rates, uint32_t vertex, uint32_t subtask);

/* Flink's words for a share of back-pressured time: "ok" up to 0.10, "low" up to 0.5, "high". */
const char *rates_level(double backpressured);

#endif

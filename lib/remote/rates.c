#include "remote/rates.h"

#include <stdlib.h>

static uint32_t count_subtasks(const weir_job *job)
{
    struct weir_vertex vertex;
    uint32_t count = 0;
    for (uint32_t v = 0; weir_job_vertex(job, v, &vertex); v++) count += vertex.parallelism;
    return count;
}

void rates_reset(struct rates *rates, const weir_job *job, int64_t now_us)
{
    struct weir_vertex vertex;
    free(rates->rows);
    *rates = (struct rates){ .at_us = now_us };
    if (job == NULL) return;
    rates->rows = calloc(count_subtasks(job) + 1, sizeof *rates->rows);
    for (uint32_t v = 0; rates->rows != NULL && weir_job_vertex(job, v, &vertex); v++)
        for (uint32_t i = 0; i < vertex.parallelism; i++) {
            struct rates_row *row = &rates->rows[rates->count++];
            *row = (struct rates_row){ .vertex = v, .subtask = i };
            (void)weir_job_subtask(job, v, i, &row->last);
        }
}

void rates_measure(struct rates *rates, const weir_job *job, int64_t now_us)
{
    const double past_us = (double)(now_us - rates->at_us);
    if (past_us <= 0) return;
    for (uint32_t i = 0; i < rates->count; i++) {
        struct rates_row *row = &rates->rows[i];
        struct weir_subtask now;
        if (!weir_job_subtask(job, row->vertex, row->subtask, &now)) continue;
#define RATE(field) ((double)(now.field - row->last.field) / past_us)
        row->now = (struct rates_of_subtask){
            .records_in = RATE(records_in) * 1e6, .records_out = RATE(records_out) * 1e6,
            .bytes_in = RATE(bytes_in) * 1e6, .bytes_out = RATE(bytes_out) * 1e6,
            .busy = RATE(busy_us), .idle = RATE(idle_us), .backpressured = RATE(backpressured_us),
        };
#undef RATE
        row->last = now;
    }
    rates->at_us = now_us;
}

struct rates_of_subtask rates_find(const struct rates *rates, uint32_t vertex, uint32_t subtask)
{
    for (uint32_t i = 0; i < rates->count; i++)
        if (rates->rows[i].vertex == vertex && rates->rows[i].subtask == subtask) return rates->rows[i].now;
    return (struct rates_of_subtask){ 0 };
}

const char *rates_level(double backpressured)
{
    return backpressured <= 0.10 ? "ok" : backpressured <= 0.5 ? "low" : "high";
}

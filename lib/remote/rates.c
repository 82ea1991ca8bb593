#include "remote/rates.h"

#include <stdlib.h>

static void clear(struct rates *rates)
{
    free(rates->rows);
    free(rates->first);
    rates->rows = NULL;
    rates->first = NULL;
    rates->vertex_count = 0;
}

static bool make_rows(struct rates *rates, const weir_job *job)
{
    struct weir_vertex vertex;
    uint32_t count = 0, subtasks = 0;
    while (weir_job_vertex(job, count, &vertex)) count++;
    rates->first = calloc(count + 1, sizeof *rates->first);
    for (uint32_t v = 0; rates->first != NULL && weir_job_vertex(job, v, &vertex); v++)
        rates->first[v + 1] = subtasks += vertex.parallelism;
    rates->rows = calloc(subtasks + 1, sizeof *rates->rows);
    rates->vertex_count = count;
    return rates->first != NULL && rates->rows != NULL;
}

void rates_reset(struct rates *rates, const weir_job *job, int64_t now_us)
{
    clear(rates);
    rates->at_us = now_us;
    if (job == NULL) return;
    if (!make_rows(rates, job)) clear(rates);
    for (uint32_t v = 0; v < rates->vertex_count; v++)
        for (uint32_t row = rates->first[v]; row < rates->first[v + 1]; row++)
            (void)weir_job_subtask(job, v, row - rates->first[v], &rates->rows[row].last);
}

static void measure(struct rates_row *row, const struct weir_subtask *now, double past_us)
{
#define RATE(field) ((double)(now->field - row->last.field) / past_us)
    row->now = (struct rates_of_subtask){
        .records_in = RATE(records_in) * 1e6, .records_out = RATE(records_out) * 1e6,
        .bytes_in = RATE(bytes_in) * 1e6, .bytes_out = RATE(bytes_out) * 1e6,
        .busy = RATE(busy_us), .idle = RATE(idle_us), .backpressured = RATE(backpressured_us),
    };
#undef RATE
    row->last = *now;
}

void rates_measure(struct rates *rates, const weir_job *job, int64_t now_us)
{
    struct weir_subtask now;
    const double past_us = (double)(now_us - rates->at_us);
    if (past_us <= 0) return;
    for (uint32_t v = 0; v < rates->vertex_count; v++)
        for (uint32_t row = rates->first[v]; row < rates->first[v + 1]; row++)
            if (weir_job_subtask(job, v, row - rates->first[v], &now)) measure(&rates->rows[row], &now, past_us);
    rates->at_us = now_us;
}

struct rates_of_subtask rates_find(const struct rates *rates, uint32_t vertex, uint32_t subtask)
{
    if (vertex >= rates->vertex_count || subtask >= rates->first[vertex + 1] - rates->first[vertex])
        return (struct rates_of_subtask){ 0 };
    return rates->rows[rates->first[vertex] + subtask].now;
}

const char *rates_level(double backpressured)
{
    return backpressured <= 0.10 ? "ok" : backpressured <= 0.5 ? "low" : "high";
}

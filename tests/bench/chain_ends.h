/* The two ends of a chain that is measured without a broker: a source that the bench stands in for, and a sink that
 * counts what it is handed. */
#ifndef BENCH_CHAIN_ENDS_H
#define BENCH_CHAIN_ENDS_H

#include "weir/connector.h"

static uint64_t chain_ends_written;

static enum weir_code chain_ends_open(void *sink, uint32_t subtask_index, uint64_t epoch, struct weir_waker waker,
                                      void **writer, struct weir_error *error)
{
    (void)sink, (void)subtask_index, (void)epoch, (void)waker, (void)error;
    *writer = &chain_ends_written;
    return WEIR_OK;
}
static bool chain_ends_room(void *writer)
{
    (void)writer;
    return true;
}
static enum weir_code chain_ends_write(void *writer, const struct weir_record *record, struct weir_error *error)
{
    (void)record, (void)error;
    ++*(uint64_t *)writer;
    return WEIR_OK;
}
static enum weir_code chain_ends_prepare(void *writer, uint64_t epoch, struct weir_output_totals *totals,
                                         struct weir_error *error)
{
    (void)writer, (void)epoch, (void)totals, (void)error;
    return WEIR_OK;
}
static void chain_ends_close(void *writer) { (void)writer; }

static const struct weir_source_type chain_ends_source = { .size = sizeof chain_ends_source, .kind = "bench" };
static const struct weir_sink_type chain_ends_sink = {
    .size = sizeof chain_ends_sink, .kind = "bench", .writer_open = chain_ends_open, .writer_room = chain_ends_room,
    .writer_write = chain_ends_write, .writer_prepare = chain_ends_prepare, .writer_close = chain_ends_close,
};

#endif

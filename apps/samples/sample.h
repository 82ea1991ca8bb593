/* What the samples share: numbered records, so many of them as --records says. */
#ifndef SAMPLES_SAMPLE_H
#define SAMPLES_SAMPLE_H

#include <inttypes.h>
#include <stdio.h>

#include "weir/generator.h"
#include "weir/main.h"
#include "weir/print.h"

static const struct weir_option sample_options[] = {
    { .name = "records", .default_value = "1000", .help = "how many records there are" },
    { 0 },
};

static inline struct weir_stream sample_source(weir_graph *graph, const weir_config *config, weir_generator_fn *make)
{
    int64_t count = 0;
    (void)weir_bytes_to_i64(weir_text(weir_config_text(config, "records")), &count);
    return weir_generator(graph, .name = "numbers", .count = (uint64_t)count, .splits = 4, .make = make);
}

/* "NAME-NUMBER" at the beginning of the scratch memory. */
static inline struct weir_bytes sample_name(char *scratch, const char *name, uint64_t number)
{
    return (struct weir_bytes){ scratch, (size_t)snprintf(scratch, 64, "%s-%" PRIu64, name, number) };
}

/* Decimal text behind it. */
static inline struct weir_bytes sample_number(char *scratch, uint64_t number)
{
    return (struct weir_bytes){ scratch + 64, (size_t)snprintf(scratch + 64, 64, "%" PRIu64, number) };
}

#endif

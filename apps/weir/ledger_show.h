/* Records of a ledger as JSON, and as a picture. */
#ifndef WEIR_LEDGER_SHOW_H
#define WEIR_LEDGER_SHOW_H

#include <stdbool.h>

#include "weir/kafka.h"

/* One object of an array; `user` is a bool, whether it is the first. */
void ledger_print_entry(void *user, int32_t slot, int64_t offset, const struct weir_ledger_entry *entry);

/* Commits in the order of the ledger, when they were made, and how many records each wrote. */
struct ledger_chart {
    struct ledger_moment {
        int64_t wall_ms;
        uint64_t records;
    } *moments;
    size_t count, capacity;
    uint64_t records; /* written in all, up to the last commit */
};

void ledger_chart_add(void *user, int32_t slot, int64_t offset, const struct weir_ledger_entry *entry);
/* Twenty stretches of time, a line each, with bars for commits and records; frees what it holds. */
void ledger_chart_print(struct ledger_chart *chart);

#endif

#include "ledger_show.h"

#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "values.h"

enum { STRETCHES = 20, BAR_WIDTH = 30 };

/* ---- JSON --------------------------------------------------------------------------------------------------------- */

static void print_ranges(const struct weir_ledger_entry *entry)
{
    (void)fputs(", \"inputs\": [", stdout);
    for (size_t i = 0; i < entry->range_count; i++) {
        (void)fputs(i == 0 ? "{\"source\": " : ", {\"source\": ", stdout);
        print_json_text(stdout, entry->ranges[i].source);
        (void)fputs(", \"split\": ", stdout);
        print_json_text(stdout, entry->ranges[i].split);
        (void)printf(", \"begin\": %" PRId64 ", \"end\": %" PRId64 "}", entry->ranges[i].begin, entry->ranges[i].end);
    }
    (void)fputs("], \"outputs\": [", stdout);
    for (size_t i = 0; i < entry->total_count; i++) {
        (void)fputs(i == 0 ? "{\"output\": " : ", {\"output\": ", stdout);
        print_json_text(stdout, entry->totals[i].name);
        (void)printf(", \"records\": %" PRIu64 ", \"digest\": \"%016" PRIx64 "%016" PRIx64 "\"}", entry->totals[i].count,
                     entry->totals[i].digest.high, entry->totals[i].digest.low);
    }
    (void)fputs("], \"anchors\": [", stdout);
    for (size_t i = 0; i < entry->anchor_count; i++) {
        (void)fputs(i == 0 ? "{\"output\": " : ", {\"output\": ", stdout);
        print_json_text(stdout, entry->anchors[i].output);
        (void)printf(", \"end\": %" PRId64 ", \"epoch\": %" PRIu64 "}", entry->anchors[i].end, entry->anchor_epoch);
    }
    (void)fputs("]", stdout);
}

void ledger_print_entry(void *user, int32_t slot, int64_t offset, const struct weir_ledger_entry *entry)
{
    static const char *const kinds[] = { "commit", "start", "dropped" };
    bool *is_first = user;
    char time[TIME_TEXT_MAX];
    format_time(time, entry->wall_ms);
    (void)printf("%s{\"kind\": \"%s\", \"slot\": %d, \"offset\": %" PRId64 ", \"time\": \"%s\", \"incarnation\": %" PRIu64
                 ", \"epoch\": %" PRIu64 ", \"exactly_once\": %s, \"build\": ",
                 *is_first ? "" : ",\n ", kinds[entry->kind], (int)slot, offset, time, entry->incarnation, entry->epoch,
                 entry->exactly_once ? "true" : "false");
    print_json_text(stdout, entry->build);
    (void)printf(", \"frame\": {\"incarnation\": %" PRIu64 ", \"epoch\": %" PRIu64 ", \"file\": ", entry->frame.incarnation,
                 entry->frame.epoch);
    print_json_text(stdout, entry->frame.file);
    (void)printf(", \"offset\": %" PRIu64 ", \"bytes\": %" PRIu64 "}", entry->frame.offset, entry->frame.length);
    if (entry->kind == WEIR_LEDGER_COMMIT) print_ranges(entry);
    (void)fputs("}", stdout);
    *is_first = false;
}

/* ---- The picture -------------------------------------------------------------------------------------------------- */

static uint64_t records_of(const struct weir_ledger_entry *entry)
{
    uint64_t records = 0;
    for (size_t i = 0; i < entry->total_count; i++) records += entry->totals[i].count;
    return records;
}

void ledger_chart_add(void *user, int32_t slot, int64_t offset, const struct weir_ledger_entry *entry)
{
    struct ledger_chart *chart = user;
    (void)slot, (void)offset;
    if (entry->kind != WEIR_LEDGER_COMMIT) return;
    if (chart->count == chart->capacity) {
        const size_t capacity = chart->capacity == 0 ? 256 : 2 * chart->capacity;
        struct ledger_moment *moments = realloc(chart->moments, capacity * sizeof *moments);
        if (moments == NULL) return; /* the picture has a gap then */
        chart->moments = moments;
        chart->capacity = capacity;
    }
    /* Totals are cumulative; a founding begins anew. */
    const uint64_t records = records_of(entry);
    const uint64_t more = records >= chart->records && chart->count > 0 ? records - chart->records : 0;
    chart->moments[chart->count++] = (struct ledger_moment){ entry->wall_ms, more };
    chart->records = records;
}

static void print_bar(uint64_t value, uint64_t highest, bool has_blocks)
{
    int width = highest == 0 ? 0 : (int)(value * BAR_WIDTH / highest);
    if (value > 0 && width == 0) width = 1;
    for (int i = 0; i < BAR_WIDTH; i++) (void)fputs(i >= width ? " " : has_blocks ? "\u2588" : "#", stdout);
}

void ledger_chart_print(struct ledger_chart *chart)
{
    uint64_t commits[STRETCHES] = { 0 }, records[STRETCHES] = { 0 }, commits_max = 0, records_max = 0;
    (void)setlocale(LC_CTYPE, "");
    const bool has_blocks = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    if (chart->count == 0) {
        (void)puts("no commit yet");
        return;
    }
    int64_t first = chart->moments[0].wall_ms, last = first;
    for (size_t i = 0; i < chart->count; i++) {
        if (chart->moments[i].wall_ms < first) first = chart->moments[i].wall_ms;
        if (chart->moments[i].wall_ms > last) last = chart->moments[i].wall_ms;
    }
    const int64_t stretch = (last - first) / STRETCHES + 1;
    for (size_t i = 0; i < chart->count; i++) {
        const int64_t at = (chart->moments[i].wall_ms - first) / stretch;
        commits[at]++;
        records[at] += chart->moments[i].records;
    }
    for (int i = 0; i < STRETCHES; i++) {
        if (commits[i] > commits_max) commits_max = commits[i];
        if (records[i] > records_max) records_max = records[i];
    }
    (void)printf("%-24s  %-*s %8s  %-*s %12s\n", "from", BAR_WIDTH, "commits", "", BAR_WIDTH, "records", "");
    for (int i = 0; i < STRETCHES; i++) {
        char time[TIME_TEXT_MAX];
        format_time(time, first + i * stretch);
        (void)printf("%-24s  ", time);
        print_bar(commits[i], commits_max, has_blocks);
        (void)printf(" %8" PRIu64 "  ", commits[i]);
        print_bar(records[i], records_max, has_blocks);
        (void)printf(" %12" PRIu64 "\n", records[i]);
    }
    free(chart->moments);
    *chart = (struct ledger_chart){ .count = 0 };
}

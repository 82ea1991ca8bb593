#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verify.h"

/* ---- Points ------------------------------------------------------------------------------------------------------ */

static bool add_point(struct output_check *check, int64_t offset, size_t commit)
{
    struct output_point *points = realloc(check->points, (check->point_count + 1) * sizeof *points);
    if (points == NULL) return false;
    check->points = points;
    points[check->point_count++] = (struct output_point){ .offset = offset, .commit = commit };
    return true;
}

static bool add_anchors_of(struct output_check *check, size_t index)
{
    const struct weir_ledger_entry *entry = &check->chain->commits[index].entry;
    const size_t commit = ledger_chain_anchored(check->chain, index);
    if (commit == SIZE_MAX) return true;
    for (size_t i = 0; i < entry->anchor_count; i++)
        if (strcmp(entry->anchors[i].output, check->name) == 0 && !add_point(check, entry->anchors[i].end, commit))
            return false;
    return true;
}

static int compare_points(const void *a, const void *b)
{
    const struct output_point *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

bool output_check_init(struct output_check *check, const struct ledger_chain *chain,
                       const struct ledger_witness *witness, const char *name, int64_t low, bool is_compacted)
{
    *check = (struct output_check){ .chain = chain, .witness = witness, .low = low, .is_compacted = is_compacted,
                                    .piece_begin = low, .verified_from = -1 };
    (void)snprintf(check->name, sizeof check->name, "%s", name);
    check->is_anchored = low == 0; /* before offset 0 there is nothing */
    for (size_t i = chain->oldest; i < chain->count; i++)
        if (!add_anchors_of(check, i)) return false;
    if (check->point_count > 0) qsort(check->points, check->point_count, sizeof *check->points, compare_points);
    while (check->next_point < check->point_count && check->points[check->next_point].offset < low) check->next_point++;
    return true;
}

void output_check_deinit(struct output_check *check)
{
    free(check->points);
    check->points = NULL;
}

/* ---- Pieces ------------------------------------------------------------------------------------------------------ */

static struct weir_digest minus(struct weir_digest a, struct weir_digest b)
{
    return (struct weir_digest){ .low = a.low - b.low, .high = a.high - b.high - (a.low < b.low) };
}

static bool is_equal(struct weir_digest a, struct weir_digest b)
{
    return a.low == b.low && a.high == b.high;
}

static void tell(struct output_check *check, int64_t end, const char *format, ...) WEIR_PRINTF(3, 4);
static void tell(struct output_check *check, int64_t end, const char *format, ...)
{
    char text[600], line[1000];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void)snprintf(line, sizeof line, "%s, offsets %" PRId64 " to %" PRId64 ": %s", check->name, check->piece_begin,
                   end, text);
    check->violations++;
    check->witness->violation(check->witness->user, line);
}

enum piece { PIECE_GOOD, PIECE_BAD, PIECE_UNKNOWN };

/* The piece up to here against what the ledger says stands between its two ends. */
static enum piece judge(struct output_check *check, int64_t end, size_t commit, bool exactly_once,
                        const struct weir_output_total *total)
{
    if (!check->is_anchored) return PIECE_UNKNOWN;
    const uint64_t expected = total->count - check->reference.count;
    const uint64_t found = check->count - check->count_there;
    const bool digests_equal = is_equal(minus(total->digest, check->reference.digest),
                                        minus(check->digest, check->digest_there));
    if (found == expected && digests_equal) return PIECE_GOOD;
    if (found < expected && check->is_compacted) return PIECE_UNKNOWN;
    if (found >= expected && !exactly_once) return PIECE_GOOD;
    const struct weir_ledger_entry *entry = &check->chain->commits[commit].entry;
    if (found > expected)
        tell(check, end, "%" PRIu64 " records that no commit up to %" PRIu64 ".%" PRIu64 " accounts for (%" PRIu64
             " instead of %" PRIu64 ")",
             found - expected, entry->incarnation, entry->epoch, found, expected);
    else if (found < expected)
        tell(check, end, "%" PRIu64 " records of the commits up to %" PRIu64 ".%" PRIu64 " are missing (%" PRIu64
             " instead of %" PRIu64 ")",
             expected - found, entry->incarnation, entry->epoch, found, expected);
    else
        tell(check, end, "the number of records is right, their contents are not those of the commits up to %" PRIu64
             ".%" PRIu64, entry->incarnation, entry->epoch);
    return PIECE_BAD;
}

static void close_piece(struct output_check *check, int64_t end, size_t commit, const struct weir_output_total *total)
{
    const uint64_t found = check->count - check->count_there;
    const bool exactly_once = check->chain->commits[commit].entry.exactly_once;
    const enum piece piece = judge(check, end, commit, exactly_once, total);
    if (piece == PIECE_GOOD) {
        if (check->verified_from < 0) check->verified_from = check->piece_begin;
        check->verified_to = end;
        check->records_verified += found;
    } else {
        check->verified_from = -1;
        check->records_unverifiable += found;
    }
    check->is_anchored = true;
    check->reference = *total;
    check->count_there = check->count;
    check->digest_there = check->digest;
    check->piece_begin = end;
}

static void pass_points(struct output_check *check, int64_t offset)
{
    while (check->next_point < check->point_count && check->points[check->next_point].offset <= offset) {
        const struct output_point *point = &check->points[check->next_point++];
        const struct weir_output_total total = ledger_chain_total(check->chain, point->commit, check->name);
        close_piece(check, point->offset, point->commit, &total);
    }
}

void output_check_record(struct output_check *check, int64_t offset, const struct weir_record *record)
{
    pass_points(check, offset);
    check->count++;
    weir_digest_add(&check->digest, weir_digest_record(record));
}

/* ---- The end ----------------------------------------------------------------------------------------------------- */

static bool fits(const struct output_check *check, const struct weir_output_total *total)
{
    return check->count - check->count_there == total->count - check->reference.count &&
           is_equal(minus(check->digest, check->digest_there), minus(total->digest, check->reference.digest));
}

/* Newest first; SIZE_MAX when none does. */
static size_t find_fit(const struct output_check *check, size_t first)
{
    for (size_t i = check->chain->count; i-- > first;) {
        const struct weir_output_total total = ledger_chain_total(check->chain, i, check->name);
        if (fits(check, &total)) return i;
    }
    return SIZE_MAX;
}

bool output_check_fits(const struct output_check *check, size_t first)
{
    return !check->is_anchored || find_fit(check, first) != SIZE_MAX;
}

void output_check_end(struct output_check *check, int64_t end, size_t first)
{
    pass_points(check, end);
    const size_t fit = check->is_anchored ? find_fit(check, first) : SIZE_MAX;
    const size_t commit = fit != SIZE_MAX ? fit : check->chain->count - 1;
    const struct weir_output_total total = ledger_chain_total(check->chain, commit, check->name);
    close_piece(check, end, commit, &total);
}

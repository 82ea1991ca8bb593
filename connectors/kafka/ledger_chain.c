#include "ledger_chain.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Adding ------------------------------------------------------------------------------------------------------ */

static bool has_name(const struct weir_ledger_entry *entry, uint64_t incarnation, uint64_t epoch)
{
    return entry->incarnation == incarnation && entry->epoch == epoch;
}

static uint64_t number_of_key(struct weir_bytes key)
{
    struct weir_bytes rest = key, slot, number;
    int64_t value;
    const bool good = weir_bytes_token(&rest, '/', &slot) && weir_bytes_token(&rest, '/', &number) &&
                      weir_bytes_to_i64(number, &value) && value >= 0;
    return good ? (uint64_t)value : UINT64_MAX;
}

static struct ledger_commit *next_commit(struct ledger_chain *chain, const struct weir_ledger_entry *entry)
{
    if (chain->count > 0) {
        struct ledger_commit *last = &chain->commits[chain->count - 1];
        if (has_name(&last->entry, entry->incarnation, entry->epoch)) {
            weir_ledger_entry_clear(&last->entry);
            return last;
        }
    }
    /* Doubled now and then, so that long ledgers are read in linear time. */
    if ((chain->count & (chain->count - 1)) == 0) {
        const size_t capacity = chain->count == 0 ? 1 : chain->count * 2;
        struct ledger_commit *commits = realloc(chain->commits, capacity * sizeof *commits);
        if (commits == NULL) return NULL;
        chain->commits = commits;
    }
    return &chain->commits[chain->count++];
}

bool ledger_chain_add(struct ledger_chain *chain, struct weir_ledger_entry *entry, struct weir_bytes key,
                      int64_t offset)
{
    chain->records++;
    struct ledger_commit *commit = entry->kind == WEIR_LEDGER_COMMIT ? next_commit(chain, entry) : NULL;
    if (commit != NULL) {
        *commit = (struct ledger_commit){ .entry = *entry, .offset = offset, .key_number = number_of_key(key) };
        return true;
    }
    const bool was_wanted = entry->kind == WEIR_LEDGER_COMMIT;
    weir_ledger_entry_clear(entry);
    return !was_wanted;
}

void ledger_chain_deinit(struct ledger_chain *chain)
{
    for (size_t i = 0; i < chain->count; i++) weir_ledger_entry_clear(&chain->commits[i].entry);
    free(chain->commits);
    *chain = (struct ledger_chain){ 0 };
}

/* ---- The chain --------------------------------------------------------------------------------------------------- */

static void tell(const struct ledger_witness *witness, const char *format, ...) WEIR_PRINTF(2, 3);
static void tell(const struct ledger_witness *witness, const char *format, ...)
{
    char text[1000];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    witness->violation(witness->user, text);
}

static uint64_t greatest_common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* N divides epoch minus key number of every commit. 0 = no key was ever used again, as far as can be seen. */
static uint64_t ring_size_of(const struct ledger_chain *chain)
{
    uint64_t size = 0;
    for (size_t i = 0; i < chain->count; i++) {
        const struct ledger_commit *commit = &chain->commits[i];
        if (commit->key_number <= commit->entry.epoch)
            size = greatest_common_divisor(size, commit->entry.epoch - commit->key_number);
    }
    return size;
}

/* Only a later record with the same key lets compaction take one away that stood before `index`. */
static bool may_be_compacted(const struct ledger_chain *chain, uint64_t epoch, size_t index)
{
    const uint64_t ring_size = ring_size_of(chain);
    for (size_t i = index; ring_size > 0 && i < chain->count; i++)
        if (chain->commits[i].entry.epoch % ring_size == epoch % ring_size) return true;
    return false;
}

static bool is_founding(const struct weir_ledger_entry *entry)
{
    return entry->parent.incarnation == 0;
}

size_t ledger_chain_parent(const struct ledger_chain *chain, size_t index)
{
    const struct weir_ledger_entry *entry = &chain->commits[index].entry;
    if (is_founding(entry)) return SIZE_MAX;
    for (size_t i = index; i-- > 0;) {
        if (has_name(&chain->commits[i].entry, entry->parent.incarnation, entry->parent.epoch)) return i;
        if (is_founding(&chain->commits[i].entry)) break;
    }
    return SIZE_MAX;
}

bool ledger_chain_returns(const struct ledger_chain *chain, size_t index)
{
    const size_t parent = ledger_chain_parent(chain, index);
    return parent != SIZE_MAX && parent + 1 < index;
}

/* Where the chain breaks off in front of a commit. Going back takes a start, and a newer name. */
static void tell_break(const struct ledger_chain *chain, size_t index, const struct ledger_witness *witness)
{
    const struct weir_ledger_entry *entry = &chain->commits[index].entry;
    const struct weir_ledger_entry *before = &chain->commits[index - 1].entry;
    const bool is_there = ledger_chain_returns(chain, index);
    if (!is_there && may_be_compacted(chain, entry->parent.epoch, index)) return;
    tell(witness,
         "commit %" PRIu64 ".%" PRIu64 " at offset %" PRId64 " follows %" PRIu64 ".%" PRIu64 ", which is not %s; %" PRIu64
         ".%" PRIu64 " stands before it",
         entry->incarnation, entry->epoch, chain->commits[index].offset, entry->parent.incarnation, entry->parent.epoch,
         is_there ? "the newest" : "in the ledger", before->incarnation, before->epoch);
}

/* The first commit is where the topic begins: what came before is gone with an older topic, or never was. */
static void find_oldest(struct ledger_chain *chain, const struct ledger_witness *witness)
{
    chain->oldest = chain->count == 0 ? 0 : chain->count - 1;
    for (; chain->oldest > 0; chain->oldest--) {
        const struct weir_ledger_entry *entry = &chain->commits[chain->oldest].entry;
        const struct weir_ledger_entry *before = &chain->commits[chain->oldest - 1].entry;
        if (is_founding(entry) || has_name(before, entry->parent.incarnation, entry->parent.epoch)) continue;
        if (ledger_chain_returns(chain, chain->oldest) && entry->incarnation > before->incarnation) continue;
        tell_break(chain, chain->oldest, witness);
        return;
    }
}

/* ---- Source ranges ----------------------------------------------------------------------------------------------- */

static const struct weir_ledger_range *find_range(const struct weir_ledger_entry *entry, const char *source,
                                                  const char *split)
{
    for (size_t i = 0; i < entry->range_count; i++)
        if (strcmp(entry->ranges[i].split, split) == 0 && strcmp(entry->ranges[i].source, source) == 0)
            return &entry->ranges[i];
    return NULL;
}

/* Not every commit carries every split: the one before it may be far back, but within the same history. */
static const struct weir_ledger_range *range_before(const struct ledger_chain *chain, size_t index,
                                                    const struct weir_ledger_range *range)
{
    const struct weir_ledger_range *before = NULL;
    while (before == NULL && index > chain->oldest) {
        index = ledger_chain_parent(chain, index);
        if (index == SIZE_MAX) break;
        before = find_range(&chain->commits[index].entry, range->source, range->split);
    }
    return before;
}

static void check_range(const struct ledger_chain *chain, size_t index, const struct weir_ledger_range *range,
                        const struct ledger_witness *witness, uint64_t *joined)
{
    const struct weir_ledger_entry *entry = &chain->commits[index].entry;
    const struct weir_ledger_range *before = range_before(chain, index, range);
    if (range->end < range->begin)
        tell(witness,
             "commit %" PRIu64 ".%" PRIu64 ": '%s' of source '%s' goes backwards, from %" PRId64 " to %" PRId64,
             entry->incarnation, entry->epoch, range->split, range->source, range->begin, range->end);
    if (before == NULL) return;
    if (before->end == range->begin) {
        ++*joined;
        return;
    }
    tell(witness, "commit %" PRIu64 ".%" PRIu64 ": '%s' of source '%s' begins at %" PRId64 ", but the commit before it "
         "ended at %" PRId64 ": %" PRId64 " records were %s",
         entry->incarnation, entry->epoch, range->split, range->source, range->begin, before->end,
         range->begin > before->end ? range->begin - before->end : before->end - range->begin,
         range->begin > before->end ? "skipped" : "read twice");
}

/* ---- Totals ------------------------------------------------------------------------------------------------------ */

static const struct weir_output_total *find_total(const struct weir_ledger_entry *entry, const char *output)
{
    for (size_t i = 0; i < entry->total_count; i++)
        if (strcmp(entry->totals[i].name, output) == 0) return &entry->totals[i];
    return NULL;
}

static void check_totals(const struct ledger_chain *chain, size_t index, const struct ledger_witness *witness)
{
    const struct weir_ledger_entry *entry = &chain->commits[index].entry;
    const size_t parent = ledger_chain_parent(chain, index);
    if (parent == SIZE_MAX) return;
    const struct weir_ledger_entry *before = &chain->commits[parent].entry;
    for (size_t i = 0; i < before->total_count; i++) {
        const struct weir_output_total *total = find_total(entry, before->totals[i].name);
        const uint64_t count = total == NULL ? 0 : total->count;
        if (count >= before->totals[i].count) continue;
        tell(witness, "commit %" PRIu64 ".%" PRIu64 " counts %" PRIu64 " records in '%s', the one before it %" PRIu64,
             entry->incarnation, entry->epoch, count, before->totals[i].name, before->totals[i].count);
    }
}

void ledger_chain_check(struct ledger_chain *chain, const struct ledger_witness *witness, uint64_t *ranges_joined)
{
    find_oldest(chain, witness);
    for (size_t i = chain->oldest; i < chain->count; i++) {
        const struct weir_ledger_entry *entry = &chain->commits[i].entry;
        for (size_t r = 0; r < entry->range_count; r++)
            check_range(chain, i, &entry->ranges[r], witness, ranges_joined);
        if (i > chain->oldest) check_totals(chain, i, witness);
    }
}

static void add_total(struct weir_output_total *sum, const struct weir_ledger_entry *entry, const char *output)
{
    const struct weir_output_total *total = find_total(entry, output);
    if (total == NULL) return;
    sum->count += total->count;
    weir_digest_add(&sum->digest, total->digest);
}

static void take_total(struct weir_output_total *sum, const struct weir_ledger_entry *entry, const char *output)
{
    const struct weir_output_total *total = find_total(entry, output);
    if (total == NULL) return;
    sum->count -= total->count;
    weir_digest_add(&sum->digest, (struct weir_digest){ .low = 1 }); /* minus x is its complement plus 1 */
    weir_digest_add(&sum->digest, (struct weir_digest){ .low = ~total->digest.low, .high = ~total->digest.high });
}

struct weir_output_total ledger_chain_total(const struct ledger_chain *chain, size_t index, const char *output)
{
    struct weir_output_total sum = { .count = 0 };
    (void)snprintf(sum.name, sizeof sum.name, "%s", output);
    add_total(&sum, &chain->commits[index].entry, output);
    for (size_t i = index; i > chain->oldest; i--) {
        const size_t parent = ledger_chain_parent(chain, i);
        if (parent + 1 == i) continue;
        add_total(&sum, &chain->commits[i - 1].entry, output);
        if (parent != SIZE_MAX) take_total(&sum, &chain->commits[parent].entry, output);
    }
    return sum;
}

size_t ledger_chain_anchored(const struct ledger_chain *chain, size_t index)
{
    const struct weir_ledger_entry *entry = &chain->commits[index].entry;
    if (entry->anchor_count == 0) return SIZE_MAX;
    while (index > chain->oldest) {
        index = ledger_chain_parent(chain, index);
        if (index == SIZE_MAX || index < chain->oldest) break;
        if (chain->commits[index].entry.epoch == entry->anchor_epoch) return index;
    }
    return SIZE_MAX;
}

/* The history in a ledger, as it lies in one partition: commits that name their parents. Pure.
 *
 *   ... (compacted away) ...  [1.7] <── [1.8] <── [2.9]  (2 starts)  [3.10] <── ...      name = incarnation.epoch
 *                             oldest
 *
 * A start that was told to go back to a retained checkpoint (--checkpoint) names a parent further back:
 *
 *   [1.7] <── [1.8] <── [1.9]  (start 2)  [2.8] <── [2.9] <── ...
 *      └───────────────────────────────────┘
 *
 * What 1.8 and 1.9 have written stays in the outputs, and is expected there.
 *
 * Compaction keeps the newest record of each key, `<slot>/<epoch mod N>`, so what is missing at the old end is normal
 * when the ring has come round; a hole anywhere else is not. */
#ifndef KAFKA_LEDGER_CHAIN_H
#define KAFKA_LEDGER_CHAIN_H

#include "weir/kafka.h"

struct ledger_commit {
    struct weir_ledger_entry entry;
    int64_t offset;
    uint64_t key_number; /* epoch mod N, from the record's key; UINT64_MAX when the key is none */
};

struct ledger_chain {
    size_t count;
    struct ledger_commit *commits; /* in the order of their offsets */
    size_t oldest;                 /* first one of the unbroken chain up to the newest; set by ledger_chain_check */
    uint64_t records;              /* that were added, incarnation records too */
};

/* Takes `entry` over, also on failure. A commit that is written twice in one transaction counts once, the later one.
 * False when there is no memory. */
bool ledger_chain_add(struct ledger_chain *chain, struct weir_ledger_entry *entry, struct weir_bytes key,
                      int64_t offset);
void ledger_chain_deinit(struct ledger_chain *chain);

/* Where to tell what is wrong, one sentence for each. */
struct ledger_witness {
    void (*violation)(void *user, const char *text);
    void *user;
};

/* Finds `oldest`, and reports holes, source ranges that do not join, and totals that fall. Counts what joined. */
void ledger_chain_check(struct ledger_chain *chain, const struct ledger_witness *witness, uint64_t *ranges_joined);

/* The commit that commit `index` is behind; SIZE_MAX when it founded a history, or that one is not there any more. */
size_t ledger_chain_parent(const struct ledger_chain *chain, size_t index);
/* Commit `index` goes back to an earlier one. */
bool ledger_chain_returns(const struct ledger_chain *chain, size_t index);

/* What the commits up to `index` wrote to one output partition. Foundings (--fresh) begin anew at 0, and who goes back counts
 * on from there, so what came before them is added. */
struct weir_output_total ledger_chain_total(const struct ledger_chain *chain, size_t index, const char *output);

/* The commit that the anchors in commit `index` belong to; SIZE_MAX when it was not decided, or is not in the chain. */
size_t ledger_chain_anchored(const struct ledger_chain *chain, size_t index);

#endif

/* `weir ledger show` and `weir ledger verify` (weir/kafka.h), from topics alone.
 *
 *   ledger, read once more at the end ──> ledger_chain.c: chain, ranges, totals            pure
 *   outputs, read_committed           ──> output_check.c: counts and digests               pure
 *   verify.c                              reads topics, prints, and keeps the report
 *
 * An output partition is compared piece by piece, between points where the ledger knows its exact contents:
 *
 *      low    anchor      anchor      anchor         end
 *       |───────|───────────|───────────|─────────────|
 *      nothing  commit 7    commit 19   commit 31     newest commit (or one that came while reading)
 *
 * What compaction or retention took away makes a piece unverifiable, not wrong; the claim begins behind it. */
#ifndef KAFKA_VERIFY_H
#define KAFKA_VERIFY_H

#include "ledger_chain.h"

/* Where the contents of an output partition are known. */
struct output_point {
    int64_t offset; /* before any record from here on */
    size_t commit;  /* index in the chain */
};

struct output_check {
    const struct ledger_chain *chain;
    const struct ledger_witness *witness;
    char name[264];
    bool is_compacted;  /* records may be gone anywhere */
    int64_t low;        /* first offset; above 0, older ones are gone */
    size_t point_count;
    struct output_point *points; /* by offset */
    size_t next_point;

    /* So far. */
    uint64_t count;
    struct weir_digest digest;
    bool is_anchored;                   /* the piece being read begins where the contents are known */
    struct weir_output_total reference; /* the ledger's numbers where it begins */
    uint64_t count_there;               /* our own numbers there */
    struct weir_digest digest_there;
    int64_t piece_begin;
    int64_t verified_from; /* everything from here to `verified_to` is verified; -1 = nothing yet */
    int64_t verified_to;
    uint64_t records_verified;
    uint64_t records_unverifiable;
    uint64_t violations;
};

/* Collects the points. False when there is no memory. */
bool output_check_init(struct output_check *check, const struct ledger_chain *chain,
                       const struct ledger_witness *witness, const char *name, int64_t low, bool is_compacted);
void output_check_deinit(struct output_check *check);
/* The next record that a committed reader sees. */
void output_check_record(struct output_check *check, int64_t offset, const struct weir_record *record);
/* Whether what was read up to here is what some commit from `first` to the newest left behind. */
bool output_check_fits(const struct output_check *check, size_t first);
/* The partition was read up to `end`; the newest commit that it may hold is one from `first` on. */
void output_check_end(struct output_check *check, int64_t end, size_t first);

#endif

/* The input of a run: records that the job's author draws, written to the input topics. Most of them plainly; some in
 * transactions, which may be aborted. */
#ifndef SIM_LOAD_H
#define SIM_LOAD_H

#include "weir/weir_test.h"

/* The topics are there. `records_max` 0 = no end. */
void load_begin(const struct weir_test_job *test, uint32_t records_max);
/* Some records, or a step of a transaction. */
void load_some(void);
/* Ends what is open. False when the coordinator is away: ask again then. */
bool load_end(void);
void load_free(void);

#endif

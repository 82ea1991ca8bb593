/* The job's author, as the simulator sees one: the callbacks of a struct weir_test_job, and what weir_test.h gives to them.
 * There is one for each job; functions are about the one selected, the first to begin with (oracle_select). */
#ifndef SIM_AUTHOR_H
#define SIM_AUTHOR_H

#include "weir/weir_test.h"

enum { AUTHORS = 3 };
void author_select(uint32_t number);

/* What a job lacks, in a sentence; NULL when it can be run. */
const char *author_lacks(const struct weir_test_job *job);

void author_begin(const struct weir_test_job *job);
void author_end(void); /* frees; job->end is author_finish */

/* One for each callback. `*record` of the first is filled in; borrowed until the next call of any of these. */
void author_next(const char *topic, struct weir_record *record);
void author_take(const char *topic, int32_t partition, const struct weir_record *record);
void author_put(const char *topic, int32_t partition, const struct weir_record *record);
void author_decide(void);
void author_finish(void);

#endif

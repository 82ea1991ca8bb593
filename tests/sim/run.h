/* Runs of many seeds, each in a process of its own, and the program around them: beneath weir_test_run and
 * weir_test_main. */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include "weir/weir_test.h"

struct run_jobs {
    const struct weir_test_job *jobs; /* each seed draws one of these */
    uint32_t job_count;
    const struct weir_test_job *loose; /* or this one, which runs at least once; NULL = none, and no mishaps.h either */
    const struct weir_test_job *follower; /* reads what the others write, in some of the runs; NULL = none */
};
/* As weir_test_main. */
int run_main(int argc, char **argv, const struct run_jobs *jobs);

#endif

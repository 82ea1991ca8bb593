/* Runs of many seeds, each in a process of its own, and the program around them: beneath weir_test_run and
 * weir_test_main. */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include "weir/weir_test.h"

/* As weir_test_main; each seed draws one of the jobs, or the one that runs at least once, and mishaps.h, too. */
int run_main(int argc, char **argv, const struct weir_test_job *jobs, uint32_t job_count,
             const struct weir_test_job *loose_job);

#endif

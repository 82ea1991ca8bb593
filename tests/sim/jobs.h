/* The jobs that the simulator runs when it tests Weir itself. */
#ifndef SIM_JOBS_H
#define SIM_JOBS_H

#include "weir/weir_test.h"

extern const struct weir_test_job sim_jobs[];
extern const uint32_t sim_job_count;
/* At least once: stateless, because states count what is replayed twice, too. */
extern const struct weir_test_job sim_loose_job;
/* Reads "out0" of any of them. */
extern const struct weir_test_job sim_follower;

#endif

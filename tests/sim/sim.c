/* The simulator over jobs of our own: it tests Weir, where programs of job authors test jobs. Options: run.h. */
#include "sim/jobs.h"
#include "sim/run.h"

int main(int argc, char **argv)
{
    return run_main(argc, argv, &(struct run_jobs){ sim_jobs, sim_job_count, &sim_loose_job, &sim_follower });
}

#include "partitioner.h"

void partitioner_init(struct partitioner *partitioner, uint64_t seed)
{
    *partitioner = (struct partitioner){ .random = seed, .sticky = -1 };
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

int32_t partitioner_next_run(struct partitioner *partitioner, int32_t partition_count)
{
    const int32_t before = partitioner->sticky;
    const bool must_differ = before >= 0 && before < partition_count && partition_count > 1;
    const uint32_t choices = (uint32_t)partition_count - (must_differ ? 1 : 0);
    int32_t choice = (int32_t)(next_random(&partitioner->random) % choices);
    if (must_differ && choice >= before) choice++;
    partitioner->sticky = choice;
    partitioner->run_bytes = 0;
    return choice;
}

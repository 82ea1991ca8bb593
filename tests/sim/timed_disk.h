/* The disk as processes reach it: the model (disk_model.h) with time, in place of lib/checkpoint/disk_system.c. Files
 * belong to the life that opens them (lives.h); the world's own calls take no time. */
#ifndef SIM_TIMED_DISK_H
#define SIM_TIMED_DISK_H

#include "sim/disk_model.h"

void timed_disk_begin(uint64_t seed);
void timed_disk_end(void);
struct disk_model *timed_disk_model(void);
/* Each call takes up to so much longer. */
void timed_disk_slow(int64_t us);

#endif

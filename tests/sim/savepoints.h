/* The savepoints of a run: what a life has reported as whole stays whole, and is the commit that it says it is. */
#ifndef SIM_SAVEPOINTS_H
#define SIM_SAVEPOINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SAVEPOINTS_DIRECTORY "/savepoints"

struct known_savepoint {
    char path[256];
    uint32_t chapter; /* oracle.h */
};

/* `are_commits`: false where the job runs at least once. */
void savepoints_begin(bool are_commits);
/* A life says that this one is whole: a violation when it is not. */
void savepoints_note(const char *path);
size_t savepoints_count(void);
const struct known_savepoint *savepoints_at(size_t index);
/* Their positions mean nothing any more. */
void savepoints_forget(void);
/* Looks at all of them once more and removes them, and what was left of others: a violation when something stays. */
void savepoints_check_end(void);

#endif

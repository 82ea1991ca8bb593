/* Writes and syncs that fail, of this program and of every library that it uses, RocksDB among them: what a full disk or a
 * broken one answers.
 *
 *     failing_calls_arm(FAILING_SYNC, "/weir-job", 3, 1, EIO);  the third sync of a file whose path holds this
 *     ... a job runs ...
 *     failed = failing_calls_disarm();
 *
 * A test asks for it with a comment that says WEIR_TEST_FAILS_CALLS: tests/CMakeLists.txt then links what stands in for
 * libc's calls, and exports it, so that shared libraries find it first. Any thread may call meanwhile. */
#ifndef HARNESS_FAILING_CALLS_H
#define HARNESS_FAILING_CALLS_H

#include <stdint.h>

enum failing_call { FAILING_WRITE, FAILING_SYNC }; /* write, pwrite; fsync, fdatasync of files, not of folders */

/* The n-th call from now on fails, and `count - 1` behind it. n = 0: none, they are counted only. */
void failing_calls_arm(enum failing_call call, const char *path_part, uint64_t n, uint64_t count, int error);
/* Back to normal. Answers how many calls have failed. */
uint64_t failing_calls_disarm(void);
/* Of the kind that was armed, failed or not, since then. */
uint64_t failing_calls_seen(void);
/* Syncs of a file that an earlier sync has failed for, since the program began: the kernel calls its pages clean, so they prove
 * nothing. */
uint64_t failing_calls_synced_again(void);

#endif

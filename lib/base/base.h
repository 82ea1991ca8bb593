/* Base: what every other folder stands on. No knowledge of streams here.
 *
 *   check.h    assertions that stay on            hash.h     XXH3, murmur2, key groups
 *   arena.h    memory with one end of life        thread.h   threads, wake-ups, clocks
 *   buffer.h   bounded writing and reading        mailbox.h  mail between threads
 *   vec.h      growable arrays
 *
 * Everything here is owned by the thread that uses it, except mailbox and waker, which say so. */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include "weir/connector.h"
#include "weir/weir.h"

#include "base/arena.h"
#include "base/buffer.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/mailbox.h"
#include "base/thread.h"
#include "base/vec.h"

#endif

/* Checkpoint: how an epoch becomes durable and decided, and how a start finds out which one was.
 *
 *   align.h        barriers at the inputs of one task                                pure
 *   coordinator.h  when barriers are sent, when a checkpoint is complete             pure
 *   commit.h       the commit protocol, one attempt after another                    pure: the heart
 *   restart.h      the restart table: found, restore, or stop with a sentence        pure
 *   strategy.h     after a failure: how long to wait, or give up                     pure
 *   retention.h    which files may go                                                pure
 *   retained.h     what a restart keeps                                              blocking
 *   manifest.h     the frame: manifest and deltas as one durable write               format
 *   ledger.h       the ledger's records: pointer and history                         format
 *   store.h        logs of frames, and bases, on files                               blocking; says which thread
 *   pointer.h      the decider of jobs without Kafka                                 a thread of its own
 *   disk.h         the seam below store and pointer: system calls, or a faulty disk
 *
 *   barrier n ─> align ─> snapshot ─> coordinator: COMPLETE n ─> commit: APPEND n, FLUSH n, OFFSETS n, COMMIT n ─> NOTIFY n
 *
 * Invariant of the whole: a commit names a frame that is durable, and nothing that a retained commit names is deleted. */
#ifndef CHECKPOINT_CHECKPOINT_H
#define CHECKPOINT_CHECKPOINT_H

#include "checkpoint/align.h"
#include "checkpoint/commit.h"
#include "checkpoint/coordinator.h"
#include "checkpoint/ledger.h"
#include "checkpoint/manifest.h"
#include "checkpoint/pointer.h"
#include "checkpoint/restart.h"
#include "checkpoint/retained.h"
#include "checkpoint/retention.h"
#include "checkpoint/store.h"
#include "checkpoint/strategy.h"

#endif

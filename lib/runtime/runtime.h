/* Runtime: the shells. Everything that decides is elsewhere and pure; here are the threads that carry it out.
 *
 *   job.h      the job thread: letters in, actions of coordinator and commit protocol out
 *   task.h     one subtask as a step that never blocks, and the thread around it
 *   worker.h   blocking work for the job thread
 *   letters.h  what they tell each other
 *   metrics.h  what is counted, and how it is read
 *   config.h   the table of configuration keys
 *
 *   environment worker     job thread                tasks              decider's threads
 *        open        <──── job_open
 *                          commit START, LOOK  ──────────────────────>  look
 *        resolve     <──── commit RESOLVE      <──────────────────────  records, mirrors
 *        restore     <──── commit RESTORE, ANNOUNCE ───────────────>    announce
 *                          START_TASKS ─────────────> step, step ...
 *   log writer             SEND_BARRIER n ──────────> snapshot, ACK n
 *        append      <──── APPEND n, FLUSH n ──────────────────────>    flush
 *                          COMMIT n            <──────────────────────  READY n
 *        delete      <──── NOTIFY n ────────────────> committed         */
#ifndef RUNTIME_RUNTIME_H
#define RUNTIME_RUNTIME_H

#include "runtime/config.h"
#include "runtime/job.h"
#include "runtime/task.h"
#include "runtime/worker.h"

#endif

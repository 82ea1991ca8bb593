/* Exchange: how records and control elements get from one task to another.
 *
 *     sending task                                                      receiving task
 *     chain ─emit─> router ─┬─> channel ───────────────────────────┬──> gate ─event─> chain
 *                           ├─> channel ──> ...     ... channel ───┤     │
 *                           └─> channel ──> ...     ... channel ───┘     └─ align: which inputs to hold
 *
 *   channel.h   bounded ring of elements from one thread to another; full is the back-pressure
 *   router.h    picks the channel for each record, gathers batches, repeats control elements to everybody
 *   gate.h      merges channels: fair between inputs, barriers aligned, one watermark
 *
 * Threads. Router and the sending ends belong to the sending task, gate and the receiving ends to the receiving one. A
 * channel is the only thing they share. Nothing here blocks: a call that cannot go on says so, and the task is woken.
 *
 * Invariants
 *   1. Order: what one router sends to one gate arrives in the order in which it was sent, control elements included.
 *   2. Bounds: a channel holds at most its capacity in elements. A router holds one open batch for each channel, and
 *      what a blocked task had still to emit for the record in hand.
 *   3. A closed channel never makes anybody wait: it swallows what is pushed and has nothing to pop. */
#ifndef EXCHANGE_EXCHANGE_H
#define EXCHANGE_EXCHANGE_H

#include "exchange/channel.h"
#include "exchange/gate.h"
#include "exchange/router.h"

#endif

/* Unaligned checkpoints: barriers that overtake records, and what becomes of those records.
 *
 * Why. An aligned barrier n stands behind every record that came before it, so under back-pressure it takes as long as all
 * that is in the channels takes to be processed. A barrier that overtakes needs no record to be processed.
 *
 * What it means here. An epoch is a transaction: all that was processed before barrier n is committed with n, state, output
 * and positions together. A record that was overtaken was not processed: its effects on state and output belong to epoch
 * n+1, and the positions of n lie behind it, so no source will read it again. So frame n holds it, as a *flight*: records on
 * their way to one operator. A start that restores n hands the flights to their operators before anything else, in epoch
 * n+1, as the life before would have done. Frame n+1 has no use for them: they belong to the frame of their epoch and to no
 * other, unlike deltas. If n+1 is overtaken too, what is still under way then is written down again.
 *
 *   coordinator   OVERTAKE n: at once, or when the aligned barrier was late ──letter──> every task
 *   source        finishes the batch in hand, into its routers without a bound, and takes its snapshot
 *   other task    takes its snapshot, in the middle of a batch if need be, and does not wait for any barrier
 *                   flights:  the rest of the batch in hand, and of each input what comes before barrier n (exchange/gate.h)
 *   both          barrier n goes beside the channels (exchange/channel.h), in front of what waits in the routers
 *                   flights:  what waits there, for the receivers
 *   task ──ACK n, FLIGHT n──> job: when both have come from all tasks, frame n is encoded
 *
 * A record is in one flight, or processed in epoch n, or behind barrier n: what was in the ring when the barrier was put
 * beside it is the receiver's, what waited outside is the sender's, and both were handed over before the barrier.
 *
 * What is never overtaken
 *   - the inputs of a broadcast, as in Flink: the state of all its receivers would differ;
 *   - what goes from subtask i to subtask i without a key of its own, which no chain took in (pipeline.operator-chaining), as in
 *     Flink: at another parallelism nothing says where such records have to go so that those of one key stay in order;
 *   - whatever comes out of a task with such an input. The task waits for barrier n there, and overtakes on its other inputs. If
 *     those behind it were in epoch n+1 already, their sinks might hold back all that they have room for until n is committed,
 *     and it could not hand over what stands in front of the barrier;
 *   - the batch in hand of a source with a sink in its chain, a thousand records at most, and what is emitted on commit into
 *     a sink in the same chain: they wait for the sink, as always;
 *   - savepoints, the last epoch of a job, epochs that end at a cut, and all epochs after the end of the input was said
 *     (END must not be overtaken: what sources say last would be said twice);
 *   - the first epoch behind a restored flight. Sources read nothing before it is committed. So flights can be dealt out to
 *     any parallelism and no record of a key is overtaken by a later one, whichever subtask that one comes by.
 *
 * At a start a flight goes where its operator's records go: by key group where it is keyed, else to the subtask whose it was,
 * modulo the parallelism. A flight to an operator that is there no more stops the start, as its state would. */
#ifndef RUNTIME_FLIGHT_H
#define RUNTIME_FLIGHT_H

#include "record/wire.h"

/* Records on their way to one subtask, in order. */
struct flight {
    bool is_sent;     /* by the task that reports it; else it is the receiver */
    uint32_t place;   /* sent: the router; else: the entry of the chain (operator/chain.h) */
    uint32_t subtask; /* sent: the router's channel; else the receiver's own number */
    uint32_t count;
    struct buffer bytes; /* record/wire.h */
};

struct flights {
    VEC(struct flight) items;
};

/* Puts records behind those of the same place and subtask. False when there is no memory. */
bool flights_add(struct flights *flights, bool is_sent, uint32_t place, uint32_t subtask,
                 const struct weir_record *records, uint32_t count);
void flights_clear(struct flights *flights);

#endif

/* Merges the input channels of one task into one sequence of events. Never blocks. Owner: the receiving task.
 *
 *   channel 0 ─┐
 *   channel 1 ─┼─ round robin over inputs that are not held ─> BATCH, WATERMARK, ALIGNED, ENDED
 *   channel 2 ─┘             align: barriers
 *
 * Invariants
 *   1. The elements of one input keep their order.
 *   2. Every input that is not held is served once before any is served twice.
 *   3. Watermarks rise; only WATERMARK_IDLE stands apart: it says that no input holds anybody back just now.
 *   4. ENDED comes once, behind the last batch of every input. ALIGNED may still follow, because barriers flow behind
 *      the end; batches and watermarks may not. */
#ifndef EXCHANGE_GATE_H
#define EXCHANGE_GATE_H

#include <stdint.h>

#include "checkpoint/align.h"
#include "exchange/channel.h"

struct gate_input {
    struct channel *channel; /* borrowed */
    uint32_t tag;            /* comes back with its batches: which input of the operator this channel belongs to */
    bool keeps_order;        /* no barrier overtakes what lies in this channel */
};

struct gate;

/* `inputs` is copied. `epoch_done`: the last epoch whose barrier is not to come any more. NULL when there is no memory.
 * */
struct gate *gate_create(const struct gate_input *inputs, uint32_t input_count, enum align_mode mode,
                         uint64_t epoch_done);
void gate_destroy(struct gate *gate);

enum gate_event_type {
    GATE_NOTHING,   /* every input that is not held is empty; the task's waker is woken when that changes */
    GATE_BATCH,     /* `batch`: the caller's, until gate_give_back */
    GATE_WATERMARK, /* `watermark_ms`: minimum over the inputs that are neither idle nor ended */
    GATE_ALIGNED,   /* snapshot `epoch` now: everything of it was handed out, or will be logged, and (exactly-once) nothing
                       behind it */
    GATE_ENDED,     /* no input will bring another record */
};

struct gate_event {
    enum gate_event_type type;
    uint32_t input; /* index of the channel that brought it */
    uint32_t tag;
    union {
        struct weir_batch *batch;
        int64_t watermark_ms;
        uint64_t epoch;
    };
};

/* The next event; returns its type. Skips what makes no event. */
enum gate_event_type gate_next(struct gate *gate, struct gate_event *event);
/* Takes back the batch of an event from `input`, when it has been processed. */
void gate_give_back(struct gate *gate, uint32_t input, struct weir_batch *batch);
/* Epoch `epoch` will not be: inputs held for it flow again. */
void gate_abort(struct gate *gate, uint64_t epoch);

enum gate_overtaking {
    GATE_OVERTAKES,    /* snapshot `epoch` now, then log */
    GATE_WAITS,        /* for inputs that keep their order: GATE_ALIGNED will say so */
    GATE_HAS_OVERTAKEN /* its snapshot was taken before: there is nothing to log */
};
/* Barrier `epoch` need not wait for its inputs any more. */
enum gate_overtaking gate_overtake(struct gate *gate, uint64_t epoch);
/* Is something of the inputs part of the checkpoint that was snapshotted last? */
bool gate_is_logging(const struct gate *gate);
/* Calls `log` for each batch that the barrier has overtaken and that is there now, one input after another, each batch once,
 * whether it is handed out later or was going to be next. False when `log` is false: it has no memory. While there is
 * something to log, only what was logged is handed out of these inputs, so call it before gate_next. */
bool gate_log(struct gate *gate, bool (*log)(void *user, uint32_t tag, const struct weir_batch *batch), void *user);

/* Barriers that changed nothing: late, duplicate or unknown ones. For counters and tests. */
uint64_t gate_barriers_ignored(const struct gate *gate);

#endif

#include "exchange/gate.h"

#include <stdlib.h>

struct input {
    struct channel *channel;
    uint32_t tag;
    bool ended;
    uint32_t logged;      /* elements of the channel, from the next one on, that were looked at ahead */
    uint64_t logged_epoch; /* the newest barrier that was met there; popping it means nothing */
    int64_t watermark_ms; /* INT64_MIN before the first; WATERMARK_IDLE while idle or ended */
};

struct gate {
    struct align align;
    uint64_t barriers_ignored;
    int64_t watermark_ms;     /* handed out last, but for WATERMARK_IDLE */
    bool idle;                /* WATERMARK_IDLE was handed out last */
    uint32_t ended_count;
    uint32_t next;            /* input to look at first */
    uint32_t input_count;
    struct input inputs[];
};

struct gate *gate_create(const struct gate_input *inputs, uint32_t input_count, enum align_mode mode,
                         uint64_t epoch_done)
{
    CHECK(input_count > 0);
    struct gate *gate = calloc(1, sizeof *gate + input_count * sizeof gate->inputs[0]);
    if (gate == NULL) return NULL;
    if (!align_init(&gate->align, mode, input_count, epoch_done)) {
        free(gate);
        return NULL;
    }
    gate->watermark_ms = INT64_MIN;
    gate->input_count = input_count;
    for (uint32_t i = 0; i < input_count; i++) {
        gate->inputs[i] =
            (struct input){ .channel = inputs[i].channel, .tag = inputs[i].tag, .watermark_ms = INT64_MIN };
        if (inputs[i].keeps_order) align_keep_order(&gate->align, i);
    }
    return gate;
}

void gate_destroy(struct gate *gate)
{
    if (gate == NULL) return;
    align_deinit(&gate->align);
    free(gate);
}

static int64_t watermark_min(const struct gate *gate)
{
    int64_t min = WATERMARK_IDLE;
    for (uint32_t i = 0; i < gate->input_count; i++)
        if (gate->inputs[i].watermark_ms < min) min = gate->inputs[i].watermark_ms;
    return min;
}

/* Makes a watermark event when what the inputs say together has changed. An input that comes back from idleness behind
 * the others does not turn the clock back: its records are late. */
static bool advance_watermark(struct gate *gate, struct gate_event *event)
{
    const int64_t min = watermark_min(gate);
    const bool idle = min == WATERMARK_IDLE;
    if (idle ? gate->idle : min <= gate->watermark_ms && !gate->idle) return false;
    gate->idle = idle;
    if (!idle && min > gate->watermark_ms) gate->watermark_ms = min;
    event->type = GATE_WATERMARK;
    event->watermark_ms = idle ? WATERMARK_IDLE : gate->watermark_ms;
    return true;
}

static bool take_watermark(struct gate *gate, struct input *input, int64_t watermark_ms, struct gate_event *event)
{
    CHECK(!input->ended);
    input->watermark_ms = watermark_ms;
    return advance_watermark(gate, event);
}

/* All that lies in front of the barrier, whether it was logged for an earlier one or not. */
static void begin_logging(struct gate *gate)
{
    for (uint32_t i = 0; i < gate->input_count; i++) gate->inputs[i].logged = 0;
}

static bool take_barrier(struct gate *gate, uint32_t input_index, uint64_t epoch, struct gate_event *event)
{
    if (epoch <= gate->inputs[input_index].logged_epoch) return false;
    const struct align_step step = align_barrier(&gate->align, input_index, epoch);
    if (step.answer != ALIGN_TAKEN) gate->barriers_ignored++;
    if (!step.snapshot) return false;
    begin_logging(gate);
    event->type = GATE_ALIGNED;
    event->epoch = step.epoch;
    return true;
}

static bool take_end(struct gate *gate, struct input *input, struct gate_event *event)
{
    CHECK(!input->ended);
    input->ended = true;
    input->watermark_ms = WATERMARK_IDLE;
    if (++gate->ended_count < gate->input_count) return advance_watermark(gate, event);
    event->type = GATE_ENDED;
    return true;
}

/* True when the element made an event. */
static bool take(struct gate *gate, uint32_t input_index, struct element element, struct gate_event *event)
{
    struct input *input = &gate->inputs[input_index];
    *event = (struct gate_event){ .input = input_index, .tag = input->tag };
    switch (element.type) {
    case ELEMENT_BATCH:
        CHECK(!input->ended);
        event->type = GATE_BATCH;
        event->batch = element.batch;
        return true;
    case ELEMENT_WATERMARK: return take_watermark(gate, input, element.watermark_ms, event);
    case ELEMENT_BARRIER: return take_barrier(gate, input_index, element.epoch, event);
    case ELEMENT_END: return take_end(gate, input, event);
    case ELEMENT_NONE: break;
    }
    CHECK(element.type != ELEMENT_NONE);
    return false;
}

/* Pops from the first input in turn that is not held and has something. */
static bool pop(struct gate *gate, uint32_t *input_index, struct element *element)
{
    for (uint32_t tried = 0; tried < gate->input_count; tried++) {
        const uint32_t index = gate->next;
        gate->next = index + 1 < gate->input_count ? index + 1 : 0;
        struct input *input = &gate->inputs[index];
        if (align_is_held(&gate->align, index)) continue;
        if (align_is_logged(&gate->align, index) && input->logged == 0) continue;
        if (channel_pop(input->channel, element)) {
            if (input->logged > 0) input->logged--;
            *input_index = index;
            return true;
        }
    }
    return false;
}

enum gate_event_type gate_next(struct gate *gate, struct gate_event *event)
{
    uint32_t input_index;
    struct element element;
    while (pop(gate, &input_index, &element))
        if (take(gate, input_index, element, event)) return event->type;
    *event = (struct gate_event){ .type = GATE_NOTHING };
    return GATE_NOTHING;
}

void gate_give_back(struct gate *gate, uint32_t input, struct weir_batch *batch)
{
    CHECK(input < gate->input_count);
    channel_give_back(gate->inputs[input].channel, batch);
}

void gate_abort(struct gate *gate, uint64_t epoch)
{
    (void)align_abort(&gate->align, epoch); /* a late word changes nothing */
}

enum gate_overtaking gate_overtake(struct gate *gate, uint64_t epoch)
{
    const struct align_step step = align_overtake(&gate->align, epoch);
    if (step.answer == ALIGN_LATE) return GATE_HAS_OVERTAKEN;
    if (step.snapshot) begin_logging(gate);
    return step.snapshot ? GATE_OVERTAKES : GATE_WAITS;
}

bool gate_is_logging(const struct gate *gate)
{
    return gate->align.logging;
}

/* Up to the barrier, or as far as there is something. */
static bool log_input(struct gate *gate, uint32_t index, bool (*log)(void *, uint32_t, const struct weir_batch *),
                      void *user)
{
    struct input *input = &gate->inputs[index];
    const uint64_t epoch = gate->align.epoch;
    struct element element;
    enum channel_sight sight;
    while ((sight = channel_look(input->channel, input->logged, &element)) != CHANNEL_NOTHING) {
        if (sight == CHANNEL_ELEMENT) input->logged++;
        if (element.type == ELEMENT_BATCH && !log(user, input->tag, element.batch)) return false;
        if (element.type != ELEMENT_BARRIER || element.epoch != epoch) continue;
        input->logged_epoch = epoch;
        CHECK(align_barrier(&gate->align, index, epoch).answer == ALIGN_TAKEN);
        return true;
    }
    return true;
}

bool gate_log(struct gate *gate, bool (*log)(void *user, uint32_t tag, const struct weir_batch *batch), void *user)
{
    for (uint32_t i = 0; i < gate->input_count; i++)
        if (align_is_logged(&gate->align, i) && !log_input(gate, i, log, user)) return false;
    return true;
}

uint64_t gate_barriers_ignored(const struct gate *gate)
{
    return gate->barriers_ignored;
}

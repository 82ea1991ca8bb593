/* What the files of state calls share: which state, and its codec. A call that answers UINT32_MAX, false or unset has set
 * the task's failure. */
#ifndef OPERATOR_STATE_CALLS_H
#define OPERATOR_STATE_CALLS_H

#include "operator/stage.h"

const char *state_name_of(const struct weir_state *state); /* for sentences */

/* The failures of looking a state up: they answer UINT32_MAX. */
uint32_t state_not_listed(struct weir_task *task, const struct weir_state *state);
uint32_t state_without_key(struct weir_task *task, const struct weir_state *state);
uint32_t state_of_other_kind(struct weir_task *task, const struct weir_state *state);

/* The index of `state` among those declared. */
static inline uint32_t state_index(struct weir_task *task, const struct weir_state *state)
{
    const struct operator_spec *spec = task->spec;
    uint32_t index = 0;
    while (index < spec->state_count && spec->state_tags[index] != state) index++;
    return LIKELY(index < spec->state_count) ? index : state_not_listed(task, state);
}

/* The same of a keyed state of that kind, for the current key. */
static inline uint32_t state_find(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind)
{
    const uint32_t index = state_index(task, state);
    if (UNLIKELY(index == UINT32_MAX)) return UINT32_MAX;
    if (UNLIKELY(!task->has_key)) return state_without_key(task, state);
    return LIKELY(task->spec->states[index].kind == kind) ? index : state_of_other_kind(task, state);
}

static inline bool state_has_failed(const struct weir_task *task)
{
    return task->chain->error.code != WEIR_OK;
}

static inline enum weir_code state_failure_of(const struct weir_task *task)
{
    return task->chain->error.code;
}

/* WEIR_OK, or the failure for want of memory. */
enum weir_code state_done(struct weir_task *task, bool has_memory);

/* May this be a value of the state? */
bool state_check_value(struct weir_task *task, const struct weir_state *state, uint32_t index, struct weir_bytes value);
/* What the codec holds, as bytes, and back. */
struct weir_bytes state_encode(struct weir_task *task, const struct weir_state *state, uint32_t index,
                               const void *object);
bool state_decode(struct weir_task *task, const struct weir_state *state, struct weir_bytes bytes, void *object);
bool state_has_codec(struct weir_task *task, const struct weir_state *state, enum weir_codec codec);

#endif

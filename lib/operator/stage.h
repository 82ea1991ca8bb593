/* One operator of a chain in one subtask: what callbacks know as weir_task and weir_keyed_task.
 *
 *   record ─> receive ─> the user's function ─weir_emit_─> main.receive ─> ...
 *
 * A stage hands a record on by calling `receive` of its output with the output's `receiver`: the next stage, a router,
 * or a fan when several read the same output. Records are passed by address and belong to who emits them; nothing is
 * copied until a router or a sink takes its copy.
 *
 * Invariants
 *   1. `receive` answers WEIR_OK or the code of the chain's sticky failure, never anything else.
 *   2. `record` is the input of the callback that runs, or the record without fields (no_record) outside of one.
 *   3. While a callback of a keyed input or an emission on commit runs, `has_key` holds and `key` is the current key;
 *      in any other callback it does not hold. */
#ifndef OPERATOR_STAGE_H
#define OPERATOR_STAGE_H

#include "operator/chain.h"

struct coalesce;

typedef enum weir_code stage_receive_fn(void *receiver, const struct weir_record *record);
typedef enum weir_code stage_receive_group_fn(void *receiver, const struct weir_record *records, uint32_t count);

struct stage_output {
    stage_receive_fn *receive;
    void *receiver;
};

/* Several receivers of one output. */
struct stage_fan {
    uint32_t count;
    struct stage_output outputs[];
};

/* What a stage has made of parts of its batch for a keyed stage of the same chain and has not handed on yet: in a group, the
 * lookups of keys wait for memory together (text: 0.77 and 0.84 of the bare loop instead of 0.72; 10 M keys: 1.28 instead of
 * 0.90). Keys lie in the batch and are not empty. Groups are empty when chain_process returns. */
enum { STAGE_GROUP_RECORDS = 32 };
struct stage_group {
    stage_receive_group_fn *receive;
    void *receiver;
    uint32_t count;
    struct weir_record records[STAGE_GROUP_RECORDS];
};

/* A router as a receiver. */
struct stage_router {
    struct router *router;
    struct chain *chain;
};

struct weir_task {
    /* What every emit touches. */
    struct stage_output main;
    struct stage_output rekeyed; /* behind a key_by on the record's own key that `main` leads to; unset = it does not */
    struct stage_group *group;   /* on the way to `rekeyed`; NULL = what is emitted goes there at once */
    const struct weir_record *record;
    struct chain *chain;
    const struct operator_spec *spec;

    /* Stages with state: the shard, and the current key as the shard wants it. */
    struct shard *shard;
    struct state_key key;
    bool has_key;
    uint8_t port;   /* of the input that `record` came in on */

    bool is_open;
    uint32_t index; /* in the chain */
    void *local;
    void *writer;   /* sinks */
    struct stage_output sides[WEIR_OUTPUTS_MAX];
    struct coalesce *coalesce; /* keyed_process that emits on commit; `main` leads into it, and it into: */
    struct stage_output coalesced;
    /* Of what is the operator's own, and no key's: the key that it lies under, and until `.open` is over what all subtasks
     * had of each union, by state; NULL = nothing. */
    struct state_own own;
    struct state_key own_key;
    struct state_parcel *unions;
};

/* The same stage behind a key_by; a type of its own only for the compiler. */
struct weir_keyed_task {
    struct weir_task task;
};

static inline weir_keyed_task *stage_keyed(struct weir_task *task)
{
    return (weir_keyed_task *)(void *)task;
}

/* What is known of the lookups of records that enter, before they are processed: of entries that lead to one keyed stage. */
struct chain_ahead {
    struct shard *shard; /* NULL = nothing */
    bool rekeys;         /* a key_by is in between that takes the record's key as it is: its hash is not known yet */
};

struct chain {
    /* True when something may be blocked, or has failed: the only thing that is looked at for each record. */
    bool attention;
    bool has_finished; /* .finish was called: nothing is emitted any more */
    bool was_complete; /* .finish was called in an earlier life */
    bool has_now;
    bool hurries; /* routers have room whatever waits in them */
    bool has_ttl; /* of some stage's state: their shards are told the time */
    struct arena scratch; /* of the callbacks of one record */
    struct weir_error error; /* the sticky failure; WEIR_OK = none */
    uint64_t records_out, bytes_out; /* to sinks */
    int64_t now_ms;

    const struct chain_plan *plan;
    const struct weir_environment *environment;
    const char *vertex_name;
    uint32_t subtask_index, parallelism, max_parallelism;
    uint64_t epoch;
    struct weir_waker waker;
    struct weir_keyed_task *stages;
    void **sinks; /* by stage */
    struct stage_router *routers;
    struct stage_output *entries;
    struct chain_ahead *entries_ahead;
    uint32_t group_count;
    struct stage_group **groups; /* of the stages that have one */
    struct arena arena; /* the arrays above, and fans */

    /* Where an emission on commit, or a finish, goes on after it was blocked. */
    uint32_t walk_stage;
    size_t walk_position;
};

extern const struct weir_record stage_no_record;

static inline struct weir_task *chain_stage_at(const struct chain *chain, uint32_t index)
{
    return &chain->stages[index].task;
}

static inline enum weir_code stage_emit(struct weir_task *task, const struct weir_record *record)
{
    return task->main.receive(task->main.receiver, record);
}

/* The same for a record that the stage has made itself: its hash is filled in on the way, instead of in a copy that a
 * key_by would make. */
static inline enum weir_code stage_emit_own(struct weir_task *task, struct weir_record *record)
{
    if (task->rekeyed.receive == NULL || UNLIKELY(!weir_is_set(record->key) || weir_is_null(record->key)))
        return stage_emit(task, record);
    record->key_hash = hash_key(record->key);
    return task->rekeyed.receive(task->rekeyed.receiver, record);
}

/* The code of the chain's failure, if one came of it. */
static inline enum weir_code stage_hand_over(struct stage_group *group)
{
    const uint32_t count = group->count;
    group->count = 0;
    return count == 0 ? WEIR_OK : group->receive(group->receiver, group->records, count);
}

/* Behind the coalescing table of a keyed_process that emits on commit. */
static inline enum weir_code stage_emit_coalesced(struct weir_task *task, const struct weir_record *record)
{
    return task->coalesced.receive(task->coalesced.receiver, record);
}

/* Notes the sticky failure of the chain, "operator 'x', subtask 0: ..."; a second one is ignored. Returns its code. */
enum weir_code stage_fail(struct weir_task *task, enum weir_code code, const char *format, ...) WEIR_PRINTF(3, 4);
/* The same with a connector's error, whose code and remedy are kept. */
enum weir_code stage_fail_with(struct weir_task *task, const struct weir_error *error);
/* What a callback that answered `code` means: the failure it set, or one that says that it gave no reason. */
enum weir_code stage_callback_failed(struct weir_task *task, enum weir_code code);
enum weir_code stage_no_memory(struct weir_task *task, const char *what);

/* Longest decimal text of an int64_t, sign included. */
#define STAGE_I64_TEXT_MAX 20
/* Writes the decimal text of `number` so that it ends at `text + STAGE_I64_TEXT_MAX`; answers it. */
struct weir_bytes stage_text_of_i64(int64_t number, char text[static STAGE_I64_TEXT_MAX]);

/* stateless.c, keyed.c: how each kind receives a record on a port. */
stage_receive_fn *stateless_receive(enum operator_kind kind, uint32_t port);
stage_receive_fn *keyed_receive(const struct operator_spec *spec, uint32_t port);

/* keyed.c: how records with keys and hashes come in a group; NULL = one by one. */
stage_receive_group_fn *keyed_receive_group(const struct operator_spec *spec);

/* state_calls.c: the state_migrate_fn of a stage's shard; `user` is the stage. */
struct weir_bytes stage_migrate(void *user, uint32_t state, uint32_t version, struct weir_bytes value);

/* Puts a coalescing table between the stage and its main output. False when there is no memory. */
bool keyed_coalesce_open(struct weir_task *task);
/* Emits what changed in the epoch, from *position on. False when blocked or failed: call again when there is room. */
bool keyed_emit_on_commit(struct weir_task *task, size_t *position);

static inline bool stage_emits_on_commit(const struct weir_task *task)
{
    return operator_is_keyed(task->spec) && task->spec->emit == WEIR_EMIT_ON_COMMIT;
}

/* A batch, or what is called like one, begins: the clock is read anew when somebody asks. */
void chain_begin_time(struct chain *chain);
/* What weir_now_ms answers. */
int64_t chain_now_ms(struct chain *chain);

/* chain.c: what the keys of records will look up in the first state of a shard is brought in for all of them at once, from
 * the store behind it, and to the caches of the processor. `rekeys`: their hashes are not known yet. */
enum { CHAIN_AHEAD_MAX = 64 };
void chain_load_ahead(struct shard *shard, bool rekeys, const struct weir_record *records, uint32_t count);
void chain_look_ahead(struct shard *shard, bool rekeys, const struct weir_record *records, uint32_t count);

/* A failure that is no operator's. */
enum weir_code chain_fail_for_memory(struct chain *chain, const char *what);
/* chain_make.c: how records get to a target. */
struct stage_output chain_join(struct chain *chain, const struct chain_target *target);

/* Has the chain no room for another record, or failed? Asks everybody, and lowers the flag when nobody minds. */
enum chain_result chain_look(struct chain *chain);

#endif

#include "harness/golden_store.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "checkpoint/ledger.h"
#include "checkpoint/manifest.h"
#include "checkpoint/pointer.h"
#include "checkpoint/store.h"
#include "harness/unit.h"
#include "state/state.h"

enum { GROUPS = 16, SEGMENT_BYTES = 64 << 10, HALVES = 2, KEYS = 11, CHUNK_BYTES = 700 };

/* ---- A job's operators and states -------------------------------------------------------------------------------- */

#define CLOCK_MS INT64_C(1700000000000)

enum { TOTAL, MEAN, LARGEST, LENGTH, COUNT_STATES };
enum { TEXT, PAIR, NOTE, RECENT, WORDS, SEEN, AGAIN, WAITING, RULES, NOTES_STATES };

static struct manifest_state count_states[COUNT_STATES] = {
    [TOTAL] = { .name = "total", .kind = WEIR_STATE_VALUE, .codec = WEIR_I64, .value_size_bytes = 8, .object = "" },
    [MEAN] = { .name = "mean", .kind = WEIR_STATE_VALUE, .codec = WEIR_F64, .value_size_bytes = 8, .object = "" },
    [LARGEST] = { .name = "largest", .kind = WEIR_STATE_REDUCING, .codec = WEIR_F64, .value_size_bytes = 8,
                  .object = "" },
    [LENGTH] = { .name = "length", .kind = WEIR_STATE_AGGREGATING, .codec = WEIR_I64, .value_size_bytes = 8,
                 .object = "" },
};
static struct manifest_state notes_states[NOTES_STATES] = {
    [TEXT] = { .name = "text", .kind = WEIR_STATE_VALUE, .codec = WEIR_BYTES, .version = 1, .object = "" },
    [PAIR] = { .name = "pair", .kind = WEIR_STATE_VALUE, .codec = WEIR_STRUCT, .value_size_bytes = 16, .object = "" },
    [NOTE] = { .name = "note", .kind = WEIR_STATE_VALUE, .codec = WEIR_OBJECT, .version = 1, .object = "note" },
    [RECENT] = { .name = "recent", .kind = WEIR_STATE_LIST, .codec = WEIR_BYTES, .object = "" },
    [WORDS] = { .name = "words", .kind = WEIR_STATE_MAP, .codec = WEIR_I64, .value_size_bytes = 8, .object = "" },
    [SEEN] = { .name = "seen", .kind = WEIR_STATE_MAP, .codec = WEIR_BYTES, .object = "" },
    [AGAIN] = { .name = "again", .kind = WEIR_STATE_VALUE, .codec = WEIR_BYTES, .object = "",
                .expires_since_ms = CLOCK_MS },
    [WAITING] = { .name = "waiting", .kind = WEIR_STATE_OPERATOR_LIST, .codec = WEIR_BYTES, .object = "" },
    [RULES] = { .name = "rules", .kind = WEIR_STATE_BROADCAST, .codec = WEIR_I64, .value_size_bytes = 8, .object = "" },
};

struct golden {
    uint64_t random;
    const char *decider;
    struct store *store;
    uint64_t incarnation, epoch; /* epoch: the open one */
    struct weir_frame_name last, committed;
    struct shard *count[HALVES], *notes;
    struct buffer count_units[HALVES], notes_units; /* all that was ever handed over: what a restart replays */
    struct manifest_base bases[HALVES + 1];
    size_t base_count;
    char base_names[HALVES + 1][STORE_FILE_MAX];
    int64_t position;
};

static struct shard *create_shard(const struct manifest_state *states, uint32_t count, uint32_t first, uint32_t groups,
                                  uint64_t epoch)
{
    struct state_declaration declared[NOTES_STATES] = { { .name = "" } };
    for (uint32_t i = 0; i < count; i++) {
        declared[i] = (struct state_declaration){ .kind = (enum weir_state_kind)states[i].kind,
                                                  .codec = (enum weir_codec)states[i].codec,
                                                  .value_size_bytes = states[i].value_size_bytes,
                                                  .version = states[i].version, .migrates = true,
                                                  .ttl_ms = states[i].expires_since_ms > 0 ? 3600 * 1000 : 0 };
        (void)snprintf(declared[i].name, sizeof declared[i].name, "%s", states[i].name);
    }
    struct shard *shard = shard_create(&(struct shard_options){ .states = declared, .state_count = count,
                                                                .max_parallelism = GROUPS, .group_first = first,
                                                                .group_count = groups, .epoch = epoch });
    ck_assert_ptr_nonnull(shard);
    shard_set_time(shard, CLOCK_MS);
    return shard;
}

static void create_shards(struct golden *golden, uint64_t epoch)
{
    for (uint32_t i = 0; i < HALVES; i++)
        golden->count[i] = create_shard(count_states, COUNT_STATES, i * GROUPS / HALVES, GROUPS / HALVES, epoch);
    golden->notes = create_shard(notes_states, NOTES_STATES, 0, GROUPS, epoch);
}

static void destroy_shards(struct golden *golden)
{
    for (uint32_t i = 0; i < HALVES; i++) shard_destroy(golden->count[i]);
    shard_destroy(golden->notes);
}

/* ---- What the job does to its state ------------------------------------------------------------------------------ */

static struct state_key key_of(int number)
{
    static const char *const names[KEYS] = { "apple", "", "zw\xc3\xb6lf", "two words", "0x41", "null", "b\0b", "\xff\xfe",
                                             "cherry", "date", "line\nend" };
    static const size_t sizes[KEYS] = { 5, 0, 6, 9, 4, 4, 3, 2, 6, 4, 8 };
    struct state_key key = { .key = WEIR_NULL };
    if (number < KEYS) key.key = (struct weir_bytes){ names[number], sizes[number] };
    key.hash = hash_key(key.key);
    return key;
}

static struct shard *count_shard(const struct golden *golden, const struct state_key *key)
{
    return golden->count[key_group_of(key->hash, GROUPS) / (GROUPS / HALVES)];
}

static void add_i64(struct shard *shard, uint32_t state, const struct state_key *key, int64_t number)
{
    int64_t *value = shard_value(shard, state, key);
    ck_assert_ptr_nonnull(value);
    *value += number;
}

static void set_f64(struct shard *shard, uint32_t state, const struct state_key *key, double number)
{
    ck_assert(shard_set(shard, state, key, (struct weir_bytes){ (const char *)&number, sizeof number }));
}

static void use_count(struct golden *golden, int number)
{
    const struct state_key key = key_of(number);
    struct shard *shard = count_shard(golden, &key);
    add_i64(shard, TOTAL, &key, (int64_t)unit_random_below(&golden->random, 1000) - 300);
    set_f64(shard, MEAN, &key, (double)unit_random_below(&golden->random, 1000) / 8);
    set_f64(shard, LARGEST, &key, (double)unit_random_below(&golden->random, 1000) * 1e300);
    add_i64(shard, LENGTH, &key, INT64_MAX / 1000);
    if (number % 4 == 3) ck_assert(shard_remove(shard, MEAN, &key));
}

static void use_values(struct golden *golden, int number)
{
    static const char bytes[] = "\x01\x02 values of any length, such as this one";
    struct state_key key = key_of(number);
    const uint32_t size = unit_random_below(&golden->random, sizeof bytes - 3);
    const uint64_t pair[2] = { unit_random_below(&golden->random, 9), 7 };
    struct shard *shard = golden->notes;
    ck_assert(shard_set(shard, TEXT, &key, (struct weir_bytes){ bytes + 3, size }));
    ck_assert(shard_set(shard, PAIR, &key, (struct weir_bytes){ (const char *)pair, sizeof pair }));
    ck_assert(shard_set(shard, NOTE, &key, number % 5 == 4 ? WEIR_NULL : (struct weir_bytes){ bytes, size % 5 }));
    ck_assert(shard_set(shard, AGAIN, &key, golden->incarnation == 1 ? weir_text("a former life") : weir_text("new")));
    key.name_space = weir_text("w1");
    if (number % 3 == 0) ck_assert(shard_set(shard, TEXT, &key, WEIR_EMPTY));
}

static void use_collections(struct golden *golden, int number)
{
    const struct state_key plain = key_of(number);
    struct state_key key = plain;
    struct shard *shard = golden->notes;
    char text[32];
    for (int i = 0; i < 2; i++) {
        const uint32_t drawn = unit_random_below(&golden->random, 20);
        (void)snprintf(text, sizeof text, "w%u", drawn);
        ck_assert(shard_list_add(shard, RECENT, &plain, i == 1 ? WEIR_NULL : weir_text(text)));
        key.element = weir_text(text);
        int64_t *count = shard_map_value(shard, WORDS, &key);
        ck_assert_ptr_nonnull(count);
        ++*count;
        key.element = (struct weir_bytes){ (const char *)&drawn, sizeof drawn };
        ck_assert(shard_map_put(shard, SEEN, &key, weir_text(text)));
        if (drawn % 4 == 0) ck_assert(shard_map_remove(shard, SEEN, &key));
    }
    if (number % 3 == 1) ck_assert(shard_clear(shard, RECENT, &plain));
    if (number % 4 == 1) ck_assert(shard_clear(shard, WORDS, &plain));
}

static void use_own(struct golden *golden, int number)
{
    const struct state_own own = state_own_of(GROUPS, 0, GROUPS);
    struct state_key key = state_own_key(&own);
    char text[32];
    (void)snprintf(text, sizeof text, "no. %d", number);
    if (number % 3 == 0) ck_assert(shard_list_add(golden->notes, WAITING, &key, weir_text(text)));
    if (number == KEYS) ck_assert(shard_clear(golden->notes, WAITING, &key));
    key.element = (struct weir_bytes){ text, 5 };
    int64_t *rule = shard_map_value(golden->notes, RULES, &key);
    ck_assert_ptr_nonnull(rule);
    *rule += number;
}

static void use_state(struct golden *golden, int first, int count)
{
    for (int number = first; number < first + count; number++) {
        use_count(golden, number % (KEYS + 1));
        use_values(golden, number % (KEYS + 1));
        use_collections(golden, number % (KEYS + 1));
        use_own(golden, number % (KEYS + 1));
    }
    golden->position += count;
}

/* ---- Frames ------------------------------------------------------------------------------------------------------ */

struct frame_parts {
    struct manifest manifest;
    struct manifest_source source;
    struct weir_split split;
    struct weir_output_total total;
    struct manifest_operator operators[2];
    struct weir_bytes deltas[HALVES + 1];
};

static struct weir_bytes bytes_of(const struct buffer *buffer)
{
    return (struct weir_bytes){ buffer->data, buffer->size };
}

static uint64_t generation_of(const struct golden *golden)
{
    uint64_t generation = shard_generation(golden->notes);
    for (uint32_t i = 0; i < HALVES; i++)
        if (shard_generation(golden->count[i]) > generation) generation = shard_generation(golden->count[i]);
    return generation;
}

static void fill_manifest(const struct golden *golden, bool is_part, struct frame_parts *parts)
{
    parts->split = (struct weir_split){ .name = "numbers/0", .identity = "", .position = golden->position,
                                        .end = WEIR_POSITION_NONE };
    parts->source = (struct manifest_source){ .name = "numbers", .cluster = "", .splits = { 1, &parts->split } };
    parts->total = (struct weir_output_total){ .name = "out/0", .count = (uint64_t)golden->position,
                                               .digest = { 0x0123456789abcdef, 0xfedcba9876543210 } };
    const uint64_t redo = golden->base_count > 0 ? golden->bases[0].redo_epoch : 0;
    const uint64_t redo_notes = golden->base_count > HALVES ? golden->bases[HALVES].redo_epoch : 0;
    parts->operators[0] = (struct manifest_operator){
        .name = "count", .parallelism = HALVES, .state_count = COUNT_STATES, .states = count_states,
        .base_count = is_part || golden->base_count == 0 ? 0 : HALVES,
        .bases = (struct manifest_base *)(uintptr_t)golden->bases, .redo_epoch = redo, .deltas = parts->deltas };
    parts->operators[1] = (struct manifest_operator){
        .name = "notes", .parallelism = 1, .state_count = NOTES_STATES, .states = notes_states,
        .base_count = is_part || golden->base_count <= HALVES ? 0 : 1,
        .bases = (struct manifest_base *)(uintptr_t)&golden->bases[HALVES], .redo_epoch = redo_notes,
        .deltas = &parts->deltas[HALVES] };
    parts->manifest = (struct manifest){
        .store = store_id(golden->store), .job = "golden", .slot = "0", .incarnation = golden->incarnation,
        .epoch = golden->epoch, .is_part = is_part, .parent = golden->last,
        .wall_ms = 1700000000000 + (int64_t)golden->epoch * 1000, .build = "1", .program = "golden",
        .plan_hash = 0x90141d, .exactly_once = true, .max_parallelism = GROUPS, .generation = generation_of(golden),
        .clock_ms = CLOCK_MS,
        .decider = golden->decider, .cluster = "", .source_count = 1, .sources = &parts->source,
        .totals = { 1, &parts->total }, .operator_count = 2, .operators = parts->operators };
}

static void append_frame(struct golden *golden, struct frame_parts *parts)
{
    struct weir_error error;
    struct weir_frame_name name = { .epoch = 0 };
    struct buffer frame;
    buffer_init(&frame);
    ck_assert(manifest_encode(&parts->manifest, &frame, &name));
    store_reserve(golden->store, &name);
    ck_assert_msg(store_append(golden->store, &name, bytes_of(&frame), &error) == WEIR_OK, "%s", error.text);
    buffer_deinit(&frame);
    golden->last = name;
}

static void keep_units(struct buffer *all, const struct buffer *delta)
{
    buffer_put(all, delta->data, delta->size);
    ck_assert(!all->failed);
}

/* An early part of the notes, or all that has changed. */
static void write_frame(struct golden *golden, bool is_part)
{
    struct frame_parts parts;
    struct buffer deltas[HALVES + 1];
    fill_manifest(golden, is_part, &parts);
    for (int i = 0; i <= HALVES; i++) buffer_init(&deltas[i]);
    for (int i = 0; !is_part && golden->epoch > 0 && i < HALVES; i++) {
        ck_assert(shard_snapshot(golden->count[i], golden->epoch, &deltas[i]));
        keep_units(&golden->count_units[i], &deltas[i]);
        if (deltas[i].size > 0) parts.deltas[parts.operators[0].delta_count++] = bytes_of(&deltas[i]);
    }
    if (is_part) {
        ck_assert(shard_part_begin(golden->notes, &deltas[HALVES]));
        while (!shard_snapshot_step(golden->notes, 1000)) continue;
    } else if (golden->epoch > 0) {
        ck_assert(shard_snapshot(golden->notes, golden->epoch, &deltas[HALVES]));
    }
    keep_units(&golden->notes_units, &deltas[HALVES]);
    parts.deltas[HALVES] = bytes_of(&deltas[HALVES]);
    parts.operators[1].delta_count = deltas[HALVES].size > 0;
    append_frame(golden, &parts);
    for (int i = 0; i <= HALVES; i++) buffer_deinit(&deltas[i]);
    if (!is_part) golden->epoch++;
}

static void write_base(struct golden *golden, struct shard *shard, const struct manifest_state *states, uint32_t count,
                       uint32_t first, uint32_t groups)
{
    struct weir_error error;
    struct store_base *base;
    struct store_base_result result;
    struct buffer chunk;
    buffer_init(&chunk);
    const uint64_t redo_epoch = shard_dump_begin(shard);
    ck_assert_int_eq(store_base_create(golden->store, &base, &error), WEIR_OK);
    ck_assert(manifest_states_encode(states, count, &chunk));
    for (bool is_last = false;; is_last = shard_dump_step(shard, CHUNK_BYTES, &chunk)) {
        ck_assert_int_eq(store_base_append(base, bytes_of(&chunk), &error), WEIR_OK);
        buffer_clear(&chunk);
        if (is_last) break;
    }
    ck_assert_int_eq(store_base_finish(base, &result, &error), WEIR_OK);
    buffer_deinit(&chunk);
    char *name = golden->base_names[golden->base_count];
    memcpy(name, result.name, sizeof golden->base_names[0]);
    golden->bases[golden->base_count++] = (struct manifest_base){
        .store = STORE_KIND_FILE, .name = name, .length = result.length, .hash = result.hash,
        .incarnation = result.incarnation, .group_first = first, .group_count = groups, .redo_epoch = redo_epoch };
}

/* ---- The decision ------------------------------------------------------------------------------------------------ */

struct pointer_rig {
    void *decider;
    pthread_mutex_t mutex;
    pthread_cond_t arrived;
    bool has_answer;
};

static struct pointer_rig rig = { .mutex = PTHREAD_MUTEX_INITIALIZER, .arrived = PTHREAD_COND_INITIALIZER };

static void take_answer(void *user, struct weir_decider_event *event)
{
    (void)user;
    pthread_mutex_lock(&rig.mutex);
    rig.has_answer = event->type != WEIR_DECIDER_FAILED;
    weir_decider_event_clear(event);
    pthread_cond_signal(&rig.arrived);
    pthread_mutex_unlock(&rig.mutex);
}

static void await_answer(void)
{
    pthread_mutex_lock(&rig.mutex);
    while (!rig.has_answer) pthread_cond_wait(&rig.arrived, &rig.mutex);
    rig.has_answer = false;
    pthread_mutex_unlock(&rig.mutex);
}

static void encode_record(const struct golden *golden, enum weir_ledger_kind kind, char key[LEDGER_KEY_MAX],
                          struct weir_bytes *value)
{
    const struct weir_frame_name *frame = kind == WEIR_LEDGER_COMMIT ? &golden->last : &golden->committed;
    struct weir_ledger_range range = { .source = "numbers", .split = "numbers/0", .begin = 0, .end = golden->position };
    struct weir_ledger_entry entry = {
        .kind = kind, .job = "golden", .slot = "0", .build = "1", .incarnation = golden->incarnation,
        .epoch = frame->epoch, .frame = *frame, .handle_count = 1, .plan_hash = 0x90141d, .wall_ms = 1700000000000,
        .exactly_once = true, .range_count = 1, .ranges = &range };
    (void)snprintf(entry.store, sizeof entry.store, "%s", store_id(golden->store));
    if (kind == WEIR_LEDGER_COMMIT) ledger_key_commit(key, "0", frame->epoch, LEDGER_RING_DEFAULT);
    else ledger_key_incarnation(key, "0");
    ck_assert(weir_ledger_encode(&entry, value));
}

static void free_bytes(struct weir_bytes bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

static void commit(struct golden *golden)
{
    char key[LEDGER_KEY_MAX];
    struct weir_bytes value;
    encode_record(golden, WEIR_LEDGER_COMMIT, key, &value);
    pointer_decider.flush(rig.decider, 1, 0, golden->last.epoch, weir_text(key), value, false);
    await_answer();
    free_bytes(value);
    pointer_decider.commit(rig.decider, 1, 0, golden->last.epoch);
    await_answer();
    golden->committed = golden->last;
}

static void announce(struct golden *golden)
{
    char key[LEDGER_KEY_MAX];
    struct weir_bytes value;
    encode_record(golden, WEIR_LEDGER_INCARNATION, key, &value);
    pointer_decider.announce(rig.decider, 1, weir_text(key), value);
    await_answer();
    free_bytes(value);
}

/* ---- Lives ------------------------------------------------------------------------------------------------------- */

static uint64_t fixed_random(void *user)
{
    return unit_random(user);
}

static void begin_life(struct golden *golden, const char *directory)
{
    struct weir_error error;
    struct weir_environment environment = { .random = fixed_random, .user = &golden->random };
    const struct store_options options = { .directory = directory, .job = "golden", .slot = "0", .create = true,
                                           .segment_bytes = SEGMENT_BYTES, .environment = &environment };
    ck_assert_msg(store_open(&options, &golden->store, &error) == WEIR_OK, "%s", error.text);
    ck_assert_msg(store_begin(golden->store, ++golden->incarnation, &error) == WEIR_OK, "%s", error.text);
    while (store_prepare(golden->store)) continue;
    const struct weir_decider_options decider = { .slot = "0", .ring_size = 1,
                                                  .store_directory = store_path(golden->store), .post = take_answer };
    ck_assert_msg(pointer_decider.open(&decider, &rig.decider, &error) == WEIR_OK, "%s", error.text);
    pointer_decider.fence(rig.decider, 1, 0);
    await_answer();
    pointer_decider.read(rig.decider, 1);
    await_answer();
}

static void end_life(struct golden *golden)
{
    destroy_shards(golden);
    pointer_decider.close(rig.decider);
    store_close(golden->store);
}

static void write_epoch(struct golden *golden, int first, int count)
{
    use_state(golden, first, count);
    write_frame(golden, false);
}

static void live_first(struct golden *golden)
{
    create_shards(golden, 1);
    write_frame(golden, false); /* the founding */
    commit(golden);
    use_state(golden, 0, 4);
    write_frame(golden, true);
    write_epoch(golden, 3, 5);
    commit(golden);
    for (uint32_t i = 0; i < HALVES; i++)
        write_base(golden, golden->count[i], count_states, COUNT_STATES, i * GROUPS / HALVES, GROUPS / HALVES);
    write_epoch(golden, 8, 4);
    commit(golden);
    const struct buffer kept[HALVES + 1] = { golden->count_units[0], golden->count_units[1], golden->notes_units };
    write_epoch(golden, 5, 2); /* never committed: nothing of it is restored */
    for (uint32_t i = 0; i < HALVES; i++) golden->count_units[i].size = kept[i].size;
    golden->notes_units.size = kept[HALVES].size;
}

static void apply(struct shard *shard, const struct buffer *units, const struct state_mapping *mapping, uint32_t count,
                  uint64_t epoch)
{
    struct weir_error error;
    ck_assert_msg(shard_apply(shard, bytes_of(units), mapping, count, &error) == WEIR_OK, "%s", error.text);
    ck_assert_int_eq(shard_restored(shard, epoch, 0, &error), WEIR_OK);
}

/* The job has changed meanwhile: a newer version of a codec, and a state that is not the one of its name any more. */
static void restore(struct golden *golden)
{
    struct state_mapping mapping[NOTES_STATES];
    for (uint32_t i = 0; i < NOTES_STATES; i++)
        mapping[i] = (struct state_mapping){ .state = i == AGAIN ? UINT32_MAX : i, .version = notes_states[i].version,
                                             .value_size_bytes = notes_states[i].value_size_bytes };
    golden->last = golden->committed;
    notes_states[TEXT].version = 2;
    notes_states[AGAIN].born_epoch = golden->epoch;
    create_shards(golden, golden->epoch);
    apply(golden->notes, &golden->notes_units, mapping, NOTES_STATES, golden->epoch);
    for (uint32_t i = 0; i < COUNT_STATES; i++)
        mapping[i] = (struct state_mapping){ .state = i, .value_size_bytes = 8 };
    for (uint32_t i = 0; i < HALVES; i++)
        apply(golden->count[i], &golden->count_units[i], mapping, COUNT_STATES, golden->epoch);
}

static void live_again(struct golden *golden)
{
    restore(golden);
    announce(golden);
    write_epoch(golden, 11, 2);
    commit(golden);
    write_base(golden, golden->notes, notes_states, NOTES_STATES, 0, GROUPS);
    write_epoch(golden, 1, 2);
    commit(golden);
    write_epoch(golden, 6, 1);
    commit(golden);
}

void golden_store_write(const char *directory, const char *decider)
{
    struct golden golden = { .random = 0x60141d, .decider = decider };
    notes_states[TEXT].version = 1;
    notes_states[AGAIN].born_epoch = 0;
    for (int i = 0; i < HALVES; i++) buffer_init(&golden.count_units[i]);
    buffer_init(&golden.notes_units);
    begin_life(&golden, directory);
    live_first(&golden);
    end_life(&golden);
    begin_life(&golden, directory);
    live_again(&golden);
    end_life(&golden);
    for (int i = 0; i < HALVES; i++) buffer_deinit(&golden.count_units[i]);
    buffer_deinit(&golden.notes_units);
}

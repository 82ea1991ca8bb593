/* One task, stepped by hand: a whole job in a chain (generator, keyed operator, print), without a job around it. What it
 * says by letter is the story. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/unit.h"
#include "runtime/task.h"
#include "weir/generator.h"
#include "weir/print.h"

enum { HARD_LIMIT_BYTES = 64 * 1024, BATCH_RECORDS = 1024, KEYS = 97, PARTS_MAX = 256 };

struct bed {
    weir_graph *graph;
    weir_config *config;
    struct plan *plan;
    struct weir_environment environment;
    struct waker waker;
    struct mailbox mailbox; /* the job's */
    void *source, *sink;
    struct metrics_task metrics;
    struct task *task;
    char story[4000];
    struct buffer parts[PARTS_MAX], delta; /* as they came */
    uint32_t part_count;
    int64_t position;       /* of the only split, in the last ACK */
    bool answers_parts;     /* as durable, at once */
};

static struct bed bed;

/* What was printed, so committed. */
static struct {
    uint64_t lines;
    int64_t last[KEYS];
} printed;

static void take_line(void *user, const char *line, size_t size)
{
    (void)user, (void)size;
    long number, key;
    printed.lines++;
    if (sscanf(line, "k%ld\t%ld", &key, &number) == 2) printed.last[key] = number;
}

/* ---- Jobs -------------------------------------------------------------------------------------------------------- */

static enum weir_code own_key(weir_task *task, const struct weir_record *in)
{
    return weir_emit(task, .key = in->value, .value = in->value);
}

static enum weir_code add_one(weir_keyed_task *task, void *accumulator, const struct weir_record *in)
{
    (void)task, (void)in;
    ++*(int64_t *)accumulator;
    return WEIR_OK;
}

static struct weir_stream numbers(uint64_t count)
{
    bed.graph = weir_graph_create();
    return weir_generator(bed.graph, .name = "numbers", .count = count);
}

/* As many keys as records, so that the delta grows with each. */
static void define_many_keys(uint64_t count)
{
    struct weir_stream keyed = weir_flat_map(numbers(count), .name = "own-key", .process = own_key);
    weir_print(weir_aggregate(weir_key_by(keyed, .key = NULL), .name = "count", .accumulator = WEIR_I64, .add = add_one,
                              .emit = WEIR_EMIT_ON_COMMIT),
               .name = "out", .line = take_line);
}

static enum weir_code few_keys(weir_task *task, const struct weir_record *in)
{
    int64_t number;
    ck_assert(weir_bytes_to_i64(in->value, &number));
    return weir_emit(task, .key = weir_format(task, "k%d", (int)(number % KEYS)), .value = in->value);
}

static enum weir_code pass_on(weir_keyed_task *task, const struct weir_record *in)
{
    static char ballast[4000];
    const struct weir_header header = { "ballast", { ballast, sizeof ballast } };
    return weir_keyed_emit(task, .key = in->key, .value = in->value, .headers = &(struct weir_headers){ 1, &header });
}

/* Keeps a large record for each of a few keys until the commit. */
static void define_kept_records(uint64_t count)
{
    struct weir_stream keyed = weir_flat_map(numbers(count), .name = "few-keys", .process = few_keys);
    weir_print(weir_keyed_process(weir_key_by(keyed, .key = NULL), .name = "last", .process = pass_on,
                                  .emit = WEIR_EMIT_ON_COMMIT),
               .name = "out", .line = take_line);
}

/* ---- The bed ----------------------------------------------------------------------------------------------------- */

static void post(enum letter_type type, uint64_t epoch, const struct weir_split *split)
{
    struct letter_to_task *letter = calloc(1, sizeof *letter);
    ck_assert_ptr_nonnull(letter);
    letter->mail.type = type;
    letter->epoch = epoch;
    if (split != NULL) ck_assert(weir_splits_add(&letter->splits, split));
    task_post(bed.task, letter);
}

static void open_connectors(const struct plan_vertex *vertex, const struct operator_spec *sink)
{
    struct weir_error error;
    const struct weir_connector_context context = { .environment = &bed.environment, .config = bed.config,
                                                    .job = "test", .operator_name = "numbers", .parallelism = 1,
                                                    .exactly_once = true };
    const struct operator_spec *source = vertex->source;
    ck_assert_int_eq(source->source.type->open(source->source.options, &context, &bed.source, &error), WEIR_OK);
    ck_assert_int_eq(sink->sink.type->open(sink->sink.options, &context, NULL, &bed.sink, &error), WEIR_OK);
}

static void start(uint64_t hard_limit_bytes)
{
    struct weir_error error;
    const struct plan_options how = { .parallelism = 1, .max_parallelism = 4, .chaining = true };
    ck_assert_int_eq(plan_create(bed.graph, &how, &bed.plan, &error), WEIR_OK);
    const struct plan_vertex *vertex = &bed.plan->vertices[0];
    ck_assert_uint_eq(bed.plan->vertex_count, 1);
    const uint32_t last = vertex->chain.stage_count - 1;
    bed.config = weir_config_create();
    environment_init_system(&bed.environment);
    open_connectors(vertex, vertex->chain.stages[last].spec);
    void *sinks[CHAIN_STAGES_MAX] = { NULL };
    sinks[last] = bed.sink;
    ck_assert(waker_init(&bed.waker));
    mailbox_init(&bed.mailbox, &bed.waker);
    buffer_init(&bed.delta);
    const struct task_options options = {
        .vertex = vertex, .max_parallelism = 4, .attempt = 1, .epoch = 1, .environment = &bed.environment,
        .job = &bed.mailbox, .metrics = &bed.metrics, .source = bed.source, .sinks = sinks, .buffer_timeout_us = 1000,
        .source_batch_records = BATCH_RECORDS_MAX,
        .soft_limit_bytes = UINT64_MAX, .delta_limit_bytes = UINT64_MAX, .hard_limit_bytes = hard_limit_bytes,
    };
    ck_assert_int_eq(task_create(&options, &bed.task, &error), WEIR_OK);
    ck_assert_int_eq(task_connect(bed.task, &error), WEIR_OK);

    struct weir_splits known = { 0 }, found = { 0 };
    const volatile bool cancelled = false;
    ck_assert_int_eq(vertex->source->source.type->discover(bed.source, &known, true, true, &cancelled, &found, &error),
                     WEIR_OK);
    post(LETTER_SPLIT, 0, &found.items[0]);
    weir_splits_clear(&found);
}

static void setup(void)
{
    memset(&bed, 0, sizeof bed);
    memset(&printed, 0, sizeof printed);
}

static void teardown(void)
{
    int64_t deadline_us;
    task_cancel(bed.task);
    while (task_step(bed.task, &deadline_us) != TASK_GONE) continue;
    task_destroy(bed.task);
    mailbox_deinit(&bed.mailbox, letter_destroy);
    waker_deinit(&bed.waker);
    bed.plan->vertices[0].source->source.type->close(bed.source);
    const struct chain_plan *chain = &bed.plan->vertices[0].chain;
    chain->stages[chain->stage_count - 1].spec->sink.type->close(bed.sink);
    for (uint32_t i = 0; i < bed.part_count; i++) buffer_deinit(&bed.parts[i]);
    buffer_deinit(&bed.delta);
    plan_destroy(bed.plan);
    weir_graph_destroy(bed.graph);
    weir_config_destroy(bed.config);
}

static void tell(const char *what, uint64_t epoch)
{
    const size_t used = strlen(bed.story);
    (void)snprintf(bed.story + used, sizeof bed.story - used, "%s%s %d", used == 0 ? "" : ", ", what, (int)epoch);
}

/* The keyed stage's delta, out of the letter. */
static void take_delta(struct letter_from_task *letter, struct buffer *out)
{
    for (uint32_t i = 0; i < letter->snapshot.stage_count; i++) {
        if (letter->snapshot.deltas[i].size == 0) continue;
        *out = letter->snapshot.deltas[i];
        buffer_init(&letter->snapshot.deltas[i]);
    }
}

static void take_letter(struct letter_from_task *letter)
{
    switch ((enum letter_type)letter->mail.type) {
    case LETTER_PART:
        tell("part", letter->epoch);
        ck_assert_uint_lt(bed.part_count, PARTS_MAX);
        take_delta(letter, &bed.parts[bed.part_count++]);
        if (bed.answers_parts) post(LETTER_PART_DURABLE, 0, NULL);
        break;
    case LETTER_ACK:
        tell("ack", letter->epoch);
        take_delta(letter, &bed.delta);
        bed.position = letter->positions.items[0].position;
        break;
    case LETTER_INPUT_ENDED: post(LETTER_FINISH, 0, NULL); break;
    case LETTER_ENDED: tell("ended", letter->epoch); break;
    case LETTER_FAILED: ck_abort_msg("the task failed: %s", letter->error.text);
    default: break;
    }
}

/* One step, and what it said. */
static enum task_result step(void)
{
    int64_t deadline_us;
    const enum task_result result = task_step(bed.task, &deadline_us);
    for (struct mail *mail; (mail = mailbox_take(&bed.mailbox)) != NULL; letter_destroy(mail))
        take_letter((struct letter_from_task *)mail);
    return result;
}

static uint64_t records_in(void)
{
    struct task_counters counters;
    task_read_counters(bed.task, &counters);
    return counters.records_in;
}

static void step_until_waiting(void)
{
    while (step() == TASK_WORKED) continue;
}

/* Without a pause: a task that waits before it has said so waits for ever. */
static void step_until(const char *said)
{
    while (strstr(bed.story, said) == NULL) ck_assert(step() == TASK_WORKED || strstr(bed.story, said) != NULL);
}

/* A part has begun when what a part would hold has become less. */
static void step_until_a_part_begins(void)
{
    uint64_t before;
    do {
        before = bed.story[0] == '\0' && records_in() == 0 ? 0 : chain_delta_bytes(task_chain(bed.task));
        ck_assert_int_eq(step(), TASK_WORKED);
    } while (chain_delta_bytes(task_chain(bed.task)) >= before);
    ck_assert_str_eq(bed.story, "");
}

/* Parts and delta, in the order in which they came, hold each number below `count` as a key that was counted once. */
static void ck_replay(uint64_t count)
{
    const struct state_declaration declaration = { .codec = WEIR_I64, .value_size_bytes = 8 };
    const struct state_mapping same = { .state = 0, .value_size_bytes = 8 };
    struct weir_error error = { 0 };
    struct shard *shard = shard_create(&(struct shard_options){ .states = &declaration, .state_count = 1,
                                                                .max_parallelism = 4, .group_count = 4, .epoch = 1 });
    for (uint32_t i = 0; i <= bed.part_count; i++) {
        const struct buffer *units = i < bed.part_count ? &bed.parts[i] : &bed.delta;
        ck_assert_msg(shard_apply(shard, (struct weir_bytes){ units->data, units->size }, &same, 1, &error) == WEIR_OK,
                      "%s", error.text);
    }
    ck_assert_uint_eq(shard_entry_count(shard), count);
    for (uint64_t i = 0; i < count; i++) {
        char text[24];
        (void)snprintf(text, sizeof text, "%d", (int)i);
        const struct state_key key = { .key = weir_text(text), .hash = hash_key(weir_text(text)) };
        const struct weir_bytes value = shard_get(shard, 0, &key);
        int64_t counted = 0;
        ck_assert_uint_eq(value.size, sizeof counted);
        memcpy(&counted, value.data, sizeof counted);
        ck_assert_int_eq(counted, 1);
    }
    shard_destroy(shard);
}

/* ---- Facts ------------------------------------------------------------------------------------------------------- */

START_TEST(holds_input_while_a_part_is_on_its_way_and_the_limit_is_reached_again)
{
    define_many_keys(1000000);
    start(HARD_LIMIT_BYTES);
    step_until_waiting();
    ck_assert_str_eq(bed.story, "part 1");
    /* Some 15 to 18 bytes for each record: twice the limit, and a batch each time. */
    const uint64_t held = records_in();
    ck_assert_uint_gt(held, 2 * HARD_LIMIT_BYTES / 18);
    ck_assert_uint_le(held, 2 * HARD_LIMIT_BYTES / 15 + 2 * BATCH_RECORDS);
    step_until_waiting();
    ck_assert_uint_eq(records_in(), held);
    post(LETTER_PART_DURABLE, 0, NULL);
    step_until_waiting();
    ck_assert_str_eq(bed.story, "part 1, part 1");
    ck_assert_uint_gt(records_in(), held);
    ck_assert_uint_le(records_in(), held + HARD_LIMIT_BYTES / 15 + BATCH_RECORDS);
}
END_TEST

START_TEST(a_cut_far_above_the_hard_limit_ends_one_epoch_exactly)
{
    const struct weir_split cut = { .name = "0", .identity = "", .position = 54321, .end = WEIR_POSITION_NONE };
    define_many_keys(1000000);
    start(HARD_LIMIT_BYTES);
    bed.answers_parts = true;
    post(LETTER_BARRIER, 1, &cut);
    step_until("ack");
    ck_assert_int_eq(bed.position, cut.position);
    ck_assert_uint_gt(bed.part_count, 10);
    for (uint32_t i = 0; i < bed.part_count; i++)
        ck_assert_uint_lt(bed.parts[i].size, HARD_LIMIT_BYTES + BATCH_RECORDS * 18);
    ck_assert_uint_lt(bed.delta.size, HARD_LIMIT_BYTES + BATCH_RECORDS * 18);
    ck_replay((uint64_t)cut.position);
    post(LETTER_COMMITTED, 1, NULL);
    (void)step();
    ck_assert_uint_eq(printed.lines, (uint64_t)cut.position); /* each key once, whichever part it was in */
}
END_TEST

START_TEST(a_barrier_waits_for_the_last_slice_of_a_part)
{
    define_many_keys(1000000);
    start(1 << 20); /* several slices */
    step_until_a_part_begins();
    post(LETTER_BARRIER, 1, NULL);
    step_until("ack");
    ck_assert_str_eq(bed.story, "part 1, ack 1");
    ck_replay((uint64_t)bed.position);
    post(LETTER_COMMITTED, 1, NULL);
    (void)step();
    ck_assert_uint_eq(printed.lines, (uint64_t)bed.position);
}
END_TEST

START_TEST(the_last_words_wait_for_the_last_slice_of_a_part)
{
    enum { COUNT = 64 * BATCH_RECORDS };
    define_many_keys(COUNT);
    start(COUNT * 17 + COUNT * 7 / 10); /* is reached by the last batch: 13 bytes and the digits, of which most have 5 */
    step_until_a_part_begins();
    ck_assert_uint_eq(records_in(), COUNT);
    step_until("ended");
    post(LETTER_BARRIER, 1, NULL);
    step_until("ack");
    ck_assert_str_eq(bed.story, "part 1, ended 1, ack 1");
    ck_replay(COUNT);
}
END_TEST

START_TEST(a_key_comes_out_once_in_an_epoch_whatever_the_limits)
{
    enum { COUNT = 20000 };
    define_kept_records(COUNT);
    start(HARD_LIMIT_BYTES);
    while (strstr(bed.story, "ended") == NULL) (void)step();
    post(LETTER_BARRIER, 1, NULL);
    step_until("ack");
    post(LETTER_COMMITTED, 1, NULL);
    (void)step();
    ck_assert_uint_eq(printed.lines, KEYS);
    for (int64_t key = 0; key < KEYS; key++)
        ck_assert_int_eq(printed.last[key], (COUNT - 1 - key) / KEYS * KEYS + key);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, holds_input_while_a_part_is_on_its_way_and_the_limit_is_reached_again);
    tcase_add_test(tests, a_cut_far_above_the_hard_limit_ends_one_epoch_exactly);
    tcase_add_test(tests, a_barrier_waits_for_the_last_slice_of_a_part);
    tcase_add_test(tests, the_last_words_wait_for_the_last_slice_of_a_part);
    tcase_add_test(tests, a_key_comes_out_once_in_an_epoch_whatever_the_limits);
}

int main(void) { return unit_main("runtime_task", add); }

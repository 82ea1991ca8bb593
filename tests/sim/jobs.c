#include "sim/jobs.h"

#include <inttypes.h>
#include <string.h>

#include "sim/oracle.h"
#include "weir/kafka.h"

enum { KEYS = 12, RECORDS_FOR_A_KEY = 40 };

/* Keys are "k0" to "k11", and slowly more; values count the records of a run. */
static void next_record(weir_test *test, const char *topic, struct weir_record *record)
{
    (void)topic;
    int64_t *count = weir_test_value(test, "written", WEIR_EMPTY, sizeof *count);
    record->key = weir_test_format(test, "k%u", (unsigned)weir_test_random(test, KEYS + (uint64_t)*count / RECORDS_FOR_A_KEY));
    record->value = weir_test_format(test, "%" PRId64, ++*count);
}

/* How many records of this key were taken in, this one among them. */
static int64_t count_key(weir_test *test, struct weir_bytes key)
{
    return ++*(int64_t *)weir_test_value(test, "seen", key, sizeof(int64_t));
}

static struct weir_bytes decimal(weir_test *test, int64_t number) { return weir_test_format(test, "%" PRId64, number); }

static enum weir_code add(weir_keyed_task *task, void *accumulator, const struct weir_record *record)
{
    (void)task, (void)record;
    ++*(int64_t *)accumulator;
    return WEIR_OK;
}

static struct weir_stream input(weir_graph *graph, const char *name)
{
    return weir_kafka_source(graph, .name = name, .topic = name);
}

/* ---- Counting ---------------------------------------------------------------------------------------------------- */

static void define_count(weir_graph *graph, enum weir_emit_mode mode)
{
    struct weir_stream counts = weir_aggregate(weir_key_by(input(graph, "in0"), .key = NULL), .name = "count",
                                               .accumulator = WEIR_I64, .add = add, .emit = mode);
    weir_kafka_sink(counts, .name = "counts", .topic = "out0");
}

static void define_count_each(weir_graph *graph, const weir_config *config)
{
    (void)config;
    define_count(graph, WEIR_EMIT_EACH);
}

static void define_count_on_commit(weir_graph *graph, const weir_config *config)
{
    (void)config;
    define_count(graph, WEIR_EMIT_ON_COMMIT);
}

static void expect_count(weir_test *test, struct weir_bytes key, enum weir_test_order order)
{
    weir_test_expect(test, .topic = "out0", .key = key, .value = decimal(test, count_key(test, key)), .order = order);
}

static void take_count_each(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    expect_count(test, record->key, WEIR_TEST_IN_ORDER);
}

static void take_count_on_commit(weir_test *test, const char *topic, int32_t partition,
                                 const struct weir_record *record)
{
    (void)topic, (void)partition;
    expect_count(test, record->key, WEIR_TEST_LAST);
}

/* ---- Copying, without state -------------------------------------------------------------------------------------- */

static bool is_odd(weir_task *task, const struct weir_record *record)
{
    (void)task;
    int64_t value;
    return weir_bytes_to_i64(record->value, &value) && value % 2 != 0;
}

static void define_copy(weir_graph *graph, const weir_config *config)
{
    (void)config;
    weir_kafka_sink(weir_filter(input(graph, "in0"), .name = "odd", .filter = is_odd), .name = "copies",
                    .topic = "out0");
}

static void take_copy(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    int64_t value;
    if (weir_bytes_to_i64(record->value, &value) && value % 2 != 0)
        weir_test_expect(test, .topic = "out0", .key = record->key, .value = record->value);
}

/* ---- Two inputs, state, a side output ---------------------------------------------------------------------------- */

static const struct weir_state seen = { .name = "seen", .kind = WEIR_STATE_VALUE, .codec = WEIR_I64 };
static const struct weir_output thirds = { .name = "thirds" };

static enum weir_code number(weir_keyed_task *task, const struct weir_record *record)
{
    (void)record;
    int64_t *count = weir_value_i64(task, &seen);
    if (count == NULL) return WEIR_FAILED;
    const int64_t now = ++*count;
    weir_keyed_emit(task, .value = weir_format_i64(task, now));
    if (now % 3 == 0) weir_keyed_emit(task, .to = &thirds, .value = weir_format_i64(task, now));
    return WEIR_OK;
}

static void define_union(weir_graph *graph, const weir_config *config)
{
    (void)config;
    struct weir_stream both = weir_union(input(graph, "in0"), input(graph, "in1"));
    struct weir_stream numbers = weir_keyed_process(weir_key_by(both, .key = NULL), .name = "number",
                                                    .process = number, .states = { &seen }, .outputs = { &thirds });
    weir_kafka_sink(numbers, .name = "numbers", .topic = "out0");
    weir_kafka_sink(weir_side_output(numbers, &thirds), .name = "thirds", .topic = "out1");
}

static void take_union(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    const int64_t now = count_key(test, record->key);
    weir_test_expect(test, .topic = "out0", .key = record->key, .value = decimal(test, now));
    if (now % 3 == 0) weir_test_expect(test, .topic = "out1", .key = record->key, .value = decimal(test, now));
}

/* ---- Collections ------------------------------------------------------------------------------------------------- */

enum { BUCKETS = 7, BUCKET_MAX = 5, RECENT_MAX = 6, FORGETS = 37 };

static enum weir_code take_larger(weir_keyed_task *task, void *so_far, const void *value)
{
    (void)task;
    int64_t *largest = so_far;
    if (*(const int64_t *)value > *largest) *largest = *(const int64_t *)value;
    return WEIR_OK;
}

/* How often a record fell into each bucket, which begins anew when it is full; what came last; and the largest remainder. */
static const struct weir_state buckets = { .name = "buckets", .kind = WEIR_STATE_MAP, .codec = WEIR_I64 };
static const struct weir_state recent = { .name = "recent", .kind = WEIR_STATE_LIST, .codec = WEIR_I64 };
static const struct weir_state largest = { .name = "largest", .kind = WEIR_STATE_REDUCING, .codec = WEIR_I64,
                                           .reduce = take_larger };

static int64_t remainder_of(int64_t value) { return value * 7919 % 1009; }

static int64_t count_in_bucket(weir_keyed_task *task, int64_t value)
{
    const struct weir_bytes bucket = weir_format(task, "b%d", (int)(value % BUCKETS));
    int64_t *count = weir_map_i64(task, &buckets, bucket);
    if (count == NULL) return -1;
    const int64_t now = ++*count;
    if (now == BUCKET_MAX) weir_map_remove(task, &buckets, bucket);
    return now;
}

static int64_t count_buckets(weir_keyed_task *task)
{
    struct weir_iterator at = { 0 };
    struct weir_bytes bucket, count;
    int64_t found = 0;
    while (weir_map_next(task, &buckets, &at, &bucket, &count)) found++;
    return found;
}

static int64_t sum_of_recent(weir_keyed_task *task, int64_t value)
{
    struct weir_iterator at = { 0 };
    int64_t element, sum = 0, count = 0;
    (void)weir_list_add_i64(task, &recent, value);
    while (weir_list_next_object(task, &recent, &at, &element)) {
        sum += element;
        count++;
    }
    if (count == RECENT_MAX) weir_list_clear(task, &recent);
    return sum;
}

static enum weir_code collect(weir_keyed_task *task, const struct weir_record *record)
{
    int64_t value, most = 0;
    if (!weir_bytes_to_i64(record->value, &value)) return weir_fail(task, "not a number");
    if (value % FORGETS == 0) weir_map_clear(task, &buckets);
    const int64_t in_bucket = count_in_bucket(task, value), filled = count_buckets(task), sum = sum_of_recent(task, value);
    (void)weir_reducing_add_i64(task, &largest, remainder_of(value));
    (void)weir_reducing_get(task, &largest, &most);
    return weir_keyed_emit(task, .value = weir_format(task, "%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64, in_bucket,
                                                      filled, sum, most));
}

static void define_collect(weir_graph *graph, const weir_config *config)
{
    (void)config;
    struct weir_stream collected = weir_keyed_process(weir_key_by(input(graph, "in0"), .key = NULL), .name = "collect",
                                                      .process = collect, .states = { &buckets, &recent, &largest });
    weir_kafka_sink(collected, .name = "collected", .topic = "out0");
}

/* The same in plain arrays. */
struct collection {
    int64_t buckets[BUCKETS], recent_count, sum, largest;
};

static void take_collect(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    struct collection *of_key = weir_test_value(test, "collection", record->key, sizeof *of_key);
    int64_t value = 0, filled = 0;
    (void)weir_bytes_to_i64(record->value, &value);
    if (value % FORGETS == 0) memset(of_key->buckets, 0, sizeof of_key->buckets);
    const int64_t in_bucket = ++of_key->buckets[value % BUCKETS];
    if (in_bucket == BUCKET_MAX) of_key->buckets[value % BUCKETS] = 0;
    for (size_t i = 0; i < BUCKETS; i++) filled += of_key->buckets[i] > 0;
    const int64_t sum = of_key->sum += value;
    if (++of_key->recent_count == RECENT_MAX) of_key->sum = of_key->recent_count = 0;
    if (remainder_of(value) > of_key->largest) of_key->largest = remainder_of(value);
    weir_test_expect(test, .topic = "out0", .key = record->key,
                     .value = weir_test_format(test, "%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64, in_bucket, filled,
                                               sum, of_key->largest));
}

/* ---- State of the operator itself -------------------------------------------------------------------------------- */

enum { HELD_MAX = 20, SUBTASKS_MAX = 3 };

/* Records that wait until there are enough of them, wherever a start with another parallelism has put them. */
static const struct weir_state held = { .name = "held", .kind = WEIR_STATE_OPERATOR_UNION, .codec = WEIR_I64 };

static int64_t count_held(void *task, bool of_all)
{
    struct weir_iterator at = { 0 };
    int64_t value, count = 0;
    while (of_all ? weir_operator_union_next_object(task, &held, &at, &value)
                  : weir_operator_list_next_object(task, &held, &at, &value))
        count++;
    return count;
}

/* What this one has, all have together: as much or more. */
static enum weir_code look_at_held(void *task)
{
    const int64_t own = count_held(task, false), all = count_held(task, true);
    if (own > all || (own < all && weir_subtask_count(task) == 1))
        return weir_fail(task, "holds %" PRId64 " records of %" PRId64, own, all);
    return WEIR_OK;
}

static enum weir_code hold(weir_task *task, const struct weir_record *record)
{
    struct weir_iterator at = { 0 };
    int64_t value;
    if (!weir_bytes_to_i64(record->value, &value)) return weir_fail(task, "not a number");
    weir_operator_list_add_i64(task, &held, value);
    if (count_held(task, false) < HELD_MAX) return WEIR_OK;
    while (weir_operator_list_next_object(task, &held, &at, &value))
        weir_emit(task, .key = weir_text("held"), .value = weir_format_i64(task, value));
    weir_operator_list_clear(task, &held);
    return WEIR_OK;
}

static void define_hold(weir_graph *graph, const weir_config *config)
{
    (void)config;
    weir_kafka_sink(weir_process(input(graph, "in0"), .name = "hold", .process = hold, .open = look_at_held,
                                 .states = { &held }),
                    .name = "copies", .topic = "out0");
}

/* What was taken in and did not come out is held; nothing comes out twice. */
static int64_t *held_of(weir_test *test) { return weir_test_value(test, "held", WEIR_EMPTY, sizeof(int64_t)); }

static void take_held(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    ++*(int64_t *)weir_test_value(test, "taken", record->value, sizeof(int64_t));
    ++*held_of(test);
}

static void put_held(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    if (--*(int64_t *)weir_test_value(test, "taken", record->value, sizeof(int64_t)) < 0)
        weir_test_fail(test, "%.*s came out, and is not held", (int)record->value.size, record->value.data);
    --*held_of(test);
}

static void end_held(weir_test *test)
{
    if (*held_of(test) > SUBTASKS_MAX * (HELD_MAX - 1))
        weir_test_fail(test, "%d records are held, or lost", (int)*held_of(test));
}

/* ---- Last words -------------------------------------------------------------------------------------------------- */

static enum weir_code say_the_end(weir_task *task, const struct weir_record *record)
{
    (void)record;
    return weir_emit(task, .key = weir_text("the end"), .value = weir_text("0"));
}

static enum weir_code forward(weir_task *task, const struct weir_record *record) { return weir_forward(task, record); }

static void define_ending(weir_graph *graph, const weir_config *config)
{
    (void)config;
    weir_kafka_sink(weir_process(input(graph, "in0"), .name = "forward", .process = forward, .finish = say_the_end),
                    .name = "copies", .topic = "out0");
}

/* What a commit has taken in comes out; and the end is said when there is one, again only when more has come: if it is just
 * the marker of a transaction that was aborted. */
struct ending {
    int64_t count, sum, ends;
    bool has_ended;
    uint64_t offsets; /* when the end was said */
};

static struct ending *ending_of(weir_test *test)
{
    return weir_test_value(test, "ending", WEIR_EMPTY, sizeof(struct ending));
}

static void take_ending(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    struct ending *ending = ending_of(test);
    int64_t value = 0;
    (void)weir_bytes_to_i64(record->value, &value);
    ending->count++;
    ending->sum += value;
}

static void put_ending(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    struct ending *ending = ending_of(test);
    int64_t value = 0;
    (void)weir_bytes_to_i64(record->value, &value);
    if (weir_bytes_equal(record->key, weir_text("the end"))) ending->ends++;
    else ending->count--;
    ending->sum -= value;
}

static void decide_ending(weir_test *test)
{
    struct ending *ending = ending_of(test);
    if (ending->count != 0 || ending->sum != 0) weir_test_fail(test, "what came out is not what was taken in");
    if (ending->ends == 0) return;
    const uint64_t offsets = oracle_counts().offsets;
    if (ending->has_ended && offsets == ending->offsets)
        weir_test_fail(test, "the end is said again, though nothing has come since");
    *ending = (struct ending){ .has_ended = true, .offsets = offsets };
}

/* ---- Time to live ------------------------------------------------------------------------------------------------ */

enum { VISITS_TTL_MS = 70, LATELY_TTL_MS = 150, TIMES_MAX = 1024 };

/* How many came in a row, and how many lately: at which time that was is part of the output. */
static const struct weir_ttl visits_ttl = { .duration_ms = VISITS_TTL_MS };
static const struct weir_ttl lately_ttl = { .duration_ms = LATELY_TTL_MS, .clean_up = WEIR_TTL_NO_CLEAN_UP };
static const struct weir_state visits = { .name = "visits", .kind = WEIR_STATE_VALUE, .codec = WEIR_I64, .ttl = &visits_ttl };
static const struct weir_state lately = { .name = "lately", .kind = WEIR_STATE_LIST, .codec = WEIR_I64, .ttl = &lately_ttl };

static enum weir_code remember(weir_keyed_task *task, const struct weir_record *record)
{
    (void)record;
    struct weir_iterator at = { 0 };
    const int64_t now_ms = weir_now_ms(task);
    int64_t time_ms, recent_count = 0;
    int64_t *count = weir_value_i64(task, &visits);
    if (count == NULL) return WEIR_FAILED;
    const int64_t in_a_row = ++*count;
    (void)weir_list_add_i64(task, &lately, now_ms);
    while (weir_list_next_object(task, &lately, &at, &time_ms)) recent_count++;
    return weir_keyed_emit(task, .value = weir_format(task, "%" PRId64 " %" PRId64 " %" PRId64, in_a_row, recent_count,
                                                      now_ms));
}

static void define_remember(weir_graph *graph, const weir_config *config)
{
    (void)config;
    struct weir_stream remembered = weir_keyed_process(weir_key_by(input(graph, "in0"), .key = NULL), .name = "remember",
                                                       .process = remember, .states = { &visits, &lately });
    weir_kafka_sink(remembered, .name = "remembered", .topic = "out0");
}

struct remembered {
    int64_t in_a_row, missing;
    uint32_t count;
    int64_t times_ms[TIMES_MAX]; /* the last ones, round and round */
};

static struct remembered *remembered_of(weir_test *test, struct weir_bytes key)
{
    return weir_test_value(test, "remembered", key, sizeof(struct remembered));
}

static void take_remembered(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    remembered_of(test, record->key)->missing++;
    ++*(int64_t *)weir_test_value(test, "missing", WEIR_EMPTY, sizeof(int64_t));
}

/* Numbers, each behind a blank or the beginning. */
static bool parse_numbers(struct weir_bytes text, int64_t *numbers, size_t count)
{
    struct weir_bytes word;
    size_t i = 0;
    while (i < count && weir_bytes_token(&text, ' ', &word))
        if (!weir_bytes_to_i64(word, &numbers[i++])) return false;
    return i == count;
}

static int64_t count_since(const struct remembered *of_key, int64_t now_ms)
{
    const uint32_t known = of_key->count < TIMES_MAX ? of_key->count : TIMES_MAX;
    int64_t count = 0;
    for (uint32_t i = 0; i < known; i++) count += now_ms - of_key->times_ms[i] < LATELY_TTL_MS;
    return count;
}

static void put_remembered(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    struct remembered *of_key = remembered_of(test, record->key);
    int64_t numbers[3] = { 0 };
    if (!parse_numbers(record->value, numbers, 3)) weir_test_fail(test, "what came out is not three numbers");
    const int64_t now_ms = numbers[2];
    const int64_t last_ms = of_key->count == 0 ? now_ms : of_key->times_ms[(of_key->count - 1) % TIMES_MAX];
    of_key->in_a_row = now_ms - last_ms >= VISITS_TTL_MS ? 1 : of_key->in_a_row + 1;
    of_key->times_ms[of_key->count++ % TIMES_MAX] = now_ms;
    if (now_ms < last_ms) weir_test_fail(test, "time goes back by %" PRId64 " ms", last_ms - now_ms);
    if (numbers[0] != of_key->in_a_row || numbers[1] != count_since(of_key, now_ms))
        weir_test_fail(test, "%.*s: %" PRId64 " in a row and %" PRId64 " lately, instead of %" PRId64 " and %" PRId64
                       " (%" PRId64 " ms after the last one)", (int)record->key.size, record->key.data, numbers[0],
                       numbers[1], of_key->in_a_row, count_since(of_key, now_ms), now_ms - last_ms);
    if (--of_key->missing < 0) weir_test_fail(test, "more came out than was taken in");
    --*(int64_t *)weir_test_value(test, "missing", WEIR_EMPTY, sizeof(int64_t));
}

static void decide_remembered(weir_test *test)
{
    const int64_t missing = *(int64_t *)weir_test_value(test, "missing", WEIR_EMPTY, sizeof(int64_t));
    if (missing != 0) weir_test_fail(test, "%" PRId64 " records that were taken in did not come out", missing);
}

/* ---- Broadcast state --------------------------------------------------------------------------------------------- */

/* in1 says what holds for a key of in0 from now on. */
static const struct weir_state rules = { .name = "rules", .kind = WEIR_STATE_BROADCAST, .codec = WEIR_I64 };
static const struct weir_state obeyed = { .name = "obeyed", .kind = WEIR_STATE_VALUE, .codec = WEIR_I64 };

static enum weir_code take_rule(weir_keyed_task *task, const struct weir_record *record)
{
    int64_t value;
    if (!weir_bytes_to_i64(record->value, &value)) return weir_fail(task, "not a number");
    return weir_broadcast_put_object(task, &rules, record->key, &value);
}

static enum weir_code obey(weir_keyed_task *task, const struct weir_record *record)
{
    int64_t rule = 0;
    (void)weir_broadcast_get_object(task, &rules, record->key, &rule);
    int64_t *count = weir_value_i64(task, &obeyed);
    if (count == NULL) return WEIR_FAILED;
    return weir_keyed_emit(task, .value = weir_format(task, "%" PRId64 " %" PRId64, ++*count, rule));
}

static void define_obey(weir_graph *graph, const weir_config *config)
{
    (void)config;
    struct weir_stream followed = weir_keyed_broadcast_process(weir_key_by(input(graph, "in0"), .key = NULL),
                                                               input(graph, "in1"), .name = "obey", .first = obey,
                                                               .second = take_rule, .states = { &rules, &obeyed });
    weir_kafka_sink(followed, .name = "obeyed", .topic = "out0");
}

/* Records of an epoch meet what held when it began, or a rule of the epoch itself, and of these never an older one than
 * the record before of the key. */
struct rule {
    int64_t epoch, count;
    uint32_t value_count, value_at;
    int64_t values[TIMES_MAX]; /* the first: when the epoch began */
};

static struct rule *rule_of(weir_test *test, struct weir_bytes key)
{
    struct rule *rule = weir_test_value(test, "rule", key, sizeof *rule);
    const int64_t epoch = *(int64_t *)weir_test_value(test, "epoch", WEIR_EMPTY, sizeof epoch);
    if (rule->value_count == 0) rule->value_count = 1;
    if (rule->epoch != epoch) {
        rule->values[0] = rule->values[rule->value_count - 1];
        rule->value_count = 1;
        rule->value_at = 0;
        rule->epoch = epoch;
    }
    return rule;
}

static void take_obeyed(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)partition;
    struct rule *rule = rule_of(test, record->key);
    int64_t value = 0;
    (void)weir_bytes_to_i64(record->value, &value);
    if (strcmp(topic, "in0") == 0) ++*(int64_t *)weir_test_value(test, "missing", WEIR_EMPTY, sizeof(int64_t));
    else if (rule->value_count < TIMES_MAX) rule->values[rule->value_count++] = value;
}

static void put_obeyed(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    struct rule *rule = rule_of(test, record->key);
    int64_t numbers[2] = { 0 };
    if (!parse_numbers(record->value, numbers, 2) || numbers[0] != ++rule->count)
        weir_test_fail(test, "%.*s comes as number %" PRId64 ", and is number %" PRId64, (int)record->key.size,
                       record->key.data, numbers[0], rule->count);
    while (rule->value_at < rule->value_count && rule->values[rule->value_at] != numbers[1]) rule->value_at++;
    if (rule->value_at == rule->value_count)
        weir_test_fail(test, "%.*s obeys rule %" PRId64 ", which does not hold then", (int)record->key.size,
                       record->key.data, numbers[1]);
    --*(int64_t *)weir_test_value(test, "missing", WEIR_EMPTY, sizeof(int64_t));
}

static void decide_obeyed(weir_test *test)
{
    decide_remembered(test);
    ++*(int64_t *)weir_test_value(test, "epoch", WEIR_EMPTY, sizeof(int64_t));
}

/* ---- After another job ------------------------------------------------------------------------------------------- */

/* Whatever comes out of that: counted by key. */
static void define_follow(weir_graph *graph, const weir_config *config)
{
    (void)config;
    struct weir_stream counts = weir_aggregate(weir_key_by(input(graph, "out0"), .key = NULL), .name = "count",
                                               .accumulator = WEIR_I64, .add = add, .emit = WEIR_EMIT_EACH);
    weir_kafka_sink(counts, .name = "counts", .topic = "far0");
}

static void take_follow(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    weir_test_expect(test, .topic = "far0", .key = record->key, .value = decimal(test, count_key(test, record->key)));
}

/* ---- Barriers that overtake -------------------------------------------------------------------------------------- */

static const struct weir_state counted = { .name = "counted", .kind = WEIR_STATE_VALUE, .codec = WEIR_I64 };

/* Counts each key twice, one operator behind the other: what overtakes in either of their channels shows in the numbers. */
static enum weir_code count_again(weir_keyed_task *task, const struct weir_record *record)
{
    int64_t *count = weir_value_i64(task, &counted);
    if (count == NULL) return WEIR_FAILED;
    return weir_keyed_emit(task, .key = record->key, .value = weir_format(task, "%.*s%s%" PRId64, (int)record->value.size,
                                                                          record->value.data, " ", ++*count));
}

static enum weir_code empty_value(weir_task *task, const struct weir_record *record)
{
    return weir_emit(task, .key = record->key, .value = WEIR_EMPTY);
}

static void define_overtaken(weir_graph *graph, const weir_config *config)
{
    (void)config;
    struct weir_stream bare = weir_process(input(graph, "in0"), .name = "bare", .process = empty_value);
    struct weir_stream once = weir_keyed_process(weir_key_by(bare, .key = NULL), .name = "once", .process = count_again,
                                                 .states = { &counted });
    struct weir_stream twice = weir_keyed_process(weir_key_by(once, .key = NULL), .name = "twice",
                                                  .process = count_again, .states = { &counted });
    weir_kafka_sink(twice, .name = "counted", .topic = "out0");
}

/* What was taken in may come out in a later epoch, but comes, in order. */
static void take_overtaken(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition, (void)record;
    ++*(int64_t *)weir_test_value(test, "missing", WEIR_EMPTY, sizeof(int64_t));
}

static void put_overtaken(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    int64_t numbers[2] = { 0 };
    const int64_t count = ++*(int64_t *)weir_test_value(test, "count", record->key, sizeof count);
    if (!parse_numbers(record->value, numbers, 2) || numbers[0] != count || numbers[1] != count)
        weir_test_fail(test, "%.*s comes as number %" PRId64 " and %" PRId64 ", and is number %" PRId64,
                       (int)record->key.size, record->key.data, numbers[0], numbers[1], count);
    if (--*(int64_t *)weir_test_value(test, "missing", WEIR_EMPTY, sizeof(int64_t)) < 0)
        weir_test_fail(test, "more came out than was taken in");
}

#define JOB(job_name, define_job, take_record)                                                                         \
    .size = sizeof(struct weir_test_job), .name = (job_name), .define = (define_job), .next_record = next_record,      \
    .take = (take_record)

const struct weir_test_job sim_jobs[] = {
    { JOB("count-each", define_count_each, take_count_each), .inputs = { { "in0", 0 } }, .outputs = { { "out0", 0 } } },
    { JOB("count-on-commit", define_count_on_commit, take_count_on_commit), .inputs = { { "in0", 0 } },
      .outputs = { { "out0", 0 } } },
    { JOB("copy", define_copy, take_copy), .inputs = { { "in0", 0 } }, .outputs = { { "out0", 0 } } },
    { JOB("collect", define_collect, take_collect), .inputs = { { "in0", 0 } }, .outputs = { { "out0", 0 } } },
    { JOB("ending", define_ending, take_ending), .put = put_ending, .decided = decide_ending, .inputs = { { "in0", 0 } },
      .outputs = { { "out0", 0 } } },
    { JOB("hold", define_hold, take_held), .put = put_held, .end = end_held, .inputs = { { "in0", 0 } },
      .outputs = { { "out0", 0 } } },
    { JOB("obey", define_obey, take_obeyed), .put = put_obeyed, .decided = decide_obeyed,
      .inputs = { { "in0", 0 }, { "in1", 0 } }, .outputs = { { "out0", 0 } } },
    { JOB("overtaken", define_overtaken, take_overtaken), .put = put_overtaken, .end = decide_remembered,
      .inputs = { { "in0", 0 } }, .outputs = { { "out0", 0 } },
      .settings = (const char *const[]){ "execution.checkpointing.unaligned.enabled=true", NULL } },
    { JOB("remember", define_remember, take_remembered), .put = put_remembered, .decided = decide_remembered,
      .inputs = { { "in0", 0 } }, .outputs = { { "out0", 0 } } },
    { JOB("union", define_union, take_union), .inputs = { { "in0", 0 }, { "in1", 0 } },
      .outputs = { { "out0", 0 }, { "out1", 0 } } },
};
const struct weir_test_job sim_loose_job = {
    JOB("copy-at-least-once", define_copy, take_copy), .inputs = { { "in0", 0 } }, .outputs = { { "out0", 0 } },
    .settings = (const char *const[]){ "execution.checkpointing.mode=AT_LEAST_ONCE", NULL },
};
const struct weir_test_job sim_follower = {
    JOB("follow", define_follow, take_follow), .inputs = { { "out0", 0 } }, .outputs = { { "far0", 0 } },
};
const uint32_t sim_job_count = sizeof sim_jobs / sizeof sim_jobs[0];

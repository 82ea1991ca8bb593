/* What callbacks do with their states: each kind through each codec, and values of older versions. */
#include <stdio.h>
#include <string.h>

#include "harness/rig.h"
#include "harness/unit.h"

static struct rig rig;

static void start(weir_keyed_process_fn *process, const struct weir_state *state)
{
    rig_init(&rig);
    struct weir_keyed_stream keyed = weir_key_by(rig_source(&rig, "in"), .key = NULL);
    rig_sink(&rig, weir_keyed_process(keyed, .name = "p", .process = process, .states = { state }), "out");
    rig_start(&rig, (struct rig_options){ 0 });
}

/* Each word of `commands` as the value of a record of key "k"; what came out. */
static const char *tell(const char *commands)
{
    struct weir_bytes rest = weir_text(commands), word;
    while (weir_bytes_token(&rest, ' ', &word)) {
        char copy[64];
        (void)snprintf(copy, sizeof copy, "%.*s", (int)word.size, word.data);
        rig_feed(&rig, 0, "k", copy);
    }
    return rig_output(&rig);
}

static void expect_failure(const char *command, const char *text)
{
    rig_add(&rig, "k", command);
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_FAILED);
    ck_assert_str_eq(chain_error(rig.chain)->text, text);
    rig_deinit(&rig);
}

/* What follows the letter of a command. */
static struct weir_bytes argument(const struct weir_record *record)
{
    return (struct weir_bytes){ record->value.data + 1, record->value.size - 1 };
}

static int64_t number(const struct weir_record *record)
{
    int64_t value = 0;
    (void)weir_bytes_to_i64(argument(record), &value);
    return value;
}

static enum weir_code say(weir_keyed_task *task, const char *text)
{
    return weir_keyed_emit(task, .value = weir_text(text));
}

static void append(char *text, struct weir_bytes bytes)
{
    (void)snprintf(text + strlen(text), 100 - strlen(text), "%.*s,", (int)bytes.size, bytes.data);
}

/* ---- Lists ------------------------------------------------------------------------------------------------------- */

static const struct weir_state words = { .name = "words", .kind = WEIR_STATE_LIST };

static enum weir_code on_words(weir_keyed_task *task, const struct weir_record *record)
{
    struct weir_iterator at = { 0 };
    struct weir_bytes word;
    char text[100] = "";
    const struct weir_bytes two[] = { argument(record), weir_text("two") };
    switch (record->value.data[0]) {
    case '+': return weir_list_add(task, &words, argument(record));
    case '*': return weir_list_add_all(task, &words, two, 2);
    case '=': return weir_list_update(task, &words, two, 2);
    case '0': return weir_list_add(task, &words, WEIR_NULL);
    case '!': weir_list_clear(task, &words); return WEIR_OK;
    default: break;
    }
    while (weir_list_next(task, &words, &at, &word)) append(text, word);
    ck_assert(weir_list_is_empty(task, &words) == (text[0] == '\0'));
    return say(task, text);
}

START_TEST(a_list_is_added_to_walked_replaced_and_cleared)
{
    start(on_words, &words);
    ck_assert_str_eq(tell("? +b +a ?"), "out k=\nout k=b,a,\n");
    ck_assert_str_eq(tell("*c ?"), "out k=b,a,c,two,\n");
    ck_assert_str_eq(tell("=d ? ! ? +e ?"), "out k=d,two,\nout k=\nout k=e,\n");
    rig_feed(&rig, 0, "other", "?");
    ck_assert_str_eq(rig_output(&rig), "out other=\n");
    expect_failure("0", "operator 'p', subtask 0: sets the state 'words' to null: clear it, or remove the entry of a map");
}
END_TEST

static const struct weir_state numbers = { .name = "numbers", .kind = WEIR_STATE_LIST, .codec = WEIR_I64 };

static enum weir_code on_numbers(weir_keyed_task *task, const struct weir_record *record)
{
    struct weir_iterator at = { 0 };
    int64_t value, sum = 0;
    if (record->value.data[0] == 'f') return weir_list_add_f64(task, &numbers, 1.5);
    if (record->value.data[0] == 'b') return weir_list_add(task, &numbers, argument(record));
    if (record->value.data[0] == '+') return weir_list_add_i64(task, &numbers, number(record));
    while (weir_list_next_object(task, &numbers, &at, &value)) sum += value;
    return weir_keyed_emit(task, .value = weir_format_i64(task, sum));
}

START_TEST(a_list_holds_numbers)
{
    start(on_numbers, &numbers);
    ck_assert_str_eq(tell("+7 +-2 ?"), "out k=5\n");
    expect_failure("f", "operator 'p', subtask 0: reads the state 'numbers' as another type than its .codec says: use "
                        "the call for its codec");
    start(on_numbers, &numbers);
    expect_failure("bxyz", "operator 'p', subtask 0: sets the state 'numbers' of 8 bytes to a value of 3");
}
END_TEST

/* ---- Maps -------------------------------------------------------------------------------------------------------- */

static const struct weir_state map = { .name = "map", .kind = WEIR_STATE_MAP };

static enum weir_code on_map(weir_keyed_task *task, const struct weir_record *record)
{
    struct weir_iterator at = { 0 };
    struct weir_bytes key, value;
    char text[100] = "";
    switch (record->value.data[0]) {
    case '+': return weir_map_put(task, &map, argument(record), weir_text("v"));
    case '-': weir_map_remove(task, &map, argument(record)); return WEIR_OK;
    case '!': weir_map_clear(task, &map); return WEIR_OK;
    case '#': return say(task, weir_map_contains(task, &map, argument(record)) ? "yes" : "no");
    case 'n': return weir_map_put(task, &map, WEIR_NULL, weir_text("v"));
    case 'w': weir_list_clear(task, &map); return WEIR_OK;
    default: break;
    }
    while (weir_map_next(task, &map, &at, &key, &value)) {
        append(text, key);
        ck_assert(weir_bytes_equal(value, weir_text("v")));
        ck_assert(weir_bytes_equal(value, weir_map_get(task, &map, key)));
        if (record->value.data[0] == 'x') weir_map_remove(task, &map, key);
    }
    ck_assert(record->value.data[0] == 'x' || weir_map_is_empty(task, &map) == (text[0] == '\0'));
    return say(task, text);
}

START_TEST(a_map_is_filled_asked_walked_and_cleared)
{
    start(on_map, &map);
    ck_assert_str_eq(tell("+b +a +c -b #a #b ?"), "out k=yes\nout k=no\nout k=a,c,\n");
    ck_assert_str_eq(tell("! ? +z ? x ?"), "out k=\nout k=z,\nout k=z,\nout k=\n");
    expect_failure("n", "operator 'p', subtask 0: uses null as a key of the map 'map': give it bytes, WEIR_EMPTY for none");
    start(on_map, &map);
    expect_failure("w", "operator 'p', subtask 0: uses the state 'map' as another kind than its .kind says: use weir_map_...");
}
END_TEST

static const struct weir_state tally = { .name = "tally", .kind = WEIR_STATE_MAP, .codec = WEIR_I64 };

static enum weir_code on_tally(weir_keyed_task *task, const struct weir_record *record)
{
    struct weir_iterator at = { 0 };
    struct weir_bytes key;
    int64_t count;
    if (record->value.data[0] == '+') {
        ++*weir_map_i64(task, &tally, weir_key_of_i64(task, number(record)));
        return WEIR_OK;
    }
    while (weir_map_next_object(task, &tally, &at, &key, &count))
        weir_keyed_emit(task, .value = weir_format(task, "%lld:%lld", (long long)weir_key_to_i64(key), (long long)count));
    return WEIR_OK;
}

START_TEST(numbers_as_keys_are_in_their_own_order)
{
    start(on_tally, &tally);
    ck_assert_str_eq(tell("+5 +-3 +1000 +5 +-300 ?"), "out k=-300:1\nout k=-3:1\nout k=5:2\nout k=1000:1\n");
    rig_deinit(&rig);
}
END_TEST

/* ---- Objects ----------------------------------------------------------------------------------------------------- */

/* A struct with a pointer; its form is "count;text". */
struct note {
    int64_t count;
    struct weir_bytes text;
};

static struct weir_bytes encode_note(void *task, const void *object)
{
    const struct note *note = object;
    return weir_format(task, "%lld;%.*s", (long long)note->count, (int)note->text.size, note->text.data);
}

static enum weir_code decode_note(void *task, struct weir_bytes bytes, void *object)
{
    struct note *note = object;
    struct weir_bytes count;
    ck_assert(note->count == 0 && note->text.data == NULL);
    if (!weir_bytes_token(&bytes, ';', &count) || !weir_bytes_to_i64(count, &note->count) || bytes.size == 0)
        return weir_fail(task, "this is no note");
    note->text = (struct weir_bytes){ bytes.data + 1, bytes.size - 1 };
    return WEIR_OK;
}

static const struct weir_object note_object = { .name = "note", .size_bytes = sizeof(struct note),
                                                .encode = encode_note, .decode = decode_note };
static const struct weir_state note_value = { .name = "v", .codec = WEIR_OBJECT, .object = &note_object };
static const struct weir_state note_list = { .name = "l", .kind = WEIR_STATE_LIST, .codec = WEIR_OBJECT,
                                             .object = &note_object };
static const struct weir_state note_map = { .name = "m", .kind = WEIR_STATE_MAP, .codec = WEIR_OBJECT,
                                            .object = &note_object };

static enum weir_code say_note(weir_keyed_task *task, const struct note *note)
{
    return weir_keyed_emit(task, .value = weir_format(task, "%.*s%lld", (int)note->text.size, note->text.data,
                                                      (long long)note->count));
}

static enum weir_code on_note_value(weir_keyed_task *task, const struct weir_record *record)
{
    struct note note = { 0 };
    if (record->value.data[0] == 'd') return weir_value_set(task, &note_value, weir_text("damage"));
    if (record->value.data[0] == 'c') weir_value_clear(task, &note_value);
    const bool found = weir_value_get_object(task, &note_value, &note);
    if (!found) note.text = argument(record);
    note.count++;
    weir_value_set_object(task, &note_value, &note);
    return say_note(task, &note);
}

START_TEST(a_value_goes_through_its_objects_functions)
{
    start(on_note_value, &note_value);
    ck_assert_str_eq(tell("?x ?y cz"), "out k=x1\nout k=x2\nout k=z1\n");
    (void)tell("d");
    expect_failure("?", "operator 'p', subtask 0: this is no note");
}
END_TEST

static enum weir_code on_note_list(weir_keyed_task *task, const struct weir_record *record)
{
    struct note note = { .count = 1, .text = argument(record) };
    struct weir_iterator at = { 0 };
    if (record->value.data[0] == '+') return weir_list_add_object(task, &note_list, &note);
    while (weir_list_next_object(task, &note_list, &at, &note)) say_note(task, &note);
    return WEIR_OK;
}

START_TEST(elements_go_through_their_objects_functions)
{
    start(on_note_list, &note_list);
    ck_assert_str_eq(tell("+x +y ?"), "out k=x1\nout k=y1\n");
    rig_deinit(&rig);
}
END_TEST

static enum weir_code on_note_map(weir_keyed_task *task, const struct weir_record *record)
{
    struct note note = { .text = argument(record) };
    (void)weir_map_get_object(task, &note_map, argument(record), &note);
    note.count++;
    weir_map_put_object(task, &note_map, argument(record), &note);
    return say_note(task, &note);
}

START_TEST(entries_go_through_their_objects_functions)
{
    start(on_note_map, &note_map);
    ck_assert_str_eq(tell("+x +y +x"), "out k=x1\nout k=y1\nout k=x2\n");
    rig_deinit(&rig);
}
END_TEST

/* ---- Reducing ---------------------------------------------------------------------------------------------------- */

static enum weir_code larger(weir_keyed_task *task, void *so_far, const void *value)
{
    int64_t *most = so_far;
    const int64_t *other = value;
    if (*other == 666) return weir_fail(task, "not this one");
    if (*other > *most) *most = *other;
    return WEIR_OK;
}
static const struct weir_state most = { .name = "most", .kind = WEIR_STATE_REDUCING, .codec = WEIR_I64,
                                        .reduce = larger };

static enum weir_code on_most(weir_keyed_task *task, const struct weir_record *record)
{
    int64_t value;
    if (record->value.data[0] == '!') weir_reducing_clear(task, &most);
    else weir_reducing_add_i64(task, &most, number(record));
    if (!weir_reducing_get(task, &most, &value)) return say(task, "none");
    return weir_keyed_emit(task, .value = weir_format_i64(task, value));
}

START_TEST(a_reducing_state_folds_numbers)
{
    start(on_most, &most);
    ck_assert_str_eq(tell("+-5 +-7 +3 ! +-9"), "out k=-5\nout k=-5\nout k=3\nout k=none\nout k=-9\n");
    expect_failure("+666", "operator 'p', subtask 0: not this one");
}
END_TEST

static enum weir_code join(weir_keyed_task *task, void *so_far, const void *value)
{
    struct weir_bytes *text = so_far;
    const struct weir_bytes *more = value;
    *text = weir_format(task, "%.*s+%.*s", (int)text->size, text->data, (int)more->size, more->data);
    return WEIR_OK;
}
static const struct weir_state joined = { .name = "joined", .kind = WEIR_STATE_REDUCING, .reduce = join };

static enum weir_code on_joined(weir_keyed_task *task, const struct weir_record *record)
{
    struct weir_bytes text = argument(record);
    weir_reducing_add(task, &joined, &text);
    ck_assert(weir_reducing_get(task, &joined, &text));
    return weir_keyed_emit(task, .value = text);
}

START_TEST(a_reducing_state_folds_bytes)
{
    start(on_joined, &joined);
    ck_assert_str_eq(tell("+a +bc +"), "out k=a\nout k=a+bc\nout k=a+bc+\n");
    rig_deinit(&rig);
}
END_TEST

static enum weir_code longest(weir_keyed_task *task, void *so_far, const void *value)
{
    struct note *kept = so_far;
    const struct note *other = value;
    (void)task;
    kept->count += other->count;
    if (other->text.size > kept->text.size) kept->text = other->text;
    return WEIR_OK;
}
static const struct weir_state longest_note = { .name = "longest", .kind = WEIR_STATE_REDUCING, .codec = WEIR_OBJECT,
                                                .object = &note_object, .reduce = longest };

static enum weir_code on_longest(weir_keyed_task *task, const struct weir_record *record)
{
    struct note note = { .count = 1, .text = argument(record) };
    weir_reducing_add(task, &longest_note, &note);
    ck_assert(weir_reducing_get(task, &longest_note, &note));
    return say_note(task, &note);
}

START_TEST(a_reducing_state_folds_objects)
{
    start(on_longest, &longest_note);
    ck_assert_str_eq(tell("+ab +abc +a"), "out k=ab1\nout k=abc2\nout k=abc3\n");
    rig_deinit(&rig);
}
END_TEST

/* ---- Aggregating ------------------------------------------------------------------------------------------------- */

struct mean {
    int64_t sum, count, smallest;
};

static enum weir_code create_mean(weir_keyed_task *task, void *accumulator)
{
    (void)task;
    ((struct mean *)accumulator)->smallest = 1000;
    return WEIR_OK;
}

static enum weir_code add_to_mean(weir_keyed_task *task, void *accumulator, const void *input)
{
    struct mean *mean = accumulator;
    const int64_t value = *(const int64_t *)input;
    (void)task;
    mean->sum += value;
    mean->count++;
    if (value < mean->smallest) mean->smallest = value;
    return WEIR_OK;
}

static enum weir_code result_of_mean(weir_keyed_task *task, const void *accumulator, void *output)
{
    const struct mean *mean = accumulator;
    *(struct weir_bytes *)output = weir_format(task, "%lld/%lld,%lld", (long long)mean->sum, (long long)mean->count,
                                               (long long)mean->smallest);
    return WEIR_OK;
}

static const struct weir_aggregator mean_aggregator = { .create = create_mean, .add = add_to_mean,
                                                        .result = result_of_mean };
static const struct weir_state mean = { .name = "mean", .kind = WEIR_STATE_AGGREGATING, .codec = WEIR_STRUCT,
                                        .struct_size_bytes = sizeof(struct mean), .aggregator = &mean_aggregator };

static enum weir_code on_mean(weir_keyed_task *task, const struct weir_record *record)
{
    struct weir_bytes text;
    const int64_t value = number(record);
    if (record->value.data[0] == '!') weir_aggregating_clear(task, &mean);
    else weir_aggregating_add(task, &mean, &value);
    if (!weir_aggregating_get(task, &mean, &text)) return say(task, "none");
    return weir_keyed_emit(task, .value = text);
}

START_TEST(an_aggregating_state_creates_adds_and_tells_its_result)
{
    start(on_mean, &mean);
    ck_assert_str_eq(tell("+4 +6 ! +5"), "out k=4/1,4\nout k=10/2,4\nout k=none\nout k=5/1,5\n");
    rig_deinit(&rig);
}
END_TEST

static enum weir_code add_to_note(weir_keyed_task *task, void *accumulator, const void *input)
{
    struct note *note = accumulator;
    const struct weir_bytes *text = input;
    note->count++;
    note->text = weir_format(task, "%.*s%.*s", (int)note->text.size, note->text.data, (int)text->size, text->data);
    return WEIR_OK;
}
static enum weir_code result_of_note(weir_keyed_task *task, const void *accumulator, void *output)
{
    (void)task;
    *(struct note *)output = *(const struct note *)accumulator;
    return WEIR_OK;
}
static const struct weir_aggregator note_aggregator = { .add = add_to_note, .result = result_of_note };
static const struct weir_state gathered = { .name = "gathered", .kind = WEIR_STATE_AGGREGATING, .codec = WEIR_OBJECT,
                                            .object = &note_object, .aggregator = &note_aggregator };

static enum weir_code on_gathered(weir_keyed_task *task, const struct weir_record *record)
{
    struct note note;
    const struct weir_bytes text = argument(record);
    weir_aggregating_add(task, &gathered, &text);
    return weir_aggregating_get(task, &gathered, &note) ? say_note(task, &note) : WEIR_FAILED;
}

START_TEST(an_accumulator_may_be_an_object)
{
    start(on_gathered, &gathered);
    ck_assert_str_eq(tell("+a +bc"), "out k=a1\nout k=abc2\n");
    rig_deinit(&rig);
}
END_TEST

/* ---- Versions ---------------------------------------------------------------------------------------------------- */

/* Version 0 counted; version 2 has the largest number, too. */
struct counted {
    int64_t count, largest;
};

static int migrations;

static struct weir_bytes to_counted(void *task, uint32_t version, struct weir_bytes value)
{
    migrations++;
    struct counted *counted = weir_alloc(task, sizeof *counted);
    if (version != 0 || value.size != sizeof counted->count) {
        weir_fail(task, "a value of version %u and %zu bytes", version, value.size);
        return (struct weir_bytes){ 0 };
    }
    memcpy(&counted->count, value.data, sizeof counted->count);
    counted->largest = -1;
    return (struct weir_bytes){ (const char *)counted, sizeof *counted };
}

static const struct weir_state count_now = { .name = "count", .codec = WEIR_STRUCT, .version = 2,
                                             .struct_size_bytes = sizeof(struct counted), .migrate = to_counted };
static const struct weir_state counts_now = { .name = "count", .kind = WEIR_STATE_MAP, .codec = WEIR_STRUCT,
                                              .version = 2, .struct_size_bytes = sizeof(struct counted),
                                              .migrate = to_counted };

/* A unit of version 0 with the number 7, under each key. */
static void restore(const char *const *keys, size_t count, bool is_map, uint32_t version)
{
    struct state_declaration declaration = { .name = "count", .codec = WEIR_I64, .value_size_bytes = 8 };
    if (is_map) declaration.kind = WEIR_STATE_MAP;
    struct shard *shard = shard_create(&(struct shard_options){ .states = &declaration, .state_count = 1,
                                                                .max_parallelism = 128, .group_count = 128,
                                                                .epoch = 1 });
    struct buffer delta;
    struct weir_error error = { 0 };
    buffer_init(&delta);
    for (size_t i = 0; i < count; i++) {
        struct state_key key = { .key = weir_text(keys[i]), .hash = hash_key(weir_text(keys[i])) };
        if (is_map) key.element = weir_text("e");
        *(int64_t *)(is_map ? shard_map_value(shard, 0, &key) : shard_value(shard, 0, &key)) = 7;
    }
    ck_assert(shard_snapshot(shard, 1, &delta));
    const struct state_mapping mapping = { .state = 0, .version = version, .value_size_bytes = 8 };
    struct shard *restored = chain_shard(rig.chain, 1);
    ck_assert_ptr_nonnull(restored);
    ck_assert_msg(shard_apply(restored, (struct weir_bytes){ delta.data, delta.size }, &mapping, 1, &error) == WEIR_OK,
                  "%s", error.text);
    ck_assert_int_eq(shard_restored(restored, 1, 1, &error), WEIR_OK);
    buffer_deinit(&delta);
    shard_destroy(shard);
    migrations = 0;
}

static enum weir_code on_count(weir_keyed_task *task, const struct weir_record *record)
{
    struct counted counted = { 0 };
    if (record->value.data[0] == '+') {
        struct counted *value = weir_value_struct(task, &count_now);
        if (value == NULL) return WEIR_FAILED;
        value->count++;
        if (number(record) > value->largest) value->largest = number(record);
    }
    (void)weir_value_get_object(task, &count_now, &counted);
    return weir_keyed_emit(task, .value = weir_format(task, "%lld,%lld", (long long)counted.count,
                                                      (long long)counted.largest));
}

START_TEST(a_value_of_an_older_version_is_migrated_when_it_is_used)
{
    start(on_count, &count_now);
    restore((const char *const[]){ "k", "other" }, 2, false, 0);
    ck_assert_str_eq(tell("?"), "out k=7,-1\n");
    ck_assert_int_eq(migrations, 1);
    ck_assert_uint_eq(shard_changed_bytes(chain_shard(rig.chain, 1)), 0); /* reading is no change */
    ck_assert_str_eq(tell("+4 +3 ?"), "out k=8,4\nout k=9,4\nout k=9,4\n");
    ck_assert_int_eq(migrations, 2); /* once more, and for good */
    rig_deinit(&rig);
}
END_TEST

START_TEST(an_older_value_stays_itself_in_a_base)
{
    start(on_count, &count_now);
    restore((const char *const[]){ "k", "other" }, 2, false, 0);
    ck_assert_str_eq(tell("+4"), "out k=8,4\n");
    struct buffer base;
    struct weir_error error;
    buffer_init(&base);
    struct shard *shard = chain_shard(rig.chain, 1);
    (void)shard_dump_begin(shard);
    ck_assert(shard_dump_step(shard, 100000, &base));
    rig_deinit(&rig);

    start(on_count, &count_now);
    const struct state_mapping mapping = { .state = 0, .version = 2, .value_size_bytes = 16 };
    shard = chain_shard(rig.chain, 1);
    ck_assert_int_eq(shard_apply(shard, (struct weir_bytes){ base.data, base.size }, &mapping, 1, &error), WEIR_OK);
    ck_assert_int_eq(shard_restored(shard, 1, 0, &error), WEIR_OK);
    migrations = 0;
    ck_assert_str_eq(tell("?"), "out k=8,4\n");
    ck_assert_int_eq(migrations, 0);
    rig_feed(&rig, 0, "other", "?");
    ck_assert_str_eq(rig_output(&rig), "out other=7,-1\n");
    ck_assert_int_eq(migrations, 1);
    buffer_deinit(&base);
    rig_deinit(&rig);
}
END_TEST

START_TEST(a_migration_that_fails_says_why)
{
    start(on_count, &count_now);
    restore((const char *const[]){ "k" }, 1, false, 1);
    expect_failure("+1", "operator 'p', subtask 0: a value of version 1 and 8 bytes");
}
END_TEST

static struct weir_bytes to_nothing(void *task, uint32_t version, struct weir_bytes value)
{
    (void)task, (void)version;
    return value;
}
static const struct weir_state careless = { .name = "count", .codec = WEIR_STRUCT, .version = 2,
                                            .struct_size_bytes = sizeof(struct counted), .migrate = to_nothing };
static enum weir_code on_careless(weir_keyed_task *task, const struct weir_record *record)
{
    (void)record;
    return weir_value_struct(task, &careless) == NULL ? WEIR_FAILED : WEIR_OK;
}

START_TEST(a_migrated_value_must_have_its_size)
{
    start(on_careless, &careless);
    restore((const char *const[]){ "k" }, 1, false, 0);
    expect_failure("+", "operator 'p', subtask 0: the .migrate of its state 'count' answered another size for a value of "
                        "version 0: answer the value as version 2 writes it, or end with weir_fail");
}
END_TEST

static enum weir_code on_counts(weir_keyed_task *task, const struct weir_record *record)
{
    struct weir_iterator at = { 0 };
    struct weir_bytes key;
    struct counted counted;
    if (record->value.data[0] == '+') {
        ((struct counted *)weir_map_struct(task, &counts_now, weir_text("e")))->count++;
        return WEIR_OK;
    }
    while (weir_map_next_object(task, &counts_now, &at, &key, &counted))
        weir_keyed_emit(task, .value = weir_format_i64(task, counted.count));
    return WEIR_OK;
}

START_TEST(entries_of_older_maps_are_migrated_too)
{
    start(on_counts, &counts_now);
    restore((const char *const[]){ "k" }, 1, true, 0);
    ck_assert_str_eq(tell("? + ?"), "out k=7\nout k=8\n");
    ck_assert_int_eq(migrations, 2);
    rig_deinit(&rig);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_list_is_added_to_walked_replaced_and_cleared);
    tcase_add_test(tests, a_list_holds_numbers);
    tcase_add_test(tests, a_map_is_filled_asked_walked_and_cleared);
    tcase_add_test(tests, numbers_as_keys_are_in_their_own_order);
    tcase_add_test(tests, a_value_goes_through_its_objects_functions);
    tcase_add_test(tests, elements_go_through_their_objects_functions);
    tcase_add_test(tests, entries_go_through_their_objects_functions);
    tcase_add_test(tests, a_reducing_state_folds_numbers);
    tcase_add_test(tests, a_reducing_state_folds_bytes);
    tcase_add_test(tests, a_reducing_state_folds_objects);
    tcase_add_test(tests, an_aggregating_state_creates_adds_and_tells_its_result);
    tcase_add_test(tests, an_accumulator_may_be_an_object);
    tcase_add_test(tests, a_value_of_an_older_version_is_migrated_when_it_is_used);
    tcase_add_test(tests, an_older_value_stays_itself_in_a_base);
    tcase_add_test(tests, a_migration_that_fails_says_why);
    tcase_add_test(tests, a_migrated_value_must_have_its_size);
    tcase_add_test(tests, entries_of_older_maps_are_migrated_too);
}

int main(void)
{
    return unit_main("operator_state_calls", add);
}

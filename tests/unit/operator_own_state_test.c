/* State of the operator itself, as callbacks see it: lists in operators without keys and with them, unions in .open,
 * broadcast maps and where they may be changed. */
#include <stdio.h>
#include <string.h>

#include "harness/rig.h"
#include "harness/unit.h"

static struct rig rig;

static struct weir_bytes argument(const struct weir_record *record)
{
    return (struct weir_bytes){ record->value.data + 1, record->value.size - 1 };
}

static void append(char text[100], struct weir_bytes bytes)
{
    (void)snprintf(text + strlen(text), 100 - strlen(text), "%.*s,", (int)bytes.size, bytes.data);
}

static void expect_failure(const char *value, const char *text)
{
    rig_add(&rig, "k", value);
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_FAILED);
    ck_assert_str_eq(chain_error(rig.chain)->text, text);
    rig_deinit(&rig);
}

/* ---- Lists ----------------------------------------------------------------------------------------------------------- */

static const struct weir_state words = { .name = "words", .kind = WEIR_STATE_OPERATOR_LIST };
static const struct weir_state numbers = { .name = "numbers", .kind = WEIR_STATE_OPERATOR_LIST, .codec = WEIR_I64 };

static enum weir_code on_words(weir_task *task, const struct weir_record *record)
{
    struct weir_iterator at = { 0 };
    struct weir_bytes word;
    char text[100] = "";
    const struct weir_bytes two[] = { argument(record), weir_text("two") };
    switch (record->value.data[0]) {
    case '+': return weir_operator_list_add(task, &words, argument(record));
    case '*': return weir_operator_list_add_all(task, &words, two, 2);
    case '=': return weir_operator_list_update(task, &words, two, 2);
    case '!': weir_operator_list_clear(task, &words); return WEIR_OK;
    case 'b': (void)weir_broadcast_get(task, &words, argument(record)); return WEIR_OK;
    case 'u': (void)weir_operator_list_next(task, &numbers, &at, &word); return WEIR_OK;
    default: break;
    }
    while (weir_operator_list_next(task, &words, &at, &word)) append(text, word);
    ck_assert(weir_operator_list_is_empty(task, &words) == (text[0] == '\0'));
    return weir_emit(task, .value = weir_text(text));
}

static void start_words(void)
{
    rig_init(&rig);
    rig_sink(&rig, weir_process(rig_source(&rig, "in"), .name = "p", .process = on_words, .states = { &words }), "out");
    rig_start(&rig, (struct rig_options){ 0 });
    (void)rig_output(&rig);
}

static const char *tell(const char *key, const char *commands)
{
    struct weir_bytes rest = weir_text(commands), word;
    while (weir_bytes_token(&rest, ' ', &word)) {
        char copy[64];
        (void)snprintf(copy, sizeof copy, "%.*s", (int)word.size, word.data);
        rig_feed(&rig, 0, key, copy);
    }
    return rig_output(&rig);
}

START_TEST(a_list_is_one_for_all_keys)
{
    start_words();
    ck_assert_str_eq(tell("a", "? +b +a"), "out a=\n");
    ck_assert_str_eq(tell("b", "? *c ?"), "out b=b,a,\nout b=b,a,c,two,\n");
    ck_assert_str_eq(tell("c", "=d ? ! ?"), "out c=d,two,\nout c=\n");
    expect_failure("b", "operator 'p', subtask 0: uses the state 'words' as another kind than its .kind says: use "
                        "weir_operator_list_...");
    start_words();
    expect_failure("u", "operator 'p', subtask 0: uses the state 'numbers', which is not in its .states: list it there");
}
END_TEST

static enum weir_code sum_before(weir_task *task, const struct weir_record *in, struct weir_record *out)
{
    struct weir_iterator at = { 0 };
    int64_t number, sum = 0;
    while (weir_operator_list_next_object(task, &numbers, &at, &number)) sum += number;
    out->value = weir_format_i64(task, sum);
    (void)weir_bytes_to_i64(in->value, &number);
    return weir_operator_list_add_i64(task, &numbers, number);
}

START_TEST(a_map_operator_has_a_list_of_numbers)
{
    rig_init(&rig);
    rig_sink(&rig, weir_map(rig_source(&rig, "in"), .name = "m", .map = sum_before, .states = { &numbers }), "out");
    rig_start(&rig, (struct rig_options){ 0 });
    (void)rig_output(&rig);
    ck_assert_str_eq(tell("k", "5 7 -2"), "out k=0\nout k=5\nout k=12\n");
    rig_deinit(&rig);
}
END_TEST

static const struct weir_state count = { .name = "count", .codec = WEIR_I64 };

static enum weir_code count_and_keep(weir_keyed_task *task, const struct weir_record *record)
{
    struct weir_iterator at = { 0 };
    struct weir_bytes word;
    char text[100] = "";
    const int64_t so_far = ++*weir_value_i64(task, &count);
    weir_operator_list_add(task, &words, record->key);
    while (weir_operator_list_next(task, &words, &at, &word)) append(text, word);
    return weir_keyed_emit(task, .value = weir_format(task, "%d %s", (int)so_far, text));
}

START_TEST(an_operator_with_keys_has_both)
{
    rig_init(&rig);
    struct weir_keyed_stream keyed = weir_key_by(rig_source(&rig, "in"), .key = NULL);
    rig_sink(&rig, weir_keyed_process(keyed, .name = "p", .process = count_and_keep, .states = { &words, &count }), "out");
    rig_start(&rig, (struct rig_options){ 0 });
    (void)rig_output(&rig);
    rig_feed(&rig, 0, "a", "");
    rig_feed(&rig, 0, "b", "");
    rig_feed(&rig, 0, "a", "");
    ck_assert_str_eq(rig_output(&rig), "out a=1 a,\nout b=1 a,b,\nout a=2 a,b,a,\n");
    rig_deinit(&rig);
}
END_TEST

/* ---- Unions ---------------------------------------------------------------------------------------------------------- */

static const struct weir_state others = { .name = "others", .kind = WEIR_STATE_OPERATOR_UNION };
static char seen[100];

static void look(void *task)
{
    struct weir_iterator at = { 0 };
    struct weir_bytes word;
    seen[0] = '\0';
    while (weir_operator_union_next(task, &others, &at, &word)) append(seen, word);
}

static enum weir_code look_at_all(void *task)
{
    look(task);
    return weir_operator_list_add(task, &others, weir_text("mine"));
}

static enum weir_code look_late(weir_task *task, const struct weir_record *record)
{
    (void)record;
    look(task);
    return WEIR_OK;
}

START_TEST(a_union_shows_in_open_what_all_subtasks_had)
{
    struct state_parcel all;
    struct rig source; /* a shard with such a list */
    rig_init(&rig);
    rig_sink(&rig, weir_process(rig_source(&rig, "in"), .name = "p", .process = look_late, .open = look_at_all,
                                .states = { &others }), "out");
    rig_start(&rig, (struct rig_options){ 0 });
    ck_assert_str_eq(seen, "");
    const struct state_own own = state_own_of(rig.plan->max_parallelism, 0, rig.plan->max_parallelism);
    const struct state_key key = state_own_key(&own);
    struct shard *shard = chain_shard(rig.chain, 0);
    state_parcel_init(&all);
    ck_assert(shard_pack(shard, 0, &key, &all) && shard_list_add(shard, 0, &key, weir_text("more")));
    ck_assert(shard_pack(shard, 0, &key, &all));

    rig_init(&source);
    rig_sink(&source, weir_process(rig_source(&source, "in"), .name = "p", .process = look_late, .open = look_at_all,
                                   .states = { &others }), "out");
    rig_start(&source, (struct rig_options){ .closed = true });
    ck_assert(chain_show_union(source.chain, 0, 0, &all));
    ck_assert_int_eq(chain_open(source.chain, NULL), WEIR_OK);
    ck_assert_str_eq(seen, "mine,mine,more,");
    state_parcel_deinit(&all);
    rig_deinit(&source);
    expect_failure("late", "operator 'p', subtask 0: asks what all subtasks had of the union 'others' when .open is over: "
                           "look at it there");
}
END_TEST

/* ---- Broadcast maps -------------------------------------------------------------------------------------------------- */

static const struct weir_state rules = { .name = "rules", .kind = WEIR_STATE_BROADCAST };

/* "+k=v" puts, "-k" removes, "!" clears. */
static enum weir_code take_rule(weir_task *task, const struct weir_record *record)
{
    const struct weir_bytes rest = argument(record);
    switch (record->value.data[0]) {
    case '+': return weir_broadcast_put(task, &rules, rest, rest);
    case '-': weir_broadcast_remove(task, &rules, rest); return WEIR_OK;
    default: weir_broadcast_clear(task, &rules); return WEIR_OK;
    }
}

static enum weir_code list_rules(weir_task *task, const struct weir_record *record)
{
    struct weir_iterator at = { 0 };
    struct weir_bytes key, value;
    char text[100] = "";
    if (record->value.data[0] != '?') return take_rule(task, record);
    while (weir_broadcast_next(task, &rules, &at, &key, &value)) {
        ck_assert(weir_broadcast_contains(task, &rules, key));
        append(text, key);
    }
    ck_assert(weir_broadcast_is_empty(task, &rules) == (text[0] == '\0'));
    return weir_emit(task, .value = weir_text(text));
}

static void start_rules(void)
{
    rig_init(&rig);
    struct weir_stream in = rig_source(&rig, "in"), changes = rig_source(&rig, "changes");
    rig_sink(&rig, weir_co_process(in, weir_broadcast(changes), .name = "p", .first = list_rules, .second = take_rule,
                                   .states = { &rules }), "out");
    rig_start(&rig, (struct rig_options){ .unchained = true, .vertex = 2 });
    (void)rig_output(&rig);
}

static const char *drain(void)
{
    ck_assert_int_ne(chain_tick(rig.chain), CHAIN_FAILED);
    return rig_drain(&rig, 0, 0);
}

START_TEST(a_broadcast_map_is_changed_by_its_input_and_read_by_the_other)
{
    start_rules();
    rig_feed(&rig, 0, "k", "?");
    rig_feed(&rig, 1, "k", "+b");
    rig_feed(&rig, 1, "k", "+a");
    rig_feed(&rig, 0, "k", "?");
    rig_feed(&rig, 1, "k", "-b");
    rig_feed(&rig, 0, "k", "?");
    rig_feed(&rig, 1, "k", "!");
    rig_feed(&rig, 0, "k", "?");
    ck_assert_str_eq(drain(), "k= k=a,b, k=a, k=; ");
    expect_failure("+x", "operator 'p', subtask 0: changes the broadcast state 'rules' where no record of a broadcast input "
                         "is processed: its subtasks would no longer hold the same; change it where the weir_broadcast "
                         "stream comes in");
    const char *const changes[] = { "-x", "!" };
    for (int i = 0; i < 2; i++) {
        start_rules();
        rig_add(&rig, "k", changes[i]);
        ck_assert_int_eq(rig_run(&rig, 0), CHAIN_FAILED);
        ck_assert_ptr_nonnull(strstr(chain_error(rig.chain)->text, "changes the broadcast state"));
        rig_deinit(&rig);
    }
}
END_TEST

static enum weir_code put_in_open(void *task)
{
    return weir_broadcast_put(task, &rules, weir_text("a"), weir_text("b"));
}

START_TEST(a_broadcast_map_is_not_changed_in_open)
{
    struct weir_error error;
    rig_init(&rig);
    struct weir_stream in = weir_broadcast(rig_source(&rig, "in"));
    rig_sink(&rig, weir_process(in, .name = "p", .process = list_rules, .open = put_in_open, .states = { &rules }), "out");
    ck_assert_int_eq(rig_try_start(&rig, (struct rig_options){ .vertex = 0 }, &error), WEIR_USAGE);
    ck_assert_ptr_nonnull(strstr(error.text, "changes the broadcast state 'rules'"));
    rig_deinit(&rig);
}
END_TEST

static const struct weir_state limits = { .name = "limits", .kind = WEIR_STATE_BROADCAST, .codec = WEIR_I64 };

static enum weir_code raise_limit(weir_keyed_task *task, const struct weir_record *record)
{
    ++*weir_broadcast_i64(task, &limits, record->key);
    return WEIR_OK;
}

static enum weir_code tell_limit(weir_keyed_task *task, const struct weir_record *record)
{
    int64_t limit = -1;
    const int64_t so_far = ++*weir_value_i64(task, &count);
    (void)weir_broadcast_get_object(task, &limits, record->value, &limit);
    return weir_keyed_emit(task, .value = weir_format(task, "%d %d", (int)so_far, (int)limit));
}

START_TEST(keys_meet_broadcast_numbers)
{
    rig_init(&rig);
    struct weir_keyed_stream keyed = weir_key_by(rig_source(&rig, "in"), .key = NULL);
    struct weir_stream changes = rig_source(&rig, "changes");
    rig_sink(&rig, weir_keyed_broadcast_process(keyed, changes, .name = "p", .first = tell_limit, .second = raise_limit,
                                                .states = { &count, &limits }), "out");
    rig_start(&rig, (struct rig_options){ .unchained = true, .vertex = 2 });
    rig_feed(&rig, 1, "a", "");
    rig_feed(&rig, 1, "a", "");
    struct weir_record record = { .key = weir_text("x"), .value = weir_text("a"), .key_hash = hash_key(weir_text("x")) };
    rig_add_record(&rig, &record);
    record.value = weir_text("b");
    rig_add_record(&rig, &record);
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_DONE);
    ck_assert_str_eq(drain(), "x=1 2 x=2 -1; ");
    rig_deinit(&rig);
}
END_TEST

/* ---- Declarations ---------------------------------------------------------------------------------------------------- */

static enum weir_code pass(weir_task *task, const struct weir_record *record)
{
    return weir_forward(task, record);
}

static void expect_mistake(struct weir_stream (*build)(struct weir_stream in), const char *text)
{
    struct weir_error error = { 0 };
    rig_init(&rig);
    rig_sink(&rig, build(rig_source(&rig, "in")), "out");
    ck_assert_int_eq(weir_graph_check(rig.graph, &error), WEIR_USAGE);
    ck_assert_str_eq(error.text, text);
    rig_deinit(&rig);
}

static struct weir_stream with_keyed_state(struct weir_stream in)
{
    return weir_process(in, .name = "p", .process = pass, .states = { &count });
}

static struct weir_stream without_broadcast(struct weir_stream in)
{
    return weir_process(in, .name = "p", .process = pass, .states = { &rules });
}

static struct weir_stream with_half_a_broadcast(struct weir_stream in)
{
    struct weir_stream both = weir_union(in, weir_broadcast(rig_source(&rig, "more")));
    return weir_process(both, .name = "p", .process = pass, .states = { &rules });
}

START_TEST(what_cannot_work_is_refused_when_it_is_declared)
{
    expect_mistake(with_keyed_state, "state 'count' of operator 'p' is of a key, and the operator has none: put weir_key_by "
                                     "before it, or set .kind to a kind of the operator itself");
    const char *const no_input = "operator 'p' declares the broadcast state 'rules' and has no input that is broadcast, so "
                                 "nothing could be put into it: wrap the input that fills it in weir_broadcast";
    expect_mistake(without_broadcast, no_input);
    expect_mistake(with_half_a_broadcast, no_input);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_list_is_one_for_all_keys);
    tcase_add_test(tests, a_map_operator_has_a_list_of_numbers);
    tcase_add_test(tests, an_operator_with_keys_has_both);
    tcase_add_test(tests, a_union_shows_in_open_what_all_subtasks_had);
    tcase_add_test(tests, a_broadcast_map_is_changed_by_its_input_and_read_by_the_other);
    tcase_add_test(tests, a_broadcast_map_is_not_changed_in_open);
    tcase_add_test(tests, keys_meet_broadcast_numbers);
    tcase_add_test(tests, what_cannot_work_is_refused_when_it_is_declared);
}

int main(void)
{
    return unit_main("operator_own_state", add);
}

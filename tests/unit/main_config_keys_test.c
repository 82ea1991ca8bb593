/* Every key of the configuration table: it can be set from every place, what is wrong with it is said where it stands, something
 * reads it, and a test sees what it does. A key that has no row below fails: say in `witnesses` which test that is. */
#include <glob.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "graph/graph.h"
#include "harness/http.h"
#include "harness/local_job.h"
#include "harness/unit.h"
#include "record/record.h"
#include "remote/guard.h"
#include "remote/remote.h"
#include "runtime/job.h"
#include "weir/generator.h"
#include "weir/print.h"

static const struct witness { const char *key, *file, *test; } witnesses[] = {
#define CHECKPOINTING "execution.checkpointing."
    { CHECKPOINTING "interval", "kafka/examine_test.c", "a_start_with_a_time_out_below_the_interval_is_refused" },
    { CHECKPOINTING "mode", "unit/main_config_keys_test.c", "a_job_is_made_as_configured" },
    { CHECKPOINTING "timeout", "unit/runtime_job_test.c", "a_checkpoint_that_is_late_is_put_up_with_as_often_as_was_said" },
    { CHECKPOINTING "min-pause", "unit/runtime_job_test.c", "a_pause_keeps_barriers_apart" },
    { CHECKPOINTING "tolerable-failed-checkpoints", "unit/runtime_job_test.c",
      "a_checkpoint_that_is_late_is_put_up_with_as_often_as_was_said" },
    { CHECKPOINTING "unaligned.enabled", "unit/runtime_unaligned_test.c", "an_aligned_checkpoint_waits_for_the_sink" },
    { CHECKPOINTING "aligned-checkpoint-timeout", "unit/runtime_unaligned_test.c",
      "an_unaligned_checkpoint_is_committed_while_the_sink_is_blocked" },
    { CHECKPOINTING "num-retained", "unit/runtime_job_test.c", "retained_checkpoints_survive_restarts" },
    { CHECKPOINTING "externalized-checkpoint-retention", "unit/runtime_job_test.c",
      "a_job_that_is_cancelled_keeps_its_checkpoints_unless_it_is_told_not_to" },
    { CHECKPOINTING "dir", "unit/runtime_job_test.c", "refuses_a_checkpoint_directory_without_rights" },
    { CHECKPOINTING "storage", "unit/runtime_storage_test.c", "exactly_once_output_is_refused_unless_the_job_is_bounded" },
    { CHECKPOINTING "savepoint-dir", "unit/remote_http_test.c", "a_savepoint_lies_where_it_was_asked_for" },
    { CHECKPOINTING "incremental", "unit/state_backend_test.c", "a_job_moves_to_the_other_backend_and_back" },
    { "execution.savepoint.path", "unit/runtime_savepoint_test.c", "the_backend_may_change" },
    { "execution.savepoint.rename-operators", "unit/runtime_savepoint_test.c",
      "an_operator_that_got_another_name_keeps_its_state" },
    { "execution.savepoint.reset-operators", "unit/runtime_savepoint_test.c",
      "one_operator_begins_anew_and_its_input_goes_on" },
    { "execution.savepoint.position-map", "kafka/savepoint_test.c",
      "a_map_says_which_positions_of_another_cluster_are_the_same" },
    { "execution.savepoint.ignore-unclaimed-state", "unit/runtime_savepoint_test.c",
      "state_that_nobody_claims_is_given_up_only_when_said_so" },
    { "execution.buffer-timeout", "unit/main_config_keys_test.c", "a_record_waits_for_more_as_long_as_was_said" },
    { "execution.epoch.soft-limit", "unit/runtime_job_test.c", "a_soft_limit_brings_the_barrier_forward" },
    { "execution.epoch.hard-limit", "unit/runtime_job_test.c", "an_epoch_above_the_hard_limit_is_written_in_parts" },
    { "parallelism.default", "unit/graph_plan_test.c", "the_public_explain_reads_the_configuration" },
    { "pipeline.max-parallelism", "unit/graph_plan_test.c", "the_public_explain_reads_the_configuration" },
    { "pipeline.operator-chaining.enabled", "unit/runtime_metrics_test.c",
      "a_record_is_counted_once_by_each_task_that_takes_it" },
    { "pipeline.channel.capacity", "unit/runtime_job_test.c",
      "a_blocked_sink_stops_the_sources_within_what_channels_hold" },
    { "restart-strategy.type", "unit/runtime_job_test.c", "gives_up_when_the_restart_strategy_does" },
    { "restart-strategy.fixed-delay.attempts", "unit/runtime_job_test.c", "gives_up_when_the_restart_strategy_does" },
    { "restart-strategy.fixed-delay.delay", "unit/main_config_keys_test.c", "restarts_are_as_configured" },
    { "restart-strategy.failure-rate.max-failures-per-interval", "unit/main_config_keys_test.c",
      "restarts_are_as_configured" },
    { "restart-strategy.failure-rate.failure-rate-interval", "unit/main_config_keys_test.c", "restarts_are_as_configured" },
    { "restart-strategy.failure-rate.delay", "unit/main_config_keys_test.c", "restarts_are_as_configured" },
#define EXPONENTIAL "restart-strategy.exponential-delay."
    { EXPONENTIAL "initial-backoff", "unit/main_config_keys_test.c", "restarts_are_as_configured" },
    { EXPONENTIAL "max-backoff", "unit/main_config_keys_test.c", "restarts_are_as_configured" },
    { EXPONENTIAL "backoff-multiplier", "unit/main_config_keys_test.c", "restarts_are_as_configured" },
    { EXPONENTIAL "jitter-factor", "unit/main_config_keys_test.c", "restarts_are_as_configured" },
    { EXPONENTIAL "reset-backoff-threshold", "unit/main_config_keys_test.c", "restarts_are_as_configured" },
    { EXPONENTIAL "attempts-before-reset-backoff", "unit/main_config_keys_test.c", "restarts_are_as_configured" },
    { "state.backend.type", "unit/state_backend_test.c", "a_job_moves_to_the_other_backend_and_back" },
    { "state.backend.memory", "unit/state_budget_test.c", "memory_keeps_its_budget_in_every_life" },
    { "state.backend.local-dir", "unit/state_backend_test.c", "local_files_go_where_they_are_wanted" },
    { "state.base.min-log-size", "unit/main_config_keys_test.c", "a_base_is_written_when_the_log_is_as_long_as_was_said" },
    { "state.base.log-ratio", "unit/main_config_keys_test.c", "a_base_is_written_when_the_log_is_as_long_as_was_said" },
    { "state.recovery.max-frames", "kafka/job_test.c", "restarts_do_not_put_off_a_base" },
    { "state.log.segment-size", "unit/main_config_keys_test.c", "a_log_file_is_as_large_as_was_said" },
    { "connect.patience", "kafka/security_test.c", "bounded_jobs_that_are_refused_end_and_say_why" },
    { "store.patience", "unit/state_disk_test.c",
      "a_disk_that_stays_full_ends_the_job_by_name_and_room_is_enough_to_go_on" },
    { "kafka.bootstrap.servers", "unit/kafka_client_test.c", "tells_why_a_broker_cannot_be_reached" },
    { "source.start", "unit/kafka_source_bound_test.c", "a_configured_start_is_checked_with_the_plan" },
    { "source.discovery.interval", "kafka/fault_topic_test.c", "partitions_that_are_added_are_read_from_their_first_record" },
    { "source.prefetch.size", "kafka/source_test.c", "reads_big_records_in_order" },
    { "source.max-batch-records", "unit/main_config_keys_test.c", "a_source_hands_over_as_many_records_as_was_said" },
    { "sink.ring-size", "unit/main_config_keys_test.c", "a_job_is_made_as_configured" },
    { "sink.queue.size", "kafka/sink_test.c", "queue_for_the_next_epoch_is_bounded" },
    { "sink.create-topics", "kafka/sink_test.c", "creates_topics_where_it_may" },
    { "sink.create-topics.partitions", "kafka/sink_test.c", "creates_topics_where_it_may" },
    { "ledger.commits-kept", "kafka/job_test.c", "the_ledger_is_as_configured" },
    { "ledger.replication-factor", "kafka/decider_test.c", "ledger_has_as_many_replicas_as_was_said" },
    { "ledger.anchor-interval", "kafka/job_test.c", "the_ledger_is_as_configured" },
    { "log.format", "unit/apps_weir_test.c", "a_log_for_programs_is_one_object_a_line" },
    { "log.level", "unit/apps_weir_test.c", "the_level_says_which_lines_are_written" },
    { "rest.port", "unit/remote_http_test.c", "what_cannot_be_listened_at_is_said" },
    { "rest.bind-address", "unit/remote_http_test.c", "what_cannot_be_listened_at_is_said" },
    { "rest.read-token", "unit/remote_http_test.c", "with_a_read_token_only_health_and_the_page_are_open" },
    { "rest.write-token", "unit/apps_weir_test.c", "a_job_elsewhere_wants_its_token_to_be_changed" },
    { "rest.allowed-hosts", "unit/main_config_keys_test.c", "a_job_answers_to_the_names_that_were_said" },
    { "rest.connections", "unit/main_config_keys_test.c", "as_many_are_connected_as_was_said" },
    { "security.ssl.rest.enabled", "unit/remote_tls_test.c", "https_answers_and_http_does_not" },
    { "security.ssl.rest.certificate", "unit/remote_tls_test.c", "files_that_are_of_no_use_are_refused" },
    { "security.ssl.rest.key", "unit/remote_tls_test.c", "files_that_are_of_no_use_are_refused" },
    { "security.ssl.rest.authentication-enabled", "unit/remote_tls_test.c",
      "without_a_certificate_only_probes_and_the_page_are_open" },
    { "security.ssl.rest.ca", "unit/remote_tls_test.c", "a_certificate_that_is_none_of_ours_is_none" },
    { "start.takeover", "unit/runtime_states_test.c", "what_was_given_up_begins_anew_when_it_is_declared_again" },
    { "start.position", "kafka/savepoint_test.c", "offsets_that_somebody_moved_are_found_in_another_directory_too" },
    { "start.share-output", "kafka/savepoint_test.c", "an_output_may_be_shared_on_purpose" },
    { "start.checkpoint", "unit/runtime_job_test.c", "goes_back_to_a_retained_checkpoint_when_it_is_told_to" },
    { "start.fresh", "unit/runtime_job_test.c", "fresh_counts_until_its_founding_is_committed" },
    { "start.bounded", "unit/runtime_storage_test.c", "exactly_once_output_is_refused_unless_the_job_is_bounded" },
};

enum { VALUE_MAX = 64 };

/* ---- The source ----------------------------------------------------------------------------------------------------- */

/* The file's text is added to what is in memory, which may move. */
static void append_file(char **text, size_t *size, const char *path)
{
    FILE *file = fopen(path, "rbe");
    ck_assert_msg(file != NULL, "%s cannot be read", path);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    const long more = ftell(file);
    rewind(file);
    *text = realloc(*text, *size + (size_t)more + 1);
    ck_assert_ptr_nonnull(*text);
    ck_assert_uint_eq(fread(*text + *size, 1, (size_t)more, file), (size_t)more);
    *size += (size_t)more;
    (*text)[*size] = '\0';
    (void)fclose(file);
}

static char *read_test(const char *file)
{
    char path[400], *text = NULL;
    size_t size = 0;
    (void)snprintf(path, sizeof path, WEIR_SOURCE_DIR "/tests/%s", file);
    append_file(&text, &size, path);
    return text;
}

static const struct witness *find_witness(const char *key)
{
    for (size_t i = 0; i < sizeof witnesses / sizeof witnesses[0]; i++)
        if (strcmp(witnesses[i].key, key) == 0) return &witnesses[i];
    return NULL;
}

static bool names_the_end_of(const char *text, const char *key)
{
    char quoted[200];
    (void)snprintf(quoted, sizeof quoted, "%s\"", strrchr(key, '.') + 1); /* a file may have a macro for what comes before */
    return strstr(text, quoted) != NULL || strstr(text, key) != NULL;
}

START_TEST(every_key_has_a_test_that_sees_what_it_does)
{
    struct weir_config_key key;
    for (size_t i = 0; weir_config_key_at(i, &key); i++) {
        char wanted[200];
        const struct witness *witness = find_witness(key.name);
        ck_assert_msg(witness != NULL, "no test sees what '%s' does: write one, and name it in " __FILE__, key.name);
        char *text = read_test(witness->file);
        (void)snprintf(wanted, sizeof wanted, "START_TEST(%s)", witness->test);
        ck_assert_msg(strstr(text, wanted) != NULL, "%s: there is no %s in %s", key.name, witness->test, witness->file);
        ck_assert_msg(names_the_end_of(text, key.name), "%s: %s never sets it", key.name, witness->file);
        free(text);
    }
}
END_TEST

START_TEST(every_row_is_of_a_key)
{
    bool known[sizeof witnesses / sizeof witnesses[0]] = { false };
    struct weir_config_key key;
    for (size_t i = 0; weir_config_key_at(i, &key); i++)
        if (find_witness(key.name) != NULL) known[find_witness(key.name) - witnesses] = true;
    for (size_t i = 0; i < sizeof known; i++) ck_assert_msg(known[i], "%s is no key, or stands twice", witnesses[i].key);
}
END_TEST

/* Where a key is only named, nobody reads it: the table, the options that set it. */
static bool only_names_keys(const char *path)
{
    return strstr(path, "/runtime/config.c") != NULL || strstr(path, "/main/options.c") != NULL;
}

/* "a.b.c", or "a.b." in a macro that gets "c". */
static bool is_read(const char *text, const char *key)
{
    char whole[200], prefix[200], rest[200];
    const int size = (int)(strrchr(key, '.') + 1 - key);
    (void)snprintf(whole, sizeof whole, "\"%s\"", key);
    (void)snprintf(prefix, sizeof prefix, "\"%.*s\" ", size, key);
    (void)snprintf(rest, sizeof rest, "(\"%s\")", key + size);
    return strstr(text, whole) != NULL || (strstr(text, prefix) != NULL && strstr(text, rest) != NULL);
}

START_TEST(every_key_is_read_by_something)
{
    static const char *const patterns[] = { WEIR_SOURCE_DIR "/lib/*/*.c", WEIR_SOURCE_DIR "/connectors/*/*.c" };
    glob_t files = { .gl_pathc = 0 };
    char *text = NULL;
    size_t size = 0;
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++)
        ck_assert_int_eq(glob(patterns[i], i == 0 ? 0 : GLOB_APPEND, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++)
        if (!only_names_keys(files.gl_pathv[i])) append_file(&text, &size, files.gl_pathv[i]);
    globfree(&files);
    struct weir_config_key key;
    for (size_t i = 0; weir_config_key_at(i, &key); i++)
        ck_assert_msg(is_read(text, key.name), "nothing reads %s", key.name);
    free(text);
}
END_TEST

/* ---- Values from every place ---------------------------------------------------------------------------------------- */

static char file_path[] = "/tmp/main_config_keys_test.XXXXXX";
static struct weir_error error;

static void begin(void)
{
    const int file = mkstemp(file_path);
    ck_assert_int_ge(file, 0);
    close(file);
    unsetenv("WEIR_PROPERTIES");
    setenv("WEIR_SITE_CONFIG", "/dev/null", 1);
}

static void end(void) { (void)unlink(file_path); }

static void write_file(const char *text)
{
    FILE *file = fopen(file_path, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

/* A good value that is not the default. */
static void choose_value(const struct weir_config_key *key, char value[VALUE_MAX])
{
    const char *before = key->default_value == NULL ? "" : key->default_value;
    const char *unit = strcmp(key->type, "duration") == 0 ? "ms" : strcmp(key->type, "size") == 0 ? "b" : "";
    if (key->choices != NULL) {
        const size_t first = strcspn(key->choices, "|");
        const bool is_default = strlen(before) == first && strncmp(key->choices, before, first) == 0;
        const char *choice = is_default ? key->choices + first + 1 : key->choices;
        (void)snprintf(value, VALUE_MAX, "%.*s", (int)strcspn(choice, "|"), choice);
    } else if (strcmp(key->type, "true or false") == 0) {
        (void)snprintf(value, VALUE_MAX, "%s", strcmp(before, "true") == 0 ? "false" : "true");
    } else if (strcmp(key->type, "text") == 0) {
        (void)snprintf(value, VALUE_MAX, "something");
    } else {
        (void)snprintf(value, VALUE_MAX, "%lld%s", (long long)key->lowest, unit);
        if (atoll(value) == atoll(before)) (void)snprintf(value, VALUE_MAX, "%lld%s", (long long)key->lowest + 1, unit);
    }
}

static enum weir_code set_from(weir_config *config, enum weir_config_rank rank, const char *key, const char *value)
{
    char text[400];
    (void)snprintf(text, sizeof text, "%s: \"%s\"\n", key, value);
    write_file(text);
    switch (rank) {
    case WEIR_CONFIG_SITE: setenv("WEIR_SITE_CONFIG", file_path, 1); return weir_config_load_site(config, &error);
    case WEIR_CONFIG_FILE: return weir_config_load(config, rank, file_path, &error);
    case WEIR_CONFIG_ENVIRONMENT: setenv("WEIR_PROPERTIES", text, 1); return weir_config_load_site(config, &error);
    default: return weir_config_set(config, rank, key, value, "here", &error);
    }
}

struct seen {
    const char *key;
    char value[VALUE_MAX], origin[200];
    bool is_secret, is_default;
};

static void see(void *user, const struct weir_config_value *value)
{
    struct seen *seen = user;
    if (strcmp(value->key, seen->key) != 0) return;
    (void)snprintf(seen->value, sizeof seen->value, "%s", value->value);
    (void)snprintf(seen->origin, sizeof seen->origin, "%s", value->origin);
    seen->is_secret = value->is_secret;
    seen->is_default = value->is_default;
}

START_TEST(every_key_can_be_set_from_every_place)
{
    static const struct { enum weir_config_rank rank; const char *origin; } places[] = {
        { WEIR_CONFIG_SITE, file_path },
        { WEIR_CONFIG_FILE, file_path },
        { WEIR_CONFIG_CODE, "here" },
        { WEIR_CONFIG_ENVIRONMENT, "WEIR_PROPERTIES" },
        { WEIR_CONFIG_COMMAND_LINE, "here" },
    };
    struct weir_config_key key;
    for (size_t i = 0; weir_config_key_at(i, &key); i++)
        for (size_t place = 0; place < sizeof places / sizeof places[0]; place++) {
            char value[VALUE_MAX];
            struct seen seen = { .key = key.name, .is_default = true };
            weir_config *config = weir_config_create();
            choose_value(&key, value);
            unsetenv("WEIR_PROPERTIES");
            setenv("WEIR_SITE_CONFIG", "/dev/null", 1);
            ck_assert_msg(set_from(config, places[place].rank, key.name, value) == WEIR_OK, "%s", error.text);
            ck_assert_str_eq(weir_config_text(config, key.name), value);
            weir_config_each_value(config, see, &seen);
            ck_assert_msg(!seen.is_default, "%s", key.name);
            ck_assert_int_eq(seen.is_secret, weir_config_is_secret(key.name));
            ck_assert_str_eq(seen.value, seen.is_secret ? "(secret)" : value);
            ck_assert_msg(strncmp(seen.origin, places[place].origin, strlen(places[place].origin)) == 0, "%s: %s", key.name,
                          seen.origin);
            weir_config_destroy(config);
        }
}
END_TEST

/* ---- What is wrong with it ------------------------------------------------------------------------------------------ */

/* A file whose third line is wrong is refused, and the error says all of it. */
static void expect_refused(const char *line, const char *key, const char *wanted)
{
    char text[400], where[200];
    weir_config *config = weir_config_create();
    (void)snprintf(text, sizeof text, "# of the job\ninput: lines\n%s\n", line);
    write_file(text);
    weir_config_declare(config, "input", NULL);
    ck_assert_msg(weir_config_load(config, WEIR_CONFIG_FILE, file_path, &error) == WEIR_USAGE, "'%s' is not refused", line);
    (void)snprintf(where, sizeof where, "%s:3: ", file_path);
    ck_assert_msg(strstr(error.text, where) != NULL, "no %s in: %s", where, error.text);
    ck_assert_msg(strstr(error.text, key) != NULL, "no %s in: %s", key, error.text);
    ck_assert_msg(strstr(error.text, wanted) != NULL, "no '%s' in: %s", wanted, error.text);
    weir_config_destroy(config);
}

START_TEST(every_key_refuses_what_it_cannot_be)
{
    struct weir_config_key key;
    for (size_t i = 0; weir_config_key_at(i, &key); i++) {
        char line[200];
        if (strcmp(key.type, "text") == 0) continue;
        (void)snprintf(line, sizeof line, "%s: nonsense", key.name);
        expect_refused(line, key.name, "but must be");
        if (key.highest <= key.lowest) continue;
        const char *unit = strcmp(key.type, "duration") == 0 ? "ms" : strcmp(key.type, "size") == 0 ? "b" : "";
        (void)snprintf(line, sizeof line, "%s: %lld%s", key.name, (long long)key.highest + 1, unit);
        expect_refused(line, key.name, "outside of the range");
        (void)snprintf(line, sizeof line, "%s: %lld%s", key.name, (long long)key.lowest - 1, unit);
        expect_refused(line, key.name, key.lowest > 0 || key.lowest == -1 ? "outside of the range" : "");
    }
}
END_TEST

START_TEST(every_key_is_named_where_it_is_misspelled)
{
    struct weir_config_key key;
    for (size_t i = 0; weir_config_key_at(i, &key); i++) {
        char line[200], wanted[200];
        const size_t size = strlen(key.name);
        if (strncmp(key.name, "kafka.", 6) == 0) continue; /* what begins so goes to librdkafka, which knows its own */
        (void)snprintf(line, sizeof line, "%.*s%s: 1", (int)size - 2, key.name, key.name + size - 1);
        (void)snprintf(wanted, sizeof wanted, "the nearest known key is '%s'", key.name);
        expect_refused(line, "is not known", wanted);
    }
}
END_TEST

/* ---- What the engine makes of it ------------------------------------------------------------------------------------ */

static void take_line(void *user, const char *line, size_t size) { (void)user, (void)line, (void)size; }

static weir_graph *small_graph(void)
{
    weir_graph *graph = weir_graph_create();
    weir_print(weir_generator(graph, .name = "numbers", .count = 10), .name = "out", .line = take_line);
    return graph;
}

/* Created, and not started. */
static weir_job *make_job(void)
{
    weir_job *job;
    const struct weir_job_options options = { .size = sizeof options, .name = "test" };
    ck_assert_msg(weir_job_create(small_graph(), local_job.config, &options, &job, &error) == WEIR_OK, "%s", error.text);
    return job;
}

static struct strategy_options strategy_of(const char *type)
{
    local_job_set("restart-strategy.type", type);
    weir_job *job = make_job();
    const struct strategy_options options = job->strategy.options;
    weir_job_destroy(job);
    return options;
}

START_TEST(restarts_are_as_configured)
{
    local_job_begin();
    local_job_set("restart-strategy.fixed-delay.attempts", "7");
    local_job_set("restart-strategy.fixed-delay.delay", "8ms");
    const struct strategy_options fixed = strategy_of("fixed-delay");
    ck_assert_int_eq(fixed.kind, STRATEGY_FIXED_DELAY);
    ck_assert_uint_eq(fixed.attempts, 7);
    ck_assert_int_eq(fixed.delay_ms, 8);

    local_job_set("restart-strategy.failure-rate.max-failures-per-interval", "9");
    local_job_set("restart-strategy.failure-rate.failure-rate-interval", "10s");
    local_job_set("restart-strategy.failure-rate.delay", "11ms");
    const struct strategy_options rate = strategy_of("failure-rate");
    ck_assert_int_eq(rate.kind, STRATEGY_FAILURE_RATE);
    ck_assert_uint_eq(rate.failures_max, 9);
    ck_assert_int_eq(rate.interval_ms, 10000);
    ck_assert_int_eq(rate.delay_ms, 11);

    local_job_set(EXPONENTIAL "initial-backoff", "12ms");
    local_job_set(EXPONENTIAL "max-backoff", "13s");
    local_job_set(EXPONENTIAL "backoff-multiplier", "1.4");
    local_job_set(EXPONENTIAL "jitter-factor", "0.15");
    local_job_set(EXPONENTIAL "reset-backoff-threshold", "16s");
    local_job_set(EXPONENTIAL "attempts-before-reset-backoff", "17");
    const struct strategy_options growing = strategy_of("exponential-delay");
    ck_assert_int_eq(growing.kind, STRATEGY_EXPONENTIAL_DELAY);
    ck_assert_int_eq(growing.initial_ms, 12);
    ck_assert_int_eq(growing.max_ms, 13000);
    ck_assert_double_eq_tol(growing.multiplier, 1.4, 1e-9);
    ck_assert_double_eq_tol(growing.jitter, 0.15, 1e-9);
    ck_assert_int_eq(growing.reset_ms, 16000);
    ck_assert_uint_eq(growing.attempts, 17);
    local_job_end();
}
END_TEST

START_TEST(a_job_is_made_as_configured)
{
    local_job_begin();
    local_job_set("execution.checkpointing.mode", "AT_LEAST_ONCE");
    local_job_set("sink.ring-size", "5");
    weir_job *job = make_job();
    ck_assert(!job->exactly_once);
    ck_assert_uint_eq(job->commit.options.ring_size, 5);
    weir_job_destroy(job);
    local_job_end();
}
END_TEST

/* ---- What a job does with it ---------------------------------------------------------------------------------------- */

static _Atomic bool has_arrived;
static _Atomic uint32_t batch_max;

static enum weir_code pass_the_first(weir_task *task, const struct weir_record *record)
{
    return weir_bytes_equal(record->value, weir_text("0")) ? weir_forward(task, record) : WEIR_OK;
}

static enum weir_code note_arrival(weir_task *task, const struct weir_record *record)
{
    (void)task, (void)record;
    atomic_store(&has_arrived, true);
    return WEIR_OK;
}

/* The source never runs dry, and of all its records the first one alone goes to another task. */
static weir_graph *lonely_record(void)
{
    weir_graph *graph = weir_graph_create();
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .parallelism = 1);
    struct weir_stream first = weir_flat_map(numbers, .name = "first", .process = pass_the_first, .parallelism = 1);
    weir_print(weir_flat_map(weir_rebalance(first), .name = "note", .process = note_arrival, .parallelism = 2),
               .name = "out", .line = take_line);
    return graph;
}

/* As long as records come, nothing but the time makes a batch of one go. */
START_TEST(a_record_waits_for_more_as_long_as_was_said)
{
    local_job_begin();
    local_job_set("start.bounded", "false");
    local_job_set("execution.checkpointing.interval", "1h");
    local_job_set("execution.buffer-timeout", _i == 0 ? "0ms" : "60s");
    weir_job *job = local_job_create(lonely_record());
    local_job_await_records(job, 200000); /* in far less than 60 s */
    while (_i == 0 && !atomic_load(&has_arrived)) usleep(1000);
    ck_assert_int_eq(atomic_load(&has_arrived), _i == 0);
    weir_job_cancel(job);
    weir_job_destroy(job);
    local_job_end();
}
END_TEST

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

/* A key for each record: the log grows as the state does, and never outgrows it. */
static weir_graph *growing_state(uint64_t count)
{
    weir_graph *graph = weir_graph_create();
    struct weir_stream keyed = weir_flat_map(weir_generator(graph, .name = "numbers", .count = count, .per_second = 10000),
                                             .name = "own-key", .process = own_key);
    weir_print(weir_aggregate(weir_key_by(keyed, .key = NULL), .name = "count", .accumulator = WEIR_I64, .add = add_one,
                              .emit = WEIR_EMIT_ON_COMMIT),
               .name = "out", .line = take_line);
    return graph;
}

/* Below the defaults there would be none: the log has a megabyte at most, and is no longer than the state. */
START_TEST(a_base_is_written_when_the_log_is_as_long_as_was_said)
{
    local_job_begin();
    local_job_set("start.bounded", "false");
    local_job_set("state.backend.type", "hashmap");
    local_job_set("state.base.min-log-size", "64kb");
    local_job_set("state.base.log-ratio", "0");
    weir_job *job = local_job_create(growing_state(30000));
    local_job_await_running(job);
    while (local_job_count_files("base-") == 0) usleep(2000);
    weir_job_cancel(job);
    weir_job_destroy(job);
    local_job_end();
}
END_TEST

START_TEST(a_log_file_is_as_large_as_was_said)
{
    local_job_begin();
    local_job_set("start.bounded", "false");
    local_job_set("execution.checkpointing.num-retained", "1000");
    local_job_set("state.log.segment-size", "64kb");
    weir_job *job = local_job_create(growing_state(30000)); /* a megabyte: less than the default */
    local_job_await_running(job);
    while (local_job_count_files("log-") <= 3) usleep(2000);
    weir_job_cancel(job);
    weir_job_destroy(job);
    local_job_end();
}
END_TEST

static const struct weir_source_type *generator;

static enum weir_poll poll_and_count(void *reader, weir_batch *batch, struct weir_error *refusal)
{
    const enum weir_poll poll = generator->reader_poll(reader, batch, refusal);
    if (batch->count > atomic_load(&batch_max)) atomic_store(&batch_max, batch->count);
    return poll;
}

START_TEST(a_source_hands_over_as_many_records_as_was_said)
{
    local_job_begin();
    local_job_set("source.max-batch-records", "37");
    weir_graph *graph = weir_graph_create();
    weir_print(weir_generator(graph, .name = "numbers", .count = 1000), .name = "out", .line = take_line);
    struct operator_spec *source = &graph->nodes.items[0]->spec;
    struct weir_source_type counting = *source->source.type;
    generator = source->source.type;
    counting.reader_poll = poll_and_count;
    source->source.type = &counting;
    const struct weir_error outcome = local_job_run(graph, NULL);
    local_job_expect_ok(&outcome);
    ck_assert_uint_eq(atomic_load(&batch_max), 37);
    local_job_end();
}
END_TEST

START_TEST(a_job_answers_to_the_names_that_were_said)
{
    struct guard guard;
    local_job_begin();
    local_job_set("rest.allowed-hosts", "jobs.example, two.example");
    ck_assert_int_eq(guard_init(&guard, local_job.config, true, &error), WEIR_OK);
    ck_assert(guard_host_is_allowed(&guard, "two.example:8081"));
    ck_assert(!guard_host_is_allowed(&guard, "three.example:8081"));
    local_job_end();
}
END_TEST

/* Far below what the default has room for. */
START_TEST(as_many_are_connected_as_was_said)
{
    weir_remote *remote;
    local_job_begin();
    local_job_set("rest.port", "0");
    local_job_set("rest.connections", "8");
    ck_assert_msg(weir_remote_start(&remote, &error, .config = local_job.config, .name = "test") == WEIR_OK, "%s", error.text);
    for (int i = 0; i < 32; i++) ck_assert_int_ge(http_connect(weir_remote_url(remote)), 0);
    while (atomic_load(&remote->crowded_out) == 0) usleep(1000);
    weir_remote_stop(remote);
    local_job_end();
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, every_key_has_a_test_that_sees_what_it_does);
    tcase_add_test(tests, every_row_is_of_a_key);
    tcase_add_test(tests, every_key_is_read_by_something);
    tcase_add_test(tests, every_key_can_be_set_from_every_place);
    tcase_add_test(tests, every_key_refuses_what_it_cannot_be);
    tcase_add_test(tests, every_key_is_named_where_it_is_misspelled);
    tcase_add_test(tests, restarts_are_as_configured);
    tcase_add_test(tests, a_job_is_made_as_configured);
    tcase_add_loop_test(tests, a_record_waits_for_more_as_long_as_was_said, 0, 2);
    tcase_add_test(tests, a_base_is_written_when_the_log_is_as_long_as_was_said);
    tcase_add_test(tests, a_log_file_is_as_large_as_was_said);
    tcase_add_test(tests, a_source_hands_over_as_many_records_as_was_said);
    tcase_add_test(tests, a_job_answers_to_the_names_that_were_said);
    tcase_add_test(tests, as_many_are_connected_as_was_said);
}

int main(void) { return unit_main("config_keys", add); }

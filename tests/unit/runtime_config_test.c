#include "harness/unit.h"
#include "runtime/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static weir_config *config;
static struct weir_error error;

static void begin(void)
{
    config = weir_config_create();
    ck_assert_ptr_nonnull(config);
    memset(&error, 0, sizeof error);
}

static char file_path[] = "/tmp/runtime_config_file.XXXXXX"; /* see file_of */

static void end(void)
{
    weir_config_destroy(config);
    (void)unlink(file_path);
}

static enum weir_code set(const char *key, const char *value)
{
    return weir_config_set(config, WEIR_CONFIG_COMMAND_LINE, key, value, "-X", &error);
}

static void expect_refused(enum weir_code code, const char *const *wanted)
{
    ck_assert_int_eq(code, WEIR_USAGE);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_STOP);
    for (; *wanted != NULL; wanted++)
        ck_assert_msg(strstr(error.text, *wanted) != NULL, "'%s' is not in: %s", *wanted, error.text);
}
#define EXPECT_REFUSED(code, ...) expect_refused((code), (const char *const[]){ __VA_ARGS__, NULL })

/* ---- Units --------------------------------------------------------------------------------------------------------- */

struct amount {
    const char *text;
    int64_t number; /* -1 = refused */
};

START_TEST(reads_durations_in_every_unit)
{
    static const struct amount cases[] = {
        { "0", 0 },          { "100", 100 },      { "100ms", 100 },      { "100 ms", 100 },   { "1s", 1000 },
        { "1.5s", 1500 },    { ".5 sec", 500 },   { "2 seconds", 2000 }, { "3 min", 180000 }, { "3m", 180000 },
        { "1h", 3600000 },   { "1 HOUR", 3600000 }, { "2d", 172800000 }, { "1 day", 86400000 }, { "  7ms", 7 },
        { "0.0005s", 1 },    { "", -1 },          { "ms", -1 },          { "-1s", -1 },       { "+1s", -1 },
        { "1 fortnight", -1 }, { "1s2", -1 },     { "inf", -1 },         { "nan", -1 },       { "0x10", -1 },
        { "1e3", -1 },       { "1,5s", -1 },      { ".", -1 },           { "99999999999999999999d", -1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t ms = -1;
        const bool good = config_parse_duration(cases[i].text, &ms);
        ck_assert_msg(good == (cases[i].number >= 0), "'%s'", cases[i].text);
        ck_assert_msg(!good || ms == cases[i].number, "'%s' is %lld", cases[i].text, (long long)ms);
    }
}
END_TEST

START_TEST(reads_sizes_in_powers_of_1024)
{
    static const struct amount cases[] = {
        { "512", 512 },    { "512b", 512 },        { "64kb", 65536 },       { "64 KiB", 65536 },     { "8mb", 8 << 20 },
        { "1.5m", 3 << 19 }, { "1gb", 1 << 30 },   { "2tb", INT64_C(2) << 40 }, { "12 bytes", 12 }, { "kb", -1 },
        { "-1kb", -1 },    { "1pb", -1 },          { "1 k b", -1 },         { "99999999999tb", -1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t bytes = -1;
        const bool good = config_parse_size(cases[i].text, &bytes);
        ck_assert_msg(good == (cases[i].number >= 0), "'%s'", cases[i].text);
        ck_assert_msg(!good || bytes == cases[i].number, "'%s' is %lld", cases[i].text, (long long)bytes);
    }
}
END_TEST

/* ---- The table ----------------------------------------------------------------------------------------------------- */

START_TEST(accepts_every_default_of_its_own)
{
    size_t count = 0;
    for (struct weir_config_key key; weir_config_key_at(count, &key); count++) {
        if (key.default_value == NULL) continue;
        ck_assert_msg(set(key.name, key.default_value) == WEIR_OK, "%s", error.text);
        ck_assert_str_eq(weir_config_text(config, key.name), key.default_value);
    }
    ck_assert_uint_gt(count, 40);
}
END_TEST

START_TEST(says_each_key_once_and_what_it_is_for)
{
    struct weir_config_key key, other;
    for (size_t i = 0; weir_config_key_at(i, &key); i++) {
        ck_assert_msg(key.sentence[strlen(key.sentence) - 1] == '.', "%s: %s", key.name, key.sentence);
        ck_assert((strcmp(key.type, "choice") == 0) == (key.choices != NULL));
        for (size_t j = i + 1; weir_config_key_at(j, &other); j++) ck_assert_str_ne(key.name, other.name);
    }
}
END_TEST

START_TEST(reads_defaults_where_nothing_was_set)
{
    ck_assert_int_eq(weir_config_duration_ms(config, "execution.checkpointing.interval"), 100);
    ck_assert_int_eq(weir_config_duration_ms(config, "execution.checkpointing.timeout"), 600000);
    ck_assert_int_eq(weir_config_size_bytes(config, "state.log.segment-size"), 8 << 20);
    ck_assert_int_eq(weir_config_i64(config, "parallelism.default"), 1);
    ck_assert(weir_config_bool(config, "pipeline.operator-chaining.enabled"));
    ck_assert_double_eq_tol(config_f64(config, "restart-strategy.exponential-delay.backoff-multiplier"), 1.5, 1e-9);
    ck_assert_str_eq(weir_config_text(config, "source.start"), "earliest");
    ck_assert_ptr_null(weir_config_text(config, "execution.checkpointing.dir"));
    ck_assert_ptr_null(weir_config_text(config, "no.such.key"));
    ck_assert_int_eq(weir_config_i64(config, "no.such.key"), 0);
}
END_TEST

/* ---- What is refused ----------------------------------------------------------------------------------------------- */

START_TEST(refuses_values_of_another_type)
{
    static const struct { const char *key, *value, *wanted; } cases[] = {
        { "parallelism.default", "two", "a whole number" },
        { "parallelism.default", "2.5", "a whole number" },
        { "parallelism.default", "", "a whole number" },
        { "start.bounded", "maybe", "true or false" },
        { "execution.checkpointing.interval", "often", "100ms" },
        { "state.log.segment-size", "large", "8mb" },
        { "state.base.log-ratio", "nan", "a number" },
        { "state.base.log-ratio", "1e3", "a number" },
        { "start.position", "here", "one of verify|ledger|group" },
        { "execution.checkpointing.mode", "EXACTLY", "one of EXACTLY_ONCE|AT_LEAST_ONCE" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        EXPECT_REFUSED(set(cases[i].key, cases[i].value), "-X: ", cases[i].key, cases[i].value, "but must be",
                       cases[i].wanted);
}
END_TEST

START_TEST(refuses_values_out_of_range)
{
    static const struct { const char *key, *value, *wanted; } cases[] = {
        { "parallelism.default", "0", "from 1 to 32768" },
        { "parallelism.default", "-3", "from 1 to 32768" },
        { "parallelism.default", "32769", "from 1 to 32768" },
        { "execution.checkpointing.interval", "0ms", "from 1 to 86400000 milliseconds" },
        { "execution.checkpointing.interval", "2d", "milliseconds" },
        { "state.log.segment-size", "1kb", "from 65536 to" },
        { "restart-strategy.exponential-delay.jitter-factor", "1.5", "from 0 to 1" },
        { "restart-strategy.exponential-delay.backoff-multiplier", "0.9", "from 1 to 100" },
        { "restart-strategy.fixed-delay.attempts", "4294967297", "from 1 to 2147483647" },
        { "connect.patience", "40000 days", "milliseconds" },
        { "execution.epoch.hard-limit", "2000tb", "bytes" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        EXPECT_REFUSED(set(cases[i].key, cases[i].value), cases[i].key, cases[i].value, "outside of the range",
                       cases[i].wanted);
}
END_TEST

START_TEST(keeps_what_was_there_when_it_refuses)
{
    ck_assert_int_eq(set("parallelism.default", "3"), WEIR_OK);
    ck_assert_int_eq(set("parallelism.default", "0"), WEIR_USAGE);
    ck_assert_int_eq(weir_config_i64(config, "parallelism.default"), 3);
}
END_TEST

START_TEST(names_the_nearest_known_key)
{
    static const struct { const char *wrong, *nearest; } cases[] = {
        { "paralelism.default", "'parallelism.default'" },
        { "execution.checkpointing.intervall", "'execution.checkpointing.interval'" },
        { "checkpointing.interval", "'execution.checkpointing.interval'" },
        { "start.postion", "'start.position'" },
        { "inptu", "'input'" },
        { "kafka.", "kafka" },
        { "", "" },
    };
    weir_config_declare(config, "input", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        EXPECT_REFUSED(set(cases[i].wrong, "1"), "not known", cases[i].wrong, cases[i].nearest);
    ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_CODE, "nonsense", "1", "test", &error), WEIR_USAGE);
    ck_assert_str_eq(error.text, "test: the key 'nonsense' is not known"); /* nothing is near */
    char long_name[5000];
    memset(long_name, 'x', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    EXPECT_REFUSED(set(long_name, "1"), "not known");
}
END_TEST

/* ---- Choices, aliases, ranks, other keys --------------------------------------------------------------------------- */

START_TEST(keeps_a_choice_as_the_table_writes_it)
{
    static const char *const spellings[] = { "AT_LEAST_ONCE", "at_least_once", "at-least-once", "At-Least_Once" };
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        ck_assert_int_eq(set("execution.checkpointing.mode", spellings[i]), WEIR_OK);
        ck_assert_str_eq(weir_config_text(config, "execution.checkpointing.mode"), "AT_LEAST_ONCE");
    }
    ck_assert_int_eq(set("restart-strategy", "FIXED_DELAY"), WEIR_OK);
    ck_assert_str_eq(weir_config_text(config, "restart-strategy.type"), "fixed-delay");
}
END_TEST

START_TEST(reads_truth_in_several_words)
{
    static const struct { const char *text; bool truth; } cases[] = {
        { "true", true }, { "TRUE", true }, { "yes", true }, { "1", true },
        { "false", false }, { "No", false }, { "0", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ck_assert_int_eq(set("start.bounded", cases[i].text), WEIR_OK);
        ck_assert_msg(weir_config_bool(config, "start.bounded") == cases[i].truth, "'%s'", cases[i].text);
    }
}
END_TEST

START_TEST(knows_a_key_by_its_older_name)
{
    ck_assert_int_eq(set("state.checkpoints.dir", "/data/a"), WEIR_OK);
    ck_assert_str_eq(weir_config_text(config, "execution.checkpointing.dir"), "/data/a");
    ck_assert_str_eq(weir_config_text(config, "state.checkpoints.dir"), "/data/a");
}
END_TEST

START_TEST(lets_the_higher_rank_win_in_any_order)
{
    const char *const key = "parallelism.default";
    ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_COMMAND_LINE, key, "4", "-X", &error), WEIR_OK);
    ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_CODE, key, "3", "code", &error), WEIR_OK);
    ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_FILE, key, "2", "file", &error), WEIR_OK);
    ck_assert_int_eq(weir_config_i64(config, key), 4);

    const char *const other = "pipeline.max-parallelism";
    ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_FILE, other, "2", "file", &error), WEIR_OK);
    ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_CODE, other, "3", "code", &error), WEIR_OK);
    ck_assert_int_eq(weir_config_i64(config, other), 3);
    ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_CODE, other, "5", "code", &error), WEIR_OK);
    ck_assert_int_eq(weir_config_i64(config, other), 5);
}
END_TEST

START_TEST(ranks_the_environment_above_code_and_the_site_below_files)
{
    static const struct { enum weir_config_rank rank; const char *value; } steps[] = {
        { WEIR_CONFIG_SITE, "2" }, { WEIR_CONFIG_FILE, "3" }, { WEIR_CONFIG_CODE, "4" },
        { WEIR_CONFIG_ENVIRONMENT, "5" }, { WEIR_CONFIG_COMMAND_LINE, "6" },
    };
    const size_t count = sizeof steps / sizeof steps[0];
    for (size_t i = 0; i < count; i++) { /* each overrides all before, and nothing after it */
        ck_assert_int_eq(weir_config_set(config, steps[i].rank, "parallelism.default", steps[i].value, "here", &error), WEIR_OK);
        for (size_t k = 0; k < i; k++)
            ck_assert_int_eq(weir_config_set(config, steps[k].rank, "parallelism.default", "9", "there", &error), WEIR_OK);
        ck_assert_str_eq(weir_config_text(config, "parallelism.default"), steps[i].value);
    }
}
END_TEST

START_TEST(takes_declared_keys_of_the_job)
{
    ck_assert_int_eq(set("format", "json"), WEIR_USAGE);
    weir_config_declare(config, "format", "text");
    weir_config_declare(config, "input", NULL);
    ck_assert_str_eq(weir_config_text(config, "format"), "text");
    ck_assert_ptr_null(weir_config_text(config, "input"));
    ck_assert_int_eq(set("format", "json"), WEIR_OK);
    ck_assert_str_eq(weir_config_text(config, "format"), "json");
}
END_TEST

static void collect(void *user, const char *key, const char *value)
{
    char *text = user;
    const size_t size = strlen(text);
    snprintf(text + size, 500 - size, "%s=%s;", key, value);
}

START_TEST(passes_kafka_keys_through_lowest_rank_first)
{
    char text[500] = "";
    ck_assert_int_eq(set("kafka.consumer.fetch.min.bytes", "7"), WEIR_OK);
    ck_assert_int_eq(set("kafka.no.such.property", "x"), WEIR_OK);
    ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_FILE, "kafka.linger.ms", "1", "file", &error), WEIR_OK);
    ck_assert_int_eq(set("kafka.linger.ms", "2"), WEIR_OK);
    ck_assert_int_eq(set("parallelism.default", "2"), WEIR_OK);
    weir_config_each(config, "kafka.", collect, text);
    ck_assert_str_eq(text, "linger.ms=1;consumer.fetch.min.bytes=7;no.such.property=x;linger.ms=2;");
}
END_TEST

/* ---- Files --------------------------------------------------------------------------------------------------------- */

static char path[] = "/tmp/runtime_config_test.XXXXXX";

static enum weir_code load(const char *text, size_t size)
{
    const int file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(write(file, text, size), (ssize_t)size);
    close(file);
    const enum weir_code code = weir_config_load(config, WEIR_CONFIG_FILE, path, &error);
    unlink(path);
    strcpy(path + sizeof path - 7, "XXXXXX");
    return code;
}

static enum weir_code load_text(const char *text) { return load(text, strlen(text)); }

START_TEST(joins_nested_and_dotted_keys_of_yaml)
{
    ck_assert_msg(load_text("# a job\n"
                            "execution:\n"
                            "  checkpointing:\n"
                            "    interval: 250 ms\n"
                            "    dir: '/data/a b'\n"
                            "  checkpointing.mode: at-least-once\n"
                            "  buffer-timeout: 1ms\n"
                            "parallelism.default: 3\n"
                            "start:\n"
                            "  bounded: yes\n"
                            "kafka:\n"
                            "  bootstrap.servers: a:1,b:2\n"
                            "  consumer:\n"
                            "    fetch.min.bytes: 9\n"
                            "  producer: { linger.ms: 3 }\n"
                            "source.start: \"timestamp:5\"\n") == WEIR_OK, "%s", error.text);
    ck_assert_int_eq(weir_config_duration_ms(config, "execution.checkpointing.interval"), 250);
    ck_assert_str_eq(weir_config_text(config, "execution.checkpointing.dir"), "/data/a b");
    ck_assert_str_eq(weir_config_text(config, "execution.checkpointing.mode"), "AT_LEAST_ONCE");
    ck_assert_int_eq(weir_config_duration_ms(config, "execution.buffer-timeout"), 1);
    ck_assert_int_eq(weir_config_i64(config, "parallelism.default"), 3);
    ck_assert(weir_config_bool(config, "start.bounded"));
    ck_assert_str_eq(weir_config_text(config, "kafka.bootstrap.servers"), "a:1,b:2");
    ck_assert_str_eq(weir_config_text(config, "kafka.consumer.fetch.min.bytes"), "9");
    ck_assert_str_eq(weir_config_text(config, "kafka.producer.linger.ms"), "3");
    ck_assert_str_eq(weir_config_text(config, "source.start"), "timestamp:5");
}
END_TEST

START_TEST(takes_empty_files_and_empty_quotes)
{
    ck_assert_int_eq(load_text(""), WEIR_OK);
    ck_assert_int_eq(load_text("# nothing\n"), WEIR_OK);
    ck_assert_int_eq(load_text("---\n"), WEIR_OK);
    ck_assert_int_eq(load_text("kafka.sasl.password: ''\n"), WEIR_OK);
    ck_assert_str_eq(weir_config_text(config, "kafka.sasl.password"), "");
}
END_TEST

START_TEST(refuses_what_is_no_plain_mapping)
{
    static const struct { const char *text, *line, *wanted; } cases[] = {
        { "just text\n", ":1:", "expected 'key: value'" },
        { "parallelism.default: [1, 2]\n", ":1:", "lists are not used here" },
        { "parallelism.default: 1\n- b\n", ":2:", "not YAML" },
        { "- parallelism.default\n", ":1:", "lists are not used here" },
        { "parallelism.default: &n 2\npipeline.max-parallelism: *n\n", ":2:", "aliases are not used here" },
        { "? {a: 1}\n: 2\n", ":1:", "a value stands where a key is expected" },
        { "parallelism.default:\n", ":1:", "the key 'parallelism.default' has no value" },
        { "\nsource:\n  start: ~\n", ":3:", "the key 'source.start' has no value" },
        { "parallelism.default: 1\nparallelism:\n  default: 2\n", ":3:", "stands twice" },
        { "state.checkpoints.dir: /a\nexecution.checkpointing.dir: /b\n", ":2:", "stands twice" },
        { "source.start: \"a\\0b\"\n", ":1:", "zero byte" },
        { "\"source\\0\": 1\n", ":1:", "zero byte" },
        { "source:\n  start: earliest\n start: latest\n", ":3:", "not YAML" },
        { "parallelism.default: \"1\n", ":", "not YAML" },
        { "parallelism:\n  default: none\n", ":2:", "a whole number" },
        { "paralelism:\n\n  default: 2\n", ":3:", "'paralelism.default' is not known" },
        { "parallelism:\n  default\n", ":2:", "'parallelism' is not known and only begins others, such as 'parallelism.d" },
        { "a: {b: {c: {d: {e: {f: {g: {h: {i: {j: {k: {l: {m: {n: {o: {p: {q: 1}}}}}}}}}}}}}}}}\n", ":1:", "too deep" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        weir_config_destroy(config);
        begin();
        const enum weir_code code = load_text(cases[i].text);
        ck_assert_msg(code == WEIR_USAGE, "%s was taken", cases[i].text);
        EXPECT_REFUSED(code, "/tmp/runtime_config_test.", cases[i].line, cases[i].wanted);
    }
}
END_TEST

START_TEST(refuses_keys_that_are_too_long)
{
    char text[2000];
    memset(text, 'k', sizeof text);
    memcpy(text + sizeof text - 4, ": 1\n", 4);
    EXPECT_REFUSED(load(text, sizeof text), "expected 'key: value'");
    memcpy(text + 600, ": 1\n", 4);
    EXPECT_REFUSED(load(text, 604), "the key is too long");
}
END_TEST

START_TEST(names_a_file_that_cannot_be_read)
{
    EXPECT_REFUSED(weir_config_load(config, WEIR_CONFIG_FILE, "/nowhere/job.yaml", &error), "/nowhere/job.yaml", "No such file");
    EXPECT_REFUSED(weir_config_load(config, WEIR_CONFIG_FILE, "/tmp", &error), "/tmp");
}
END_TEST

/* ---- The machine's say ---------------------------------------------------------------------------------------------- */

/* A file with these bytes, until the next call. */
static const char *file_of(const char *text, size_t size)
{
    if (strchr(file_path, 'X') != NULL) close(mkstemp(file_path));
    FILE *file = fopen(file_path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, size, file), size);
    fclose(file);
    return file_path;
}
static const char *text_file(const char *text) { return file_of(text, strlen(text)); }

START_TEST(reads_the_site_and_the_environment)
{
    setenv("WEIR_SITE_CONFIG", text_file("parallelism.default: 2\nstate.backend.type: rocksdb\n"), 1);
    setenv("WEIR_PROPERTIES", "parallelism.default: 5", 1);
    ck_assert_int_eq(weir_config_load_site(config, &error), WEIR_OK);
    ck_assert_int_eq(weir_config_i64(config, "parallelism.default"), 5);
    ck_assert_str_eq(weir_config_text(config, "state.backend.type"), "rocksdb");

    setenv("WEIR_SITE_CONFIG", text_file("# nothing"), 1);
    setenv("WEIR_PROPERTIES", "a: 1\nparalelism.default: 5", 1);
    EXPECT_REFUSED(weir_config_load_site(config, &error), "WEIR_PROPERTIES:1", "'a'");
    setenv("WEIR_PROPERTIES", "sink.ring-size: 3\nparalelism.default: 5", 1);
    EXPECT_REFUSED(weir_config_load_site(config, &error), "WEIR_PROPERTIES:2", "'parallelism.default'");
    setenv("WEIR_SITE_CONFIG", "/nowhere/weir.yaml", 1); /* who names a file wants it to be there */
    EXPECT_REFUSED(weir_config_load_site(config, &error), "/nowhere/weir.yaml");
    unsetenv("WEIR_SITE_CONFIG"), unsetenv("WEIR_PROPERTIES");
}
END_TEST

START_TEST(reads_properties_as_kafka_tools_do)
{
    const char *file = text_file("# mine\n\n  security.protocol = SASL_SSL \n!no\nssl.ca.location=/ca=1.pem\r\n");
    ck_assert_int_eq(weir_config_load_properties(config, WEIR_CONFIG_FILE, file, &error), WEIR_OK);
    ck_assert_str_eq(weir_config_text(config, "kafka.security.protocol"), "SASL_SSL");
    ck_assert_str_eq(weir_config_text(config, "kafka.ssl.ca.location"), "/ca=1.pem");
    file = text_file("client.id=a\nsasl.password hunter2\n");
    EXPECT_REFUSED(weir_config_load_properties(config, WEIR_CONFIG_FILE, file, &error), file, ":2", "NAME=VALUE");
    ck_assert_ptr_null(strstr(error.text, "hunter2"));
}
END_TEST

/* ---- Secrets -------------------------------------------------------------------------------------------------------- */

START_TEST(takes_secrets_from_files)
{
    ck_assert_int_eq(set("kafka.sasl.password.file", text_file("hunter2\n")), WEIR_OK);
    ck_assert_str_eq(weir_config_text(config, "kafka.sasl.password"), "hunter2");
    ck_assert_ptr_null(weir_config_text(config, "kafka.sasl.password.file"));
    ck_assert_str_eq(weir_config_file(config, "kafka.sasl.password"), file_path);
    ck_assert_ptr_null(weir_config_file(config, "kafka.linger.ms"));
    ck_assert_int_eq(set("kafka.sasl.password.file", text_file(" two words\r\n")), WEIR_OK);
    ck_assert_str_eq(weir_config_text(config, "kafka.sasl.password"), " two words");

    EXPECT_REFUSED(set("kafka.sasl.password.file", text_file("\n")), file_path, "empty");
    EXPECT_REFUSED(set("kafka.sasl.password.file", file_of("a\0b", 3)), file_path, "zero byte");
    EXPECT_REFUSED(set("kafka.sasl.password.file", "/nowhere"), "/nowhere", "'kafka.sasl.password'");
    ck_assert_str_eq(weir_config_text(config, "kafka.sasl.password"), " two words");
    ck_assert_int_eq(set("kafka.sasl.oauthbearer.assertion.private.key.file", "/key.pem"), WEIR_OK); /* the client's own */
    ck_assert_str_eq(weir_config_text(config, "kafka.sasl.oauthbearer.assertion.private.key.file"), "/key.pem");
}
END_TEST

START_TEST(looks_for_credentials_where_systemd_puts_them)
{
    char *name = strrchr(file_path, '/') + 1;
    (void)text_file("hunter2");
    setenv("CREDENTIALS_DIRECTORY", "/tmp", 1);
    ck_assert_int_eq(set("kafka.sasl.password.file", name), WEIR_OK);
    ck_assert_str_eq(weir_config_text(config, "kafka.sasl.password"), "hunter2");
    unsetenv("CREDENTIALS_DIRECTORY");
}
END_TEST

/* Everything that is shown, in one text. */
static void note_value(void *user, const struct weir_config_value *value)
{
    char *text = user;
    const size_t size = strlen(text);
    (void)snprintf(text + size, 16384 - size, "%s=%s (%s%s);", value->key, value->value, value->origin,
                   value->is_default ? ", default" : "");
}

START_TEST(shows_every_value_with_its_origin_and_no_secret)
{
    static const char *const secrets[] = {
        "kafka.sasl.password", "kafka.ssl.key.pem", "kafka.ssl.keystore.password", "kafka.sasl.oauthbearer.client.secret",
        "kafka.sasl.jaas.config", "kafka.some.TOKEN", "kafka.credentials",
    };
    char text[16384] = "";
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
        ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_FILE, secrets[i], "canary", "job.yaml:3", &error), WEIR_OK);
    ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_FILE, "parallelism.default", "2", "job.yaml:4", &error), WEIR_OK);
    ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_COMMAND_LINE, "parallelism.default", "3", "-X", &error), WEIR_OK);
    weir_config_declare(config, "format", "text");
    ck_assert_int_eq(set("kafka.client.rack", "https://" "me:canary@host/"), WEIR_OK);
    ck_assert_int_eq(set("kafka.client.id", "https://" "host/@home"), WEIR_OK);
    weir_config_each_value(config, note_value, text);
    ck_assert_ptr_nonnull(strstr(text, "kafka.client.rack=(secret) (-X);"));
    ck_assert_ptr_nonnull(strstr(text, "kafka.client.id=https://" "host/@home (-X);"));
    ck_assert_ptr_null(strstr(text, "canary"));
    ck_assert_ptr_nonnull(strstr(text, "parallelism.default=3 (-X);"));
    ck_assert_ptr_null(strstr(text, "parallelism.default=2"));
    ck_assert_ptr_nonnull(strstr(text, "execution.checkpointing.interval=100ms (default, default);"));
    ck_assert_ptr_nonnull(strstr(text, "format=text (default, default);"));
    ck_assert_ptr_nonnull(strstr(text, "kafka.sasl.password=(secret) (job.yaml:3);"));
}
END_TEST

START_TEST(survives_every_byte_string)
{
    uint64_t seed = unit_seed();
    static const char alphabet[] = "ab:.-{}[]'\"\\\n ,?&*#|>~\t%@!0";
    for (int round = 0; round < 3000; round++) {
        char text[40];
        const size_t size = unit_random_below(&seed, sizeof text);
        for (size_t i = 0; i < size; i++)
            text[i] = unit_chance(&seed, 5) ? (char)unit_random_below(&seed, 256)
                                            : alphabet[unit_random_below(&seed, sizeof alphabet - 1)];
        load(text, size);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, reads_durations_in_every_unit);
    tcase_add_test(tests, reads_sizes_in_powers_of_1024);
    tcase_add_test(tests, accepts_every_default_of_its_own);
    tcase_add_test(tests, says_each_key_once_and_what_it_is_for);
    tcase_add_test(tests, reads_defaults_where_nothing_was_set);
    tcase_add_test(tests, refuses_values_of_another_type);
    tcase_add_test(tests, refuses_values_out_of_range);
    tcase_add_test(tests, keeps_what_was_there_when_it_refuses);
    tcase_add_test(tests, names_the_nearest_known_key);
    tcase_add_test(tests, keeps_a_choice_as_the_table_writes_it);
    tcase_add_test(tests, reads_truth_in_several_words);
    tcase_add_test(tests, knows_a_key_by_its_older_name);
    tcase_add_test(tests, lets_the_higher_rank_win_in_any_order);
    tcase_add_test(tests, ranks_the_environment_above_code_and_the_site_below_files);
    tcase_add_test(tests, takes_declared_keys_of_the_job);
    tcase_add_test(tests, passes_kafka_keys_through_lowest_rank_first);
    tcase_add_test(tests, joins_nested_and_dotted_keys_of_yaml);
    tcase_add_test(tests, takes_empty_files_and_empty_quotes);
    tcase_add_test(tests, refuses_what_is_no_plain_mapping);
    tcase_add_test(tests, refuses_keys_that_are_too_long);
    tcase_add_test(tests, names_a_file_that_cannot_be_read);
    tcase_add_test(tests, reads_the_site_and_the_environment);
    tcase_add_test(tests, reads_properties_as_kafka_tools_do);
    tcase_add_test(tests, takes_secrets_from_files);
    tcase_add_test(tests, looks_for_credentials_where_systemd_puts_them);
    tcase_add_test(tests, shows_every_value_with_its_origin_and_no_secret);
    tcase_add_test(tests, survives_every_byte_string);
}

int main(void) { return unit_main("runtime_config", add); }

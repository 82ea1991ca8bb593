#include "harness/unit.h"
#include "main/options.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct weir_option own[] = {
    { .name = "input", .kind = WEIR_TOPIC, .help = "lines" },
    { .name = "output", .kind = WEIR_TOPIC, .help = "counts" },
    { .name = "format", .kind = WEIR_CHOICE, .default_value = "text", .choices = "text|json:" },
    { .name = "emit", .kind = WEIR_CHOICE, .default_value = "commit", .choices = "commit|each" },
    { .name = "note", .kind = WEIR_TEXT },
    { 0 },
};
static const struct weir_main_options word_count = { .size = sizeof word_count, .options = own, .about = "Counts words." };

static weir_config *config;
static struct main_options parsed;
static struct weir_error error;

static void begin(void)
{
    config = weir_config_create();
    ck_assert_ptr_nonnull(config);
    memset(&error, 0, sizeof error);
}

static char *kept[64]; /* the arguments: what is parsed may point into them */

static void end(void)
{
    weir_config_destroy(config);
    for (size_t i = 0; kept[i] != NULL; i++) free(kept[i]), kept[i] = NULL;
}

/* Parses the arguments on a fresh configuration. */
static enum weir_code parse_for(const struct weir_main_options *job, const char *const *arguments)
{
    end();
    begin();
    int argc = 1;
    kept[0] = strdup("/opt/bin/word-count");
    for (; arguments[argc - 1] != NULL; argc++) kept[argc] = strdup(arguments[argc - 1]);
    return main_options_parse(argc, kept, job, config, &parsed, &error);
}
#define PARSE(...) parse_for(&word_count, (const char *const[]){ __VA_ARGS__, NULL })
#define MINIMAL "--input", "in", "--output", "out"

static void expect_refused(enum weir_code code, const char *const *wanted)
{
    ck_assert_int_eq(code, WEIR_USAGE);
    for (; *wanted != NULL; wanted++)
        ck_assert_msg(strstr(error.text, *wanted) != NULL, "'%s' is not in: %s", *wanted, error.text);
}
#define EXPECT_REFUSED(code, ...) expect_refused((code), (const char *const[]){ __VA_ARGS__, NULL })

static char path[] = "/tmp/main_options_test.XXXXXX";

static const char *file_of(const char *text)
{
    strcpy(path + sizeof path - 7, "XXXXXX");
    const int file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
    close(file);
    return path;
}

/* ---- What is taken ------------------------------------------------------------------------------------------------- */

START_TEST(takes_every_option_of_word_count)
{
    ck_assert_msg(PARSE("--brokers", "127.0.0.1:9092", "--input", "lines", "--output", "counts", "--checkpoint-dir",
                        "/data/wc", "--job", "My.job_1-a", "--checkpoint-interval", "25ms", "--parallelism", "3",
                        "--format", "json:word", "--emit", "each", "--guarantee", "at-least-once", "--start",
                        "timestamp:1700000000000", "--bounded", "-X", "kafka.linger.ms=3", "-X",
                        "sink.ring-size=3", "--create-topics", "--plan", "--validate", "--progress", "250ms",
                        "--takeover", "--position", "ledger", "--fresh", "--quiet") == WEIR_OK, "%s", error.text);
    ck_assert_str_eq(weir_config_text(config, "kafka.bootstrap.servers"), "127.0.0.1:9092");
    ck_assert_str_eq(weir_config_text(config, "input"), "lines");
    ck_assert_str_eq(weir_config_text(config, "output"), "counts");
    ck_assert_str_eq(weir_config_text(config, "execution.checkpointing.dir"), "/data/wc");
    ck_assert_str_eq(parsed.job, "My.job_1-a");
    ck_assert_str_eq(parsed.program, "word-count");
    ck_assert_int_eq(weir_config_duration_ms(config, "execution.checkpointing.interval"), 25);
    ck_assert_int_eq(weir_config_i64(config, "parallelism.default"), 3);
    ck_assert_str_eq(weir_config_text(config, "format"), "json:word");
    ck_assert_str_eq(weir_config_text(config, "emit"), "each");
    ck_assert_str_eq(weir_config_text(config, "execution.checkpointing.mode"), "AT_LEAST_ONCE");
    ck_assert_str_eq(weir_config_text(config, "source.start"), "timestamp:1700000000000");
    ck_assert(weir_config_bool(config, "start.bounded"));
    ck_assert_str_eq(weir_config_text(config, "kafka.linger.ms"), "3");
    ck_assert_int_eq(weir_config_i64(config, "sink.ring-size"), 3);
    ck_assert(weir_config_bool(config, "sink.create-topics"));
    ck_assert(parsed.plan && parsed.validate && parsed.quiet && !parsed.ended);
    ck_assert_int_eq(parsed.progress_ms, 250);
    ck_assert(weir_config_bool(config, "start.takeover"));
    ck_assert(weir_config_bool(config, "start.fresh"));
    ck_assert_str_eq(weir_config_text(config, "start.position"), "ledger");
}
END_TEST

START_TEST(has_a_default_for_everything_but_topics)
{
    ck_assert_int_eq(PARSE(MINIMAL), WEIR_OK);
    ck_assert_str_eq(parsed.job, "word-count-out");
    ck_assert_int_eq(weir_config_duration_ms(config, "execution.checkpointing.interval"), 100);
    ck_assert_int_eq(weir_config_i64(config, "parallelism.default"), 1);
    ck_assert_str_eq(weir_config_text(config, "format"), "text");
    ck_assert_str_eq(weir_config_text(config, "emit"), "commit");
    ck_assert_str_eq(weir_config_text(config, "execution.checkpointing.mode"), "EXACTLY_ONCE");
    ck_assert_str_eq(weir_config_text(config, "source.start"), "earliest");
    ck_assert(!weir_config_bool(config, "start.bounded") && !weir_config_bool(config, "sink.create-topics"));
    ck_assert(!parsed.plan && !parsed.validate && !parsed.quiet && !parsed.ended);
    ck_assert_int_eq(parsed.progress_ms, -1);
    ck_assert_ptr_null(parsed.config_path);
}
END_TEST

START_TEST(takes_a_value_behind_an_equals_sign)
{
    ck_assert_int_eq(PARSE("--input=in", "--output=out", "--bootstrap-server=b:1", "-Xsource.start=latest",
                           "--note=a=b", "--guarantee=exactly-once"), WEIR_OK);
    ck_assert_str_eq(weir_config_text(config, "kafka.bootstrap.servers"), "b:1");
    ck_assert_str_eq(weir_config_text(config, "source.start"), "latest");
    ck_assert_str_eq(weir_config_text(config, "note"), "a=b");
    ck_assert_str_eq(weir_config_text(config, "execution.checkpointing.mode"), "EXACTLY_ONCE");
}
END_TEST

START_TEST(lets_the_last_of_two_win)
{
    ck_assert_int_eq(PARSE(MINIMAL, "--parallelism", "2", "--output", "other", "-X", "parallelism.default=4"), WEIR_OK);
    ck_assert_int_eq(weir_config_i64(config, "parallelism.default"), 4);
    ck_assert_str_eq(parsed.job, "word-count-other");
    ck_assert_int_eq(PARSE(MINIMAL, "--parallelism", "2", "-p", "3"), WEIR_OK);
    ck_assert_int_eq(weir_config_i64(config, "parallelism.default"), 3);
}
END_TEST

START_TEST(takes_progress_of_nothing_as_none)
{
    ck_assert_int_eq(PARSE(MINIMAL, "--progress", "0"), WEIR_OK);
    ck_assert_int_eq(parsed.progress_ms, 0);
    ck_assert_int_eq(PARSE(MINIMAL, "--progress", "2 s"), WEIR_OK);
    ck_assert_int_eq(parsed.progress_ms, 2000);
}
END_TEST

START_TEST(names_a_job_without_output_after_its_program)
{
    const struct weir_main_options plain = { .size = sizeof plain };
    ck_assert_int_eq(parse_for(&plain, (const char *const[]){ NULL }), WEIR_OK);
    ck_assert_str_eq(parsed.job, "word-count");
}
END_TEST

/* ---- Files --------------------------------------------------------------------------------------------------------- */

START_TEST(reads_options_from_a_file_below_the_command_line)
{
    const char *file = file_of("input: lines\noutput: counts\nparallelism.default: 2\nformat: 'json:w'\n"
                               "kafka:\n  bootstrap.servers: a:1\n");
    ck_assert_msg(PARSE("--config", file, "--output", "mine") == WEIR_OK, "%s", error.text);
    ck_assert_str_eq(weir_config_text(config, "input"), "lines");
    ck_assert_str_eq(weir_config_text(config, "output"), "mine");
    ck_assert_str_eq(weir_config_text(config, "format"), "json:w");
    ck_assert_int_eq(weir_config_i64(config, "parallelism.default"), 2);
    ck_assert_str_eq(parsed.job, "word-count-mine");
    ck_assert_str_eq(parsed.config_path, file);
    unlink(file);
}
END_TEST

START_TEST(holds_a_file_to_the_same_choices_and_topics)
{
    EXPECT_REFUSED(PARSE(MINIMAL, "--config", file_of("format: xml\n")), "--format is 'xml'", "text|json:");
    unlink(path);
    EXPECT_REFUSED(PARSE("--input", "in", "--config", file_of("output: a/b\n")), "'a/b' is not a topic name");
    unlink(path);
    EXPECT_REFUSED(PARSE(MINIMAL, "-X", "emit=never"), "--emit is 'never'");
    EXPECT_REFUSED(PARSE(MINIMAL, "--config", "/nowhere.yaml"), "/nowhere.yaml", "cannot be read");
    EXPECT_REFUSED(PARSE(MINIMAL, "--config", "/tmp"), "'/tmp' cannot be read: Is a directory");
}
END_TEST

START_TEST(reads_client_properties)
{
    const char *file = file_of("# comment\n! another\n\n  security.protocol = SASL_SSL \r\nsasl.password=a=b c\n"
                               "bootstrap.servers=file:1\n");
    ck_assert_msg(PARSE(MINIMAL, "--kafka-config", file, "--brokers", "line:1") == WEIR_OK, "%s", error.text);
    ck_assert_str_eq(weir_config_text(config, "kafka.security.protocol"), "SASL_SSL");
    ck_assert_str_eq(weir_config_text(config, "kafka.sasl.password"), "a=b c");
    ck_assert_str_eq(weir_config_text(config, "kafka.bootstrap.servers"), "line:1");
    unlink(file);
}
END_TEST

START_TEST(names_the_line_of_a_client_property_that_is_none)
{
    EXPECT_REFUSED(PARSE(MINIMAL, "--kafka-config", file_of("a=1\n\nnonsense\n")), ":3: expected NAME=VALUE");
    unlink(path);
    EXPECT_REFUSED(PARSE(MINIMAL, "--kafka-config", file_of("=1\n")), ":1: expected NAME=VALUE");
    unlink(path);
    EXPECT_REFUSED(PARSE(MINIMAL, "--kafka-config", "/nowhere.properties"), "/nowhere.properties", "cannot be read");
    EXPECT_REFUSED(PARSE(MINIMAL, "--kafka-config", "/tmp"), "/tmp", "cannot be read");
    char *text = malloc(20001);
    ck_assert_ptr_nonnull(text);
    memset(text, 'x', 20000);
    text[5] = '=';
    text[20000] = '\0';
    EXPECT_REFUSED(PARSE(MINIMAL, "--kafka-config", file_of(text)), ":1: the line is too long");
    unlink(path);
    free(text);
}
END_TEST

/* ---- What is refused ----------------------------------------------------------------------------------------------- */

START_TEST(says_what_is_wrong_and_where_help_is)
{
    EXPECT_REFUSED(PARSE(MINIMAL, "--no-such"), "'--no-such' is not an option", "'word-count --help' lists");
    EXPECT_REFUSED(PARSE(MINIMAL, "--paralelism=2"), "'--paralelism' is not an option; the nearest is --parallelism");
    EXPECT_REFUSED(PARSE(MINIMAL, "-bounded"), "'-bounded' is not an option; the nearest is --bounded");
    EXPECT_REFUSED(PARSE(MINIMAL, "--nte", "x"), "'--nte' is not an option; the nearest is --note");
    EXPECT_REFUSED(PARSE(MINIMAL, "stray"), "'stray' is not an option");
    EXPECT_REFUSED(PARSE(MINIMAL, "-x"), "'-x' is not an option");
    EXPECT_REFUSED(PARSE(MINIMAL, ""), "'' is not an option");
    EXPECT_REFUSED(PARSE(MINIMAL, "--"), "'--' is not an option");
    EXPECT_REFUSED(PARSE(MINIMAL, "--=3"), "is not an option");
    EXPECT_REFUSED(PARSE(MINIMAL, "--an-option-with-a-name-that-is-longer-than-any-that-there-could-ever-be-here"),
                   "is not an option");
    EXPECT_REFUSED(PARSE(MINIMAL, "--parallelism"), "--parallelism needs a value");
    EXPECT_REFUSED(PARSE(MINIMAL, "--note"), "--note needs a value");
    EXPECT_REFUSED(PARSE(MINIMAL, "--bounded=yes"), "--bounded takes no value");
    EXPECT_REFUSED(PARSE(MINIMAL, "-X"), "-X needs key=value");
    EXPECT_REFUSED(PARSE(MINIMAL, "-X", "parallelism.default"), "-X takes key=value, not 'parallelism.default'");
    EXPECT_REFUSED(PARSE(MINIMAL, "-X", "=1"), "-X takes key=value");
    EXPECT_REFUSED(PARSE(MINIMAL, "-X", "paralelism.default=1"), "-X: ", "'parallelism.default'");
    EXPECT_REFUSED(PARSE(MINIMAL, "--parallelism", "0"), "--parallelism: ", "from 1 to 32768");
    EXPECT_REFUSED(PARSE(MINIMAL, "--checkpoint-interval", "soon"), "--checkpoint-interval: ", "a duration such as");
    EXPECT_REFUSED(PARSE(MINIMAL, "--progress", "sometimes"), "--progress is 'sometimes'", "a duration");
    EXPECT_REFUSED(PARSE(MINIMAL, "--progress", "900000 days"), "--progress is");
    EXPECT_REFUSED(PARSE(MINIMAL, "--guarantee", "at-most-once"), "--guarantee is 'at-most-once'", "exactly-once or");
    EXPECT_REFUSED(PARSE(MINIMAL, "--position", "here"), "--position: ", "verify|ledger|group");
    EXPECT_REFUSED(PARSE(MINIMAL, "--emit", "never"), "--emit is 'never', but must be one of commit|each");
    EXPECT_REFUSED(PARSE(MINIMAL, "--emit", "comm"), "--emit is 'comm'");
    EXPECT_REFUSED(PARSE(MINIMAL, "--emit", "commit|each"), "--emit is");
    EXPECT_REFUSED(PARSE(MINIMAL, "--emit", ""), "--emit is");
    EXPECT_REFUSED(PARSE(MINIMAL, "--format", "json:"), "--format is 'json:'");
    EXPECT_REFUSED(PARSE(MINIMAL, "--format", "texts"), "--format is 'texts'");
}
END_TEST

START_TEST(wants_every_topic_and_legal_ones)
{
    char name[251];
    memset(name, 't', 250);
    name[250] = '\0';
    EXPECT_REFUSED(PARSE("--input", "in"), "--output is required");
    EXPECT_REFUSED(PARSE("--output", "out"), "--input is required");
    EXPECT_REFUSED(PARSE("--input", name), "is not a topic name");
    EXPECT_REFUSED(PARSE("--input", ""), "is not a topic name");
    EXPECT_REFUSED(PARSE("--input", ".."), "'..' is not a topic name");
    EXPECT_REFUSED(PARSE("--input", "a b"), "'a b' is not a topic name");
    name[249] = '\0';
    ck_assert_int_eq(PARSE("--input", name, "--output", "out"), WEIR_OK);
}
END_TEST

START_TEST(wants_a_job_name_of_64_characters_at_most)
{
    char name[66];
    memset(name, 'j', 65);
    name[65] = '\0';
    EXPECT_REFUSED(PARSE(MINIMAL, "--job", name), "is not a job name", "1 to 64");
    EXPECT_REFUSED(PARSE(MINIMAL, "--job", ""), "is not a job name");
    EXPECT_REFUSED(PARSE(MINIMAL, "--job", "a/b"), "'a/b' is not a job name");
    EXPECT_REFUSED(PARSE("--input", "in", "--output", name), "cannot be the job's name", "give --job");
    ck_assert_int_eq(PARSE("--input", "in", "--output", name, "--job", "short"), WEIR_OK);
    name[64] = '\0';
    ck_assert_int_eq(PARSE(MINIMAL, "--job", name), WEIR_OK);
    ck_assert_str_eq(parsed.job, name);
}
END_TEST

/* ---- Answers on stdout --------------------------------------------------------------------------------------------- */

static char *printed_by(const char *option)
{
    char *text = NULL;
    size_t size = 0;
    FILE *before = stdout;
    stdout = open_memstream(&text, &size);
    ck_assert_ptr_nonnull(stdout);
    const enum weir_code code = PARSE(option);
    fclose(stdout);
    stdout = before;
    ck_assert_int_eq(code, WEIR_OK);
    ck_assert(parsed.ended);
    return text;
}

START_TEST(answers_version_without_anything_else)
{
    char *text = printed_by("--version");
    ck_assert_str_eq(text, "word-count " WEIR_VERSION " (weir " WEIR_VERSION ")\n");
    free(text);
}
END_TEST

START_TEST(lists_all_options_and_exit_codes_in_help)
{
    static const char *const wanted[] = {
        "Usage: word-count", "Counts words.", "--input TOPIC", "--format text|json:", "(commit)", "--brokers HOST:PORT",
        "--bootstrap-server", "--checkpoint-dir DIR", "--job NAME", "--checkpoint-interval", "--parallelism N",
        "--guarantee exactly-once|at-least-once", "--start", "--bounded", "--config FILE", "--kafka-config FILE",
        "-X key=value", "--create-topics", "--plan", "--validate", "--version", "  0  ok", "  8  the job belongs",
    };
    static const char *const names[] = { "--help", "-h" };
    for (size_t n = 0; n < 2; n++) {
        char *text = printed_by(names[n]);
        for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
            ck_assert_msg(strstr(text, wanted[i]) != NULL, "'%s' is not in:\n%s", wanted[i], text);
        for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1)
            ck_assert_msg(strcspn(line, "\n") <= 110, "a long line: %.120s", line);
        free(text);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, takes_every_option_of_word_count);
    tcase_add_test(tests, has_a_default_for_everything_but_topics);
    tcase_add_test(tests, takes_a_value_behind_an_equals_sign);
    tcase_add_test(tests, lets_the_last_of_two_win);
    tcase_add_test(tests, takes_progress_of_nothing_as_none);
    tcase_add_test(tests, names_a_job_without_output_after_its_program);
    tcase_add_test(tests, reads_options_from_a_file_below_the_command_line);
    tcase_add_test(tests, holds_a_file_to_the_same_choices_and_topics);
    tcase_add_test(tests, reads_client_properties);
    tcase_add_test(tests, names_the_line_of_a_client_property_that_is_none);
    tcase_add_test(tests, says_what_is_wrong_and_where_help_is);
    tcase_add_test(tests, wants_every_topic_and_legal_ones);
    tcase_add_test(tests, wants_a_job_name_of_64_characters_at_most);
    tcase_add_test(tests, answers_version_without_anything_else);
    tcase_add_test(tests, lists_all_options_and_exit_codes_in_help);
}

int main(void) { return unit_main("main_options", add); }

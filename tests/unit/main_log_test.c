#include "main/log.h"

#include <stdio.h>
#include <string.h>

#include "harness/unit.h"
#include "main/text.h"

static char out[LOG_LINE_MAX];

static const char *form(enum log_form log_form, const struct weir_log_line *line)
{
    const size_t size = log_format(out, log_form, 1700000000123, line);
    ck_assert_uint_eq(size, strlen(out));
    return out;
}

static const struct weir_log_line simple = { .level = WEIR_LOG_INFO, .text = "running", .job = "words" };
static const struct weir_log_line full = {
    .level = WEIR_LOG_WARN, .text = "offset 12 is \"gone\"", .job = "words", .client = "source 'lines'",
    .operator_name = "lines", .has_subtask = true, .subtask = 0, .incarnation = 3, .has_epoch = true, .epoch = 0,
    .split = "topic/4", .has_offset = true, .offset = 12, .transaction = "words-0-1", .code = WEIR_POSITION_LOST,
};

START_TEST(a_line_for_people)
{
    ck_assert_str_eq(form(LOG_TEXT, &simple), "2023-11-14T22:13:20.123Z info: running\n");
    ck_assert_str_eq(form(LOG_TEXT, &full),
                     "2023-11-14T22:13:20.123Z warning: source 'lines': offset 12 is \"gone\" [operator=lines subtask=0 "
                     "incarnation=3 epoch=0 partition=topic/4 offset=12 transaction=words-0-1 code=POSITION_LOST]\n");
}
END_TEST

START_TEST(a_line_of_logfmt)
{
    ck_assert_str_eq(form(LOG_LOGFMT, &simple), "time=2023-11-14T22:13:20.123Z level=info job=words msg=running\n");
    ck_assert_str_eq(form(LOG_LOGFMT, &full),
                     "time=2023-11-14T22:13:20.123Z level=warning job=words operator=lines subtask=0 incarnation=3 epoch=0 "
                     "partition=topic/4 offset=12 transaction=words-0-1 code=POSITION_LOST client=\"source 'lines'\" "
                     "msg=\"offset 12 is \\\"gone\\\"\"\n");
}
END_TEST

START_TEST(a_line_of_json)
{
    ck_assert_str_eq(form(LOG_JSON, &simple), "{\"time\":\"2023-11-14T22:13:20.123Z\",\"level\":\"info\",\"job\":\"words\","
                                              "\"message\":\"running\"}\n");
    ck_assert_str_eq(form(LOG_JSON, &full),
                     "{\"time\":\"2023-11-14T22:13:20.123Z\",\"level\":\"warning\",\"job\":\"words\",\"operator\":\"lines\","
                     "\"subtask\":0,\"incarnation\":3,\"epoch\":0,\"partition\":\"topic/4\",\"offset\":12,"
                     "\"transaction\":\"words-0-1\",\"code\":\"POSITION_LOST\",\"client\":\"source 'lines'\","
                     "\"message\":\"offset 12 is \\\"gone\\\"\"}\n");
}
END_TEST

/* Reads a JSON string from behind its quote; answers what is behind the closing one. */
static const char *pass_string(const char *at)
{
    for (; *at != '"'; at++) {
        if (*at != '\\') continue;
        at++;
        unit_expect(strchr("\"\\nrtu", *at) != NULL);
        for (int i = 0; *at == 'u' && i < 4; i++) unit_expect(strchr("0123456789abcdef", at[1 + i]) != NULL);
    }
    return at + 1;
}

/* {"name":VALUE,...} with strings and whole numbers. */
static void expect_json(const char *at)
{
    unit_expect(*at == '{');
    do {
        unit_expect(at[1] == '"');
        at = pass_string(at + 2);
        unit_expect(*at == ':');
        at++;
        if (*at == '"') at = pass_string(at + 1);
        else at += strspn(at, "-0123456789");
    } while (*at == ',');
    unit_expect(strcmp(at, "}\n") == 0);
}

/* One newline, at the end; UTF-8; no control characters. */
static void expect_line(const char *line, size_t size)
{
    unit_expect(size > 0 && line[size - 1] == '\n' && strlen(line) == size);
    for (size_t at = 0, step; at + 1 < size; at += step) {
        step = weir_utf8_size((struct weir_bytes){ line + at, size - 1 - at });
        unit_expect(step > 0);
        unit_expect((unsigned char)line[at] >= 0x20 && line[at] != 0x7f);
    }
}

static const char *random_text(uint64_t *state, char *text, size_t room)
{
    const size_t size = unit_chance(state, 5) ? room - 1 : unit_random_below(state, 60);
    for (size_t i = 0; i < size; i++) {
        const uint32_t kind = unit_random_below(state, 4);
        text[i] = (char)(kind == 0 ? 1 + unit_random_below(state, 31) : kind == 1 ? 128 + unit_random_below(state, 128)
                                                                                  : 1 + unit_random_below(state, 255));
        if (kind == 3) text[i] = "\"\\\n{}=,"[unit_random_below(state, 7)];
    }
    text[size] = '\0';
    return text;
}

START_TEST(nothing_breaks_a_line)
{
    static char texts[6][9000];
    uint64_t state = unit_seed();
    for (int round = 0; round < 3000; round++) {
        const struct weir_log_line line = {
            .level = (enum weir_log_level)unit_random_below(&state, 4),
            .text = random_text(&state, texts[0], sizeof texts[0]),
            .job = unit_chance(&state, 50) ? random_text(&state, texts[1], 80) : NULL,
            .client = unit_chance(&state, 50) ? random_text(&state, texts[2], 2000) : NULL,
            .operator_name = unit_chance(&state, 50) ? random_text(&state, texts[3], 4000) : NULL,
            .split = unit_chance(&state, 50) ? random_text(&state, texts[4], 4000) : NULL,
            .transaction = unit_chance(&state, 50) ? random_text(&state, texts[5], 4000) : NULL,
            .has_offset = unit_chance(&state, 50), .offset = (int64_t)unit_random(&state),
            .code = unit_chance(&state, 50) ? WEIR_FENCED : WEIR_OK,
        };
        for (int i = LOG_TEXT; i <= LOG_JSON; i++) {
            const size_t size = log_format(out, (enum log_form)i, 1700000000000, &line);
            expect_line(out, size);
            if (i == LOG_JSON) expect_json(out);
        }
    }
}
END_TEST

/* ---- Repeated lines ------------------------------------------------------------------------------------------------- */

static struct repeats repeats;
static char told[REPEATS_TEXT_MAX + 64];
static struct weir_log_line due;

START_TEST(a_line_that_repeats_itself_is_counted)
{
    ck_assert(repeats_take(&repeats, 1000, &simple));
    for (int i = 0; i < 41; i++) ck_assert(!repeats_take(&repeats, 1000 + i, &simple));
    ck_assert(!repeats_due(&repeats, 10999, false, told, &due));
    ck_assert(repeats_due(&repeats, 11000, false, told, &due));
    ck_assert_str_eq(due.text, "running ... repeated 41 times");
    ck_assert_int_eq(due.level, WEIR_LOG_INFO);
    ck_assert_str_eq(due.job, "words");
    ck_assert(!repeats_due(&repeats, 11000, false, told, &due));
    ck_assert(repeats_take(&repeats, 11000, &simple));
}
END_TEST

START_TEST(a_line_that_was_said_once_is_not_counted)
{
    ck_assert(repeats_take(&repeats, 0, &simple));
    ck_assert(!repeats_due(&repeats, 1000000, true, told, &due));
}
END_TEST

START_TEST(lines_about_different_things_are_different)
{
    struct weir_log_line other = full;
    ck_assert(repeats_take(&repeats, 0, &full));
    other.split = "topic/5";
    ck_assert(repeats_take(&repeats, 0, &other));
    other.text = "offset 13";
    ck_assert(repeats_take(&repeats, 0, &other));
    ck_assert(!repeats_take(&repeats, 0, &full));
    ck_assert(repeats_due(&repeats, 0, true, told, &due));
    ck_assert_str_eq(due.text, "source 'lines': offset 12 is \"gone\" ... repeated 1 times");
}
END_TEST

START_TEST(what_was_held_back_is_told_even_when_many_lines_follow)
{
    char text[32];
    uint64_t held = 0, said = 0;
    ck_assert(repeats_take(&repeats, 0, &simple));
    ck_assert(!repeats_take(&repeats, 0, &simple));
    for (int i = 0; i < 1000; i++) {
        const struct weir_log_line line = { .level = WEIR_LOG_INFO, .text = text };
        (void)snprintf(text, sizeof text, "line %d", i / 2);
        if (repeats_take(&repeats, 1, &line)) said++;
        else held++;
    }
    uint64_t counted = 0, count;
    while (repeats_due(&repeats, 1, true, told, &due)) {
        ck_assert_int_eq(sscanf(strstr(told, "... repeated"), "... repeated %lu times", &count), 1);
        counted += count;
    }
    ck_assert_uint_eq(said + held, 1000);
    ck_assert_uint_eq(counted, held + 1);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_line_for_people);
    tcase_add_test(tests, a_line_of_logfmt);
    tcase_add_test(tests, a_line_of_json);
    tcase_add_test(tests, nothing_breaks_a_line);
    tcase_add_test(tests, a_line_that_repeats_itself_is_counted);
    tcase_add_test(tests, a_line_that_was_said_once_is_not_counted);
    tcase_add_test(tests, lines_about_different_things_are_different);
    tcase_add_test(tests, what_was_held_back_is_told_even_when_many_lines_follow);
}

int main(void) { return unit_main("log lines", add); }

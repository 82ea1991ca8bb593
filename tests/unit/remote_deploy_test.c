/* The alert rules and the Grafana board name metrics that exist, and of every part of the table some are used. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/unit.h"
#include "weir/observe.h"

static char *read_file(const char *path)
{
    char *text = NULL, part[4096];
    size_t size, got;
    FILE *file = fopen(path, "r"), *whole = open_memstream(&text, &size);
    ck_assert_msg(file != NULL, "%s", path);
    while ((got = fread(part, 1, sizeof part, file)) > 0) (void)fwrite(part, 1, got, whole);
    (void)fclose(file);
    (void)fclose(whole);
    return text;
}

static bool exists(const char *name)
{
    struct weir_metric metric;
    for (size_t i = 0; weir_metric_at(i, &metric); i++) {
        const size_t size = strlen(metric.name);
        if (strncmp(name, metric.name, size) != 0) continue;
        const char *rest = name + size;
        if (rest[0] == '\0') return metric.type != WEIR_METRIC_HISTOGRAM;
        if (metric.type == WEIR_METRIC_HISTOGRAM &&
            (strcmp(rest, "_bucket") == 0 || strcmp(rest, "_sum") == 0 || strcmp(rest, "_count") == 0))
            return true;
    }
    return false;
}

static bool is_part(char c) { return islower((unsigned char)c) || isdigit((unsigned char)c) || c == '_'; }

/* How many names of metrics stand in the file. */
static int check_file(const char *path)
{
    int count = 0;
    char *text = read_file(path);
    for (const char *at = text; *at != '\0';) {
        char name[120];
        size_t size = 0;
        while (is_part(at[size])) size++;
        if (size == 0) {
            at++;
            continue;
        }
        ck_assert_uint_lt(size, sizeof name);
        memcpy(name, at, size);
        name[size] = '\0';
        at += size;
        if (strncmp(name, "weir_", 5) != 0 && strncmp(name, "process_", 8) != 0) continue;
        ck_assert_msg(exists(name), "%s: there is no metric %s", path, name);
        count++;
    }
    free(text);
    return count;
}

START_TEST(alerts_name_metrics_that_exist)
{
    ck_assert_int_ge(check_file(WEIR_SOURCE_DIR "/config/deploy/prometheus-alerts.yaml"), 12);
}
END_TEST

START_TEST(the_board_names_metrics_that_exist)
{
    ck_assert_int_ge(check_file(WEIR_SOURCE_DIR "/config/deploy/grafana-dashboard.json"), 30);
}
END_TEST

START_TEST(what_does_not_exist_is_noticed)
{
    ck_assert(exists("weir_job_running"));
    ck_assert(exists("weir_checkpoint_duration_seconds_bucket"));
    ck_assert(!exists("weir_checkpoint_duration_seconds"));
    ck_assert(!exists("weir_job_running_total"));
    ck_assert(!exists("weir_job"));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, alerts_name_metrics_that_exist);
    tcase_add_test(tests, the_board_names_metrics_that_exist);
    tcase_add_test(tests, what_does_not_exist_is_noticed);
}

int main(void) { return unit_main("remote_deploy", add); }

/* A checkpoint whose state is files of RocksDB, as it was first written, on Debian 12: what the weir command reads in it. The
 * bytes of such files are the library's, so they are not written anew and compared. For a new version of the format:
 * WEIR_GOLDEN_WRITE=yes, under new names. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/base.h"
#include "harness/golden.h"
#include "harness/local_job.h"
#include "harness/process.h"
#include "harness/unit.h"
#include "weir/generator.h"
#include "weir/print.h"

#define WEIR WEIR_BINARY_DIR "/apps/weir"

enum { KEYS = 7, STEP = 300000, LIVES_MAX = 10 };

static const struct weir_ttl for_ever = { .duration_ms = 500LL * 365 * 24 * 3600 * 1000, .clean_up = WEIR_TTL_NO_CLEAN_UP };
static const struct weir_state total = { .name = "total", .codec = WEIR_I64 };
static const struct weir_state lasting = { .name = "lasting", .codec = WEIR_I64, .ttl = &for_ever };
static const struct weir_state some = { .name = "some", .kind = WEIR_STATE_LIST, .codec = WEIR_I64 };
static const struct weir_state parts = { .name = "parts", .kind = WEIR_STATE_MAP, .codec = WEIR_I64 };

static enum weir_code to_key(weir_task *task, const struct weir_record *in)
{
    char digits[24] = "";
    memcpy(digits, in->value.data, in->value.size < sizeof digits ? in->value.size : 0);
    return weir_emit(task, .key = weir_format(task, "key-%d", atoi(digits) % KEYS), .value = in->value);
}

static enum weir_code count(weir_keyed_task *task, const struct weir_record *record)
{
    const int64_t so_far = ++*weir_value_i64(task, &total);
    ++*weir_value_i64(task, &lasting);
    ++*weir_map_i64(task, &parts, so_far % 2 == 0 ? weir_text("even") : weir_text("odd"));
    if (so_far <= 3 && weir_list_add_i64(task, &some, so_far) != WEIR_OK) return WEIR_FAILED;
    return weir_keyed_emit(task, .key = record->key, .value = record->value);
}

static void take_line(void *user, const char *line, size_t size)
{
    (void)user, (void)line, (void)size;
}

static void write_golden(void)
{
    local_job_set("state.backend.type", "rocksdb");
    local_job_set("state.backend.local-dir", "/tmp");
    local_job_set("state.recovery.max-frames", "1");
    local_job_set("state.log.segment-size", "64kb");
    uint64_t life = 0;
    do {
        weir_graph *graph = weir_graph_create();
        struct weir_stream numbers = weir_generator(graph, .name = "numbers", .count = ++life * STEP, .parallelism = 1);
        struct weir_keyed_stream keyed = weir_key_by(weir_flat_map(numbers, .name = "to-key", .process = to_key),
                                                     .key = NULL);
        weir_print(weir_keyed_process(keyed, .name = "count", .process = count,
                                      .states = { &total, &lasting, &some, &parts }), .name = "out", .line = take_line);
        const struct weir_error outcome = local_job_run(graph, NULL);
        local_job_expect_ok(&outcome);
    } while (life < LIVES_MAX && local_job_count_files("table-") == 0);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/test", local_job.directory);
    golden_compare("links-1.hex", path);
}

static void run(const char *name, const char *arguments)
{
    char command[1024];
    (void)snprintf(command, sizeof command, "cd '%s' && " WEIR " %s > %s", process_folder(), arguments, name);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(state_in_files_of_the_first_version_is_read)
{
    if (getenv("WEIR_GOLDEN_WRITE") != NULL) write_golden();
    ck_assert_int_eq(mkdir(process_path("golden"), 0777), 0);
    golden_unpack("links-1.hex", process_path("golden"));
    run("dump", "state dump golden --json");
    golden_compare_text("links-1-dump.json", process_folder(), "dump");
    run("verify", "checkpoint verify golden --json");
    golden_compare_text("links-1-verify.json", process_folder(), "verify");
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, local_job_begin, local_job_end);
    tcase_add_test(tests, state_in_files_of_the_first_version_is_read);
}

int main(void)
{
    return unit_main("state_links_golden", add);
}

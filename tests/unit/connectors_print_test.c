/* The print sink, through the calls that the runtime makes. */
#include <stdio.h>
#include <string.h>

#include "graph/graph.h"
#include "harness/unit.h"
#include "weir/print.h"

static const struct weir_source_type source_type = { .size = sizeof source_type, .kind = "test" };

struct bed {
    weir_graph *graph;
    const struct weir_sink_type *type;
    void *sink;
    void *writer;
    char lines[1000];
    int wakes;
};

static void take_line(void *user, const char *line, size_t size)
{
    struct bed *bed = user;
    strncat(bed->lines, line, size);
    strcat(bed->lines, "|");
}

static void wake(void *user)
{
    ((struct bed *)user)->wakes++;
}

static void open_bed(struct bed *bed, FILE *file, bool exactly_once)
{
    struct weir_error error;
    *bed = (struct bed){ .graph = weir_graph_create() };
    struct weir_stream stream = weir_source(bed->graph, .name = "in", .type = &source_type);
    weir_print(stream, .name = "printed", .line = file == NULL ? take_line : NULL, .file = file, .user = bed);
    ck_assert_int_eq(weir_graph_check(bed->graph, &error), WEIR_OK);
    const struct operator_spec *spec = &bed->graph->nodes.items[1]->spec;
    ck_assert_str_eq(spec->name, "printed");
    bed->type = spec->sink.type;
    const struct weir_connector_context context = { .exactly_once = exactly_once };
    ck_assert_int_eq(bed->type->open(spec->sink.options, &context, NULL, &bed->sink, &error), WEIR_OK);
    const struct weir_waker waker = { .wake = wake, .user = bed };
    ck_assert_int_eq(bed->type->writer_open(bed->sink, 0, 1, waker, &bed->writer, &error), WEIR_OK);
}

static void close_bed(struct bed *bed)
{
    bed->type->writer_close(bed->writer);
    bed->type->close(bed->sink);
    weir_graph_destroy(bed->graph);
}

static enum weir_code try_write(struct bed *bed, struct weir_bytes key, struct weir_bytes value,
                                struct weir_error *error)
{
    return bed->type->writer_write(bed->writer, &(struct weir_record){ .key = key, .value = value }, error);
}

static void write_record(struct bed *bed, const char *key, const char *value)
{
    struct weir_error error;
    ck_assert_int_eq(try_write(bed, weir_text(key), weir_text(value), &error), WEIR_OK);
}

static void prepare(struct bed *bed, uint64_t epoch)
{
    struct weir_error error;
    struct weir_output_totals totals = { 0 };
    ck_assert_int_eq(bed->type->writer_prepare(bed->writer, epoch, &totals, &error), WEIR_OK);
    ck_assert_int_eq(bed->type->writer_proceed(bed->writer, epoch + 1, &error), WEIR_OK);
    ck_assert_uint_eq(totals.count, 0);
}

START_TEST(lines_appear_when_their_epoch_is_committed)
{
    struct bed bed;
    open_bed(&bed, NULL, true);
    write_record(&bed, "a", "1");
    write_record(&bed, "b", "2");
    prepare(&bed, 1);
    ck_assert_uint_eq(bed.type->writer_bytes_unflushed(bed.writer), 0);
    write_record(&bed, "c", "3");
    ck_assert_uint_gt(bed.type->writer_bytes_unflushed(bed.writer), 0);
    prepare(&bed, 2);
    write_record(&bed, "d", "4");
    ck_assert_str_eq(bed.lines, "");
    bed.type->writer_committed(bed.writer, 1);
    ck_assert_str_eq(bed.lines, "a\t1|b\t2|");
    bed.type->writer_committed(bed.writer, 2);
    ck_assert_str_eq(bed.lines, "a\t1|b\t2|c\t3|");
    ck_assert_int_gt(bed.wakes, 0);
    close_bed(&bed);
}
END_TEST

START_TEST(what_was_not_committed_is_never_printed)
{
    struct bed bed;
    open_bed(&bed, NULL, true);
    write_record(&bed, "a", "1");
    prepare(&bed, 1);
    write_record(&bed, "b", "2");
    bed.type->writer_committed(bed.writer, 0);
    bed.type->writer_close(bed.writer);
    ck_assert_str_eq(bed.lines, "");
    bed.type->close(bed.sink);
    weir_graph_destroy(bed.graph);
}
END_TEST

START_TEST(at_least_once_prints_at_once)
{
    struct bed bed;
    struct weir_error error;
    open_bed(&bed, NULL, false);
    write_record(&bed, "", "");
    ck_assert_int_eq(try_write(&bed, WEIR_NULL, (struct weir_bytes){ 0 }, &error), WEIR_OK);
    ck_assert_str_eq(bed.lines, "\t|null\tnull|");
    prepare(&bed, 1);
    bed.type->writer_committed(bed.writer, 1);
    ck_assert_str_eq(bed.lines, "\t|null\tnull|");
    close_bed(&bed);
}
END_TEST

START_TEST(writes_whole_lines_to_a_file)
{
    struct bed bed;
    char text[64] = "";
    FILE *file = fmemopen(text, sizeof text, "w");
    open_bed(&bed, file, true);
    write_record(&bed, "a", "1");
    write_record(&bed, "b", "22");
    prepare(&bed, 1);
    bed.type->writer_committed(bed.writer, 1);
    ck_assert_str_eq(text, "a\t1\nb\t22\n"); /* flushed */
    close_bed(&bed);
    (void)fclose(file);
}
END_TEST

START_TEST(a_full_disk_is_a_failure_of_the_next_call)
{
    struct bed bed;
    struct weir_error error;
    FILE *full = fopen("/dev/full", "w");
    ck_assert_ptr_nonnull(full);
    open_bed(&bed, full, true);
    write_record(&bed, "a", "1");
    prepare(&bed, 1);
    bed.type->writer_committed(bed.writer, 1);
    ck_assert_int_eq(bed.type->writer_tick(bed.writer, &error), WEIR_ENVIRONMENT);
    ck_assert_str_eq(error.text, "cannot write lines to the file of a print sink: No space left on device");
    ck_assert_int_eq(try_write(&bed, WEIR_NULL, WEIR_NULL, &error), WEIR_ENVIRONMENT);
    close_bed(&bed);
    (void)fclose(full);
}
END_TEST

START_TEST(asks_for_a_pause_only_while_an_epoch_waits_for_its_commit)
{
    static char block[1024 * 1024];
    struct bed bed;
    struct weir_error error;
    open_bed(&bed, NULL, true);
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 65; i++)
        ck_assert_int_eq(try_write(&bed, WEIR_NULL, (struct weir_bytes){ block, sizeof block }, &error), WEIR_OK);
    ck_assert(bed.type->writer_room(bed.writer)); /* else the barrier that would help never came */
    bed.lines[0] = 'x';
    prepare(&bed, 1);
    ck_assert(!bed.type->writer_room(bed.writer));
    close_bed(&bed);
}
END_TEST

START_TEST(needs_somewhere_to_write)
{
    struct weir_error error;
    weir_graph *graph = weir_graph_create();
    weir_print(weir_source(graph, .name = "in", .type = &source_type), .name = "printed");
    ck_assert_int_eq(weir_graph_check(graph, &error), WEIR_USAGE);
    ck_assert_str_eq(error.text, "print sink 'printed' has nowhere to write: set .line or .file");
    weir_graph_destroy(graph);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, lines_appear_when_their_epoch_is_committed);
    tcase_add_test(tests, what_was_not_committed_is_never_printed);
    tcase_add_test(tests, at_least_once_prints_at_once);
    tcase_add_test(tests, writes_whole_lines_to_a_file);
    tcase_add_test(tests, a_full_disk_is_a_failure_of_the_next_call);
    tcase_add_test(tests, asks_for_a_pause_only_while_an_epoch_waits_for_its_commit);
    tcase_add_test(tests, needs_somewhere_to_write);
}

int main(void)
{
    return unit_main("print", add);
}

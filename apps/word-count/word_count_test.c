/* The word count in the simulator: killed, stopped and started again on a failing disk and network, it still writes what a
 * loop over the same lines counts. lib/TESTING.md explains it line by line. */
#include <inttypes.h>

#include "weir/weir_test.h"
#include "word_count.h"

/* Lines of up to four words, "w0" to "w9". */
static void next_line(weir_test *test, const char *topic, struct weir_record *line)
{
    (void)topic;
    line->value = WEIR_EMPTY;
    for (uint64_t count = weir_test_random(test, 5); count > 0; count--)
        line->value = weir_test_format(test, "%.*s w%u", (int)line->value.size, line->value.data,
                                       (unsigned)weir_test_random(test, 10));
}

/* The oracle: a line was taken in, so its words count one more each, and each word's last count comes out. */
static void take_line(weir_test *test, const char *topic, int32_t partition, const struct weir_record *line)
{
    (void)topic, (void)partition;
    struct weir_bytes rest = line->value, word;
    while (weir_bytes_token(&rest, ' ', &word)) {
        int64_t *count = weir_test_value(test, "count", word, sizeof *count);
        weir_test_expect(test, .topic = "counts", .key = word, .value = weir_test_format(test, "%" PRId64, ++*count),
                         .order = WEIR_TEST_LAST);
    }
}

int main(int argc, char **argv)
{
    return weir_test_main(argc, argv, .name = "word-count", .define = word_count_define, .options = word_count_options,
                          .settings = (const char *const[]){ "input=lines", "output=counts", NULL },
                          .inputs = { { "lines" } }, .outputs = { { "counts" } }, .next_record = next_line,
                          .take = take_line);
}

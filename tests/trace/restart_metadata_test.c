/* What a mirror's metadata says: text that is read as it was written, and nothing else. */
#include "checkpoint/restart.h"

#include <stdio.h>
#include <string.h>

#include "harness/unit.h"

#define STORE "0f3c"

static const struct weir_frame_name frame = {
    .incarnation = 2, .epoch = 3, .file = "log-2-1", .offset = 0x3000, .length = 1000, .hash = 0xabf
};

START_TEST(metadata_reads_as_it_was_written)
{
    char text[RESTART_METADATA_MAX + 1], store[40];
    const struct weir_frame_name name = frame;
    struct weir_frame_name again;
    ck_assert(restart_metadata_encode(STORE, &name, text));
    ck_assert_str_eq(text, "w1 0f3c 2 3 log-2-1 3000 3e8 0000000000000abf");
    ck_assert(restart_metadata_parse(text, store, &again));
    ck_assert_str_eq(store, STORE);
    ck_assert_mem_eq(&again, &name, sizeof name);
}
END_TEST

START_TEST(metadata_fits_whatever_it_holds)
{
    char text[RESTART_METADATA_MAX + 1], store[40], store_again[40];
    struct weir_frame_name name = {
        .incarnation = UINT64_MAX, .epoch = UINT64_MAX, .offset = UINT64_MAX, .length = UINT64_MAX, .hash = UINT64_MAX
    };
    struct weir_frame_name again;
    memset(store, 's', sizeof store - 1);
    store[sizeof store - 1] = '\0';
    memset(name.file, 'f', sizeof name.file - 1);
    ck_assert(restart_metadata_encode(store, &name, text));
    ck_assert_uint_eq(strlen(text), 199);
    ck_assert(restart_metadata_parse(text, store_again, &again));
    ck_assert_mem_eq(&again, &name, sizeof name);
}
END_TEST

START_TEST(metadata_of_somebody_else_is_not_understood)
{
    static const char *const texts[] = {
        "", " ", "hello", "w1", "w2 0f3c 2 3 log-2-1 3000 3e8 0000000000000abf",
        "w1 0f3c 2 3 log-2-1 3000 3e8 0000000000000abf ", " w1 0f3c 2 3 log-2-1 3000 3e8 0000000000000abf",
        "w1 0f3c 2 3 log-2-1 3000 3e8 abf", "w1 0f3c +2 3 log-2-1 3000 3e8 0000000000000abf",
        "w1 0f3c 02 3 log-2-1 3000 3e8 0000000000000abf", "w1 0f3c 2 3 log-2-1 3000 3E8 0000000000000abf",
        "w1 0f3c 2 3 log-2-1 0x3000 3e8 0000000000000abf", "w1 0f3c 2 -3 log-2-1 3000 3e8 0000000000000abf",
        "w1 0f3c 2 99999999999999999999 log-2-1 3000 3e8 0000000000000abf",
        "w1  2 3 log-2-1 3000 3e8 0000000000000abf", "w1 0f3c 2 3 log-2-1 3000 3e8",
        "w1 0f3c 2 3 log\x01 3000 3e8 0000000000000abf",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char store[40];
        struct weir_frame_name name;
        ck_assert_msg(!restart_metadata_parse(texts[i], store, &name), "'%s'", texts[i]);
    }
}
END_TEST

START_TEST(metadata_is_printable_ascii)
{
    char text[RESTART_METADATA_MAX + 1];
    struct weir_frame_name name = frame;
    ck_assert(!restart_metadata_encode("", &name, text));
    ck_assert(!restart_metadata_encode("a b", &name, text));
    ck_assert(!restart_metadata_encode("\xc3\xa4", &name, text));
    (void)snprintf(name.file, sizeof name.file, "log 2");
    ck_assert(!restart_metadata_encode(STORE, &name, text));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, metadata_reads_as_it_was_written);
    tcase_add_test(tests, metadata_fits_whatever_it_holds);
    tcase_add_test(tests, metadata_of_somebody_else_is_not_understood);
    tcase_add_test(tests, metadata_is_printable_ascii);
}

int main(void)
{
    return unit_main("restart_metadata", add);
}

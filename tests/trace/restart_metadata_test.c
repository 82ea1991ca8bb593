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
    char text[RESTART_METADATA_MAX + 1], store[40], origin[RESTART_ORIGIN_MAX + 1];
    const struct weir_frame_name name = frame;
    struct weir_frame_name again;
    ck_assert(restart_metadata_encode(STORE, &name, "", text));
    ck_assert_str_eq(text, "w1 0f3c 2 3 log-2-1 3000 3e8 0000000000000abf");
    ck_assert(restart_metadata_parse(text, store, &again, origin));
    ck_assert_str_eq(store, STORE);
    ck_assert_str_eq(origin, "");
    ck_assert_mem_eq(&again, &name, sizeof name);
}
END_TEST

START_TEST(metadata_fits_whatever_it_holds)
{
    char text[RESTART_METADATA_MAX + 1], store[40], store_again[40], origin[RESTART_ORIGIN_MAX + 1];
    struct weir_frame_name name = {
        .incarnation = UINT64_MAX, .epoch = UINT64_MAX, .offset = UINT64_MAX, .length = UINT64_MAX, .hash = UINT64_MAX
    };
    struct weir_frame_name again;
    memset(store, 's', sizeof store - 1);
    store[sizeof store - 1] = '\0';
    memset(name.file, 'f', sizeof name.file - 1);
    ck_assert(restart_metadata_encode(store, &name, "3c1d", text)); /* for which there is no room left */
    ck_assert_uint_eq(strlen(text), 199);
    ck_assert(restart_metadata_parse(text, store_again, &again, origin));
    ck_assert_mem_eq(&again, &name, sizeof name);
    ck_assert_str_eq(origin, "");
}
END_TEST

START_TEST(metadata_names_the_savepoint_that_the_history_began_with)
{
    static const char whole[] = "3c1d5a77-0000-0000-0000-000000000000", *const ids[] = { "3c1d", "3c1d5a77-000", whole };
    char text[RESTART_METADATA_MAX + 1], store[40], origin[RESTART_ORIGIN_MAX + 1];
    struct weir_frame_name again;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        ck_assert(restart_metadata_encode(STORE, &frame, ids[i], text));
        ck_assert(restart_metadata_parse(text, store, &again, origin));
        ck_assert_mem_eq(&again, &frame, sizeof frame);
        ck_assert(strncmp(origin, whole, strlen(origin)) == 0);
        ck_assert_uint_eq(strlen(origin), strlen(ids[i]) < RESTART_ORIGIN_MAX ? strlen(ids[i]) : RESTART_ORIGIN_MAX);
    }
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
        "w1 0f3c 2 3 log\x01 3000 3e8 0000000000000abf", "w1 0f3c 2 3 log-2-1 3000 3e8 0000000000000abf 3c1d ",
        "w1 0f3c 2 3 log-2-1 3000 3e8 0000000000000abf 3c1d more", "w1 0f3c 2 3 log-2-1 3000 3e8 0000000000000abf 3c1d\x01",
        "w1 0f3c 2 3 log-2-1 3000 3e8 0000000000000abf 3c1d5a77-0000",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char store[40], origin[RESTART_ORIGIN_MAX + 1];
        struct weir_frame_name name;
        ck_assert_msg(!restart_metadata_parse(texts[i], store, &name, origin), "'%s'", texts[i]);
    }
}
END_TEST

START_TEST(metadata_is_printable_ascii)
{
    char text[RESTART_METADATA_MAX + 1];
    struct weir_frame_name name = frame;
    ck_assert(!restart_metadata_encode("", &name, "", text));
    ck_assert(!restart_metadata_encode("a b", &name, "", text));
    ck_assert(!restart_metadata_encode("\xc3\xa4", &name, "", text));
    ck_assert(!restart_metadata_encode(STORE, &name, "3c 1d", text));
    (void)snprintf(name.file, sizeof name.file, "log 2");
    ck_assert(!restart_metadata_encode(STORE, &name, "", text));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, metadata_reads_as_it_was_written);
    tcase_add_test(tests, metadata_fits_whatever_it_holds);
    tcase_add_test(tests, metadata_names_the_savepoint_that_the_history_began_with);
    tcase_add_test(tests, metadata_of_somebody_else_is_not_understood);
    tcase_add_test(tests, metadata_is_printable_ascii);
}

int main(void)
{
    return unit_main("restart_metadata", add);
}

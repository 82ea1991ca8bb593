#include "base/base.h"
#include "harness/unit.h"

START_TEST(reads_back_what_was_written)
{
    struct buffer buffer;
    buffer_init(&buffer);
    buffer_u8(&buffer, 0xfe);
    buffer_u16(&buffer, 0xfedc);
    buffer_u32(&buffer, 0xfedcba98);
    buffer_u64(&buffer, 0xfedcba9876543210);
    buffer_i64(&buffer, INT64_MIN);
    buffer_bytes(&buffer, (struct weir_bytes){ "a\0b", 3 });
    buffer_bytes(&buffer, WEIR_EMPTY);
    buffer_bytes(&buffer, WEIR_NULL);
    buffer_text(&buffer, "text");
    ck_assert(!buffer.failed);

    struct reader reader;
    reader_init(&reader, buffer.data, buffer.size);
    ck_assert_uint_eq(reader_u8(&reader), 0xfe);
    ck_assert_uint_eq(reader_u16(&reader), 0xfedc);
    ck_assert_uint_eq(reader_u32(&reader), 0xfedcba98);
    ck_assert_uint_eq(reader_u64(&reader), 0xfedcba9876543210);
    ck_assert_int_eq(reader_i64(&reader), INT64_MIN);
    ck_assert(weir_bytes_equal(reader_bytes(&reader), (struct weir_bytes){ "a\0b", 3 }));
    ck_assert(weir_bytes_equal(reader_bytes(&reader), WEIR_EMPTY));
    ck_assert(weir_is_null(reader_bytes(&reader)));
    char text[5];
    reader_text(&reader, text, sizeof text);
    ck_assert_str_eq(text, "text");
    ck_assert(!reader.failed);
    ck_assert_uint_eq(reader_left(&reader), 0);
    buffer_deinit(&buffer);
}
END_TEST

START_TEST(numbers_are_little_endian)
{
    struct buffer buffer;
    buffer_init(&buffer);
    buffer_u16(&buffer, 0x0102);
    buffer_u32(&buffer, 0x03040506);
    buffer_varint(&buffer, 300);
    ck_assert_mem_eq(buffer.data, "\x02\x01\x06\x05\x04\x03\xac\x02", 8);
    ck_assert_uint_eq(buffer.size, 8);
    buffer_deinit(&buffer);
}
END_TEST

static const uint64_t edges[] = { 0, 1, 0x7f, 0x80, 0x3fff, 0x4000, UINT32_MAX, INT64_MAX, UINT64_MAX - 1, UINT64_MAX };

START_TEST(varints_hold_every_size)
{
    struct buffer buffer;
    buffer_init(&buffer);
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) buffer_varint(&buffer, edges[i]);
    struct reader reader;
    reader_init(&reader, buffer.data, buffer.size);
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) ck_assert_uint_eq(reader_varint(&reader), edges[i]);
    ck_assert(!reader.failed);
    buffer_deinit(&buffer);
}
END_TEST

static const struct {
    const char *name;
    const char *data;
    size_t size;
} bad_varints[] = {
    { "no byte", "", 0 },
    { "cut", "\x80", 1 },
    { "more than 64 bits", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10 },
    { "eleven bytes", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 11 },
};

START_TEST(refuses_malformed_varints)
{
    struct reader reader;
    reader_init(&reader, bad_varints[_i].data, bad_varints[_i].size);
    ck_assert_uint_eq(reader_varint(&reader), 0);
    ck_assert_msg(reader.failed, "%s", bad_varints[_i].name);
}
END_TEST

START_TEST(reading_past_the_end_is_sticky)
{
    struct reader reader;
    reader_init(&reader, "\x01\x02\x03", 3);
    ck_assert_uint_eq(reader_u32(&reader), 0);
    ck_assert(reader.failed);
    ck_assert_uint_eq(reader_u8(&reader), 0);
    ck_assert_uint_eq(reader_left(&reader), 0);
    ck_assert_ptr_null(reader_skip(&reader, 0));
}
END_TEST

START_TEST(refuses_bytes_longer_than_the_input)
{
    struct reader reader;
    reader_init(&reader, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10); /* 2^64 - 2 bytes */
    ck_assert(weir_is_null(reader_bytes(&reader)));
    ck_assert(reader.failed);
}
END_TEST

static bool reads_text(struct weir_bytes bytes, size_t capacity)
{
    struct buffer buffer;
    buffer_init(&buffer);
    buffer_bytes(&buffer, bytes);
    struct reader reader;
    reader_init(&reader, buffer.data, buffer.size);
    char text[8];
    reader_text(&reader, text, capacity);
    buffer_deinit(&buffer);
    return !reader.failed;
}

START_TEST(a_text_must_fit_and_have_no_nul)
{
    ck_assert(reads_text(weir_text("abc"), 4));
    ck_assert(reads_text(WEIR_EMPTY, 1));
    ck_assert(!reads_text(weir_text("abc"), 3));
    ck_assert(!reads_text((struct weir_bytes){ "a\0b", 3 }, 8));
    ck_assert(!reads_text(WEIR_NULL, 8));
}
END_TEST

START_TEST(patches_numbers_written_earlier)
{
    struct buffer buffer;
    buffer_init(&buffer);
    buffer_u32(&buffer, 0);
    buffer_u64(&buffer, 0);
    buffer_text(&buffer, "x");
    buffer_patch_u32(&buffer, 0, 7);
    buffer_patch_u64(&buffer, 4, 9);
    struct reader reader;
    reader_init(&reader, buffer.data, buffer.size);
    ck_assert_uint_eq(reader_u32(&reader), 7);
    ck_assert_uint_eq(reader_u64(&reader), 9);
    buffer_deinit(&buffer);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, reads_back_what_was_written);
    tcase_add_test(tests, numbers_are_little_endian);
    tcase_add_test(tests, varints_hold_every_size);
    tcase_add_loop_test(tests, refuses_malformed_varints, 0, (int)(sizeof bad_varints / sizeof bad_varints[0]));
    tcase_add_test(tests, reading_past_the_end_is_sticky);
    tcase_add_test(tests, refuses_bytes_longer_than_the_input);
    tcase_add_test(tests, a_text_must_fit_and_have_no_nul);
    tcase_add_test(tests, patches_numbers_written_earlier);
}

int main(void)
{
    return unit_main("buffer", add);
}

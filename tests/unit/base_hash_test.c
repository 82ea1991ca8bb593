#include "base/base.h"
#include "harness/unit.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* From UtilsTest.testMurmur2 of Apache Kafka's Java client. */
static const struct {
    const char *text;
    int32_t hash;
} murmurs[] = {
    { "21", -973932308 },
    { "foobar", -790332482 },
    { "a-little-bit-long-string", -985981536 },
    { "a-little-bit-longer-string", -1486304829 },
    { "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971 },
    { "abc", 479470107 },
};

START_TEST(murmur2_is_that_of_java_clients)
{
    ck_assert_int_eq((int32_t)weir_murmur2(weir_text(murmurs[_i].text)), murmurs[_i].hash);
}
END_TEST

/* Part of every checkpoint and ledger: were these to change, old ones could not be read any more. */
START_TEST(hashes_never_change)
{
    ck_assert_uint_eq(hash_64("", 0), 0x2d06800538d394c2);
    ck_assert_uint_eq(hash_64("a", 1), 0xe6c632b61e964e1f);
    ck_assert_uint_eq(hash_key(WEIR_EMPTY), 0x38d394c2);
    ck_assert_uint_eq(hash_key(weir_text("a")), 0x1e964e1f);
    ck_assert_uint_eq(hash_key(WEIR_NULL), 0);
}
END_TEST

START_TEST(a_stream_hashes_like_one_piece)
{
    char data[5000];
    uint64_t random = unit_seed();
    for (size_t i = 0; i < sizeof data; i++) data[i] = (char)unit_random(&random);
    struct hash_stream *stream = hash_stream_create(42);
    for (size_t at = 0, size; at < sizeof data; at += size) {
        size = unit_random_below(&random, 700);
        if (size > sizeof data - at) size = sizeof data - at;
        hash_stream_update(stream, data + at, size);
    }
    ck_assert_uint_eq(hash_stream_value(stream), hash_64_seeded(data, sizeof data, 42));
    hash_stream_destroy(stream);
}
END_TEST

static bool same_digest(struct weir_digest a, struct weir_digest b)
{
    return a.low == b.low && a.high == b.high;
}

static struct weir_digest digest(struct weir_bytes key, struct weir_bytes value, const struct weir_headers *headers)
{
    const struct weir_record record = { .key = key, .value = value, .headers = headers, .time_ms = 5 };
    return weir_digest_record(&record);
}

/* The encoding written out by hand, hashed by the library libxxhash.so. */
START_TEST(digests_never_change)
{
    const struct weir_digest sum = digest(weir_text("k"), weir_text("vv"), NULL);
    ck_assert_uint_eq(sum.high, 0x85c9459984b4bea8);
    ck_assert_uint_eq(sum.low, 0x191815b8b953ee7b);
}
END_TEST

START_TEST(digests_tell_records_apart)
{
    const struct weir_header one = { "h", { "x", 1 } }, null_one = { "h", { weir_null_data, 0 } };
    const struct weir_headers headers = { 1, &one }, null_headers = { 1, &null_one }, no_headers = { 0, NULL };
    const struct weir_digest digests[] = {
        digest(weir_text("a"), weir_text("b"), NULL),       digest(weir_text("ab"), WEIR_EMPTY, NULL),
        digest(WEIR_EMPTY, weir_text("ab"), NULL),          digest(WEIR_NULL, weir_text("ab"), NULL),
        digest(weir_text("ab"), WEIR_NULL, NULL),           digest(weir_text("a"), weir_text("b"), &headers),
        digest(weir_text("a"), weir_text("b"), &null_headers),
    };
    const size_t count = sizeof digests / sizeof digests[0];
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i; k++) ck_assert(!same_digest(digests[i], digests[k]));
    ck_assert(same_digest(digests[0], digest(weir_text("a"), weir_text("b"), &no_headers)));
    ck_assert(same_digest(digests[4], digest(weir_text("ab"), (struct weir_bytes){ 0 }, NULL)));
}
END_TEST

static struct weir_digest expected_digest(const void *data, size_t size)
{
    const XXH128_hash_t hash = XXH3_128bits(data, size);
    return (struct weir_digest){ .low = hash.low64, .high = hash.high64 };
}

/* The short way and the long way meet at a size; both must give what the encoding says. */
START_TEST(digests_of_any_size_follow_the_encoding)
{
    char value[600];
    memset(value, 'v', sizeof value);
    for (size_t size = 0; size <= sizeof value; size++) {
        struct buffer encoded;
        buffer_init(&encoded);
        buffer_u32(&encoded, 3);
        buffer_put(&encoded, "key", 3);
        buffer_u32(&encoded, (uint32_t)size);
        buffer_put(&encoded, value, size);
        buffer_u32(&encoded, 0);
        const struct weir_digest expected = expected_digest(encoded.data, encoded.size);
        ck_assert(same_digest(digest(weir_text("key"), (struct weir_bytes){ value, size }, NULL), expected));
        buffer_deinit(&encoded);
    }
}
END_TEST

START_TEST(key_group_ranges_join_without_gap)
{
    for (uint32_t max = 1; max <= 130; max += 43) {
        for (uint32_t parallelism = 1; parallelism <= max; parallelism++) {
            ck_assert_uint_eq(key_group_first(max, parallelism, 0), 0);
            ck_assert_uint_eq(key_group_first(max, parallelism, parallelism), max);
            for (uint32_t group = 0; group < max; group++) {
                const uint32_t subtask = key_group_subtask(group, max, parallelism);
                ck_assert_uint_lt(subtask, parallelism);
                ck_assert_uint_ge(group, key_group_first(max, parallelism, subtask));
                ck_assert_uint_lt(group, key_group_first(max, parallelism, subtask + 1));
            }
        }
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, murmur2_is_that_of_java_clients, 0, (int)(sizeof murmurs / sizeof murmurs[0]));
    tcase_add_test(tests, hashes_never_change);
    tcase_add_test(tests, a_stream_hashes_like_one_piece);
    tcase_add_test(tests, digests_never_change);
    tcase_add_test(tests, digests_tell_records_apart);
    tcase_add_test(tests, digests_of_any_size_follow_the_encoding);
    tcase_add_test(tests, key_group_ranges_join_without_gap);
}

int main(void)
{
    return unit_main("hash", add);
}

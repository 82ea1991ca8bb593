#include "state/store_key.h"

#include <string.h>

#include "harness/unit.h"

static const struct weir_bytes unset;

/* Parts in their order, with the bytes that are easily mixed up. */
static struct weir_bytes part(uint32_t index)
{
    static const char bytes[] = "\0\0\0\1\1\xff\xff";
    switch (index) {
    case 0: return unset;
    case 1: return WEIR_NULL;
    case 2: return (struct weir_bytes){ bytes, 0 };
    case 3: return (struct weir_bytes){ bytes, 1 };
    case 4: return (struct weir_bytes){ bytes, 2 };
    case 5: return (struct weir_bytes){ bytes + 2, 2 };
    case 6: return (struct weir_bytes){ bytes + 3, 1 };
    case 7: return (struct weir_bytes){ bytes + 3, 2 };
    case 8: return (struct weir_bytes){ bytes + 5, 1 };
    default: return (struct weir_bytes){ bytes + 5, 2 };
    }
}

enum { PARTS = 10 };

static bool is_same(struct weir_bytes a, struct weir_bytes b)
{
    return weir_is_set(a) == weir_is_set(b) && weir_is_null(a) == weir_is_null(b) && a.size == b.size &&
           memcmp(a.data == NULL ? "" : a.data, b.data == NULL ? "" : b.data, a.size) == 0;
}

static int compare(const struct buffer *a, const struct buffer *b)
{
    const int order = memcmp(a->data, b->data, a->size < b->size ? a->size : b->size);
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

/* Name number i of all in their order: key, name space, generation, element; or name space, element, key. */
static struct state_key name_at(uint32_t i, bool is_ordered)
{
    const struct weir_bytes low = part(i % PARTS), middle = part(i / PARTS % PARTS);
    const uint32_t high = i / PARTS / PARTS;
    struct state_key key;
    if (is_ordered) key = (struct state_key){ .key = low, .element = middle, .name_space = part(high) };
    else key = (struct state_key){ .key = part(high / 2), .name_space = middle, .element = low,
                                   .generation = high % 2 == 0 ? 0 : 1 + (uint64_t)UINT32_MAX };
    key.hash = hash_key(key.key);
    return key;
}

static void check_order(bool is_ordered, uint32_t count)
{
    struct buffer before, now, scratch;
    uint32_t compared = 0;
    buffer_init(&before);
    buffer_init(&now);
    buffer_init(&scratch);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t group;
        struct state_key key = name_at(i, is_ordered), read;
        if (!weir_is_set(key.key)) continue;
        buffer_clear(&now);
        store_key_encode(&now, is_ordered, 513, &key);
        ck_assert(!now.failed);
        /* Numbers of one generation run through all name spaces before the next generation does. */
        const bool same_collection = is_ordered || i / PARTS == (i - 1) / PARTS;
        if (before.size > 0 && same_collection) {
            ck_assert_int_lt(compare(&before, &now), 0);
            compared++;
        }
        const struct weir_bytes bytes = { now.data, now.size };
        ck_assert_ptr_null(store_key_decode(bytes, is_ordered, &scratch, &group, &read));
        ck_assert_uint_eq(group, 513);
        ck_assert(is_same(read.key, key.key) && is_same(read.name_space, key.name_space));
        ck_assert(is_same(read.element, key.element) && read.generation == key.generation && read.hash == key.hash);
        buffer_clear(&before);
        buffer_put(&before, now.data, now.size);
    }
    ck_assert_uint_gt(compared, 500);
    buffer_deinit(&scratch);
    buffer_deinit(&now);
    buffer_deinit(&before);
}

START_TEST(names_sort_as_their_parts_do)
{
    check_order(false, 2 * PARTS * PARTS * PARTS);
    check_order(true, PARTS * PARTS * PARTS);
}
END_TEST

START_TEST(a_prefix_leads_to_its_names)
{
    struct buffer name, prefix;
    const struct state_key key = { .key = weir_text("key"), .name_space = weir_text("space"), .element = weir_text("e"),
                                   .generation = 7 };
    buffer_init(&name);
    buffer_init(&prefix);
    store_key_encode(&name, false, 3, &key);
    store_key_group_prefix(&prefix, 3);
    ck_assert_mem_eq(name.data, prefix.data, prefix.size);
    buffer_clear(&prefix);
    store_key_collection_prefix(&prefix, 3, &key);
    ck_assert_mem_eq(name.data, prefix.data, prefix.size);
    buffer_deinit(&prefix);
    buffer_deinit(&name);
}
END_TEST

START_TEST(no_truncated_name_is_read)
{
    struct buffer name, scratch;
    buffer_init(&name);
    buffer_init(&scratch);
    for (int is_ordered = 0; is_ordered < 2; is_ordered++) {
        const struct state_key key = { .key = weir_text("key"), .name_space = WEIR_NULL, .element = weir_text("e") };
        buffer_clear(&name);
        store_key_encode(&name, is_ordered, 3, &key);
        for (size_t size = 0; size < name.size; size++) {
            uint32_t group;
            struct state_key read;
            const struct weir_bytes bytes = { name.data, size };
            ck_assert_ptr_nonnull(store_key_decode(bytes, is_ordered, &scratch, &group, &read));
        }
    }
    buffer_deinit(&scratch);
    buffer_deinit(&name);
}
END_TEST

START_TEST(values_come_back_with_their_version)
{
    static const uint32_t versions[] = { 0, 1, 200, UINT32_MAX };
    const struct weir_bytes values[] = { WEIR_NULL, weir_text(""), weir_text("value") };
    struct buffer bytes;
    buffer_init(&bytes);
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        for (size_t j = 0; j < sizeof values / sizeof values[0]; j++) {
            uint32_t version;
            struct weir_bytes value;
            buffer_clear(&bytes);
            store_value_encode(&bytes, versions[i], values[j]);
            ck_assert(store_value_decode((struct weir_bytes){ bytes.data, bytes.size }, &version, &value));
            ck_assert_uint_eq(version, versions[i]);
            ck_assert(is_same(value, values[j]));
        }
    }
    uint32_t version;
    struct weir_bytes value;
    ck_assert(!store_value_decode(weir_text(""), &version, &value));
    ck_assert(!store_value_decode(weir_text("\x01x"), &version, &value)); /* null, and bytes behind it */
    buffer_deinit(&bytes);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, names_sort_as_their_parts_do);
    tcase_add_test(tests, a_prefix_leads_to_its_names);
    tcase_add_test(tests, no_truncated_name_is_read);
    tcase_add_test(tests, values_come_back_with_their_version);
}

int main(void)
{
    return unit_main("state_store_key", add);
}

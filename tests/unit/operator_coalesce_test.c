/* The coalescing table against a plain array. */
#include <stdio.h>
#include <string.h>

#include "harness/unit.h"
#include "operator/coalesce.h"

enum { KEYS = 300, STEPS = 20000, VALUE_SIZE_MAX = 400 };

struct model {
    bool is_there;
    char value[VALUE_SIZE_MAX];
    size_t size;
    bool has_header;
};

static struct weir_bytes key_of(uint32_t index, char text[static 16])
{
    snprintf(text, 16, "key-%u", index);
    return weir_text(text);
}

static void put(struct coalesce *coalesce, struct model *model, uint32_t index, uint64_t *random)
{
    char text[16];
    const struct weir_bytes key = key_of(index, text);
    model->size = unit_random_below(random, VALUE_SIZE_MAX);
    model->has_header = unit_chance(random, 20);
    memset(model->value, (int)('a' + unit_random_below(random, 26)), model->size);
    struct weir_header header = { "name", { model->value, model->size } };
    const struct weir_headers headers = { 1, &header };
    const struct weir_record record = { .key = key, .value = { model->value, model->size }, .time_ms = index,
                                        .headers = model->has_header ? &headers : NULL };
    ck_assert(coalesce_put(coalesce, key, hash_key(key) % 64, &record)); /* few hashes: long probes */
}

static void check_record(const struct weir_record *record, const struct model *model)
{
    ck_assert_uint_eq(record->value.size, model->size);
    ck_assert_mem_eq(record->value.data, model->value, model->size);
    ck_assert_int_eq(record->headers != NULL, model->has_header);
    if (!model->has_header) return;
    ck_assert_str_eq(record->headers->items[0].name, "name");
    ck_assert_mem_eq(record->headers->items[0].value.data, model->value, model->size);
}

START_TEST(keeps_the_last_record_of_each_key_in_order_of_the_first)
{
    uint64_t random = unit_seed();
    struct coalesce *coalesce = coalesce_create();
    for (int epoch = 0; epoch < 3; epoch++) {
        struct model models[KEYS] = { 0 };
        uint32_t order[KEYS], count = 0;
        for (int i = 0; i < STEPS; i++) {
            const uint32_t index = unit_random_below(&random, KEYS);
            if (!models[index].is_there) order[count++] = index;
            models[index].is_there = true;
            put(coalesce, &models[index], index, &random);
        }
        ck_assert_uint_eq(coalesce_count(coalesce), count);
        for (uint32_t i = 0; i < count; i++) {
            const struct weir_record *record = coalesce_at(coalesce, i);
            ck_assert_int_eq(record->time_ms, order[i]);
            check_record(record, &models[order[i]]);
        }
        coalesce_clear(coalesce);
        ck_assert_uint_eq(coalesce_count(coalesce), 0);
        ck_assert_uint_eq(coalesce_bytes(coalesce), 0);
    }
    coalesce_destroy(coalesce);
}
END_TEST

START_TEST(memory_is_bounded_by_keys_not_by_records)
{
    uint64_t random = unit_seed();
    struct model model;
    struct coalesce *coalesce = coalesce_create();
    for (int i = 0; i < STEPS; i++) put(coalesce, &model, 0, &random);
    ck_assert_uint_lt(coalesce_bytes(coalesce), 4 * 1.5 * 2 * VALUE_SIZE_MAX);
    coalesce_destroy(coalesce);
}
END_TEST

START_TEST(null_and_empty_stay_apart)
{
    struct coalesce *coalesce = coalesce_create();
    ck_assert(coalesce_put(coalesce, WEIR_EMPTY, 0, &(struct weir_record){ .key = WEIR_EMPTY, .value = WEIR_NULL }));
    ck_assert(coalesce_put(coalesce, WEIR_NULL, 0, &(struct weir_record){ .key = WEIR_NULL, .value = WEIR_EMPTY }));
    ck_assert_uint_eq(coalesce_count(coalesce), 2);
    ck_assert(!weir_is_null(coalesce_at(coalesce, 0)->key) && weir_is_null(coalesce_at(coalesce, 0)->value));
    ck_assert(weir_is_null(coalesce_at(coalesce, 1)->key) && !weir_is_null(coalesce_at(coalesce, 1)->value));
    coalesce_destroy(coalesce);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, keeps_the_last_record_of_each_key_in_order_of_the_first);
    tcase_add_test(tests, memory_is_bounded_by_keys_not_by_records);
    tcase_add_test(tests, null_and_empty_stay_apart);
}

int main(void)
{
    return unit_main("coalesce", add);
}

#include "base/base.h"
#include "harness/failing_malloc.h" /* WEIR_TEST_WRAPS_MALLOC */
#include "harness/unit.h"

START_TEST(hands_out_aligned_memory_that_does_not_overlap)
{
    struct arena arena;
    arena_init(&arena, 256);
    unsigned char *pieces[200];
    for (unsigned i = 0; i < 200; i++) {
        pieces[i] = arena_alloc(&arena, 1 + i % 40);
        ck_assert_ptr_nonnull(pieces[i]);
        ck_assert_uint_eq((uintptr_t)pieces[i] % 8, 0);
        memset(pieces[i], (int)i, 1 + i % 40);
    }
    for (unsigned i = 0; i < 200; i++)
        for (unsigned k = 0; k < 1 + i % 40; k++) ck_assert_uint_eq(pieces[i][k], (unsigned char)i);
    arena_deinit(&arena);
}
END_TEST

START_TEST(takes_pieces_larger_than_a_chunk)
{
    struct arena arena;
    arena_init(&arena, 64);
    char *small = arena_copy(&arena, "abc", 3);
    char *large = arena_alloc(&arena, 10000);
    memset(large, 'x', 10000);
    char *after = arena_text(&arena, "after");
    ck_assert_mem_eq(small, "abc", 3);
    ck_assert_str_eq(after, "after");
    ck_assert_uint_eq(arena.used_bytes, 3 + 10000 + 6);
    arena_deinit(&arena);
}
END_TEST

START_TEST(uses_the_same_memory_again_after_a_reset)
{
    struct arena arena;
    arena_init(&arena, 1024);
    void *first[5], *second[5];
    for (unsigned i = 0; i < 5; i++) first[i] = arena_alloc(&arena, 1000);
    arena_reset(&arena);
    ck_assert_uint_eq(arena.used_bytes, 0);
    for (unsigned i = 0; i < 5; i++) second[i] = arena_alloc(&arena, 1000);
    ck_assert_mem_eq(first, second, sizeof first);
    arena_deinit(&arena);
}
END_TEST

START_TEST(gives_large_chunks_back_at_a_reset)
{
    struct arena arena;
    arena_init(&arena, 64);
    ck_assert_ptr_nonnull(arena_alloc(&arena, 100000)); /* also when it is the first and only chunk */
    arena_reset(&arena);
    ck_assert_ptr_null(arena.first);
    arena_deinit(&arena);
}
END_TEST

static void fill_chunks(struct arena *arena, unsigned count)
{
    for (unsigned i = 0; i < count; i++) (void)arena_alloc(arena, 64);
}

START_TEST(keeps_eight_chunks_over_a_reset)
{
    struct arena arena;
    arena_init(&arena, 64);
    int64_t live[5];
    live[0] = failing_malloc_live();
    fill_chunks(&arena, 100);
    live[1] = failing_malloc_live();
    arena_reset(&arena);
    live[2] = failing_malloc_live();
    fill_chunks(&arena, 8);
    live[3] = failing_malloc_live();
    arena_deinit(&arena);
    live[4] = failing_malloc_live();
    ck_assert_int_eq(live[1] - live[0], 100);
    ck_assert_int_eq(live[2] - live[0], 8);
    ck_assert_int_eq(live[3] - live[0], 8);
    ck_assert_int_eq(live[4] - live[0], 0);
}
END_TEST

START_TEST(refuses_a_size_that_no_memory_can_hold)
{
    struct arena arena;
    arena_init(&arena, 64);
    ck_assert_ptr_null(arena_alloc(&arena, SIZE_MAX - 8));
    ck_assert_ptr_nonnull(arena_alloc(&arena, 8));
    arena_deinit(&arena);
}
END_TEST

START_TEST(vec_grows_and_keeps_items)
{
    VEC(uint32_t) numbers = { 0 };
    for (uint32_t i = 0; i < 1000; i++) *vec_push(&numbers) = i;
    ck_assert_uint_eq(numbers.count, 1000);
    for (uint32_t i = 0; i < 1000; i++) ck_assert_uint_eq(numbers.items[i], i);
    vec_free(&numbers);
    ck_assert_uint_eq(numbers.count, 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, hands_out_aligned_memory_that_does_not_overlap);
    tcase_add_test(tests, takes_pieces_larger_than_a_chunk);
    tcase_add_test(tests, uses_the_same_memory_again_after_a_reset);
    tcase_add_test(tests, gives_large_chunks_back_at_a_reset);
    tcase_add_test(tests, keeps_eight_chunks_over_a_reset);
    tcase_add_test(tests, refuses_a_size_that_no_memory_can_hold);
    tcase_add_test(tests, vec_grows_and_keeps_items);
}

int main(void)
{
    return unit_main("arena", add);
}

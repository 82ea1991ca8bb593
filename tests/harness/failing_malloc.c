#include "failing_malloc.h"

#include <check.h>
#include <stdatomic.h>
#include <stddef.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *memory);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *memory);

static _Atomic uint64_t countdown; /* 0 = not armed */
static atomic_bool fails_for_ever;
static atomic_bool failing;
static atomic_bool has_failed;
static _Atomic int64_t live;

static bool fails_now(void)
{
    uint64_t left = atomic_load(&countdown);
    while (left > 0 && !atomic_compare_exchange_weak(&countdown, &left, left - 1)) continue;
    if (left == 1) {
        atomic_store(&has_failed, true);
        atomic_store(&failing, atomic_load(&fails_for_ever));
        return true;
    }
    return atomic_load(&failing);
}

static void *counted(void *memory)
{
    if (memory != NULL) atomic_fetch_add(&live, 1);
    return memory;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *memory, size_t size)
{
    if (fails_now()) return NULL;
    void *moved = __real_realloc(memory, size);
    return memory == NULL ? counted(moved) : moved;
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails_now() ? NULL : counted(__real_aligned_alloc(alignment, size));
}

void __wrap_free(void *memory)
{
    if (memory != NULL) atomic_fetch_sub(&live, 1);
    __real_free(memory);
}

void failing_malloc_arm(uint64_t n, bool for_ever)
{
    atomic_store(&has_failed, false);
    atomic_store(&fails_for_ever, for_ever);
    atomic_store(&countdown, n);
}

bool failing_malloc_disarm(void)
{
    atomic_store(&countdown, 0);
    atomic_store(&failing, false);
    return atomic_load(&has_failed);
}

int64_t failing_malloc_live(void)
{
    return atomic_load(&live);
}

static bool run_with_failure(void (*scenario)(void), uint64_t n, bool for_ever)
{
    const int64_t live_before = failing_malloc_live();
    failing_malloc_arm(n, for_ever);
    scenario();
    const bool failed = failing_malloc_disarm();
    ck_assert_msg(failing_malloc_live() == live_before, "allocation %llu failed%s: %lld pieces of memory left behind",
                  (unsigned long long)n, for_ever ? " for ever" : "",
                  (long long)(failing_malloc_live() - live_before));
    return failed;
}

uint64_t failing_malloc_each(void (*scenario)(void))
{
    uint64_t n = 1;
    while (run_with_failure(scenario, n, false)) {
        run_with_failure(scenario, n, true);
        n++;
    }
    return n - 1;
}

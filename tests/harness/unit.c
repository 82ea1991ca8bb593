#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

/* It ends what hangs without waiting for anything (harness/patience.h ends what waits), also on a busy machine under a
 * sanitizer. */
enum { TIMEOUT_S = 1800 };

int unit_main(const char *name, void (*add)(TCase *tests))
{
    Suite *suite = suite_create(name);
    TCase *tests = tcase_create(name);
    tcase_set_timeout(tests, TIMEOUT_S);
    add(tests);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

uint64_t unit_seed(void)
{
    uint64_t seed = 0;
    const char *given = getenv("WEIR_SEED");
    if (given != NULL) seed = strtoull(given, NULL, 0);
    else if (getrandom(&seed, sizeof seed, 0) != sizeof seed) ck_abort_msg("no randomness");
    (void)printf("WEIR_SEED=0x%llx\n", (unsigned long long)seed);
    (void)fflush(stdout);
    return seed;
}

uint64_t unit_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

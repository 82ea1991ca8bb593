#include "round.h"

#include "harness/unit.h"

static struct round round_now;

static void begin(uint32_t count)
{
    round_forget(&round_now);
    round_begin(&round_now, WEIR_DECIDER_FENCED, 7, count);
}

static enum round_step renewed(uint32_t id)
{
    return round_renewed(&round_now, 7, id);
}

START_TEST(rest_waits_for_id_0)
{
    begin(3);
    ck_assert_int_eq(renewed(0), ROUND_REST);
    ck_assert_int_eq(renewed(2), ROUND_WAITS);
    ck_assert_int_eq(renewed(1), ROUND_ENDS);
    ck_assert_int_eq(round_now.answer, WEIR_DECIDER_FENCED);
    ck_assert_int_eq(renewed(1), ROUND_OUTSIDE);
}
END_TEST

START_TEST(one_id_is_a_round_of_its_own)
{
    begin(1);
    ck_assert_int_eq(renewed(0), ROUND_ENDS);
}
END_TEST

/* A renewal that nobody waited for any more when the final round began. */
START_TEST(renewal_counts_for_no_round)
{
    round_forget(&round_now);
    round_expect_renewal(&round_now, 0);
    round_begin(&round_now, WEIR_DECIDER_FINISHED, 7, 2);
    ck_assert_int_eq(renewed(0), ROUND_OUTSIDE);
    ck_assert_int_eq(renewed(0), ROUND_REST);
    ck_assert_int_eq(renewed(1), ROUND_ENDS);
}
END_TEST

START_TEST(another_attempt_is_outside)
{
    begin(2);
    ck_assert_int_eq(round_renewed(&round_now, 6, 0), ROUND_OUTSIDE);
    ck_assert_int_eq(renewed(0), ROUND_REST);
    round_forget(&round_now);
    ck_assert_int_eq(renewed(1), ROUND_OUTSIDE);
}
END_TEST

static void add(TCase *facts)
{
    tcase_add_test(facts, rest_waits_for_id_0);
    tcase_add_test(facts, one_id_is_a_round_of_its_own);
    tcase_add_test(facts, renewal_counts_for_no_round);
    tcase_add_test(facts, another_attempt_is_outside);
}

int main(void)
{
    return unit_main("kafka_round", add);
}

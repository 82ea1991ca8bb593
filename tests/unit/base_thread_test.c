#include "base/base.h"
#include "harness/unit.h"

#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static struct weir_environment environment;

static int64_t now_us(void)
{
    environment_init_system(&environment);
    return environment.monotonic_us(environment.user);
}

START_TEST(a_wake_before_the_sleep_is_remembered)
{
    struct waker waker;
    ck_assert(waker_init(&waker));
    waker_wake(&waker);
    waker_wake(&waker);
    waker_sleep(&waker, -1);

    const int64_t begin = now_us();
    waker_sleep(&waker, 20000); /* once only: this one sleeps its time */
    ck_assert_int_ge(now_us() - begin, 19000);
    waker_deinit(&waker);
}
END_TEST

START_TEST(a_write_to_the_descriptor_wakes_without_the_flag)
{
    struct waker waker;
    ck_assert(waker_init(&waker));
    const uint64_t one = 1;
    ck_assert_int_eq(write(waker.descriptor, &one, sizeof one), sizeof one);
    waker_sleep(&waker, -1);

    struct pollfd descriptor = { .fd = waker.descriptor, .events = POLLIN };
    ck_assert_int_eq(poll(&descriptor, 1, 0), 0);
    waker_deinit(&waker);
}
END_TEST

/* The flag must not hide the descriptor's word: a wake first, then a write, give two sleeps that return at once. */
START_TEST(a_write_while_woken_is_not_lost)
{
    struct waker waker;
    ck_assert(waker_init(&waker));
    waker_wake(&waker);
    const uint64_t one = 1;
    ck_assert_int_eq(write(waker.descriptor, &one, sizeof one), sizeof one);
    waker_sleep(&waker, -1);
    waker_sleep(&waker, -1);
    waker_deinit(&waker);
}
END_TEST

START_TEST(waking_somebody_awake_makes_no_system_call)
{
    struct waker waker;
    ck_assert(waker_init(&waker));
    for (int i = 0; i < 1000; i++) waker_wake(&waker);
    struct pollfd descriptor = { .fd = waker.descriptor, .events = POLLIN };
    ck_assert_int_eq(poll(&descriptor, 1, 0), 0);
    waker_deinit(&waker);
}
END_TEST

struct ping_pong {
    struct waker here, there;
    _Atomic uint32_t ball;
};

enum { ROUNDS = 20000 };

static void play(void *user)
{
    struct ping_pong *game = user;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        while (atomic_load(&game->ball) != 2 * round + 1) waker_sleep(&game->there, -1);
        atomic_store(&game->ball, 2 * round + 2);
        waker_wake(&game->here);
    }
}

START_TEST(no_wake_is_lost_between_two_threads)
{
    struct ping_pong game = { .ball = 0 };
    ck_assert(waker_init(&game.here) && waker_init(&game.there));
    struct thread thread;
    ck_assert(thread_start(&thread, "a name longer than shown", play, &game));
    for (uint32_t round = 0; round < ROUNDS; round++) {
        atomic_store(&game.ball, 2 * round + 1);
        waker_wake(&game.there);
        while (atomic_load(&game.ball) != 2 * round + 2) waker_sleep(&game.here, -1);
    }
    thread_join(&thread);
    thread_join(&thread); /* nothing any more */
    waker_deinit(&game.here);
    waker_deinit(&game.there);
}
END_TEST

static void read_mask(void *user)
{
    pthread_sigmask(SIG_SETMASK, NULL, user);
}

START_TEST(threads_leave_signals_to_the_host)
{
    sigset_t mask, own;
    struct thread thread;
    ck_assert(thread_start(&thread, "quiet", read_mask, &mask));
    thread_join(&thread);
    ck_assert_int_eq(sigismember(&mask, SIGTERM), 1);
    pthread_sigmask(SIG_SETMASK, NULL, &own);
    ck_assert_int_eq(sigismember(&own, SIGTERM), 0);
}
END_TEST

struct letter {
    struct mail mail;
    uint32_t sender, number;
};

enum { SENDERS = 3, LETTERS = 5000 };

struct sender {
    struct mailbox *mailbox;
    uint32_t index;
    struct thread thread;
};

static void send_letters(void *user)
{
    const struct sender *sender = user;
    for (uint32_t i = 0; i < LETTERS; i++) {
        struct letter *letter = malloc(sizeof *letter);
        if (letter == NULL) return;
        *letter = (struct letter){ .sender = sender->index, .number = i };
        mailbox_post(sender->mailbox, &letter->mail);
    }
}

START_TEST(mail_keeps_each_senders_order)
{
    struct waker waker;
    struct mailbox mailbox;
    ck_assert(waker_init(&waker));
    mailbox_init(&mailbox, &waker);
    struct sender senders[SENDERS];
    for (uint32_t i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){ .mailbox = &mailbox, .index = i };
        ck_assert(thread_start(&senders[i].thread, "sender", send_letters, &senders[i]));
    }
    uint32_t next[SENDERS] = { 0 };
    for (uint32_t taken = 0; taken < SENDERS * LETTERS;) {
        struct letter *letter = (struct letter *)(void *)mailbox_take(&mailbox);
        if (letter == NULL) {
            waker_sleep(&waker, -1);
            continue;
        }
        ck_assert_uint_eq(letter->number, next[letter->sender]);
        next[letter->sender]++;
        taken++;
        free(letter);
    }
    for (uint32_t i = 0; i < SENDERS; i++) thread_join(&senders[i].thread);
    ck_assert_ptr_null(mailbox_take(&mailbox));
    mailbox_deinit(&mailbox, NULL);
    waker_deinit(&waker);
}
END_TEST

START_TEST(an_emptied_mailbox_takes_mail_again)
{
    struct mailbox mailbox;
    mailbox_init(&mailbox, NULL);
    struct mail letters[3];
    for (int i = 0; i < 3; i++) {
        ck_assert_ptr_null(mailbox_take(&mailbox));
        mailbox_post(&mailbox, &letters[i]);
        ck_assert_ptr_eq(mailbox_take(&mailbox), &letters[i]);
    }
    ck_assert_ptr_null(mailbox_take(&mailbox));
    mailbox_deinit(&mailbox, NULL);
}
END_TEST

static int discarded;

static void discard(struct mail *mail)
{
    discarded++;
    free(mail);
}

START_TEST(mail_that_nobody_took_is_discarded)
{
    struct mailbox mailbox;
    mailbox_init(&mailbox, NULL);
    for (int i = 0; i < 3; i++) mailbox_post(&mailbox, calloc(1, sizeof(struct mail)));
    free(mailbox_take(&mailbox));
    mailbox_deinit(&mailbox, discard);
    ck_assert_int_eq(discarded, 2);
}
END_TEST

START_TEST(the_system_has_clocks_and_randomness)
{
    const int64_t begin = now_us();
    ck_assert_int_ge(now_us(), begin);
    ck_assert_int_gt(environment.wall_ms(environment.user), 1500000000000);
    ck_assert_uint_ne(environment.random(environment.user), environment.random(environment.user));
    ck_assert(environment.log == NULL);
}
END_TEST

START_TEST(a_false_belief_traps)
{
    CHECK(1 + 1 == 2);
    check_failed("here.c", 1, "never");
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_wake_before_the_sleep_is_remembered);
    tcase_add_test(tests, a_write_to_the_descriptor_wakes_without_the_flag);
    tcase_add_test(tests, a_write_while_woken_is_not_lost);
    tcase_add_test(tests, waking_somebody_awake_makes_no_system_call);
    tcase_add_test(tests, no_wake_is_lost_between_two_threads);
    tcase_add_test(tests, threads_leave_signals_to_the_host);
    tcase_add_test(tests, mail_keeps_each_senders_order);
    tcase_add_test(tests, an_emptied_mailbox_takes_mail_again);
    tcase_add_test(tests, mail_that_nobody_took_is_discarded);
    tcase_add_test(tests, the_system_has_clocks_and_randomness);
    tcase_add_test_raise_signal(tests, a_false_belief_traps, SIGILL);
}

int main(void)
{
    return unit_main("thread", add);
}

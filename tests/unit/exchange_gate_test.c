#include "exchange/exchange.h"

#include <stdio.h>

#include "harness/unit.h"

/* A gate whose channels the test fills by hand, and a trace of what came out. */
enum { INPUTS_MAX = 4 };

static struct channel *channels[INPUTS_MAX];
static uint32_t input_count;
static struct gate *gate;
static char trace[4096];

static void begin(enum align_mode mode, uint32_t count)
{
    struct gate_input inputs[INPUTS_MAX];
    input_count = count;
    for (uint32_t i = 0; i < count; i++) {
        channels[i] = channel_create(64, NULL, NULL);
        inputs[i] = (struct gate_input){ .channel = channels[i], .tag = 10 + i };
    }
    gate = gate_create(inputs, count, mode, 0);
    ck_assert_ptr_nonnull(gate);
    trace[0] = '\0';
}

static void end(const char *expected)
{
    gate_destroy(gate);
    for (uint32_t i = 0; i < input_count; i++) channel_destroy(channels[i]);
    ck_assert_str_eq(trace, expected);
}

static void push(uint32_t input, struct element element)
{
    ck_assert(channel_push(channels[input], element));
}

static void push_batch(uint32_t input, const char *text)
{
    struct weir_batch *batch = batch_create();
    const struct weir_record record = { .key = WEIR_NULL, .value = weir_text(text) };
    ck_assert(batch != NULL && batch_add(batch, &record));
    push(input, element_batch(batch));
}

static void note_event(struct gate_event *event)
{
    char line[64];
    switch (event->type) {
    case GATE_BATCH: {
        const struct weir_bytes value = event->batch->records[0].value;
        (void)snprintf(line, sizeof line, "%.*s/%u ", (int)value.size, value.data, event->tag);
        ck_assert_uint_eq(event->tag, 10 + event->input);
        gate_give_back(gate, event->input, event->batch);
        break;
    }
    case GATE_WATERMARK:
        if (event->watermark_ms == WATERMARK_IDLE) (void)snprintf(line, sizeof line, "idle ");
        else (void)snprintf(line, sizeof line, "w%lld ", (long long)event->watermark_ms);
        break;
    case GATE_ALIGNED: (void)snprintf(line, sizeof line, "aligned%llu ", (unsigned long long)event->epoch); break;
    case GATE_ENDED: (void)snprintf(line, sizeof line, "ended "); break;
    default: (void)snprintf(line, sizeof line, "? "); break;
    }
    strcat(trace, line);
}

/* Takes everything there is, then marks the place in the trace. */
static void drain(void)
{
    struct gate_event event;
    while (gate_next(gate, &event) != GATE_NOTHING) note_event(&event);
    ck_assert_int_eq(event.type, GATE_NOTHING);
    strcat(trace, "| ");
}

START_TEST(serves_inputs_in_turn)
{
    begin(ALIGN_EXACTLY_ONCE, 3);
    for (int i = 0; i < 3; i++) push_batch(0, "a");
    push_batch(1, "b");
    for (int i = 0; i < 2; i++) push_batch(2, "c");
    drain();
    push_batch(0, "a");
    push_batch(1, "b");
    drain();
    end("a/10 b/11 c/12 a/10 c/12 a/10 | b/11 a/10 | ");
}
END_TEST

START_TEST(holds_inputs_until_the_last_barrier)
{
    begin(ALIGN_EXACTLY_ONCE, 2);
    push_batch(0, "a1");
    push(0, element_barrier(1));
    push_batch(0, "a2");
    push_batch(1, "b1");
    push_batch(1, "b1");
    drain();
    push(1, element_barrier(1));
    push_batch(1, "b2");
    drain();
    end("a1/10 b1/11 b1/11 | aligned1 a2/10 b2/11 | ");
}
END_TEST

START_TEST(at_least_once_lets_everything_flow)
{
    begin(ALIGN_AT_LEAST_ONCE, 2);
    push(0, element_barrier(1));
    push_batch(0, "a2");
    push_batch(1, "b1");
    drain();
    push(1, element_barrier(1));
    drain();
    end("b1/11 a2/10 | aligned1 | ");
}
END_TEST

START_TEST(an_abort_lets_held_inputs_flow)
{
    begin(ALIGN_EXACTLY_ONCE, 2);
    push(0, element_barrier(1));
    push_batch(0, "a");
    drain();
    gate_abort(gate, 1);
    drain();
    push(1, element_barrier(1));
    drain();
    ck_assert_uint_eq(gate_barriers_ignored(gate), 1);
    end("| a/10 | | ");
}
END_TEST

START_TEST(the_watermark_is_the_lowest_and_never_falls)
{
    begin(ALIGN_EXACTLY_ONCE, 2);
    push(0, element_watermark(5));
    drain(); /* the other input has said nothing yet */
    push(1, element_watermark(3));
    drain();
    push(1, element_watermark(9));
    drain();
    push(1, element_watermark(4)); /* falls behind: nothing that was said is taken back */
    drain();
    push(0, element_watermark(6));
    drain();
    push(1, element_watermark(7));
    drain();
    end("| w3 | w5 | | | w6 | ");
}
END_TEST

START_TEST(idle_inputs_hold_nobody_back)
{
    begin(ALIGN_EXACTLY_ONCE, 2);
    push(0, element_watermark(5));
    push(1, element_watermark(WATERMARK_IDLE));
    drain();
    push(0, element_watermark(7));
    drain();
    push(1, element_watermark(2)); /* back, and late */
    push(0, element_watermark(8));
    drain();
    push(1, element_watermark(20));
    drain();
    end("w5 | w7 | | w8 | ");
}
END_TEST

START_TEST(says_when_all_are_idle_and_when_one_is_back)
{
    begin(ALIGN_EXACTLY_ONCE, 2);
    push(0, element_watermark(5));
    push(1, element_watermark(5));
    drain();
    push(0, element_watermark(WATERMARK_IDLE));
    drain();
    push(1, element_watermark(WATERMARK_IDLE));
    push(1, element_watermark(WATERMARK_IDLE));
    drain();
    push(0, element_watermark(3)); /* back, and late */
    drain();
    push(0, element_watermark(6));
    drain();
    end("w5 | | idle | w5 | w6 | ");
}
END_TEST

START_TEST(ends_once_behind_the_last_input)
{
    begin(ALIGN_EXACTLY_ONCE, 2);
    push(0, element_watermark(1));
    push(1, element_watermark(2));
    push_batch(0, "a");
    push(0, element_end());
    drain();
    push_batch(1, "b");
    push(1, element_end());
    drain();
    end("w1 a/10 w2 | b/11 ended | ");
}
END_TEST

START_TEST(barriers_flow_behind_the_end)
{
    begin(ALIGN_EXACTLY_ONCE, 2);
    push(0, element_end());
    push(0, element_barrier(1));
    push(0, element_barrier(2));
    push_batch(1, "b");
    push(1, element_barrier(1));
    drain();
    push(1, element_end());
    push(1, element_barrier(2));
    drain();
    push(0, element_barrier(3));
    push(1, element_barrier(3));
    drain();
    end("b/11 aligned1 | ended aligned2 | aligned3 | ");
}
END_TEST

START_TEST(a_closed_channel_gives_nothing)
{
    begin(ALIGN_EXACTLY_ONCE, 2);
    push_batch(0, "a");
    push_batch(1, "b");
    channel_close(channels[0]);
    drain();
    end("b/11 | ");
}
END_TEST

/* ---- Barriers that overtake --------------------------------------------------------------------------------------- */

static bool log_batch(void *user, uint32_t tag, const struct weir_batch *batch)
{
    (void)user;
    char line[64];
    const struct weir_bytes value = batch->records[0].value;
    (void)snprintf(line, sizeof line, "(%.*s/%u) ", (int)value.size, value.data, tag);
    strcat(trace, line);
    return true;
}

static void overtake(uint64_t epoch)
{
    static const char *const answers[] = { "overtakes ", "waits ", "has " };
    strcat(trace, answers[gate_overtake(gate, epoch)]);
}

/* Logs what there is, and marks the end of it. */
static void log_inputs(void)
{
    ck_assert(gate_log(gate, log_batch, NULL));
    strcat(trace, gate_is_logging(gate) ? ".. " : ". ");
}

START_TEST(logs_what_lies_before_the_barrier_and_hands_it_out_all_the_same)
{
    begin(ALIGN_EXACTLY_ONCE, 2);
    push_batch(0, "a");
    push(0, element_barrier(1));
    push_batch(0, "b");
    push_batch(1, "x");
    overtake(1);
    log_inputs();
    push_batch(1, "y"); /* not logged yet: not handed out either */
    drain();
    log_inputs();
    channel_overtake(channels[1], 1);
    push_batch(1, "z");
    log_inputs();
    drain();
    ck_assert_uint_eq(gate_barriers_ignored(gate), 0);
    end("overtakes (a/10) (x/11) .. a/10 x/11 b/10 | (y/11) .. . y/11 z/11 | ");
}
END_TEST

START_TEST(what_was_overtaken_twice_is_logged_twice)
{
    begin(ALIGN_EXACTLY_ONCE, 1);
    push_batch(0, "a");
    channel_overtake(channels[0], 1);
    push_batch(0, "b");
    overtake(1);
    log_inputs();
    channel_overtake(channels[0], 2);
    push_batch(0, "c");
    overtake(2);
    overtake(2);
    log_inputs();
    overtake(2);
    drain();
    push(0, element_barrier(3));
    drain();
    end("overtakes (a/10) . overtakes waits (a/10) (b/10) . has a/10 b/10 c/10 | aligned3 | ");
}
END_TEST

START_TEST(a_barrier_beside_the_channel_is_met_in_its_place)
{
    begin(ALIGN_EXACTLY_ONCE, 2);
    push_batch(0, "a");
    channel_overtake(channels[0], 1);
    push_batch(0, "b");
    channel_overtake(channels[1], 1);
    push_batch(1, "x");
    drain();
    end("a/10 aligned1 x/11 b/10 | ");
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, serves_inputs_in_turn);
    tcase_add_test(tests, holds_inputs_until_the_last_barrier);
    tcase_add_test(tests, at_least_once_lets_everything_flow);
    tcase_add_test(tests, an_abort_lets_held_inputs_flow);
    tcase_add_test(tests, the_watermark_is_the_lowest_and_never_falls);
    tcase_add_test(tests, idle_inputs_hold_nobody_back);
    tcase_add_test(tests, says_when_all_are_idle_and_when_one_is_back);
    tcase_add_test(tests, ends_once_behind_the_last_input);
    tcase_add_test(tests, barriers_flow_behind_the_end);
    tcase_add_test(tests, a_closed_channel_gives_nothing);
    tcase_add_test(tests, logs_what_lies_before_the_barrier_and_hands_it_out_all_the_same);
    tcase_add_test(tests, what_was_overtaken_twice_is_logged_twice);
    tcase_add_test(tests, a_barrier_beside_the_channel_is_met_in_its_place);
}

int main(void)
{
    return unit_main("gate", add);
}

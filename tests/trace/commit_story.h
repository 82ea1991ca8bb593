/* What the stories of the commit protocol share: one machine, what is told it, and the lines that it has told. For one program
 * each: everything here is its own. */
#ifndef TRACE_COMMIT_STORY_H
#define TRACE_COMMIT_STORY_H

#include "checkpoint/commit.h"

#include <stdio.h>
#include <string.h>

#include "harness/unit.h"

static struct commit commit;
static struct commit_actions actions;
static char story[1 << 16];

static inline void tell(void *user, const char *line)
{
    (void)user;
    ck_assert_uint_lt(strlen(story) + strlen(line) + 2, sizeof story);
    strcat(story, line);
    strcat(story, "\n");
}

/* What happened since the last call. */
static inline void expect(const char *lines)
{
    ck_assert_str_eq(story, lines);
    story[0] = '\0';
}

static inline void forget(void)
{
    story[0] = '\0';
}

static inline void begin(uint32_t ring_size)
{
    story[0] = '\0';
    const struct commit_options options = { .ring_size = ring_size, .needs_prepared_frame = true, .trace = tell };
    commit_init(&commit, &options);
}

/* An event of the attempt that is under way. */
#define ON(name, ...) step((struct commit_event){ .type = COMMIT_ON_##name, .attempt = commit.attempt, __VA_ARGS__ })
/* An event of another attempt. */
#define ON_ATTEMPT(number, name, ...)                                                                                  \
    step((struct commit_event){ .type = COMMIT_ON_##name, .attempt = (number), __VA_ARGS__ })

static inline enum commit_answer step(struct commit_event event)
{
    commit_step(&commit, &event, &actions);
    return actions.answer;
}

static inline void failed(enum weir_code code, enum weir_remedy remedy)
{
    struct weir_error error = { .code = code, .remedy = remedy, .text = "a test's failure" };
    ON(FAILED, .error = &error);
}

static inline void fenced(int64_t age_ms, int64_t timeout_ms)
{
    struct weir_error error = { .code = WEIR_FENCED, .remedy = WEIR_REMEDY_STOP, .text = "fenced" };
    ON(FAILED, .error = &error, .transaction_age_ms = age_ms, .timeout_ms = timeout_ms);
}

static const struct commit_name first = { 1, 41 };

static inline void unwound(void)
{
    ON(DISCARDED);
    ON(TASKS_GONE);
}

static inline void start_and_look(void)
{
    ON(START);
    ON(LOOKED);
    ON(FENCED);
    ON(READ);
}

/* All that a commit of the epoch waits for. */
static inline void prepared(uint64_t epoch)
{
    ON(FLUSHED, .epoch = epoch);
    ON(DURABLE, .epoch = epoch, .try_number = 1);
    ON(READY, .epoch = epoch);
}

/* Brings a machine that looks to RUNNING with `parent` restored under `incarnation`. */
static inline void restore(struct commit_name parent, uint64_t incarnation)
{
    ON(LOOKED, .handles_named = 2);
    ON(FENCED);
    ON(READ, .handles_named = 2);
    ON(RESOLVED, .parent = parent, .incarnation = incarnation);
    ON(ANNOUNCED);
    ON(RESTORED);
}

/* RUNNING with 1/41 restored, and the handle of epoch 42 begun. */
static inline void run(uint32_t ring_size)
{
    begin(ring_size);
    ON(START);
    restore(first, 2);
    ON(BEGUN, .epoch = 42);
    forget();
}

/* A whole commit in a ring of two, from SNAPSHOT to ALLOW. */
static inline void commit_whole(uint64_t epoch)
{
    ON(SNAPSHOT, .epoch = epoch);
    ON(BEGUN, .epoch = epoch + 1);
    ON(DURABLE, .epoch = epoch, .try_number = 1);
    ON(FLUSHED, .epoch = epoch);
    ON(READY, .epoch = epoch);
    ON(COMMITTED, .epoch = epoch);
}

#endif

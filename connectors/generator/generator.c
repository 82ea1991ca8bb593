#include "weir/generator.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SPLITS_MAX = 1024, TICK_MIN_US = 1000, TICK_MAX_US = 1000000 };

struct generator {
    struct weir_generator_options options;
    struct weir_connector_context context;
};

/* Wakes a paced reader when its next record is due: the reader itself never waits. */
struct ticker {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t stop;
    bool has_stopped; /* under the mutex */
    bool is_running;
    int64_t period_us;
    struct weir_waker waker;
};

struct part {
    uint32_t index; /* k of "split k of S" */
    int64_t position;
    int64_t end;   /* WEIR_POSITION_NONE = without */
    int64_t limit; /* of the open epoch; WEIR_POSITION_NONE = without */
    double allowance; /* records that the pace allows now */
};

struct reader {
    const struct generator *generator;
    struct part *parts;
    uint32_t part_count;
    uint32_t part_next; /* where the next poll begins */
    int64_t paced_us;   /* when allowances were last raised */
    struct ticker ticker;
    char scratch[WEIR_GENERATOR_SCRATCH_BYTES];
};

/* ---- Environment ------------------------------------------------------------------------------------------------- */

static enum weir_code generator_open(const void *options, const struct weir_connector_context *context, void **source,
                                     struct weir_error *error)
{
    struct generator *generator = malloc(sizeof *generator);
    if (generator == NULL)
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory for a generator");
    *generator = (struct generator){ .context = *context };
    memcpy(&generator->options, options, sizeof generator->options);
    if (context->bounded && generator->options.count == 0) {
        free(generator);
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "the generator has no end, and the job is to be bounded: "
                              "set .count");
    }
    *source = generator;
    return WEIR_OK;
}

static void generator_close(void *source)
{
    free(source);
}

/* Behind the last record of split `index`. */
static int64_t end_of(const struct generator *generator, uint32_t index)
{
    const uint64_t count = generator->options.count, splits = generator->options.splits;
    if (count == 0) return WEIR_POSITION_NONE;
    return index >= count ? 0 : (int64_t)((count - index + splits - 1) / splits);
}

static enum weir_code check_known(const struct generator *generator, const struct weir_split *known,
                                  const struct weir_split *now, struct weir_error *error)
{
    if (now == NULL || strcmp(known->identity, now->identity) != 0)
        return weir_error_set(error, WEIR_POSITION_LOST, WEIR_REMEDY_STOP,
                              "split %s of the generator was %s, and now there "
                              "are %u: set .splits back, or give the job another name",
                              known->name, known->identity, generator->options.splits);
    if (now->end != WEIR_POSITION_NONE && known->position > now->end)
        return weir_error_set(error, WEIR_POSITION_LOST, WEIR_REMEDY_STOP,
                              "split %s of the generator stands at %" PRId64 ", behind its end %" PRId64
                              ": set .count to what it was, or more",
                              known->name, known->position, now->end);
    return WEIR_OK;
}

static enum weir_code generator_discover(void *source, const struct weir_splits *known, bool founding, bool verify,
                                         const volatile bool *cancelled, struct weir_splits *found,
                                         struct weir_error *error)
{
    const struct generator *generator = source;
    (void)founding, (void)cancelled;
    for (uint32_t i = 0; i < generator->options.splits; i++) {
        char name[16], identity[32];
        (void)snprintf(name, sizeof name, "%" PRIu32, i);
        (void)snprintf(identity, sizeof identity, "one of %" PRIu32, generator->options.splits);
        const struct weir_split *before = weir_splits_find(known, name);
        const struct weir_split split = { .name = name, .identity = identity,
                                          .position = before == NULL ? 0 : before->position,
                                          .end = end_of(generator, i) };
        if (!weir_splits_add(found, &split))
            return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_RETRY, "no memory for the splits of a generator");
    }
    for (size_t i = 0; verify && i < known->count; i++) {
        const struct weir_split *now = weir_splits_find(found, known->items[i].name);
        const enum weir_code code = check_known(generator, &known->items[i], now, error);
        if (code != WEIR_OK) return code;
    }
    return WEIR_OK;
}

static const char *generator_cluster(void *source)
{
    (void)source;
    return NULL;
}

/* ---- Pace -------------------------------------------------------------------------------------------------------- */

static void *ticker_run(void *argument)
{
    struct ticker *ticker = argument;
    struct timespec due;
    pthread_mutex_lock(&ticker->mutex);
    clock_gettime(CLOCK_MONOTONIC, &due);
    while (!ticker->has_stopped) {
        due.tv_nsec += ticker->period_us % 1000000 * 1000;
        due.tv_sec += ticker->period_us / 1000000 + due.tv_nsec / 1000000000;
        due.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&ticker->stop, &ticker->mutex, &due);
        ticker->waker.wake(ticker->waker.user);
    }
    pthread_mutex_unlock(&ticker->mutex);
    return NULL;
}

/* Signals belong to the host program's threads. */
static bool ticker_create_thread(struct ticker *ticker)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool created = pthread_create(&ticker->thread, NULL, ticker_run, ticker) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return created;
}

static bool ticker_start(struct ticker *ticker, struct weir_waker waker, int64_t period_us)
{
    pthread_condattr_t attributes;
    ticker->waker = waker;
    ticker->period_us = period_us;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&ticker->mutex, NULL);
    pthread_cond_init(&ticker->stop, &attributes);
    pthread_condattr_destroy(&attributes);
    ticker->is_running = ticker_create_thread(ticker);
    if (ticker->is_running) return true;
    pthread_cond_destroy(&ticker->stop);
    pthread_mutex_destroy(&ticker->mutex);
    return false;
}

static void ticker_stop(struct ticker *ticker)
{
    if (!ticker->is_running) return;
    pthread_mutex_lock(&ticker->mutex);
    ticker->has_stopped = true;
    pthread_cond_signal(&ticker->stop);
    pthread_mutex_unlock(&ticker->mutex);
    pthread_join(ticker->thread, NULL);
    pthread_cond_destroy(&ticker->stop);
    pthread_mutex_destroy(&ticker->mutex);
}

static double per_second_of_a_part(const struct generator *generator)
{
    return (double)generator->options.per_second / generator->options.splits;
}

static int64_t tick_us(const struct generator *generator)
{
    const double us = 1e6 / per_second_of_a_part(generator);
    return us < TICK_MIN_US ? TICK_MIN_US : us > TICK_MAX_US ? TICK_MAX_US : (int64_t)us;
}

static int64_t now_us(const struct reader *reader)
{
    const struct weir_environment *environment = reader->generator->context.environment;
    return environment->monotonic_us(environment->user);
}

/* Each part may make what the time since the last look is worth, and never more than a second's worth at once. */
static void raise_allowances(struct reader *reader)
{
    const int64_t now = now_us(reader);
    const double per_second = per_second_of_a_part(reader->generator);
    const double most = per_second < 1 ? 1 : per_second;
    const double more = (double)(now - reader->paced_us) * 1e-6 * per_second;
    reader->paced_us = now;
    for (uint32_t i = 0; i < reader->part_count; i++) {
        struct part *part = &reader->parts[i];
        part->allowance = part->allowance + more > most ? most : part->allowance + more;
    }
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static void reader_close(void *reader)
{
    struct reader *self = reader;
    ticker_stop(&self->ticker);
    free(self->parts);
    free(self);
}

static enum weir_code reader_open(void *source, uint32_t subtask_index, struct weir_waker waker, void **reader,
                                  struct weir_error *error)
{
    const struct generator *generator = source;
    (void)subtask_index;
    struct reader *made = calloc(1, sizeof *made);
    if (made == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for a reader");
    made->generator = generator;
    made->paced_us = now_us(made);
    if (generator->options.per_second > 0 && !ticker_start(&made->ticker, waker, tick_us(generator))) {
        free(made);
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_REPLAY, "the system gives no thread for a paced "
                              "generator: raise the limit on threads, or leave out .per_second");
    }
    *reader = made;
    return WEIR_OK;
}

static enum weir_code reader_add(void *reader, const struct weir_split *split, struct weir_error *error)
{
    struct reader *self = reader;
    struct part *parts = realloc(self->parts, (self->part_count + 1) * sizeof *parts);
    if (parts == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for a split");
    self->parts = parts;
    parts[self->part_count++] = (struct part){ .index = (uint32_t)strtoul(split->name, NULL, 10),
                                               .position = split->position, .end = split->end,
                                               .limit = WEIR_POSITION_NONE };
    return WEIR_OK;
}

static bool part_has_ended(const struct part *part)
{
    return part->end != WEIR_POSITION_NONE && part->position >= part->end;
}

static bool part_is_due(const struct reader *reader, const struct part *part)
{
    if (part_has_ended(part)) return false;
    if (part->limit != WEIR_POSITION_NONE && part->position >= part->limit) return false;
    return reader->generator->options.per_second == 0 || part->allowance >= 1;
}

static bool add_record(struct reader *reader, const struct part *part, weir_batch *batch)
{
    const struct weir_generator_options *options = &reader->generator->options;
    const uint64_t number = (uint64_t)part->position * options->splits + part->index;
    struct weir_record record = { .key = WEIR_NULL, .value = WEIR_NULL, .time_ms = WEIR_TIME_UNSET };
    if (options->make != NULL) {
        options->make(options->user, number, reader->scratch, &record);
    } else {
        const int size = snprintf(reader->scratch, sizeof reader->scratch, "%" PRIu64, number);
        record.value = (struct weir_bytes){ reader->scratch, (size_t)size };
    }
    return weir_batch_add(batch, &record);
}

/* False when the batch takes no more. */
static bool read_part(struct reader *reader, struct part *part, weir_batch *batch)
{
    while (part_is_due(reader, part)) {
        if (weir_batch_is_full(batch) || !add_record(reader, part, batch)) return false;
        part->position++;
        part->allowance--;
    }
    return true;
}

static enum weir_poll poll_state(const struct reader *reader)
{
    bool has_ended = true;
    for (uint32_t i = 0; i < reader->part_count; i++) {
        if (part_is_due(reader, &reader->parts[i])) return WEIR_POLL_MORE;
        has_ended = has_ended && part_has_ended(&reader->parts[i]);
    }
    return has_ended ? WEIR_POLL_ENDED : WEIR_POLL_IDLE;
}

static enum weir_poll reader_poll(void *reader, weir_batch *batch, struct weir_error *error)
{
    struct reader *self = reader;
    (void)error;
    if (self->generator->options.per_second > 0) raise_allowances(self);
    for (uint32_t i = 0; i < self->part_count; i++) {
        struct part *part = &self->parts[self->part_next];
        self->part_next = (self->part_next + 1) % self->part_count;
        if (!read_part(self, part, batch)) break;
    }
    return poll_state(self);
}

static bool reader_positions(void *reader, struct weir_splits *positions)
{
    const struct reader *self = reader;
    for (uint32_t i = 0; i < self->part_count; i++) {
        char name[16], identity[32];
        (void)snprintf(name, sizeof name, "%" PRIu32, self->parts[i].index);
        (void)snprintf(identity, sizeof identity, "one of %" PRIu32, self->generator->options.splits);
        const struct weir_split split = { .name = name, .identity = identity, .position = self->parts[i].position,
                                          .end = self->parts[i].end };
        if (!weir_splits_add(positions, &split)) return false;
    }
    return true;
}

static bool reader_limit(void *reader, const char *split_name, int64_t end)
{
    struct reader *self = reader;
    for (uint32_t i = 0; i < self->part_count; i++) {
        struct part *part = &self->parts[i];
        char name[16];
        (void)snprintf(name, sizeof name, "%" PRIu32, part->index);
        if (strcmp(name, split_name) != 0) continue;
        if (end != WEIR_POSITION_NONE && part->position > end) return false;
        part->limit = end;
        return true;
    }
    return false;
}

static int64_t reader_lag(void *reader)
{
    const struct reader *self = reader;
    int64_t lag = 0;
    for (uint32_t i = 0; i < self->part_count; i++) {
        if (self->parts[i].end == WEIR_POSITION_NONE) return -1;
        lag += self->parts[i].end - self->parts[i].position;
    }
    return lag;
}

static void reader_lags(void *reader, void (*each)(void *user, const char *split, int64_t lag), void *user)
{
    struct reader *self = reader;
    for (uint32_t i = 0; i < self->part_count; i++) {
        const struct part *part = &self->parts[i];
        char name[16];
        (void)snprintf(name, sizeof name, "%" PRIu32, part->index);
        each(user, name, part->end == WEIR_POSITION_NONE ? -1 : part->end - part->position);
    }
}

static const struct weir_source_type generator_type = {
    .size = sizeof generator_type,
    .kind = "generator",
    .open = generator_open,
    .discover = generator_discover,
    .close = generator_close,
    .cluster = generator_cluster,
    .reader_open = reader_open,
    .reader_add = reader_add,
    .reader_poll = reader_poll,
    .reader_positions = reader_positions,
    .reader_limit = reader_limit,
    .reader_lag = reader_lag,
    .reader_lags = reader_lags,
    .reader_close = reader_close,
};

struct weir_stream weir_generator_(weir_graph *graph, const struct weir_generator_options *given)
{
    struct weir_generator_options options = { 0 };
    if (given->size < sizeof given->size)
        weir_graph_mistake(graph,
                           "the options of a generator have no .size: call the macro weir_generator, or set .size to "
                           "the size of the struct");
    else
        memcpy(&options, given, given->size < sizeof options ? given->size : sizeof options);
    if (options.splits == 0) options.splits = 1;
    if (options.splits > SPLITS_MAX)
        weir_graph_mistake(graph, "generator '%s' has %" PRIu32 " splits: set .splits to %d at most",
                           options.name == NULL ? "?" : options.name, options.splits, SPLITS_MAX);
    if (options.count > INT64_MAX)
        weir_graph_mistake(graph, "generator '%s' is to make more records than can be counted: lower .count",
                           options.name == NULL ? "?" : options.name);
    const char *name = options.name;
    options.name = NULL; /* borrowed from the caller; the operator has a copy */
    return weir_source(graph, .name = name, .parallelism = options.parallelism, .type = &generator_type,
                       .options = &options, .options_size = sizeof options);
}

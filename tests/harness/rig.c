#include "harness/rig.h"

#include <check.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

WEIR_PRINTF(2, 3) static void print(struct rig *rig, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    const int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ck_assert(size >= 0 && (size_t)size < sizeof text);
    buffer_put(&rig->output, text, (size_t)size);
}

static void print_bytes(struct rig *rig, struct weir_bytes bytes)
{
    if (!weir_is_set(bytes)) print(rig, "?");
    else if (weir_is_null(bytes)) print(rig, "-");
    else print(rig, "%.*s", (int)bytes.size, bytes.data);
}

static void print_record(struct rig *rig, const struct weir_record *record)
{
    print_bytes(rig, record->key);
    print(rig, "=");
    print_bytes(rig, record->value);
    for (size_t i = 0; record->headers != NULL && i < record->headers->count; i++) {
        print(rig, " %s:", record->headers->items[i].name);
        print_bytes(rig, record->headers->items[i].value);
    }
    if (!rig->verbose_times) return;
    if (record->time_ms == WEIR_TIME_UNSET) print(rig, " @none");
    else print(rig, " @%" PRId64 "/%d", record->time_ms, (int)record->time_type);
}

/* ---- The connectors ---------------------------------------------------------------------------------------------- */

struct writer {
    struct rig *rig;
    const char *name;
};

struct sink_options {
    struct rig *rig;
    const char *name;
};

static enum weir_code writer_open(void *sink, uint32_t subtask_index, uint64_t epoch, struct weir_waker waker,
                                  void **writer, struct weir_error *error)
{
    const struct sink_options *options = sink;
    struct writer *made = malloc(sizeof *made);
    (void)waker, (void)error;
    *made = (struct writer){ .rig = options->rig, .name = options->name };
    print(made->rig, "%s open %u %" PRIu64 "\n", made->name, subtask_index, epoch);
    *writer = made;
    return WEIR_OK;
}

static bool writer_room(void *writer)
{
    return ((struct writer *)writer)->rig->room > 0;
}

static enum weir_code writer_write(void *writer, const struct weir_record *record, struct weir_error *error)
{
    struct writer *self = writer;
    if (self->rig->fail_writes)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "the disk is full");
    print(self->rig, "%s ", self->name);
    print_record(self->rig, record);
    print(self->rig, "\n");
    if (self->rig->room > 0 && self->rig->room < UINT32_MAX) self->rig->room--;
    return WEIR_OK;
}

static enum weir_code writer_prepare(void *writer, uint64_t epoch, struct weir_output_totals *totals,
                                     struct weir_error *error)
{
    struct writer *self = writer;
    if (self->rig->fail_prepares) return WEIR_FAILED; /* without a reason */
    (void)error;
    print(self->rig, "%s prepare %" PRIu64 "\n", self->name, epoch);
    ck_assert(weir_output_totals_add(totals, self->name, 1, (struct weir_digest){ 0 }));
    return WEIR_OK;
}

static enum weir_code writer_proceed(void *writer, uint64_t epoch, struct weir_error *error)
{
    const struct writer *self = writer;
    (void)error;
    print(self->rig, "%s proceed %" PRIu64 "\n", self->name, epoch);
    return WEIR_OK;
}

static void writer_committed(void *writer, uint64_t epoch)
{
    const struct writer *self = writer;
    print(self->rig, "%s committed %" PRIu64 "\n", self->name, epoch);
}

static void writer_close(void *writer)
{
    const struct writer *self = writer;
    print(self->rig, "%s close\n", self->name);
    free(writer);
}

static const struct weir_sink_type sink_type = {
    .size = sizeof sink_type, .kind = "rig", .writer_open = writer_open, .writer_room = writer_room,
    .writer_write = writer_write, .writer_prepare = writer_prepare, .writer_proceed = writer_proceed,
    .writer_committed = writer_committed, .writer_close = writer_close,
};
static const struct weir_source_type source_type = { .size = sizeof source_type, .kind = "rig" };

/* ---- The world --------------------------------------------------------------------------------------------------- */

static int64_t wall_ms(void *user)
{
    struct rig *rig = user;
    rig->wall_readings++;
    return rig->clock_ms;
}

static int64_t monotonic_us(void *user)
{
    return ((struct rig *)user)->clock_ms * 1000;
}

static uint64_t random_number(void *user)
{
    (void)user;
    return 4;
}

void rig_init(struct rig *rig)
{
    *rig = (struct rig){ .room = UINT32_MAX, .clock_ms = 1000 };
    rig->graph = weir_graph_create();
    ck_assert_ptr_nonnull(rig->graph);
    buffer_init(&rig->output);
    rig->environment = (struct weir_environment){ .monotonic_us = monotonic_us, .wall_ms = wall_ms,
                                                  .random = random_number, .user = rig };
}

void rig_deinit(struct rig *rig)
{
    chain_destroy(rig->chain);
    for (uint32_t i = 0; i < rig->router_count; i++) router_destroy(rig->routers[i]);
    for (uint32_t i = 0; i < rig->channel_count; i++) channel_destroy(rig->channels[i]);
    if (rig->batch != NULL) batch_release(rig->batch);
    plan_destroy(rig->plan);
    weir_graph_destroy(rig->graph);
    buffer_deinit(&rig->output);
    free(rig->sinks);
}

struct weir_stream rig_source(struct rig *rig, const char *name)
{
    return weir_source(rig->graph, .name = name, .type = &source_type);
}

void rig_sink(struct rig *rig, struct weir_stream input, const char *name)
{
    const struct sink_options options = { .rig = rig, .name = weir_graph_text(rig->graph, name) };
    weir_sink(input, .name = name, .type = &sink_type, .options = &options, .options_size = sizeof options);
}

static void make_router(struct rig *rig, const struct plan_edge *edge)
{
    struct channel *channels[RIG_CHANNELS_MAX];
    const uint32_t capacity = rig->options.channel_capacity == 0 ? 8 : rig->options.channel_capacity;
    const uint32_t count =
        edge->exchange == WEIR_EXCHANGE_FORWARD ? 1 : rig->plan->vertices[edge->target_vertex].parallelism;
    ck_assert_uint_eq(edge->source_router, rig->router_count);
    ck_assert_uint_le(rig->channel_count + count, RIG_CHANNELS_MAX);
    rig->channel_first[rig->router_count] = rig->channel_count;
    for (uint32_t i = 0; i < count; i++) {
        channels[i] = channel_create(capacity, NULL, NULL);
        ck_assert_ptr_nonnull(channels[i]);
        rig->channels[rig->channel_count++] = channels[i];
    }
    rig->routers[rig->router_count++] =
        router_create(&(struct router_options){ .exchange = edge->exchange,
                                                .max_parallelism = rig->plan->max_parallelism,
                                                .channels = channels,
                                                .channel_count = count });
}

static void make_sinks(struct rig *rig, const struct chain_plan *plan)
{
    rig->sinks = calloc(plan->stage_count + 1, sizeof *rig->sinks);
    for (uint32_t i = 0; i < plan->stage_count; i++)
        if (plan->stages[i].spec->kind == OPERATOR_SINK)
            rig->sinks[i] = (void *)(uintptr_t)plan->stages[i].spec->sink.options;
}

enum weir_code rig_try_start(struct rig *rig, struct rig_options options, struct weir_error *error)
{
    const struct plan_options plan_options = { .parallelism = options.parallelism == 0 ? 1 : options.parallelism,
                                               .chaining = !options.unchained };
    const enum weir_code code = plan_create(rig->graph, &plan_options, &rig->plan, error);
    if (code != WEIR_OK) return code;
    rig->options = options;
    const struct plan_vertex *vertex = &rig->plan->vertices[options.vertex];
    for (uint32_t i = 0; i < rig->plan->edge_count; i++)
        if (rig->plan->edges[i].source_vertex == options.vertex) make_router(rig, &rig->plan->edges[i]);
    make_sinks(rig, &vertex->chain);
    const struct chain_options chain_options = {
        .plan = &vertex->chain, .environment = &rig->environment, .vertex_name = vertex->name,
        .subtask_index = options.subtask, .parallelism = vertex->parallelism,
        .max_parallelism = rig->plan->max_parallelism, .epoch = options.epoch == 0 ? 1 : options.epoch,
        .clock_ms = options.clock_ms,
        .routers = rig->routers, .sinks = rig->sinks,
    };
    ck_assert_int_eq(chain_create(&chain_options, &rig->chain, error), WEIR_OK);
    return options.closed ? WEIR_OK : chain_open(rig->chain, error);
}

void rig_start(struct rig *rig, struct rig_options options)
{
    struct weir_error error = { .text = "" };
    const enum weir_code code = rig_try_start(rig, options, &error);
    ck_assert_msg(code == WEIR_OK, "%s", error.text);
    buffer_clear(&rig->output);
}

/* ---- Driving it -------------------------------------------------------------------------------------------------- */

void rig_add_record(struct rig *rig, const struct weir_record *record)
{
    if (rig->batch == NULL) rig->batch = batch_create();
    ck_assert(batch_add(rig->batch, record));
}

static struct weir_bytes bytes_of(const char *text)
{
    return text == NULL ? WEIR_NULL : weir_text(text);
}

void rig_add(struct rig *rig, const char *key, const char *value)
{
    rig_add_record(rig, &(struct weir_record){ .key = bytes_of(key), .value = bytes_of(value), .time_ms = 77,
                                               .time_type = WEIR_TIME_CREATE, .key_hash = hash_key(bytes_of(key)) });
}

enum chain_result rig_run(struct rig *rig, uint32_t input)
{
    const enum chain_result result = chain_process(rig->chain, input, rig->batch, &rig->cursor);
    if (result == CHAIN_BLOCKED) return result;
    if (result == CHAIN_DONE) ck_assert_uint_eq(rig->cursor, rig->batch->count);
    rig->cursor = 0;
    batch_clear(rig->batch);
    return result;
}

void rig_feed(struct rig *rig, uint32_t input, const char *key, const char *value)
{
    rig_add(rig, key, value);
    const enum chain_result result = rig_run(rig, input);
    ck_assert_msg(result == CHAIN_DONE, "%s", chain_error(rig->chain)->text);
}

struct chain_snapshot rig_barrier(struct rig *rig, uint64_t epoch)
{
    struct chain_snapshot snapshot;
    ck_assert_int_eq(chain_emit_on_commit(rig->chain, epoch), CHAIN_DONE);
    ck_assert_int_eq(chain_snapshot(rig->chain, epoch, &snapshot), CHAIN_DONE);
    while (!chain_snapshot_step(rig->chain, 1)) continue;
    return snapshot;
}

const char *rig_output(struct rig *rig)
{
    buffer_u8(&rig->output, '\0');
    ck_assert(!rig->output.failed);
    buffer_clear(&rig->output); /* keeps the bytes */
    return rig->output.data;
}

struct channel *rig_channel(struct rig *rig, uint32_t router, uint32_t subtask)
{
    return rig->channels[rig->channel_first[router] + subtask];
}

const char *rig_drain(struct rig *rig, uint32_t router, uint32_t subtask)
{
    struct channel *channel = rig_channel(rig, router, subtask);
    struct element element;
    while (channel_pop(channel, &element)) {
        if (element.type == ELEMENT_BATCH) {
            for (uint32_t i = 0; i < element.batch->count; i++) {
                print_record(rig, &element.batch->records[i]);
                print(rig, i + 1 < element.batch->count ? " " : "; ");
            }
        } else if (element.type == ELEMENT_BARRIER) {
            print(rig, "barrier %" PRIu64 "; ", element.epoch);
        } else if (element.type == ELEMENT_END) {
            print(rig, "end; ");
        }
        element_release(&element);
    }
    return rig_output(rig);
}

#include "weir/print.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* While an epoch waits for its commit, a writer that holds more than this asks for a pause. The open epoch alone never
 * does: only a barrier could help then, and a barrier needs the task to go on. */
enum { HELD_BYTES_MAX = 64 * 1024 * 1024, EPOCHS_MAX = 8 };

struct sink {
    struct weir_print_options options;
    bool exactly_once;
    pthread_mutex_t mutex; /* one line at a time, of all subtasks */
};

/* Lines as they lie in `held`: size, text, '\n'. */
struct line_head {
    size_t size;
};

struct writer {
    struct sink *sink;
    struct weir_waker waker;
    char *held;
    size_t held_bytes, capacity;
    /* Epochs that are prepared and not decided yet, oldest first: where each ends in `held`. */
    struct {
        uint64_t epoch;
        size_t end;
    } epochs[EPOCHS_MAX];
    uint32_t epoch_count;
    int failed_errno; /* of the file; reported by the next call that can */
};

static enum weir_code sink_open(const void *options, const struct weir_connector_context *context, void *decider,
                                void **sink, struct weir_error *error)
{
    (void)decider;
    struct sink *made = calloc(1, sizeof *made);
    if (made == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory for a print sink");
    memcpy(&made->options, options, sizeof made->options);
    made->exactly_once = context->exactly_once;
    pthread_mutex_init(&made->mutex, NULL);
    *sink = made;
    return WEIR_OK;
}

static void sink_close(void *sink)
{
    struct sink *self = sink;
    pthread_mutex_destroy(&self->mutex);
    free(self);
}

/* ---- Lines ------------------------------------------------------------------------------------------------------- */

static struct weir_bytes shown(struct weir_bytes bytes)
{
    return weir_is_set(bytes) && !weir_is_null(bytes) ? bytes : (struct weir_bytes){ "null", 4 };
}

static bool reserve(struct writer *writer, size_t more)
{
    if (writer->capacity - writer->held_bytes >= more) return true;
    size_t capacity = writer->capacity == 0 ? 4096 : writer->capacity;
    while (capacity - writer->held_bytes < more) {
        if (capacity > SIZE_MAX / 2) return false;
        capacity *= 2;
    }
    char *held = realloc(writer->held, capacity);
    if (held == NULL) return false;
    writer->held = held;
    writer->capacity = capacity;
    return true;
}

static void put(struct writer *writer, const void *data, size_t size)
{
    memcpy(writer->held + writer->held_bytes, data, size);
    writer->held_bytes += size;
}

static bool hold_line(struct writer *writer, const struct weir_record *record)
{
    const struct weir_bytes key = shown(record->key), value = shown(record->value);
    const struct line_head head = { .size = key.size + 1 + value.size };
    if (!reserve(writer, sizeof head + head.size + 1)) return false;
    put(writer, &head, sizeof head);
    put(writer, key.data, key.size);
    put(writer, "\t", 1);
    put(writer, value.data, value.size);
    put(writer, "\n", 1);
    return true;
}

static void print_line(struct writer *writer, const char *line, size_t size)
{
    const struct weir_print_options *options = &writer->sink->options;
    if (options->line != NULL) options->line(options->user, line, size);
    else if (fwrite(line, size + 1, 1, options->file) != 1) writer->failed_errno = errno;
}

/* Prints the first `end` bytes of what is held, and lets go of them. */
static void print_held(struct writer *writer, size_t end)
{
    pthread_mutex_lock(&writer->sink->mutex);
    for (size_t at = 0; at < end;) {
        struct line_head head;
        memcpy(&head, writer->held + at, sizeof head);
        print_line(writer, writer->held + at + sizeof head, head.size);
        at += sizeof head + head.size + 1;
    }
    if (writer->sink->options.line == NULL && fflush(writer->sink->options.file) != 0) writer->failed_errno = errno;
    pthread_mutex_unlock(&writer->sink->mutex);
    if (writer->held_bytes > end) memmove(writer->held, writer->held + end, writer->held_bytes - end);
    writer->held_bytes -= end;
}

static enum weir_code check_file(const struct writer *writer, struct weir_error *error)
{
    if (writer->failed_errno == 0) return WEIR_OK;
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                          "cannot write lines to the file of a print sink: %s", strerror(writer->failed_errno));
}

/* ---- A writer's life --------------------------------------------------------------------------------------------- */

static enum weir_code writer_open(void *sink, uint32_t subtask_index, uint64_t epoch, struct weir_waker waker,
                                  void **writer, struct weir_error *error)
{
    (void)subtask_index, (void)epoch;
    struct writer *made = calloc(1, sizeof *made);
    if (made == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for a print writer");
    made->sink = sink;
    made->waker = waker;
    *writer = made;
    return WEIR_OK;
}

/* What is held was not committed: a replay writes it again. */
static void writer_close(void *writer)
{
    struct writer *self = writer;
    free(self->held);
    free(self);
}

static bool writer_room(void *writer)
{
    const struct writer *self = writer;
    return self->epoch_count == 0 || self->held_bytes < HELD_BYTES_MAX;
}

static enum weir_code writer_write(void *writer, const struct weir_record *record, struct weir_error *error)
{
    struct writer *self = writer;
    if (!hold_line(self, record))
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for the lines of an epoch");
    if (!self->sink->exactly_once) print_held(self, self->held_bytes);
    return check_file(self, error);
}

static enum weir_code writer_prepare(void *writer, uint64_t epoch, struct weir_output_totals *totals,
                                     struct weir_error *error)
{
    struct writer *self = writer;
    (void)totals; /* nobody can read a terminal back */
    if (self->epoch_count == EPOCHS_MAX)
        return weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_REPLAY, "more than %d epochs wait for their commit",
                              EPOCHS_MAX);
    self->epochs[self->epoch_count].epoch = epoch;
    self->epochs[self->epoch_count].end = self->held_bytes;
    self->epoch_count++;
    return check_file(self, error);
}

static enum weir_code writer_proceed(void *writer, uint64_t epoch, struct weir_error *error)
{
    (void)epoch;
    return check_file(writer, error);
}

static void writer_committed(void *writer, uint64_t epoch)
{
    struct writer *self = writer;
    uint32_t decided = 0;
    while (decided < self->epoch_count && self->epochs[decided].epoch <= epoch) decided++;
    if (decided == 0) return;
    const size_t end = self->epochs[decided - 1].end;
    print_held(self, end);
    self->epoch_count -= decided;
    for (uint32_t i = 0; i < self->epoch_count; i++) {
        self->epochs[i] = self->epochs[i + decided];
        self->epochs[i].end -= end;
    }
    if (self->waker.wake != NULL) self->waker.wake(self->waker.user);
}

static enum weir_code writer_tick(void *writer, struct weir_error *error)
{
    return check_file(writer, error);
}

static uint64_t writer_bytes_unflushed(void *writer)
{
    const struct writer *self = writer;
    return self->held_bytes - (self->epoch_count == 0 ? 0 : self->epochs[self->epoch_count - 1].end);
}

static const struct weir_sink_type print_type = {
    .size = sizeof print_type,
    .kind = "print",
    .open = sink_open,
    .close = sink_close,
    .writer_open = writer_open,
    .writer_room = writer_room,
    .writer_write = writer_write,
    .writer_prepare = writer_prepare,
    .writer_proceed = writer_proceed,
    .writer_committed = writer_committed,
    .writer_tick = writer_tick,
    .writer_bytes_unflushed = writer_bytes_unflushed,
    .writer_close = writer_close,
};

void weir_print_(struct weir_stream input, const struct weir_print_options *given)
{
    struct weir_print_options options = { 0 };
    if (input.graph == NULL) return;
    if (given->size < sizeof given->size)
        weir_graph_mistake(input.graph,
                           "the options of a print sink have no .size: call the macro weir_print, or set .size "
                           "to the size of the struct");
    else
        memcpy(&options, given, given->size < sizeof options ? given->size : sizeof options);
    const char *name = options.name;
    if (options.line == NULL && options.file == NULL)
        weir_graph_mistake(input.graph, "print sink '%s' has nowhere to write: set .line or .file",
                           name == NULL ? "?" : name);
    options.name = NULL; /* borrowed from the caller; the operator has a copy */
    weir_sink(input, .name = name, .parallelism = options.parallelism, .type = &print_type, .options = &options,
              .options_size = sizeof options);
}

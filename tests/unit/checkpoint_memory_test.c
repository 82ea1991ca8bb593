/* WEIR_TEST_WRAPS_MALLOC: store and pointer when the n-th allocation fails, on a real disk. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint/pointer.h"
#include "checkpoint/store.h"
#include "harness/failing_malloc.h"
#include "harness/unit.h"

static char directory[64];
static char job_directory[128];
static struct weir_environment environment;

static void remove_file(void *user, const char *file)
{
    char path[256];
    (void)user;
    (void)snprintf(path, sizeof path, "%s/%s", job_directory, file);
    (void)unlink(path);
}

static void empty_directory(void)
{
    (void)disk_system.list(NULL, job_directory, remove_file, NULL);
}

static void set_up(void)
{
    (void)snprintf(directory, sizeof directory, "/tmp/weir-memory-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    (void)snprintf(job_directory, sizeof job_directory, "%s/job", directory);
    environment_init_system(&environment);
}

static void tear_down(void)
{
    empty_directory();
    (void)rmdir(job_directory);
    (void)rmdir(directory);
}

/* The codes that a failed allocation may answer. An assertion of Check would allocate itself. */
static bool passed(enum weir_code code)
{
    CHECK(code == WEIR_OK || code == WEIR_NO_MEMORY);
    return code == WEIR_OK;
}

/* ---- The store ----------------------------------------------------------------------------------------------- */

static bool write_frame(struct store *store, struct buffer *frame, const struct weir_frame_name *parent, uint64_t epoch,
                        struct weir_frame_name *name)
{
    const struct manifest manifest = { .incarnation = 1, .epoch = epoch, .parent = *parent };
    struct weir_error error;
    if (!manifest_encode(&manifest, frame, name)) return false;
    store_reserve(store, name);
    return passed(store_append(store, name, (struct weir_bytes){ frame->data, frame->size }, &error));
}

static void write_and_read_frames(struct store *store)
{
    struct weir_frame_name parent = { 0 }, first = { 0 }, second = { 0 };
    struct weir_error error;
    struct buffer frame;
    buffer_init(&frame);
    if (write_frame(store, &frame, &parent, 1, &first) && write_frame(store, &frame, &first, 2, &second)) {
        struct store_chain chain;
        if (passed(store_chain(store, &second, 1, &chain, &error))) CHECK(chain.frames.count == 2);
        store_chain_clear(&chain);
        (void)passed(store_read_frame(store, &first, &frame, &error));
    }
    buffer_deinit(&frame);
}

static enum weir_code count_chunk(void *user, struct weir_bytes chunk, struct weir_error *error)
{
    (void)error;
    *(size_t *)user += chunk.size;
    return WEIR_OK;
}

static void write_and_read_base(struct store *store)
{
    struct store_base *base;
    struct store_base_result done;
    struct weir_error error;
    if (!passed(store_base_create(store, &base, &error))) return;
    if (!passed(store_base_append(base, weir_text("units"), &error)) ||
        !passed(store_base_finish(base, &done, &error))) {
        store_base_abandon(base);
        return;
    }
    const struct manifest_base named = { .store = STORE_KIND_FILE, .name = done.name, .length = done.length,
                                         .hash = done.hash };
    size_t size = 0;
    if (passed(store_read_base(store, &named, count_chunk, &size, &error))) CHECK(size == 5);
}

static void use_store(void)
{
    struct store *store;
    struct weir_error error;
    const struct store_options options = { .directory = directory, .job = "job", .slot = "0", .create = true,
                                           .segment_bytes = 16384, .environment = &environment };
    if (passed(store_open(&options, &store, &error)) && passed(store_begin(store, 1, &error))) {
        (void)store_prepare(store);
        write_and_read_frames(store);
        write_and_read_base(store);
    }
    store_close(store);
    empty_directory();
}

START_TEST(the_store_gives_back_what_it_held)
{
    ck_assert_uint_gt(failing_malloc_each(use_store), 8);
}
END_TEST

/* ---- The pointer --------------------------------------------------------------------------------------------- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static bool has_event;
static enum weir_code event_code;

static void take_event(void *user, struct weir_decider_event *event)
{
    (void)user;
    pthread_mutex_lock(&mutex);
    event_code = event->type == WEIR_DECIDER_FAILED ? event->error.code : WEIR_OK;
    weir_decider_event_clear(event);
    has_event = true;
    pthread_cond_signal(&arrived);
    pthread_mutex_unlock(&mutex);
}

static bool answered(void)
{
    pthread_mutex_lock(&mutex);
    while (!has_event) pthread_cond_wait(&arrived, &mutex);
    has_event = false;
    pthread_mutex_unlock(&mutex);
    return passed(event_code);
}

static bool decide(void *decider, uint64_t epoch)
{
    pointer_decider.flush(decider, 1, 0, epoch, weir_text("key"), weir_text("value"), false);
    if (!answered()) return false;
    pointer_decider.commit(decider, 1, 0, epoch);
    return answered();
}

static bool take_over(void *decider)
{
    pointer_decider.fence(decider, 1, 1);
    if (!answered()) return false;
    pointer_decider.read(decider, 1);
    return answered();
}

static void use_pointer(void)
{
    void *decider;
    struct weir_error error;
    const struct weir_decider_options options = { .slot = "0", .ring_size = 1, .store_directory = job_directory,
                                                  .post = take_event };
    if (pointer_decider.open(&options, &decider, &error) == WEIR_OK && take_over(decider) && decide(decider, 1) &&
        decide(decider, 2) && take_over(decider)) {
        pointer_decider.announce(decider, 1, weir_text("key"), weir_text("again"));
        (void)answered();
    }
    pointer_decider.close(decider);
    empty_directory();
}

START_TEST(the_pointer_answers_every_call_and_gives_back_what_it_held)
{
    ck_assert_int_eq(disk_system.make_directory(NULL, job_directory), 0);
    ck_assert_uint_gt(failing_malloc_each(use_pointer), 15);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, the_store_gives_back_what_it_held);
    tcase_add_test(tests, the_pointer_answers_every_call_and_gives_back_what_it_held);
}

int main(void)
{
    return unit_main("memory", add);
}

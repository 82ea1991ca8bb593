/* A job in this process behind a control socket, and the library's own asker before it. */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "harness/local_job.h"
#include "harness/unit.h"
#include "main/control.h"
#include "weir/control.h"
#include "weir/generator.h"
#include "weir/print.h"

static char folder[] = "/tmp/weir-control-XXXXXX", path[CONTROL_PATH_MAX];
static FILE *sunk;
static struct weir_error error;

/* A job, and the thread that serves its socket until the job has ended or is left. */
struct served {
    weir_job *job;
    struct control *control;
    struct weir_error outcome;
    pthread_t thread;
    atomic_bool left;
};

static void *serve(void *argument)
{
    struct served *served = argument;
    while (!atomic_load(&served->left) && !weir_job_wait(served->job, 0, &served->outcome)) {
        struct pollfd descriptor = { .fd = control_descriptor(served->control), .events = POLLIN };
        (void)poll(&descriptor, 1, 5);
        control_step(served->control);
    }
    control_close(served->control, &served->outcome);
    return NULL;
}

static struct served *start(const char *name)
{
    weir_graph *graph = weir_graph_create();
    struct served *served = calloc(1, sizeof *served);
    ck_assert_ptr_nonnull(served);
    weir_print(weir_generator(graph, .name = "numbers", .per_second = 1000), .name = "out", .file = sunk);
    served->job = local_job_create(graph);
    const struct control_options options = { .job = served->job, .name = name, .program = "test",
                                             .directory = local_job.directory };
    ck_assert_msg(control_open(&options, &served->control, &error) == WEIR_OK, "%s", error.text);
    ck_assert_int_eq(pthread_create(&served->thread, NULL, serve, served), 0);
    return served;
}

static void end(struct served *served)
{
    atomic_store(&served->left, true);
    pthread_join(served->thread, NULL);
    weir_job_destroy(served->job);
    free(served);
}

static void begin_test(void)
{
    local_job_begin();
    local_job_set("start.bounded", "false");
    local_job_set("execution.checkpointing.interval", "1h");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    setenv("WEIR_RUNTIME_DIR", folder, 1);
    sunk = fopen("/dev/null", "w");
    ck_assert_ptr_nonnull(sunk);
}

static void end_test(void)
{
    fclose(sunk);
    local_job_end();
    (void)rmdir(folder);
}

/* ---- What is heard ----------------------------------------------------------------------------------------------- */

static struct {
    int begun, lines;
    char name[80], directory[200], epoch[32];
} heard;

static void hear_begin(void *user)
{
    (void)user;
    heard.begun++;
}

static void hear(void *user, const char *key, const char *value)
{
    (void)user;
    heard.lines++;
    if (strcmp(key, "name") == 0) snprintf(heard.name, sizeof heard.name, "%s", value);
    if (strcmp(key, "directory") == 0) snprintf(heard.directory, sizeof heard.directory, "%s", value);
    if (strcmp(key, "epoch") == 0) snprintf(heard.epoch, sizeof heard.epoch, "%s", value);
}

static enum weir_code ask(const char *job, const char *request)
{
    memset(&heard, 0, sizeof heard);
    return weir_control_ask(job, request, PATIENCE_MS, hear, NULL, &error);
}

static int sockets(void)
{
    memset(&heard, 0, sizeof heard);
    ck_assert(weir_control_each(PATIENCE_MS, hear_begin, hear, NULL, &error) == WEIR_OK);
    return heard.begun;
}

/* A connection without manners. */
static int connect_raw(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s/%d.sock", folder, (int)getpid());
    const int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_ge(descriptor, 0);
    ck_assert_msg(connect(descriptor, (struct sockaddr *)&address, sizeof address) == 0, "%s", strerror(errno));
    return descriptor;
}

/* All that comes until the job hangs up. */
static const char *read_to_end(int descriptor)
{
    static char text[CONTROL_PATH_MAX];
    size_t used = 0;
    for (ssize_t size; (size = recv(descriptor, text + used, sizeof text - 1 - used, 0)) > 0;) used += (size_t)size;
    text[used] = '\0';
    close(descriptor);
    return text;
}

/* ---- Facts ------------------------------------------------------------------------------------------------------- */

START_TEST(a_job_says_who_it_is)
{
    struct served *served = start("sorter");
    char own[200];
    ck_assert_int_eq(sockets(), 1);
    ck_assert_msg(ask("sorter", "status") == WEIR_OK, "%s", error.text);
    ck_assert_str_eq(heard.name, "sorter");
    ck_assert_int_gt(heard.lines, 20);
    snprintf(own, sizeof own, "/%s/sorter", local_job.directory);
    ck_assert_ptr_nonnull(strstr(heard.directory, own));
    ck_assert_int_eq(heard.directory[0], '/');
    end(served);
    ck_assert_int_eq(sockets(), 0);
}
END_TEST

START_TEST(a_job_is_found_by_its_checkpoints)
{
    struct served *served = start("test"); /* the folder of the local job's checkpoints */
    snprintf(path, sizeof path, "%s/test", local_job.directory);
    ck_assert_msg(ask("test", "checkpoint") == WEIR_OK, "%s", error.text);
    ck_assert_msg(ask(path, "status") == WEIR_OK, "%s", error.text);
    ck_assert_msg(ask(local_job.directory, "status") == WEIR_OK, "%s", error.text);
    ck_assert(ask("/tmp", "status") == WEIR_ENVIRONMENT);
    end(served);
}
END_TEST

START_TEST(a_checkpoint_is_committed_when_it_is_answered)
{
    struct served *served = start("test");
    for (int i = 0; i < 3; i++) {
        struct weir_job_status status = { .size = sizeof status };
        weir_job_status(served->job, &status);
        const uint64_t before = status.epoch_committed;
        ck_assert_msg(ask("test", "checkpoint") == WEIR_OK, "%s", error.text);
        ck_assert_uint_gt(strtoull(heard.epoch, NULL, 10), before);
    }
    end(served);
}
END_TEST

START_TEST(who_stops_or_cancels_a_job_hears_of_its_end)
{
    struct served *served = start("test");
    ck_assert_msg(ask("test", "checkpoint") == WEIR_OK, "%s", error.text); /* it runs */
    ck_assert_msg(ask("test", _i == 0 ? "stop" : "cancel") == WEIR_OK, "%s", error.text);
    ck_assert(weir_job_wait(served->job, 0, NULL));
    ck_assert_int_gt(heard.lines, 20);
    ck_assert_int_eq(sockets(), 0);
    end(served);
}
END_TEST

START_TEST(a_job_that_fails_tells_who_waits_for_its_end)
{
    struct served *served = start("test");
    const int descriptor = connect_raw();
    ck_assert_int_eq(send(descriptor, "stop\n", 5, 0), 5);
    pthread_join(served->thread, NULL);
    close(descriptor);
    served->outcome.code = WEIR_FENCED;
    snprintf(served->outcome.text, sizeof served->outcome.text, "somebody took over");
    /* The same once more with an outcome of our own, because a local job does not fail so easily. */
    const struct control_options options = { .job = served->job, .name = "test", .program = "test", .directory = "." };
    ck_assert(control_open(&options, &served->control, &error) == WEIR_OK);
    const int waiting = connect_raw();
    ck_assert_int_eq(send(waiting, "stop\n", 5, 0), 5);
    for (int i = 0; i < 2; i++) control_step(served->control); /* lets in, reads */
    control_close(served->control, &served->outcome);
    ck_assert_str_eq(read_to_end(waiting), "error 3 somebody took over\n");
    weir_job_destroy(served->job);
    free(served);
}
END_TEST

START_TEST(names_the_job_that_is_not_there)
{
    ck_assert(ask("nobody", "status") == WEIR_ENVIRONMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "no job 'nobody'"));
    ck_assert_ptr_nonnull(strstr(error.text, folder));
}
END_TEST

START_TEST(refuses_to_choose_between_two_jobs_of_a_name)
{
    struct served *served = start("test");
    struct control *twin;
    const struct control_options options = { .job = served->job, .name = "test", .program = "test", .directory = "/tmp" };
    ck_assert_msg(control_open(&options, &twin, &error) == WEIR_OK, "%s", error.text); /* another name of a socket */
    struct served other = { .job = served->job, .control = twin };
    ck_assert_int_eq(pthread_create(&other.thread, NULL, serve, &other), 0);
    ck_assert_int_eq(sockets(), 2);
    ck_assert(ask("test", "status") == WEIR_USAGE);
    ck_assert_ptr_nonnull(strstr(error.text, "checkpoint directory"));
    atomic_store(&other.left, true);
    pthread_join(other.thread, NULL);
    end(served);
}
END_TEST

static const struct {
    const char *bytes;
    size_t size;
    const char *answer;
} wrong[] = {
    { "dance\n", 6, "error 2 the job does not know this request: it is of another version of Weir\n" },
    { "stop\0\n", 6, "error 2 a request is one line of text\n" },
    { NULL, CONTROL_REQUEST_MAX, "error 2 a request is one line of text\n" },
};

START_TEST(refuses_what_is_no_request)
{
    static char long_line[CONTROL_REQUEST_MAX];
    struct served *served = start("test");
    const int descriptor = connect_raw();
    memset(long_line, 'x', sizeof long_line);
    ck_assert_int_eq(send(descriptor, wrong[_i].bytes == NULL ? long_line : wrong[_i].bytes, wrong[_i].size, MSG_NOSIGNAL),
                     (ssize_t)wrong[_i].size);
    ck_assert_str_eq(read_to_end(descriptor), wrong[_i].answer);
    ck_assert(!weir_job_wait(served->job, 0, NULL));
    end(served);
}
END_TEST

START_TEST(a_crowd_of_silent_askers_is_bounded_and_harmless)
{
    struct served *served = start("test");
    int crowd[CONTROL_ASKERS_MAX], one_more;
    for (int i = 0; i < CONTROL_ASKERS_MAX; i++) crowd[i] = connect_raw();
    one_more = connect_raw();
    ck_assert_str_eq(read_to_end(one_more), ""); /* hung up on */
    close(crowd[0]);
    while (ask("test", "status") != WEIR_OK) /* once the one that left is forgotten */
        ck_assert_ptr_nonnull(strstr(error.text, "no job"));
    for (int i = 1; i < CONTROL_ASKERS_MAX; i++) close(crowd[i]);
    end(served);
}
END_TEST

START_TEST(an_asker_that_leaves_while_it_waits_is_forgotten)
{
    struct served *served = start("test");
    for (int i = 0; i < 3 * CONTROL_ASKERS_MAX; i++) {
        const int descriptor = connect_raw();
        ck_assert_int_eq(send(descriptor, "checkpoint\n", 11, MSG_NOSIGNAL), 11);
        close(descriptor);
        ck_assert_msg(ask("test", "checkpoint") == WEIR_OK, "%s", error.text);
    }
    end(served);
}
END_TEST

/* As a process that was killed leaves it. */
static const char *leave_socket(int process)
{
    static struct sockaddr_un address;
    address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s/%d.sock", folder, process);
    const int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(dead, (struct sockaddr *)&address, sizeof address), 0);
    close(dead);
    return address.sun_path;
}

static int entries(void)
{
    int count = -2; /* "." and ".." */
    DIR *directory = opendir(folder);
    ck_assert_ptr_nonnull(directory);
    while (readdir(directory) != NULL) count++;
    closedir(directory);
    return count;
}

START_TEST(a_socket_that_a_dead_process_left_is_removed)
{
    const char *left = leave_socket(999999);
    ck_assert_int_eq(sockets(), 0);
    ck_assert_int_ne(access(left, F_OK), 0);
    /* The same under the number of this very process: its job takes the name over. */
    (void)leave_socket((int)getpid());
    struct served *served = start("test");
    ck_assert_int_eq(sockets(), 1);
    end(served);
}
END_TEST

START_TEST(a_job_that_starts_removes_what_dead_ones_left_and_nothing_else)
{
    struct served *first = start("first");
    const int busy = connect_raw(); /* silent, and harmless */
    for (int i = 0; i < 3; i++) (void)leave_socket(999990 + i);
    struct served *second = start("second");
    ck_assert_int_eq(entries(), 2);
    ck_assert_int_eq(sockets(), 2);
    close(busy);
    end(second);
    end(first);
    ck_assert_int_eq(entries(), 0);
}
END_TEST

START_TEST(refuses_a_runtime_directory_that_others_may_enter)
{
    ck_assert_int_eq(chmod(folder, 0755), 0);
    ck_assert(control_directory(true, path, &error) == WEIR_ENVIRONMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "open to other users"));
    ck_assert(ask("test", "status") == WEIR_ENVIRONMENT);
    ck_assert_int_eq(chmod(folder, 0700), 0);
}
END_TEST

/* Whose it is decides, and what for. */
START_TEST(only_root_looks_into_the_runtime_directory_of_another_user)
{
    const bool is_root = geteuid() == 0;
    if (is_root) ck_assert_int_eq(chown(folder, 65534, (gid_t)-1), 0);
    else setenv("WEIR_RUNTIME_DIR", "/", 1);
    ck_assert_int_eq(control_directory(false, path, &error), is_root ? WEIR_OK : WEIR_ENVIRONMENT);
    ck_assert_int_eq(control_directory(true, path, &error), WEIR_ENVIRONMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "belongs to another user"));
}
END_TEST

START_TEST(refuses_a_runtime_directory_that_is_a_link)
{
    snprintf(path, sizeof path, "%s/link", folder);
    ck_assert_int_eq(symlink("/tmp", path), 0);
    setenv("WEIR_RUNTIME_DIR", path, 1);
    char found[CONTROL_PATH_MAX];
    ck_assert(control_directory(true, found, &error) == WEIR_ENVIRONMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "is not a directory"));
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(the_runtime_directory_is_made_for_the_user_alone)
{
    struct stat made;
    char found[CONTROL_PATH_MAX];
    snprintf(path, sizeof path, "%s/run", folder);
    setenv("WEIR_RUNTIME_DIR", path, 1);
    ck_assert(control_directory(true, found, &error) == WEIR_OK);
    ck_assert_str_eq(found, path);
    ck_assert_int_eq(stat(path, &made), 0);
    ck_assert_uint_eq(made.st_mode & 0777, 0700);
    ck_assert_int_eq(rmdir(path), 0);
    setenv("XDG_RUNTIME_DIR", folder, 1);
    unsetenv("WEIR_RUNTIME_DIR");
    ck_assert(control_directory(false, found, &error) == WEIR_OK);
    snprintf(path, sizeof path, "%s/weir", folder);
    ck_assert_str_eq(found, path);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin_test, end_test);
    tcase_add_test(tests, a_job_says_who_it_is);
    tcase_add_test(tests, a_job_is_found_by_its_checkpoints);
    tcase_add_test(tests, a_checkpoint_is_committed_when_it_is_answered);
    tcase_add_loop_test(tests, who_stops_or_cancels_a_job_hears_of_its_end, 0, 2);
    tcase_add_test(tests, a_job_that_fails_tells_who_waits_for_its_end);
    tcase_add_test(tests, names_the_job_that_is_not_there);
    tcase_add_test(tests, refuses_to_choose_between_two_jobs_of_a_name);
    tcase_add_loop_test(tests, refuses_what_is_no_request, 0, (int)(sizeof wrong / sizeof wrong[0]));
    tcase_add_test(tests, a_crowd_of_silent_askers_is_bounded_and_harmless);
    tcase_add_test(tests, an_asker_that_leaves_while_it_waits_is_forgotten);
    tcase_add_test(tests, a_socket_that_a_dead_process_left_is_removed);
    tcase_add_test(tests, a_job_that_starts_removes_what_dead_ones_left_and_nothing_else);
    tcase_add_test(tests, refuses_a_runtime_directory_that_others_may_enter);
    tcase_add_test(tests, only_root_looks_into_the_runtime_directory_of_another_user);
    tcase_add_test(tests, refuses_a_runtime_directory_that_is_a_link);
    tcase_add_test(tests, the_runtime_directory_is_made_for_the_user_alone);
}

int main(void)
{
    return unit_main("main_control", add);
}

/* Kills a job with SIGKILL while a transaction is open, starts it again, and takes the time from the start of the
 * process to the first record that a read_committed consumer gets of what the new process wrote. Somebody else feeds its
 * input.
 *
 * Usage: restart BROKERS OUTPUT ROUNDS LOG PROGRAM ARGUMENT...
 * Prints: rounds=N median=MS max=MS. Rounds whose kill met no open transaction with records in it are repeated. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { ROUNDS_MAX = 1000, WAIT_US = 120000000, RUN_US = 500000, RUN_SPREAD_US = 200000 };

static struct {
    const char *brokers, *output, *log;
    char **program;
    rd_kafka_t *committed, *uncommitted;
    rd_kafka_topic_t *topic;
    uint64_t seed;
    double ms[ROUNDS_MAX];
} restart;

static rd_kafka_t *open_consumer(const char *isolation)
{
    rd_kafka_conf_t *conf = bench_conf(restart.brokers);
    bench_set(conf, "group.id", "restart");
    bench_set(conf, "isolation.level", isolation);
    return bench_open(RD_KAFKA_CONSUMER, conf);
}

static int64_t end_of(rd_kafka_t *consumer)
{
    int64_t low, high;
    const rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(consumer, restart.output, 0, &low, &high, 10000);
    if (code != 0) bench_die(restart.output, rd_kafka_err2str(code));
    return high;
}

static pid_t start(void)
{
    const pid_t pid = fork();
    if (pid < 0) bench_die("fork", strerror(errno));
    if (pid > 0) return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int log = open(restart.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    (void)dup2(log, STDOUT_FILENO);
    (void)dup2(log, STDERR_FILENO);
    (void)execv(restart.program[0], restart.program);
    bench_die(restart.program[0], strerror(errno));
}

/* Waits for the first committed record at or behind `offset`. */
static void await_record(pid_t pid, int64_t offset)
{
    const int64_t until_us = bench_now_us() + WAIT_US;
    if (rd_kafka_consume_start(restart.topic, 0, offset) != 0) bench_die(restart.output, "cannot be read");
    for (bool arrived = false; !arrived;) {
        rd_kafka_message_t *message = rd_kafka_consume(restart.topic, 0, 100);
        arrived = message != NULL && message->err == 0;
        if (message != NULL) rd_kafka_message_destroy(message);
        if (waitpid(pid, NULL, WNOHANG) == pid) bench_die(restart.program[0], "has ended by itself: see its log");
        if (bench_now_us() > until_us) bench_die(restart.output, "nothing new was committed for two minutes");
    }
    (void)rd_kafka_consume_stop(restart.topic, 0);
}

static void kill_after_a_while(pid_t pid)
{
    (void)usleep((useconds_t)(RUN_US + bench_draw(&restart.seed) % RUN_SPREAD_US));
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
    if (argc < 6) bench_die("usage", "restart BROKERS OUTPUT ROUNDS LOG PROGRAM ARGUMENT...");
    restart.brokers = argv[1];
    restart.output = argv[2];
    const int rounds = atoi(argv[3]) < ROUNDS_MAX ? atoi(argv[3]) : ROUNDS_MAX;
    restart.log = argv[4];
    restart.program = argv + 5;
    restart.seed = BENCH_SEED;
    restart.committed = open_consumer("read_committed");
    restart.uncommitted = open_consumer("read_uncommitted");
    restart.topic = rd_kafka_topic_new(restart.committed, restart.output, NULL);

    int64_t end = end_of(restart.uncommitted);
    pid_t pid = start();
    await_record(pid, end);
    for (int round = 0, tries = 0; round < rounds; tries++) {
        if (tries > rounds * 4 + 20) bench_die("restart", "the kills meet no open transaction");
        kill_after_a_while(pid);
        const bool is_open = end_of(restart.committed) < (end = end_of(restart.uncommitted));
        const int64_t begin_us = bench_now_us();
        pid = start();
        await_record(pid, end);
        if (is_open) restart.ms[round++] = (double)(bench_now_us() - begin_us) / 1000.0;
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    const double median = bench_percentile(restart.ms, (size_t)rounds, 0.5);
    (void)printf("rounds=%d median=%.1f max=%.1f\n", rounds, median, restart.ms[rounds - 1]);
    (void)fflush(stdout);
    _exit(0);
}

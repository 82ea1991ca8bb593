/* The lives of a job: each start of its program on the machine, until it ends or is killed; and whether it had a reason to
 * end as it did. */
#ifndef SIM_LIVES_H
#define SIM_LIVES_H

#include "sim/cluster.h"
#include "sim/oracle.h"
#include "sim/sched.h"
#include "weir/weir_test.h"

enum { LIVES_MAX = 400 };

/* What a person gives to a start; keys end with NULL. */
struct mishap_choice {
    const char *keys[4], *values[3];
    bool founds; /* a history, from: */
    struct oracle_origin origin;
};

/* What a running life is told. Each is done once, and taken back by doing it. */
struct life_orders {
    bool checkpoint;
    bool savepoint, savepoint_stops;
    uint32_t parallelism; /* to go on with, in the same process; 0 = as it is */
};

/* One start of the program. */
struct life {
    uint32_t number;
    uint32_t whose; /* ORACLE_JOB, ORACLE_FOLLOWER, ORACLE_COPY */
    struct sched_process *process;
    weir_job *job;
    weir_config *config;
    uint32_t parallelism;
    uint32_t ring_size;
    bool is_on_disk; /* its state: behind a small cache */
    struct oracle_ends *ends; /* of the inputs when it was started to end there (--bounded); NULL = it was not */
    bool is_foreign; /* has a checkpoint store of its own, and must be refused (R9) */
    struct life_orders orders;
    bool stop, is_cancelled, is_over, is_judged, met_bad_disk;
    bool may_end; /* it was told to stop with a savepoint */
    uint64_t ticket; /* of the checkpoint that it was asked for last; 0 = none */
    struct weir_frame_name newest; /* that the ledger had named when it was started */
    bool loses_transaction; /* is to be frozen in the middle of its next one, until brokers have ended that */
    bool was_taken_over; /* somebody else took one of its ids over, or a late request of its own did */
    bool has_finished; /* committed once more when it was told to stop: what others left open is decided too */
    struct mishap_choice choice; /* what a person told it */
    struct weir_error outcome;
    uint64_t restarts;
};

/* Draws what all starts of the run are configured with. `parallelism_max` 0 = as it is drawn. `with_bounded`: some
 * starts are to end where the input ends. `one_at_a_time`: nobody is fenced. */
void lives_begin(const struct weir_test_job *test, uint32_t parallelism_max, bool with_bounded,
                 bool one_at_a_time);
void lives_end(void);
/* Not when there is a crowd already. */
void lives_start(bool is_foreign);
/* The same for the job that reads what the first one writes, from now on, and for a second copy of it, which begins with that
 * savepoint at each start; they have one life at a time. */
void lives_follow(const struct weir_test_job *follower);
void lives_copy(const struct weir_test_job *copy, const char *savepoint);
void lives_start_other(uint32_t whose);
/* Where the job whose life is running writes what its author calls `topic`. */
const char *lives_output(const char *topic, char name[80]);
/* Whose process that is; NULL = of nobody who is alive. */
struct life *lives_of(const struct sched_process *process);
/* It brings records for the ledger of the job. */
bool lives_is_for_ledger(const struct request *request);
/* SIGKILL. From outside, or by the life itself, which then does not return from this. */
void lives_kill(struct life *life);
/* SIGSTOP, and SIGCONT after `us`. */
void lives_freeze(struct life *life, int64_t us);
/* When something befalls whom, with these chances, in a million.
 *
 * Moments at which a life is killed, frozen for about as long as a transaction may last, joined by another start, or both;
 * and that all are killed. */
struct lives_moments {
    uint32_t points;                       /* crash points (base/crash.h) */
    uint32_t requests[REQUEST_KIND_COUNT]; /* has acted, and the answer is under way */
    uint32_t late_records; /* the ledger's last record is one that came late, and is not the newest: all are killed */
};
void lives_set_moments(const struct lives_moments *moments);
/* Its tasks run: it has restored all that there is. */
bool lives_is_running(const struct life *life);
/* It was asked for a checkpoint, and all that it was asked for are committed. */
bool lives_has_answered(const struct life *life);
/* Where the job's checkpoints are; and that somebody has begun anew in the other directory. */
const char *lives_directory(void);
void lives_change_directory(void);
/* The history began with this savepoint: starts may name it again, and it means nothing. NULL = it began with none. */
void lives_keep_savepoint(const char *path);
const char *lives_savepoint(void); /* "" = none */
/* How many checkpoints starts retain. */
uint32_t lives_retained(void);
/* Who is cancelled keeps nothing. */
bool lives_drop(void);
/* Starts so far. */
uint32_t lives_count(void);
/* Fills in who is alive; answers how many. */
uint32_t lives_alive(struct life *lives[LIVES_MAX]);
/* Only those of that job. */
uint32_t lives_alive_of(uint32_t whose, struct life *lives[LIVES_MAX]);
/* Looks at those that have ended since the last time: a violation for one that had no reason to. */
void lives_judge(void);
/* The last life of that job that ended did so when it was told to, or came to the end, with all input taken in. */
bool lives_have_ended_well(uint32_t whose);
void lives_forget_the_end(uint32_t whose);
/* What those that are alive are at, for the trace. */
void lives_trace(void);

#endif

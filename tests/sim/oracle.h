/* What must be true of a job's output, checked when a transaction is decided and at the end of a run. It sees what the
 * cluster holds, and nothing of the job; what the output must be, the job's author says (author.h).
 *
 *     decided: the ledger record in the transaction ──> chain (parent), ranges join, positions
 *              the input in these ranges ──take──> author <──put── what the transaction wrote
 */
#ifndef SIM_ORACLE_H
#define SIM_ORACLE_H

#include "sim/author.h"
#include "sim/kafka_model.h"
#include "weir/connector.h"

/* Jobs that are watched: the one that the run is about, and perhaps one that reads what it writes, or a second copy of it.
 * Each has an oracle and an author; all functions are about the one selected, which is the first but where somebody says
 * so. Answers which one it was before. */
enum { ORACLE_JOB, ORACLE_FOLLOWER, ORACLE_COPY, ORACLE_JOBS };
uint32_t oracle_select(uint32_t job);

/* A violation: what, in one sentence. The first one counts. */
const char *oracle_violation(void);
void oracle_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* `at_least_once`: there are no transactions, so oracle_watch looks for commits, and output may come twice. */
void oracle_begin(struct kafka_model *model, const struct weir_test_job *test, bool at_least_once);
/* The job selected is a copy of the first one, and begins with that commit of it. Its outputs have names of their own, in the
 * order of those that the author knows. */
void oracle_begin_copy(const struct weir_test_job *copy, uint32_t chapter);
/* Records were written. */
void oracle_watch(void);
/* The frame that the ledger's last record names; and the newest one that any record of it has named. At least once the last
 * one may be of a life that is over. */
struct weir_frame_name oracle_last_named(void);
struct weir_frame_name oracle_newest_named(void);
/* At least once: such a record is in that output. */
bool oracle_was_written(const char *topic, struct weir_bytes key, struct weir_bytes value);
void oracle_end(void);
/* Everything that was put into the input is committed output now, and nothing is open. */
void oracle_check_end(void);

struct oracle_counts {
    uint64_t epochs, records, incarnations, aborted;
    uint64_t offsets; /* that commits cover: records, aborted ones and markers */
};
struct oracle_counts oracle_counts(void);
/* Committed epochs so far; rises while a job makes progress. */
uint64_t oracle_progress(void);
/* All input is covered by committed positions. */
bool oracle_has_caught_up(void);
/* Where the inputs end now, for who reads what is committed; to be freed. Whether commits have taken all of that in. */
struct oracle_ends *oracle_ends(void);
bool oracle_has_reached(const struct oracle_ends *ends);
/* Where the newest commit stands in an input. False when it has none there. */
bool oracle_position(const char *topic, int32_t partition, int64_t *position);
/* The id of one of the job's transactions that is open, or decided and without its markers. NULL = there is none: no request
 * that is still under way can decide anything. */
const char *oracle_open_transaction(void);
/* The frame of the newest commit. */
struct weir_frame_name oracle_frame(void);
/* The incarnation that has founded the history of that; and the newest one that has announced itself. */
uint64_t oracle_founder(void);
uint64_t oracle_announced(void);

/* ---- What a person has decided ----------------------------------------------------------------------------------- */

/* What a new history begins with. */
struct oracle_origin {
    uint32_t chapter;    /* the commit that state and positions are those of; 0 = none */
    bool keeps_positions; /* without a chapter: it reads on where the one before stands, with no state */
};
/* A start was told to begin a new history: one founding commit may come after others. */
void oracle_allow_founding(const struct oracle_origin *origin);
/* The number of a commit, by its name; 0 = there was none. And of the newest one. */
uint32_t oracle_chapter_of(uint64_t incarnation, uint64_t epoch);
uint32_t oracle_chapter(void);
/* The commit that a commit is behind, by its number; 0 = it has founded its history. */
uint32_t oracle_before(uint32_t chapter);
uint64_t oracle_epoch_of(uint32_t chapter);
/* A start was told to go back to that chapter of the history (--checkpoint): the next commit may be behind it, and output that
 * was committed since comes a second time. */
void oracle_allow_return(uint32_t chapter);
/* The job was cancelled, and has said that nothing is kept of it: only a founding follows. */
bool oracle_was_dropped(void);
/* The input is read from `position` on, whatever was committed (--position group). */
void oracle_move(const char *topic, int32_t partition, int64_t position);
/* Looks at the outputs and the ledger before something happens to them. */
void oracle_look(void);

#endif

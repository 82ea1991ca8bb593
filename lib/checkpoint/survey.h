/* What a store holds, for who only looks at it: checkpoints from the newest one back along their parents, the bases that
 * they name, and what is wrong with either.
 *
 *   newest    where there is a pointer file, the frame that its newest mark names: exactly what is committed. Of a
 *             savepoint, the one that its mark names. Elsewhere
 *             the highest (incarnation, epoch) that lies in a log: it was committed, or it was about to be, and the
 *             ledger knows which
 *   others    its parents, each of which was committed before the next one began (R1)
 *
 * A checkpoint is *whole* when its bases and the frames of its chain above its redo point are there: it can be restored.
 * Older ones that are not whole were retired, as long as nothing is found in their places that has been theirs and is
 * not any more as it was: that is damage, too.
 *
 * Reads only. The job may be running and delete what it does not need any more, so that something is missing, or write
 * the newest frame at this moment: then look again, and believe what comes a second time about the same checkpoint.
 *
 * Any thread, blocking. */
#ifndef CHECKPOINT_SURVEY_H
#define CHECKPOINT_SURVEY_H

#include "base/base.h"
#include "checkpoint/store.h"

struct survey_base {
    struct manifest_base base; /* texts in the survey's arena */
    uint64_t bytes;            /* with the files that it refers to */
    bool is_there;             /* as far as was looked: its header and its length, or all of it */
};

/* A frame of the chain. Texts lie in the survey's arena. */
struct survey_frame {
    struct weir_frame_name name;
    struct weir_frame_name parent; /* incarnation and epoch 0: none */
    bool is_part;
    bool is_complete;
    uint64_t flight_records; /* that a barrier has overtaken */
    bool exactly_once;
    int64_t wall_ms;
    uint64_t plan_hash;
    uint32_t max_parallelism;
    const char *build, *program, *decider;
    uint64_t redo_epoch;
    size_t base_count;
    uint32_t *bases; /* indices */
    /* Of checkpoints, what restoring one reads: */
    bool is_whole;
    uint64_t replay_count, replay_bytes; /* frames above the redo point */
};

struct survey {
    struct store *store;
    struct arena arena;
    struct weir_frame_name newest; /* as far as it is known, also on failure; incarnation 0 = there is none */
    bool is_savepoint; /* there is nothing but what one checkpoint needs */
    bool is_decided; /* the newest is committed: the pointer file, a savepoint's mark, or who asked, says so */
    bool is_deep;
    VEC(struct survey_frame) frames; /* newest first, early parts among them */
    VEC(struct survey_base) bases;   /* each that a frame names, once */
    VEC(struct weir_error) problems; /* WEIR_DAMAGED: what is wrong, file by file */
};

/* Fills `survey`; deinit it afterwards also on failure. `is_deep`: reads every byte of every base, too. `newest` NULL =
 * look for it.
 * Answers WEIR_OK when something was found to look at, whatever the problems; WEIR_ENVIRONMENT when there is no checkpoint,
 * or files cannot be read for want of rights and the like; WEIR_DAMAGED when the newest frame itself is (in `problems`,
 * too); WEIR_NO_MEMORY. */
enum weir_code survey_take(struct store *store, const struct weir_frame_name *newest, bool is_deep,
                           struct survey *survey, struct weir_error *error);
void survey_deinit(struct survey *survey);

/* The checkpoint of this epoch: its index in `frames`, SIZE_MAX when there is none. */
size_t survey_find(const struct survey *survey, uint64_t epoch);

#endif

/* Where a start goes on: the restart table, as pure functions over facts that the runtime has gathered.
 *
 *   LOOKED    restart_examine   before anybody is fenced: is this our job at all? (R9, R7)
 *   READ      the runtime verifies the frames that ledger and mirrors name
 *   RESOLVED  restart_decide    found, restore, or stop with a sentence (R4, R6)
 *
 * The table (L = the frame of the newest committed ledger record; mirrors = the group's committed offsets)
 *
 *   ledger          mirrors                                         decision
 *   --------------- ----------------------------------------------- ---------------------------------------------------
 *   none            none                                            FOUND when the store has no history, else stop
 *   L               any; L is missing or damaged                    stop: never an older one instead (R6)
 *   L               all equal to L's positions                      RESTORE L
 *   L               none, or none for some splits                   RESTORE L, warn, write the mirrors again
 *   L               name an ancestor of L, and have its positions   RESTORE L, warn, write again (a late request)
 *   L               no metadata of ours, or not what they name      stop: somebody moved them; --position chooses
 *   none, older     name a newer frame M, and M verifies            RESTORE M, warn; announcing founds the ledger anew
 *   none, older     name a newer frame M, missing or damaged        stop
 *   none            no metadata of ours                             stop: a group of this name belongs to somebody
 *   anything        anything, --fresh                               FOUND, warn (--position group: at its offsets)
 *   L               any, --checkpoint K, an ancestor of L           RESTORE K, warn: what came behind K is repeated
 *   L               any, --checkpoint K, not retained, or damaged   stop
 *   L was dropped   any                                             stop: --fresh or --from-savepoint (behind the fence, where
 *                                                                   the record may be one that was never decided)
 *   any but none    any, and the job is to be dropped               RESTORE L: its name is announced as dropped
 *
 * With --from-savepoint S, in place of the above
 *   none            none                                            FOUND from S
 *   L = S           as above, compared with S                       RESTORE L, or FOUND from S where L's store is not ours,
 *                                                                   or S is changed on the way in: no output came after S,
 *                                                                   so it is the same history
 *   none            no metadata of ours, positions are given        FOUND from S: a mirroring tool copied the group's offsets
 *   L, founded from S  as above                                     RESTORE L: S has had its effect (a unit file repeats it)
 *   none, older     name a newer frame M, as L                      as if M were L: metadata says what it began with, too
 *   L, another      any                                             stop, before anybody is fenced
 *   L was dropped   any                                             FOUND from S, warn
 *   anything        anything, --fresh                               FOUND from S, warn
 *
 * A mirror that has L's position needs no further proof: partitions that did not move keep the metadata of an older
 * commit, and a reset to where it stood already is no move. Frames of a founding that was never committed are no
 * history (R4): a store with nothing but frames of epoch 0 counts as empty. */
#ifndef CHECKPOINT_RESTART_H
#define CHECKPOINT_RESTART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/connector.h"

/* ---- What a mirror's metadata says ------------------------------------------------------------------------------- */

/* Text of at most 200 printable ASCII characters, whatever the fields hold; the last three numbers are hexadecimal.
 *
 *   w1 <store id> <incarnation> <epoch> <file> <offset> <length> <hash> <origin>
 *
 * The origin is the beginning of the id of the savepoint that the history was founded from. It is not there when there was
 * none, or where names are so long that it has no room. */
#define RESTART_METADATA_MAX 200
#define RESTART_ORIGIN_MAX 12

/* False when a text is empty (but for `origin`), or holds anything but printable ASCII without the space. */
bool restart_metadata_encode(const char *store, const struct weir_frame_name *frame, const char *origin,
                             char metadata[RESTART_METADATA_MAX + 1]);
/* False when `metadata` is not such a text to the last character: then somebody else wrote it. */
bool restart_metadata_parse(const char *metadata, char store[40], struct weir_frame_name *frame,
                            char origin[RESTART_ORIGIN_MAX + 1]);

/* ---- Facts ------------------------------------------------------------------------------------------------------- */

enum restart_frame_state {
    RESTART_FRAME_MISSING, /* the file, or that part of it, is not there */
    RESTART_FRAME_DAMAGED, /* there, but length, hash or contents are wrong */
    RESTART_FRAME_VERIFIED,
};

/* A frame that the ledger or a mirror names, and what looking at it showed. */
struct restart_frame {
    struct weir_frame_name name;
    enum restart_frame_state state;
    bool is_ancestor;             /* reached from the ledger's frame by following parents; false for itself */
    struct weir_splits positions; /* VERIFIED: of splits on the decider's cluster, named as mirrors name them */
    char problem[256];            /* a sentence about the damage, may be empty */
};

enum restart_position {
    RESTART_POSITION_UNSET,
    RESTART_POSITION_LEDGER,
    RESTART_POSITION_GROUP,
    RESTART_POSITION_GIVEN, /* with a savepoint: somebody says where the job begins to read */
};

/* The savepoint that the job is to begin from. */
struct restart_savepoint {
    char id[40];          /* the beginning of it is enough, where the folder is gone */
    const char *place;    /* its folder, for sentences */
    const char *missing;  /* why it cannot be read; NULL = it can, and what follows is set */
    const char *store;    /* id of the store that it was taken from */
    bool is_changed;      /* operators are renamed or begin anew, or positions are other ones: only a founding does that */
    struct restart_frame frame; /* its name there; its positions; VERIFIED */
};

/* Everything is borrowed, and only read. */
struct restart_facts {
    const char *job;
    /* Our own side. */
    const char *store;              /* its id */
    const char *store_place;        /* directory or address, for sentences */
    uint64_t store_incarnation_max; /* of any log in it, those that this process has begun included; 0 = none */
    uint64_t store_frame_count;     /* frames in it; at least "none" and "some" must be right */
    uint64_t store_epoch_max;       /* of any frame in it */
    uint64_t own_incarnation;       /* of earlier attempts of this process; 0 = first attempt */
    uint64_t plan_hash;             /* what must not change between starts; 0 = do not compare */
    uint32_t ring_size;

    /* The cluster's side. All decoded records of the ledger's tail, oldest first; the last one is the pointer. In
     * restart_examine they may be uncommitted ones: a newer start counts even if it died before it could commit. So the last
     * commit may be none: who begins with a savepoint may go on when that was taken of the commit before. */
    const struct weir_ledger_entry *entries;
    size_t entry_count;
    const struct weir_mirror *mirrors;
    size_t mirror_count;
    bool mirrors_expected; /* the sources' positions travel in the decider's transaction */

    /* restart_decide only: every frame named by the pointer or by a mirror, in any order. */
    const struct restart_frame *frames;
    size_t frame_count;

    /* Choices of a person. */
    const struct restart_savepoint *savepoint; /* NULL = none */
    bool takeover;                  /* --takeover */
    const struct restart_frame *older; /* --checkpoint: an ancestor of the pointer's frame, or what became of it, with the epoch
                                          that was asked for; NULL = not asked. Over when this process has committed */
    bool fresh;                     /* --fresh: begin a new history; over once this process has founded one */
    bool drops;                     /* the job was cancelled, and nothing is to be kept of it */
    enum restart_position position; /* --position */
};

/* ---- Judgement --------------------------------------------------------------------------------------------------- */

struct restart_examination {
    uint32_t handles_named; /* largest ring that the ledger names; 0 = none (R10) */
    bool warn;              /* `text` is a warning */
    char text[1000];
};

/* Before the fence. WEIR_OK; or, with a sentence in `*error` (remedy STOP): WEIR_FOREIGN (another store, or a plan that
 * does not fit, without --takeover), WEIR_FENCED (a newer incarnation than our own). Fills `*examination` when OK. */
enum weir_code restart_examine(const struct restart_facts *facts, struct restart_examination *examination,
                               struct weir_error *error);

enum restart_verdict { RESTART_STOP, RESTART_FOUND, RESTART_RESTORE };
enum restart_origin { RESTART_FROM_NOTHING, RESTART_FROM_LEDGER, RESTART_FROM_METADATA };

struct restart_decision {
    enum restart_verdict verdict;
    enum restart_origin origin;
    struct weir_frame_name frame; /* RESTORE */
    uint64_t incarnation;         /* for COMMIT_ON_RESOLVED; differs from own_incarnation = open a new log */
    bool rewrite_mirrors;         /* the next commit carries the positions of all splits */
    bool from_savepoint;          /* FOUND: state and positions are the savepoint's */
    char history[40];             /* id of the savepoint that the history was founded from, for ledger records; "" = none */
    bool positions_from_group;    /* splits with a mirror begin at the mirror's position, not at the frame's */
    bool warn;                    /* `text` is a warning, else information */
    char text[1000];              /* a sentence for a person: what was found, and what follows */
};

/* After the fence, with committed facts. Looks again as restart_examine does (somebody may have committed in between).
 * STOP: answers the code, with the sentence and the choices in `*error` (remedy STOP). Otherwise WEIR_OK. */
enum weir_code restart_decide(const struct restart_facts *facts, struct restart_decision *decision,
                              struct weir_error *error);

/* The frames that must be looked at for restart_decide: the pointer's first (when there is one), then those that
 * mirrors name, each once, of this store only. Answers how many there are; fills at most `capacity`. */
size_t restart_frames_named(const struct restart_facts *facts, struct weir_frame_name *names, size_t capacity);

/* (incarnation, epoch) in that order: <0, 0, >0. */
int restart_compare(const struct weir_frame_name *a, const struct weir_frame_name *b);

#endif

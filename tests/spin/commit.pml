/* The commit protocol of one job (lib/checkpoint/commit.h, restart.h) against what Kafka does with transactions of
 * version 1. Steps carry the names of commit.h's actions. README.md says what is modelled, what is not, and what goes
 * wrong without each rule.
 *
 *   World: late requests, time-outs, the disk        Machine 1, Machine 2: one life of the job after another,
 *   Stranger: another job of the same name           killed anywhere; of two at once, one is a zombie
 *
 * Each input record is one epoch. A frame's position is the number of inputs that it has seen; `visible` is the set of
 * inputs whose output readers see. -DWITHOUT=R1 takes a rule out, -DONLY=TWICE looks at one property alone. */

/* How much may happen. */
#ifndef LIVES
#define LIVES 2 /* starts of the job, before one more when faults are over */
#endif
#ifndef INPUTS
#define INPUTS 2 /* records to read until the job is done */
#endif
#ifndef RING_MIN
#define RING_MIN 2 /* each start has a ring of RING_MIN to 2 handles */
#endif
#ifndef UNANSWERED
#define UNANSWERED 0 /* requests that are lost or late, repeated or given up */
#endif
#ifndef TIMEOUTS
#define TIMEOUTS 0 /* transactions that outlive their time-out */
#endif
#ifndef DAMAGES
#define DAMAGES 0 /* durable frames that the disk loses */
#endif
#ifndef ARRIVALS
#define ARRIVALS 0 /* records that move "latest" while the job starts */
#endif
#ifndef STRANGERS
#define STRANGERS 0 /* starts of another job with the same name and another store */
#endif
#define CAN(happened, most) (happened < most && !faults_over)

/* The rules. */
#define R1 1
#define R3 3
#define R4 4
#define R5 5
#define R5_WAIT 51 /* nothing is committed while a handle is made anew */
#define R5_LOOK 52 /* where no other id stands in between, making a handle anew means looking again */
#define R5_BETWEEN 54 /* what was made anew is used when another id has committed since */
#define R5_READ 53 /* a commit that was given up may have come through: the ledger tells */
#define R6 6
#define R7_AGE 7
#define R7_LOOK 71
#define R8 8
#define R8_FIRST 81 /* the id that announces is taken before the others */
#define R9 9
#define R10 10
#ifndef WITHOUT
#define WITHOUT 0
#endif
#define HAS(rule) (WITHOUT != rule)

/* The properties. */
#define TWICE 1    /* an output never becomes visible twice */
#define MISSING 2  /* what the ledger's frame has seen is visible */
#define TORN 3     /* what is visible, the ledger's frame has seen */
#define CHAIN 4    /* a committed frame is the child of the one before; an incarnation record names that one again */
#define DURABLE 5  /* the ledger's frame is on the disk */
#define OFFSETS 6  /* the group's offsets are the ledger's frame's */
#define ZOMBIE 7   /* nothing is committed after a newer incarnation has announced itself */
#define STRANDED 8 /* a life ends as fenced only if another start of the job took its ids */
#define DONE 9     /* when faults are over, the next start comes to the end */
#define ORPHAN 10  /* only who was killed leaves a transaction open in the end */
#define STUCK 11   /* a life does not wait for a commit that is not under way */
#ifndef ONLY
#define ONLY 0
#endif
#define HOLDS(property, fact) assert((ONLY && ONLY != property) || (fact))

/* ---- The world's state ------------------------------------------------------------------------------------------- */

#define NOBODY 0
#define STRANGER 3
#define NAME(incarnation, epoch) ((incarnation) * 8 + (epoch))
/* R8: a log for each incarnation. Else there is one, and everybody appends where he believes its end is. */
#define PLACE(name) (HAS(R8) -> (name) : (name) % 8)
#define BETWEEN(begin, end) (((1 << (end)) - 1) & ~((1 << (begin)) - 1))
#define MAX(a, b) ((a) > (b) -> (a) : (b))
#define SAY printf("life on %d: ", me); printf

mtype = { EMPTY, OPEN, COMMITTED };                                                     /* a transactional id */
mtype = { SEND_NOTHING, SEND_OUTPUT, SEND_RECORD, SEND_OFFSETS, SEND_COMMIT };          /* requests */
mtype = { OK, FENCED, FAILED };                                                         /* answers */
mtype = { IDLE, LOOKING, FENCING, READING, RESTORING, ANNOUNCING, RUNNING, UNWINDING, ENDED };  /* a life */
mtype = { FREE, PRODUCED, CLOSING, FLUSHED, READY, RENEWING, RENEWED };        /* a handle */

typedef Transaction {
    mtype state;
    byte owner;                               /* whose producer epoch is the current one; NOBODY after a time-out */
    byte output;                              /* in here: the output of this input, counted from 1; 0 = none */
    byte record;                              /* in here: a ledger record that names this frame; 0 = none */
    byte parent, position, incarnation, ring; /* what the record says besides */
    byte offsets;                             /* in here: group offsets that name this frame; 0 = none */
    bit stale;                                /* behind these offsets in the group's log are committed ones */
    mtype late;                               /* still on its way, with the current producer epoch; 0 = none */
    byte late_frame
};

typedef Handle {
    mtype stage;
    byte name, parent, position; /* the frame of its epoch, from SNAPSHOT on */
    bit durable;
    bit repeated                 /* a request of the transaction was not answered at once */
};

Transaction t[2];
bit offsets_newest;                                    /* whose offsets stand last in the group's log */
byte frame[64];                                        /* the checkpoint store: the frame that is durable in a place */
byte logs;                                             /* opened in it */
byte tail, tail_position, tail_incarnation, tail_ring; /* the committed ledger: newest frame; largest ring */
byte before, before_position;                          /* the frame that would be fallen back to */
byte written_incarnation, written_ring;                /* the ledger as readers of uncommitted records see it */
byte group;                                            /* the frame that the group's committed offsets name */
byte visible, begun, latest;                           /* inputs: bits; the first that a task read; where "latest" is */
byte starts, unanswered, timeouts, damages, strangers;
bit has_begun, finished, faults_over;
bit taken[3];                                          /* from the life on this machine, by another start */
bit killed[3];                                         /* the last life on this machine */

/* Of one step: put back by `done_with_it`, so that they do not tell states apart. */
mtype request, answer;
byte what, number, remembered_parent, remembered_position;
bit acts;

inline done_with_it()
{
    request = 0; what = 0; acts = 0; answer = 0; number = 0; remembered_parent = 0; remembered_position = 0; k = 0
}

/* ---- The broker -------------------------------------------------------------------------------------------------- */

inline clear(k)
{
    t[k].output = 0; t[k].record = 0; t[k].parent = 0; t[k].position = 0; t[k].incarnation = 0; t[k].ring = 0;
    t[k].offsets = 0; t[k].stale = 0
}

inline decide_record(k)
{
    HOLDS(ZOMBIE, t[k].incarnation >= tail_incarnation);
    HOLDS(CHAIN, t[k].record == tail || t[k].parent == tail);
    HOLDS(DURABLE, frame[PLACE(t[k].record)] == t[k].record || damages);
    HOLDS(MISSING, (BETWEEN(begun, t[k].position) & ~visible) == 0 || !has_begun);
    if :: !HAS(R6) && t[k].record != tail -> before = tail; before_position = tail_position :: else fi;
    tail = t[k].record; tail_position = t[k].position; tail_incarnation = t[k].incarnation;
    tail_ring = MAX(tail_ring, t[k].ring)
}

/* All that is in the transaction becomes visible. In the group's log the later record wins, whichever commits last. */
inline decide(k)
{
    if
    :: t[k].output ->
        HOLDS(TWICE, (visible & BETWEEN(t[k].output - 1, t[k].output)) == 0);
        visible = visible | BETWEEN(t[k].output - 1, t[k].output)
    :: else
    fi;
    if :: t[k].record -> decide_record(k) :: else fi;
    if
    :: t[k].offsets && !t[k].stale ->
        group = t[k].offsets;
        t[1 - k].stale = (t[1 - k].offsets && offsets_newest == k)
    :: else
    fi;
    HOLDS(TORN, visible == BETWEEN(begun, tail_position) || !has_begun);
    HOLDS(OFFSETS, group == tail);
    clear(k);
    t[k].state = COMMITTED
}

/* What carries the current producer epoch acts on whatever is open; all but the commit open a transaction. A commit
 * that comes again gets the answer that it got before. */
inline broker(k)
{
    answer = OK;
    if :: request != SEND_COMMIT && t[k].state != OPEN -> clear(k); t[k].state = OPEN :: else fi;
    if
    :: request == SEND_OUTPUT -> t[k].output = what
    :: request == SEND_RECORD -> t[k].record = what
    :: request == SEND_OFFSETS -> t[k].offsets = what; t[k].stale = 0; offsets_newest = k
    :: request == SEND_COMMIT && t[k].state == OPEN -> decide(k)
    :: request == SEND_COMMIT && t[k].state == EMPTY -> answer = FAILED
    :: else
    fi
}

/* A new producer epoch: what is open is aborted, and requests of older epochs are refused, late ones too. */
inline bump(k, who)
{
    clear(k);
    t[k].state = EMPTY; t[k].owner = who; t[k].late = 0; t[k].late_frame = 0
}

inline time_out(k)
{
    timeouts++;
    printf("broker: the transaction of id %d times out\n", k);
    bump(k, NOBODY)
}

/* ---- The network, time, the disk --------------------------------------------------------------------------------- */

#define IS_EXCUSED(k) (t[k].state != OPEN || killed[t[k].owner])

active proctype World()
{
    byte k;
end:
    do
    :: atomic {
        if
        :: t[0].late -> k = 0
        :: t[1].late -> k = 1
        fi;
        request = t[k].late; what = t[k].late_frame;
        t[k].late = 0; t[k].late_frame = 0;
        printf("broker: a late %e on id %d\n", request, k);
        if
        :: request == SEND_OFFSETS && t[k].state != OPEN /* pending, until the next ones overwrite it */
        :: else -> broker(k)
        fi;
        done_with_it() }
    :: d_step { CAN(timeouts, TIMEOUTS) && t[0].state == OPEN -> time_out(0) }
    :: d_step { CAN(timeouts, TIMEOUTS) && t[1].state == OPEN -> time_out(1) }
    :: d_step { CAN(damages, DAMAGES) && tail && !finished ->
        damages++; frame[PLACE(tail)] = 0; printf("disk: frame (%d,%d) is lost\n", tail / 8, tail % 8) }
    :: d_step { CAN(latest, ARRIVALS) -> latest++; printf("input: latest is %d now\n", latest) }
    :: timeout ->
        if
        :: !faults_over && !finished -> faults_over = 1 /* one more start, in peace */
        :: else -> break
        fi
    od;
    HOLDS(DONE, finished || damages);
    HOLDS(ORPHAN, IS_EXCUSED(0) && IS_EXCUSED(1))
}

/* R9: LOOK shows that the ledger names another store, before anybody is fenced. */
proctype Stranger()
{
end:
    d_step { CAN(strangers, STRANGERS) && tail && !finished ->
        strangers++;
        if :: !HAS(R9) -> printf("stranger: takes both ids\n"); bump(0, STRANGER); bump(1, STRANGER) :: else fi }
}

/* ---- A life: attempts -------------------------------------------------------------------------------------------- */

#define NEXT (epoch % ring)
#define IN_FLIGHT(k) (h[k].stage == CLOSING || h[k].stage == FLUSHED || h[k].stage == READY)
#define AT_REST(k) (h[k].stage == FREE || h[k].stage == RENEWING || h[k].stage == RENEWED)
#define MAY_COMMIT(k) ((h[k].durable || !HAS(R3)) && (h[1 - k].stage != RENEWING || !HAS(R5_WAIT)))
#define IS_OVER(seen) (HAS(R7_LOOK) && incarnation && seen > incarnation) /* R7: a newer start has announced itself */

inline forget(k)
{
    h[k].stage = FREE; h[k].name = 0; h[k].parent = 0; h[k].position = 0; h[k].durable = 0; h[k].repeated = 0
}

/* A frame that nobody will ever name is as good as none: fewer states. */
inline sweep(k)
{
    if
    :: h[k].durable && frame[PLACE(h[k].name)] == h[k].name && h[k].name != tail && h[k].name != t[0].record &&
        h[k].name != t[1].record -> frame[PLACE(h[k].name)] = 0
    :: else
    fi
}

/* The end of every step: DISCARD and CANCEL_TASKS where it led to UNWINDING, which undo no request. An incarnation that
 * no record carries can as well be drawn again: fewer states. */
inline settle()
{
    if
    :: phase == UNWINDING || phase == ENDED ->
        sweep(0); sweep(1); forget(0); forget(1);
        has_tasks = 0; to_fence = 0; fenced = 0; parent = remembered_parent; position = remembered_position;
        if
        :: phase == UNWINDING -> phase = LOOKING
        :: phase == ENDED ->
            logs = (incarnation == logs && incarnation > written_incarnation -> logs - 1 : logs);
            ring = 0; incarnation = 0; epoch = 0;
            phase = IDLE
        fi
    :: phase == RUNNING -> HOLDS(STUCK, !has_tasks || h[NEXT].stage != RENEWED || !AT_REST(1 - NEXT))
    :: else
    fi;
    done_with_it()
}

inline end_fenced()
{
    SAY("ends as fenced\n");
    HOLDS(STRANDED, taken[me]);
    phase = ENDED
}

inline take_over(k)
{
    SAY("takes id %d\n", k);
    bump(k, me);
    taken[3 - me] = 1
}

inline look()
{
    if
    :: IS_OVER(written_incarnation) -> end_fenced()
    :: else ->
        fenced = (HAS(R10) -> MAX(ring, written_ring) : ring); /* R10: all ids that the ledger names */
        to_fence = (1 << fenced) - 1;
        phase = FENCING
    fi
}

inline fence(k)
{
    take_over(k);
    to_fence = to_fence & ~(1 << k);
    phase = (to_fence -> FENCING : READING)
}

inline start_tasks()
{
    has_tasks = 1;
    if :: !has_begun -> has_begun = 1; begun = position :: else fi
}

/* Above every one seen in ledger and store. */
inline draw_incarnation()
{
    if :: incarnation <= written_incarnation -> logs++; incarnation = logs :: else fi
}

/* R4: tasks are started when a founding commit says in numbers where the job begins. */
inline found()
{
    draw_incarnation();
    SAY("begins at %d as incarnation %d\n", latest, incarnation);
    position = latest; epoch = 1; phase = RUNNING;
    if
    :: HAS(R4) -> parent = NAME(incarnation, 0); h[0].stage = CLOSING; h[0].name = parent; h[0].position = position
    :: else -> start_tasks()
    fi
}

inline restore()
{
    if :: incarnation == 0 -> draw_incarnation() :: else fi;
    epoch = parent % 8 + 1; /* numbers of frames that nobody will name come again here: fewer states */
    SAY("goes on from (%d,%d) as incarnation %d\n", parent / 8, parent % 8, incarnation);
    phase = RESTORING
}

inline resolve()
{
    fenced = 0;
    if
    :: !parent -> found()
    :: parent && frame[PLACE(parent)] == parent -> restore()
    :: parent && frame[PLACE(parent)] != parent ->
        if /* R6: never an older one instead */
        :: HAS(R6) || !before -> SAY("stops: its frame is gone\n"); phase = ENDED
        :: else -> parent = before; position = before_position; restore()
        fi
    fi
}

/* READ answers with committed facts, RESOLVE judges them. Without R5_READ a life believes what it remembers. */
inline read()
{
    if :: !parent -> parent = tail; position = tail_position :: else fi;
    if
    :: IS_OVER(tail_incarnation) -> end_fenced()
    :: HAS(R10) && !IS_OVER(tail_incarnation) && tail_ring > fenced -> parent = 0; position = 0; look()
    :: else -> resolve()
    fi
}

/* ---- A life: requests -------------------------------------------------------------------------------------------- */

/* One of those that are due. */
inline choose()
{
    if
    :: phase == RESTORING -> k = 0; request = SEND_RECORD; what = parent /* ANNOUNCE */
    :: phase == ANNOUNCING -> k = 0; request = SEND_COMMIT
    :: phase == RUNNING && has_tasks && position < INPUTS && h[NEXT].stage == FREE && h[1 - NEXT].stage != CLOSING ->
        k = NEXT; request = SEND_OUTPUT; what = position + 1 /* BEGIN; PROCEED is behind FLUSHED of the epoch before */
    :: phase == RUNNING && h[0].stage == CLOSING -> k = 0; request = SEND_RECORD; what = h[0].name /* FLUSH */
    :: phase == RUNNING && h[1].stage == CLOSING -> k = 1; request = SEND_RECORD; what = h[1].name
    :: phase == RUNNING && h[0].stage == FLUSHED -> k = 0; request = SEND_OFFSETS; what = h[0].name
    :: phase == RUNNING && h[1].stage == FLUSHED -> k = 1; request = SEND_OFFSETS; what = h[1].name
    :: phase == RUNNING && h[0].stage == READY && MAY_COMMIT(0) -> k = 0; request = SEND_COMMIT
    :: phase == RUNNING && h[1].stage == READY && MAY_COMMIT(1) -> k = 1; request = SEND_COMMIT
    fi
}

/* Answered at once; or not, and then the first one is lost or late, and it is repeated until it is answered or given
 * up, which says nothing about whether it acted. A late record is known by its sequence number: it only opens a
 * transaction. */
inline send()
{
    acts = 1; answer = OK;
    if
    :: t[k].owner != me -> acts = 0; answer = FENCED
    :: t[k].owner == me
    :: t[k].owner == me && CAN(unanswered, UNANSWERED) ->
        unanswered++; h[k].repeated = 1;
        if
        :: t[k].late == 0 ->
            t[k].late = (request == SEND_OUTPUT || request == SEND_RECORD -> SEND_NOTHING : request);
            t[k].late_frame = (request == SEND_OFFSETS -> what : 0)
        :: skip
        fi;
        if :: skip :: answer = FAILED :: answer = FAILED; acts = 0 fi;
        SAY("%e on id %d is not answered, then %e\n", request, k, answer)
    fi;
    number = (answer == FAILED);
    if :: acts -> broker(k) :: else fi;
    if :: number -> answer = FAILED; number = 0 :: else fi
}

inline write_record()
{
    t[k].parent = h[k].parent; t[k].incarnation = incarnation; t[k].ring = ring;
    t[k].position = (phase == RUNNING -> h[k].position : position);
    written_incarnation = MAX(written_incarnation, incarnation);
    written_ring = MAX(written_ring, ring)
}

/* NOTIFY, ALLOW; R5: a handle with an unanswered request is made anew before it is used again. By then another start may
 * have taken it. The next commit on another id would be fenced by that start; where there is none in between, the whole
 * start is done again. */
inline on_committed()
{
    number = (h[k].repeated && HAS(R5));
    if
    :: number && (ring == 1 || phase == ANNOUNCING) && HAS(R5_LOOK) -> phase = UNWINDING
    :: else ->
        forget(k);
        h[k].stage = (number -> RENEWING : FREE);
        h[1 - k].stage = (h[1 - k].stage == RENEWED -> FREE : h[1 - k].stage);
        phase = RUNNING;
        if :: !has_tasks -> start_tasks() :: else fi
    fi
}

inline on_ok()
{
    if
    :: request == SEND_OUTPUT -> h[k].stage = PRODUCED
    :: request == SEND_RECORD && phase == RUNNING -> h[k].stage = FLUSHED
    :: request == SEND_RECORD && phase == RESTORING -> phase = ANNOUNCING
    :: request == SEND_OFFSETS -> h[k].stage = READY
    :: request == SEND_COMMIT -> SAY("commits on id %d\n", k); on_committed()
    fi
}

/* R7: in a young transaction it was another start. In an older one it may have been the broker: LOOK tells. So it does
 * about ids other than the first, which may be lost to a start that has itself lost the first one. */
inline on_fenced()
{
    if
    :: HAS(R7_AGE) && (t[k].owner == NOBODY || k > 0) -> phase = UNWINDING
    :: HAS(R7_AGE) && t[k].owner != NOBODY && k == 0 && CAN(timeouts, TIMEOUTS) -> timeouts++; phase = UNWINDING
    :: HAS(R7_LOOK) && (!HAS(R7_AGE) || t[k].owner != NOBODY && k == 0) -> end_fenced()
    :: !HAS(R7_LOOK) && t[k].owner != NOBODY && k == 0 -> phase = UNWINDING
    fi
}

inline on_failed()
{
    if
    :: !HAS(R5_READ) && request == SEND_COMMIT && phase == RUNNING -> /* "no answer, so not committed" */
        remembered_parent = h[k].parent; remembered_position = h[k].position - 1
    :: else
    fi;
    phase = UNWINDING
}

/* ---- A life: running --------------------------------------------------------------------------------------------- */

/* R1: barrier n+1 is not sent before n is committed. */
inline snapshot_if_allowed()
{
    if
    :: phase == RUNNING && h[NEXT].stage == PRODUCED && (!IN_FLIGHT(1 - NEXT) || !HAS(R1)) ->
        number = NEXT;
        position++;
        h[number].stage = CLOSING; h[number].name = NAME(incarnation, epoch);
        h[number].parent = parent; h[number].position = position;
        parent = h[number].name;
        epoch++
    :: else
    fi
}

inline append(k)
{
    frame[PLACE(h[k].name)] = h[k].name;
    h[k].durable = 1;
    SAY("appends (%d,%d)\n", h[k].name / 8, h[k].name % 8);
    HOLDS(DURABLE, frame[PLACE(tail)] == tail || tail == 0 || damages)
}

/* One call of the decider and what follows from its answer. */
inline call()
{
    choose();
    send();
    if :: acts && request == SEND_RECORD -> write_record() :: else fi;
    if
    :: answer == OK -> on_ok()
    :: answer == FENCED -> on_fenced()
    :: answer == FAILED -> on_failed()
    fi;
    snapshot_if_allowed()
}

/* By then another start may have come, and be done: who commits on another id knows that none has. */
inline renew(k)
{
    take_over(k);
    h[k].stage = (HAS(R5_BETWEEN) && ring > 1 -> RENEWED : FREE)
}

inline start()
{
    starts++;
    taken[me] = 0; killed[me] = 0;
    if :: ring = 2 :: RING_MIN == 1 -> ring = 1 fi;
    phase = LOOKING
}

inline finish()
{
    take_over(0); take_over(1);
    SAY("is done\n");
    finished = 1;
    HOLDS(MISSING, visible == BETWEEN(begun, INPUTS));
    HOLDS(OFFSETS, group == tail);
    phase = ENDED
}

proctype Machine(byte me)
{
    Handle h[2];
    mtype phase = IDLE;
    byte ring, incarnation, parent; /* `parent`: of the open epoch's frame */
    byte epoch, position;           /* the open one, and where it begins */
    byte fenced, to_fence, k;
    bit has_tasks;
    forget(0); forget(1);
end:
    do
    :: atomic {
        if
        :: phase == IDLE && starts < LIVES + faults_over && !finished && (starts || me == 1) -> start()
        :: phase != IDLE && !faults_over -> SAY("is killed\n"); killed[me] = 1; phase = ENDED
        :: phase == LOOKING -> look()
        :: phase == FENCING && (to_fence & 1) -> fence(0)
        :: phase == FENCING && (to_fence & 2) && (!(to_fence & 1) || !HAS(R8_FIRST)) -> fence(1)
        :: phase == READING -> read()
        :: IN_FLIGHT(0) && !h[0].durable -> append(0)
        :: IN_FLIGHT(1) && !h[1].durable -> append(1)
        :: h[0].stage == RENEWING -> renew(0)
        :: h[1].stage == RENEWING -> renew(1)
        :: phase == RUNNING && has_tasks && position == INPUTS && AT_REST(0) && AT_REST(1) -> finish()
        :: call()
        fi;
        settle() }
    od
}

init
{
    atomic { run Machine(1); run Machine(2); run Stranger() }
}

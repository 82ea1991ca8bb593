/* What a job must not survive by itself, or only just: losses, damage, and people with tools. Each strikes while nobody is
 * alive, and its right ending is known: the next life goes on, or ends with a certain code. Then a person does what the
 * job's last sentence says, and the run goes on.
 *
 *             strikes              a life ends with its code          a commit
 *     NONE ──────────> STRUCK ─────────────────────────────> ANSWERED ─────────> NONE
 *                        │ a commit, though it had to stop                ^
 *                        ├─────────> violation                            │
 *                        └─ the right ending is to go on ─────────────────┘
 *
 * So a wrong ending is never excused: in STRUCK one code is right, in ANSWERED and NONE none of them. */
#ifndef SIM_MISHAPS_H
#define SIM_MISHAPS_H

#include "sim/lives.h"

/* The topics are there. `is_followed`: another job reads what it writes, so that has to stay. `is_copied`: one reads the same. */
void mishaps_begin(const struct weir_test_job *test, bool is_followed, bool is_copied);
void mishaps_end(void);
/* Nobody is alive: draws one. False when nothing could strike. */
bool mishaps_strike(void);
/* Until it is over, starts come one at a time, and nothing else is taken from the job. */
bool mishaps_are_pending(void);
/* It has struck, and no life has ended by it yet. */
bool mishaps_have_struck(void);
/* Something was damaged or lost, and may be noticed. */
bool mishaps_may_show(void);
/* Starts may name the savepoint again that the history began with: nothing has to be answered, or somebody has chosen. */
bool mishaps_leave_the_savepoint(void);
/* What the person has chosen for the starts that follow; NULL = nothing. */
const struct mishap_choice *mishaps_choice(void);
/* True when the life has ended as it had to: the person answers. */
bool mishaps_explain(const struct life *life);
/* After each step. */
void mishaps_watch(void);

#endif

/* What befalls a run is drawn stroke by stroke; but some rules matter only when several things happen one after the other,
 * and together that is too rare to wait for. So a share of the runs is told a tale: the weather stays as it is, and beside
 * it, whenever that can be, comes what the tale wants next.
 *
 *   origin        a person goes back to a savepoint; then the ledger is lost, and later starts name the savepoint again
 *   repetition    a person goes back to a retained checkpoint; who has committed behind it loses a transaction, and begins
 *                 again in the same process
 *   flicker       a history begins with a savepoint, on a disk that fails for a moment again and again
 *   announcement  several start at once, and are not answered when they announce themselves */
#ifndef SIM_TALE_H
#define SIM_TALE_H

#include <stdbool.h>

enum tale { TALE_NONE, TALE_ORIGIN, TALE_REPETITION, TALE_FLICKER, TALE_ANNOUNCEMENT };

/* Draws one for the run, or none; none when it is not to have any. */
void tale_begin(bool may_have_one);
bool tale_is(enum tale tale);

#endif

/* The ledger's records: the newest one is the pointer to the committed frame, the ring of them is the history that
 * anybody can verify. Encoding and decoding are declared in weir/connector.h (weir_ledger_encode, weir_ledger_decode),
 * because tools and deciders need them; here is what only the core needs: the keys. Pure; any thread.
 *
 *   key   <slot>/<epoch mod N>   a commit: compaction keeps the last N
 *         <slot>/incarnation     an incarnation record, which names the last commit's frame again (R7) */
#ifndef CHECKPOINT_LEDGER_H
#define CHECKPOINT_LEDGER_H

#include "base/base.h"

#define LEDGER_RING_DEFAULT 10000
#define LEDGER_KEY_MAX 48 /* with its NUL */

void ledger_key_commit(char key[LEDGER_KEY_MAX], const char *slot, uint64_t epoch, uint32_t ring_size);
void ledger_key_incarnation(char key[LEDGER_KEY_MAX], const char *slot);

#endif

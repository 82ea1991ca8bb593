/* The ledger's records: the newest one is the pointer to the committed frame, the ring of them is the history that anybody
 * can verify. Encoding and decoding are declared in weir/connector.h (weir_ledger_encode, weir_ledger_decode), because
 * tools and deciders need them; here is what only the core needs: keys, and the frame's name as a text. Pure; any thread.
 *
 *   key   <slot>/<epoch mod N>   a commit: compaction keeps the last N
 *         <slot>/incarnation     an incarnation record, which names the last commit's frame again (R7) */
#ifndef CHECKPOINT_LEDGER_H
#define CHECKPOINT_LEDGER_H

#include "base/base.h"

#define LEDGER_RING_DEFAULT 10000
#define LEDGER_KEY_MAX 48   /* with its NUL */
#define LEDGER_LABEL_MAX 201 /* with its NUL */

void ledger_key_commit(char key[LEDGER_KEY_MAX], const char *slot, uint64_t epoch, uint32_t ring_size);
void ledger_key_incarnation(char key[LEDGER_KEY_MAX], const char *slot);

/* Compares names of checkpoints, (incarnation, epoch) in that order: < 0, 0, > 0. */
int ledger_compare(const struct weir_frame_name *a, const struct weir_frame_name *b);

/* The label that travels as metadata with the group's offsets: store and frame as printable ASCII of at most 200
 * characters, "weir1 <store> <incarnation> <epoch> <file> <offset> <length> <hash>". */
void ledger_label_put(char label[LEDGER_LABEL_MAX], const char *store, const struct weir_frame_name *frame);
/* False when `label` was not written by ledger_label_put. */
bool ledger_label_parse(const char *label, char store[40], struct weir_frame_name *frame);

#endif

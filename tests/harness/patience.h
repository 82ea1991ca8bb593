/* How long a test waits for what must come. It ends what hangs, and nothing else: the machine may be slow, and busy with much
 * besides, and a test that gives up early has found out nothing. */
#ifndef HARNESS_PATIENCE_H
#define HARNESS_PATIENCE_H

enum { PATIENCE_MS = 180000 };

#endif

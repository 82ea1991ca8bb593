/* A small checkpoint directory with a bit of everything, always the same to the byte: two lives of a job that has the pointer
 * as its decider; every kind of state, null and empty keys, name spaces, tombstones, cleared collections, values of an older
 * version, a state that was given up and declared again; an early part, bases of both lives, a checkpoint that was never
 * committed. */
#ifndef HARNESS_GOLDEN_STORE_H
#define HARNESS_GOLDEN_STORE_H

/* Writes it below `directory`, which exists, as DIRECTORY/golden, with the project's own code. The frames say that
 * `decider` decides; the pointer does in any case. */
void golden_store_write(const char *directory, const char *decider);

#endif

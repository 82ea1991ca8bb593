/* Which position of another cluster is which of a savepoint's: a text file that a person or a mirroring tool has made.
 *
 *   # topic/partition   position in the savepoint   position there   [topic/partition there]
 *   orders/0            4711                        4650
 *   orders/1            90                          88               eu.orders/1
 *
 * Words stand between blanks or tabs; empty lines and what follows a '#' say nothing. A position is the next record to read.
 * A line counts for exactly the position that it names, so a file may have any number of lines for one partition, as a tool that
 * notes pairs of offsets from time to time writes them. A position between two lines is not guessed.
 *
 * Owner: whoever loaded it; read-only afterwards. */
#ifndef RUNTIME_POSITION_MAP_H
#define RUNTIME_POSITION_MAP_H

#include "base/base.h"

struct position_map_line {
    const char *split, *split_there;
    int64_t position, position_there;
    size_t number; /* of the line, from 1 */
};

struct position_map {
    struct arena arena;
    VEC(struct position_map_line) lines; /* by split and position */
};

/* WEIR_USAGE with file, line and what to do; WEIR_NO_MEMORY. `map` is to be given to position_map_deinit in any case. */
enum weir_code position_map_load(struct position_map *map, const char *path, struct weir_error *error);
void position_map_deinit(struct position_map *map);

/* The line for this position, or NULL. */
const struct position_map_line *position_map_find(const struct position_map *map, const char *split, int64_t position);
/* Is there any line for this partition? */
bool position_map_names(const struct position_map *map, const char *split);

#endif

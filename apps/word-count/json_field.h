/* Takes one member of a JSON object without building a tree: one pass over the bytes, no memory unless the text has
 * escapes. Source of the grammar: RFC 8259. */
#ifndef WORD_COUNT_JSON_FIELD_H
#define WORD_COUNT_JSON_FIELD_H

#include "weir/weir.h"

enum json_field {
    JSON_FIELD_FOUND,     /* `*text` is the member's text */
    JSON_FIELD_ABSENT,    /* an object without that member, or with null there */
    JSON_FIELD_MALFORMED, /* not a JSON object up to the member (what stands behind it is not looked at) */
};

/* `name` is compared byte by byte with the names as they are written. Strings come back unquoted, numbers and literals as
 * they are written, objects and arrays as their JSON text. `task` gives memory for texts with escapes. */
enum json_field json_field(void *task, struct weir_bytes json, struct weir_bytes name, struct weir_bytes *text);

#endif

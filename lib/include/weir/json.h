/* Reading one line of JSON: an object whose values are texts, numbers, truth, null, or {"hex":"00ff"}; deeper things are
 * skipped. No memory is taken. */
#ifndef WEIR_JSON_H
#define WEIR_JSON_H

#include "weir/weir.h"

#ifdef __cplusplus
extern "C" {
#endif

enum weir_json_type {
    WEIR_JSON_ABSENT,
    WEIR_JSON_NULL,
    WEIR_JSON_TRUTH,
    WEIR_JSON_NUMBER,
    WEIR_JSON_BYTES,
    WEIR_JSON_SKIPPED
};

struct weir_json_value {
    enum weir_json_type type;
    struct weir_bytes bytes; /* of a number: its digits, as they stand there; of truth: "true" or "false" */
};

struct weir_json_field {
    struct weir_bytes name;
    struct weir_json_value value;
};

enum { WEIR_JSON_FIELDS_MAX = 32 };

struct weir_json_line {
    struct weir_json_field fields[WEIR_JSON_FIELDS_MAX];
    size_t count;
};

/* Reads the object; texts are decoded where they lie, so `line` is changed, and borrowed. NULL, or what is wrong. */
WEIR_API const char *weir_json_read(struct weir_json_line *json, char *line, size_t size);
/* Absent when there is no such field. */
WEIR_API struct weir_json_value weir_json_find(const struct weir_json_line *json, const char *name);

#ifdef __cplusplus
}
#endif

#endif

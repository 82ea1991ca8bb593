/* One line of JSON: an object whose values are texts, numbers, truth, null, or {"hex":"00ff"}; deeper things are skipped. */
#ifndef WEIR_JSON_H
#define WEIR_JSON_H

#include <stdbool.h>

#include "weir/weir.h"

enum json_type { JSON_ABSENT, JSON_NULL, JSON_TRUTH, JSON_NUMBER, JSON_BYTES, JSON_SKIPPED };

struct json_value {
    enum json_type type;
    struct weir_bytes bytes; /* of a number: its digits, as they stand there; of truth: "true" or "false" */
};

struct json_field {
    struct weir_bytes name;
    struct json_value value;
};

enum { JSON_FIELDS_MAX = 32 };

struct json_line {
    struct json_field fields[JSON_FIELDS_MAX];
    size_t count;
};

/* Reads the object; texts are decoded where they lie, so `line` is changed, and borrowed. NULL, or what is wrong. */
const char *json_read(struct json_line *json, char *line, size_t size);
/* Absent when there is no such field. */
struct json_value json_find(const struct json_line *json, const char *name);

#endif

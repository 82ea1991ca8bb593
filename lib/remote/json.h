/* Writing JSON into memory. Names are program text and stand as they are; values are escaped, and what is no UTF-8 becomes
 * U+FFFD. A failure (no memory) is sticky and comes out at json_finish.
 *
 *     struct json json;
 *     json_begin(&json);
 *     json_object(&json, NULL); json_text(&json, "id", id); json_end(&json);
 *     if (!json_finish(&json, &text, &size)) ...                                       free(text) */
#ifndef REMOTE_JSON_H
#define REMOTE_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { JSON_DEPTH_MAX = 32 };

struct json {
    FILE *file;
    char *text;
    size_t size;
    int depth;
    char open[JSON_DEPTH_MAX]; /* '}' or ']' */
    bool has_items;            /* in what is open: a comma comes next */
};

void json_begin(struct json *json);
/* False without memory: then there is no text. */
bool json_finish(struct json *json, char **text, size_t *size);

/* `name`: of the field; NULL inside an array, and at the top. */
void json_object(struct json *json, const char *name);
void json_array(struct json *json, const char *name);
void json_end(struct json *json); /* of the one that was opened last */
void json_text(struct json *json, const char *name, const char *value); /* NULL becomes null */
void json_i64(struct json *json, const char *name, int64_t value);
void json_u64(struct json *json, const char *name, uint64_t value);
void json_real(struct json *json, const char *name, double value); /* what is no number becomes null */
void json_truth(struct json *json, const char *name, bool value);
void json_null(struct json *json, const char *name);
void json_whole(struct json *json, const char *name, const char *value); /* JSON already; NULL becomes null */

#endif

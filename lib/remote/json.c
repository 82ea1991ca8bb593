#include "remote/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weir/weir.h"

void json_begin(struct json *json)
{
    *json = (struct json){ .file = NULL };
    json->file = open_memstream(&json->text, &json->size);
}

bool json_finish(struct json *json, char **text, size_t *size)
{
    bool good = json->file != NULL;
    if (good) {
        good = ferror(json->file) == 0;
        good = fclose(json->file) == 0 && good;
    }
    if (!good) free(json->text);
    *text = good ? json->text : NULL;
    *size = good ? json->size : 0;
    return good;
}

static void put_quoted(FILE *file, const char *text)
{
    const unsigned char *at = (const unsigned char *)text, *const end = at + strlen(text);
    (void)fputc('"', file);
    while (at < end) {
        const size_t size = weir_utf8_size((struct weir_bytes){ (const char *)at, (size_t)(end - at) });
        if (*at == '"' || *at == '\\') (void)fprintf(file, "\\%c", *at);
        else if (*at < 0x20 || *at == 0x7f) (void)fprintf(file, "\\u%04x", *at);
        else if (size == 0) (void)fputs("\\ufffd", file);
        else (void)fwrite(at, 1, size, file);
        at += size == 0 ? 1 : size;
    }
    (void)fputc('"', file);
}

/* What stands in front of each value. False without a file. */
static bool put_name(struct json *json, const char *name)
{
    if (json->file == NULL) return false;
    if (json->has_items) (void)fputc(',', json->file);
    json->has_items = true;
    if (name != NULL) (void)fprintf(json->file, "\"%s\":", name);
    return true;
}

static void open_one(struct json *json, const char *name, char begin, char end)
{
    if (!put_name(json, name) || json->depth == JSON_DEPTH_MAX) return;
    (void)fputc(begin, json->file);
    json->open[json->depth++] = end;
    json->has_items = false;
}

void json_object(struct json *json, const char *name) { open_one(json, name, '{', '}'); }
void json_array(struct json *json, const char *name) { open_one(json, name, '[', ']'); }

void json_end(struct json *json)
{
    if (json->depth == 0) return;
    (void)fputc(json->open[--json->depth], json->file);
    json->has_items = true;
}

void json_text(struct json *json, const char *name, const char *value)
{
    if (value == NULL) json_null(json, name);
    else if (put_name(json, name)) put_quoted(json->file, value);
}

void json_i64(struct json *json, const char *name, int64_t value)
{
    if (put_name(json, name)) (void)fprintf(json->file, "%" PRId64, value);
}

void json_u64(struct json *json, const char *name, uint64_t value)
{
    if (put_name(json, name)) (void)fprintf(json->file, "%" PRIu64, value);
}

void json_real(struct json *json, const char *name, double value)
{
    if (!isfinite(value)) json_null(json, name);
    else if (put_name(json, name)) (void)fprintf(json->file, "%.10g", value);
}

void json_truth(struct json *json, const char *name, bool value)
{
    if (put_name(json, name)) (void)fputs(value ? "true" : "false", json->file);
}

void json_whole(struct json *json, const char *name, const char *value)
{
    if (put_name(json, name)) (void)fputs(value == NULL ? "null" : value, json->file);
}

void json_null(struct json *json, const char *name) { json_whole(json, name, NULL); }

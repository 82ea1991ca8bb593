/* The same one-pass search for a member of a flat JSON object that the word count uses, without an engine around it. */
#ifndef BENCH_JSON_H
#define BENCH_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static inline const char *bench_json_string(const char *at, const char *end)
{
    while (at < end && *at != '"') at += *at == '\\' ? 2 : 1;
    return at;
}

static inline bool bench_json_field(const char *json, size_t size, const char *field, const char **text, size_t *text_size)
{
    const char *end = json + size, *at = json;
    const size_t field_size = strlen(field);
    while (at < end && *at != '{') at++;
    for (at++; at < end;) {
        while (at < end && *at != '"') at++;
        const char *name = ++at;
        at = bench_json_string(at, end);
        const bool found = (size_t)(at - name) == field_size && memcmp(name, field, field_size) == 0;
        while (at < end && *at != ':') at++;
        at++;
        while (at < end && *at == ' ') at++;
        if (at >= end) return false;
        if (*at == '"') {
            const char *value = ++at;
            at = bench_json_string(at, end);
            if (found) {
                *text = value;
                *text_size = (size_t)(at - value);
                return true;
            }
            at++;
        }
        while (at < end && *at != ',') at++;
    }
    return false;
}

#endif

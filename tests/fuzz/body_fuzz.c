/* The body of a request: JSON that is read where it stands, and the folder that it may name for a savepoint, which never leads
 * out of the root. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "fuzz/fuzz.h"
#include "remote/savepoint_target.h"
#include "weir/json.h"

#define ROOT "/tmp/weir-no-such-folder/savepoints"

static bool is_inside(const char *path)
{
    return strncmp(path, ROOT, strlen(ROOT)) == 0 && strstr(path, "/../") == NULL;
}

static void aim_at(const char *target)
{
    char path[1024];
    struct weir_error error = { .code = WEIR_OK };
    const enum weir_code code = savepoint_target(ROOT, target, path, sizeof path, &error);
    CHECK(code == WEIR_OK ? is_inside(path) : error.code == code && error.text[0] != '\0');
}

static void look(const struct weir_json_line *line, const char *begin, const char *end)
{
    for (size_t i = 0; i < line->count; i++) {
        const struct weir_json_field *field = &line->fields[i];
        char name[64];
        CHECK(field->name.data >= begin && field->name.data + field->name.size <= end);
        if (field->name.size < sizeof name && memchr(field->name.data, '\0', field->name.size) == NULL) {
            memcpy(name, field->name.data, field->name.size);
            name[field->name.size] = '\0';
            CHECK(weir_json_find(line, name).type != WEIR_JSON_ABSENT);
        }
        if (field->value.type != WEIR_JSON_BYTES) continue;
        char *target = strndup(field->value.bytes.data, field->value.bytes.size);
        CHECK(target != NULL);
        aim_at(target);
        free(target);
    }
}

/* In memory of its own, so that a byte too far is found. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_json_line line;
    char *body = malloc(size + 1), *whole = strndup((const char *)data, size);
    CHECK(body != NULL && whole != NULL);
    memcpy(body, data, size);
    body[size] = '\0';
    if (weir_json_read(&line, body, size) == NULL) look(&line, body, body + size);
    aim_at(whole);
    free(whole);
    free(body);
    return 0;
}

const char *const fuzz_corpus[] = {
    "{\"target-directory\":\"before-upgrade\",\"cancel-job\":false}",
    "{\"targetDirectory\":\"/tmp/weir-no-such-folder/savepoints/a\",\"savepoint\":true}",
    "{\"parallelism\":4}",
    "{\"checkpointType\":\"CONFIGURED\", \"x\":{\"y\":[1,2,{\"z\":null}]}}",
    "{\"key\":{\"hex\":\"00ff\"},\"value\":-1.5e-3,\"a\":\"\\u00e4\\ud83d\\ude00\\n\\\"\"}",
    "../../etc/passwd",
    "a/./b//c/../../..",
    " { } ",
    NULL,
};

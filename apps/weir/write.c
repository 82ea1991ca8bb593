/* weir state write: a savepoint out of lines of JSON, as `weir state ls` and `dump` print them. */
#include "write.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verbs.h"
#include "weir/json.h"
#include "weir/savepoint.h"

struct declared {
    char *operator_name, *name;
    enum weir_codec codec;
};

struct writing {
    weir_savepoint_writer *writer;
    struct declared *states;
    size_t state_count, state_capacity;
    struct weir_error error;
};

static enum weir_code wrong(struct writing *writing, const char *problem)
{
    return weir_error_set(&writing->error, WEIR_USAGE, WEIR_REMEDY_STOP, "%s", problem);
}

/* ---- Declarations ------------------------------------------------------------------------------------------------ */

static char *text_of(struct weir_json_value value)
{
    if (value.type != WEIR_JSON_BYTES || memchr(value.bytes.data, '\0', value.bytes.size) != NULL) return NULL;
    return strndup(value.bytes.data, value.bytes.size);
}

static bool number_of(struct weir_json_value value, int64_t number_max, int64_t *number)
{
    *number = 0;
    if (value.type == WEIR_JSON_ABSENT) return true;
    return value.type == WEIR_JSON_NUMBER && weir_bytes_to_i64(value.bytes, number) && *number >= 0 && *number <= number_max;
}

static bool kind_of(struct weir_json_value value, enum weir_state_kind *kind)
{
    for (int i = 0; i <= WEIR_STATE_BROADCAST; i++) {
        *kind = (enum weir_state_kind)i;
        if (weir_bytes_equal(value.bytes, weir_text(weir_state_kind_name(*kind)))) return true;
    }
    return false;
}

static bool codec_of(struct weir_json_value value, enum weir_codec *codec)
{
    for (int i = 0; i <= WEIR_OBJECT; i++) {
        *codec = (enum weir_codec)i;
        if (weir_bytes_equal(value.bytes, weir_text(weir_codec_name(*codec)))) return true;
    }
    return false;
}

static bool keep_declared(struct writing *writing, char *operator_name, char *name, enum weir_codec codec)
{
    if (writing->state_count == writing->state_capacity) {
        const size_t capacity = writing->state_capacity * 2 + 8;
        struct declared *grown = realloc(writing->states, capacity * sizeof *grown);
        if (grown == NULL) return false;
        writing->states = grown;
        writing->state_capacity = capacity;
    }
    writing->states[writing->state_count++] = (struct declared){ operator_name, name, codec };
    return true;
}

static enum weir_code declare(struct writing *writing, const struct weir_json_line *line)
{
    struct weir_inspect_state state = { .object = "" };
    int64_t version, size;
    char *operator_name = text_of(weir_json_find(line, "operator")), *name = text_of(weir_json_find(line, "state"));
    char *object = text_of(weir_json_find(line, "object"));
    enum weir_code code = WEIR_OK;
    if (operator_name == NULL || name == NULL || !kind_of(weir_json_find(line, "kind"), &state.kind) ||
        !codec_of(weir_json_find(line, "codec"), &state.codec) ||
        !number_of(weir_json_find(line, "version"), UINT32_MAX, &version) ||
        !number_of(weir_json_find(line, "size"), UINT32_MAX, &size)) {
        code = wrong(writing, "a declaration needs operator, state, kind and codec, and may have version, size and object");
    } else {
        state.operator_name = operator_name;
        state.name = name;
        state.version = (uint32_t)version;
        state.value_size_bytes = (uint32_t)size;
        if (object != NULL) state.object = object;
        code = weir_savepoint_declare(writing->writer, &state, &writing->error);
    }
    free(object);
    if (code == WEIR_OK && keep_declared(writing, operator_name, name, state.codec)) return WEIR_OK;
    free(operator_name);
    free(name);
    return code == WEIR_OK ? weir_error_set(&writing->error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory") : code;
}

/* ---- Entries ----------------------------------------------------------------------------------------------------- */

static size_t find_state(const struct writing *writing, struct weir_bytes operator_name, struct weir_bytes name)
{
    for (size_t i = 0; i < writing->state_count; i++)
        if (weir_bytes_equal(operator_name, weir_text(writing->states[i].operator_name)) &&
            weir_bytes_equal(name, weir_text(writing->states[i].name)))
            return i;
    return SIZE_MAX;
}

static struct weir_bytes bytes_of(struct weir_json_value value)
{
    if (value.type == WEIR_JSON_BYTES) return value.bytes;
    return value.type == WEIR_JSON_NULL ? WEIR_NULL : (struct weir_bytes){ 0 };
}

/* A number of a codec that has numbers, into `room`. */
static bool read_number(enum weir_codec codec, struct weir_json_value value, char room[8])
{
    int64_t integer;
    double real;
    char text[64], *end;
    if (codec == WEIR_I64) {
        if (!weir_bytes_to_i64(value.bytes, &integer)) return false;
        memcpy(room, &integer, 8);
        return true;
    }
    if (value.bytes.size >= sizeof text) return false;
    (void)snprintf(text, sizeof text, "%.*s", (int)value.bytes.size, value.bytes.data);
    errno = 0;
    real = strtod(text, &end);
    memcpy(room, &real, 8);
    return *end == '\0' && errno == 0;
}

static enum weir_code put(struct writing *writing, const struct weir_json_line *line)
{
    char room[8];
    const struct weir_json_value value = weir_json_find(line, "value");
    struct weir_inspect_entry entry = {
        .state = find_state(writing, weir_json_find(line, "operator").bytes, weir_json_find(line, "state").bytes),
        .key = bytes_of(weir_json_find(line, "key")), .name_space = bytes_of(weir_json_find(line, "name_space")),
        .element = bytes_of(weir_json_find(line, "element")), .value = bytes_of(value) };
    if (entry.state == SIZE_MAX) return wrong(writing, "no line before has declared this state of this operator");
    if (weir_json_find(line, "value_version").type != WEIR_JSON_ABSENT)
        return wrong(writing, "a value of an older version of its codec: give it in the declared one");
    const enum weir_codec codec = writing->states[entry.state].codec;
    if (value.type == WEIR_JSON_NUMBER) {
        const bool has_numbers = codec == WEIR_I64 || codec == WEIR_F64;
        if (has_numbers && !read_number(codec, value, room)) return wrong(writing, "a number that the codec cannot hold");
        entry.value = has_numbers ? (struct weir_bytes){ room, sizeof room } : value.bytes;
    }
    return weir_savepoint_put(writing->writer, &entry, &writing->error);
}

static enum weir_code take_line(struct writing *writing, char *text, size_t size)
{
    struct weir_json_line line;
    const char *problem = weir_json_read(&line, text, size);
    if (problem != NULL) return wrong(writing, problem);
    return weir_json_find(&line, "kind").type != WEIR_JSON_ABSENT ? declare(writing, &line) : put(writing, &line);
}

static enum weir_code take_lines(struct writing *writing, FILE *file)
{
    char *line = NULL;
    size_t capacity = 0;
    enum weir_code code = WEIR_OK;
    uint64_t number = 1;
    for (ssize_t size; code == WEIR_OK && (size = getline(&line, &capacity, file)) >= 0; number++) {
        if ((size_t)size == strspn(line, " \t\r\n")) continue;
        code = take_line(writing, line, (size_t)size);
        if (code != WEIR_OK) (void)weir_error_wrap(&writing->error, "line %" PRIu64, number);
    }
    if (code == WEIR_OK && ferror(file) != 0)
        code = weir_error_set(&writing->error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "the lines cannot be read");
    free(line);
    return code;
}

/* ---- The command ------------------------------------------------------------------------------------------------- */

static int write_from(const struct weir_savepoint_writer_options *options, FILE *file)
{
    struct writing writing = { .writer = NULL };
    const char *path;
    enum weir_code code = weir_savepoint_writer_create_(options, &writing.writer, &writing.error);
    if (code == WEIR_OK) code = take_lines(&writing, file);
    if (code == WEIR_OK) code = weir_savepoint_finish(writing.writer, &path, &writing.error);
    if (code == WEIR_OK) (void)puts(path);
    for (size_t i = 0; i < writing.state_count; i++) {
        free(writing.states[i].operator_name);
        free(writing.states[i].name);
    }
    free(writing.states);
    weir_savepoint_writer_destroy(writing.writer);
    return verb_finish(code, &writing.error);
}

static bool parse_groups(const char *text, uint32_t *groups)
{
    char *end;
    const unsigned long number = strtoul(text, &end, 10);
    *groups = (uint32_t)number;
    return text[0] >= '1' && text[0] <= '9' && *end == '\0' && number <= 32768;
}

int state_write(int argc, char **argv)
{
    struct weir_savepoint_writer_options options = { .size = sizeof options };
    const char *path = NULL;
    for (int i = 2; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--job") == 0 && value[0] != '\0') {
            options.job = argv[++i];
        } else if (strcmp(argv[i], "--max-parallelism") == 0 && parse_groups(value, &options.max_parallelism)) {
            i++;
        } else if (argv[i][0] == '-' && argv[i][1] != '\0') {
            return verb_not_understood(&verb_state, argv[i]);
        } else if (options.directory == NULL) {
            options.directory = argv[i];
        } else if (path == NULL) {
            path = argv[i];
        } else {
            return verb_complain(&verb_state, "one too many", argv[i]);
        }
    }
    if (options.directory == NULL || options.job == NULL)
        return verb_complain(&verb_state, "name a directory for the savepoint, and the job with --job", "");
    const bool is_input = path == NULL || strcmp(path, "-") == 0;
    FILE *file = is_input ? stdin : fopen(path, "re");
    if (file == NULL) {
        (void)fprintf(stderr, "weir: %s: %s\n", path, strerror(errno));
        return weir_code_exit_status(WEIR_ENVIRONMENT);
    }
    const int status = write_from(&options, file);
    if (!is_input) (void)fclose(file);
    return status;
}

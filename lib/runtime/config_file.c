#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "runtime/config_private.h"

#define YAML_DEPTH_MAX 16
#define YAML_KEY_MAX 512

/* Walks the events of one YAML document: mappings nest, their keys join with dots, scalars become values. */
struct yaml_walk {
    weir_config *config;
    enum weir_config_rank rank;
    const char *path; /* or what else errors call it */
    char key[YAML_KEY_MAX];
    size_t key_size[YAML_DEPTH_MAX + 1]; /* of the prefix at each depth */
    int depth;
    bool have_key;
    struct weir_error *error;
};

static enum weir_code WEIR_PRINTF(3, 4)
    yaml_refuse(const struct yaml_walk *walk, const yaml_mark_t mark, const char *format, ...)
{
    char what[YAML_KEY_MAX + 256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    return weir_error_set(walk->error, WEIR_USAGE, WEIR_REMEDY_STOP, "%s:%zu: %s", walk->path, mark.line + 1, what);
}

static enum weir_code yaml_key(struct yaml_walk *walk, const yaml_event_t *event)
{
    size_t at = walk->key_size[walk->depth];
    const size_t size = event->data.scalar.length;
    if (memchr(event->data.scalar.value, '\0', size) != NULL)
        return yaml_refuse(walk, event->start_mark, "a key holds a zero byte");
    if (at + size + 2 > YAML_KEY_MAX) return yaml_refuse(walk, event->start_mark, "the key is too long");
    if (at > 0) walk->key[at++] = '.';
    memcpy(walk->key + at, event->data.scalar.value, size);
    walk->key[at + size] = '\0';
    walk->have_key = true;
    return WEIR_OK;
}

/* YAML forbids the same key twice; of two lines that differ, one would be lost without a word. */
static const struct config_entry *yaml_earlier(const struct yaml_walk *walk)
{
    const size_t size = strlen(walk->path);
    const struct config_entry *entry = config_find_entry(walk->config, config_resolve_alias(walk->key), walk->rank);
    if (entry == NULL || strncmp(entry->origin, walk->path, size) != 0 || entry->origin[size] != ':') return NULL;
    return entry;
}

static enum weir_code yaml_value(struct yaml_walk *walk, const yaml_event_t *event)
{
    char origin[PATH_MAX + 32];
    const char *value = (const char *)event->data.scalar.value;
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && (value[0] == '\0' || strcmp(value, "~") == 0))
        return yaml_refuse(walk, event->start_mark, "the key '%s' has no value", walk->key);
    if (strlen(value) != event->data.scalar.length)
        return yaml_refuse(walk, event->start_mark, "the value of '%s' holds a zero byte", walk->key);
    const struct config_entry *earlier = yaml_earlier(walk);
    if (earlier != NULL)
        return yaml_refuse(walk, event->start_mark, "the key '%s' stands twice; it has a value in %s", walk->key,
                           earlier->origin);
    snprintf(origin, sizeof(origin), "%s:%zu", walk->path, event->start_mark.line + 1);
    walk->have_key = false;
    return weir_config_set(walk->config, walk->rank, walk->key, value, origin, walk->error);
}

static enum weir_code yaml_step(struct yaml_walk *walk, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_MAPPING_START_EVENT:
        if (walk->depth > 0 && !walk->have_key)
            return yaml_refuse(walk, event->start_mark, "a value stands where a key is expected");
        if (walk->depth == YAML_DEPTH_MAX) return yaml_refuse(walk, event->start_mark, "the keys nest too deep");
        walk->key_size[walk->depth + 1] = walk->depth == 0 ? 0 : strlen(walk->key);
        walk->depth++;
        walk->have_key = false;
        return WEIR_OK;
    case YAML_MAPPING_END_EVENT:
        walk->depth--;
        return WEIR_OK;
    case YAML_SCALAR_EVENT:
        if (walk->depth == 0) /* an empty document is an empty scalar */
            return event->data.scalar.length == 0 ? WEIR_OK
                                                  : yaml_refuse(walk, event->start_mark, "expected 'key: value'");
        return walk->have_key ? yaml_value(walk, event) : yaml_key(walk, event);
    case YAML_SEQUENCE_START_EVENT:
        return yaml_refuse(walk, event->start_mark, "lists are not used here; write one text");
    case YAML_ALIAS_EVENT: return yaml_refuse(walk, event->start_mark, "aliases are not used here");
    default: return WEIR_OK;
    }
}

static enum weir_code refuse_syntax(const struct yaml_walk *walk, const yaml_parser_t *parser)
{
    const char *problem = parser->problem != NULL ? parser->problem : "?";
    const bool may_be_tab = strstr(problem, "cannot start any token") != NULL;
    return yaml_refuse(walk, parser->problem_mark, "not YAML: %s%s", problem,
                       may_be_tab ? " (such as a tab: YAML is indented with spaces)" : "");
}

static enum weir_code yaml_walk_all(struct yaml_walk *walk, yaml_parser_t *parser)
{
    for (bool ended = false; !ended;) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event))
            return refuse_syntax(walk, parser);
        ended = event.type == YAML_STREAM_END_EVENT;
        const enum weir_code code = yaml_step(walk, &event);
        yaml_event_delete(&event);
        if (code != WEIR_OK) return code;
    }
    return WEIR_OK;
}

/* From `file`, or from `text` when it is NULL. */
static enum weir_code load(struct yaml_walk *walk, FILE *file, const char *text)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return weir_error_set(walk->error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory to read '%s'", walk->path);
    if (file != NULL) yaml_parser_set_input_file(&parser, file);
    else yaml_parser_set_input_string(&parser, (const unsigned char *)text, strlen(text));
    const enum weir_code code = yaml_walk_all(walk, &parser);
    yaml_parser_delete(&parser);
    return code;
}

enum weir_code weir_config_load_text(weir_config *config, enum weir_config_rank rank, const char *text,
                                     const char *origin, struct weir_error *error)
{
    return load(&(struct yaml_walk){ .config = config, .rank = rank, .path = origin, .error = error }, NULL, text);
}

/* It can be opened, and only reading fails. */
static bool is_directory(FILE *file)
{
    struct stat status;
    return fstat(fileno(file), &status) == 0 && S_ISDIR(status.st_mode);
}

enum weir_code weir_config_load(weir_config *config, enum weir_config_rank rank, const char *path,
                                struct weir_error *error)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL || is_directory(file)) {
        (void)weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "the configuration file '%s' cannot be read: %s", path,
                             strerror(file == NULL ? errno : EISDIR));
        if (file != NULL) fclose(file);
        return WEIR_USAGE;
    }
    struct yaml_walk walk = { .config = config, .rank = rank, .path = path, .error = error };
    const enum weir_code code = load(&walk, file, NULL);
    fclose(file);
    return code;
}

#define SITE_FILE "/etc/weir/weir.yaml"

enum weir_code weir_config_load_site(weir_config *config, struct weir_error *error)
{
    const char *named = getenv("WEIR_SITE_CONFIG"), *properties = getenv("WEIR_PROPERTIES");
    const char *path = named != NULL ? named : SITE_FILE;
    enum weir_code code = WEIR_OK;
    if (named != NULL || access(path, F_OK) == 0) code = weir_config_load(config, WEIR_CONFIG_SITE, path, error);
    if (code == WEIR_OK && properties != NULL)
        code = weir_config_load_text(config, WEIR_CONFIG_ENVIRONMENT, properties, "WEIR_PROPERTIES", error);
    return code;
}

/* ---- Properties ---------------------------------------------------------------------------------------------------- */

static char *trim(char *text)
{
    text += strspn(text, " \t\r\n");
    size_t size = strlen(text);
    while (size > 0 && strchr(" \t\r\n", text[size - 1]) != NULL) text[--size] = '\0';
    return text;
}

static enum weir_code take_property(weir_config *config, enum weir_config_rank rank, char *line, const char *origin,
                                    struct weir_error *error)
{
    char key[300];
    if (*line == '\0' || *line == '#' || *line == '!') return WEIR_OK;
    char *equals = strchr(line, '=');
    if (equals == NULL || equals == line) /* the line itself is not shown: it may be a password */
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "%s: expected NAME=VALUE", origin);
    *equals = '\0';
    (void)snprintf(key, sizeof(key), "kafka.%s", trim(line));
    return weir_config_set(config, rank, key, trim(equals + 1), origin, error);
}

enum weir_code weir_config_load_properties(weir_config *config, enum weir_config_rank rank, const char *path,
                                           struct weir_error *error)
{
    char line[8192], origin[PATH_MAX + 32];
    enum weir_code code = WEIR_OK;
    FILE *file = fopen(path, "re");
    for (int number = 1; file != NULL && code == WEIR_OK && fgets(line, sizeof(line), file) != NULL; number++) {
        (void)snprintf(origin, sizeof(origin), "%s:%d", path, number);
        code = strlen(line) + 1 == sizeof(line)
                   ? weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "%s: the line is too long", origin)
                   : take_property(config, rank, trim(line), origin, error);
    }
    if (file == NULL || (code == WEIR_OK && ferror(file)))
        code = weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "the properties file '%s' cannot be read: %s", path,
                              strerror(errno));
    if (file != NULL) fclose(file);
    return code;
}

/* ---- Secrets ------------------------------------------------------------------------------------------------------- */

static enum weir_code refuse_secret(const char *key, const char *path, const char *origin, const char *why,
                                    struct weir_error *error)
{
    return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "%s: the file '%s' for '%.100s': %s", origin, path, key, why);
}

enum weir_code config_read_secret(const char *key, const char *name, const char *origin, char path[static PATH_MAX],
                                  char secret[static CONFIG_SECRET_MAX], struct weir_error *error)
{
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    const bool is_credential = credentials != NULL && name[0] != '/';
    const int size = snprintf(path, PATH_MAX, "%s%s%s", is_credential ? credentials : "", is_credential ? "/" : "",
                              name);
    if (size < 0 || size >= PATH_MAX) return refuse_secret(key, name, origin, "the path is too long", error);
    FILE *file = fopen(path, "rbe");
    if (file == NULL) return refuse_secret(key, path, origin, strerror(errno), error);
    size_t count = fread(secret, 1, CONFIG_SECRET_MAX, file);
    const bool failed = ferror(file) != 0;
    fclose(file);
    if (failed) return refuse_secret(key, path, origin, "it cannot be read", error);
    if (count == CONFIG_SECRET_MAX) return refuse_secret(key, path, origin, "it is too long", error);
    if (count > 0 && secret[count - 1] == '\n') count--;
    if (count > 0 && secret[count - 1] == '\r') count--;
    if (count == 0) return refuse_secret(key, path, origin, "it is empty", error);
    if (memchr(secret, '\0', count) != NULL) return refuse_secret(key, path, origin, "it holds a zero byte", error);
    secret[count] = '\0';
    return WEIR_OK;
}

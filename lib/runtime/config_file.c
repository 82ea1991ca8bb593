#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "runtime/config_private.h"

#define YAML_DEPTH_MAX 16
#define YAML_KEY_MAX 512

/* Walks the events of one YAML document: mappings nest, their keys join with dots, scalars become values. */
struct yaml_walk {
    weir_config *config;
    const char *path;
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
    const struct config_entry *entry = config_find_entry(walk->config, config_resolve_alias(walk->key), WEIR_CONFIG_FILE);
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
    return weir_config_set(walk->config, WEIR_CONFIG_FILE, walk->key, value, origin, walk->error);
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

static enum weir_code yaml_walk_all(struct yaml_walk *walk, yaml_parser_t *parser)
{
    for (bool ended = false; !ended;) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event))
            return yaml_refuse(walk, parser->problem_mark, "not YAML: %s", parser->problem != NULL ? parser->problem : "?");
        ended = event.type == YAML_STREAM_END_EVENT;
        const enum weir_code code = yaml_step(walk, &event);
        yaml_event_delete(&event);
        if (code != WEIR_OK) return code;
    }
    return WEIR_OK;
}

enum weir_code weir_config_load(weir_config *config, const char *path, struct weir_error *error)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "the configuration file '%s' cannot be read: %s",
                              path, strerror(errno));
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        fclose(file);
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory to read '%s'", path);
    }
    yaml_parser_set_input_file(&parser, file);
    struct yaml_walk walk = { .config = config, .path = path, .error = error };
    const enum weir_code code = yaml_walk_all(&walk, &parser);
    yaml_parser_delete(&parser);
    fclose(file);
    return code;
}

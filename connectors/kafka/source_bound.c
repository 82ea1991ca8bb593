#include <stdlib.h>
#include <string.h>

#include "source.h"

/* ---- Bounds ------------------------------------------------------------------------------------------------------ */

static enum weir_code refuse(struct weir_error *error, const char *text, const char *reason)
{
    return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                          "'%s': %s; write earliest, latest, timestamp:MILLISECONDS, group:NAME or "
                          "offsets:TOPIC/PARTITION=OFFSET,...", text, reason);
}

/* The rest of `text` behind `prefix`, or NULL. */
static const char *after(const char *text, const char *prefix)
{
    const size_t size = strlen(prefix);
    return strncmp(text, prefix, size) == 0 ? text + size : NULL;
}

static enum weir_code parse_time(const char *text, const char *number, struct kafka_bound *bound,
                                 struct weir_error *error)
{
    bound->kind = KAFKA_TIMESTAMP;
    if (weir_bytes_to_i64(weir_text(number), &bound->time_ms) && bound->time_ms >= 0) return WEIR_OK;
    return refuse(error, text, "the time is no number of milliseconds since 1970");
}

/* Group names may hold commas, so only the two known endings count. */
static enum kafka_bound_kind otherwise_of(const char *ending)
{
    if (strcmp(ending, ",earliest") == 0) return KAFKA_EARLIEST;
    return strcmp(ending, ",latest") == 0 ? KAFKA_LATEST : KAFKA_GROUP;
}

static enum weir_code parse_group(const char *text, const char *name, struct kafka_bound *bound,
                                  struct weir_error *error)
{
    bound->kind = KAFKA_GROUP;
    bound->otherwise = KAFKA_GROUP;
    size_t size = strlen(name);
    const char *comma = strrchr(name, ',');
    if (comma != NULL) bound->otherwise = otherwise_of(comma);
    if (bound->otherwise != KAFKA_GROUP) size = (size_t)(comma - name);
    if (size == 0 || size >= sizeof bound->group) return refuse(error, text, "the group's name is empty or too long");
    memcpy(bound->group, name, size);
    bound->group[size] = '\0';
    return WEIR_OK;
}

/* "TOPIC/PARTITION=OFFSET"; changes `item`. */
static bool parse_offset(char *item, struct weir_split *split)
{
    char topic[KAFKA_TOPIC_SIZE];
    int32_t partition;
    char *equals = strchr(item, '=');
    if (equals == NULL) return false;
    *equals = '\0';
    *split = (struct weir_split){ .name = item, .identity = "", .end = WEIR_POSITION_NONE };
    return kafka_split_parse(item, topic, &partition) && weir_bytes_to_i64(weir_text(equals + 1), &split->position) &&
           split->position >= 0;
}

static enum weir_code parse_offset_list(const char *text, char *list, struct weir_splits *offsets,
                                        struct weir_error *error)
{
    for (char *item; (item = strsep(&list, ",")) != NULL;) {
        struct weir_split split;
        if (!parse_offset(item, &split)) return refuse(error, text, "an offset is not TOPIC/PARTITION=NUMBER");
        if (weir_splits_find(offsets, split.name) != NULL) return refuse(error, text, "a partition occurs twice");
        if (!weir_splits_add(offsets, &split))
            return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    }
    return WEIR_OK;
}

static enum weir_code parse_offsets(const char *text, const char *list, struct kafka_bound *bound,
                                    struct weir_error *error)
{
    bound->kind = KAFKA_OFFSETS;
    char *copy = strdup(list);
    if (copy == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    const enum weir_code code = parse_offset_list(text, copy, &bound->offsets, error);
    free(copy);
    return code;
}

enum weir_code kafka_bound_parse(const char *text, struct kafka_bound *bound, struct weir_error *error)
{
    *bound = (struct kafka_bound){ .kind = KAFKA_EARLIEST };
    const char *rest;
    if (strcmp(text, "earliest") == 0) return WEIR_OK;
    if (strcmp(text, "latest") == 0) {
        bound->kind = KAFKA_LATEST;
        return WEIR_OK;
    }
    if ((rest = after(text, "timestamp:")) != NULL) return parse_time(text, rest, bound, error);
    if ((rest = after(text, "group:")) != NULL) return parse_group(text, rest, bound, error);
    if ((rest = after(text, "offsets:")) != NULL) return parse_offsets(text, rest, bound, error);
    return refuse(error, text, "this is no position");
}

void kafka_bound_clear(struct kafka_bound *bound)
{
    weir_splits_clear(&bound->offsets);
}

/* ---- Topics ------------------------------------------------------------------------------------------------------ */

static enum weir_code parse_pattern(const char *text, struct kafka_topics *topics, struct weir_error *error)
{
    const int failure = regcomp(&topics->pattern, text, REG_EXTENDED | REG_NOSUB);
    topics->is_pattern = failure == 0;
    topics->with_internal = after(text, "^__") != NULL;
    if (failure == 0) return WEIR_OK;
    char reason[200];
    (void)regerror(failure, &topics->pattern, reason, sizeof reason);
    return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "the pattern of topics '%s' is not valid: %s", text,
                          reason);
}

static bool is_topic_name(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const size_t size = strspn(name, allowed);
    if (name[size] != '\0' || size == 0 || size >= KAFKA_TOPIC_SIZE) return false;
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static bool has_name(const struct kafka_topics *topics, const char *name)
{
    for (size_t i = 0; i < topics->count; i++)
        if (strcmp(topics->names[i], name) == 0) return true;
    return false;
}

static enum weir_code add_name(struct kafka_topics *topics, const char *name, struct weir_error *error)
{
    if (!is_topic_name(name))
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "'%s' cannot be the name of a topic: names have 1 to 249 letters, digits, '.', '_' and "
                              "'-'; a pattern begins with '^'", name);
    if (has_name(topics, name)) return WEIR_OK;
    char **names = realloc(topics->names, (topics->count + 1) * sizeof *names);
    if (names != NULL) topics->names = names;
    char *copy = names == NULL ? NULL : strdup(name);
    if (copy == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    topics->names[topics->count++] = copy;
    return WEIR_OK;
}

enum weir_code kafka_topics_parse(const char *text, struct kafka_topics *topics, struct weir_error *error)
{
    *topics = (struct kafka_topics){ 0 };
    if (text[0] == '^') return parse_pattern(text, topics, error);
    char *copy = strdup(text), *rest = copy;
    if (copy == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    enum weir_code code = WEIR_OK;
    for (char *name; code == WEIR_OK && (name = strsep(&rest, ",")) != NULL;) code = add_name(topics, name, error);
    free(copy);
    return code;
}

bool kafka_topics_match(const struct kafka_topics *topics, const char *name)
{
    if (!topics->is_pattern) return has_name(topics, name);
    if (after(name, "__") != NULL && !topics->with_internal) return false;
    return regexec(&topics->pattern, name, 0, NULL, 0) == 0;
}

void kafka_topics_clear(struct kafka_topics *topics)
{
    if (topics->is_pattern) regfree(&topics->pattern);
    for (size_t i = 0; i < topics->count; i++) free(topics->names[i]);
    free(topics->names);
    *topics = (struct kafka_topics){ 0 };
}

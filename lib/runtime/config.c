#include "runtime/config.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

struct config_entry {
    char *key;
    char *value;
    char *origin;
    enum weir_config_rank rank;
    bool declared; /* a key of the job's own */
};

struct weir_config {
    VEC(struct config_entry) entries; /* at most one for each key and rank */
};

static const struct config_key keys[] = {
#define ROW(key, type, default_value, lowest, highest, choices, sentence)                                              \
    { key, CONFIG_##type, default_value, lowest, highest, choices, sentence },
    CONFIG_KEYS(ROW)
#undef ROW
};
#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

/* Older or other names of the same key. */
static const struct { const char *alias, *key; } aliases[] = {
    { "state.checkpoints.dir", "execution.checkpointing.dir" },
    { "state.checkpoint-storage", "execution.checkpointing.storage" },
    { "state.checkpoints.num-retained", "execution.checkpointing.num-retained" },
    { "execution.state-recovery.ignore-unclaimed-state", "execution.savepoint.ignore-unclaimed-state" },
    { "execution.state-recovery.path", "execution.savepoint.path" },
    { "state.savepoints.dir", "execution.checkpointing.savepoint-dir" },
    { "restart-strategy", "restart-strategy.type" },
    { "state.backend", "state.backend.type" },
    { "state.backend.incremental", "execution.checkpointing.incremental" },
};

const struct config_key *config_key_at(size_t index) { return index < KEY_COUNT ? &keys[index] : NULL; }

static const struct config_key *find_key(const char *name)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strcmp(keys[i].key, name) == 0) return &keys[i];
    return NULL;
}

static const char *resolve_alias(const char *name)
{
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
        if (strcmp(aliases[i].alias, name) == 0) return aliases[i].key;
    return name;
}

/* ---- Values -------------------------------------------------------------------------------------------------------- */

struct unit {
    const char *name;
    int64_t factor;
};

/* Digits, with or without a fraction; stops behind them. Not strtod: that reads "inf" and "0x10" too, and wants a comma in
 * the locale of many a host program. */
static bool parse_decimal(const char **text, double *number)
{
    const char *at = *text;
    bool digits = false;
    double value = 0, place = 1;
    while (isspace((unsigned char)*at)) at++;
    for (; *at >= '0' && *at <= '9'; at++, digits = true) value = value * 10 + (*at - '0');
    if (*at == '.')
        for (at++; *at >= '0' && *at <= '9'; at++, digits = true) value += (*at - '0') * (place /= 10);
    *text = at;
    *number = value;
    return digits;
}

static bool parse_with_unit(const char *text, const struct unit *units, int64_t *number)
{
    double amount;
    if (!parse_decimal(&text, &amount)) return false;
    while (isspace((unsigned char)*text)) text++;
    for (const struct unit *unit = units; unit->name != NULL; unit++) {
        if (strcasecmp(text, unit->name) != 0) continue;
        const double value = amount * (double)unit->factor;
        if (value > 9e18) return false;
        *number = (int64_t)(value + 0.5);
        return true;
    }
    return false;
}

bool config_parse_duration(const char *text, int64_t *ms)
{
    static const struct unit units[] = {
        { "", 1 },           { "ms", 1 },         { "milli", 1 },    { "millis", 1 },    { "s", 1000 },
        { "sec", 1000 },     { "second", 1000 },  { "seconds", 1000 }, { "m", 60000 },   { "min", 60000 },
        { "minute", 60000 }, { "minutes", 60000 }, { "h", 3600000 }, { "hour", 3600000 }, { "hours", 3600000 },
        { "d", 86400000 },   { "day", 86400000 }, { "days", 86400000 }, { NULL, 0 },
    };
    return parse_with_unit(text, units, ms);
}

bool config_parse_size(const char *text, int64_t *bytes)
{
    static const struct unit units[] = {
        { "", 1 },           { "b", 1 },          { "bytes", 1 },    { "k", 1 << 10 },  { "kb", 1 << 10 },
        { "kib", 1 << 10 },  { "m", 1 << 20 },    { "mb", 1 << 20 }, { "mib", 1 << 20 }, { "g", 1 << 30 },
        { "gb", 1 << 30 },   { "gib", 1 << 30 },  { "t", INT64_C(1) << 40 }, { "tb", INT64_C(1) << 40 },
        { "tib", INT64_C(1) << 40 }, { NULL, 0 },
    };
    return parse_with_unit(text, units, bytes);
}

static bool parse_i64(const char *text, int64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoll(text, &end, 10);
    return end != text && *end == '\0' && errno == 0;
}

static bool parse_bool(const char *text, bool *flag)
{
    if (strcasecmp(text, "true") == 0 || strcasecmp(text, "yes") == 0 || strcmp(text, "1") == 0) return *flag = true;
    *flag = false;
    return strcasecmp(text, "false") == 0 || strcasecmp(text, "no") == 0 || strcmp(text, "0") == 0;
}

static bool parse_f64(const char *text, double *number)
{
    return parse_decimal(&text, number) && *text == '\0';
}

/* Compares without case and with '-' equal to '_', as Flink writes its choices both ways. */
static bool choice_matches(const char *choice, size_t size, const char *value)
{
    if (strlen(value) != size) return false;
    for (size_t i = 0; i < size; i++) {
        const char a = choice[i] == '_' ? '-' : (char)tolower((unsigned char)choice[i]);
        const char b = value[i] == '_' ? '-' : (char)tolower((unsigned char)value[i]);
        if (a != b) return false;
    }
    return true;
}

#define CHOICE_MAX 32
#define SUGGESTION_MAX 128

static const char *find_choice(const char *choices, const char *value, size_t *size)
{
    for (const char *at = choices;;) {
        const char *end = strchrnul(at, '|');
        *size = (size_t)(end - at);
        if (choice_matches(at, *size, value)) return at;
        if (*end == '\0') return NULL;
        at = end + 1;
    }
}

static const char *type_example(enum config_type type)
{
    switch (type) {
    case CONFIG_I64: return "a whole number";
    case CONFIG_BOOL: return "true or false";
    case CONFIG_DURATION: return "a duration such as 100ms, 5s or 3 min";
    case CONFIG_SIZE: return "a size such as 64kb, 8mb or 1gb";
    case CONFIG_F64: return "a number";
    case CONFIG_CHOICE: return "one of ";
    case CONFIG_TEXT: break;
    }
    return "a text";
}

/* Where the table names no highest value: what callers can reckon with in nanoseconds, 32 bits and files. */
static int64_t highest_of(const struct config_key *key)
{
    if (key->highest != 0) return key->highest;
    switch (key->type) {
    case CONFIG_DURATION: return INT64_C(100) * 365 * 86400000;
    case CONFIG_SIZE: return INT64_C(1) << 50;
    default: return INT32_MAX;
    }
}

static const char *range_unit(enum config_type type)
{
    return type == CONFIG_DURATION ? " milliseconds" : type == CONFIG_SIZE ? " bytes" : "";
}

static enum weir_code check_range(const struct config_key *key, double number, const char *value, const char *origin,
                                  struct weir_error *error)
{
    if (number >= (double)key->lowest && number <= (double)highest_of(key)) return WEIR_OK;
    return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "%s: %s is '%s', outside of the range from %lld to %lld%s",
                          origin, key->key, value, (long long)key->lowest, (long long)highest_of(key),
                          range_unit(key->type));
}

static enum weir_code check_value(const struct config_key *key, const char *value, const char *origin,
                                  struct weir_error *error)
{
    int64_t number = 0;
    double real = 0;
    bool flag, good = false;
    size_t size;
    switch (key->type) {
    case CONFIG_TEXT: return WEIR_OK;
    case CONFIG_BOOL: good = parse_bool(value, &flag); break;
    case CONFIG_CHOICE: good = find_choice(key->choices, value, &size) != NULL; break;
    case CONFIG_I64: good = parse_i64(value, &number); break;
    case CONFIG_DURATION: good = config_parse_duration(value, &number); break;
    case CONFIG_SIZE: good = config_parse_size(value, &number); break;
    case CONFIG_F64: good = parse_f64(value, &real); break;
    }
    if (!good)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "%s: %s is '%s', but must be %s%s", origin, key->key,
                              value, type_example(key->type), key->choices != NULL ? key->choices : "");
    if (key->type == CONFIG_BOOL || key->type == CONFIG_CHOICE) return WEIR_OK;
    return check_range(key, key->type == CONFIG_F64 ? real : (double)number, value, origin, error);
}

/* ---- Entries ------------------------------------------------------------------------------------------------------- */

weir_config *weir_config_create(void) { return calloc(1, sizeof(weir_config)); }

static void free_entry(struct config_entry *entry)
{
    free(entry->key);
    free(entry->value);
    free(entry->origin);
}

void weir_config_destroy(weir_config *config)
{
    if (config == NULL) return;
    for (size_t i = 0; i < config->entries.count; i++) free_entry(&config->entries.items[i]);
    vec_free(&config->entries);
    free(config);
}

static struct config_entry *find_entry(const weir_config *config, const char *key, enum weir_config_rank rank)
{
    for (size_t i = 0; i < config->entries.count; i++)
        if (config->entries.items[i].rank == rank && strcmp(config->entries.items[i].key, key) == 0)
            return &config->entries.items[i];
    return NULL;
}

static bool put_entry(weir_config *config, enum weir_config_rank rank, const char *key, const char *value,
                      const char *origin, bool declared)
{
    struct config_entry made = { .key = strdup(key), .value = value == NULL ? NULL : strdup(value),
                                 .origin = strdup(origin), .rank = rank, .declared = declared };
    struct config_entry *entry = find_entry(config, key, rank);
    if (made.key == NULL || made.origin == NULL || (value != NULL && made.value == NULL)) goto no_memory;
    if (entry != NULL) {
        made.declared |= entry->declared;
        free_entry(entry);
    } else {
        entry = vec_push(&config->entries);
        if (entry == NULL) goto no_memory;
    }
    *entry = made;
    return true;
no_memory:
    free_entry(&made);
    return false;
}

static bool is_declared(const weir_config *config, const char *key)
{
    const struct config_entry *entry = find_entry(config, key, WEIR_CONFIG_DEFAULT);
    return entry != NULL && entry->declared;
}

/* Keys that librdkafka knows: passed through under this prefix. */
static bool is_passed_through(const char *key) { return strncmp(key, "kafka.", 6) == 0 && key[6] != '\0'; }

static size_t edit_distance(const char *a, const char *b)
{
    size_t row[128];
    const size_t m = strlen(a), n = strlen(b);
    if (n + 1 > sizeof(row) / sizeof(row[0])) return SIZE_MAX;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; i <= m; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            const size_t above = row[j];
            const size_t changed = diagonal + (a[i - 1] != b[j - 1]);
            const size_t shorter = (above < row[j - 1] ? above : row[j - 1]) + 1;
            row[j] = changed < shorter ? changed : shorter;
            diagonal = above;
        }
    }
    return row[n];
}

static void consider_nearest(const char *wanted, const char *key, const char **nearest, size_t *distance)
{
    const size_t d = edit_distance(wanted, key);
    if (d < *distance) *distance = d, *nearest = key;
}

/* "; the nearest known key is 'KEY'", or "" when none is near. */
static void suggest_key(const weir_config *config, const char *wanted, char text[static SUGGESTION_MAX])
{
    const char *nearest = keys[0].key;
    size_t distance = SIZE_MAX;
    for (size_t i = 0; i < KEY_COUNT; i++) consider_nearest(wanted, keys[i].key, &nearest, &distance);
    for (size_t i = 0; i < config->entries.count; i++)
        if (config->entries.items[i].declared)
            consider_nearest(wanted, config->entries.items[i].key, &nearest, &distance);
    text[0] = '\0';
    if (distance <= strlen(wanted) / 2)
        (void)snprintf(text, SUGGESTION_MAX, "; the nearest known key is '%s'", nearest);
}

/* A choice is kept as the table writes it, whatever way the user did: readers compare with strcmp. */
static const char *canonical_value(const struct config_key *key, const char *value, char buffer[static CHOICE_MAX])
{
    size_t size;
    const char *choice = key->type == CONFIG_CHOICE ? find_choice(key->choices, value, &size) : NULL;
    if (choice == NULL) return value;
    CHECK(size < CHOICE_MAX);
    memcpy(buffer, choice, size);
    buffer[size] = '\0';
    return buffer;
}

enum weir_code weir_config_set(weir_config *config, enum weir_config_rank rank, const char *name, const char *value,
                               const char *origin, struct weir_error *error)
{
    const char *key = resolve_alias(name);
    const struct config_key *known = find_key(key);
    if (known == NULL && !is_passed_through(key) && !is_declared(config, key)) {
        char suggestion[SUGGESTION_MAX];
        suggest_key(config, name, suggestion);
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "%s: the key '%.100s' is not known%s", origin, name,
                              suggestion);
    }
    char canonical[CHOICE_MAX];
    if (known != NULL) {
        const enum weir_code code = check_value(known, value, origin, error);
        if (code != WEIR_OK) return code;
        value = canonical_value(known, value, canonical);
    }
    if (!put_entry(config, rank, key, value, origin, false))
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "%s: no memory for the key '%s'", origin, key);
    return WEIR_OK;
}

void weir_config_declare(weir_config *config, const char *key, const char *default_value)
{
    put_entry(config, WEIR_CONFIG_DEFAULT, key, default_value, "default", true);
}

/* ---- Reading ------------------------------------------------------------------------------------------------------- */

const char *weir_config_text(const weir_config *config, const char *name)
{
    const char *key = resolve_alias(name);
    for (int rank = WEIR_CONFIG_COMMAND_LINE; rank >= WEIR_CONFIG_DEFAULT; rank--) {
        const struct config_entry *entry = find_entry(config, key, (enum weir_config_rank)rank);
        if (entry != NULL) return entry->value;
    }
    const struct config_key *known = find_key(key);
    return known == NULL ? NULL : known->default_value;
}

int64_t weir_config_i64(const weir_config *config, const char *key)
{
    int64_t number = 0;
    const char *text = weir_config_text(config, key);
    return text != NULL && parse_i64(text, &number) ? number : 0;
}

bool weir_config_bool(const weir_config *config, const char *key)
{
    bool flag = false;
    const char *text = weir_config_text(config, key);
    return text != NULL && parse_bool(text, &flag) && flag;
}

double config_f64(const weir_config *config, const char *key)
{
    double number = 0;
    const char *text = weir_config_text(config, key);
    return text != NULL && parse_f64(text, &number) ? number : 0;
}

int64_t weir_config_duration_ms(const weir_config *config, const char *key)
{
    int64_t ms = 0;
    const char *text = weir_config_text(config, key);
    return text != NULL && config_parse_duration(text, &ms) ? ms : 0;
}

int64_t weir_config_size_bytes(const weir_config *config, const char *key)
{
    int64_t bytes = 0;
    const char *text = weir_config_text(config, key);
    return text != NULL && config_parse_size(text, &bytes) ? bytes : 0;
}

void weir_config_each(const weir_config *config, const char *prefix,
                      void (*each)(void *user, const char *key, const char *value), void *user)
{
    const size_t size = strlen(prefix);
    for (int rank = WEIR_CONFIG_DEFAULT; rank <= WEIR_CONFIG_COMMAND_LINE; rank++)
        for (size_t i = 0; i < config->entries.count; i++) {
            const struct config_entry *entry = &config->entries.items[i];
            if ((int)entry->rank == rank && entry->value != NULL && strncmp(entry->key, prefix, size) == 0)
                each(user, entry->key + size, entry->value);
        }
}

/* ---- Files --------------------------------------------------------------------------------------------------------- */

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
    const struct config_entry *entry = find_entry(walk->config, resolve_alias(walk->key), WEIR_CONFIG_FILE);
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

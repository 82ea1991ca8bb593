#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/config_private.h"

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
    { "execution.checkpointing.unaligned", "execution.checkpointing.unaligned.enabled" },
    { "execution.checkpointing.alignment-timeout", "execution.checkpointing.aligned-checkpoint-timeout" },
    { "execution.state-recovery.path", "execution.savepoint.path" },
    { "state.savepoints.dir", "execution.checkpointing.savepoint-dir" },
    { "restart-strategy", "restart-strategy.type" },
    { "state.backend", "state.backend.type" },
    { "state.backend.incremental", "execution.checkpointing.incremental" },
};

bool weir_config_key_at(size_t index, struct weir_config_key *key)
{
    static const char *const types[] = { "text", "number", "true or false", "duration", "size", "choice", "number" };
    if (index >= KEY_COUNT) return false;
    const struct config_key *known = &keys[index];
    const bool has_range = known->type == CONFIG_I64 || known->type == CONFIG_DURATION || known->type == CONFIG_SIZE ||
                           known->type == CONFIG_F64;
    *key = (struct weir_config_key){ .name = known->key, .type = types[known->type], .choices = known->choices,
                                     .default_value = known->default_value, .lowest = known->lowest,
                                     .highest = has_range ? config_highest_of(known) : 0,
                                     .sentence = known->sentence };
    return true;
}

static const struct config_key *find_key(const char *name)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strcmp(keys[i].key, name) == 0) return &keys[i];
    return NULL;
}

const char *config_resolve_alias(const char *name)
{
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
        if (strcmp(aliases[i].alias, name) == 0) return aliases[i].key;
    return name;
}

/* ---- Entries ------------------------------------------------------------------------------------------------------- */

weir_config *weir_config_create(void) { return calloc(1, sizeof(weir_config)); }

static void free_entry(struct config_entry *entry)
{
    free(entry->key);
    free(entry->value);
    free(entry->file);
    free(entry->origin);
}

void weir_config_destroy(weir_config *config)
{
    if (config == NULL) return;
    for (size_t i = 0; i < config->entries.count; i++) free_entry(&config->entries.items[i]);
    vec_free(&config->entries);
    free(config);
}

struct config_entry *config_find_entry(const weir_config *config, const char *key, enum weir_config_rank rank)
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
    struct config_entry *entry = config_find_entry(config, key, rank);
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
    const struct config_entry *entry = config_find_entry(config, key, WEIR_CONFIG_DEFAULT);
    return entry != NULL && entry->declared;
}

/* Keys that librdkafka knows: passed through under this prefix. */
static bool is_passed_through(const char *key) { return strncmp(key, "kafka.", 6) == 0 && key[6] != '\0'; }

#define SUGGESTION_MAX 200
#define SECRET_KEY_MAX 256

/* "; the nearest known key is 'KEY'", or "" when none is near. */
static void suggest_key(const weir_config *config, const char *wanted, char text[static SUGGESTION_MAX])
{
    struct weir_nearest nearest = { .wanted = wanted };
    const char *longer = NULL; /* where a colon is missing in YAML, what would be nested is a text */
    for (size_t i = 0; i < KEY_COUNT; i++) {
        weir_nearest_consider(&nearest, keys[i].key);
        if (strncmp(keys[i].key, wanted, strlen(wanted)) == 0 && keys[i].key[strlen(wanted)] == '.') longer = keys[i].key;
    }
    for (size_t i = 0; i < config->entries.count; i++)
        if (config->entries.items[i].declared) weir_nearest_consider(&nearest, config->entries.items[i].key);
    text[0] = '\0';
    if (longer != NULL)
        (void)snprintf(text, SUGGESTION_MAX, " and only begins others, such as '%s'; in YAML: is a ':' missing below it?",
                       longer);
    else if (nearest.word != NULL)
        (void)snprintf(text, SUGGESTION_MAX, "; the nearest known key is '%s'", nearest.word);
}

/* The part of KEY.file before ".file", when that is a secret. Some keys of librdkafka end so by themselves. */
static bool names_secret_file(const char *name, char key[static SECRET_KEY_MAX])
{
    const size_t size = strlen(name);
    if (size <= 5 || size >= SECRET_KEY_MAX || strcmp(name + size - 5, ".file") != 0) return false;
    if (strstr(name, "sasl.oauthbearer.assertion.") != NULL) return false;
    memcpy(key, name, size - 5);
    key[size - 5] = '\0';
    return weir_config_is_secret(key);
}

static enum weir_code set(weir_config *config, enum weir_config_rank rank, const char *name, const char *value,
                          const char *origin, struct weir_error *error)
{
    const char *key = config_resolve_alias(name);
    const struct config_key *known = find_key(key);
    if (known == NULL && !is_passed_through(key) && !is_declared(config, key)) {
        char suggestion[SUGGESTION_MAX];
        suggest_key(config, name, suggestion);
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "%s: the key '%.100s' is not known%s", origin, name,
                              suggestion);
    }
    char canonical[CONFIG_CHOICE_MAX];
    if (known != NULL) {
        const enum weir_code code = config_check_value(known, value, origin, error);
        if (code != WEIR_OK) return code;
        value = config_canonical_value(known, value, canonical);
    }
    if (!put_entry(config, rank, key, value, origin, false))
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "%s: no memory for the key '%s'", origin, key);
    return WEIR_OK;
}

static enum weir_code note_file(weir_config *config, enum weir_config_rank rank, const char *name, const char *path,
                                struct weir_error *error)
{
    struct config_entry *entry = config_find_entry(config, config_resolve_alias(name), rank);
    entry->file = strdup(path);
    return entry->file != NULL ? WEIR_OK
                               : weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory for the path '%s'", path);
}

enum weir_code weir_config_set(weir_config *config, enum weir_config_rank rank, const char *name, const char *value,
                               const char *origin, struct weir_error *error)
{
    char key[SECRET_KEY_MAX];
    if (!names_secret_file(name, key)) return set(config, rank, name, value, origin, error);
    char secret[CONFIG_SECRET_MAX], path[PATH_MAX];
    enum weir_code code = config_read_secret(key, value, origin, path, secret, error);
    if (code == WEIR_OK) code = set(config, rank, key, secret, origin, error);
    if (code == WEIR_OK) code = note_file(config, rank, key, path, error);
    explicit_bzero(secret, sizeof(secret));
    return code;
}

enum weir_code weir_config_set_pair(weir_config *config, enum weir_config_rank rank, const char *pair,
                                    const char *origin, struct weir_error *error)
{
    char key[SECRET_KEY_MAX];
    const char *equals = strchr(pair, '=');
    const size_t size = equals == NULL ? 0 : (size_t)(equals - pair);
    if (size == 0 || size >= sizeof(key))
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "%s takes key=value, not '%.*s'", origin,
                              (int)strcspn(pair, "="), pair);
    memcpy(key, pair, size);
    key[size] = '\0';
    return weir_config_set(config, rank, key, equals + 1, origin, error);
}

void weir_config_declare(weir_config *config, const char *key, const char *default_value)
{
    put_entry(config, WEIR_CONFIG_DEFAULT, key, default_value, "default", true);
}

/* ---- Reading ------------------------------------------------------------------------------------------------------- */

/* Of the highest rank; NULL when nobody has set it. */
static const struct config_entry *top_entry(const weir_config *config, const char *key)
{
    for (int rank = WEIR_CONFIG_COMMAND_LINE; rank >= WEIR_CONFIG_DEFAULT; rank--) {
        const struct config_entry *entry = config_find_entry(config, key, (enum weir_config_rank)rank);
        if (entry != NULL) return entry;
    }
    return NULL;
}

const char *weir_config_file(const weir_config *config, const char *name)
{
    const struct config_entry *entry = top_entry(config, config_resolve_alias(name));
    return entry == NULL ? NULL : entry->file;
}

const char *weir_config_text(const weir_config *config, const char *name)
{
    const char *key = config_resolve_alias(name);
    const struct config_entry *entry = top_entry(config, key);
    if (entry != NULL) return entry->value;
    const struct config_key *known = find_key(key);
    return known == NULL ? NULL : known->default_value;
}

int64_t weir_config_i64(const weir_config *config, const char *key)
{
    int64_t number = 0;
    const char *text = weir_config_text(config, key);
    return text != NULL && config_parse_i64(text, &number) ? number : 0;
}

bool weir_config_bool(const weir_config *config, const char *key)
{
    bool flag = false;
    const char *text = weir_config_text(config, key);
    return text != NULL && config_parse_bool(text, &flag) && flag;
}

double config_f64(const weir_config *config, const char *key)
{
    double number = 0;
    const char *text = weir_config_text(config, key);
    return text != NULL && config_parse_f64(text, &number) ? number : 0;
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

typedef void value_fn(void *user, const struct weir_config_value *value);

/* Of a URL: what stands in front of the '@'. */
static bool has_userinfo(const char *value)
{
    const char *authority = strstr(value, "://");
    if (authority == NULL) return false;
    authority += 3;
    return authority[strcspn(authority, "@/?#")] == '@';
}

static void hand_value(const char *key, const char *value, const char *origin, bool is_default, value_fn *each, void *user)
{
    if (value == NULL) return;
    const bool is_secret = weir_config_is_secret(key) || has_userinfo(value);
    each(user, &(struct weir_config_value){ .key = key, .value = is_secret ? "(secret)" : value, .origin = origin,
                                            .is_secret = is_secret, .is_default = is_default });
}

static void hand_entry(const struct config_entry *entry, value_fn *each, void *user)
{
    hand_value(entry->key, entry->value, entry->origin, entry->rank == WEIR_CONFIG_DEFAULT, each, user);
}

void weir_config_each_value(const weir_config *config, value_fn *each, void *user)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const struct config_entry *entry = top_entry(config, keys[i].key);
        if (entry != NULL) hand_entry(entry, each, user);
        else hand_value(keys[i].key, keys[i].default_value, "default", true, each, user);
    }
    for (size_t i = 0; i < config->entries.count; i++) {
        const struct config_entry *entry = &config->entries.items[i];
        if (find_key(entry->key) == NULL && top_entry(config, entry->key) == entry) hand_entry(entry, each, user);
    }
}

/* What the files of the configuration share.
 *
 *   config.c        the table of keys, entries by rank, the nearest known key
 *   config_value.c  texts to numbers, durations, sizes, choices; what a key allows
 *   config_file.c   YAML, properties, files of secrets */
#ifndef RUNTIME_CONFIG_PRIVATE_H
#define RUNTIME_CONFIG_PRIVATE_H

#include <limits.h>

#include "runtime/config.h"

struct config_entry {
    char *key;
    char *value;
    char *file; /* of KEY.file, else NULL */
    char *origin;
    enum weir_config_rank rank;
    bool declared; /* a key of the job's own */
};

struct weir_config {
    VEC(struct config_entry) entries; /* at most one for each key and rank */
};

struct config_entry *config_find_entry(const weir_config *config, const char *key, enum weir_config_rank rank);
const char *config_resolve_alias(const char *name); /* or `name` itself */

bool config_parse_i64(const char *text, int64_t *number);
bool config_parse_bool(const char *text, bool *flag);
bool config_parse_f64(const char *text, double *number);

/* An error names `origin`, the key, the value, and what it must be. */
enum weir_code config_check_value(const struct config_key *key, const char *value, const char *origin,
                                  struct weir_error *error);
int64_t config_highest_of(const struct config_key *key);
#define CONFIG_CHOICE_MAX 32
/* A choice as the table writes it, whatever way the user did: readers compare with strcmp. Others as they are. */
const char *config_canonical_value(const struct config_key *key, const char *value,
                                   char buffer[static CONFIG_CHOICE_MAX]);

#define CONFIG_SECRET_MAX 65536
/* What KEY.file = `name` stands for, and where it was found. */
enum weir_code config_read_secret(const char *key, const char *name, const char *origin, char path[static PATH_MAX],
                                  char secret[static CONFIG_SECRET_MAX], struct weir_error *error);

#endif

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "runtime/config_private.h"

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

bool config_parse_i64(const char *text, int64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoll(text, &end, 10);
    return end != text && *end == '\0' && errno == 0;
}

bool config_parse_bool(const char *text, bool *flag)
{
    if (strcasecmp(text, "true") == 0 || strcasecmp(text, "yes") == 0 || strcmp(text, "1") == 0) return *flag = true;
    *flag = false;
    return strcasecmp(text, "false") == 0 || strcasecmp(text, "no") == 0 || strcmp(text, "0") == 0;
}

bool config_parse_f64(const char *text, double *number)
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

/* What a value of the key looks like in a sentence. */
static const char *shown(const struct config_key *key, const char *value)
{
    return weir_config_is_secret(key->key) ? "(secret)" : value;
}

/* Where the table names no highest value: what callers can reckon with in nanoseconds, 32 bits and files. */
int64_t config_highest_of(const struct config_key *key)
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
    if (number >= (double)key->lowest && number <= (double)config_highest_of(key)) return WEIR_OK;
    return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "%s: %s is '%s', outside of the range from %lld to %lld%s",
                          origin, key->key, shown(key, value), (long long)key->lowest, (long long)config_highest_of(key),
                          range_unit(key->type));
}

enum weir_code config_check_value(const struct config_key *key, const char *value, const char *origin,
                                  struct weir_error *error)
{
    int64_t number = 0;
    double real = 0;
    bool flag, good = false;
    size_t size;
    switch (key->type) {
    case CONFIG_TEXT: return WEIR_OK;
    case CONFIG_BOOL: good = config_parse_bool(value, &flag); break;
    case CONFIG_CHOICE: good = find_choice(key->choices, value, &size) != NULL; break;
    case CONFIG_I64: good = config_parse_i64(value, &number); break;
    case CONFIG_DURATION: good = config_parse_duration(value, &number); break;
    case CONFIG_SIZE: good = config_parse_size(value, &number); break;
    case CONFIG_F64: good = config_parse_f64(value, &real); break;
    }
    if (!good)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "%s: %s is '%s', but must be %s%s", origin, key->key,
                              shown(key, value), type_example(key->type), key->choices != NULL ? key->choices : "");
    if (key->type == CONFIG_BOOL || key->type == CONFIG_CHOICE) return WEIR_OK;
    return check_range(key, key->type == CONFIG_F64 ? real : (double)number, value, origin, error);
}

bool weir_config_is_secret(const char *key)
{
    static const char *const words[] = { "password", "secret", "token", "key", "credential", "jaas" };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcasestr(key, words[i]) != NULL) return true;
    return false;
}

const char *config_canonical_value(const struct config_key *key, const char *value,
                                   char buffer[static CONFIG_CHOICE_MAX])
{
    size_t size;
    const char *choice = key->type == CONFIG_CHOICE ? find_choice(key->choices, value, &size) : NULL;
    if (choice == NULL) return value;
    CHECK(size < CONFIG_CHOICE_MAX);
    memcpy(buffer, choice, size);
    buffer[size] = '\0';
    return buffer;
}

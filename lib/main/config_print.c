#include <string.h>

#include "main/text.h"
#include "weir/main.h"

struct printing {
    FILE *file;
    bool with_defaults, has_value;
};

/* YAML understands it as it stands: a text that begins with a letter, digit or '/', and holds nothing that YAML reads. */
static bool is_plain(const char *value)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    const char *const rest = value + 1;
    if (value[0] == '\0' || (strchr(letters, value[0]) == NULL && value[0] != '/')) return false;
    for (const char *at = rest; *at != '\0'; at++) {
        if (strchr(letters, *at) != NULL || strchr("_./,-+%", *at) != NULL) continue;
        if (*at == ' ' && at[1] != '\0' && at[1] != '#') continue;
        if (*at == ':' && at[1] != '\0' && at[1] != ' ') continue;
        return false;
    }
    return true;
}

/* In double quotes where it must be, so that no control byte reaches a terminal. */
static void print_value(FILE *file, const char *value)
{
    if (is_plain(value)) {
        (void)fputs(value, file);
        return;
    }
    (void)fputc('"', file);
    for (const unsigned char *at = (const unsigned char *)value; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\') (void)fprintf(file, "\\%c", *at);
        else if (*at < ' ' || *at == 0x7f) (void)fprintf(file, "\\x%02x", *at);
        else (void)fputc(*at, file);
    }
    (void)fputc('"', file);
}

static void print_one(void *user, const struct weir_config_value *value)
{
    const struct printing *printing = user;
    if (value->is_default && !printing->with_defaults) return;
    (void)fprintf(printing->file, "%s: ", value->key);
    if (value->is_secret) (void)fputs("\"\"", printing->file); /* never shown */
    else print_value(printing->file, value->value);
    (void)fprintf(printing->file, "  # %s%s\n", value->origin, value->is_secret ? ", secret" : "");
}

void weir_config_print(FILE *file, const weir_config *config, bool with_defaults)
{
    struct printing printing = { .file = file, .with_defaults = with_defaults };
    weir_config_each_value(config, print_one, &printing);
}

/* ---- JSON --------------------------------------------------------------------------------------------------------- */

static void print_json_one(void *user, const struct weir_config_value *value)
{
    struct printing *printing = user;
    FILE *file = printing->file;
    (void)fputs(printing->has_value ? ",\n {\"key\": " : "{\"key\": ", file);
    text_print_json(file, value->key);
    (void)fputs(", \"value\": ", file);
    text_print_json(file, value->value);
    (void)fputs(", \"origin\": ", file);
    text_print_json(file, value->origin);
    (void)fprintf(file, ", \"secret\": %s, \"default\": %s}", value->is_secret ? "true" : "false",
                  value->is_default ? "true" : "false");
    printing->has_value = true;
}

void weir_config_print_json(FILE *file, const weir_config *config)
{
    struct printing printing = { .file = file };
    (void)fputs("[", file);
    weir_config_each_value(config, print_json_one, &printing);
    (void)fputs("]\n", file);
}

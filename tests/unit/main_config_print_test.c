/* What --show-config and weir config show print: YAML that says the same when it is read again. */
#include "harness/unit.h"
#include "weir/main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Owned by the caller. */
static char *printed(const weir_config *config, bool with_defaults)
{
    char *text;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    ck_assert_ptr_nonnull(file);
    weir_config_print(file, config, with_defaults);
    fclose(file);
    return text;
}

static void put(weir_config *config, const char *key, const char *value)
{
    struct weir_error error;
    ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_COMMAND_LINE, key, value, "-X", &error), WEIR_OK);
}

START_TEST(what_is_printed_can_be_read_again)
{
    static const char *const values[] = {
        "plain", "/a/path", "two words", "a: b", "a:b", "x #no comment", "x#y", "- item", "[list]", "{map}", "'", "\"\\\"",
        "tab\there", "line\nline", "\x01", "  spaces  ", "*alias", "&anchor", "!tag", "%percent", "@at", "null", "~", "",
        "caf\xc3\xa9", "host:9092,host:9093", "key: ", "?", "|", ">",
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct weir_error error = { .code = WEIR_OK };
        weir_config *config = weir_config_create(), *again = weir_config_create();
        put(config, "kafka.client.id", values[i]);
        put(config, "parallelism.default", "7");
        char *text = printed(config, false);
        ck_assert_msg(weir_config_load_text(again, WEIR_CONFIG_FILE, text, "again", &error) == WEIR_OK, "%s\n%s",
                      error.text, text);
        ck_assert_str_eq(weir_config_text(again, "kafka.client.id"), values[i]);
        ck_assert_int_eq(weir_config_i64(again, "parallelism.default"), 7);
        free(text);
        weir_config_destroy(config);
        weir_config_destroy(again);
    }
}
END_TEST

START_TEST(defaults_are_printed_when_wanted_and_secrets_never)
{
    weir_config *config = weir_config_create();
    put(config, "kafka.sasl.password", "canary");
    char *all = printed(config, true), *own = printed(config, false);
    ck_assert_str_eq(own, "kafka.sasl.password: \"\"  # -X, secret\n");
    ck_assert_ptr_nonnull(strstr(all, "execution.checkpointing.interval: 100ms  # default\n"));
    ck_assert_ptr_null(strstr(all, "canary"));
    free(all);
    free(own);
    weir_config_destroy(config);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, what_is_printed_can_be_read_again);
    tcase_add_test(tests, defaults_are_printed_when_wanted_and_secrets_never);
}

int main(void) { return unit_main("main_config_print", add); }

/* The readers of configuration: YAML from a file and from a text, and properties. Whatever comes in, an answer comes out, and an
 * error is a sentence. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "fuzz/fuzz.h"
#include "weir/weir.h"

static void look(void *user, const struct weir_config_value *value)
{
    CHECK(value->key != NULL && value->value != NULL && value->origin != NULL);
    ++*(size_t *)user;
}

static void judge(const weir_config *config, enum weir_code code, const struct weir_error *error)
{
    size_t count = 0;
    if (code != WEIR_OK) CHECK(error->code == code && strlen(error->text) > 0 && strlen(error->text) < sizeof error->text);
    weir_config_each_value(config, look, &count);
    CHECK(count > 0);
}

static void read_file(const char *path, bool is_yaml)
{
    struct weir_error error = { .code = WEIR_OK };
    weir_config *config = weir_config_create();
    CHECK(config != NULL);
    weir_config_declare(config, "input", NULL);
    const enum weir_code code = is_yaml ? weir_config_load(config, WEIR_CONFIG_FILE, path, &error)
                                        : weir_config_load_properties(config, WEIR_CONFIG_FILE, path, &error);
    judge(config, code, &error);
    weir_config_destroy(config);
}

static void read_text(const char *text)
{
    struct weir_error error = { .code = WEIR_OK };
    weir_config *config = weir_config_create();
    CHECK(config != NULL);
    judge(config, weir_config_load_text(config, WEIR_CONFIG_ENVIRONMENT, text, "fuzz", &error), &error);
    weir_config_destroy(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    /* Contents of other files are not to be drawn in: a terminal or a pipe would be waited for. */
    if (memmem(data, size, ".file", 5) != NULL) return 0;
    const int file = memfd_create("fuzz", MFD_CLOEXEC);
    CHECK(file >= 0 && write(file, data, size) == (ssize_t)size);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    read_file(path, true);
    read_file(path, false);
    close(file);
    char *text = strndup((const char *)data, size);
    CHECK(text != NULL);
    read_text(text);
    free(text);
    return 0;
}

const char *const fuzz_corpus[] = {
    "execution.checkpointing.interval: 100ms\nkafka.bootstrap.servers: broker:9092\n",
    "execution:\n  checkpointing:\n    interval: 3 min\n    mode: EXACTLY_ONCE\nparallelism.default: 4\n",
    "state:\n  backend:\n    type: \"rocksdb\"\n    memory: '64mb'\n# a comment\ninput: lines\n",
    "kafka:\n  sasl.password: \"secret\"\n  ? linger.ms\n  : 5\n",
    "{a: {b: [1, 2], c: &x 1, d: *x}, log.level: debug}",
    "key: |\n  text\n  of lines\nother: >-\n  folded\n",
    "--- \nlog.format: json\n...\n---\nlog.format: text\n",
    "!!binary \"aGVsbG8=\": !!str 5\n%YAML 1.1\n",
    "sasl.username=me\nsasl.password = x=y\n# no\n! no\n\nssl.key.password=\n",
    NULL,
};

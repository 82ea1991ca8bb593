#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool.h"

int tool_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("demo-tool: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return 1;
}

double tool_clock_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- The handle ---------------------------------------------------------------------------------------------------- */

static bool set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[300];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) == RD_KAFKA_CONF_OK) return true;
    tool_fail("%s", text);
    return false;
}

/* Lines key=value; '#' begins a comment. */
static bool set_from_file(rd_kafka_conf_t *conf, const char *path)
{
    char line[4096];
    bool good = true;
    FILE *file = fopen(path, "r");
    if (file == NULL) return tool_fail("cannot read %s", path), false;
    while (good && fgets(line, sizeof(line), file) != NULL) {
        char *key = line + strspn(line, " \t"), *equals = strchr(key, '=');
        if (*key == '#' || equals == NULL) continue;
        char *value = equals + 1 + strspn(equals + 1, " \t");
        value[strcspn(value, "\r\n")] = '\0';
        while (equals > key && (equals[-1] == ' ' || equals[-1] == '\t')) equals--;
        *equals = '\0';
        good = set(conf, key, value);
    }
    fclose(file);
    return good;
}

/* Connection attempts that fail are no news: each command has its own patience, and its own sentence. */
static void log_nothing(const rd_kafka_t *handle, int level, const char *facility, const char *text)
{
    (void)handle, (void)level, (void)facility, (void)text;
}

rd_kafka_t *tool_open(struct tool *tool, rd_kafka_type_t type, const char *const *properties)
{
    char text[300];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    bool good = tool->kafka_config == NULL || set_from_file(conf, tool->kafka_config);
    good = good && set(conf, "bootstrap.servers", tool->brokers) && set(conf, "client.id", "weir-demo");
    for (; good && *properties != NULL; properties += 2) good = set(conf, properties[0], properties[1]);
    rd_kafka_conf_set_log_cb(conf, log_nothing);
    rd_kafka_conf_set_opaque(conf, tool);
    if (type == RD_KAFKA_PRODUCER) rd_kafka_conf_set_dr_msg_cb(conf, tool_delivered);
    rd_kafka_t *handle = good ? rd_kafka_new(type, conf, text, sizeof(text)) : NULL;
    if (handle != NULL) return handle;
    if (good) tool_fail("%s", text);
    rd_kafka_conf_destroy(conf);
    return NULL;
}

void tool_close(rd_kafka_t *handle)
{
    if (handle != NULL) rd_kafka_destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

/* ---- Commands ------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    int (*run)(struct tool *tool);
    const char *arguments;
} commands[] = {
    { "create", command_create, "TOPIC:PARTITIONS..." },
    { "delete", command_delete, "TOPIC... [group=NAME]" },
    { "load", command_load, "TOPIC LINES_PER_SECOND  <lines" },
    { "records", command_records, "TOPIC" },
    { "open", command_open, "TOPIC" },
    { "visible", command_visible, "TOPIC PARTITION:FIRST-LAST..." },
    { "watch", command_watch, "TOPIC" },
};

static int usage(void)
{
    fputs("usage: demo-tool [--kafka-config FILE] --brokers HOST:PORT COMMAND\n", stderr);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        fprintf(stderr, "  %-8s %s\n", commands[i].name, commands[i].arguments);
    return 2;
}

int main(int argc, char **argv)
{
    struct tool tool = { 0 };
    int at = 1;
    for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
        if (strcmp(argv[at], "--brokers") == 0) tool.brokers = argv[at + 1];
        else if (strcmp(argv[at], "--kafka-config") == 0) tool.kafka_config = argv[at + 1];
        else return usage();
    }
    if (tool.brokers == NULL || at + 1 >= argc) return usage();
    tool.topic = argv[at + 1];
    tool.argc = argc - at - 2;
    tool.argv = argv + at + 2;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[at], commands[i].name) != 0) continue;
        const int code = commands[i].run(&tool);
        return fflush(stdout) == 0 ? code : tool_fail("cannot write the answer");
    }
    return usage();
}

/* A job that says nothing but its last words: one record "end" of each subtask. */
#include "weir/kafka.h"
#include "weir/main.h"

static enum weir_code swallow(weir_task *task, const struct weir_record *record)
{
    (void)task;
    (void)record;
    return WEIR_OK;
}

static enum weir_code say_the_end(weir_task *task, const struct weir_record *record)
{
    (void)record;
    return weir_emit(task, .key = weir_text("end"), .value = weir_text("1"));
}

static void define(weir_graph *graph, const weir_config *config)
{
    struct weir_stream lines =
        weir_kafka_source(graph, .name = "lines", .topic = weir_config_text(config, "input"));
    weir_kafka_sink(weir_process(lines, .name = "end", .process = swallow, .finish = say_the_end), .name = "ends",
                    .topic = weir_config_text(config, "output"));
}

static const struct weir_option own[] = {
    { .name = "input", .kind = WEIR_TOPIC, .help = "topic that is read to its end" },
    { .name = "output", .kind = WEIR_TOPIC, .help = "topic for one record of each subtask" },
    { 0 },
};

int main(int argc, char **argv)
{
    return weir_main(argc, argv, .define = define, .options = own, .about = "A job for tests.");
}

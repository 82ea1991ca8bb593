/* One record out for each one in: a job with nothing but a source and a sink. */
#include <string.h>

#include "weir/kafka.h"
#include "weir/main.h"

static void define(weir_graph *graph, const weir_config *config)
{
    const bool keeps_time = strcmp(weir_config_text(config, "time"), "record") == 0;
    struct weir_stream records = weir_kafka_source(graph, .name = "in", .topic = weir_config_text(config, "input"));
    weir_kafka_sink(records, .name = "out", .topic = weir_config_text(config, "output"),
                    .time = keeps_time ? WEIR_KAFKA_TIME_OF_RECORD : WEIR_KAFKA_TIME_OF_WRITE);
}

static const struct weir_option own[] = {
    { .name = "input", .kind = WEIR_TOPIC, .help = "topic to copy" },
    { .name = "output", .kind = WEIR_TOPIC, .help = "topic to copy to" },
    { .name = "time", .kind = WEIR_CHOICE, .default_value = "record", .choices = "record|write",
      .help = "the time of the copy" },
    { 0 },
};

int main(int argc, char **argv)
{
    return weir_main(argc, argv, .define = define, .options = own, .about = "Copies a topic.");
}

/* A job as a user writes one: upper case from one topic to another. Built out of tree against the installed files. */
#include <ctype.h>
#include <weir/kafka.h>
#include <weir/main.h>

static enum weir_code shout(weir_task *task, const struct weir_record *in, struct weir_record *out)
{
    char *text = weir_alloc(task, in->value.size + 1);
    if (text == NULL) return WEIR_NO_MEMORY;
    for (size_t i = 0; i < in->value.size; i++) text[i] = (char)toupper((unsigned char)in->value.data[i]);
    out->value = (struct weir_bytes){ text, in->value.size };
    return WEIR_OK;
}

static void define(weir_graph *graph, const weir_config *config)
{
    struct weir_stream lines = weir_kafka_source(graph, .name = "lines", .topic = weir_config_text(config, "input"));
    struct weir_stream loud = weir_map(lines, .name = "shout", .map = shout);
    weir_kafka_sink(loud, .name = "out", .topic = weir_config_text(config, "output"));
}

static const struct weir_option options[] = {
    { "input", WEIR_TOPIC, NULL, NULL, "read from here" },
    { "output", WEIR_TOPIC, NULL, NULL, "write there" },
    { 0 },
};

int main(int argc, char **argv)
{
    return weir_main(argc, argv, .define = define, .options = options, .about = "Shouts.", .version = "1.2.3");
}

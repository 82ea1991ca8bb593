// A job from C++: option structs are filled field by field, the functions beneath the macros take them.
#include <weir/kafka.h>
#include <weir/main.h>

static weir_state declare_total()
{
    weir_state state{};
    state.name = "total";
    state.codec = WEIR_I64;
    return state;
}
static const weir_state total = declare_total();

static weir_code count(weir_keyed_task *task, const weir_record *word)
{
    int64_t *n = weir_value_i64(task, &total);
    if (n == nullptr) return WEIR_FAILED;
    weir_emit_options out{};
    out.size = sizeof out;
    out.key = word->key;
    out.value = weir_format_i64(task, ++*n);
    return weir_keyed_emit_(task, &out);
}

static void define(weir_graph *graph, const weir_config *config)
{
    weir_kafka_source_options source{};
    source.size = sizeof source;
    source.name = "words";
    source.topic = weir_config_text(config, "input");
    weir_key_by_options by{};
    by.size = sizeof by;
    weir_keyed_process_options counting{};
    counting.size = sizeof counting;
    counting.name = "count";
    counting.process = count;
    counting.states[0] = &total;
    weir_kafka_sink_options sink{};
    sink.size = sizeof sink;
    sink.name = "counts";
    sink.topic = weir_config_text(config, "output");
    weir_kafka_sink_(weir_keyed_process_(weir_key_by_(weir_kafka_source_(graph, &source), &by), &counting), &sink);
}

int main(int argc, char **argv)
{
    weir_main_options options{};
    options.size = sizeof options;
    options.define = define;
    weir_bytes empty = WEIR_EMPTY, null = WEIR_NULL;
    return weir_is_null(null) && !weir_is_null(empty) ? weir_main_(argc, argv, &options) : 1;
}

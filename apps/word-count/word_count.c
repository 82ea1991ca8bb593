#include "word_count.h"

#include <string.h>

#include "json_field.h"
#include "weir/kafka.h"

struct word_count {
    struct weir_bytes field; /* of JSON objects; unset = plain text */
    bool skip_malformed;
};

static enum weir_code split_text(weir_task *task, const struct weir_record *line)
{
    struct weir_bytes rest = line->value, word;
    while (weir_bytes_token(&rest, ' ', &word)) weir_emit(task, .key = word, .value = WEIR_EMPTY);
    return WEIR_OK; /* a failed emit is sticky and ends the record */
}

static enum weir_code take_field(weir_task *task, const struct weir_record *object)
{
    const struct word_count *job = weir_user(task);
    struct weir_bytes word;
    if (weir_is_null(object->value)) return WEIR_OK;
    switch (json_field(task, object->value, job->field, &word)) {
    case JSON_FIELD_FOUND: return weir_emit(task, .key = word, .value = WEIR_EMPTY);
    case JSON_FIELD_ABSENT: return WEIR_OK;
    case JSON_FIELD_MALFORMED: break;
    }
    if (job->skip_malformed) return WEIR_OK;
    return weir_fail(task, "a record of %zu bytes is not a JSON object; --on-malformed skip passes over such records",
                     object->value.size);
}

static enum weir_code add(weir_keyed_task *task, void *accumulator, const struct weir_record *word)
{
    (void)task;
    (void)word;
    ++*(int64_t *)accumulator;
    return WEIR_OK;
}

static struct word_count options;

void word_count_define(weir_graph *graph, const weir_config *config)
{
    const char *format = weir_config_text(config, "format");
    const bool json = strncmp(format, "json:", 5) == 0;
    if (json) options.field = weir_text(weir_graph_text(graph, format + 5));
    options.skip_malformed = strcmp(weir_config_text(config, "on-malformed"), "skip") == 0;

    struct weir_stream lines = weir_kafka_source(graph, .name = "lines", .topic = weir_config_text(config, "input"));
    struct weir_stream words =
        weir_flat_map(lines, .name = "split", .process = json ? take_field : split_text, .user = &options);
    struct weir_stream counts =
        weir_aggregate(weir_key_by(words, .key = NULL), .name = "count", .accumulator = WEIR_I64, .add = add,
                       .emit = strcmp(weir_config_text(config, "emit"), "each") == 0 ? WEIR_EMIT_EACH
                                                                                     : WEIR_EMIT_ON_COMMIT);
    weir_kafka_sink(counts, .name = "counts", .topic = weir_config_text(config, "output"));
}

const struct weir_option word_count_options[] = {
    { .name = "input", .kind = WEIR_TOPIC, .help = "topic with lines of text, or JSON objects" },
    { .name = "output", .kind = WEIR_TOPIC, .help = "topic for word -> count" },
    { .name = "format", .kind = WEIR_CHOICE, .default_value = "text", .choices = "text|json:",
      .help = "words of the value, or json:FIELD of a JSON object" },
    { .name = "emit", .kind = WEIR_CHOICE, .default_value = "commit", .choices = "commit|each",
      .help = "once for each word and commit, or for each input" },
    { .name = "on-malformed", .kind = WEIR_CHOICE, .default_value = "fail", .choices = "fail|skip",
      .help = "what a value that is not JSON does" },
    { 0 },
};

#include "main/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "main/text.h"

static const char *const levels[] = { "error", "warning", "info", "debug" };

/* What closes a line that was cut: `"}` and the newline. */
enum { TAIL_ROOM = 16 };

enum log_form log_form_of(const weir_config *config)
{
    const char *format = weir_config_text(config, "log.format");
    return strcmp(format, "json") == 0 ? LOG_JSON : strcmp(format, "logfmt") == 0 ? LOG_LOGFMT : LOG_TEXT;
}

enum weir_log_level log_level_of(const weir_config *config)
{
    const char *level = weir_config_text(config, "log.level");
    for (int i = 0; i <= WEIR_LOG_DEBUG; i++)
        if (strcmp(level, levels[i]) == 0) return (enum weir_log_level)i;
    return WEIR_LOG_INFO;
}

/* ---- Fields --------------------------------------------------------------------------------------------------------- */

struct writing {
    char *out;
    size_t used;
    enum log_form form;
    size_t fields;
};

/* Before the room for the ends of what was begun. */
static size_t room_of(const struct writing *writing)
{
    return writing->used < LOG_LINE_MAX - TAIL_ROOM ? LOG_LINE_MAX - TAIL_ROOM - writing->used : 0;
}

static void WEIR_PRINTF(2, 3) put(struct writing *writing, const char *format, ...)
{
    const size_t room = room_of(writing);
    va_list arguments;
    va_start(arguments, format);
    const int size = vsnprintf(writing->out + writing->used, room, format, arguments);
    va_end(arguments);
    if (size > 0 && (size_t)size < room) writing->used += (size_t)size; /* else it is left out as a whole */
}

static void put_text(struct writing *writing, const char *text, enum text_form form)
{
    writing->used += text_escape(writing->out + writing->used, room_of(writing), weir_text(text), form);
}

static bool is_bare(const char *value)
{
    if (value[0] == '\0') return false;
    for (const unsigned char *at = (const unsigned char *)value; *at != '\0'; at++)
        if (*at <= ' ' || *at >= 0x7f || *at == '"' || *at == '=' || *at == '\\') return false;
    return true;
}

static void begin_field(struct writing *writing, const char *name)
{
    if (writing->form == LOG_JSON) put(writing, "%s\"%s\":", writing->fields > 0 ? "," : "{", name);
    else if (writing->form == LOG_LOGFMT) put(writing, "%s%s=", writing->fields > 0 ? " " : "", name);
    else put(writing, "%s%s=", writing->fields > 0 ? " " : " [", name);
    writing->fields++;
}

static void put_value(struct writing *writing, const char *value)
{
    if (writing->form != LOG_JSON && is_bare(value)) {
        put_text(writing, value, TEXT_PLAIN);
        return;
    }
    put(writing, "\"");
    put_text(writing, value, writing->form == LOG_JSON ? TEXT_JSON : TEXT_QUOTED);
    /* There is always room for the end of what was begun. */
    writing->out[writing->used++] = '"';
}

static void text_field(struct writing *writing, const char *name, const char *value)
{
    if (value == NULL || value[0] == '\0') return;
    if (writing->used + strlen(name) + 2 * TAIL_ROOM > LOG_LINE_MAX) return;
    begin_field(writing, name);
    put_value(writing, value);
}

static void number_field(struct writing *writing, const char *name, bool is_known, int64_t value)
{
    if (!is_known || writing->used + strlen(name) + 4 * TAIL_ROOM > LOG_LINE_MAX) return;
    begin_field(writing, name);
    put(writing, "%" PRId64, value);
}

/* What the line is about, as far as that is known. */
static void put_facts(struct writing *writing, const struct weir_log_line *line)
{
    text_field(writing, "operator", line->operator_name);
    number_field(writing, "subtask", line->has_subtask, line->subtask);
    number_field(writing, "incarnation", line->incarnation > 0, (int64_t)line->incarnation);
    number_field(writing, "epoch", line->has_epoch, (int64_t)line->epoch);
    text_field(writing, "partition", line->split);
    number_field(writing, "offset", line->has_offset, line->offset);
    text_field(writing, "transaction", line->transaction);
    text_field(writing, "code", line->code == WEIR_OK ? NULL : weir_code_name(line->code));
}

/* ---- Lines ---------------------------------------------------------------------------------------------------------- */

static void put_stamp(struct writing *writing, int64_t wall_ms)
{
    const time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    char stamp[32];
    if (gmtime_r(&seconds, &utc) == NULL) return;
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
    put(writing, "%s.%03dZ", stamp, (int)(wall_ms % 1000));
}

static void put_for_people(struct writing *writing, int64_t wall_ms, const struct weir_log_line *line)
{
    put_stamp(writing, wall_ms);
    put(writing, " %s: ", levels[line->level]);
    if (line->client != NULL) {
        put_text(writing, line->client, TEXT_PLAIN);
        put(writing, ": ");
    }
    put_text(writing, line->text, TEXT_PLAIN);
    put_facts(writing, line);
    if (writing->fields > 0) writing->out[writing->used++] = ']';
}

static void put_for_programs(struct writing *writing, int64_t wall_ms, const struct weir_log_line *line)
{
    const char *quote = writing->form == LOG_JSON ? "\"" : "";
    begin_field(writing, "time");
    put(writing, "%s", quote);
    put_stamp(writing, wall_ms);
    put(writing, "%s", quote);
    text_field(writing, "level", levels[line->level]);
    text_field(writing, "job", line->job);
    put_facts(writing, line);
    text_field(writing, "client", line->client);
    text_field(writing, writing->form == LOG_JSON ? "message" : "msg", line->text);
    if (writing->form == LOG_JSON) writing->out[writing->used++] = '}';
}

size_t log_format(char out[static LOG_LINE_MAX], enum log_form form, int64_t wall_ms, const struct weir_log_line *line)
{
    struct writing writing = { .out = out, .form = form };
    if (form == LOG_TEXT) put_for_people(&writing, wall_ms, line);
    else put_for_programs(&writing, wall_ms, line);
    out[writing.used++] = '\n';
    out[writing.used] = '\0';
    return writing.used;
}

/* ---- Repeated lines ------------------------------------------------------------------------------------------------- */

/* FNV-1a, by Fowler, Noll and Vo. */
static uint64_t mix(uint64_t hash, const char *text)
{
    for (const unsigned char *at = (const unsigned char *)(text == NULL ? "" : text); *at != '\0'; at++)
        hash = (hash ^ *at) * UINT64_C(0x100000001b3);
    return (hash ^ 0xff) * UINT64_C(0x100000001b3);
}

static uint64_t hash_of(const struct weir_log_line *line)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) + (uint64_t)line->level;
    hash = mix(mix(mix(mix(hash, line->text), line->client), line->operator_name), line->split);
    return hash == 0 ? 1 : hash;
}

static bool is_over(const struct repeats_line *line, int64_t now_ms) { return now_ms - line->said_ms >= REPEATS_WINDOW_MS; }

/* Where the line stands; else a free place, else that of the oldest line which has nothing to tell. NULL: nowhere. */
static struct repeats_line *place_of(struct repeats *repeats, uint64_t hash)
{
    struct repeats_line *best = NULL;
    for (size_t i = 0; i < REPEATS_LINES; i++) {
        struct repeats_line *at = &repeats->lines[i];
        if (at->hash == hash) return at;
        if (at->hash != 0 && at->count > 0) continue;
        if (best == NULL || at->hash == 0 || (best->hash != 0 && at->said_ms < best->said_ms)) best = at;
    }
    return best;
}

bool repeats_take(struct repeats *repeats, int64_t now_ms, const struct weir_log_line *line)
{
    const uint64_t hash = hash_of(line);
    struct repeats_line *at = place_of(repeats, hash);
    if (at == NULL) return true;
    if (at->hash == hash && !is_over(at, now_ms)) {
        at->count++;
        return false;
    }
    *at = (struct repeats_line){ .hash = hash, .said_ms = now_ms, .level = line->level };
    (void)snprintf(at->text, sizeof(at->text), "%s%s%s", line->client == NULL ? "" : line->client,
                   line->client == NULL ? "" : ": ", line->text);
    (void)snprintf(at->job, sizeof(at->job), "%s", line->job == NULL ? "" : line->job);
    return true;
}

bool repeats_due(struct repeats *repeats, int64_t now_ms, bool all, char text[static REPEATS_TEXT_MAX + 64],
                 struct weir_log_line *line)
{
    for (size_t i = 0; i < REPEATS_LINES; i++) {
        struct repeats_line *at = &repeats->lines[i];
        if (at->hash == 0 || (!all && !is_over(at, now_ms))) continue;
        at->hash = 0;
        if (at->count == 0) continue;
        (void)snprintf(text, REPEATS_TEXT_MAX + 64, "%s ... repeated %" PRIu64 " times", at->text, at->count);
        *line = (struct weir_log_line){ .level = at->level, .text = text, .job = at->job };
        return true;
    }
    return false;
}

/* The remote interface is what lib/remote/openapi.yaml says: every path and method of the file is there, and none else; every
 * answer is one that the file lists, and its body fits the schema. JSON is read as the YAML that it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "harness/http.h"
#include "harness/local_job.h"
#include "harness/unit.h"
#include "remote/routes.h"
#include "weir/generator.h"
#include "weir/print.h"

#define TOKEN "write-write-write-write"
#define TOKEN_LINE "Authorization: Bearer " TOKEN "\r\n"
#define JSON "Content-Type: application/json\r\n"
#define HEADERS TOKEN_LINE JSON

static yaml_document_t file;
static weir_job *job;
static weir_remote *remote;

/* ---- YAML ----------------------------------------------------------------------------------------------------------- */

static void load(yaml_document_t *document, const char *text, size_t size)
{
    yaml_parser_t parser;
    ck_assert(yaml_parser_initialize(&parser));
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    ck_assert_msg(yaml_parser_load(&parser, document), "%s at line %zu", parser.problem, parser.problem_mark.line + 1);
    yaml_parser_delete(&parser);
}

static const char *text_of(const yaml_node_t *node)
{
    return node != NULL && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : "";
}

static yaml_node_t *find(yaml_document_t *document, yaml_node_t *map, const char *key)
{
    if (map == NULL || map->type != YAML_MAPPING_NODE) return NULL;
    for (yaml_node_pair_t *pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top; pair++)
        if (strcmp(text_of(yaml_document_get_node(document, pair->key)), key) == 0)
            return yaml_document_get_node(document, pair->value);
    return NULL;
}

/* What "#/components/schemas/X" refers to, or the node itself. */
static yaml_node_t *resolve(yaml_node_t *node)
{
    const char *reference = text_of(find(&file, node, "$ref"));
    if (reference[0] == '\0') return node;
    yaml_node_t *at = yaml_document_get_root_node(&file);
    char path[200];
    (void)snprintf(path, sizeof path, "%s", reference + 2);
    for (char *part = strtok(path, "/"); part != NULL; part = strtok(NULL, "/")) at = find(&file, at, part);
    ck_assert_msg(at != NULL, "%s refers to nothing", reference);
    return at;
}

static yaml_node_t *field(yaml_node_t *map, const char *key)
{
    yaml_node_t *found = find(&file, map, key);
    return found == NULL ? NULL : resolve(found);
}

/* ---- Schemas -------------------------------------------------------------------------------------------------------- */

static bool is_plain(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool is_number(const yaml_node_t *node, bool whole)
{
    char *end;
    if (!is_plain(node)) return false;
    (void)strtod(text_of(node), &end);
    return *end == '\0' && end != text_of(node) && (!whole || strpbrk(text_of(node), ".eE") == NULL);
}

static bool is_nullable(yaml_node_t *schema) { return strcmp(text_of(field(schema, "nullable")), "true") == 0; }

static bool has_type(const yaml_node_t *node, const char *type)
{
    if (strcmp(type, "object") == 0) return node->type == YAML_MAPPING_NODE;
    if (strcmp(type, "array") == 0) return node->type == YAML_SEQUENCE_NODE;
    if (strcmp(type, "integer") == 0) return is_number(node, true);
    if (strcmp(type, "number") == 0) return is_number(node, false);
    if (strcmp(type, "boolean") == 0)
        return is_plain(node) && (strcmp(text_of(node), "true") == 0 || strcmp(text_of(node), "false") == 0);
    return node->type == YAML_SCALAR_NODE && !is_plain(node); /* string */
}

static void fit(yaml_document_t *document, yaml_node_t *node, yaml_node_t *schema, const char *where);

static void fit_object(yaml_document_t *document, yaml_node_t *node, yaml_node_t *schema, const char *where)
{
    yaml_node_t *required = field(schema, "required"), *properties = field(schema, "properties");
    for (yaml_node_item_t *item = required == NULL ? NULL : required->data.sequence.items.start;
         item != NULL && item < required->data.sequence.items.top; item++) {
        const char *name = text_of(yaml_document_get_node(&file, *item));
        ck_assert_msg(find(document, node, name) != NULL, "%s: '%s' is missing", where, name);
    }
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        char below[400];
        const char *name = text_of(yaml_document_get_node(document, pair->key));
        yaml_node_t *property = field(properties, name);
        (void)snprintf(below, sizeof below, "%.300s.%.90s", where, name);
        ck_assert_msg(property != NULL || properties == NULL, "%s is not described", below);
        if (property != NULL) fit(document, yaml_document_get_node(document, pair->value), property, below);
    }
}

static bool is_one_of(const yaml_node_t *node, const yaml_node_t *choices)
{
    for (yaml_node_item_t *item = choices->data.sequence.items.start; item < choices->data.sequence.items.top; item++)
        if (strcmp(text_of(yaml_document_get_node(&file, *item)), text_of(node)) == 0) return true;
    return false;
}

static void fit(yaml_document_t *document, yaml_node_t *node, yaml_node_t *schema, const char *where)
{
    const char *type = text_of(field(schema, "type"));
    yaml_node_t *choices = field(schema, "enum"), *items = field(schema, "items");
    if (is_plain(node) && strcmp(text_of(node), "null") == 0) {
        ck_assert_msg(is_nullable(schema), "%s may not be null", where);
        return;
    }
    ck_assert_msg(has_type(node, type), "%s: '%s' is no %s", where, text_of(node), type);
    if (choices != NULL) ck_assert_msg(is_one_of(node, choices), "%s: '%s' is none of those listed", where, text_of(node));
    if (strcmp(type, "object") == 0) fit_object(document, node, schema, where);
    for (yaml_node_item_t *item = items == NULL ? NULL : node->data.sequence.items.start;
         item != NULL && item < node->data.sequence.items.top; item++)
        fit(document, yaml_document_get_node(document, *item), items, where);
}

/* ---- Operations ----------------------------------------------------------------------------------------------------- */

/* The answer must be one that `operation` lists, by status, type of its content and schema. */
static int expect_described(const char *method, const char *path, yaml_node_t *operation, const char *headers,
                            const char *body)
{
    char status[8], where[300], type[100];
    struct http_answer answer = http_ask(weir_remote_url(remote), method, path, headers, body);
    (void)snprintf(status, sizeof status, "%d", answer.status);
    (void)snprintf(where, sizeof where, "%s %s: %s", method, path, status);
    yaml_node_t *response = field(field(operation, "responses"), status);
    ck_assert_msg(response != NULL, "%s is not described: %s", where, answer.body);
    (void)snprintf(type, sizeof type, "%s", http_header(&answer, "Content-Type"));
    type[strcspn(type, ";")] = '\0';
    yaml_node_t *content = field(field(response, "content"), type);
    ck_assert_msg(content != NULL, "%s: %s is not described", where, type);
    if (strstr(type, "json") != NULL) {
        yaml_document_t document;
        load(&document, answer.body, answer.size);
        fit(&document, yaml_document_get_root_node(&document), field(content, "schema"), where);
        yaml_document_delete(&document);
    }
    const int found = answer.status;
    http_free(&answer);
    return found;
}

/* `pattern` with its places filled. */
static void fill(const char *pattern, const char *job_name, const char *vertex, const char *item, char path[200])
{
    size_t used = 0;
    while (*pattern != '\0') {
        const char *end = *pattern == '{' ? strchr(pattern, '}') : NULL;
        if (end == NULL) {
            path[used++] = *pattern++;
            continue;
        }
        const char *text = strncmp(pattern, "{job", 4) == 0 ? job_name : strncmp(pattern, "{vertex", 7) == 0 ? vertex : item;
        used += (size_t)snprintf(path + used, 200 - used, "%s", text);
        pattern = end + 1;
    }
    path[used] = '\0';
}

static const char *method_of(const char *key)
{
    return strcmp(key, "get") == 0 ? "GET" : strcmp(key, "post") == 0 ? "POST" : strcmp(key, "patch") == 0 ? "PATCH" : NULL;
}

/* Calls `each` for every operation of the file. */
static void walk(void (*each)(const char *method, const char *pattern, yaml_node_t *operation))
{
    yaml_node_t *paths = field(yaml_document_get_root_node(&file), "paths");
    for (yaml_node_pair_t *path = paths->data.mapping.pairs.start; path < paths->data.mapping.pairs.top; path++) {
        yaml_node_t *methods = yaml_document_get_node(&file, path->value);
        for (yaml_node_pair_t *pair = methods->data.mapping.pairs.start; pair < methods->data.mapping.pairs.top; pair++) {
            const char *method = method_of(text_of(yaml_document_get_node(&file, pair->key)));
            if (method != NULL)
                each(method, text_of(yaml_document_get_node(&file, path->key)), yaml_document_get_node(&file, pair->value));
        }
    }
}

static void begin(void)
{
    struct weir_error error;
    size_t size;
    char *text = NULL, part[4096];
    FILE *source = fopen(WEIR_SOURCE_DIR "/lib/remote/openapi.yaml", "r"), *whole = open_memstream(&text, &size);
    ck_assert_ptr_nonnull(source);
    for (size_t got; (got = fread(part, 1, sizeof part, source)) > 0;) (void)fwrite(part, 1, got, whole);
    (void)fclose(source);
    (void)fclose(whole);
    load(&file, text, size);
    free(text);
    local_job_begin();
    local_job_set("start.bounded", "false");
    local_job_set("rest.port", "0");
    local_job_set("rest.write-token", TOKEN);
    weir_graph *graph = weir_graph_create();
    weir_print(weir_generator(graph, .name = "numbers", .per_second = 1000), .name = "out", .file = fopen("/dev/null", "w"));
    job = local_job_create(graph);
    struct weir_job_status status;
    do status = local_job_status(job); while (status.epoch_committed < 2);
    ck_assert_msg(weir_remote_start(&remote, &error, .job = job, .config = local_job.config, .name = "test") == WEIR_OK,
                  "%s", error.text);
}

static void end(void)
{
    weir_remote_stop(remote);
    weir_job_destroy(job);
    local_job_end();
    yaml_document_delete(&file);
}

/* ---- Facts ---------------------------------------------------------------------------------------------------------- */

static size_t described;

static void find_route(const char *method, const char *pattern, yaml_node_t *operation)
{
    (void)operation;
    size_t i = 0;
    for (; routes_at(i) != NULL; i++)
        if (strcmp(routes_at(i)->method, method) == 0 && strcmp(routes_at(i)->pattern, pattern) == 0) break;
    ck_assert_msg(routes_at(i) != NULL, "%s %s is described, and not there", method, pattern);
    described++;
}

START_TEST(the_file_has_the_paths_that_there_are)
{
    size_t count = 0;
    described = 0;
    walk(find_route);
    while (routes_at(count) != NULL) count++;
    ck_assert_uint_eq(described, count);
}
END_TEST

/* Nothing that would end the job: that is another fact's. */
static bool is_read(const char *method) { return strcmp(method, "GET") == 0; }

static void ask_well(const char *method, const char *pattern, yaml_node_t *operation)
{
    char path[200], epoch[24];
    if (!is_read(method)) return;
    (void)snprintf(epoch, sizeof epoch, "%llu", (unsigned long long)local_job_status(job).epoch_committed);
    fill(pattern, "test", "0", epoch, path);
    const int status = expect_described(method, path, operation, HEADERS, NULL);
    const bool asks_for_request = strstr(pattern, "{item}") != NULL && strstr(pattern, "details") == NULL;
    ck_assert_msg(status == (asks_for_request ? 404 : 200), "%s: %d", path, status);
}

START_TEST(what_is_read_fits_its_schema)
{
    walk(ask_well);
}
END_TEST

static void ask_badly(const char *method, const char *pattern, yaml_node_t *operation)
{
    static const char *const bodies[] = { NULL, "[]", "{", "{\"unknown\":1}", "null", "{\"parallelism\":\"x\"}", "\xff" };
    static const char *const names[] = { "other", "9999999999999999999999", "-", "a%2fb", "%00", "~" };
    for (size_t n = 0; strchr(pattern, '{') != NULL && n < sizeof names / sizeof names[0]; n++)
        for (size_t b = 0; b < (is_read(method) ? 1 : sizeof bodies / sizeof bodies[0]); b++) {
            char path[200];
            fill(pattern, "test", names[n], names[n], path);
            if (strstr(pattern, "{vertex}") == NULL && strstr(pattern, "{item}") == NULL)
                fill(pattern, names[n], names[n], names[n], path);
            const int status = expect_described(method, path, operation, HEADERS, bodies[b]);
            ck_assert_msg(status >= 400 && status < 500, "%s %s: %d", method, path, status);
        }
}

START_TEST(what_is_asked_badly_gets_a_problem_that_is_described)
{
    walk(ask_badly);
}
END_TEST

/* The fields that are known, with values of the wrong types, and no right to ask. */
static void send_badly(const char *method, const char *pattern, yaml_node_t *operation)
{
    static const char *const bodies[] = { "[]", "{", "1", "{\"unknown\":1}", "{\"checkpointType\":1}",
                                          "{\"target-directory\":{}}", "{\"targetDirectory\":[]}", "{\"parallelism\":0}",
                                          "{\"cancel-job\":\"no\"}" };
    char path[200];
    if (is_read(method) || strcmp(method, "PATCH") == 0) return;
    fill(pattern, "test", "0", "0", path);
    for (size_t b = 0; b < sizeof bodies / sizeof bodies[0]; b++)
        ck_assert_int_eq(expect_described(method, path, operation, HEADERS, bodies[b]), 400);
    ck_assert_int_eq(expect_described(method, path, operation, "", NULL), 401);
    ck_assert_int_eq(expect_described(method, path, operation, "Authorization: Bearer wrong\r\n", NULL), 403);
    ck_assert_int_eq(expect_described(method, path, operation, "Authorization: Bearer " TOKEN "\r\n", "{}"), 415);
}

START_TEST(bodies_are_held_to_what_is_described)
{
    walk(send_badly);
    ck_assert(local_job_status(job).running);
}
END_TEST

static void expect_begun(const char *method, const char *path, const char *pattern, const char *body, int wanted)
{
    yaml_node_t *paths = field(yaml_document_get_root_node(&file), "paths");
    yaml_node_t *operation = field(field(paths, pattern), strcmp(method, "POST") == 0 ? "post" : "patch");
    ck_assert_int_eq(expect_described(method, path, operation, HEADERS, body), wanted);
}

START_TEST(what_is_begun_fits_its_schema)
{
    struct weir_error outcome;
    expect_begun("POST", "/v1/jobs/test/checkpoints", "/v1/jobs/{job}/checkpoints", NULL, 202);
    expect_begun("POST", "/v1/jobs/test/savepoints", "/v1/jobs/{job}/savepoints", NULL, 409); /* no savepoint-dir */
    expect_begun("POST", "/v1/jobs/test/rescale", "/v1/jobs/{job}/rescale", "{\"parallelism\":2}", 501);
    expect_begun("POST", "/v1/jobs/test/stop", "/v1/jobs/{job}/stop", "{}", 202);
    expect_begun("PATCH", "/v1/jobs/test?mode=cancel", "/v1/jobs/{job}", NULL, 202);
    ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
}
END_TEST

/* ---- Requests that are drawn from the file --------------------------------------------------------------------------- */

/* Whatever a client may take out of the file, and what it must not: parameters and bodies are drawn from their schemas, and now
 * and then something is wrong with one thing. The server must answer as the file says, refuse what does not fit, and not
 * refuse what does. */
static uint64_t drawn;

static uint32_t below(uint32_t limit) { return unit_random_below(&drawn, limit); }
static bool chance(uint32_t percent) { return unit_chance(&drawn, percent); }

/* Characters of all kinds, but for those that would end the request line or begin another part of the URL. */
static void draw_text(FILE *out, uint32_t size_max, bool is_json)
{
    static const char plain[] = "abcXYZ019._-", odd[] = "~!$&'()*+,;=:@{}|^<>[]`";
    static const char *const escaped[] = { "\\n", "\\u0000", "\\\"", "\\\\", "\\ud83d\\ude00", "\xc3\xa9" };
    static const char *const encoded[] = { "%00", "%2f", "%2e%2e", "%c3%a9", "%ff", "%25" };
    for (uint32_t n = below(size_max); n > 0; n--) {
        if (chance(70)) (void)fputc(plain[below(sizeof plain - 1)], out);
        else if (chance(50)) (void)fputc(odd[below(sizeof odd - 1)], out);
        else (void)fputs(is_json ? escaped[below(6)] : encoded[below(6)], out);
    }
}

static const char *choice_of(yaml_node_t *schema)
{
    yaml_node_t *choices = field(schema, "enum");
    if (choices == NULL) return NULL;
    const uint32_t count = (uint32_t)(choices->data.sequence.items.top - choices->data.sequence.items.start);
    return text_of(yaml_document_get_node(&file, choices->data.sequence.items.start[below(count)]));
}

/* The one pattern that the file has is that of plain names. */
static void draw_string(FILE *out, bool is_plain_only)
{
    static const char plain[] = "abzAZ09._+=@,-";
    if (!is_plain_only) draw_text(out, 30, true);
    for (uint32_t n = below(30); is_plain_only && n > 0; n--) (void)fputc(plain[below(sizeof plain - 1)], out);
}

static void draw_value(FILE *out, yaml_node_t *schema)
{
    const char *type = text_of(field(schema, "type")), *choice = choice_of(schema);
    if (is_nullable(schema) && (chance(10) || (choice != NULL && strcmp(choice, "null") == 0))) (void)fputs("null", out);
    else if (strcmp(type, "boolean") == 0) (void)fputs(chance(50) ? "true" : "false", out);
    else if (strcmp(type, "integer") == 0) (void)fprintf(out, "%u", 1 + below(chance(50) ? 8 : 100));
    else if (choice != NULL) (void)fprintf(out, "\"%s\"", choice);
    else (void)fputc('"', out), draw_string(out, field(schema, "pattern") != NULL), (void)fputc('"', out);
}

static void draw_wrong_value(FILE *out, yaml_node_t *schema)
{
    static const char *const wrong[] = { "{}", "[]", "1.5", "-1", "\"neither\"", "true", "0", "1e3", "[true]", "null", "\"\"",
                                         "99999999999999999999" };
    const char *type = text_of(field(schema, "type"));
    for (;;) {
        const char *value = wrong[below(sizeof wrong / sizeof wrong[0])];
        if (strcmp(type, "boolean") == 0 && strcmp(value, "true") == 0) continue;
        if (is_nullable(schema) && strcmp(value, "null") == 0) continue;
        if (strcmp(type, "string") == 0 && field(schema, "enum") == NULL && value[0] == '"') continue;
        (void)fputs(value, out);
        return;
    }
}

static bool is_required(yaml_node_t *schema, const char *name)
{
    yaml_node_t *required = field(schema, "required");
    for (yaml_node_item_t *item = required == NULL ? NULL : required->data.sequence.items.start;
         item != NULL && item < required->data.sequence.items.top; item++)
        if (strcmp(text_of(yaml_document_get_node(&file, *item)), name) == 0) return true;
    return false;
}

enum flaw { FLAW_NONE, FLAW_VALUE, FLAW_FIELD, FLAW_MISSING, FLAW_SYNTAX, FLAWS };

/* An object of the schema, with one flaw of this kind; where it cannot have that, FLAW_SYNTAX. Free it. */
static char *draw_body(yaml_node_t *schema, enum flaw flaw)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    yaml_node_t *properties = field(schema, "properties");
    bool is_flawed = false;
    const char *comma = "";
    (void)fputc('{', out);
    for (yaml_node_pair_t *pair = properties->data.mapping.pairs.start; pair < properties->data.mapping.pairs.top; pair++) {
        const char *name = text_of(yaml_document_get_node(&file, pair->key));
        const bool required = is_required(schema, name), flaws_value = flaw == FLAW_VALUE && !is_flawed;
        yaml_node_t *property = field(properties, name);
        if (flaw == FLAW_MISSING && required) is_flawed = true;
        if ((flaw == FLAW_MISSING && required) || (!required && !flaws_value && chance(50))) continue;
        (void)fprintf(out, "%s\"%s\":", comma, name);
        comma = ",";
        if (flaws_value) draw_wrong_value(out, property), is_flawed = true;
        else draw_value(out, property);
    }
    if (flaw == FLAW_FIELD) (void)fprintf(out, "%s\"other-%u\":1", comma, below(10)), is_flawed = true;
    if (flaw == FLAW_NONE || is_flawed) (void)fputc('}', out);
    else (void)fputs(&"},x[]"[1 + below(3)], out);
    (void)fclose(out);
    return text;
}

/* What the body's flaw, or having none of what is asked for, must lead to. */
static void expect_judged(const char *what, int status, enum flaw flaw, bool has_right, bool is_json)
{
    if (!has_right) ck_assert_msg(status == 401 || status == 404, "%s: %d without a right", what, status);
    else if (!is_json) ck_assert_msg(status == 415 || status == 404, "%s: %d as no JSON", what, status);
    else if (flaw != FLAW_NONE) ck_assert_msg(status == 400 || status == 404, "%s: %d with a flaw", what, status);
    else ck_assert_msg(status != 401 && status != 403 && status != 413 && status != 415, "%s: %d without a flaw", what, status);
}

static void draw_path(const char *pattern, char path[300])
{
    char names[3][120] = { { 0 } }; /* a stream that nothing is written to leaves its memory as it is */
    for (int i = 0; i < 3; i++) {
        FILE *out = fmemopen(names[i], sizeof names[i], "w");
        if (chance(70)) (void)fputs(i == 0 ? "test" : i == 1 ? "0" : "1", out);
        else draw_text(out, 30, false);
        (void)fclose(out);
    }
    fill(pattern, names[0], names[1], names[2], path);
    if (chance(30) && strlen(path) < 150) {
        FILE *out = fmemopen(path + strlen(path), 140, "w");
        (void)fputs(chance(50) ? "?mode=" : "?get=", out);
        draw_text(out, 20, false);
        (void)fclose(out);
    }
}

static void draw_request(const char *method, const char *pattern, yaml_node_t *operation)
{
    char path[300], what[400];
    yaml_node_t *content = field(field(operation, "requestBody"), "content");
    yaml_node_t *schema = field(field(content, "application/json"), "schema");
    const bool reads = is_read(method), has_right = reads || chance(80), is_json = reads || chance(90);
    enum flaw flaw = reads ? FLAW_NONE : (enum flaw)below(FLAWS);
    /* What would end the job must not come to it. */
    const bool ends = strcmp(method, "PATCH") == 0 || strstr(pattern, "/stop") != NULL;
    if (ends && has_right && is_json && flaw == FLAW_NONE) flaw = FLAW_SYNTAX;
    draw_path(pattern, path);
    char *body = schema == NULL ? NULL : draw_body(schema, flaw);
    if (strcmp(method, "PATCH") == 0) (void)snprintf(path, sizeof path, "/v1/jobs/test?mode=no");
    const int status = expect_described(method, path, operation, !has_right ? JSON : is_json ? HEADERS : TOKEN_LINE, body);
    (void)snprintf(what, sizeof what, "%s %s %.100s", method, path, body == NULL ? "" : body);
    ck_assert_msg(status < 500 || status == 501, "%s: %d", what, status);
    if (schema != NULL) expect_judged(what, status, flaw, has_right, is_json);
    free(body);
}

START_TEST(whatever_is_drawn_from_the_file_is_answered_as_it_says)
{
    drawn = unit_seed();
    for (int round = 0; round < 20; round++) walk(draw_request);
    ck_assert(local_job_status(job).running);
}
END_TEST

/* The same by a program that was made for it, where somebody says where it is: a hundred megabytes of Python, which nobody is to
 * install for these tests. Not what would end the job or start it anew. */
START_TEST(schemathesis_finds_nothing)
{
    char command[900];
    const char *url = weir_remote_url(remote), *program = getenv("WEIR_TEST_SCHEMATHESIS");
    if (program == NULL) {
        (void)fprintf(stderr, "WEIR_TEST_SCHEMATHESIS names no program: only this test's own requests were drawn\n");
        return;
    }
    (void)snprintf(command, sizeof command,
                   "'%s' run %s/openapi.yaml --url %s -H 'Authorization: Bearer " TOKEN "' --exclude-method PATCH "
                   "--exclude-path-regex 'stop|rescale$' --max-examples 30 --phases coverage,fuzzing 1>&2", program, url, url);
    ck_assert_int_eq(system(command), 0);
    ck_assert(local_job_status(job).running);
}
END_TEST

/* Methods that the file does not have for a path. */
static void ask_otherwise(const char *method, const char *pattern, yaml_node_t *operation)
{
    static const char *const methods[] = { "PUT", "DELETE", "OPTIONS", "TRACE", "POST", "PATCH" };
    char path[200];
    (void)operation;
    yaml_node_t *known = field(field(yaml_document_get_root_node(&file), "paths"), pattern);
    if (!is_read(method)) return;
    fill(pattern, "test", "0", "0", path);
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (field(known, i == 4 ? "post" : i == 5 ? "patch" : "") != NULL) continue;
        struct http_answer answer = http_ask(weir_remote_url(remote), methods[i], path, HEADERS, NULL);
        ck_assert_msg(answer.status == 405, "%s %s: %d", methods[i], path, answer.status);
        ck_assert_ptr_nonnull(strstr(http_header(&answer, "Allow"), "GET"));
        http_free(&answer);
    }
}

START_TEST(a_method_that_is_not_described_is_not_allowed)
{
    walk(ask_otherwise);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, the_file_has_the_paths_that_there_are);
    tcase_add_test(tests, what_is_read_fits_its_schema);
    tcase_add_test(tests, what_is_asked_badly_gets_a_problem_that_is_described);
    tcase_add_test(tests, bodies_are_held_to_what_is_described);
    tcase_add_test(tests, what_is_begun_fits_its_schema);
    tcase_add_test(tests, whatever_is_drawn_from_the_file_is_answered_as_it_says);
    tcase_add_test(tests, schemathesis_finds_nothing);
    tcase_add_test(tests, a_method_that_is_not_described_is_not_allowed);
}

int main(void) { return unit_main("remote_openapi", add); }

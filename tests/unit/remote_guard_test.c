/* Who may ask the remote interface what; where a savepoint may lie; JSON as it is written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/unit.h"
#include "remote/guard.h"
#include "remote/json.h"
#include "remote/routes.h"
#include "remote/savepoint_target.h"
#include "remote/server.h"

static struct weir_error error;

/* ---- Host and Origin ------------------------------------------------------------------------------------------------ */

START_TEST(a_name_that_nobody_listed_is_not_this_server)
{
    static const struct {
        const char *host;
        bool is_allowed;
    } rows[] = {
        { "localhost", true },          { "LOCALHOST:8081", true },     { "127.0.0.1", true },
        { "127.0.0.1:8081", true },     { "[::1]:8081", true },         { "[::1]", true },
        { "10.0.0.7:8081", true },      { "jobs.example", true },       { "two.example:80", true },
        { "evil.example", false },      { "localhost.evil.example", false }, { "jobs.example.evil.example", false },
        { "127.0.0.1.evil.example", false }, { "", false },             { ":8081", false },
        { "127.0.0.1:", true },         { "127.0.0.1:80x", false },     { "[::1", false },
        { "[::1]x", false },            { "localhost:123456", false },  { "jobs.example, evil.example", false },
        { "[localhost]", true },        { "example", false },           { "jobs", false },
    };
    const struct guard guard = { .allowed_hosts = "jobs.example, two.example" };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        ck_assert_msg(guard_host_is_allowed(&guard, rows[i].host) == rows[i].is_allowed, "'%s'", rows[i].host);
}
END_TEST

START_TEST(a_page_may_ask_its_own_server_only)
{
    const struct guard guard = { 0 };
    const char *why;
#define CHECK_ORIGIN(...) guard_check_origin(&guard, &(struct guard_request){ __VA_ARGS__ }, &why)
    ck_assert_int_eq(CHECK_ORIGIN(.host = "localhost:1"), 0);
    ck_assert_int_eq(CHECK_ORIGIN(.host = "localhost:1", .origin = "http://localhost:1"), 0);
    ck_assert_int_eq(CHECK_ORIGIN(.host = "localhost:1", .origin = "http://localhost:2"), 403);
    ck_assert_int_eq(CHECK_ORIGIN(.host = "localhost:1", .origin = "http://" "evil.example"), 403);
    ck_assert_int_eq(CHECK_ORIGIN(.host = "localhost:1", .origin = "null"), 403);
    ck_assert_int_eq(CHECK_ORIGIN(.host = "localhost:1", .site = "cross-site"), 403);
    ck_assert_int_eq(CHECK_ORIGIN(.host = "localhost:1", .site = "same-origin"), 0);
    ck_assert_int_eq(CHECK_ORIGIN(.host = "evil.example:1", .origin = "http://" "evil.example:1"), 421);
    ck_assert_int_eq(CHECK_ORIGIN(.host = NULL), 400);
#undef CHECK_ORIGIN
}
END_TEST

/* ---- Tokens --------------------------------------------------------------------------------------------------------- */

#define READ_TOKEN "read-read-read-read"
#define WRITE_TOKEN "write-write-write-write"

START_TEST(rights_come_from_tokens)
{
    const struct guard none = { 0 }, write_only = { .write_token = WRITE_TOKEN },
                       both = { .read_token = READ_TOKEN, .write_token = WRITE_TOKEN }, read_only = { .read_token = READ_TOKEN };
    const char *read_line = "Bearer " READ_TOKEN, *write_line = "bearer " WRITE_TOKEN;
    ck_assert_int_eq(guard_right_of(&none, NULL, false), GUARD_READ);
    ck_assert_int_eq(guard_right_of(&none, write_line, false), GUARD_READ);
    ck_assert_int_eq(guard_right_of(&write_only, NULL, false), GUARD_READ);
    ck_assert_int_eq(guard_right_of(&write_only, write_line, false), GUARD_WRITE);
    ck_assert_int_eq(guard_right_of(&both, NULL, false), GUARD_NOTHING);
    ck_assert_int_eq(guard_right_of(&both, read_line, false), GUARD_READ);
    ck_assert_int_eq(guard_right_of(&both, write_line, false), GUARD_WRITE);
    ck_assert_int_eq(guard_right_of(&read_only, read_line, false), GUARD_READ);
    ck_assert_int_eq(guard_right_of(&read_only, write_line, false), GUARD_NOTHING);
}
END_TEST

START_TEST(a_token_that_is_nearly_right_is_wrong)
{
    const struct guard guard = { .read_token = READ_TOKEN };
    static const char *const wrong[] = {
        "", "Bearer", "Bearer ", "Basic " READ_TOKEN, READ_TOKEN, "Bearer " READ_TOKEN "x", "Bearer read-read-read-rea",
        "Bearer Read-read-read-read", "Bearer read-read-read-reae", "Bearer  " READ_TOKEN, "Bearer " READ_TOKEN READ_TOKEN,
        "Bearer " READ_TOKEN " ",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        ck_assert_msg(guard_right_of(&guard, wrong[i], false) == GUARD_NOTHING, "'%s'", wrong[i]);
}
END_TEST

static enum weir_code init_with(const char *read_token, const char *write_token, bool is_loopback)
{
    struct guard guard;
    weir_config *config = weir_config_create();
    if (read_token != NULL)
        ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_CODE, "rest.read-token", read_token, "test", &error), WEIR_OK);
    if (write_token != NULL)
        ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_CODE, "rest.write-token", write_token, "test", &error), WEIR_OK);
    const enum weir_code code = guard_init(&guard, config, is_loopback, &error);
    weir_config_destroy(config);
    return code;
}

START_TEST(what_others_can_reach_needs_a_token)
{
    ck_assert_int_eq(init_with(NULL, NULL, true), WEIR_OK);
    ck_assert_int_eq(init_with(NULL, NULL, false), WEIR_USAGE);
    ck_assert_ptr_nonnull(strstr(error.text, "rest.read-token"));
    ck_assert_int_eq(init_with(NULL, WRITE_TOKEN, false), WEIR_USAGE);
    ck_assert_int_eq(init_with(READ_TOKEN, NULL, false), WEIR_OK);
    ck_assert_int_eq(init_with("short", NULL, true), WEIR_USAGE);
    ck_assert_ptr_null(strstr(error.text, "'short'"));
    ck_assert_int_eq(init_with(NULL, "fifteen-letters", true), WEIR_USAGE);
}
END_TEST

START_TEST(the_loopback_interface_has_many_names)
{
    ck_assert(server_is_loopback("localhost"));
    ck_assert(server_is_loopback("127.0.0.1"));
    ck_assert(server_is_loopback("127.5.6.7"));
    ck_assert(server_is_loopback("::1"));
    ck_assert(!server_is_loopback("0.0.0.0"));
    ck_assert(!server_is_loopback("::"));
    ck_assert(!server_is_loopback("10.0.0.1"));
    ck_assert(!server_is_loopback("localhost.example"));
    ck_assert(!server_is_loopback("1270.0.0.1"));
}
END_TEST

/* ---- Where a savepoint may lie -------------------------------------------------------------------------------------- */

static char root[64];

static void make_root(void)
{
    (void)snprintf(root, sizeof root, "/tmp/weir-target-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
}

static void remove_root(void)
{
    char path[128];
    static const char *const links[] = { "out", "root", "in", "inside" };
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", root, links[i]);
        if (unlink(path) != 0) (void)rmdir(path);
    }
    (void)rmdir(root);
}

static bool is_taken(const char *target)
{
    char path[1024];
    if (savepoint_target(root, target, path, sizeof path, &error) != WEIR_OK) return false;
    ck_assert_msg(strncmp(path, root, strlen(root)) == 0, "%s", path);
    ck_assert_ptr_null(strstr(path, "/../"));
    return true;
}

START_TEST(a_target_below_the_root_is_taken)
{
    char absolute[200];
    make_root();
    ck_assert(is_taken(""));
    ck_assert(is_taken("one"));
    ck_assert(is_taken("one/two"));
    ck_assert(is_taken("./one"));
    ck_assert(is_taken("one..two"));
    ck_assert(is_taken("....//....")); /* names like others */
    (void)snprintf(absolute, sizeof absolute, "%s/one", root);
    ck_assert(is_taken(absolute));
    ck_assert(is_taken(root));
    (void)snprintf(absolute, sizeof absolute, "%sx", root);
    ck_assert(!is_taken(absolute));
    remove_root();
}
END_TEST

/* Every way up that is known, behind every beginning: 220 of them. */
START_TEST(no_target_leads_out_of_the_root)
{
    static const char *const ups[] = {
        "../", "..\\", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%5c", "..%252f", "%252e%252e%252f", "..%c0%af", "%c0%ae%c0%ae/",
        "..//", "%2E%2E/", "..;/", "../\\", "..%00/", "..\t/", "..\n/", ".\xc0\xae/", "\xef\xbc\x8e\xef\xbc\x8e/", ".. /",
    };
    static const char *const begins[] = { "", "/", "one/", "one/../", "./", "//", "one/two/../../", "~/", "file://",
                                          "C:\\", "\\\\host\\" };
    int count = 0;
    make_root();
    for (size_t b = 0; b < sizeof begins / sizeof begins[0]; b++)
        for (size_t u = 0; u < sizeof ups / sizeof ups[0]; u++, count++) {
            char target[200];
            (void)snprintf(target, sizeof target, "%s%s%s%setc/passwd", begins[b], ups[u], ups[u], ups[u]);
            ck_assert_msg(!is_taken(target), "'%s'", target);
        }
    ck_assert_int_ge(count, 200);
    ck_assert(!is_taken("/etc"));
    ck_assert(!is_taken(".."));
    ck_assert(!is_taken("one/.."));
    remove_root();
}
END_TEST

START_TEST(no_symbolic_link_leads_out_of_the_root)
{
    char path[128];
    make_root();
    (void)snprintf(path, sizeof path, "%s/out", root);
    ck_assert_int_eq(symlink("/tmp", path), 0);
    (void)snprintf(path, sizeof path, "%s/inside", root);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/in", root);
    ck_assert_int_eq(symlink("inside", path), 0);
    ck_assert(!is_taken("out"));
    ck_assert(!is_taken("out/new/folder"));
    ck_assert(is_taken("in"));
    ck_assert(is_taken("in/new/folder"));
    remove_root();
}
END_TEST

START_TEST(what_is_above_a_target_is_made)
{
    char path[128];
    make_root();
    (void)snprintf(path, sizeof path, "%s/inside/two", root);
    ck_assert_int_eq(savepoint_target_make_parents(path, &error), WEIR_OK);
    ck_assert_int_eq(access(path, F_OK), -1); /* itself is the job's to make */
    (void)snprintf(path, sizeof path, "%s/inside", root);
    ck_assert_int_eq(access(path, F_OK), 0);
    ck_assert_int_eq(savepoint_target_make_parents("/proc/none/two", &error), WEIR_ENVIRONMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "/proc/none"));
    remove_root();
}
END_TEST

START_TEST(without_a_root_there_is_no_target)
{
    char path[1024];
    ck_assert_int_eq(savepoint_target(NULL, "one", path, sizeof path, &error), WEIR_USAGE);
    ck_assert_ptr_nonnull(strstr(error.text, "savepoint-dir"));
    make_root();
    ck_assert_int_eq(savepoint_target(root, "0123456789", path, 20, &error), WEIR_USAGE); /* no room */
    remove_root();
}
END_TEST

/* ---- Paths ---------------------------------------------------------------------------------------------------------- */

static bool is_plain(const char *text)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == strlen(text);
}

/* Pieces of paths that are there, of some that are not, and noise. */
START_TEST(whatever_is_asked_finds_a_route_or_none)
{
    static const char *const pieces[] = { "/", "v1", "jobs", "overview", "test", "plan", "vertices", "0", "checkpoints",
                                          "details", "savepoints", "stop", "rescale", "{job}", "..", "%2f", "metrics", "",
                                          "config", "lag" };
    static const char *const methods[] = { "GET", "HEAD", "POST", "PATCH", "DELETE", "", "get", "GETX" };
    uint64_t random = unit_seed();
    uint32_t found = 0, with_another_method = 0;
    for (int i = 0; i < 200000; i++) {
        char path[700] = "", allow[64] = "";
        struct route_parts parts;
        int status = 0;
        size_t used = 0;
        for (uint32_t n = unit_random_below(&random, 14); n > 0; n--) {
            const uint32_t which = unit_random_below(&random, 25);
            const char *slash = n % 2 == 0 ? "/" : "";
            if (which < 20) used += (size_t)snprintf(path + used, sizeof path - used, "%s%s", slash, pieces[which]);
            else path[used++] = (char)(1 + unit_random_below(&random, 255));
            path[used] = '\0';
        }
        if (unit_chance(&random, 2)) memset(path + used, 'x', sizeof path - 1 - used), path[sizeof path - 1] = '\0';
        const char *method = methods[unit_random_below(&random, 8)];
        const struct route *route = routes_find(method, path, &parts, &status, allow);
        unit_expect(route != NULL || status == 404 || status == 405);
        unit_expect(route == NULL || (is_plain(parts.job) && is_plain(parts.vertex) && is_plain(parts.item)));
        unit_expect((status == 405) == (route == NULL && allow[0] != '\0'));
        found += route != NULL;
        with_another_method += status == 405;
    }
    ck_assert_uint_gt(found, 0);
    ck_assert_uint_gt(with_another_method, 0);
}
END_TEST

/* ---- JSON ----------------------------------------------------------------------------------------------------------- */

START_TEST(json_is_nested_and_escaped)
{
    struct json json;
    char *text;
    size_t size;
    json_begin(&json);
    json_object(&json, NULL);
    json_text(&json, "a", "x\"\\\n\x01\x7f");
    json_array(&json, "b");
    json_i64(&json, NULL, -5);
    json_u64(&json, NULL, UINT64_MAX);
    json_object(&json, NULL);
    json_end(&json);
    json_real(&json, NULL, 0.25);
    json_end(&json);
    json_truth(&json, "c", true);
    json_text(&json, "d", NULL);
    json_real(&json, "e", 1.0 / 0.0);
    json_text(&json, "f", "caf\xc3\xa9 \xff\xed\xa0\x80\xc0\xaf");
    json_end(&json);
    ck_assert(json_finish(&json, &text, &size));
    ck_assert_str_eq(text, "{\"a\":\"x\\\"\\\\\\u000a\\u0001\\u007f\",\"b\":[-5,18446744073709551615,{},0.25],\"c\":true,"
                           "\"d\":null,\"e\":null,\"f\":\"caf\xc3\xa9 \\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\"}");
    ck_assert_uint_eq(size, strlen(text));
    free(text);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_name_that_nobody_listed_is_not_this_server);
    tcase_add_test(tests, a_page_may_ask_its_own_server_only);
    tcase_add_test(tests, rights_come_from_tokens);
    tcase_add_test(tests, a_token_that_is_nearly_right_is_wrong);
    tcase_add_test(tests, what_others_can_reach_needs_a_token);
    tcase_add_test(tests, the_loopback_interface_has_many_names);
    tcase_add_test(tests, a_target_below_the_root_is_taken);
    tcase_add_test(tests, no_target_leads_out_of_the_root);
    tcase_add_test(tests, no_symbolic_link_leads_out_of_the_root);
    tcase_add_test(tests, what_is_above_a_target_is_made);
    tcase_add_test(tests, without_a_root_there_is_no_target);
    tcase_add_test(tests, whatever_is_asked_finds_a_route_or_none);
    tcase_add_test(tests, json_is_nested_and_escaped);
}

int main(void) { return unit_main("remote_guard", add); }

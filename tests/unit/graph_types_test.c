/* What the compiler must refuse: keyed operators and keyed state where there is no key. */
#include <stdio.h>
#include <stdlib.h>

#include "harness/unit.h"

static const char *const prologue =
    "#include <weir/weir.h>\n"
    "static const struct weir_state total = { .name = \"total\", .codec = WEIR_I64 };\n"
    "static enum weir_code keyed(weir_keyed_task *task, const struct weir_record *record)\n"
    "{ (void)record; ++*weir_value_i64(task, &total); return WEIR_OK; }\n"
    "enum weir_code plain(weir_task *task, const struct weir_record *record);\n"
    "struct weir_stream use(struct weir_stream stream);\n"
    "struct weir_stream use(struct weir_stream stream) { (void)keyed; (void)stream; ";

static const struct {
    const char *name;
    const char *body;
    bool compiles;
} cases[] = {
    { "keyed process behind a key_by",
      "return weir_keyed_process(weir_key_by(stream, .key = NULL), .name = \"p\", .process = keyed); }", true },
    { "keyed process on a plain stream", "return weir_keyed_process(stream, .name = \"p\", .process = keyed); }",
      false },
    { "plain process", "return weir_process(stream, .name = \"p\", .process = plain); }", true },
    { "plain process behind a key_by",
      "return weir_process(weir_key_by(stream, .key = NULL), .name = \"p\", .process = plain); }", false },
    { "aggregate on a plain stream", "return weir_aggregate(stream, .name = \"a\", .accumulator = WEIR_I64); }",
      false },
    { "reduce on a plain stream", "return weir_reduce(stream, .name = \"r\"); }", false },
    { "keyed function in a plain process", "return weir_process(stream, .name = \"p\", .process = keyed); }", false },
    { "state in a plain process",
      "return stream; }\n"
      "enum weir_code plain(weir_task *task, const struct weir_record *record)\n"
      "{ (void)record; ++*weir_value_i64(task, &total); return WEIR_OK; }",
      false },
};

/* Compilers before GCC 14 only warn about pointers to the wrong type; every project should make that an error. */
static bool compiles(const char *body)
{
    FILE *compiler = popen("cc -std=c11 -fsyntax-only -Werror=incompatible-pointer-types -I '" WEIR_SOURCE_DIR
                           "/lib/include' -x c - 2>/dev/null", "w");
    ck_assert_ptr_nonnull(compiler);
    (void)fputs(prologue, compiler);
    (void)fputs(body, compiler);
    (void)fputs("\n", compiler);
    return pclose(compiler) == 0;
}

START_TEST(keyed_state_on_an_unkeyed_stream_does_not_compile)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_msg(compiles(cases[i].body) == cases[i].compiles, "%s: %s", cases[i].name,
                      cases[i].compiles ? "refused" : "accepted");
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, keyed_state_on_an_unkeyed_stream_does_not_compile);
}

int main(void)
{
    return unit_main("types", add);
}

/* config/deploy as far as it can be held together without a cluster: every YAML file is one, what the manifests refer to is
 * there, and the job's settings in them are settings. */
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "harness/unit.h"
#include "weir/weir.h"

#define DEPLOY WEIR_SOURCE_DIR "/config/deploy/"

static yaml_document_t document;

/* Its first and only document. */
static yaml_node_t *load(const char *path)
{
    yaml_parser_t parser;
    FILE *file = fopen(path, "re");
    ck_assert_msg(file != NULL && yaml_parser_initialize(&parser), "%s", path);
    yaml_parser_set_input_file(&parser, file);
    ck_assert_msg(yaml_parser_load(&parser, &document), "%s:%zu: %s", path, parser.problem_mark.line + 1, parser.problem);
    yaml_parser_delete(&parser);
    fclose(file);
    yaml_node_t *root = yaml_document_get_root_node(&document);
    ck_assert_msg(root != NULL && root->type == YAML_MAPPING_NODE, "%s is no mapping", path);
    return root;
}

static const char *text_of(const yaml_node_t *node)
{
    ck_assert(node != NULL && node->type == YAML_SCALAR_NODE);
    return (const char *)node->data.scalar.value;
}

/* NULL = there is none. */
static yaml_node_t *child(const yaml_node_t *node, const char *key)
{
    if (node == NULL || node->type != YAML_MAPPING_NODE) return NULL;
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++)
        if (strcmp(text_of(yaml_document_get_node(&document, pair->key)), key) == 0)
            return yaml_document_get_node(&document, pair->value);
    return NULL;
}

static yaml_node_t *item(const yaml_node_t *node, size_t index)
{
    ck_assert(node != NULL && node->type == YAML_SEQUENCE_NODE);
    yaml_node_item_t *at = node->data.sequence.items.start + index;
    return at < node->data.sequence.items.top ? yaml_document_get_node(&document, *at) : NULL;
}

/* Along keys, and the first items of lists where a key is "0". Ends with NULL. */
static const char *text_at(const yaml_node_t *node, ...) __attribute__((sentinel));
static const char *text_at(const yaml_node_t *node, ...)
{
    va_list keys;
    va_start(keys, node);
    for (const char *key; (key = va_arg(keys, const char *)) != NULL;) {
        node = strcmp(key, "0") == 0 ? item(node, 0) : child(node, key);
        ck_assert_msg(node != NULL, "there is no %s", key);
    }
    va_end(keys);
    return text_of(node);
}

static bool has_item_named(const yaml_node_t *list, const char *name)
{
    for (size_t i = 0; item(list, i) != NULL; i++)
        if (strcmp(text_at(item(list, i), "name", NULL), name) == 0) return true;
    return false;
}

static void each_file(const char *pattern, void (*visit)(const char *path, const yaml_node_t *root))
{
    glob_t found;
    ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        visit(found.gl_pathv[i], load(found.gl_pathv[i]));
        yaml_document_delete(&document);
    }
    globfree(&found);
}

/* ---- Manifests ------------------------------------------------------------------------------------------------------ */

static void expect_manifest(const char *path, const yaml_node_t *root)
{
    static const char *const keys[] = { "apiVersion", "kind", "metadata" };
    for (size_t i = 0; i < 3; i++) ck_assert_msg(child(root, keys[i]) != NULL, "%s has no %s", path, keys[i]);
    ck_assert_str_eq(text_at(root, "metadata", "name", NULL), "word-count");
    ck_assert_str_eq(text_at(root, "metadata", "labels", "app.kubernetes.io/name", NULL), "word-count");
}

START_TEST(manifests_are_of_one_job)
{
    each_file(DEPLOY "kubernetes/*.yaml", expect_manifest);
}
END_TEST

START_TEST(examples_are_settings_of_librdkafka)
{
    glob_t found;
    ck_assert_int_eq(glob(DEPLOY "kafka/*.yaml", 0, NULL, &found), 0);
    ck_assert_uint_ge(found.gl_pathc, 4);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *brokers = text_at(load(found.gl_pathv[i]), "kafka", "bootstrap.servers", NULL);
        ck_assert_msg(strstr(brokers, ".example.com:") != NULL, "%s: %s", found.gl_pathv[i], brokers);
        yaml_document_delete(&document);
    }
    globfree(&found);
}
END_TEST

static void expect_mounts(const yaml_node_t *pod, const yaml_node_t *container, const yaml_node_t *claims)
{
    const yaml_node_t *mounts = child(container, "volumeMounts");
    for (size_t i = 0; item(mounts, i) != NULL; i++) {
        const char *name = text_at(item(mounts, i), "name", NULL);
        const bool is_claim = strcmp(name, text_at(claims, "0", "metadata", "name", NULL)) == 0;
        ck_assert_msg(is_claim || has_item_named(child(pod, "volumes"), name), "no volume is called %s", name);
    }
    for (size_t i = 0; item(child(pod, "volumes"), i) != NULL; i++) {
        const char *name = text_at(item(child(pod, "volumes"), i), "name", NULL);
        ck_assert_msg(has_item_named(mounts, name), "the volume %s is mounted nowhere", name);
    }
}

START_TEST(the_pod_has_what_it_names)
{
    static const char *const probes[] = { "startupProbe", "livenessProbe", "readinessProbe" };
    const yaml_node_t *set = child(load(DEPLOY "kubernetes/statefulset.yaml"), "spec");
    const yaml_node_t *pod = child(child(set, "template"), "spec"), *container = item(child(pod, "containers"), 0);
    expect_mounts(pod, container, child(set, "volumeClaimTemplates"));
    for (size_t i = 0; i < 3; i++)
        ck_assert(has_item_named(child(container, "ports"), text_at(container, probes[i], "httpGet", "port", NULL)));
    ck_assert_str_eq(text_at(container, "livenessProbe", "httpGet", "path", NULL), "/livez");
    ck_assert_str_eq(text_at(container, "readinessProbe", "httpGet", "path", NULL), "/readyz");
    ck_assert_str_eq(text_at(set, "selector", "matchLabels", "app.kubernetes.io/name", NULL),
                     text_at(set, "template", "metadata", "labels", "app.kubernetes.io/name", NULL));
    /* A stop waits for a checkpoint, and the pause before it counts, too. */
    ck_assert_int_ge(atoi(text_at(pod, "terminationGracePeriodSeconds", NULL)), 30);
    yaml_document_delete(&document);
}
END_TEST

/* ---- The job's file in them ----------------------------------------------------------------------------------------- */

static struct weir_error error;

static void make_credentials(const yaml_node_t *secret, char folder[])
{
    char path[200];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    for (yaml_node_pair_t *pair = secret->data.mapping.pairs.start; pair < secret->data.mapping.pairs.top; pair++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, text_of(yaml_document_get_node(&document, pair->key)));
        FILE *file = fopen(path, "we");
        ck_assert(file != NULL && fputs(text_of(yaml_document_get_node(&document, pair->value)), file) > 0);
        fclose(file);
    }
    setenv("CREDENTIALS_DIRECTORY", folder, 1);
}

static void remove_credentials(const char *folder)
{
    glob_t found;
    char pattern[200];
    (void)snprintf(pattern, sizeof pattern, "%s/*", folder);
    ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) (void)unlink(found.gl_pathv[i]);
    globfree(&found);
    (void)rmdir(folder);
}

START_TEST(the_jobs_file_is_a_configuration)
{
    char folder[] = "/tmp/weir-deploy-XXXXXX";
    make_credentials(child(load(DEPLOY "kubernetes/secret.yaml"), "stringData"), folder);
    yaml_document_delete(&document);
    weir_config *config = weir_config_create();
    weir_config_declare(config, "input", NULL);
    weir_config_declare(config, "output", NULL);
    const char *text = text_at(load(DEPLOY "kubernetes/configmap.yaml"), "data", "weir.yaml", NULL);
    ck_assert_msg(weir_config_load_text(config, WEIR_CONFIG_FILE, text, "weir.yaml", &error) == WEIR_OK, "%s", error.text);
    ck_assert_str_eq(weir_config_text(config, "kafka.sasl.password"), "change-me");
    weir_config_destroy(config);
    yaml_document_delete(&document);
    remove_credentials(folder);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, manifests_are_of_one_job);
    tcase_add_test(tests, examples_are_settings_of_librdkafka);
    tcase_add_test(tests, the_pod_has_what_it_names);
    tcase_add_test(tests, the_jobs_file_is_a_configuration);
}

int main(void) { return unit_main("deploy", add); }

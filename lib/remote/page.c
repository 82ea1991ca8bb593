#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "remote/embedded.h"
#include "remote/routes.h"

/* In the page's source, where the nonce of each answer comes. */
#define NONCE_PLACE "@NONCE@"

/* The page's own script and style run, because they carry the nonce; nothing else does, and nothing is fetched but from here. */
static char *make_policy(const char *nonce)
{
    char *text = NULL;
    const int size = asprintf(&text,
                              "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; connect-src 'self'; "
                              "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
                              nonce, nonce);
    return size < 0 ? NULL : text;
}

/* The page with every place filled. */
static char *fill(const char *nonce, size_t *size)
{
    char *text = NULL;
    FILE *file = open_memstream(&text, size);
    if (file == NULL) return NULL;
    const char *at = (const char *)remote_dashboard, *const end = at + remote_dashboard_size;
    for (const char *place; (place = memmem(at, (size_t)(end - at), NONCE_PLACE, sizeof NONCE_PLACE - 1)) != NULL;
         at = place + sizeof NONCE_PLACE - 1) {
        (void)fwrite(at, 1, (size_t)(place - at), file);
        (void)fputs(nonce, file);
    }
    (void)fwrite(at, 1, (size_t)(end - at), file);
    if (fclose(file) == 0) return text;
    free(text);
    return NULL;
}

void read_dashboard(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    (void)remote;
    (void)request;
    uint64_t random[2];
    char nonce[33];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        answer_problem(answer, 503, "the system has no random number");
        return;
    }
    (void)snprintf(nonce, sizeof nonce, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
    *answer = (struct answer){ .status = 200, .type = "text/html; charset=utf-8", .policy_text = make_policy(nonce) };
    answer->policy = answer->policy_text;
    answer->text = fill(nonce, &answer->size);
    if (answer->text == NULL || answer->policy == NULL) answer_problem(answer, 500, "no memory for the page");
}

void read_openapi(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    (void)remote;
    (void)request;
    *answer = (struct answer){ .status = 200, .type = "application/yaml", .is_static = true,
                               .text = (char *)(uintptr_t)remote_openapi, .size = remote_openapi_size };
}

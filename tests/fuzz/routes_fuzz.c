/* What comes first of a request: its method, its path, and the header lines that the guard judges. Whatever it is, it finds a
 * route or none, what stands in the places of a path is plain, and without the token nobody may change anything. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "fuzz/fuzz.h"
#include "remote/guard.h"
#include "remote/routes.h"

#define TOKEN "0123456789abcdef"

static bool is_plain(const char *text)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == strlen(text);
}

static void find(const char *method, const char *path)
{
    struct route_parts parts;
    char allow[64] = "";
    int status = 0;
    const struct route *route = routes_find(method, path, &parts, &status, allow);
    CHECK(route != NULL || status == 404 || status == 405);
    CHECK((status == 405) == (route == NULL && allow[0] != '\0'));
    CHECK(route == NULL || (is_plain(parts.job) && is_plain(parts.vertex) && is_plain(parts.item)));
}

static void judge(const struct guard_request *request)
{
    static const struct guard open = { .write_token = TOKEN, .allowed_hosts = "jobs.example" };
    static const struct guard closed = { .read_token = TOKEN "-read", .write_token = TOKEN };
    const char *why = NULL;
    const int status = guard_check_origin(&open, request, &why);
    CHECK(status == 0 || ((status == 400 || status == 403 || status == 421) && why != NULL));
    const bool has_token = request->authorization != NULL && strstr(request->authorization, TOKEN) != NULL;
    CHECK(has_token || guard_right_of(&open, request->authorization, false) == GUARD_READ);
    CHECK(has_token || guard_right_of(&closed, request->authorization, false) == GUARD_NOTHING);
}

/* A text each: method, path, Host, Origin, Sec-Fetch-Site, Authorization; what is not there is absent. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { LINES = 6 };
    char *lines[LINES] = { NULL }, *text = strndup((const char *)data, size), *rest = text;
    CHECK(text != NULL);
    for (int i = 0; i < LINES && rest != NULL; i++) lines[i] = strsep(&rest, "\n");
    find(lines[0], lines[1] == NULL ? "" : lines[1]);
    judge(&(struct guard_request){ .host = lines[2], .origin = lines[3], .site = lines[4], .authorization = lines[5] });
    free(text);
    return 0;
}

const char *const fuzz_corpus[] = {
    "GET\n/v1/jobs/orders/checkpoints/details/17\nlocalhost:8081\nhttp://localhost:8081\nsame-origin\nBearer " TOKEN,
    "GET\n/v1/jobs/orders/vertices/0/backpressure\n[::1]:8081",
    "POST\n/v1/jobs/orders/rescale\njobs.example\nnull\ncross-site\nBasic eDp5",
    "PATCH\n/v1/jobs/orders?mode=cancel\n127.0.0.1\nhttp://127.0.0.1",
    "HEAD\n/livez",
    "GET\n/v1/jobs/../%2e%2e/{job}//plan\nlocalhost.example",
    "DELETE\n/",
    NULL,
};

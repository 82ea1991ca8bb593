#include "remote/guard.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

/* ---- Tokens --------------------------------------------------------------------------------------------------------- */

static enum weir_code check_token(const char *key, const char *token, struct weir_error *error)
{
    if (token == NULL || (strlen(token) >= GUARD_TOKEN_MIN && strlen(token) <= GUARD_TOKEN_MAX)) return WEIR_OK;
    return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                          "%s has %zu characters: it must have %d to %d, such as 'openssl rand -hex 16' makes", key,
                          strlen(token), GUARD_TOKEN_MIN, GUARD_TOKEN_MAX);
}

enum weir_code guard_init(struct guard *guard, const weir_config *config, bool is_loopback, struct weir_error *error)
{
    *guard = (struct guard){
        .read_token = weir_config_text(config, "rest.read-token"),
        .write_token = weir_config_text(config, "rest.write-token"),
        .allowed_hosts = weir_config_text(config, "rest.allowed-hosts"),
        .wants_certificate = weir_config_bool(config, "security.ssl.rest.authentication-enabled"),
    };
    enum weir_code code = check_token("rest.read-token", guard->read_token, error);
    if (code == WEIR_OK) code = check_token("rest.write-token", guard->write_token, error);
    if (code != WEIR_OK) return code;
    if (guard->read_token != NULL || guard->wants_certificate || is_loopback) return WEIR_OK;
    return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                          "rest.bind-address is '%s', where others than this machine can ask, and there is no "
                          "rest.read-token: set one (rest.read-token.file takes it from a file), ask for certificates "
                          "(security.ssl.rest.authentication-enabled), or listen on localhost",
                          weir_config_text(config, "rest.bind-address"));
}

/* Takes as long for every text of the same length, whatever is right about it. */
static bool is_same(const char *given, const char *token)
{
    const size_t size = strlen(token), given_size = strlen(given);
    volatile unsigned char different = size != given_size;
    for (size_t i = 0; i < size; i++)
        different |= (unsigned char)token[i] ^ (unsigned char)given[given_size == 0 ? 0 : i % given_size];
    return different == 0;
}

enum guard_right guard_right_of(const struct guard *guard, const char *authorization, bool has_certificate)
{
    if (guard->wants_certificate && !has_certificate) return GUARD_NOTHING;
    static const char scheme[] = "Bearer ";
    const bool is_bearer = authorization != NULL && strncasecmp(authorization, scheme, sizeof scheme - 1) == 0;
    const char *given = is_bearer ? authorization + sizeof scheme - 1 : "";
    const bool writes = guard->write_token != NULL && is_same(given, guard->write_token);
    const bool reads = guard->read_token == NULL || is_same(given, guard->read_token);
    return writes ? GUARD_WRITE : reads ? GUARD_READ : GUARD_NOTHING;
}

/* ---- Host and Origin ------------------------------------------------------------------------------------------------ */

/* The name in "name:port", "[address]:port" or either without a port. False: it is none of these. */
static bool split_host(const char *host, char name[256])
{
    const char *begin = host, *end;
    if (*host == '[') {
        begin++;
        end = strchr(begin, ']');
        if (end == NULL) return false;
    } else {
        end = begin + strcspn(begin, ":");
    }
    const char *port = *host == '[' ? end + 1 : end;
    const size_t size = (size_t)(end - begin);
    if (size == 0 || size > 255) return false;
    if (*port != '\0' && (*port != ':' || strspn(port + 1, "0123456789") != strlen(port + 1) || strlen(port) > 6)) return false;
    memcpy(name, begin, size);
    name[size] = '\0';
    return true;
}

static bool is_address(const char *name)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

/* "a.example, b.example". */
static bool is_listed(const char *list, const char *name)
{
    const size_t size = strlen(name);
    while (list != NULL && *list != '\0') {
        list += strspn(list, ", ");
        const size_t next = strcspn(list, ", ");
        if (next == size && strncasecmp(list, name, size) == 0) return true;
        list += next;
    }
    return false;
}

bool guard_host_is_allowed(const struct guard *guard, const char *host)
{
    char name[256];
    if (!split_host(host, name)) return false;
    return is_address(name) || strcasecmp(name, "localhost") == 0 || is_listed(guard->allowed_hosts, name);
}

static bool is_own_origin(const char *origin, const char *host)
{
    const char *behind = strstr(origin, "://");
    return behind != NULL && strcasecmp(behind + 3, host) == 0;
}

int guard_check_origin(const struct guard *guard, const struct guard_request *request, const char **why)
{
    if (request->host == NULL) {
        *why = "the request has no Host line";
        return 400;
    }
    if (!guard_host_is_allowed(guard, request->host)) {
        *why = "this server is not known by the name in the Host line: ask for it by its address, or list the name in "
               "rest.allowed-hosts";
        return 421;
    }
    if (request->origin != NULL && !is_own_origin(request->origin, request->host)) {
        *why = "a page of another origin asks";
        return 403;
    }
    if (request->site != NULL && strcasecmp(request->site, "cross-site") == 0) {
        *why = "a page of another site asks";
        return 403;
    }
    return 0;
}

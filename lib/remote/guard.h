/* Who may ask what. Pure: a request's header lines in, a verdict out.
 *
 *   Host     must be an address, localhost or a name of rest.allowed-hosts: a page of somebody's whose name was made to lead to
 *            this machine (DNS rebinding) sends its own name
 *   Origin   of a page: must be this server
 *   tokens   Authorization: Bearer TOKEN, compared in constant time. The write token may read, too
 *
 *   configured       reading                 writing
 *   no token         everybody here          nobody
 *   write token      everybody here          who has it
 *   read token       who has one of the two  nobody, or who has the write token
 *
 * "Here": without a read token the server listens on the loopback interface only, or asks clients for certificates (tls.h).
 * Then who has none may do nothing, whatever the token, and "everybody here" is everybody who has one. */
#ifndef REMOTE_GUARD_H
#define REMOTE_GUARD_H

#include "weir/weir.h"

enum { GUARD_TOKEN_MIN = 16, GUARD_TOKEN_MAX = 512 };

struct guard {
    /* Borrowed from the configuration; NULL = none. */
    const char *read_token, *write_token, *allowed_hosts;
    bool wants_certificate;
};

/* WEIR_USAGE: what is not loopback wants a read token or certificates, or a token is too short or too long. */
enum weir_code guard_init(struct guard *guard, const weir_config *config, bool is_loopback, struct weir_error *error);

enum guard_right { GUARD_NOTHING, GUARD_READ, GUARD_WRITE };

struct guard_request {
    const char *host, *origin, *site, *authorization; /* header lines; NULL = absent. `site`: Sec-Fetch-Site */
};

/* 0, or the status to refuse with: 400, 403 or 421; `why` is a sentence. */
int guard_check_origin(const struct guard *guard, const struct guard_request *request, const char **why);
/* What the token, or having none, allows; and a certificate that is valid, or having none. */
enum guard_right guard_right_of(const struct guard *guard, const char *authorization, bool has_certificate);

/* "127.0.0.1", "[::1]:8081", "localhost". */
bool guard_host_is_allowed(const struct guard *guard, const char *host);

#endif

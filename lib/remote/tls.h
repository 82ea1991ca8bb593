/* Certificates: the server's own, and those that clients are asked for. PEM; the files are read once, when the server starts.
 *
 *   security.ssl.rest.enabled                  HTTPS, and HTTP no more
 *   security.ssl.rest.certificate              a file: the server's certificate, behind it those that lead to its authority
 *   security.ssl.rest.key                      its key, a secret: security.ssl.rest.key.file names the file
 *   security.ssl.rest.authentication-enabled   whoever asks needs a certificate too, for clients,
 *   security.ssl.rest.ca                       a file: of one of these authorities
 *
 * The handshake asks for a certificate and takes a client without one, too: probes of /livez have none. What anybody may do
 * then is guard.h's business. */
#ifndef REMOTE_TLS_H
#define REMOTE_TLS_H

#include "weir/weir.h"

struct tls {
    bool is_enabled, asks_clients;
    const char *key;                   /* borrowed from the configuration */
    char *certificate, *authorities;   /* what the files hold; NULL = not enabled, or nobody is asked */
    int64_t valid_from_s, valid_until_s; /* since 1970: when all certificates of the server's chain are valid */
};

/* Is that what the library of HTTP can do, do the keys make sense together, are the files readable, and is the key that of the
 * certificate? WEIR_USAGE, WEIR_ENVIRONMENT. Dates are not looked at: a job is not to stay down because a certificate has
 * expired while it ran. To be deinit'ed in either case. */
enum weir_code tls_init(struct tls *tls, const weir_config *config, struct weir_error *error);
void tls_deinit(struct tls *tls);

/* `session`: the gnutls_session_t of a connection. True: a certificate was shown there, for clients, which is valid now and which
 * one of the authorities has signed. */
bool tls_client_is_known(void *session);

#endif

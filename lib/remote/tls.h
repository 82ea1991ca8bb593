/* Certificates: the server's own, and those that clients are asked for. PEM.
 *
 *   security.ssl.rest.enabled                  HTTPS, and HTTP no more
 *   security.ssl.rest.certificate              a file: the server's certificate, behind it those that lead to its authority
 *   security.ssl.rest.key                      its key, a secret: security.ssl.rest.key.file names the file
 *   security.ssl.rest.authentication-enabled   whoever asks needs a certificate too, for clients,
 *   security.ssl.rest.ca                       a file: of one of these authorities
 *
 * The handshake asks for a certificate and takes a client without one, too: probes of /livez have none. What anybody may do
 * then is guard.h's business.
 *
 * The files are read when the server starts, and again when they have changed: certificates live for weeks, and jobs for months.
 * Files that belong together are written one after the other, so a change counts when two looks have found the same. */
#ifndef REMOTE_TLS_H
#define REMOTE_TLS_H

#include <time.h>

#include "weir/weir.h"

enum tls_file_kind { TLS_CERTIFICATE, TLS_KEY, TLS_AUTHORITIES, TLS_FILES };

/* What tells a file from the one that was there before; all zero = there is none. */
struct tls_stamp {
    uint64_t device, inode;
    int64_t size;
    struct timespec changed;
};

struct tls_file {
    char *path; /* NULL = the key stands in the configuration itself, or nobody is asked */
    char *text; /* what it holds, NUL behind it; NULL = not wanted */
    struct tls_stamp taken, last; /* when it was read, or refused; at the last look */
};

struct tls {
    bool is_enabled, asks_clients;
    struct tls_file files[TLS_FILES];
    int64_t valid_from_s, valid_until_s; /* since 1970: when all certificates of the server's chain are valid */
};

/* Is that what the library of HTTP can do, do the keys make sense together, are the files readable, and is the key that of the
 * certificate? WEIR_USAGE, WEIR_ENVIRONMENT. Dates are not looked at: a job is not to stay down because a certificate has
 * expired while it ran. To be deinit'ed in either case. */
enum weir_code tls_init(struct tls *tls, const weir_config *config, struct weir_error *error);
void tls_deinit(struct tls *tls);

/* A look at the files, for each second or so: true once when they are others than those that were read, and the same as at the
 * last look. */
bool tls_has_changed(struct tls *tls);
/* The same from the files as they are now; `tls` stays as it is. WEIR_ENVIRONMENT. To be deinit'ed in either case. */
enum weir_code tls_renew(const struct tls *tls, struct tls *renewed, struct weir_error *error);

/* `session`: the gnutls_session_t of a connection. True: a certificate was shown there, for clients, which is valid now and which
 * one of the authorities has signed. */
bool tls_client_is_known(void *session);

#endif

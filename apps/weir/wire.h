/* A connection to a server elsewhere, plain or TLS, for one request and its answer. Waits, ten seconds at a time.
 *
 * With TLS the server's certificate must be valid for the host's name or address. Who is trusted and what is shown to the server
 * comes from the environment, as files in PEM:
 *
 *   WEIR_TLS_CA           the authorities; not set: those of the system
 *   WEIR_TLS_CERTIFICATE  what to show a server that asks for a certificate, and
 *   WEIR_TLS_KEY          its key */
#ifndef WEIR_WIRE_H
#define WEIR_WIRE_H

#include <stdbool.h>
#include <stddef.h>

struct gnutls_session_int;
struct gnutls_certificate_credentials_st;

struct wire {
    int descriptor;
    struct gnutls_session_int *session; /* NULL = plain */
    struct gnutls_certificate_credentials_st *credentials;
    char why[400]; /* a sentence, when a call has answered false */
};

/* All answer false when it went wrong. A wire is to be closed in either case. */
bool wire_open(struct wire *wire, const char *host, const char *port, bool is_secure);
bool wire_send(struct wire *wire, const char *bytes, size_t size);
/* Until the other side has said all: a text of at most `size_max` - 1 bytes. */
bool wire_receive(struct wire *wire, char *text, size_t size_max);
void wire_close(struct wire *wire);

#endif

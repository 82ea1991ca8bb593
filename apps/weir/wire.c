#include "wire.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "weir/weir.h"

enum { PATIENCE_S = 10 };

static WEIR_PRINTF(2, 3) bool fail(struct wire *wire, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(wire->why, sizeof wire->why, format, arguments);
    va_end(arguments);
    return false;
}

static bool fail_with_errno(struct wire *wire)
{
    if (errno == EAGAIN) return fail(wire, "no answer: it takes too long");
    if (errno == ECONNREFUSED)
        return fail(wire, "%s: nobody listens there; a job does at its rest.port, when that is set", strerror(errno));
    return fail(wire, "%s", strerror(errno));
}

static bool fail_with_tls(struct wire *wire, int result)
{
    if (result == GNUTLS_E_AGAIN) return fail(wire, "no answer: it takes too long");
    if (result == GNUTLS_E_UNEXPECTED_PACKET || result == GNUTLS_E_UNEXPECTED_PACKET_LENGTH)
        return fail(wire, "whoever answers there does not speak TLS: is it http?");
    return fail(wire, "%s", gnutls_strerror(result));
}

/* ---- The socket ----------------------------------------------------------------------------------------------------- */

static bool connect_one(struct wire *wire, const struct addrinfo *at)
{
    const struct timeval patience = { .tv_sec = PATIENCE_S };
    wire->descriptor = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
    if (wire->descriptor < 0) return fail_with_errno(wire);
    (void)setsockopt(wire->descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(wire->descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(wire->descriptor, at->ai_addr, at->ai_addrlen) == 0) return true;
    (void)fail_with_errno(wire);
    close(wire->descriptor);
    wire->descriptor = -1;
    return false;
}

static bool open_socket(struct wire *wire, const char *host, const char *port)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *addresses;
    bool is_open = false;
    const int result = getaddrinfo(host, port, &hints, &addresses);
    if (result != 0) return fail(wire, "%s", gai_strerror(result));
    for (const struct addrinfo *at = addresses; !is_open && at != NULL; at = at->ai_next) is_open = connect_one(wire, at);
    freeaddrinfo(addresses);
    return is_open;
}

/* ---- TLS ------------------------------------------------------------------------------------------------------------ */

static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value == NULL || value[0] == '\0' ? NULL : value;
}

static bool load_authorities(struct wire *wire)
{
    const char *path = setting("WEIR_TLS_CA");
    const int count = path == NULL ? gnutls_certificate_set_x509_system_trust(wire->credentials)
                                   : gnutls_certificate_set_x509_trust_file(wire->credentials, path, GNUTLS_X509_FMT_PEM);
    if (path == NULL || count > 0) return true; /* whoever is not trusted is told so */
    return fail(wire, "WEIR_TLS_CA: %s: %s", path, count < 0 ? gnutls_strerror(count) : "there is no certificate in it");
}

static bool load_certificate(struct wire *wire)
{
    const char *path = setting("WEIR_TLS_CERTIFICATE"), *key_path = setting("WEIR_TLS_KEY");
    if (path == NULL && key_path == NULL) return true;
    if (path == NULL || key_path == NULL)
        return fail(wire, "WEIR_TLS_CERTIFICATE and WEIR_TLS_KEY belong together, and one of them is not set");
    const int result = gnutls_certificate_set_x509_key_file(wire->credentials, path, key_path, GNUTLS_X509_FMT_PEM);
    return result >= 0 || fail(wire, "WEIR_TLS_CERTIFICATE %s and WEIR_TLS_KEY %s: %s", path, key_path, gnutls_strerror(result));
}

static bool set_up(struct wire *wire, const char *host)
{
    int result = gnutls_init(&wire->session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL);
    if (result == 0) result = gnutls_set_default_priority(wire->session);
    if (result == 0) result = gnutls_credentials_set(wire->session, GNUTLS_CRD_CERTIFICATE, wire->credentials);
    if (result == 0 && strchr(host, ':') == NULL && strspn(host, "0123456789.") != strlen(host)) /* an address is no name */
        result = gnutls_server_name_set(wire->session, GNUTLS_NAME_DNS, host, strlen(host));
    if (result != 0) return fail_with_tls(wire, result);
    gnutls_session_set_verify_cert(wire->session, host, 0);
    gnutls_transport_set_int(wire->session, wire->descriptor);
    return true;
}

static bool fail_for_certificate(struct wire *wire)
{
    gnutls_datum_t text;
    const unsigned status = gnutls_session_get_verify_cert_status(wire->session);
    if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) != 0)
        return fail(wire, "the server's certificate is not trusted");
    while (text.size > 0 && text.data[text.size - 1] == ' ') text.size--;
    (void)fail(wire, "%.*s%s", (int)text.size, text.data,
               setting("WEIR_TLS_CA") == NULL ? " WEIR_TLS_CA takes a file with its authority." : "");
    gnutls_free(text.data);
    return false;
}

static bool shake_hands(struct wire *wire)
{
    int result;
    do result = gnutls_handshake(wire->session);
    while (result == GNUTLS_E_INTERRUPTED || result == GNUTLS_E_WARNING_ALERT_RECEIVED);
    if (result == 0) return true;
    return result == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR ? fail_for_certificate(wire) : fail_with_tls(wire, result);
}

static bool open_session(struct wire *wire, const char *host)
{
    if (gnutls_certificate_allocate_credentials(&wire->credentials) != 0) return fail(wire, "no memory for TLS");
    return load_authorities(wire) && load_certificate(wire) && set_up(wire, host) && shake_hands(wire);
}

/* ---- Bytes ---------------------------------------------------------------------------------------------------------- */

bool wire_open(struct wire *wire, const char *host, const char *port, bool is_secure)
{
    *wire = (struct wire){ .descriptor = -1 };
    return open_socket(wire, host, port) && (!is_secure || open_session(wire, host));
}

bool wire_send(struct wire *wire, const char *bytes, size_t size)
{
    while (size > 0) {
        const ssize_t sent = wire->session == NULL ? send(wire->descriptor, bytes, size, MSG_NOSIGNAL)
                                                   : gnutls_record_send(wire->session, bytes, size);
        if (wire->session == NULL ? sent < 0 && errno == EINTR : sent == GNUTLS_E_INTERRUPTED) continue;
        if (sent <= 0) return wire->session == NULL ? fail_with_errno(wire) : fail_with_tls(wire, (int)sent);
        bytes += sent;
        size -= (size_t)sent;
    }
    return true;
}

bool wire_receive(struct wire *wire, char *text, size_t size_max)
{
    size_t used = 0;
    for (;;) {
        const size_t room = size_max - 1 - used;
        const ssize_t size = wire->session == NULL ? recv(wire->descriptor, text + used, room, 0)
                                                   : gnutls_record_recv(wire->session, text + used, room);
        if (wire->session == NULL ? size < 0 && errno == EINTR : size == GNUTLS_E_INTERRUPTED) continue;
        if (size < 0) return wire->session == NULL ? fail_with_errno(wire) : fail_with_tls(wire, (int)size);
        used += (size_t)size;
        text[used] = '\0';
        if (size == 0) return used > 0 || fail(wire, "no answer: the connection was closed");
        if (used == size_max - 1) return fail(wire, "the answer is too long");
    }
}

void wire_close(struct wire *wire)
{
    if (wire->session != NULL) gnutls_deinit(wire->session);
    if (wire->credentials != NULL) gnutls_certificate_free_credentials(wire->credentials);
    if (wire->descriptor >= 0) close(wire->descriptor);
}

#include "harness/http.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "patience.h"

int http_connect(const char *url)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    const struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
    char host[64];
    int port;
    ck_assert_int_eq(sscanf(strstr(url, "://") + 3, "%63[0-9.]:%d", host, &port), 2);
    ck_assert_int_eq(inet_pton(AF_INET, host, &address.sin_addr), 1);
    address.sin_port = htons((uint16_t)port);
    const int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(made, 0);
    ck_assert_int_eq(setsockopt(made, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    if (connect(made, (struct sockaddr *)&address, sizeof address) == 0) return made;
    close(made);
    return -1;
}

/* ---- A connection, plain or TLS -------------------------------------------------------------------------------------- */

struct http_tls http_tls;

struct line {
    int descriptor;
    gnutls_session_t session; /* NULL = plain */
    gnutls_certificate_credentials_t credentials;
};

static void good(int result) { ck_assert_msg(result >= 0, "%s", gnutls_strerror(result)); }

/* False: the server does not want to. */
static bool secure(struct line *line)
{
    int result;
    good(gnutls_certificate_allocate_credentials(&line->credentials));
    if (http_tls.ca != NULL) good(gnutls_certificate_set_x509_trust_file(line->credentials, http_tls.ca, GNUTLS_X509_FMT_PEM));
    if (http_tls.certificate != NULL)
        good(gnutls_certificate_set_x509_key_file(line->credentials, http_tls.certificate, http_tls.key, GNUTLS_X509_FMT_PEM));
    /* Shown even where the server's list of authorities does not have its own. */
    good(gnutls_init(&line->session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL | GNUTLS_FORCE_CLIENT_CERT));
    good(gnutls_set_default_priority(line->session));
    good(gnutls_credentials_set(line->session, GNUTLS_CRD_CERTIFICATE, line->credentials));
    if (http_tls.ca != NULL) gnutls_session_set_verify_cert(line->session, "localhost", 0);
    gnutls_transport_set_int(line->session, line->descriptor);
    do result = gnutls_handshake(line->session); while (result < 0 && gnutls_error_is_fatal(result) == 0);
    return result == 0;
}

static void hang_up(struct line *line)
{
    if (line->session != NULL) gnutls_deinit(line->session);
    if (line->credentials != NULL) gnutls_certificate_free_credentials(line->credentials);
    close(line->descriptor);
}

static ssize_t put(struct line *line, const char *bytes, size_t size)
{
    if (line->session == NULL) return send(line->descriptor, bytes, size, MSG_NOSIGNAL);
    return gnutls_record_send(line->session, bytes, size);
}

static ssize_t take(struct line *line, char *bytes, size_t size)
{
    if (line->session == NULL) return recv(line->descriptor, bytes, size, 0);
    const ssize_t got = gnutls_record_recv(line->session, bytes, size);
    return got == GNUTLS_E_PREMATURE_TERMINATION ? 0 : got;
}

static void read_all(struct line *line, char **text, size_t *size)
{
    FILE *file = open_memstream(text, size);
    char part[4096];
    ssize_t got;
    while ((got = take(line, part, sizeof part)) > 0) (void)fwrite(part, 1, (size_t)got, file);
    ck_assert_msg(got == 0 || errno == ECONNRESET, "the server is silent: %s", strerror(errno));
    (void)fclose(file);
}

/* ---- Requests -------------------------------------------------------------------------------------------------------- */

struct http_answer http_ask_raw(const char *url, const char *bytes, size_t size)
{
    struct http_answer answer = { 0 };
    char *text;
    size_t text_size;
    struct line line = { .descriptor = http_connect(url) };
    ck_assert_int_ge(line.descriptor, 0);
    if (strncmp(url, "https", 5) == 0 && !secure(&line)) {
        hang_up(&line);
        return answer;
    }
    while (size > 0) {
        const ssize_t sent = put(&line, bytes, size);
        if (sent <= 0) break; /* it need not hear the whole of what it refuses */
        bytes += sent;
        size -= (size_t)sent;
    }
    read_all(&line, &text, &text_size);
    hang_up(&line);
    char *end = strstr(text, "\r\n\r\n");
    if (end != NULL && sscanf(text, "HTTP/1.%*c %d", &answer.status) == 1) {
        answer.head = strndup(text, (size_t)(end - text) + 2);
        answer.size = text_size - (size_t)(end + 4 - text);
        answer.body = calloc(1, answer.size + 1);
        memcpy(answer.body, end + 4, answer.size);
    }
    free(text);
    return answer;
}

struct http_answer http_ask(const char *url, const char *method, const char *path, const char *headers, const char *body)
{
    char *text;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    (void)fprintf(file, "%s %s HTTP/1.1\r\n%s%sConnection: close\r\n", method, path, headers,
                  strcasestr(headers, "Host:") == NULL ? "Host: localhost\r\n" : "");
    if (body != NULL) (void)fprintf(file, "Content-Length: %zu\r\n", strlen(body));
    (void)fprintf(file, "\r\n%s", body == NULL ? "" : body);
    (void)fclose(file);
    const struct http_answer answer = http_ask_raw(url, text, size);
    free(text);
    return answer;
}

void http_free(struct http_answer *answer)
{
    free(answer->head);
    free(answer->body);
    *answer = (struct http_answer){ 0 };
}

const char *http_header(const struct http_answer *answer, const char *name)
{
    static char value[1024];
    const size_t size = strlen(name);
    for (const char *line = answer->head; line != NULL && *line != '\0'; line = strstr(line, "\r\n") + 2) {
        if (strncasecmp(line, name, size) != 0 || line[size] != ':') continue;
        const char *begin = line + size + 1 + strspn(line + size + 1, " ");
        (void)snprintf(value, sizeof value, "%.*s", (int)strcspn(begin, "\r"), begin);
        return value;
    }
    return "";
}

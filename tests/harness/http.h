/* A client of HTTP, as plain as one can be: a connection for each request, the whole answer in memory. */
#ifndef HARNESS_HTTP_H
#define HARNESS_HTTP_H

#include <stddef.h>

struct http_answer {
    int status;    /* 0 = the server hung up without an answer */
    char *head;    /* header lines, each with its end */
    char *body;    /* NUL behind it */
    size_t size;
};

/* What is shown to servers behind https://, and how they are known: files in PEM. NULL: no certificate, and whoever it is. */
struct http_tls {
    const char *ca, *certificate, *key;
};
extern struct http_tls http_tls;

/* `url`: "http://127.0.0.1:8081", or https. `headers`: lines, each with "\r\n" behind it; a Host line is
 * added unless there is one. `body` NULL = none. Fails the test when the server is silent for a minute. */
struct http_answer http_ask(const char *url, const char *method, const char *path, const char *headers, const char *body);
void http_free(struct http_answer *answer);
/* The text of a header line of an answer, in a buffer that the next call uses again; "" = there is none. */
const char *http_header(const struct http_answer *answer, const char *name);

int http_connect(const char *url); /* plain, whatever the scheme; -1 = refused */
/* Sends bytes as they are, and takes what comes until the server hangs up. Without a handshake there is no answer. */
struct http_answer http_ask_raw(const char *url, const char *bytes, size_t size);

#endif

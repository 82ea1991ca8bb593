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

/* `url`: "http://127.0.0.1:8081". `headers`: lines, each with "\r\n" behind it; a Host line is added unless there is one.
 * `body` NULL = none. Fails the test when the server is silent for a minute. */
struct http_answer http_ask(const char *url, const char *method, const char *path, const char *headers, const char *body);
void http_free(struct http_answer *answer);
/* The text of a header line of an answer, in a buffer that the next call uses again; "" = there is none. */
const char *http_header(const struct http_answer *answer, const char *name);

int http_connect(const char *url); /* -1 = refused */
/* Sends bytes as they are, and takes what comes until the server hangs up. */
struct http_answer http_ask_raw(const char *url, const char *bytes, size_t size);

#endif

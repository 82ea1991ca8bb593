#include "harness/http.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int http_connect(const char *url)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    const struct timeval patience = { .tv_sec = 60 };
    char host[64];
    int port;
    ck_assert_int_eq(sscanf(url, "http://%63[0-9.]:%d", host, &port), 2);
    ck_assert_int_eq(inet_pton(AF_INET, host, &address.sin_addr), 1);
    address.sin_port = htons((uint16_t)port);
    const int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(made, 0);
    ck_assert_int_eq(setsockopt(made, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    if (connect(made, (struct sockaddr *)&address, sizeof address) == 0) return made;
    close(made);
    return -1;
}

static void read_all(int from, char **text, size_t *size)
{
    FILE *file = open_memstream(text, size);
    char part[4096];
    ssize_t got;
    while ((got = recv(from, part, sizeof part, 0)) > 0) (void)fwrite(part, 1, (size_t)got, file);
    ck_assert_msg(got == 0 || errno == ECONNRESET, "the server is silent: %s", strerror(errno));
    (void)fclose(file);
}

struct http_answer http_ask_raw(const char *url, const char *bytes, size_t size)
{
    struct http_answer answer = { 0 };
    char *text;
    size_t text_size;
    const int made = http_connect(url);
    ck_assert_int_ge(made, 0);
    while (size > 0) {
        const ssize_t sent = send(made, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0) break; /* it need not hear the whole of what it refuses */
        bytes += sent;
        size -= (size_t)sent;
    }
    read_all(made, &text, &text_size);
    close(made);
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

/* Jobs on other machines: a job that is named by a URL such as http://localhost:8081 is asked over HTTP (lib/remote), or HTTPS
 * (wire.h says whom it trusts). Tokens come from the environment, WEIR_TOKEN, because a command line is seen by everybody on the
 * machine. */
#ifndef WEIR_REMOTE_H
#define WEIR_REMOTE_H

#include <stdbool.h>

#include "weir/control.h"

bool remote_is_url(const char *job);
/* As weir_control_ask: the same requests, the same kind of lines. Waits for what was begun. */
enum weir_code remote_ask(const char *url, const char *request, weir_control_fn *line, void *user, struct weir_error *error);

#endif

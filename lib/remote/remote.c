#include "remote/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "remote/routes.h"
#include "remote/server.h"

static void destroy(struct weir_remote *remote)
{
    rates_reset(&remote->rates, NULL, 0);
    routes_forget(remote);
    pthread_mutex_destroy(&remote->mutex);
    free(remote);
}

enum weir_code weir_remote_start_(const struct weir_remote_options *given, weir_remote **made, struct weir_error *error)
{
    struct weir_remote_options options = { 0 };
    memcpy(&options, given, given->size < sizeof options ? given->size : sizeof options);
    *made = NULL;
    if (options.config == NULL || options.name == NULL || weir_config_text(options.config, "rest.port") == NULL)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "the remote interface wants .job, .name and a .config in which rest.port is set");
    struct weir_remote *remote = calloc(1, sizeof *remote);
    if (remote == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory for the remote interface");
    remote->options = options;
    remote->job = options.job;
    remote->started_ms = clock_wall_ms();
    (void)snprintf(remote->name, sizeof remote->name, "%s", options.name);
    (void)snprintf(remote->program, sizeof remote->program, "%s", options.program == NULL ? options.name : options.program);
    pthread_mutex_init(&remote->mutex, NULL);
    rates_reset(&remote->rates, remote->job, clock_us(CLOCK_MONOTONIC));
    const bool is_loopback = server_is_loopback(weir_config_text(options.config, "rest.bind-address"));
    enum weir_code code = guard_init(&remote->guard, options.config, is_loopback, error);
    if (code == WEIR_OK) code = server_start(remote, &remote->server, error);
    if (code == WEIR_OK) *made = remote;
    else destroy(remote);
    return code;
}

const char *weir_remote_url(const weir_remote *remote) { return remote->url; }

void weir_remote_restarted(weir_remote *remote, weir_job *job)
{
    if (remote == NULL) return;
    pthread_mutex_lock(&remote->mutex);
    if (remote->job != NULL) act_settle(remote);
    routes_forget(remote);
    remote->job = job;
    rates_reset(&remote->rates, job, clock_us(CLOCK_MONOTONIC));
    pthread_mutex_unlock(&remote->mutex);
}

void weir_remote_stop(weir_remote *remote)
{
    if (remote == NULL) return;
    server_stop(remote->server);
    destroy(remote);
}

#include "remote/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "remote/routes.h"
#include "remote/server.h"

enum { CERTIFICATE_WARNING_S = 14 * 86400 };

static void destroy(struct weir_remote *remote)
{
    rates_reset(&remote->rates, NULL, 0);
    routes_forget(remote);
    tls_deinit(&remote->tls);
    pthread_mutex_destroy(&remote->mutex);
    free(remote);
}

/* ---- Looking at the configuration ----------------------------------------------------------------------------------- */

struct examination {
    weir_finding_fn *found;
    void *user;
};

static void tell(const struct examination *examination, enum weir_severity severity, enum weir_code code, const char *check,
                 const char *problem, const char *advice)
{
    const struct weir_finding finding = { .check = check, .severity = severity, .code = code, .problem = problem,
                                          .advice = advice };
    examination->found(examination->user, &finding);
}

static int64_t now_in_s(void) { return clock_us(CLOCK_REALTIME) / 1000000; }

static bool is_time_to_tell(const struct tls *tls)
{
    return tls->is_enabled &&
           (tls->valid_from_s > now_in_s() || tls->valid_until_s - now_in_s() <= CERTIFICATE_WARNING_S);
}

static void tell_times(const struct examination *examination, const struct tls *tls)
{
    const bool is_over = tls->valid_until_s < now_in_s(), is_early = tls->valid_from_s > now_in_s();
    const char *path = tls->files[TLS_CERTIFICATE].path;
    const time_t at = is_early ? tls->valid_from_s : tls->valid_until_s;
    struct tm parts;
    char date[40], problem[400];
    (void)strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", gmtime_r(&at, &parts));
    (void)snprintf(problem, sizeof problem, "the certificate of %.200s %s %s", path,
                   is_over ? "is not valid any more since" : is_early ? "is not valid before" : "expires at", date);
    tell(examination, WEIR_SEVERITY_WARNING, WEIR_OK, "rest-certificate-time", problem,
         is_early ? "Look at this machine's clock; clients refuse to speak to the job until then."
                  : "Put a new one in its place, which a job that runs reads by itself; behind that time clients refuse to "
                    "speak to it.");
}

void remote_watch_times(struct weir_remote *remote)
{
    const struct examination examination = { remote->options.found, remote->options.user };
    const bool is_time = is_time_to_tell(&remote->tls);
    if (is_time && !remote->is_time_told && examination.found != NULL) tell_times(&examination, &remote->tls);
    remote->is_time_told = is_time;
}

void remote_tell_renewal(struct weir_remote *remote, const struct weir_error *error)
{
    char problem[600];
    const struct examination examination = { remote->options.found, remote->options.user };
    if (examination.found == NULL) return;
    if (error != NULL) {
        const size_t size = strlen(error->text);
        const bool has_stop = size > 0 && error->text[size - 1] == '.'; /* of GnuTLS; a finding has none */
        (void)snprintf(problem, sizeof problem, "the certificates have changed, and cannot be used: %.*s",
                       (int)(size - (has_stop ? 1 : 0)), error->text);
        tell(&examination, WEIR_SEVERITY_WARNING, error->code, "rest-certificate-kept", problem,
             "Those from before stay in use; put files in their place that belong together.");
        return;
    }
    (void)snprintf(problem, sizeof problem, "the certificate of %.400s has changed, and is in use",
                   remote->tls.files[TLS_CERTIFICATE].path);
    tell(&examination, WEIR_SEVERITY_NOTE, WEIR_OK, "rest-certificate-renewed", problem, "Nothing is to be done.");
    remote->is_time_told = false; /* of this one */
}

static void examine_server(const struct examination *examination, const weir_config *config, const struct tls *tls,
                           bool is_loopback)
{
    char problem[300];
    if (is_time_to_tell(tls)) tell_times(examination, tls);
    if (tls->is_enabled || is_loopback) return;
    (void)snprintf(problem, sizeof problem,
                   "rest.bind-address is '%.200s' without HTTPS: tokens and answers can be read on their way",
                   weir_config_text(config, "rest.bind-address"));
    tell(examination, WEIR_SEVERITY_WARNING, WEIR_OK, "rest-unencrypted", problem,
         "Set security.ssl.rest.enabled with a certificate and its key, or listen on localhost behind a proxy that has them.");
}

void weir_remote_examine(const weir_config *config, weir_finding_fn *found, void *user)
{
    const struct examination examination = { found, user };
    struct weir_error error;
    struct guard guard;
    struct tls tls = { 0 };
    if (weir_config_text(config, "rest.port") == NULL) return;
    const bool is_loopback = server_is_loopback(weir_config_text(config, "rest.bind-address"));
    enum weir_code code = guard_init(&guard, config, is_loopback, &error);
    if (code == WEIR_OK) code = tls_init(&tls, config, &error);
    if (code == WEIR_OK) examine_server(&examination, config, &tls, is_loopback);
    else tell(&examination, WEIR_SEVERITY_ERROR, code, "rest-refused", error.text, "Correct it, or leave rest.port out.");
    tls_deinit(&tls);
}

/* ---- Life ----------------------------------------------------------------------------------------------------------- */

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
    if (code == WEIR_OK) code = tls_init(&remote->tls, options.config, error);
    remote->is_time_told = is_time_to_tell(&remote->tls); /* by weir_remote_examine */
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

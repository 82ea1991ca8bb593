#include "remote/tls.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <microhttpd.h>
#include <string.h>

#define KEY(name) "security.ssl.rest." name

static gnutls_datum_t datum_of(const char *text)
{
    return (gnutls_datum_t){ .data = (unsigned char *)(uintptr_t)text, .size = (unsigned)strlen(text) };
}

/* What the file holds that `key` names. */
static enum weir_code load(const weir_config *config, const char *key, char **text, struct weir_error *error)
{
    gnutls_datum_t data;
    const char *path = weir_config_text(config, key);
    if (path == NULL)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "%s is not set: it must name a file of certificates in PEM", key);
    errno = 0;
    if (gnutls_load_file(path, &data) != 0)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "%s: %s cannot be read: %s", key, path,
                              errno == 0 ? "no memory" : strerror(errno));
    *text = (char *)data.data;
    return WEIR_OK;
}

/* The time in which all of them are valid. */
static void note_times(struct tls *tls, gnutls_x509_crt_t *certificates, unsigned count)
{
    tls->valid_from_s = INT64_MIN;
    tls->valid_until_s = INT64_MAX;
    for (unsigned i = 0; i < count; i++) {
        const int64_t from_s = gnutls_x509_crt_get_activation_time(certificates[i]);
        const int64_t until_s = gnutls_x509_crt_get_expiration_time(certificates[i]);
        if (from_s > tls->valid_from_s) tls->valid_from_s = from_s;
        if (until_s < tls->valid_until_s) tls->valid_until_s = until_s;
    }
}

static enum weir_code check_certificates(const weir_config *config, const char *key, const char *text, struct tls *times,
                                         struct weir_error *error)
{
    gnutls_x509_crt_t *certificates;
    unsigned count;
    const gnutls_datum_t data = datum_of(text);
    const int result = gnutls_x509_crt_list_import2(&certificates, &count, &data, GNUTLS_X509_FMT_PEM, 0);
    if (result < 0)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "%s: %s does not hold certificates in PEM: %s", key,
                              weir_config_text(config, key), gnutls_strerror(result));
    if (times != NULL) note_times(times, certificates, count);
    for (unsigned i = 0; i < count; i++) gnutls_x509_crt_deinit(certificates[i]);
    gnutls_free(certificates);
    return WEIR_OK;
}

static enum weir_code check_key(const struct tls *tls, const weir_config *config, struct weir_error *error)
{
    gnutls_certificate_credentials_t pair;
    const gnutls_datum_t certificate = datum_of(tls->certificate), key = datum_of(tls->key);
    if (gnutls_certificate_allocate_credentials(&pair) < 0)
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory for " KEY("key"));
    const int result = gnutls_certificate_set_x509_key_mem(pair, &certificate, &key, GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(pair);
    if (result >= 0) return WEIR_OK;
    if (result == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, KEY("key") " is not the key of the certificate in %s",
                              weir_config_text(config, KEY("certificate")));
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, KEY("key") " is no key in PEM, without a password: %s",
                          gnutls_strerror(result));
}

static enum weir_code init_server(struct tls *tls, const weir_config *config, struct weir_error *error)
{
    if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                              KEY("enabled") ": this system's libmicrohttpd was built without TLS; install one that has it, as "
                              "Debian's, or put a proxy in front of the job");
    tls->key = weir_config_text(config, KEY("key"));
    if (tls->key == NULL)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              KEY("key") " is not set: " KEY("key.file") " must name a file with the certificate's key in PEM");
    enum weir_code code = load(config, KEY("certificate"), &tls->certificate, error);
    if (code == WEIR_OK) code = check_certificates(config, KEY("certificate"), tls->certificate, tls, error);
    return code == WEIR_OK ? check_key(tls, config, error) : code;
}

enum weir_code tls_init(struct tls *tls, const weir_config *config, struct weir_error *error)
{
    *tls = (struct tls){ .is_enabled = weir_config_bool(config, KEY("enabled")),
                         .asks_clients = weir_config_bool(config, KEY("authentication-enabled")) };
    if (!tls->is_enabled && tls->asks_clients)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              KEY("authentication-enabled") " wants certificates of clients, which only HTTPS has: set "
                              KEY("enabled") ", too");
    enum weir_code code = tls->is_enabled ? init_server(tls, config, error) : WEIR_OK;
    if (code == WEIR_OK && tls->asks_clients) code = load(config, KEY("ca"), &tls->authorities, error);
    if (code == WEIR_OK && tls->asks_clients) code = check_certificates(config, KEY("ca"), tls->authorities, NULL, error);
    return code;
}

void tls_deinit(struct tls *tls)
{
    gnutls_free(tls->certificate);
    gnutls_free(tls->authorities);
    *tls = (struct tls){ 0 };
}

bool tls_client_is_known(void *session)
{
    gnutls_typed_vdata_st purpose = { .type = GNUTLS_DT_KEY_PURPOSE_OID,
                                      .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT };
    unsigned problems;
    return gnutls_certificate_verify_peers(session, &purpose, 1, &problems) == 0 && problems == 0;
}

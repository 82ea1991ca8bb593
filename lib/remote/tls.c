#include "remote/tls.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <microhttpd.h>
#include <string.h>
#include <sys/stat.h>

#define KEY(name) "security.ssl.rest." name

static gnutls_datum_t datum_of(const char *text)
{
    return (gnutls_datum_t){ .data = (unsigned char *)(uintptr_t)text, .size = (unsigned)strlen(text) };
}

/* Keys of the configuration, for sentences. */
static const char *const names[] = { KEY("certificate"), KEY("key"), KEY("ca") };

/* ---- Files ---------------------------------------------------------------------------------------------------------- */

static struct tls_stamp stamp_of(const char *path)
{
    struct stat status;
    if (path == NULL || stat(path, &status) != 0) return (struct tls_stamp){ .size = 0 };
    return (struct tls_stamp){ .device = status.st_dev, .inode = status.st_ino, .size = status.st_size,
                               .changed = status.st_mtim };
}

static bool is_same(const struct tls_stamp *a, const struct tls_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

/* The stamp comes first: what changes while the file is read is seen later. */
static enum weir_code read_file(struct tls_file *file, const char *name, struct weir_error *error)
{
    gnutls_datum_t data;
    file->taken = file->last = stamp_of(file->path);
    errno = 0;
    if (gnutls_load_file(file->path, &data) != 0)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "%s: %s cannot be read: %s", name, file->path,
                              errno == 0 ? "no memory" : strerror(errno));
    file->text = (char *)data.data;
    return WEIR_OK;
}

bool tls_has_changed(struct tls *tls)
{
    bool is_other = false, is_settled = true;
    for (size_t i = 0; i < TLS_FILES; i++) {
        struct tls_file *file = &tls->files[i];
        const struct tls_stamp now = stamp_of(file->path);
        is_settled &= is_same(&now, &file->last);
        is_other |= !is_same(&now, &file->taken);
        file->last = now;
    }
    for (size_t i = 0; is_other && is_settled && i < TLS_FILES; i++) tls->files[i].taken = tls->files[i].last;
    return is_other && is_settled;
}

/* ---- What they hold ------------------------------------------------------------------------------------------------- */

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

static enum weir_code check_certificates(struct tls *tls, enum tls_file_kind kind, struct weir_error *error)
{
    gnutls_x509_crt_t *certificates;
    unsigned count;
    const gnutls_datum_t data = datum_of(tls->files[kind].text);
    const int result = gnutls_x509_crt_list_import2(&certificates, &count, &data, GNUTLS_X509_FMT_PEM, 0);
    if (result < 0)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "%s: %s does not hold certificates in PEM: %s",
                              names[kind], tls->files[kind].path, gnutls_strerror(result));
    if (kind == TLS_CERTIFICATE) note_times(tls, certificates, count);
    for (unsigned i = 0; i < count; i++) gnutls_x509_crt_deinit(certificates[i]);
    gnutls_free(certificates);
    return WEIR_OK;
}

static enum weir_code check_key(const struct tls *tls, struct weir_error *error)
{
    gnutls_certificate_credentials_t pair;
    const gnutls_datum_t certificate = datum_of(tls->files[TLS_CERTIFICATE].text), key = datum_of(tls->files[TLS_KEY].text);
    if (gnutls_certificate_allocate_credentials(&pair) < 0)
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory for " KEY("key"));
    const int result = gnutls_certificate_set_x509_key_mem(pair, &certificate, &key, GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(pair);
    if (result >= 0) return WEIR_OK;
    if (result == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, KEY("key") " is not the key of the certificate in %s",
                              tls->files[TLS_CERTIFICATE].path);
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, KEY("key") " is no key in PEM, without a password: %s",
                          gnutls_strerror(result));
}

/* All files that have a path and no text yet, and whether they make sense. */
static enum weir_code take_files(struct tls *tls, struct weir_error *error)
{
    enum weir_code code = WEIR_OK;
    for (size_t i = 0; code == WEIR_OK && i < TLS_FILES; i++)
        if (tls->files[i].path != NULL) code = read_file(&tls->files[i], names[i], error);
    if (code == WEIR_OK) code = check_certificates(tls, TLS_CERTIFICATE, error);
    if (code == WEIR_OK) code = check_key(tls, error);
    return code == WEIR_OK && tls->asks_clients ? check_certificates(tls, TLS_AUTHORITIES, error) : code;
}

/* ---- Life ----------------------------------------------------------------------------------------------------------- */

/* The texts are gnutls's to free, as those of read_file are. */
static enum weir_code copy(char **place, const char *text, struct weir_error *error)
{
    *place = text == NULL ? NULL : gnutls_strdup(text);
    if (text == NULL || *place != NULL) return WEIR_OK;
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory for the certificates of security.ssl.rest");
}

static enum weir_code name_file(struct tls *tls, const weir_config *config, enum tls_file_kind kind, struct weir_error *error)
{
    const char *path = weir_config_text(config, names[kind]);
    if (path != NULL) return copy(&tls->files[kind].path, path, error);
    return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "%s is not set: it must name a file of certificates in PEM",
                          names[kind]);
}

/* From its file, so that it can be read anew, or as it stands in the configuration. */
static enum weir_code name_key(struct tls *tls, const weir_config *config, struct weir_error *error)
{
    const char *path = weir_config_file(config, KEY("key")), *key = weir_config_text(config, KEY("key"));
    if (key == NULL)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              KEY("key") " is not set: " KEY("key.file") " must name a file with the certificate's key in PEM");
    return path != NULL ? copy(&tls->files[TLS_KEY].path, path, error) : copy(&tls->files[TLS_KEY].text, key, error);
}

enum weir_code tls_init(struct tls *tls, const weir_config *config, struct weir_error *error)
{
    *tls = (struct tls){ .is_enabled = weir_config_bool(config, KEY("enabled")),
                         .asks_clients = weir_config_bool(config, KEY("authentication-enabled")) };
    if (!tls->is_enabled && tls->asks_clients)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              KEY("authentication-enabled") " wants certificates of clients, which only HTTPS has: set "
                              KEY("enabled") ", too");
    if (!tls->is_enabled) return WEIR_OK;
    if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                              KEY("enabled") ": this system's libmicrohttpd was built without TLS; install one that has it, as "
                              "Debian's, or put a proxy in front of the job");
    enum weir_code code = name_key(tls, config, error);
    if (code == WEIR_OK) code = name_file(tls, config, TLS_CERTIFICATE, error);
    if (code == WEIR_OK && tls->asks_clients) code = name_file(tls, config, TLS_AUTHORITIES, error);
    return code == WEIR_OK ? take_files(tls, error) : code;
}

enum weir_code tls_renew(const struct tls *tls, struct tls *renewed, struct weir_error *error)
{
    enum weir_code code = WEIR_OK;
    *renewed = (struct tls){ .is_enabled = tls->is_enabled, .asks_clients = tls->asks_clients };
    for (size_t i = 0; code == WEIR_OK && i < TLS_FILES; i++) {
        const struct tls_file *file = &tls->files[i];
        code = copy(&renewed->files[i].path, file->path, error);
        if (code == WEIR_OK && file->path == NULL) code = copy(&renewed->files[i].text, file->text, error);
    }
    return code == WEIR_OK ? take_files(renewed, error) : code;
}

void tls_deinit(struct tls *tls)
{
    for (size_t i = 0; i < TLS_FILES; i++) {
        gnutls_free(tls->files[i].path);
        gnutls_free(tls->files[i].text);
    }
    *tls = (struct tls){ .is_enabled = false };
}

bool tls_client_is_known(void *session)
{
    gnutls_typed_vdata_st purpose = { .type = GNUTLS_DT_KEY_PURPOSE_OID,
                                      .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT };
    unsigned problems;
    return gnutls_certificate_verify_peers(session, &purpose, 1, &problems) == 0 && problems == 0;
}

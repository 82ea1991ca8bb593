#include "harness/certificates.h"

#include <check.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { DAY_S = 86400 };

struct pair {
    gnutls_x509_crt_t certificate;
    gnutls_x509_privkey_t key;
};

static void good(int result) { ck_assert_msg(result >= 0, "%s", gnutls_strerror(result)); }

static void write_file(const char *folder, const char *name, const gnutls_datum_t *text)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text->data, 1, text->size, file), text->size);
    ck_assert_int_eq(fclose(file), 0);
}

static void write_certificate(const char *folder, const char *name, const struct pair *pair)
{
    gnutls_datum_t text;
    good(gnutls_x509_crt_export2(pair->certificate, GNUTLS_X509_FMT_PEM, &text));
    write_file(folder, name, &text);
    gnutls_free(text.data);
}

static void write_key(const char *folder, const char *name, const struct pair *pair)
{
    gnutls_datum_t text;
    good(gnutls_x509_privkey_export2(pair->key, GNUTLS_X509_FMT_PEM, &text));
    write_file(folder, name, &text);
    gnutls_free(text.data);
}

static gnutls_x509_privkey_t make_key(void)
{
    gnutls_x509_privkey_t key;
    good(gnutls_x509_privkey_init(&key));
    good(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
    return key;
}

/* Whom it is for: `purpose` NULL = an authority. */
static void fill(gnutls_x509_crt_t certificate, const char *name, const char *purpose)
{
    static const unsigned char address[] = { 127, 0, 0, 1 };
    const unsigned usage = purpose == NULL ? GNUTLS_KEY_KEY_CERT_SIGN : GNUTLS_KEY_DIGITAL_SIGNATURE;
    good(gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, name, (unsigned)strlen(name)));
    good(gnutls_x509_crt_set_basic_constraints(certificate, purpose == NULL, -1));
    good(gnutls_x509_crt_set_key_usage(certificate, usage));
    if (purpose != NULL) good(gnutls_x509_crt_set_key_purpose_oid(certificate, purpose, 0));
    if (purpose == NULL || strcmp(purpose, GNUTLS_KP_TLS_WWW_SERVER) != 0) return;
    good(gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_DNSNAME, "localhost", 9, GNUTLS_FSAN_APPEND));
    good(gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_IPADDRESS, address, sizeof address, GNUTLS_FSAN_APPEND));
}

/* Signed by `issuer`; NULL = by itself, an authority. */
static struct pair make(const char *name, gnutls_x509_privkey_t key, const struct pair *issuer, const char *purpose,
                        int64_t valid_s)
{
    static unsigned char serial;
    struct pair made = { .key = key };
    const time_t now = time(NULL);
    serial++;
    good(gnutls_x509_crt_init(&made.certificate));
    good(gnutls_x509_crt_set_version(made.certificate, 3));
    good(gnutls_x509_crt_set_serial(made.certificate, &serial, 1));
    good(gnutls_x509_crt_set_activation_time(made.certificate, now - 30 * DAY_S));
    good(gnutls_x509_crt_set_expiration_time(made.certificate, now + (time_t)valid_s));
    good(gnutls_x509_crt_set_key(made.certificate, key));
    fill(made.certificate, name, purpose);
    const struct pair *signer = issuer == NULL ? &made : issuer;
    good(gnutls_x509_crt_sign2(made.certificate, signer->certificate, signer->key, GNUTLS_DIG_SHA256, 0));
    return made;
}

static void make_file(const char *folder, const char *file, gnutls_x509_privkey_t key, const struct pair *issuer,
                      const char *purpose, int64_t valid_s)
{
    const struct pair pair = make("weir test", key, issuer, purpose, valid_s);
    write_certificate(folder, file, &pair);
    gnutls_x509_crt_deinit(pair.certificate);
}

void certificates_make(const char *folder)
{
    const struct pair authority = make("authority", make_key(), NULL, NULL, 365 * DAY_S);
    const struct pair unknown = make("unknown", make_key(), NULL, NULL, 365 * DAY_S);
    const struct pair server = { .key = make_key() }, client = { .key = make_key() };
    write_certificate(folder, "ca.pem", &authority);
    write_key(folder, "server.key", &server);
    write_key(folder, "client.key", &client);
    write_key(folder, "other.key", &client);
    make_file(folder, "server.pem", server.key, &authority, GNUTLS_KP_TLS_WWW_SERVER, 365 * DAY_S);
    make_file(folder, "expired.pem", server.key, &authority, GNUTLS_KP_TLS_WWW_SERVER, -DAY_S);
    make_file(folder, "almost.pem", server.key, &authority, GNUTLS_KP_TLS_WWW_SERVER, 14 * DAY_S + 2);
    make_file(folder, "soon.pem", server.key, &authority, GNUTLS_KP_TLS_WWW_SERVER, 7 * DAY_S);
    make_file(folder, "client.pem", client.key, &authority, GNUTLS_KP_TLS_WWW_CLIENT, 365 * DAY_S);
    make_file(folder, "client-expired.pem", client.key, &authority, GNUTLS_KP_TLS_WWW_CLIENT, -DAY_S);
    make_file(folder, "other.pem", client.key, &unknown, GNUTLS_KP_TLS_WWW_CLIENT, 365 * DAY_S);
    gnutls_x509_crt_deinit(authority.certificate);
    gnutls_x509_crt_deinit(unknown.certificate);
    gnutls_x509_privkey_deinit(authority.key);
    gnutls_x509_privkey_deinit(unknown.key);
    gnutls_x509_privkey_deinit(server.key);
    gnutls_x509_privkey_deinit(client.key);
}

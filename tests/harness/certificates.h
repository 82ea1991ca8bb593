/* Certificates for tests, made when they are needed, as files in PEM. */
#ifndef HARNESS_CERTIFICATES_H
#define HARNESS_CERTIFICATES_H

/* Makes in `folder`:
 *
 *   ca.pem                         an authority
 *   server.pem, server.key         signed by it, for localhost and 127.0.0.1, valid for a year
 *   expired.pem                    the same key, not valid since yesterday
 *   soon.pem                       the same key, valid for another week
 *   almost.pem                     the same key, valid for another fortnight and two seconds
 *   client.pem, client.key         signed by it, for clients
 *   client-expired.pem             the same key, not valid since yesterday
 *   other.pem, other.key           for clients, signed by an authority that nobody knows */
void certificates_make(const char *folder);

#endif

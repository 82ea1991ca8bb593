/* The thread and its sockets.
 *
 *   listen ──accept──> client ──request line, header──> body ──> routes_answer ──> client, for the next request
 *                        │ 20 s since the last request ended (or since its header was whole)
 *                        │ or: three quarters of all places are taken, and nobody has been here longer
 *                        └──> cut off
 *
 * When certificates have been renewed there are two daemons of libmicrohttpd for a moment: the new one accepts, the other ends
 * what it has begun, 20 s at most.
 *
 * So a thousand connections that say nothing, or a byte now and then, take each other's places and nobody else's: whoever comes
 * next is the youngest. Owner of everything: the server's thread. */
#ifndef REMOTE_SERVER_H
#define REMOTE_SERVER_H

#include "remote/remote.h"

struct server;

/* Binds, listens, and starts the thread. `remote` is complete but for this. */
enum weir_code server_start(struct weir_remote *remote, struct server **server, struct weir_error *error);
void server_stop(struct server *server); /* NULL is fine */
/* "127.0.0.1", "::1", "localhost" and the like: nobody but this machine gets there. */
bool server_is_loopback(const char *address);

#endif

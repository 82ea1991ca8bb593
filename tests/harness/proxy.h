/* A network between clients and the current broker that can be slow or cut.
 *
 *   client ──> proxy_address() ──> proxy process ──> a listener of the broker's own for this, which advertises the proxy
 *
 * so that clients that begin at the proxy stay on it. Call proxy_start from main, after broker_start with one node; it
 * restarts the broker. The proxy dies with the program. What is set below counts for all connections, from any fact. */
#ifndef HARNESS_PROXY_H
#define HARNESS_PROXY_H

#include <stdbool.h>

void proxy_start(void);
const char *proxy_address(void);
/* Every byte arrives so much later, in each direction: a round trip takes twice as long. */
void proxy_delay(int one_way_ms);
/* Bytes from clients, or to them, go nowhere until this is lifted; connections stay open. */
void proxy_cut(bool from_clients, bool to_clients);

#endif

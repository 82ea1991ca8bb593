/* Files of this folder as the build puts them into the library (config/cmake/embed.cmake). */
#ifndef REMOTE_EMBEDDED_H
#define REMOTE_EMBEDDED_H

#include <stddef.h>

extern const unsigned char remote_dashboard[];
extern const size_t remote_dashboard_size;
extern const unsigned char remote_openapi[];
extern const size_t remote_openapi_size;

#endif

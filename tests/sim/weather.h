/* What befalls the cluster, the machine and the lives on it: storms of the network, and events between steps. */
#ifndef SIM_WEATHER_H
#define SIM_WEATHER_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/weir_test.h"

/* `with_mishaps`: mishaps.h, too. `is_loose`: the job runs at least once. `is_followed`: another
 * one reads what it writes. `is_copied`: there is to be a second copy of it. */
void weather_begin(const struct weir_test_job *test, bool with_mishaps, bool is_loose, bool is_followed,
                   bool is_copied);
/* The second copy has begun: it has lives from now on. */
void weather_copied(void);
/* The network from now on: 0 = quiet, to 3. */
void weather_set(uint32_t storm);
/* A pause of the storm. */
void weather_rest(void);
/* Something happens, or nothing. */
void weather_event(void);
/* Everything is as it should be, and stays so. */
void weather_calm(void);
bool weather_disk_is_bad(void);
/* For some tenths of a second the disk fails for a moment, again and again. */
void weather_flicker(void);

#endif

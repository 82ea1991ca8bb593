/* Barriers that overtake (lib/runtime/flight.h) wait for nobody: no record has to be processed before one, whatever the
 * sinks have room for and the brokers answer. */
#ifndef SIM_OVERTAKING_H
#define SIM_OVERTAKING_H

void overtaking_begin(void);
/* A violation when the tasks of a life have let one wait. */
void overtaking_watch(void);

#endif

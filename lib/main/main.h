/* Main: the command line of every job program, as a library of its own (weir/main.h is its public face).
 *
 *   options.h   arguments -> configuration keys; refusals with a sentence
 *   text.h      escapes for lines and strings
 *   validate.h  what is wrong around a job, told without running it
 *   log.h       log lines as bytes, and those that repeat themselves
 *   progress.h  what a person sees on stderr while a job runs
 *   control.h   what other programs of the same user ask a running job, by a socket
 *   notify.h    what a service manager is told: ready, alive, stopping
 *   main.c      signals by descriptor, the loop that waits for the job, exit codes
 *
 * This is the one folder of lib that prints and looks at signals. */
#ifndef MAIN_MAIN_H
#define MAIN_MAIN_H

#include "main/control.h"
#include "main/notify.h"
#include "main/options.h"
#include "main/progress.h"
#include "weir/control.h"
#include "weir/main.h"

#endif

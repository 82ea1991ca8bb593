/* What a person sees on stderr while a job runs: one live line on a terminal, plain lines `status key=value ...` elsewhere,
 * and log lines between them. Any thread may log; the rest is the main thread's. */
#ifndef MAIN_PROGRESS_H
#define MAIN_PROGRESS_H

#include "main/options.h"

struct progress;

struct progress *progress_create(const struct main_options *options); /* NULL: no memory */
void progress_destroy(struct progress *progress);
int progress_timeout_ms(struct progress *progress); /* until the next line is due; for poll() */
void progress_restart(struct progress *progress); /* another job follows, whose counters begin at 0 */
void progress_show(struct progress *progress, weir_job *job); /* when due */
void progress_log(struct progress *progress, enum weir_log_level level, const char *text);
void progress_note(struct progress *progress, const char *text);
void progress_summary(struct progress *progress, weir_job *job); /* to stdout */

#endif

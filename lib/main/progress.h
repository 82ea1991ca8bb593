/* What a person sees on stderr while a job runs: one live line on a terminal, plain lines `status key=value ...` elsewhere,
 * and log lines between them (log.h). With a log for programs, whatever goes to stderr is a line of it. Any thread may log;
 * the rest is the main thread's. */
#ifndef MAIN_PROGRESS_H
#define MAIN_PROGRESS_H

#include "main/log.h"
#include "main/options.h"

struct progress;

/* NULL: no memory. The log is as `config` says. */
struct progress *progress_create(const struct main_options *options, const weir_config *config);
void progress_destroy(struct progress *progress);
int progress_timeout_ms(struct progress *progress); /* until the next line is due; for poll() */
void progress_restart(struct progress *progress); /* another job follows, whose counters begin at 0 */
void progress_show(struct progress *progress, weir_job *job); /* when due */
void progress_log(struct progress *progress, const struct weir_log_line *line); /* any thread; those below the level not */
void progress_note(struct progress *progress, enum weir_log_level level, enum weir_code code, const char *text);
void progress_summary(struct progress *progress, weir_job *job); /* to stdout */

#endif

/* --validate: everything that can be known without running the job, as a table or as JSON. */
#ifndef MAIN_VALIDATE_H
#define MAIN_VALIDATE_H

#include "main/options.h"

/* Takes the graph. Prints to stdout; answers the exit status: 0, or 2 and 7 for what a start would be refused for. */
int validate_job(const struct main_options *parsed, weir_graph *graph, const weir_config *config);

#endif

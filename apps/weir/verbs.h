/* The verbs of the weir command, one file for each group of them. weir.c has their list; it prints help and usage, and
 * hands a verb its own part of the command line. */
#ifndef WEIR_VERBS_H
#define WEIR_VERBS_H

#include <stdbool.h>

#include "weir/weir.h"

enum {
    VERB_USAGE = 2, /* the exit code for what was typed wrongly */
    VERB_WORD_MAX = 48,
};

struct verb {
    const char *name;
    const char *usage; /* whole command lines, each with a newline */
    const char *about; /* for the list of verbs */
    const char *help;
    int (*run)(int argc, char **argv); /* argv[0] is the verb itself; answers the exit code */
    bool passes_on; /* what stands behind the file is for the job, --help too */
};

const struct verb *verb_at(size_t index); /* NULL behind the last */

extern const struct verb verb_cancel, verb_list, verb_rescale, verb_status, verb_stop; /* jobs.c */
extern const struct verb verb_info, verb_run, verb_validate; /* run.c */
extern const struct verb verb_checkpoint;
extern const struct verb verb_completion;
extern const struct verb verb_config;
extern const struct verb verb_ledger;
extern const struct verb verb_savepoint;
extern const struct verb verb_state;

/* Takes "-o table", "-o json" or "--json" at argv[*index], which moves to its last word. False when it is none of them. */
bool verb_takes_format(int argc, char **argv, int *index, bool *as_json);

/* Puts the verb itself to a running job, "VERB JOB", and prints what it answers. */
int verb_ask_job(const struct verb *verb, int argc, char **argv);
/* Asks it for a savepoint below `directory` (NULL: where its configuration says), with which it may end. */
int verb_ask_savepoint(const char *job, const char *directory, bool stops, bool as_json);

/* Takes KEY=VALUE of -X. False when something was wrong with it, which has been said then. */
bool verb_configures(weir_config *config, const struct verb *verb, const char *setting);

/* The exit code of what a verb has done; an error is said on stderr, behind what stands on stdout. */
int verb_finish(enum weir_code code, const struct weir_error *error);
/* Says on stderr what is wrong with the command line, and how it should look. Answers VERB_USAGE. */
int verb_complain(const struct verb *verb, const char *what, const char *detail);
/* The same of a word that the verb does not know; names the nearest option or command that it has. */
int verb_not_understood(const struct verb *verb, const char *word);
/* That one; false when none is near. */
bool verb_suggests(const struct verb *verb, const char *word, char suggestion[static VERB_WORD_MAX]);

#endif

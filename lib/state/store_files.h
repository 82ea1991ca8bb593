/* The folders of stores. Blocks. Any thread. */
#ifndef STATE_STORE_FILES_H
#define STATE_STORE_FILES_H

#include "state/state.h"

#define STORE_PATH_MAX 1024

/* Removes the folder and the files in it; fine when it is not there. Its own folders, by these names, one deep. */
enum weir_code store_files_remove(const char *directory, struct weir_error *error);
enum weir_code store_files_make(const char *directory, struct weir_error *error);
enum weir_code store_files_make_missing(const char *directory, struct weir_error *error); /* fine when it is there */
/* Removes the files of the folder whose names begin so. As far as it can. */
void store_files_remove_some(const char *directory, const char *prefix);
/* A new folder NAME-XXXXXX that nobody else knows, where the system keeps such (TMPDIR). False: errno says why. */
bool store_files_temporary(const char *name, char directory[STORE_PATH_MAX]);
/* Removes the folders PREFIX<N> of `directory` with N up to `last`, and in each the folders of stores. As far as it can. */
void store_files_sweep(const char *directory, const char *prefix, uint64_t last);

#endif

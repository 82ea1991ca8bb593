/* What RocksDB writes into its log, as lines of the job's: warnings and errors, with "rocksdb" as the client that speaks.
 *
 * Since 9.4 its C interface hands lines over. Before, it can only write a file, and that one is kept empty: when the disk is full
 * a first line in it fails, and at the second one Debian's build, which has assertions on, ends the process. What went wrong is
 * in the answers of its calls in either case. */
#ifndef STATE_ROCKSDB_LOG_H
#define STATE_ROCKSDB_LOG_H

#include <rocksdb/c.h>

#include "weir/connector.h"

/* `environment` is borrowed until the database is closed; NULL: nobody wants to know. */
void rocksdb_log_to(rocksdb_options_t *options, const struct weir_environment *environment);

/* What RocksDB calls, on any of its threads. `level` is RocksDB's; `text` has no NUL, and perhaps newlines at its end. */
void rocksdb_log_line(void *environment, unsigned level, char *text, size_t size);

#endif

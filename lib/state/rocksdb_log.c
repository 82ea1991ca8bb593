#include "state/rocksdb_log.h"

enum { LINE_MAX_BYTES = 600 };

/* rocksdb::InfoLogLevel. Headers, which tell of options, have the highest number, and are let through at every level. */
enum { ROCKSDB_WARN = 2, ROCKSDB_ERROR = 3, ROCKSDB_FATAL = 4, ROCKSDB_HEADER = 5 };

void rocksdb_log_line(void *environment, unsigned level, char *text, size_t size)
{
    if (environment == NULL || level < ROCKSDB_WARN || level > ROCKSDB_FATAL) return;
    while (size > 0 && text[size - 1] == '\n') size--;
    if (size > LINE_MAX_BYTES) size = LINE_MAX_BYTES;
    weir_log_about(environment, &(struct weir_log_line){ .level = WEIR_LOG_WARN, .client = "rocksdb" }, "%.*s", (int)size, text);
}

#ifdef WEIR_ROCKSDB_HANDS_LINES_OVER

void rocksdb_log_to(rocksdb_options_t *options, const struct weir_environment *environment)
{
    rocksdb_logger_t *logger =
        rocksdb_logger_create_callback_logger(ROCKSDB_WARN, rocksdb_log_line, (void *)(uintptr_t)environment);
    rocksdb_options_set_info_log(options, logger);
    rocksdb_logger_destroy(logger); /* the options hold it on */
}

#else

void rocksdb_log_to(rocksdb_options_t *options, const struct weir_environment *environment)
{
    (void)environment;
    rocksdb_options_set_keep_log_file_num(options, 1);
    rocksdb_options_set_info_log_level(options, ROCKSDB_HEADER);
}

#endif

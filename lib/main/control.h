/* The job's side of weir/control.h: a socket that answers what weir_control_ask asks. One thread, that of main, and
 * nothing here ever waits: it hands out a descriptor to poll, and is called when there is something to do.
 *
 *   runtime directory/PID.sock         (PID-2.sock, ... for more of them: a directory that containers share)
 *
 *   asker                          job
 *     "stop\n"          ──>          one line, at most CONTROL_REQUEST_MAX bytes
 *                       <──          "key value\n" ...
 *                       <──          "ok\n", or "error STATUS sentence\n" with the exit status of the error
 *
 * One request for each connection. Who does not speak, or does not listen, is cut off after a few seconds; so is
 * everybody beyond CONTROL_ASKERS_MAX, and whoever is another user. */
#ifndef MAIN_CONTROL_H
#define MAIN_CONTROL_H

#include "weir/weir.h"

enum { CONTROL_REQUEST_MAX = 4096, CONTROL_ASKERS_MAX = 16, CONTROL_PATH_MAX = 4096 };

struct control_options {
    weir_job *job;
    const char *name, *program, *directory; /* of all checkpoints, the job's own are below it; borrowed */
    /* Begins to start the job anew with another parallelism: `job` ends, and control_restarted follows. An error: it
     * goes on as it was. */
    enum weir_code (*rescale)(void *user, uint32_t parallelism, struct weir_error *error);
    void *user;
};

struct control;
/* An error is no reason not to run the job: nobody can ask it, that is all. */
enum weir_code control_open(const struct control_options *options, struct control **control, struct weir_error *error);
/* The job has ended: tells who waited for that, and takes the socket away. NULL is fine. */
void control_close(struct control *control, const struct weir_error *outcome);

/* The job that control_options named is gone, and `job` is in its place: NULL, none yet. NULL for `control` is fine. */
void control_restarted(struct control *control, weir_job *job);
/* It is not started anew as somebody has asked: says so. NULL for `control` is fine. */
void control_refuse_restart(struct control *control, enum weir_code code, const char *sentence);

int control_descriptor(const struct control *control); /* readable: call control_step */
/* How long until control_step has something to do without the descriptor; -1 = nothing. */
int control_timeout_ms(const struct control *control);
void control_step(struct control *control);

/* Where sockets lie. Makes the directory, for the user alone, when `make`; refuses one that belongs to another user or
 * that others may enter. Root may look into anybody's: that is where a service of another user has its socket. */
enum weir_code control_directory(bool make, char path[CONTROL_PATH_MAX], struct weir_error *error);
/* A connection to the socket at `path`, -errno otherwise. A socket has a name only while its process listens, so one that
 * refuses is a dead process's, and is removed. `flags`: 0 or SOCK_NONBLOCK. */
int control_connect(const char *path, int flags);
/* Removes what dead processes have left in the directory. */
void control_sweep(const char *directory);
/* "NUMBER.sock" and the like. */
bool control_is_socket(const char *name);

#endif

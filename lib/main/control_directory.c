#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "main/control.h"

static void choose(char path[CONTROL_PATH_MAX])
{
    const char *own = getenv("WEIR_RUNTIME_DIR"), *user = getenv("XDG_RUNTIME_DIR");
    if (own != NULL && own[0] != '\0') (void)snprintf(path, CONTROL_PATH_MAX, "%s", own);
    else if (user != NULL && user[0] != '\0') (void)snprintf(path, CONTROL_PATH_MAX, "%s/weir", user);
    else (void)snprintf(path, CONTROL_PATH_MAX, "/tmp/weir-%u", (unsigned)geteuid());
}

static enum weir_code refuse(struct weir_error *error, const char *path, const char *why)
{
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                          "the runtime directory %s %s; set WEIR_RUNTIME_DIR to one of your own", path, why);
}

/* In /tmp anybody may have made it before us: lstat, so that a link is not followed. */
enum weir_code control_directory(bool make, char path[CONTROL_PATH_MAX], struct weir_error *error)
{
    struct stat found;
    choose(path);
    if (make && mkdir(path, 0700) != 0 && errno != EEXIST) return refuse(error, path, strerror(errno));
    if (lstat(path, &found) != 0) return errno == ENOENT ? WEIR_OK : refuse(error, path, strerror(errno));
    if (!S_ISDIR(found.st_mode)) return refuse(error, path, "is not a directory");
    const bool may_look = found.st_uid == geteuid() || (geteuid() == 0 && !make);
    if (!may_look) return refuse(error, path, "belongs to another user");
    if ((found.st_mode & 077) != 0) return refuse(error, path, "is open to other users (chmod 700)");
    return WEIR_OK;
}

/* ---- Sockets ----------------------------------------------------------------------------------------------------- */

int control_connect(const char *path, int flags)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof address.sun_path) return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path) + 1);
    const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (descriptor < 0) return -errno;
    if (connect(descriptor, (const struct sockaddr *)&address, sizeof address) == 0) return descriptor;
    const int result = -errno;
    if (result == -ECONNREFUSED) (void)unlink(path);
    close(descriptor);
    return result;
}

bool control_is_socket(const char *name)
{
    const size_t size = strlen(name);
    return size >= 6 && strcmp(name + size - 5, ".sock") == 0;
}

void control_sweep(const char *directory)
{
    char path[2 * CONTROL_PATH_MAX];
    DIR *entries = opendir(directory);
    if (entries == NULL) return;
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        if (!control_is_socket(entry->d_name)) continue;
        (void)snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        const int descriptor = control_connect(path, SOCK_NONBLOCK);
        if (descriptor >= 0) close(descriptor);
    }
    closedir(entries);
}

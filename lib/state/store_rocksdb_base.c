/* Bases: the files that one brought, and links to those of the next. */
#include <stdio.h>
#include <string.h>

#include "state/store_rocksdb_private.h"

bool rocks_remember_files(struct rocks *rocks, const struct links *base)
{
    for (size_t i = 0; base != NULL && i < base->files.count; i++) {
        struct rocks_brought *file = vec_push(&rocks->brought);
        if (file == NULL) return false;
        memcpy(file->name, base->files.items[i].name, sizeof file->name);
        memcpy(file->file, base->files.items[i].file, sizeof file->file);
    }
    return true;
}

/* The file of the checkpoint store that a message is about; "" when it is about none. */
const char *rocks_origin_of(const struct rocks *rocks, const char *message)
{
    for (size_t i = 0; i < rocks->brought.count; i++)
        if (strstr(message, rocks->brought.items[i].name) != NULL) return rocks->brought.items[i].file;
    return "";
}

static void name_folder(const struct rocks *rocks, char folder[STORE_FOLDER_MAX])
{
    const int size = snprintf(folder, STORE_FOLDER_MAX, "%s/base", rocks->directory);
    CHECK(size < STORE_FOLDER_MAX); /* rocks_open_in has left room */
}

static enum weir_code link_all(struct rocks *rocks, struct weir_error *error)
{
    char folder[STORE_FOLDER_MAX], *message = NULL;
    name_folder(rocks, folder);
    enum weir_code code = store_files_remove(folder, error);
    if (code != WEIR_OK) return code;
    rocksdb_checkpoint_t *checkpoint = rocksdb_checkpoint_object_create(rocks->db, &message);
    if (message == NULL) rocksdb_checkpoint_create(checkpoint, folder, 0, &message);
    if (checkpoint != NULL) rocksdb_checkpoint_object_destroy(checkpoint);
    code = rocks_answer(rocks, message, "link a base", error);
    if (code == WEIR_OK) code = rocks_check_background(rocks, error);
    /* Most of the bytes that a base would have to keep, and whoever opens it has options of his own. */
    if (code == WEIR_OK) store_files_remove_some(folder, "OPTIONS-");
    return code;
}

enum weir_code rocks_link(struct state_store *store, char folder[STORE_FOLDER_MAX], struct weir_error *error)
{
    name_folder(rocks_of(store), folder);
    return rocks_work(rocks_of(store), link_all, true, error);
}

enum weir_code rocks_begin_link(struct state_store *store, char folder[STORE_FOLDER_MAX], struct weir_error *error)
{
    name_folder(rocks_of(store), folder);
    return rocks_work(rocks_of(store), link_all, false, error);
}

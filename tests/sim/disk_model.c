/* Names and the table; disk_model_file.c has what is in a file.
 *
 * A directory has its names twice, like a file its contents: as they are now, and as the disk has them. Each create,
 * rename and remove since the last sync is one change, which a power cut keeps or loses whole. Files have one name, and
 * move within their directory only (-EXDEV). */
#include "sim/disk_model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/vec.h"
#include "sim/disk_model_file.h"

enum { PATH_BYTES_MAX = 4096, NAME_BYTES_MAX = 256, FILE_OVERHEAD_BYTES = 4096, MILLION = 1000000 };

struct node;

struct name {
    char *text;
    struct node *node;
};

struct names {
    VEC(struct name) list; /* sorted */
};

struct change {
    char *removed;    /* NULL: none */
    char *set;        /* to `node`; NULL: none */
    struct node *node;
};

/* A file or a directory. */
struct node {
    uint32_t references; /* of names, changes and open files */
    bool is_directory;
    struct node *parent; /* of a directory, borrowed; the root's is itself */
    struct model_file file;
    struct names now, disk;
    VEC(struct change) changes;
};

struct open_file {
    int number;
    uint32_t owner;
    bool may_write;
    struct node *node;
};

struct disk_model {
    struct disk table;
    uint64_t random;
    struct disk_faults faults;
    struct disk_counts counts;
    uint32_t owner;
    int number_last; /* never used again: whoever kept one over a power cut is found out */
    struct node *root;
    VEC(struct open_file) open;
};

/* ---- Memory: there is always some, or the simulation ends --------------------------------------------------------- */

static void *need(void *memory)
{
    CHECK(memory != NULL);
    return memory;
}

static char *copy_text(const char *text)
{
    return text == NULL ? NULL : need(strdup(text));
}

/* ---- Nodes and names ---------------------------------------------------------------------------------------------- */

static void names_clear(struct names *names);
static void changes_forget(struct node *directory);

static struct node *node_create(bool is_directory)
{
    struct node *node = need(calloc(1, sizeof *node));
    node->is_directory = is_directory;
    return node;
}

static struct node *node_retain(struct node *node)
{
    node->references++;
    return node;
}

static void node_release(struct node *node)
{
    if (node == NULL || --node->references > 0) return;
    names_clear(&node->now);
    names_clear(&node->disk);
    changes_forget(node);
    vec_free(&node->changes);
    model_file_deinit(&node->file);
    free(node);
}

/* Where `text` is, or would be. */
static size_t names_place(const struct names *names, const char *text)
{
    size_t i = 0;
    while (i < names->list.count && strcmp(names->list.items[i].text, text) < 0) i++;
    return i;
}

static struct node *names_find(const struct names *names, const char *text)
{
    const size_t i = names_place(names, text);
    return i < names->list.count && strcmp(names->list.items[i].text, text) == 0 ? names->list.items[i].node : NULL;
}

static void names_remove_at(struct names *names, size_t i)
{
    struct name *name = &names->list.items[i];
    struct node *node = name->node;
    free(name->text);
    names->list.count--;
    memmove(name, name + 1, (names->list.count - i) * sizeof *name);
    node_release(node);
}

static void names_remove(struct names *names, const char *text)
{
    if (names_find(names, text) != NULL) names_remove_at(names, names_place(names, text));
}

static void names_set(struct names *names, const char *text, struct node *node)
{
    (void)node_retain(node);
    names_remove(names, text);
    const size_t i = names_place(names, text);
    need(vec_push(&names->list));
    struct name *name = &names->list.items[i];
    memmove(name + 1, name, (names->list.count - 1 - i) * sizeof *name);
    *name = (struct name){ copy_text(text), node };
}

static void names_clear(struct names *names)
{
    while (names->list.count > 0) names_remove_at(names, names->list.count - 1);
    vec_free(&names->list);
}

static void names_copy(struct names *target, const struct names *source)
{
    struct names copy = { 0 };
    for (size_t i = 0; i < source->list.count; i++)
        names_set(&copy, source->list.items[i].text, source->list.items[i].node);
    names_clear(target);
    *target = copy;
}

/* ---- Changes of names --------------------------------------------------------------------------------------------- */

static void apply(struct names *names, const struct change *change)
{
    if (change->removed != NULL) names_remove(names, change->removed);
    if (change->set == NULL) return;
    for (size_t i = 0; i < names->list.count; i++) /* an older name, whose removal was lost with an earlier change */
        if (names->list.items[i].node == change->node) {
            names_remove_at(names, i);
            break;
        }
    names_set(names, change->set, change->node);
}

/* Happens now, and waits for its way to the disk. */
static void change_names(struct node *directory, const char *removed, const char *set, struct node *node)
{
    struct change *change = need(vec_push(&directory->changes));
    *change = (struct change){ copy_text(removed), copy_text(set), node == NULL ? NULL : node_retain(node) };
    apply(&directory->now, change);
}

static void changes_forget(struct node *directory)
{
    for (size_t i = 0; i < directory->changes.count; i++) {
        struct change *change = &directory->changes.items[i];
        free(change->removed);
        free(change->set);
        node_release(change->node);
    }
    directory->changes.count = 0;
}

/* A directory is written as it is: what was lost by a failed sync before comes along with the next change. */
static void names_sync(struct node *directory)
{
    if (directory->changes.count > 0) names_copy(&directory->disk, &directory->now);
    changes_forget(directory);
}

static void names_lose(struct disk_model *model, struct node *directory, struct file_luck *luck)
{
    for (size_t i = 0; i < directory->changes.count; i++) {
        if (file_luck_keeps(luck)) apply(&directory->disk, &directory->changes.items[i]);
        else model->counts.lost_names++;
    }
    changes_forget(directory);
}

/* ---- Chance ------------------------------------------------------------------------------------------------------- */

static struct file_luck draw_luck(struct disk_model *model)
{
    struct file_luck luck = { .random = &model->random };
    /* All, nothing, or some. */
    const uint64_t way = file_luck_draw(&luck, 5);
    luck.kept_in_eight = way == 0 ? 8 : way == 1 ? 0 : 1 + (uint32_t)file_luck_draw(&luck, 7);
    return luck;
}

static void count_luck(struct disk_model *model, const struct file_luck *luck)
{
    model->counts.lost_writes += luck->lost;
    model->counts.torn_writes += luck->torn;
}

static uint64_t draw(struct disk_model *model, uint64_t limit)
{
    struct file_luck luck = { .random = &model->random };
    return file_luck_draw(&luck, limit);
}

static bool strikes(struct disk_model *model, uint32_t chance)
{
    return chance > 0 && draw(model, MILLION) < chance;
}

static int fail_io(struct disk_model *model)
{
    model->counts.errors++;
    return -EIO;
}

static int fail_full(struct disk_model *model)
{
    model->counts.full++;
    return -ENOSPC;
}

/* ---- Paths -------------------------------------------------------------------------------------------------------- */

/* Takes the next part off `path`; false at the end. */
static bool next_part(const char **path, char part[NAME_BYTES_MAX])
{
    while (**path == '/') ++*path;
    const size_t size = strcspn(*path, "/");
    if (size == 0) return false;
    CHECK(size < NAME_BYTES_MAX);
    memcpy(part, *path, size);
    part[size] = '\0';
    *path += size;
    return true;
}

/* The directory that holds the last part of `path`, and that part; "" when it is the directory itself that is meant. */
static int find_parent(const struct disk_model *model, const char *path, struct node **parent, char name[NAME_BYTES_MAX])
{
    char part[NAME_BYTES_MAX];
    *parent = model->root;
    name[0] = '\0';
    while (next_part(&path, part)) {
        if (name[0] != '\0') *parent = names_find(&(*parent)->now, name);
        if (*parent == NULL) return -ENOENT;
        if (!(*parent)->is_directory) return -ENOTDIR;
        const bool is_up = strcmp(part, "..") == 0;
        if (is_up) *parent = (*parent)->parent;
        if (is_up || strcmp(part, ".") == 0) part[0] = '\0';
        memcpy(name, part, sizeof part);
    }
    return 0;
}

static int find(const struct disk_model *model, const char *path, struct node **node)
{
    char name[NAME_BYTES_MAX];
    const int result = find_parent(model, path, node, name);
    if (result < 0) return result;
    if (name[0] != '\0') *node = names_find(&(*node)->now, name);
    return *node == NULL ? -ENOENT : 0;
}

static int find_directory(const struct disk_model *model, const char *path, struct node **node)
{
    const int result = find(model, path, node);
    if (result < 0) return result;
    return (*node)->is_directory ? 0 : -ENOTDIR;
}

/* ---- Room --------------------------------------------------------------------------------------------------------- */

static uint64_t used_below(const struct node *directory)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < directory->now.list.count; i++) {
        const struct node *node = directory->now.list.items[i].node;
        sum += node->is_directory ? used_below(node) : FILE_OVERHEAD_BYTES + node->file.now.size;
    }
    return sum;
}

static uint64_t room(const struct disk_model *model)
{
    if (model->faults.capacity_bytes == 0) return UINT64_MAX;
    const uint64_t used = used_below(model->root);
    return used < model->faults.capacity_bytes ? model->faults.capacity_bytes - used : 0;
}

/* Of a write that ends at `end`: how far it can go. */
static uint64_t end_in_room(const struct disk_model *model, const struct node *node, uint64_t end)
{
    const uint64_t size = node->file.now.size;
    if (end <= size || model->faults.capacity_bytes == 0) return end;
    const uint64_t left = room(model);
    return end - size <= left ? end : size + left;
}

/* ---- The table: files --------------------------------------------------------------------------------------------- */

static struct open_file *find_open(struct disk_model *model, int file)
{
    for (size_t i = 0; i < model->open.count; i++)
        if (model->open.items[i].number == file) return &model->open.items[i];
    return NULL;
}

static int add_open(struct disk_model *model, struct node *node, bool may_write)
{
    struct open_file *open = need(vec_push(&model->open));
    *open = (struct open_file){ ++model->number_last, model->owner, may_write, node_retain(node) };
    return open->number;
}

static void close_at(struct disk_model *model, size_t i)
{
    struct open_file *open = &model->open.items[i];
    node_release(open->node);
    model->open.count--;
    memmove(open, open + 1, (model->open.count - i) * sizeof *open);
}

static int model_open(void *user, const char *path, enum disk_open how)
{
    struct disk_model *model = user;
    struct node *parent;
    char name[NAME_BYTES_MAX];
    const int result = find_parent(model, path, &parent, name);
    if (result < 0) return result;
    struct node *node = name[0] == '\0' ? parent : names_find(&parent->now, name);
    if (node != NULL && how == DISK_CREATE) return -EEXIST;
    if (node != NULL && node->is_directory) return -EISDIR;
    if (node == NULL && how != DISK_CREATE) return -ENOENT;
    if (node != NULL) return add_open(model, node, how == DISK_UPDATE);
    if (room(model) < FILE_OVERHEAD_BYTES) return fail_full(model);
    node = node_create(false);
    change_names(parent, NULL, name, node);
    return add_open(model, node, true);
}

static void model_close(void *user, int file)
{
    struct disk_model *model = user;
    struct open_file *open = find_open(model, file);
    if (open != NULL) close_at(model, (size_t)(open - model->open.items));
}

static int64_t model_size(void *user, int file)
{
    const struct open_file *open = find_open(user, file);
    return open == NULL ? -EBADF : (int64_t)open->node->file.now.size;
}

static ssize_t model_read(void *user, int file, void *data, size_t size, uint64_t offset)
{
    struct disk_model *model = user;
    const struct open_file *open = find_open(model, file);
    if (open == NULL) return -EBADF;
    if (strikes(model, model->faults.read_error)) return fail_io(model);
    const struct file_image *now = &open->node->file.now;
    if (offset >= now->size || size == 0) return 0;
    if (size > now->size - offset) size = (size_t)(now->size - offset);
    memcpy(data, now->bytes + offset, size);
    return (ssize_t)size;
}

static ssize_t model_write(void *user, int file, const void *data, size_t size, uint64_t offset)
{
    struct disk_model *model = user;
    const struct open_file *open = find_open(model, file);
    if (open == NULL || !open->may_write) return -EBADF;
    if (size == 0) return 0;
    model->counts.writes++;
    const uint64_t end = end_in_room(model, open->node, offset + size);
    if (end <= offset) return fail_full(model);
    size = (size_t)(end - offset);
    if (strikes(model, model->faults.write_error)) {
        model_file_write(&open->node->file, data, (size_t)draw(model, size + 1), offset);
        return fail_io(model);
    }
    if (strikes(model, model->faults.short_write)) size = 1 + (size_t)draw(model, size);
    model_file_write(&open->node->file, data, size, offset);
    return (ssize_t)size;
}

static int model_allocate(void *user, int file, uint64_t size)
{
    struct disk_model *model = user;
    const struct open_file *open = find_open(model, file);
    if (open == NULL || !open->may_write) return -EBADF;
    if (model->faults.cannot_allocate) return 0;
    if (end_in_room(model, open->node, size) < size) return fail_full(model);
    model_file_extend(&open->node->file, size);
    return 0;
}

static int model_sync(void *user, int file)
{
    struct disk_model *model = user;
    const struct open_file *open = find_open(model, file);
    if (open == NULL) return -EBADF;
    model->counts.syncs++;
    if (!strikes(model, model->faults.sync_error)) {
        model_file_sync(&open->node->file);
        return 0;
    }
    struct file_luck luck = draw_luck(model);
    model_file_lose(&open->node->file, &luck);
    count_luck(model, &luck);
    return fail_io(model);
}

/* ---- The table: names --------------------------------------------------------------------------------------------- */

static int model_make_directory(void *user, const char *path)
{
    struct disk_model *model = user;
    struct node *parent;
    char name[NAME_BYTES_MAX];
    const int result = find_parent(model, path, &parent, name);
    if (result < 0) return result;
    if (name[0] == '\0' || names_find(&parent->now, name) != NULL) return -EEXIST;
    struct node *directory = node_create(true);
    directory->parent = parent;
    change_names(parent, NULL, name, directory);
    return 0;
}

static int model_sync_directory(void *user, const char *path)
{
    struct disk_model *model = user;
    struct node *directory;
    const int result = find_directory(model, path, &directory);
    if (result < 0) return result;
    model->counts.directory_syncs++;
    if (!strikes(model, model->faults.sync_error)) {
        names_sync(directory);
        return 0;
    }
    struct file_luck luck = draw_luck(model);
    names_lose(model, directory, &luck);
    return fail_io(model);
}

static int model_rename(void *user, const char *source, const char *target, bool replace)
{
    struct disk_model *model = user;
    struct node *directory, *target_directory;
    char name[NAME_BYTES_MAX], target_name[NAME_BYTES_MAX];
    int result = find_parent(model, source, &directory, name);
    if (result == 0) result = find_parent(model, target, &target_directory, target_name);
    if (result < 0) return result;
    if (directory != target_directory) return -EXDEV;
    struct node *node = names_find(&directory->now, name), *there = names_find(&directory->now, target_name);
    if (node == NULL) return -ENOENT;
    if (there != NULL && !replace) return -EEXIST;
    if (there == node) return 0;
    if (there != NULL && there->is_directory) return -EISDIR;
    change_names(directory, name, target_name, node);
    return 0;
}

static int model_remove(void *user, const char *path)
{
    struct disk_model *model = user;
    struct node *directory;
    char name[NAME_BYTES_MAX];
    const int result = find_parent(model, path, &directory, name);
    if (result < 0) return result;
    const struct node *node = name[0] == '\0' ? directory : names_find(&directory->now, name);
    if (node == NULL) return -ENOENT;
    if (node->is_directory && name[0] == '\0') return -EBUSY;
    if (node->is_directory && node->now.list.count > 0) return -ENOTEMPTY;
    change_names(directory, name, NULL, NULL);
    return 0;
}

/* Whoever is shown a name may change the directory. */
static int model_list(void *user, const char *path, void (*visit)(void *visit_user, const char *name),
                      void *visit_user)
{
    struct disk_model *model = user;
    struct node *directory;
    const int result = find_directory(model, path, &directory);
    if (result < 0) return result;
    const size_t count = directory->now.list.count;
    char **texts = need(calloc(count + 1, sizeof *texts));
    for (size_t i = 0; i < count; i++) {
        const size_t other = (size_t)draw(model, i + 1); /* in no order */
        texts[i] = texts[other];
        texts[other] = copy_text(directory->now.list.items[i].text);
    }
    for (size_t i = 0; i < count; i++) {
        visit(visit_user, texts[i]);
        free(texts[i]);
    }
    free(texts);
    return 0;
}

static bool model_is_volatile(void *user, const char *path)
{
    (void)user, (void)path;
    return false;
}

/* ---- Life --------------------------------------------------------------------------------------------------------- */

struct disk_model *disk_model_create(uint64_t seed)
{
    struct disk_model *model = need(calloc(1, sizeof *model));
    model->random = seed;
    model->root = node_retain(node_create(true));
    model->root->parent = model->root;
    model->table = (struct disk){
        .user = model,
        .make_directory = model_make_directory,
        .open = model_open,
        .close = model_close,
        .size = model_size,
        .read = model_read,
        .write = model_write,
        .allocate = model_allocate,
        .sync = model_sync,
        .sync_directory = model_sync_directory,
        .rename = model_rename,
        .remove = model_remove,
        .list = model_list,
        .is_volatile = model_is_volatile,
    };
    return model;
}

void disk_model_destroy(struct disk_model *model)
{
    if (model == NULL) return;
    while (model->open.count > 0) close_at(model, 0);
    vec_free(&model->open);
    node_release(model->root);
    free(model);
}

const struct disk *disk_model_table(struct disk_model *model) { return &model->table; }
void disk_model_set_faults(struct disk_model *model, const struct disk_faults *faults) { model->faults = *faults; }
void disk_model_set_owner(struct disk_model *model, uint32_t owner) { model->owner = owner; }
struct disk_counts disk_model_counts(const struct disk_model *model) { return model->counts; }

void disk_model_close_owner(struct disk_model *model, uint32_t owner)
{
    for (size_t i = model->open.count; i-- > 0;)
        if (model->open.items[i].owner == owner) close_at(model, i);
}

/* ---- Power -------------------------------------------------------------------------------------------------------- */

static void node_cut_power(struct disk_model *model, struct node *node, struct file_luck *luck)
{
    if (!node->is_directory) {
        model_file_cut_power(&node->file, luck);
        return;
    }
    names_lose(model, node, luck);
    names_copy(&node->now, &node->disk);
    for (size_t i = 0; i < node->now.list.count; i++) node_cut_power(model, node->now.list.items[i].node, luck);
}

void disk_model_cut_power(struct disk_model *model)
{
    struct file_luck luck = draw_luck(model);
    while (model->open.count > 0) close_at(model, 0);
    node_cut_power(model, model->root, &luck);
    count_luck(model, &luck);
}

/* ---- Looking in from outside, and damage -------------------------------------------------------------------------- */

static struct model_file *find_file(const struct disk_model *model, const char *path)
{
    struct node *node;
    return find(model, path, &node) == 0 && !node->is_directory ? &node->file : NULL;
}

bool disk_model_flip_bit(struct disk_model *model, const char *path, uint64_t bit)
{
    struct model_file *file = find_file(model, path);
    if (file == NULL || bit / 8 >= file->now.size) return false;
    model_file_flip_bit(file, bit);
    return true;
}

bool disk_model_truncate(struct disk_model *model, const char *path, uint64_t size)
{
    struct model_file *file = find_file(model, path);
    if (file == NULL || size >= file->now.size) return false;
    model_file_truncate(file, size);
    return true;
}

bool disk_model_take_away(struct disk_model *model, const char *path)
{
    struct node *directory;
    char name[NAME_BYTES_MAX];
    if (find_file(model, path) == NULL) return false;
    CHECK(find_parent(model, path, &directory, name) == 0);
    names_remove(&directory->now, name);
    names_remove(&directory->disk, name);
    return true;
}

bool disk_model_put(struct disk_model *model, const char *path, const void *contents, uint64_t size)
{
    struct node *directory;
    char name[NAME_BYTES_MAX];
    if (find_parent(model, path, &directory, name) < 0 || name[0] == '\0') return false;
    struct node *file = node_create(false);
    model_file_write(&file->file, contents, size, 0);
    model_file_sync(&file->file);
    names_set(&directory->now, name, file);
    names_set(&directory->disk, name, file);
    return true;
}

const char *disk_model_contents(struct disk_model *model, const char *path, uint64_t *size)
{
    const struct model_file *file = find_file(model, path);
    if (file == NULL) return NULL;
    *size = file->now.size;
    return file->now.size == 0 ? "" : file->now.bytes;
}

static void each_below(const struct node *directory, char path[PATH_BYTES_MAX], size_t used,
                       void (*visit)(void *user, const char *path, uint64_t size), void *user)
{
    for (size_t i = 0; i < directory->now.list.count; i++) {
        const struct name *name = &directory->now.list.items[i];
        const int more = snprintf(path + used, PATH_BYTES_MAX - used, "/%s", name->text);
        CHECK(more > 0 && (size_t)more < PATH_BYTES_MAX - used);
        if (name->node->is_directory) each_below(name->node, path, used + (size_t)more, visit, user);
        else visit(user, path, name->node->file.now.size);
    }
}

void disk_model_each_file(struct disk_model *model, void (*visit)(void *user, const char *path, uint64_t size),
                          void *user)
{
    char path[PATH_BYTES_MAX];
    each_below(model->root, path, 0, visit, user);
}

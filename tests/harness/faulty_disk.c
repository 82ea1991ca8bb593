#include "harness/faulty_disk.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "harness/unit.h"

#define SECTOR FAULTY_DISK_SECTOR
#define FILES_MAX 256
#define NAMES_MAX 4096

/* What a file is, whatever it is called. */
struct inode {
    char *now;        /* as it reads */
    char *durable;    /* as a power cut leaves it */
    bool *dirty;      /* per sector */
    size_t size, durable_size, capacity;
    bool size_dirty;
    int references;   /* names now, durable names, open files */
};

struct name {
    char *path;
    struct inode *inode;
};

struct names {
    struct name items[NAMES_MAX];
    size_t count;
};

/* A change of a name that is not durable yet. */
struct change {
    char *source; /* NULL: a new name */
    char *target; /* NULL: removed */
    struct inode *inode;
};

struct faulty_disk {
    struct disk table;
    pthread_mutex_t mutex;
    uint64_t random;
    struct names now, durable;
    struct change changes[NAMES_MAX];
    size_t change_count;
    struct inode *open[FILES_MAX];
    unsigned fail_calls;
    uint64_t fail_countdown;
    int fail_code;
    bool fail_for_ever, failing, has_failed;
    uint64_t calls[16];
    uint64_t meanwhile_countdown;
    void (*meanwhile)(void *user);
    void *meanwhile_user;
    uint64_t capacity;
};

/* ---- Inodes and names -------------------------------------------------------------------------------------------- */

static void *grow(void *memory, size_t from, size_t to)
{
    char *grown = realloc(memory, to);
    ck_assert_ptr_nonnull(grown);
    memset(grown + from, 0, to - from);
    return grown;
}

static void inode_reserve(struct inode *inode, size_t size)
{
    if (size <= inode->capacity) return;
    size_t capacity = inode->capacity == 0 ? 8 * SECTOR : inode->capacity;
    while (capacity < size) capacity *= 2;
    inode->now = grow(inode->now, inode->capacity, capacity);
    inode->durable = grow(inode->durable, inode->capacity, capacity);
    inode->dirty = grow(inode->dirty, inode->capacity / SECTOR * sizeof(bool), capacity / SECTOR * sizeof(bool));
    inode->capacity = capacity;
}

static void inode_release(struct inode *inode)
{
    if (--inode->references > 0) return;
    free(inode->now);
    free(inode->durable);
    free(inode->dirty);
    free(inode);
}

static struct name *names_find(struct names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i].path, path) == 0) return &names->items[i];
    return NULL;
}

static void names_remove(struct names *names, const char *path)
{
    struct name *name = names_find(names, path);
    if (name == NULL) return;
    free(name->path);
    inode_release(name->inode);
    *name = names->items[--names->count];
}

static void names_set(struct names *names, const char *path, struct inode *inode)
{
    inode->references++;
    names_remove(names, path);
    ck_assert_uint_lt(names->count, NAMES_MAX);
    names->items[names->count++] = (struct name){ strdup(path), inode };
}

static void names_apply(struct names *names, const struct change *change)
{
    change->inode->references++;
    if (change->source != NULL) names_remove(names, change->source);
    if (change->target != NULL) names_set(names, change->target, change->inode);
    inode_release(change->inode);
}

static void change_free(struct change *change)
{
    free(change->source);
    free(change->target);
    inode_release(change->inode);
}

static void note_change(struct faulty_disk *faulty, const char *source, const char *target, struct inode *inode)
{
    ck_assert_uint_lt(faulty->change_count, NAMES_MAX);
    struct change *change = &faulty->changes[faulty->change_count++];
    *change = (struct change){ source == NULL ? NULL : strdup(source), target == NULL ? NULL : strdup(target), inode };
    inode->references++;
    names_apply(&faulty->now, change);
}

static bool is_in(const char *path, const char *directory)
{
    const size_t size = strlen(directory);
    return strncmp(path, directory, size) == 0 && path[size] == '/' && strchr(path + size + 1, '/') == NULL;
}

/* ---- Faults ------------------------------------------------------------------------------------------------------ */

static int fault_counted(struct faulty_disk *faulty, unsigned call)
{
    faulty->calls[__builtin_ctz(call)]++;
    if ((faulty->fail_calls & call) == 0) return 0;
    if (faulty->fail_countdown > 0 && --faulty->fail_countdown == 0) {
        faulty->has_failed = true;
        faulty->failing = faulty->fail_for_ever;
        return -faulty->fail_code;
    }
    return faulty->failing ? -faulty->fail_code : 0;
}

static uint64_t bytes_used(const struct faulty_disk *faulty)
{
    uint64_t used = 0;
    for (size_t i = 0; i < faulty->now.count; i++) used += faulty->now.items[i].inode->size;
    return used;
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

#define LOCKED(faulty, user)                                                                                           \
    struct faulty_disk *faulty = user;                                                                                 \
    pthread_mutex_lock(&faulty->mutex)

static int unlocked(struct faulty_disk *faulty, int result)
{
    pthread_mutex_unlock(&faulty->mutex);
    return result;
}

static int faulty_make_directory(void *user, const char *path)
{
    (void)path; /* directories are there as soon as something is in them */
    LOCKED(faulty, user);
    return unlocked(faulty, fault_counted(faulty, FAULTY_MAKE_DIRECTORY));
}

static int open_number(struct faulty_disk *faulty, struct inode *inode)
{
    for (int i = 0; i < FILES_MAX; i++) {
        if (faulty->open[i] != NULL) continue;
        faulty->open[i] = inode;
        inode->references++;
        return i;
    }
    return -EMFILE;
}

static int faulty_open(void *user, const char *path, enum disk_open how)
{
    LOCKED(faulty, user);
    const int fault = fault_counted(faulty, how == DISK_CREATE ? FAULTY_CREATE : FAULTY_OPEN);
    if (fault < 0) return unlocked(faulty, fault);
    const struct name *name = names_find(&faulty->now, path);
    if (how != DISK_CREATE) return unlocked(faulty, name == NULL ? -ENOENT : open_number(faulty, name->inode));
    if (name != NULL) return unlocked(faulty, -EEXIST);
    struct inode *inode = calloc(1, sizeof *inode);
    ck_assert_ptr_nonnull(inode);
    note_change(faulty, NULL, path, inode);
    return unlocked(faulty, open_number(faulty, inode));
}

static struct inode *inode_of(struct faulty_disk *faulty, int file)
{
    ck_assert(file >= 0 && file < FILES_MAX && faulty->open[file] != NULL);
    return faulty->open[file];
}

static void faulty_close(void *user, int file)
{
    LOCKED(faulty, user);
    inode_release(inode_of(faulty, file));
    faulty->open[file] = NULL;
    (void)unlocked(faulty, 0);
}

static int64_t faulty_size(void *user, int file)
{
    LOCKED(faulty, user);
    const int64_t size = (int64_t)inode_of(faulty, file)->size;
    (void)unlocked(faulty, 0);
    return size;
}

static void meanwhile(struct faulty_disk *faulty)
{
    pthread_mutex_lock(&faulty->mutex);
    const bool is_now = faulty->meanwhile_countdown > 0 && --faulty->meanwhile_countdown == 0;
    pthread_mutex_unlock(&faulty->mutex);
    if (is_now) faulty->meanwhile(faulty->meanwhile_user);
}

static ssize_t faulty_read(void *user, int file, void *data, size_t size, uint64_t offset)
{
    meanwhile(user);
    LOCKED(faulty, user);
    const struct inode *inode = inode_of(faulty, file);
    const int fault = fault_counted(faulty, FAULTY_READ);
    if (fault < 0) return unlocked(faulty, fault);
    size_t got = offset >= inode->size ? 0 : inode->size - offset;
    if (got > size) got = size;
    if (got > 0) memcpy(data, inode->now + offset, got);
    (void)unlocked(faulty, 0);
    return (ssize_t)got;
}

static void put(struct inode *inode, const void *data, size_t size, uint64_t offset)
{
    inode_reserve(inode, offset + size);
    memcpy(inode->now + offset, data, size);
    for (size_t sector = offset / SECTOR; sector <= (offset + size - 1) / SECTOR; sector++) inode->dirty[sector] = true;
    if (offset + size > inode->size) {
        inode->size = offset + size;
        inode->size_dirty = true;
    }
}

static bool is_full(const struct faulty_disk *faulty, const struct inode *inode, uint64_t end)
{
    return end > inode->size && bytes_used(faulty) + (end - inode->size) > faulty->capacity;
}

static ssize_t faulty_write(void *user, int file, const void *data, size_t size, uint64_t offset)
{
    LOCKED(faulty, user);
    struct inode *inode = inode_of(faulty, file);
    const int fault = fault_counted(faulty, FAULTY_WRITE);
    if (is_full(faulty, inode, offset + size)) return unlocked(faulty, -ENOSPC);
    if (fault < 0 && size > 1) put(inode, data, size / 2, offset);
    else if (fault == 0 && size > 0) put(inode, data, size, offset);
    (void)unlocked(faulty, 0);
    return fault < 0 ? fault : (ssize_t)size;
}

static int faulty_allocate(void *user, int file, uint64_t size)
{
    LOCKED(faulty, user);
    struct inode *inode = inode_of(faulty, file);
    const int fault = fault_counted(faulty, FAULTY_ALLOCATE);
    if (fault < 0) return unlocked(faulty, fault);
    if (is_full(faulty, inode, size)) return unlocked(faulty, -ENOSPC);
    inode_reserve(inode, size);
    if (size > inode->size) {
        inode->size = size;
        inode->size_dirty = true;
    }
    return unlocked(faulty, 0);
}

/* Forgets that anything is dirty, and makes it durable or not. */
static void clean(struct inode *inode, bool durable)
{
    for (size_t sector = 0; sector < inode->capacity / SECTOR; sector++) {
        if (inode->dirty[sector] && durable)
            memcpy(inode->durable + sector * SECTOR, inode->now + sector * SECTOR, SECTOR);
        inode->dirty[sector] = false;
    }
    if (inode->size_dirty && durable) inode->durable_size = inode->size;
    inode->size_dirty = false;
}

static int faulty_sync(void *user, int file)
{
    LOCKED(faulty, user);
    struct inode *inode = inode_of(faulty, file);
    const int fault = fault_counted(faulty, FAULTY_SYNC);
    clean(inode, fault == 0);
    return unlocked(faulty, fault);
}

static int faulty_sync_directory(void *user, const char *path)
{
    LOCKED(faulty, user);
    const int fault = fault_counted(faulty, FAULTY_SYNC_DIRECTORY);
    size_t kept = 0;
    for (size_t i = 0; i < faulty->change_count; i++) {
        struct change *change = &faulty->changes[i];
        if (!is_in(change->target != NULL ? change->target : change->source, path)) {
            faulty->changes[kept++] = *change;
            continue;
        }
        if (fault == 0) names_apply(&faulty->durable, change);
        change_free(change);
    }
    faulty->change_count = kept;
    return unlocked(faulty, fault);
}

static int faulty_rename(void *user, const char *source, const char *target, bool replace)
{
    LOCKED(faulty, user);
    const int fault = fault_counted(faulty, FAULTY_RENAME);
    if (fault < 0) return unlocked(faulty, fault);
    const struct name *name = names_find(&faulty->now, source);
    if (name == NULL) return unlocked(faulty, -ENOENT);
    if (!replace && names_find(&faulty->now, target) != NULL) return unlocked(faulty, -EEXIST);
    note_change(faulty, source, target, name->inode);
    return unlocked(faulty, 0);
}

static int faulty_remove(void *user, const char *path)
{
    LOCKED(faulty, user);
    const int fault = fault_counted(faulty, FAULTY_REMOVE);
    if (fault < 0) return unlocked(faulty, fault);
    const struct name *name = names_find(&faulty->now, path);
    if (name == NULL) return unlocked(faulty, -ENOENT);
    note_change(faulty, path, NULL, name->inode);
    return unlocked(faulty, 0);
}

/* Visits copies, without the lock: the visitor may call the disk. */
static int faulty_list(void *user, const char *path, void (*visit)(void *visit_user, const char *name),
                       void *visit_user)
{
    LOCKED(faulty, user);
    const int fault = fault_counted(faulty, FAULTY_LIST);
    char *found[NAMES_MAX];
    size_t count = 0;
    for (size_t i = 0; fault == 0 && i < faulty->now.count; i++)
        if (is_in(faulty->now.items[i].path, path))
            found[count++] = strdup(strrchr(faulty->now.items[i].path, '/') + 1);
    (void)unlocked(faulty, 0);
    for (size_t i = 0; i < count; i++) {
        visit(visit_user, found[i]);
        free(found[i]);
    }
    return fault;
}

static bool faulty_is_volatile(void *user, const char *path)
{
    (void)user;
    (void)path;
    return false;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

struct faulty_disk *faulty_disk_create(uint64_t seed)
{
    struct faulty_disk *faulty = calloc(1, sizeof *faulty);
    ck_assert_ptr_nonnull(faulty);
    pthread_mutex_init(&faulty->mutex, NULL);
    faulty->random = seed;
    faulty->capacity = UINT64_MAX;
    faulty->table = (struct disk){
        .user = faulty,
        .make_directory = faulty_make_directory,
        .open = faulty_open,
        .close = faulty_close,
        .size = faulty_size,
        .read = faulty_read,
        .write = faulty_write,
        .allocate = faulty_allocate,
        .sync = faulty_sync,
        .sync_directory = faulty_sync_directory,
        .rename = faulty_rename,
        .remove = faulty_remove,
        .list = faulty_list,
        .is_volatile = faulty_is_volatile,
    };
    return faulty;
}

static void names_clear(struct names *names)
{
    while (names->count > 0) names_remove(names, names->items[0].path);
}

static void close_all(struct faulty_disk *faulty)
{
    for (int i = 0; i < FILES_MAX; i++) {
        if (faulty->open[i] != NULL) inode_release(faulty->open[i]);
        faulty->open[i] = NULL;
    }
}

static void forget_changes(struct faulty_disk *faulty)
{
    for (size_t i = 0; i < faulty->change_count; i++) change_free(&faulty->changes[i]);
    faulty->change_count = 0;
}

void faulty_disk_destroy(struct faulty_disk *faulty)
{
    close_all(faulty);
    forget_changes(faulty);
    names_clear(&faulty->now);
    names_clear(&faulty->durable);
    pthread_mutex_destroy(&faulty->mutex);
    free(faulty);
}

const struct disk *faulty_disk_table(struct faulty_disk *faulty)
{
    return &faulty->table;
}

void faulty_disk_fail(struct faulty_disk *faulty, unsigned calls, uint64_t n, int code, bool for_ever)
{
    pthread_mutex_lock(&faulty->mutex);
    faulty->fail_calls = calls;
    faulty->fail_countdown = n;
    faulty->fail_code = code;
    faulty->fail_for_ever = for_ever;
    faulty->failing = faulty->has_failed = false;
    pthread_mutex_unlock(&faulty->mutex);
}

void faulty_disk_meanwhile(struct faulty_disk *faulty, uint64_t n, void (*call)(void *user), void *user)
{
    pthread_mutex_lock(&faulty->mutex);
    faulty->meanwhile_countdown = n;
    faulty->meanwhile = call;
    faulty->meanwhile_user = user;
    pthread_mutex_unlock(&faulty->mutex);
}

bool faulty_disk_has_failed(struct faulty_disk *faulty)
{
    pthread_mutex_lock(&faulty->mutex);
    const bool has_failed = faulty->has_failed;
    pthread_mutex_unlock(&faulty->mutex);
    return has_failed;
}

uint64_t faulty_disk_calls(struct faulty_disk *faulty, unsigned calls)
{
    pthread_mutex_lock(&faulty->mutex);
    uint64_t sum = 0;
    for (int i = 0; i < 16; i++)
        if ((calls & (1u << i)) != 0) sum += faulty->calls[i];
    pthread_mutex_unlock(&faulty->mutex);
    return sum;
}

void faulty_disk_capacity(struct faulty_disk *faulty, uint64_t bytes)
{
    pthread_mutex_lock(&faulty->mutex);
    faulty->capacity = bytes;
    pthread_mutex_unlock(&faulty->mutex);
}

/* ---- Power ------------------------------------------------------------------------------------------------------- */

static void inode_cut_power(struct faulty_disk *faulty, struct inode *inode)
{
    for (size_t sector = 0; sector < inode->capacity / SECTOR; sector++) {
        if (inode->dirty[sector] && unit_chance(&faulty->random, 50))
            memcpy(inode->durable + sector * SECTOR, inode->now + sector * SECTOR, SECTOR);
        inode->dirty[sector] = false;
    }
    if (inode->size_dirty && unit_chance(&faulty->random, 50)) inode->durable_size = inode->size;
    inode->size_dirty = false;
    inode->size = inode->durable_size;
    if (inode->capacity == 0) return;
    memset(inode->durable + inode->size, 0, inode->capacity - inode->size);
    memcpy(inode->now, inode->durable, inode->capacity);
}

void faulty_disk_cut_power(struct faulty_disk *faulty)
{
    close_all(faulty);
    for (size_t i = 0; i < faulty->change_count; i++)
        if (unit_chance(&faulty->random, 50)) names_apply(&faulty->durable, &faulty->changes[i]);
    forget_changes(faulty);
    names_clear(&faulty->now);
    for (size_t i = 0; i < faulty->durable.count; i++)
        names_set(&faulty->now, faulty->durable.items[i].path, faulty->durable.items[i].inode);
    for (size_t i = 0; i < faulty->now.count; i++) inode_cut_power(faulty, faulty->now.items[i].inode);
}

/* ---- Damage ------------------------------------------------------------------------------------------------------ */

static struct inode *named(struct faulty_disk *faulty, const char *path)
{
    const struct name *name = names_find(&faulty->now, path);
    ck_assert_msg(name != NULL, "%s is not there", path);
    return name->inode;
}

void faulty_disk_flip(struct faulty_disk *faulty, const char *path, uint64_t bit)
{
    struct inode *inode = named(faulty, path);
    ck_assert_uint_lt(bit / 8, inode->size);
    inode->now[bit / 8] = (char)(inode->now[bit / 8] ^ (1 << (bit % 8)));
    inode->durable[bit / 8] = inode->now[bit / 8];
}

void faulty_disk_truncate(struct faulty_disk *faulty, const char *path, uint64_t size)
{
    struct inode *inode = named(faulty, path);
    if (size < inode->size) {
        memset(inode->now + size, 0, inode->size - size);
        memset(inode->durable + size, 0, inode->size - size);
    }
    inode_reserve(inode, size);
    inode->size = inode->durable_size = size;
}

void faulty_disk_zero(struct faulty_disk *faulty, const char *path, uint64_t offset, uint64_t size)
{
    struct inode *inode = named(faulty, path);
    memset(inode->now + offset, 0, size);
    memset(inode->durable + offset, 0, size);
}

void faulty_disk_copy(struct faulty_disk *faulty, const char *source, const char *target)
{
    const struct inode *from = named(faulty, source);
    struct inode *to = calloc(1, sizeof *to);
    ck_assert_ptr_nonnull(to);
    put(to, from->now, from->size, 0);
    clean(to, true);
    names_set(&faulty->now, target, to);
    names_set(&faulty->durable, target, to);
}

bool faulty_disk_has(struct faulty_disk *faulty, const char *path)
{
    return names_find(&faulty->now, path) != NULL;
}

uint64_t faulty_disk_size(struct faulty_disk *faulty, const char *path)
{
    return named(faulty, path)->size;
}

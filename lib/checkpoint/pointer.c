#include "checkpoint/pointer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATH_BYTES_MAX = 4096,
    MARK_BYTES = 512,
    MARK_STEP = 4096,
    BODY_OFFSET = 8192,
    MARK_HASHED_BYTES = 40,
    TRIES_MAX = 100, /* of what another process may be changing meanwhile */
};

static const char mark_magic[8] = { 'W', 'E', 'I', 'R', 'M', 'A', 'R', 'K' };

/* Says which record of a slot is committed. Sequence 0: none. */
struct mark {
    uint64_t sequence;
    uint64_t epoch;
    uint32_t key_length;
    uint32_t value_length;
    uint64_t body_hash;
};

/* A record as it lies in a slot: key and value, one behind the other. */
struct body {
    char *data; /* malloc'ed */
    size_t key_length, value_length;
};

enum call {
    CALL_LOOK, CALL_FENCE, CALL_READ, CALL_ANNOUNCE, CALL_BEGIN, CALL_FLUSH, CALL_OFFSETS, CALL_COMMIT, CALL_RENEW,
    CALL_DISCARD, CALL_FINISH
};

struct letter {
    struct mail mail; /* type: enum call */
    uint32_t attempt;
    uint32_t handle;
    uint64_t epoch;
    struct body body; /* announce, flush */
};

struct pointer {
    /* Fixed by open. */
    const struct disk *disk;
    char *directory;
    void (*post)(void *user, struct weir_decider_event *event);
    void *post_user;
    /* Shared: anybody posts, the thread takes; close says when to end. */
    atomic_bool closing;
    struct mailbox mailbox;
    struct waker waker;
    struct thread thread;
    /* Owner: the thread. */
    uint64_t owner; /* our number; 0 = we own nothing */
    int file;       /* pointer-<owner>; -1 = none */
    struct mark newest;       /* in our own file */
    struct mark prepared;     /* body written, mark not; sequence 0 = none */
    struct body read;         /* what CALL_READ found as the pointer */
    uint64_t read_epoch;
};

/* ---- Names and errors -------------------------------------------------------------------------------------------- */

static void path_of(const struct pointer *pointer, uint64_t owner, char path[PATH_BYTES_MAX])
{
    const int size = snprintf(path, PATH_BYTES_MAX, "%s/pointer-%" PRIu64, pointer->directory, owner);
    CHECK(size > 0 && size < PATH_BYTES_MAX);
}

static bool parse_name(const char *name, uint64_t *owner)
{
    char again[64];
    if (sscanf(name, "pointer-%" SCNu64, owner) != 1 || *owner == 0) return false;
    (void)snprintf(again, sizeof again, "pointer-%" PRIu64, *owner);
    return strcmp(again, name) == 0;
}

static enum weir_code disk_failed(const struct pointer *pointer, struct weir_error *error, uint64_t owner,
                                  const char *doing, int result)
{
    const char *text = strerrordesc_np(-result);
    if (result == -ENOMEM)
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "out of memory while %s the pointer file",
                              doing);
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_REPLAY, "%s %s/pointer-%" PRIu64 ": %s", doing,
                          pointer->directory, owner, text == NULL ? "unknown error" : text);
}

static enum weir_code damaged(const struct pointer *pointer, struct weir_error *error, uint64_t owner, const char *what)
{
    return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                          "%s/pointer-%" PRIu64 ", which says what was committed last, is damaged: %s; put the file "
                          "back from a copy of the checkpoint directory",
                          pointer->directory, owner, what);
}

/* ---- Owners ------------------------------------------------------------------------------------------------------ */

struct owner_search {
    uint64_t below; /* only owners below it */
    uint64_t found; /* the highest; 0 = none */
};

static void owner_visit(void *user, const char *name)
{
    struct owner_search *search = user;
    uint64_t owner;
    if (parse_name(name, &owner) && owner < search->below && owner > search->found) search->found = owner;
}

/* The highest owner below `below`; 0 = none. */
static int find_owner(const struct pointer *pointer, uint64_t below, uint64_t *owner)
{
    struct owner_search search = { .below = below };
    const int result = pointer->disk->list(pointer->disk->user, pointer->directory, owner_visit, &search);
    *owner = search.found;
    return result;
}

/* ---- Marks and bodies -------------------------------------------------------------------------------------------- */

static uint64_t mark_offset(uint64_t sequence)
{
    return sequence % 2 * MARK_STEP;
}

static uint64_t body_offset(uint64_t sequence)
{
    return BODY_OFFSET + sequence % 2 * POINTER_BODY_MAX;
}

static int write_mark(const struct pointer *pointer, const struct mark *mark)
{
    static const char zeroes[MARK_BYTES];
    struct buffer out;
    buffer_init(&out);
    buffer_put(&out, mark_magic, sizeof mark_magic);
    buffer_u64(&out, mark->sequence);
    buffer_u64(&out, mark->epoch);
    buffer_u32(&out, mark->key_length);
    buffer_u32(&out, mark->value_length);
    buffer_u64(&out, mark->body_hash);
    if (!out.failed) buffer_u64(&out, hash_64_seeded(out.data, MARK_HASHED_BYTES, pointer->owner));
    buffer_put(&out, zeroes, sizeof zeroes - MARK_HASHED_BYTES - 8);
    int result = -ENOMEM;
    if (!out.failed)
        result = disk_write_all(pointer->disk, pointer->file, out.data, out.size, mark_offset(mark->sequence));
    buffer_deinit(&out);
    return result == 0 ? pointer->disk->sync(pointer->disk->user, pointer->file) : result;
}

/* False when the sector is neither zero nor a whole mark. */
static bool parse_mark(const char sector[MARK_BYTES], uint64_t owner, uint64_t slot, struct mark *mark)
{
    static const char zeroes[MARK_BYTES];
    *mark = (struct mark){ 0 };
    if (memcmp(sector, zeroes, MARK_BYTES) == 0) return true;
    struct reader in;
    reader_init(&in, sector, MARK_BYTES);
    const bool is_mark = memcmp(reader_skip(&in, sizeof mark_magic), mark_magic, sizeof mark_magic) == 0;
    mark->sequence = reader_u64(&in);
    mark->epoch = reader_u64(&in);
    mark->key_length = reader_u32(&in);
    mark->value_length = reader_u32(&in);
    mark->body_hash = reader_u64(&in);
    const bool is_whole = reader_u64(&in) == hash_64_seeded(sector, MARK_HASHED_BYTES, owner);
    const bool has_zero_tail = memcmp(sector + MARK_HASHED_BYTES + 8, zeroes, MARK_BYTES - MARK_HASHED_BYTES - 8) == 0;
    return is_mark && is_whole && has_zero_tail && mark->sequence > 0 && mark->sequence % 2 == slot &&
           (uint64_t)mark->key_length + mark->value_length <= POINTER_BODY_MAX;
}

/* Marks are written one after another: beside one that is not the first there is its neighbour. */
static bool marks_fit(const struct mark marks[2])
{
    const uint64_t newest = marks[0].sequence > marks[1].sequence ? marks[0].sequence : marks[1].sequence;
    const uint64_t other = marks[0].sequence + marks[1].sequence - newest;
    return newest == 0 || other == newest - 1;
}

static int write_body(const struct pointer *pointer, const struct body *body, uint64_t epoch, struct mark *mark)
{
    const size_t size = body->key_length + body->value_length;
    if (size > POINTER_BODY_MAX) return -EFBIG;
    *mark = (struct mark){
        .sequence = pointer->newest.sequence + 1,
        .epoch = epoch,
        .key_length = (uint32_t)body->key_length,
        .value_length = (uint32_t)body->value_length,
        .body_hash = hash_64_seeded(body->data, size, pointer->owner),
    };
    const int result = disk_write_all(pointer->disk, pointer->file, body->data, size, body_offset(mark->sequence));
    return result == 0 ? pointer->disk->sync(pointer->disk->user, pointer->file) : result;
}

/* The body that belongs to `mark`: -EBADMSG when something else lies there. */
static int read_body(const struct pointer *pointer, int file, uint64_t owner, const struct mark *mark,
                     struct body *body)
{
    const size_t size = (size_t)mark->key_length + mark->value_length;
    *body = (struct body){ malloc(size + 1), mark->key_length, mark->value_length };
    if (body->data == NULL) return -ENOMEM;
    int result = disk_read_all(pointer->disk, file, body->data, size, body_offset(mark->sequence));
    if (result == 0 && hash_64_seeded(body->data, size, owner) != mark->body_hash) result = -EBADMSG;
    if (result == -ENODATA) result = -EBADMSG;
    if (result == 0) return 0;
    free(body->data);
    body->data = NULL;
    return result;
}

/* ---- Reading an owner's file ------------------------------------------------------------------------------------- */

/* What a file says: up to two records, the newest last. */
struct contents {
    char sectors[2][MARK_BYTES];
    struct mark marks[2];
    bool marks_whole;
    size_t body_count;
    struct body bodies[2];
    uint64_t epoch; /* of the newest */
    bool body_missing; /* the newest one's */
};

static void contents_clear(struct contents *contents)
{
    for (size_t i = 0; i < contents->body_count; i++) free(contents->bodies[i].data);
    contents->body_count = 0;
}

static int read_sectors(const struct pointer *pointer, int file, struct contents *contents)
{
    memset(contents->sectors, 0, sizeof contents->sectors);
    for (uint64_t slot = 0; slot < 2; slot++) {
        const int result = disk_read_all(pointer->disk, file, contents->sectors[slot], MARK_BYTES, slot * MARK_STEP);
        if (result < 0 && result != -ENODATA) return result; /* past the end: no mark yet */
    }
    return 0;
}

static int add_body(const struct pointer *pointer, int file, uint64_t owner, const struct mark *mark,
                    struct contents *contents)
{
    if (mark->sequence == 0) return 0;
    const int result = read_body(pointer, file, owner, mark, &contents->bodies[contents->body_count]);
    if (result == 0) contents->body_count++;
    return result;
}

/* Reads once. The older slot may be in the middle of being written: its record counts only where it is whole. */
static int read_once(const struct pointer *pointer, int file, uint64_t owner, struct contents *contents)
{
    *contents = (struct contents){ .body_count = 0 };
    int result = read_sectors(pointer, file, contents);
    if (result < 0) return result;
    contents->marks_whole = parse_mark(contents->sectors[0], owner, 0, &contents->marks[0]);
    contents->marks_whole = parse_mark(contents->sectors[1], owner, 1, &contents->marks[1]) && contents->marks_whole &&
                            marks_fit(contents->marks);
    if (!contents->marks_whole) return 0;
    const int newest = contents->marks[1].sequence > contents->marks[0].sequence;
    contents->epoch = contents->marks[newest].epoch;
    result = add_body(pointer, file, owner, &contents->marks[1 - newest], contents);
    if (result < 0 && result != -EBADMSG) return result;
    result = add_body(pointer, file, owner, &contents->marks[newest], contents);
    contents->body_missing = result == -EBADMSG;
    return contents->body_missing ? 0 : result;
}

/* Reads until it fits together, or until it does not although nobody changes it. */
static enum weir_code read_open_file(const struct pointer *pointer, int file, uint64_t owner, struct contents *contents,
                                     struct weir_error *error)
{
    struct contents before;
    int result = read_once(pointer, file, owner, contents);
    for (int i = 0; result == 0 && (!contents->marks_whole || contents->body_missing); i++) {
        before = *contents;
        contents_clear(contents);
        result = read_once(pointer, file, owner, contents);
        const bool is_still = memcmp(before.sectors, contents->sectors, sizeof before.sectors) == 0;
        if (result < 0 || (!is_still && i < TRIES_MAX)) continue;
        if (!contents->marks_whole) return damaged(pointer, error, owner, "its marks are not whole, or one is missing");
        if (contents->body_missing)
            return damaged(pointer, error, owner, "its newest mark names a record that is not there");
    }
    return result == 0 ? WEIR_OK : disk_failed(pointer, error, owner, "reading", result);
}

/* The records of the highest owner that has committed any; none at all is no error. Files may vanish meanwhile, because
 * a newer owner removes those below it: then it has committed itself, and looking again finds it. */
static enum weir_code read_newest(const struct pointer *pointer, struct contents *contents, struct weir_error *error)
{
    *contents = (struct contents){ .body_count = 0 };
    uint64_t below = UINT64_MAX, owner;
    for (int tries = 0; tries < TRIES_MAX;) {
        int result = find_owner(pointer, below, &owner);
        if (result < 0) return disk_failed(pointer, error, 0, "looking for", result);
        if (owner == 0) return WEIR_OK;
        char path[PATH_BYTES_MAX];
        path_of(pointer, owner, path);
        const int file = pointer->disk->open(pointer->disk->user, path, DISK_READ);
        if (file == -ENOENT) {
            below = UINT64_MAX;
            tries++;
            continue;
        }
        if (file < 0) return disk_failed(pointer, error, owner, "opening", file);
        const enum weir_code code = read_open_file(pointer, file, owner, contents, error);
        pointer->disk->close(pointer->disk->user, file);
        if (code != WEIR_OK || contents->body_count > 0) return code;
        below = owner;
    }
    return disk_failed(pointer, error, owner, "opening", -ENOENT);
}

/* ---- Steps of the thread ----------------------------------------------------------------------------------------- */

static void disown(struct pointer *pointer)
{
    if (pointer->file >= 0) pointer->disk->close(pointer->disk->user, pointer->file);
    pointer->file = -1;
    pointer->owner = 0;
    pointer->newest = pointer->prepared = (struct mark){ 0 };
    free(pointer->read.data);
    pointer->read = (struct body){ 0 };
}

static bool copy_record(const struct body *body, struct weir_ledger_record *record)
{
    char *key = malloc(body->key_length + 1), *value = malloc(body->value_length + 1);
    if (key == NULL || value == NULL) {
        free(key);
        free(value);
        return false;
    }
    memcpy(key, body->data, body->key_length);
    memcpy(value, body->data + body->key_length, body->value_length);
    *record = (struct weir_ledger_record){
        .key = { key, body->key_length }, .value = { value, body->value_length }, .offset = -1,
    };
    return true;
}

/* Moves what was read into the event; remembers the newest record when `keep`. */
static enum weir_code look(struct pointer *pointer, bool keep, struct weir_decider_event *event)
{
    struct contents contents;
    enum weir_code code = read_newest(pointer, &contents, &event->error);
    if (code == WEIR_OK && contents.body_count > 0) {
        event->records = calloc(contents.body_count, sizeof *event->records);
        bool copied = event->records != NULL;
        for (size_t i = 0; copied && i < contents.body_count; i++) {
            copied = copy_record(&contents.bodies[i], &event->records[i]);
            if (copied) event->record_count++;
        }
        if (!copied) code = disk_failed(pointer, &event->error, 0, "reading", -ENOMEM);
    }
    if (code == WEIR_OK && keep) {
        free(pointer->read.data);
        pointer->read = (struct body){ 0 };
        pointer->read_epoch = contents.epoch;
        if (contents.body_count > 0) pointer->read = contents.bodies[--contents.body_count];
    }
    contents_clear(&contents);
    return code;
}

enum weir_code pointer_peek(const struct disk *disk, const char *directory, struct buffer *record, bool *found,
                            struct weir_error *error)
{
    char path[PATH_BYTES_MAX];
    const struct pointer pointer = { .disk = disk, .directory = path };
    struct contents contents;
    uint64_t owner;
    const int size = snprintf(path, sizeof path, "%s", directory);
    CHECK(size > 0 && size + 64 < PATH_BYTES_MAX);
    buffer_clear(record);
    const int result = find_owner(&pointer, UINT64_MAX, &owner);
    if (result < 0) return disk_failed(&pointer, error, 0, "looking for", result);
    *found = owner > 0;
    enum weir_code code = read_newest(&pointer, &contents, error);
    if (code == WEIR_OK && contents.body_count > 0) {
        const struct body *newest = &contents.bodies[contents.body_count - 1];
        buffer_put(record, newest->data + newest->key_length, newest->value_length);
        if (record->failed) code = disk_failed(&pointer, error, 0, "reading", -ENOMEM);
    }
    contents_clear(&contents);
    return code;
}

/* Takes the next number. Of two that try it at the same time one gets it, and the other the one above. */
static enum weir_code fence(struct pointer *pointer, struct weir_error *error)
{
    disown(pointer);
    int file = -EEXIST;
    uint64_t owner = 0;
    for (int tries = 0; file == -EEXIST && tries < TRIES_MAX; tries++) {
        const int result = find_owner(pointer, UINT64_MAX, &owner);
        if (result < 0) return disk_failed(pointer, error, 0, "looking for", result);
        char path[PATH_BYTES_MAX];
        path_of(pointer, ++owner, path);
        file = pointer->disk->open(pointer->disk->user, path, DISK_CREATE);
    }
    if (file < 0) return disk_failed(pointer, error, owner, "creating", file);
    pointer->file = file;
    pointer->owner = owner;
    const int result = pointer->disk->sync_directory(pointer->disk->user, pointer->directory);
    return result == 0 ? WEIR_OK : disk_failed(pointer, error, owner, "syncing", result);
}

static enum weir_code owns_nothing(struct weir_error *error)
{
    return weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_REPLAY, "the pointer file was given up");
}

/* Decided: the mark is durable, and nobody had taken over when it was. */
static enum weir_code decide(struct pointer *pointer, const struct mark *mark, struct weir_error *error)
{
    int result = write_mark(pointer, mark);
    if (result < 0) return disk_failed(pointer, error, pointer->owner, "writing", result);
    uint64_t highest;
    result = find_owner(pointer, UINT64_MAX, &highest);
    if (result < 0) return disk_failed(pointer, error, pointer->owner, "looking for others beside", result);
    if (highest != pointer->owner)
        return weir_error_set(error, WEIR_FENCED, WEIR_REMEDY_STOP,
                              "another process took the job over: %s has pointer-%" PRIu64
                              ", this process had pointer-%" PRIu64,
                              pointer->directory, highest, pointer->owner);
    pointer->newest = *mark;
    return WEIR_OK;
}

/* Once we have a mark nobody reads those below. What cannot be removed now is removed by the next owner. */
static void remove_lower_owners(const struct pointer *pointer)
{
    uint64_t owner = pointer->owner;
    while (find_owner(pointer, owner, &owner) == 0 && owner > 0) {
        char path[PATH_BYTES_MAX];
        path_of(pointer, owner, path);
        (void)pointer->disk->remove(pointer->disk->user, path);
    }
}

static enum weir_code prepare(struct pointer *pointer, const struct body *body, uint64_t epoch, struct mark *mark,
                              struct weir_error *error)
{
    const int result = write_body(pointer, body, epoch, mark);
    if (result == -EFBIG)
        return weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_STOP,
                              "the record of checkpoint %" PRIu64 " has %zu bytes, a pointer file takes %u: the job "
                              "has too many splits and outputs for one",
                              epoch, body->key_length + body->value_length, POINTER_BODY_MAX);
    return result == 0 ? WEIR_OK : disk_failed(pointer, error, pointer->owner, "writing", result);
}

static enum weir_code write_record(struct pointer *pointer, const struct body *body, uint64_t epoch,
                                   struct weir_error *error)
{
    struct mark mark;
    enum weir_code code = prepare(pointer, body, epoch, &mark, error);
    if (code == WEIR_OK) code = decide(pointer, &mark, error);
    return code;
}

static enum weir_code announce(struct pointer *pointer, const struct body *body, struct weir_error *error)
{
    if (pointer->owner == 0) return owns_nothing(error);
    enum weir_code code = WEIR_OK;
    if (pointer->newest.sequence == 0 && pointer->read.data != NULL)
        code = write_record(pointer, &pointer->read, pointer->read_epoch, error);
    if (code == WEIR_OK) code = write_record(pointer, body, pointer->read_epoch, error);
    if (code == WEIR_OK) remove_lower_owners(pointer);
    return code;
}

static enum weir_code flush(struct pointer *pointer, const struct letter *letter, struct weir_error *error)
{
    if (pointer->owner == 0) return owns_nothing(error);
    pointer->prepared = (struct mark){ 0 };
    return prepare(pointer, &letter->body, letter->epoch, &pointer->prepared, error);
}

static enum weir_code commit(struct pointer *pointer, uint64_t epoch, struct weir_error *error)
{
    const struct mark mark = pointer->prepared;
    if (pointer->owner == 0) return owns_nothing(error);
    if (mark.sequence == 0 || mark.epoch != epoch)
        return weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_REPLAY, "checkpoint %" PRIu64 " was not flushed", epoch);
    const bool is_first = pointer->newest.sequence == 0;
    pointer->prepared = (struct mark){ 0 };
    const enum weir_code code = decide(pointer, &mark, error);
    if (code == WEIR_OK && is_first) remove_lower_owners(pointer);
    return code;
}

/* ---- The thread -------------------------------------------------------------------------------------------------- */

static const enum weir_decider_event_type answers[] = {
    [CALL_LOOK] = WEIR_DECIDER_LOOKED,         [CALL_FENCE] = WEIR_DECIDER_FENCED,
    [CALL_READ] = WEIR_DECIDER_READ,           [CALL_ANNOUNCE] = WEIR_DECIDER_ANNOUNCED,
    [CALL_BEGIN] = WEIR_DECIDER_BEGUN,         [CALL_FLUSH] = WEIR_DECIDER_FLUSHED,
    [CALL_OFFSETS] = WEIR_DECIDER_READY,       [CALL_COMMIT] = WEIR_DECIDER_COMMITTED,
    [CALL_RENEW] = WEIR_DECIDER_RENEWED,       [CALL_DISCARD] = WEIR_DECIDER_DISCARDED,
    [CALL_FINISH] = WEIR_DECIDER_FINISHED,
};

static enum weir_code execute(struct pointer *pointer, const struct letter *letter, struct weir_decider_event *event)
{
    switch ((enum call)letter->mail.type) {
    case CALL_LOOK: return look(pointer, false, event);
    case CALL_READ: return look(pointer, true, event);
    case CALL_FENCE: return fence(pointer, &event->error);
    case CALL_ANNOUNCE: return announce(pointer, &letter->body, &event->error);
    case CALL_FLUSH: return flush(pointer, letter, &event->error);
    case CALL_COMMIT: return commit(pointer, letter->epoch, &event->error);
    case CALL_DISCARD: disown(pointer); return WEIR_OK;
    case CALL_BEGIN:
    case CALL_OFFSETS:
    case CALL_RENEW:
    case CALL_FINISH: return WEIR_OK;
    }
    return WEIR_OK;
}

static void answer(struct pointer *pointer, const struct letter *letter)
{
    struct weir_decider_event event = {
        .type = answers[letter->mail.type],
        .attempt = letter->attempt,
        .epoch = letter->epoch,
        .handle = letter->handle,
    };
    if (execute(pointer, letter, &event) != WEIR_OK) {
        weir_decider_event_clear(&event);
        event.type = WEIR_DECIDER_FAILED;
    }
    pointer->post(pointer->post_user, &event);
}

static void letter_free(struct mail *mail)
{
    struct letter *letter = (struct letter *)mail;
    free(letter->body.data);
    free(letter);
}

static void run(void *argument)
{
    struct pointer *pointer = argument;
    while (!atomic_load(&pointer->closing)) {
        struct mail *mail = mailbox_take(&pointer->mailbox);
        if (mail == NULL) {
            waker_sleep(&pointer->waker, -1);
            continue;
        }
        answer(pointer, (struct letter *)mail);
        letter_free(mail);
    }
}

/* ---- Calls: job thread ------------------------------------------------------------------------------------------- */

/* False when there is no memory. */
static bool body_copy(struct body *body, struct weir_bytes key, struct weir_bytes value)
{
    *body = (struct body){ malloc(key.size + value.size + 1), key.size, value.size };
    if (body->data == NULL) return false;
    if (key.size > 0) memcpy(body->data, key.data, key.size);
    if (value.size > 0) memcpy(body->data + key.size, value.data, value.size);
    return true;
}

static void call_failed(struct pointer *pointer, uint32_t attempt, uint32_t handle, uint64_t epoch)
{
    struct weir_decider_event event = {
        .type = WEIR_DECIDER_FAILED, .attempt = attempt, .handle = handle, .epoch = epoch,
    };
    (void)weir_error_set(&event.error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "out of memory while calling the decider");
    pointer->post(pointer->post_user, &event);
}

static void send(void *decider, enum call call, uint32_t attempt, uint32_t handle, uint64_t epoch,
                 const struct weir_bytes *key, const struct weir_bytes *value)
{
    struct pointer *pointer = decider;
    struct letter *letter = malloc(sizeof *letter);
    if (letter == NULL) {
        call_failed(pointer, attempt, handle, epoch);
        return;
    }
    *letter = (struct letter){ .mail = { .type = (int)call }, .attempt = attempt, .handle = handle, .epoch = epoch };
    if (key != NULL && !body_copy(&letter->body, *key, *value)) {
        free(letter);
        call_failed(pointer, attempt, handle, epoch);
        return;
    }
    mailbox_post(&pointer->mailbox, &letter->mail);
}

static void pointer_look(void *decider, uint32_t attempt)
{
    send(decider, CALL_LOOK, attempt, 0, 0, NULL, NULL);
}

static void pointer_fence(void *decider, uint32_t attempt, uint32_t handles_named)
{
    (void)handles_named;
    send(decider, CALL_FENCE, attempt, 0, 0, NULL, NULL);
}

static void pointer_read(void *decider, uint32_t attempt)
{
    send(decider, CALL_READ, attempt, 0, 0, NULL, NULL);
}

static void pointer_announce(void *decider, uint32_t attempt, struct weir_bytes key, struct weir_bytes value)
{
    send(decider, CALL_ANNOUNCE, attempt, 0, 0, &key, &value);
}

static void pointer_begin(void *decider, uint32_t attempt, uint32_t handle, uint64_t epoch)
{
    send(decider, CALL_BEGIN, attempt, handle, epoch, NULL, NULL);
}

static void pointer_flush(void *decider, uint32_t attempt, uint32_t handle, uint64_t epoch,
                          struct weir_bytes ledger_key, struct weir_bytes ledger_value, bool anchors)
{
    (void)anchors;
    send(decider, CALL_FLUSH, attempt, handle, epoch, &ledger_key, &ledger_value);
}

static void pointer_offsets(void *decider, uint32_t attempt, uint32_t handle, uint64_t epoch,
                            const struct weir_splits *positions, const char *metadata)
{
    (void)positions;
    (void)metadata;
    send(decider, CALL_OFFSETS, attempt, handle, epoch, NULL, NULL);
}

static void pointer_commit(void *decider, uint32_t attempt, uint32_t handle, uint64_t epoch)
{
    send(decider, CALL_COMMIT, attempt, handle, epoch, NULL, NULL);
}

static void pointer_renew(void *decider, uint32_t attempt, uint32_t handle)
{
    send(decider, CALL_RENEW, attempt, handle, 0, NULL, NULL);
}

static void pointer_discard(void *decider, uint32_t attempt)
{
    send(decider, CALL_DISCARD, attempt, 0, 0, NULL, NULL);
}

static void pointer_finish(void *decider, uint32_t attempt)
{
    send(decider, CALL_FINISH, attempt, 0, 0, NULL, NULL);
}

/* ---- Open and close ---------------------------------------------------------------------------------------------- */

static void pointer_free(struct pointer *pointer)
{
    disown(pointer);
    free(pointer->directory);
    free(pointer);
}

enum weir_code pointer_open_on(const struct disk *disk, const struct weir_decider_options *options, void **decider,
                               struct weir_error *error)
{
    *decider = NULL;
    if (options->store_directory == NULL || strlen(options->store_directory) + 64 > PATH_BYTES_MAX)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "a job without Kafka needs a checkpoint directory for its pointer file");
    struct pointer *pointer = calloc(1, sizeof *pointer);
    char *directory = malloc(strlen(options->store_directory) + 1);
    if (pointer == NULL || directory == NULL) {
        free(pointer);
        free(directory);
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY,
                              "out of memory while opening the pointer file");
    }
    memcpy(directory, options->store_directory, strlen(options->store_directory) + 1);
    pointer->disk = disk;
    pointer->directory = directory;
    pointer->post = options->post;
    pointer->post_user = options->post_user;
    pointer->file = -1;
    if (!waker_init(&pointer->waker)) {
        pointer_free(pointer);
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                              "no event descriptor is left for the pointer file");
    }
    mailbox_init(&pointer->mailbox, &pointer->waker);
    if (!thread_start(&pointer->thread, "weir-pointer", run, pointer)) {
        mailbox_deinit(&pointer->mailbox, letter_free);
        waker_deinit(&pointer->waker);
        pointer_free(pointer);
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                              "the thread of the pointer file cannot be started");
    }
    *decider = pointer;
    return WEIR_OK;
}

static enum weir_code pointer_open(const struct weir_decider_options *options, void **decider, struct weir_error *error)
{
    return pointer_open_on(&disk_system, options, decider, error);
}

static enum weir_code pointer_open_in_memory(const struct weir_decider_options *options, void **decider,
                                             struct weir_error *error)
{
    return pointer_open_on(&disk_memory, options, decider, error);
}

static void pointer_close(void *decider)
{
    struct pointer *pointer = decider;
    if (pointer == NULL) return;
    atomic_store(&pointer->closing, true);
    waker_wake(&pointer->waker);
    thread_join(&pointer->thread);
    mailbox_deinit(&pointer->mailbox, letter_free);
    waker_deinit(&pointer->waker);
    pointer_free(pointer);
}

static const char *pointer_cluster(void *decider)
{
    (void)decider;
    return NULL;
}

#define POINTER_DECIDER(open_function)                                                                                 \
    {                                                                                                                  \
        .size = sizeof(struct weir_decider_type), .kind = "pointer", .needs_prepared_frame = true,                     \
        .open = open_function, .close = pointer_close, .cluster = pointer_cluster, .look = pointer_look,               \
        .fence = pointer_fence, .read = pointer_read, .announce = pointer_announce, .begin = pointer_begin,            \
        .flush = pointer_flush, .offsets = pointer_offsets, .commit = pointer_commit, .renew = pointer_renew,          \
        .discard = pointer_discard, .finish = pointer_finish,                                                          \
    }
const struct weir_decider_type pointer_decider = POINTER_DECIDER(pointer_open);
const struct weir_decider_type pointer_decider_in_memory = POINTER_DECIDER(pointer_open_in_memory);

/* weir/inspect.h: checkpoints as survey.h finds them, and their state, some key groups at a time:
 *
 *   for each operator, for each slice of its key groups
 *       shard_create ─> replay.h: bases, deltas ─> shard_apply ─> shard_restored     what a restoring job does
 *       shard_dump_step ─> units ─> sorted ─> entries
 *
 * Every slice reads what overlaps with it anew: memory is what is short, not time. */
#include "weir/inspect.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/survey.h"
#include "state/delta.h"
#include "state/replay.h"

enum {
    TRIES_MAX = 100,
    /* A unit takes this many times its written size in memory, in the shard, as it is dumped and as it is sorted. */
    MEMORY_FACTOR = 16,
    MEMORY_BYTES_DEFAULT = 256 << 20,
    STATES_MAX = 256, /* of one operator */
};

struct inspector_operator {
    const struct manifest_operator *written;
    uint64_t bytes;     /* of its bases and deltas */
    size_t state_first; /* in `states` */
};

struct weir_inspector {
    struct store *store;
    struct survey survey;
    size_t chosen; /* index of its frame */
    struct weir_inspect_options options;
    /* What was chosen. */
    struct buffer frame;
    struct arena arena;
    struct manifest manifest;
    struct store_chain chain;
    struct inspector_operator *operators; /* by name */
    size_t operator_count;
    struct weir_inspect_state *states; /* by operator and name */
    size_t state_count;
    /* Where reading stands. */
    struct weir_inspect_filter filter;
    size_t operator_next;
    uint32_t group_next;
    struct buffer units; /* of the slice */
    VEC(struct delta_unit) sorted; /* views into `units` */
    size_t sorted_next;
    uint64_t position;
};

static enum weir_code no_memory(struct weir_error *error)
{
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "out of memory while looking into a checkpoint");
}

static const struct weir_frame_name *chosen_name(const weir_inspector *in)
{
    return &in->survey.frames.items[in->chosen].name;
}

/* ---- Names ------------------------------------------------------------------------------------------------------- */

static const char *const kind_names[] = { "value", "list", "map", "reducing", "aggregating",
                                          "operator-list", "operator-union", "broadcast" };
static const char *const codec_names[] = { "bytes", "i64", "f64", "struct", "object" };

const char *weir_state_kind_name(enum weir_state_kind kind)
{
    return (size_t)kind < sizeof kind_names / sizeof kind_names[0] ? kind_names[kind] : "unknown";
}

const char *weir_codec_name(enum weir_codec codec)
{
    return (size_t)codec < sizeof codec_names / sizeof codec_names[0] ? codec_names[codec] : "unknown";
}

/* ---- States ------------------------------------------------------------------------------------------------------ */

static int by_operator_name(const void *a, const void *b)
{
    const struct inspector_operator *x = a, *y = b;
    return strcmp(x->written->name, y->written->name);
}

static int by_state_name(const void *a, const void *b)
{
    const struct weir_inspect_state *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static enum weir_code list_states(weir_inspector *in, struct inspector_operator *op, struct weir_error *error)
{
    const struct manifest_operator *written = op->written;
    op->state_first = in->state_count;
    for (size_t i = 0; i < written->state_count; i++) {
        const struct manifest_state *from = &written->states[i];
        if (from->kind >= sizeof kind_names / sizeof kind_names[0] ||
            from->codec >= sizeof codec_names / sizeof codec_names[0] || written->state_count > STATES_MAX)
            return weir_error_set(error, WEIR_FOREIGN, WEIR_REMEDY_STOP,
                                  "operator '%s': state '%s' is of a kind that this program does not know: use the newer one",
                                  written->name, from->name);
        in->states[in->state_count++] = (struct weir_inspect_state){
            .operator_name = written->name, .name = from->name, .kind = (enum weir_state_kind)from->kind,
            .codec = (enum weir_codec)from->codec, .object = from->object,
            .value_size_bytes = from->value_size_bytes, .version = from->version, .born_epoch = from->born_epoch,
            .expires_since_ms = from->expires_since_ms };
    }
    if (written->state_count > 0)
        qsort(&in->states[op->state_first], written->state_count, sizeof *in->states, by_state_name);
    if (written->parallelism == 0 || written->parallelism > in->manifest.max_parallelism)
        return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                              "damaged checkpoint: operator '%s' had %u subtasks, with %u key groups", written->name,
                              written->parallelism, in->manifest.max_parallelism);
    return WEIR_OK;
}

static enum weir_code list_operators(weir_inspector *in, struct weir_error *error)
{
    const struct manifest *manifest = &in->manifest;
    size_t states = 0;
    for (size_t i = 0; i < manifest->operator_count; i++) states += manifest->operators[i].state_count;
    in->operators = arena_alloc(&in->arena, (manifest->operator_count + 1) * sizeof *in->operators);
    in->states = arena_alloc(&in->arena, (states + 1) * sizeof *in->states);
    if (in->operators == NULL || in->states == NULL) return no_memory(error);
    for (size_t i = 0; i < manifest->operator_count; i++)
        in->operators[in->operator_count++] = (struct inspector_operator){ .written = &manifest->operators[i] };
    qsort(in->operators, in->operator_count, sizeof *in->operators, by_operator_name);
    for (size_t i = 0; i < in->operator_count; i++) {
        const enum weir_code code = list_states(in, &in->operators[i], error);
        if (code != WEIR_OK) return code;
    }
    return WEIR_OK;
}

static enum weir_code base_bytes_of(struct store *store, const struct manifest_operator *op, uint64_t *sum,
                                    struct weir_error *error)
{
    enum weir_code code = WEIR_OK;
    for (size_t i = 0; code == WEIR_OK && i < op->base_count; i++) {
        uint64_t bytes;
        code = store_verify_base(store, &op->bases[i], false, &bytes, error);
        *sum += bytes;
    }
    return code;
}

/* The size of every operator's bases, and of what all deltas together hold: no operator has more. */
static enum weir_code measure(weir_inspector *in, struct weir_error *error)
{
    const uint64_t redo_epoch = manifest_redo_epoch(&in->manifest);
    enum weir_code code = store_chain(in->store, chosen_name(in), redo_epoch + 1, &in->chain, error);
    uint64_t log_bytes = 0;
    for (size_t i = 0; i < in->chain.frames.count; i++) log_bytes += in->chain.frames.items[i].length;
    for (size_t i = 0; code == WEIR_OK && i < in->operator_count; i++) {
        in->operators[i].bytes = log_bytes;
        code = base_bytes_of(in->store, in->operators[i].written, &in->operators[i].bytes, error);
    }
    return code;
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

static enum weir_code open_store(const struct weir_inspect_options *options, struct store **store,
                                 struct weir_error *error)
{
    return store_open(&(struct store_options){ .directory = options->path }, store, error);
}

static bool is_same(const struct weir_frame_name *a, const struct weir_frame_name *b)
{
    return a->incarnation == b->incarnation && a->epoch == b->epoch;
}

static struct weir_inspect_store describe_store(const struct store *store, bool is_decided)
{
    return (struct weir_inspect_store){ .path = store_path(store), .id = store_id(store), .job = store_job(store),
                                        .slot = store_slot(store), .is_decided = is_decided };
}

static enum weir_code look(struct store *store, const struct weir_inspect_options *options, bool is_deep,
                           struct survey *survey, struct weir_error *error)
{
    struct weir_frame_name newest = { .epoch = 0 };
    if (options->newest == NULL) return survey_take(store, NULL, is_deep, survey, error);
    const struct weir_inspect_store described = describe_store(store, true);
    const enum weir_code code = options->newest(options->newest_user, &described, &newest, error);
    if (code == WEIR_OK) return survey_take(store, &newest, is_deep, survey, error);
    *survey = (struct survey){ .store = store };
    return code;
}

/* Takes the survey until it has no problem, or the same newest checkpoint has one twice: then nobody is at work. */
static enum weir_code take_survey(struct store *store, const struct weir_inspect_options *options, bool is_deep,
                                  struct survey *survey, struct weir_error *error)
{
    struct weir_frame_name last = { .epoch = 0 };
    for (int i = 0;; i++) {
        const enum weir_code code = look(store, options, is_deep, survey, error);
        const bool is_clean = code == WEIR_OK && survey->problems.count == 0;
        const bool is_for_good = code != WEIR_OK && code != WEIR_DAMAGED;
        const bool is_confirmed = i > 0 && is_same(&survey->newest, &last);
        if (is_clean || is_for_good || is_confirmed || i == TRIES_MAX) return code;
        last = survey->newest;
        survey_deinit(survey);
    }
}

/* Something that was there is not any more: because the job goes on, or because it is damaged? */
static enum weir_code doubt(const weir_inspector *in, struct weir_error *error)
{
    struct weir_error unwanted;
    struct survey survey;
    (void)look(in->store, &in->options, false, &survey, &unwanted);
    const bool has_moved = survey.newest.incarnation > 0 && !is_same(&survey.newest, &in->survey.newest);
    survey_deinit(&survey);
    if (!has_moved) return error->code;
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_RETRY,
                          "checkpoint %" PRIu64 " was retired by the running job while it was being read; read it again, "
                          "retain more checkpoints (execution.checkpointing.num-retained), or stop the job",
                          chosen_name(in)->epoch);
}

/* Every problem is of the newest checkpoint, or of one of those that are retained. */
static enum weir_code choose(weir_inspector *in, uint64_t epoch, struct weir_error *error)
{
    const struct survey *survey = &in->survey;
    const size_t index = epoch == 0 ? 0 : survey_find(survey, epoch);
    if (index == SIZE_MAX || (epoch > 0 && index > 0 && !survey->frames.items[index].is_whole))
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                              "checkpoint store %s does not retain checkpoint %" PRIu64, store_path(in->store), epoch);
    if (!survey->frames.items[index].is_whole || (epoch == 0 && survey->problems.count > 0)) {
        *error = survey->problems.items[0];
        return error->code;
    }
    in->chosen = index;
    return WEIR_OK;
}

static enum weir_code read_chosen(weir_inspector *in, struct weir_error *error)
{
    const struct weir_frame_name *name = chosen_name(in);
    enum weir_code code = store_read_manifest(in->store, name, &in->frame, &in->arena, &in->manifest, error);
    if (code == WEIR_OK && in->manifest.max_parallelism == 0)
        code = weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP, "%s: checkpoint %" PRIu64 " has no key groups",
                              name->file, name->epoch);
    if (code == WEIR_OK) code = list_operators(in, error);
    if (code == WEIR_OK) code = measure(in, error);
    return code == WEIR_DAMAGED ? doubt(in, error) : code;
}

/* Those that the caller's header had. */
static struct weir_inspect_options known_options(const struct weir_inspect_options *options)
{
    struct weir_inspect_options known = { .size = sizeof known };
    memcpy(&known, options, options->size < sizeof known ? options->size : sizeof known);
    if (known.memory_bytes == 0) known.memory_bytes = MEMORY_BYTES_DEFAULT;
    return known;
}

enum weir_code weir_inspect_open_(const struct weir_inspect_options *options, weir_inspector **inspector,
                                  struct weir_error *error)
{
    struct weir_error unwanted;
    if (error == NULL) error = &unwanted;
    *inspector = NULL;
    struct weir_inspector *in = calloc(1, sizeof *in);
    if (in == NULL) return no_memory(error);
    in->options = known_options(options);
    buffer_init(&in->frame);
    buffer_init(&in->units);
    arena_init(&in->arena, 16 * 1024);
    enum weir_code code = open_store(options, &in->store, error);
    if (code == WEIR_OK) code = take_survey(in->store, &in->options, false, &in->survey, error);
    if (code == WEIR_OK) code = choose(in, options->epoch, error);
    if (code == WEIR_OK) code = read_chosen(in, error);
    if (code == WEIR_OK) *inspector = in;
    else weir_inspect_close(in);
    return code;
}

void weir_inspect_close(weir_inspector *in)
{
    if (in == NULL) return;
    store_chain_clear(&in->chain);
    survey_deinit(&in->survey);
    store_close(in->store);
    arena_deinit(&in->arena);
    buffer_deinit(&in->units);
    buffer_deinit(&in->frame);
    vec_free(&in->sorted);
    free(in);
}

/* ---- What is there ----------------------------------------------------------------------------------------------- */

void weir_inspect_store(const weir_inspector *in, struct weir_inspect_store *store)
{
    *store = describe_store(in->store, in->survey.is_decided);
}

/* The checkpoint before it: between them lie early parts. */
static struct weir_frame_name parent_of(const struct survey *survey, size_t index)
{
    size_t i = index;
    do i++;
    while (i < survey->frames.count && survey->frames.items[i].is_part);
    return i < survey->frames.count ? survey->frames.items[i].name : survey->frames.items[i - 1].parent;
}

static void describe(const struct survey *survey, size_t index, struct weir_inspect_checkpoint *checkpoint)
{
    const struct survey_frame *frame = &survey->frames.items[index];
    const struct weir_frame_name parent = parent_of(survey, index);
    *checkpoint = (struct weir_inspect_checkpoint){
        .incarnation = frame->name.incarnation, .epoch = frame->name.epoch,
        .parent_incarnation = parent.incarnation, .parent_epoch = parent.epoch,
        .wall_ms = frame->wall_ms, .program = frame->program, .build = frame->build, .plan_hash = frame->plan_hash,
        .max_parallelism = frame->max_parallelism, .exactly_once = frame->exactly_once,
        .is_complete = frame->is_complete, .file = frame->name.file, .offset = frame->name.offset,
        .frame_bytes = frame->name.length, .redo_epoch = frame->redo_epoch,
        .replay_count = frame->replay_count, .replay_bytes = frame->replay_bytes, .base_count = frame->base_count,
        .flight_records = frame->flight_records };
    for (size_t i = 0; i < frame->base_count; i++)
        checkpoint->base_bytes += survey->bases.items[frame->bases[i]].bytes;
}

bool weir_inspect_checkpoint(const weir_inspector *in, size_t index, struct weir_inspect_checkpoint *checkpoint)
{
    for (size_t i = 0; i < in->survey.frames.count; i++) {
        const struct survey_frame *frame = &in->survey.frames.items[i];
        if (frame->is_part || !frame->is_whole || index-- > 0) continue;
        describe(&in->survey, i, checkpoint);
        return true;
    }
    return false;
}

void weir_inspect_chosen(const weir_inspector *in, struct weir_inspect_checkpoint *checkpoint)
{
    describe(&in->survey, in->chosen, checkpoint);
}

bool weir_inspect_position(const weir_inspector *in, size_t index, struct weir_inspect_position *position)
{
    for (size_t i = 0; i < in->manifest.source_count; i++) {
        const struct manifest_source *source = &in->manifest.sources[i];
        if (index < source->splits.count) {
            const struct weir_split *split = &source->splits.items[index];
            *position = (struct weir_inspect_position){ source->name, source->cluster, split->name, split->position };
            return true;
        }
        index -= source->splits.count;
    }
    return false;
}

bool weir_inspect_state(const weir_inspector *in, size_t index, struct weir_inspect_state *state)
{
    if (index >= in->state_count) return false;
    *state = in->states[index];
    return true;
}

/* ---- A slice of key groups --------------------------------------------------------------------------------------- */

struct slice {
    const weir_inspector *in;
    const struct inspector_operator *op;
    struct shard *shard;
};

static bool is_wanted(const weir_inspector *in, const struct weir_inspect_state *state)
{
    return in->filter.state == NULL || strcmp(in->filter.state, state->name) == 0;
}

/* Two states are the same when they have name and birth in common. */
static uint32_t find_state(const struct slice *slice, const struct manifest_state *written)
{
    for (size_t i = 0; i < slice->op->written->state_count; i++) {
        const struct weir_inspect_state *state = &slice->in->states[slice->op->state_first + i];
        if (strcmp(state->name, written->name) == 0 && state->born_epoch == written->born_epoch)
            return is_wanted(slice->in, state) ? (uint32_t)i : UINT32_MAX;
    }
    return UINT32_MAX;
}

static struct state_mapping map_state(const struct slice *slice, const struct manifest_state *written)
{
    const uint32_t state = find_state(slice, written);
    const struct weir_inspect_state *here = &slice->in->states[slice->op->state_first];
    return (struct state_mapping){ .state = state, .version = written->version,
                                   .value_size_bytes = written->value_size_bytes,
                                   .unstamped_ms = state == UINT32_MAX ? 0 : here[state].expires_since_ms };
}

static enum weir_code apply_piece(void *user, const struct replay_piece *piece, struct weir_error *error)
{
    const struct slice *slice = user;
    struct state_mapping mapping[STATES_MAX];
    uint32_t count = 0;
    for (; count < piece->state_count && count < STATES_MAX; count++)
        mapping[count] = map_state(slice, &piece->states[count]);
    const enum weir_code code = shard_apply(slice->shard, piece->units, mapping, count, error);
    return code == WEIR_OK ? code : weir_error_wrap(error, "operator '%s'", slice->op->written->name);
}

static struct shard *create_shard(const weir_inspector *in, const struct inspector_operator *op, uint32_t first,
                                  uint32_t count)
{
    struct state_declaration *declared = calloc(op->written->state_count, sizeof *declared);
    if (declared == NULL) return NULL;
    for (size_t i = 0; i < op->written->state_count; i++) {
        const struct weir_inspect_state *state = &in->states[op->state_first + i];
        /* Nothing expires here: the shard's clock is never set. */
        declared[i] = (struct state_declaration){ .kind = state->kind, .codec = state->codec,
                                                  .value_size_bytes = state->value_size_bytes,
                                                  .version = state->version, .migrates = true,
                                                  .ttl_ms = state->expires_since_ms != 0 ? INT64_MAX : 0,
                                                  .ttl_shows_expired = true };
        (void)snprintf(declared[i].name, sizeof declared[i].name, "%s", state->name);
    }
    struct shard *shard = shard_create(&(struct shard_options){
        .states = declared, .state_count = (uint32_t)op->written->state_count,
        .max_parallelism = in->manifest.max_parallelism, .group_first = first, .group_count = count,
        .epoch = in->manifest.epoch + 1 });
    free(declared);
    return shard;
}

static enum weir_code fill_shard(const weir_inspector *in, struct slice *slice, uint32_t first, uint32_t count,
                                 struct weir_error *error)
{
    const struct replay replay = { .store = in->store, .of = slice->op->written, .chain = &in->chain,
                                   .group_first = first, .group_count = count, .each = apply_piece,
                                   .user = slice };
    const enum weir_code code = replay_run(&replay, error);
    return code == WEIR_OK ? shard_restored(slice->shard, in->manifest.epoch + 1, in->manifest.generation, error) : code;
}

/* Heads say nothing that their elements do not say. */
static bool is_head(const weir_inspector *in, const struct inspector_operator *op, const struct delta_unit *unit)
{
    const enum weir_state_kind kind = in->states[op->state_first + unit->state].kind;
    return (state_kind_is_list(kind) || state_kind_is_map(kind)) && !weir_is_set(unit->key.element);
}

static int compare_bytes(struct weir_bytes a, struct weir_bytes b)
{
    const int rank_a = weir_is_set(a) + (weir_is_set(a) && !weir_is_null(a));
    const int rank_b = weir_is_set(b) + (weir_is_set(b) && !weir_is_null(b));
    if (rank_a != rank_b || rank_a < 2) return rank_a - rank_b;
    const int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_collection(const struct delta_unit *a, const struct delta_unit *b)
{
    if (a->group != b->group) return a->group < b->group ? -1 : 1;
    if (a->state != b->state) return a->state < b->state ? -1 : 1;
    const int order = compare_bytes(a->key.key, b->key.key);
    return order != 0 ? order : compare_bytes(a->key.name_space, b->key.name_space);
}

static int by_entry(const void *a, const void *b)
{
    const struct delta_unit *x = a, *y = b;
    const int order = compare_collection(x, y);
    return order != 0 ? order : compare_bytes(x->key.element, y->key.element);
}

/* State of the operator itself has none, whatever it lies under. */
static bool has_key(const weir_inspector *in, const struct inspector_operator *op, const struct delta_unit *unit)
{
    return weir_bytes_equal(in->filter.key, unit->key.key) &&
           !state_kind_is_own(in->states[op->state_first + unit->state].kind);
}

static enum weir_code sort_units(weir_inspector *in, const struct inspector_operator *op, struct weir_error *error)
{
    struct reader reader;
    reader_init(&reader, in->units.data, in->units.size);
    in->sorted.count = in->sorted_next = 0;
    while (reader_left(&reader) > 0) {
        struct delta_unit unit;
        const char *wrong = delta_read(&reader, &unit);
        CHECK(wrong == NULL);
        if (is_head(in, op, &unit)) continue;
        if (weir_is_set(in->filter.key) && !has_key(in, op, &unit)) continue;
        struct delta_unit *place = vec_push(&in->sorted);
        if (place == NULL) return no_memory(error);
        *place = unit;
    }
    if (in->sorted.count > 0) qsort(in->sorted.items, in->sorted.count, sizeof *in->sorted.items, by_entry);
    return WEIR_OK;
}

static enum weir_code read_slice(weir_inspector *in, const struct inspector_operator *op, uint32_t first,
                                 uint32_t count, struct weir_error *error)
{
    struct slice slice = { in, op, create_shard(in, op, first, count) };
    if (slice.shard == NULL) return no_memory(error);
    enum weir_code code = fill_shard(in, &slice, first, count, error);
    buffer_clear(&in->units);
    if (code == WEIR_OK) {
        (void)shard_dump_begin(slice.shard);
        while (!in->units.failed && !shard_dump_step(slice.shard, SIZE_MAX / 2, &in->units)) continue;
        if (in->units.failed) code = no_memory(error);
    }
    shard_destroy(slice.shard);
    return code == WEIR_OK ? sort_units(in, op, error) : code;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

/* As many key groups as memory should hold at a time. */
static uint32_t slice_groups(const weir_inspector *in, const struct inspector_operator *op)
{
    const uint64_t slices = op->bytes / (in->options.memory_bytes / MEMORY_FACTOR + 1) + 1;
    const uint64_t groups = in->manifest.max_parallelism / slices;
    return groups == 0 ? 1 : (uint32_t)groups;
}

static bool is_operator_wanted(const weir_inspector *in, const struct inspector_operator *op)
{
    bool is_any = false;
    for (size_t i = 0; i < op->written->state_count; i++)
        is_any = is_any || is_wanted(in, &in->states[op->state_first + i]);
    return is_any && (in->filter.operator_name == NULL || strcmp(in->filter.operator_name, op->written->name) == 0);
}

enum weir_code weir_inspect_begin(weir_inspector *in, const struct weir_inspect_filter *filter,
                                  struct weir_error *error)
{
    in->filter = filter == NULL ? (struct weir_inspect_filter){ .state = NULL } : *filter;
    in->operator_next = in->group_next = 0;
    in->sorted.count = in->sorted_next = 0;
    for (size_t i = 0; i < in->operator_count; i++)
        if (is_operator_wanted(in, &in->operators[i])) return WEIR_OK;
    if (filter == NULL || (filter->operator_name == NULL && filter->state == NULL)) return WEIR_OK;
    return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "checkpoint %" PRIu64 " has no state '%s' of operator '%s'",
                          in->manifest.epoch, filter->state == NULL ? "*" : filter->state,
                          filter->operator_name == NULL ? "*" : filter->operator_name);
}

/* Reads the slice that is next; false when there is none. */
static bool advance(weir_inspector *in, enum weir_code *code, struct weir_error *error)
{
    const uint32_t groups_max = in->manifest.max_parallelism;
    for (; in->operator_next < in->operator_count; in->operator_next++, in->group_next = 0) {
        const struct inspector_operator *op = &in->operators[in->operator_next];
        if (!is_operator_wanted(in, op) || in->group_next >= groups_max) continue;
        uint32_t first = in->group_next, count = slice_groups(in, op);
        if (weir_is_set(in->filter.key)) {
            first = key_group_of(hash_key(in->filter.key), groups_max);
            count = 1;
        }
        if (count > groups_max - first) count = groups_max - first;
        in->group_next = weir_is_set(in->filter.key) ? groups_max : first + count;
        *code = read_slice(in, op, first, count, error);
        return *code == WEIR_OK;
    }
    return false;
}

/* Whose range the key group was in when the checkpoint was written. */
static uint32_t subtask_of(const weir_inspector *in, const struct manifest_operator *written, uint32_t group)
{
    uint32_t subtask = 0;
    while (key_group_first(in->manifest.max_parallelism, written->parallelism, subtask + 1) <= group) subtask++;
    return subtask;
}

static void fill_entry(weir_inspector *in, const struct delta_unit *unit, struct weir_inspect_entry *entry)
{
    const struct delta_unit *before = in->sorted_next > 0 ? unit - 1 : NULL;
    const size_t state = in->operators[in->operator_next].state_first + unit->state;
    const bool is_list = state_kind_is_list(in->states[state].kind);
    const bool is_first = before == NULL || compare_collection(before, unit) != 0;
    in->position = is_first ? 0 : in->position + 1;
    *entry = (struct weir_inspect_entry){
        .state = state, .key_group = unit->group, .key = unit->key.key, .name_space = unit->key.name_space,
        .is_first = is_first, .value = unit->value,
        .version = unit->has_version ? unit->version : in->states[state].version,
        .touched_ms = unit->has_stamp ? unit->stamp_ms : WEIR_TIME_UNSET };
    entry->is_own = state_kind_is_own(in->states[state].kind);
    if (entry->is_own) entry->subtask = subtask_of(in, in->operators[in->operator_next].written, unit->group);
    if (is_list) entry->position = in->position;
    else entry->element = unit->key.element;
}

bool weir_inspect_next(weir_inspector *in, struct weir_inspect_entry *entry, struct weir_error *error)
{
    enum weir_code code = WEIR_OK;
    error->code = WEIR_OK;
    while (in->sorted_next == in->sorted.count)
        if (!advance(in, &code, error)) {
            if (code == WEIR_DAMAGED) (void)doubt(in, error);
            return false;
        }
    fill_entry(in, &in->sorted.items[in->sorted_next], entry);
    in->sorted_next++;
    return true;
}

int weir_inspect_order(const weir_inspector *a, const struct weir_inspect_entry *entry_a, const weir_inspector *b,
                       const struct weir_inspect_entry *entry_b)
{
    const struct weir_inspect_state *state_a = &a->states[entry_a->state], *state_b = &b->states[entry_b->state];
    int order = strcmp(state_a->operator_name, state_b->operator_name);
    if (order == 0) order = (entry_a->key_group > entry_b->key_group) - (entry_a->key_group < entry_b->key_group);
    if (order == 0) order = strcmp(state_a->name, state_b->name);
    if (order == 0) order = compare_bytes(entry_a->key, entry_b->key);
    if (order == 0) order = compare_bytes(entry_a->name_space, entry_b->name_space);
    if (order == 0) order = compare_bytes(entry_a->element, entry_b->element);
    return order != 0 ? order : (entry_a->position > entry_b->position) - (entry_a->position < entry_b->position);
}

/* ---- Verifying --------------------------------------------------------------------------------------------------- */

static void count_survey(const struct survey *survey, struct weir_inspect_report *report)
{
    for (size_t i = 0; i < survey->frames.count; i++) {
        report->checkpoints += !survey->frames.items[i].is_part && survey->frames.items[i].is_whole;
        report->frames++;
        report->frame_bytes += survey->frames.items[i].name.length;
    }
    for (size_t i = 0; i < survey->bases.count; i++) {
        if (!survey->bases.items[i].is_there) continue;
        report->bases++;
        report->base_bytes += survey->bases.items[i].bytes;
    }
    report->problems = survey->problems.count;
}

static enum weir_code verify_survey(const struct weir_inspect_options *options,
                                    void (*print)(void *user, const char *line), void *user,
                                    struct weir_inspect_report *report, struct weir_error *error)
{
    struct store *store;
    struct survey survey;
    enum weir_code code = open_store(options, &store, error);
    if (code != WEIR_OK) return code;
    code = take_survey(store, options, true, &survey, error);
    count_survey(&survey, report);
    for (size_t i = 0; print != NULL && i < survey.problems.count; i++) print(user, survey.problems.items[i].text);
    if (code == WEIR_OK && survey.problems.count > 0) {
        *error = survey.problems.items[0];
        code = error->code;
    }
    survey_deinit(&survey);
    store_close(store);
    return code;
}

/* Everything is as it was written; is it also such that a job could use it? */
static enum weir_code verify_state(const struct weir_inspect_options *options, struct weir_inspect_report *report,
                                   struct weir_error *error)
{
    weir_inspector *in;
    struct weir_inspect_entry entry;
    enum weir_code code = weir_inspect_open_(options, &in, error);
    if (code == WEIR_OK) code = weir_inspect_begin(in, NULL, error);
    if (code == WEIR_OK) {
        while (weir_inspect_next(in, &entry, error)) report->entries++;
        code = error->code;
    }
    weir_inspect_close(in);
    return code;
}

enum weir_code weir_inspect_verify(const struct weir_inspect_options *options,
                                   void (*print)(void *user, const char *line), void *user,
                                   struct weir_inspect_report *report, struct weir_error *error)
{
    const struct weir_inspect_options known = known_options(options);
    *report = (struct weir_inspect_report){ 0 };
    enum weir_code code = verify_survey(&known, print, user, report, error);
    if (code != WEIR_OK) return code;
    for (int i = 0; i < TRIES_MAX; i++) {
        report->entries = 0;
        code = verify_state(&known, report, error);
        if (code == WEIR_OK || error->remedy != WEIR_REMEDY_RETRY) break;
    }
    if (code == WEIR_DAMAGED) {
        report->problems++;
        if (print != NULL) print(user, error->text);
    }
    return code;
}

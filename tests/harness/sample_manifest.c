#include "harness/sample_manifest.h"

#include <check.h>

static struct weir_split word_splits[] = {
    { .name = "words/0", .identity = "kZx1", .position = 12345678901, .end = WEIR_POSITION_NONE },
    { .name = "words/1", .identity = "kZx1", .position = 0, .end = WEIR_POSITION_NONE },
};
static struct weir_split rule_splits[] = {
    { .name = "rules/0", .identity = "", .position = -7, .end = WEIR_POSITION_NONE },
};
static struct manifest_source sources[] = {
    { .name = "words", .cluster = "MkU3OEVBNTcwNTJENDM2Qg", .splits = { 2, word_splits } },
    { .name = "rules", .cluster = "", .splits = { 1, rule_splits } },
};
static struct weir_output_total totals[] = {
    { .name = "counts/0", .count = 900, .digest = { 0x0123456789abcdef, 0xfedcba9876543210 } },
    { .name = "counts/1", .count = UINT64_MAX, .digest = { 1, 2 } },
};
static struct manifest_cut cuts[] = { { .source = "words", .split = "words/0", .end = 12345678901 } };
static struct manifest_state count_states[] = {
    { .name = "total", .kind = WEIR_STATE_VALUE, .codec = WEIR_I64, .value_size_bytes = 8, .object = "" },
    { .name = "last", .kind = WEIR_STATE_MAP, .codec = WEIR_OBJECT, .version = 3, .object = "note", .born_epoch = 39,
      .expires_since_ms = 1699999999000, .gone_ms = 1699999996400 },
};
static struct manifest_base count_bases[] = {
    { .store = "file", .name = "base-6-3", .length = 65536, .hash = 0xabcdef, .incarnation = 6, .group_first = 0,
      .group_count = 64, .redo_epoch = 38 },
    { .store = "file", .name = "base-7-1", .length = 48, .hash = 0x123456, .incarnation = 7, .group_first = 64,
      .group_count = 64, .redo_epoch = 37 },
};
static struct weir_bytes count_deltas[] = { { "one", 3 }, { "zweite", 6 } };
static struct manifest_state join_states[] = {
    { .name = "left", .kind = WEIR_STATE_VALUE, .codec = WEIR_STRUCT, .value_size_bytes = 24, .object = "" },
};
static struct manifest_operator operators[] = {
    { .name = "count", .parallelism = 2, .state_count = 2, .states = count_states, .base_count = 2, .bases = count_bases,
      .redo_epoch = 37,
      .delta_count = 2, .deltas = count_deltas },
    { .name = "join", .parallelism = 1, .state_count = 1, .states = join_states, .redo_epoch = 40 },
};

const struct manifest *sample_manifest(void)
{
    static const struct manifest manifest = {
        .store = "00112233445566778899aabbccddeeff",
        .job = "word-count",
        .slot = "0",
        .incarnation = 7,
        .epoch = 42,
        .parent = { .incarnation = 6, .epoch = 40, .file = "log-6-2", .offset = 8192, .length = 4096, .hash = 0x5eed },
        .wall_ms = 1700000000000,
        .build = "0.1.0",
        .program = "word-count",
        .plan_hash = 0xdeadbeefcafef00d,
        .exactly_once = true,
        .max_parallelism = 128,
        .generation = 99,
        .clock_ms = 1699999999999,
        .decider = "kafka",
        .cluster = "MkU3OEVBNTcwNTJENDM2Qg",
        .source_count = 2,
        .sources = sources,
        .totals = { 2, totals },
        .cut_count = 1,
        .cuts = cuts,
        .operator_count = 2,
        .operators = operators,
    };
    return &manifest;
}

static void assert_frames_equal(const struct weir_frame_name *a, const struct weir_frame_name *b)
{
    ck_assert_uint_eq(a->incarnation, b->incarnation);
    ck_assert_uint_eq(a->epoch, b->epoch);
    ck_assert_str_eq(a->file, b->file);
    ck_assert_uint_eq(a->offset, b->offset);
    ck_assert_uint_eq(a->length, b->length);
    ck_assert_uint_eq(a->hash, b->hash);
}

static void assert_sources_equal(const struct manifest_source *a, const struct manifest_source *b)
{
    ck_assert_str_eq(a->name, b->name);
    ck_assert_str_eq(a->cluster, b->cluster);
    ck_assert_uint_eq(a->splits.count, b->splits.count);
    for (size_t i = 0; i < a->splits.count; i++) {
        ck_assert_str_eq(a->splits.items[i].name, b->splits.items[i].name);
        ck_assert_str_eq(a->splits.items[i].identity, b->splits.items[i].identity);
        ck_assert_int_eq(a->splits.items[i].position, b->splits.items[i].position);
        ck_assert_int_eq(a->splits.items[i].end, b->splits.items[i].end);
    }
}

void sample_assert_operators_equal(const struct manifest_operator *a, const struct manifest_operator *b)
{
    ck_assert_str_eq(a->name, b->name);
    ck_assert_uint_eq(a->parallelism, b->parallelism);
    ck_assert_uint_eq(a->redo_epoch, b->redo_epoch);
    ck_assert_uint_eq(a->state_count, b->state_count);
    for (size_t i = 0; i < a->state_count; i++) {
        ck_assert_str_eq(a->states[i].name, b->states[i].name);
        ck_assert_uint_eq(a->states[i].kind, b->states[i].kind);
        ck_assert_uint_eq(a->states[i].codec, b->states[i].codec);
        ck_assert_uint_eq(a->states[i].value_size_bytes, b->states[i].value_size_bytes);
        ck_assert_uint_eq(a->states[i].version, b->states[i].version);
        ck_assert_str_eq(a->states[i].object, b->states[i].object);
        ck_assert_uint_eq(a->states[i].born_epoch, b->states[i].born_epoch);
        ck_assert_int_eq(a->states[i].expires_since_ms, b->states[i].expires_since_ms);
        ck_assert_int_eq(a->states[i].gone_ms, b->states[i].gone_ms);
    }
    ck_assert_uint_eq(a->base_count, b->base_count);
    for (size_t i = 0; i < a->base_count; i++) {
        ck_assert_str_eq(a->bases[i].store, b->bases[i].store);
        ck_assert_str_eq(a->bases[i].name, b->bases[i].name);
        ck_assert_uint_eq(a->bases[i].length, b->bases[i].length);
        ck_assert_uint_eq(a->bases[i].hash, b->bases[i].hash);
        ck_assert_uint_eq(a->bases[i].incarnation, b->bases[i].incarnation);
        ck_assert_uint_eq(a->bases[i].group_first, b->bases[i].group_first);
        ck_assert_uint_eq(a->bases[i].group_count, b->bases[i].group_count);
        ck_assert_uint_eq(a->bases[i].redo_epoch, b->bases[i].redo_epoch);
    }
    ck_assert_uint_eq(a->delta_count, b->delta_count);
    for (size_t i = 0; i < a->delta_count; i++) ck_assert(weir_bytes_equal(a->deltas[i], b->deltas[i]));
}

void sample_assert_equal(const struct manifest *a, const struct manifest *b)
{
    ck_assert_str_eq(a->store, b->store);
    ck_assert_str_eq(a->job, b->job);
    ck_assert_str_eq(a->slot, b->slot);
    ck_assert_str_eq(a->build, b->build);
    ck_assert_str_eq(a->program, b->program);
    ck_assert_str_eq(a->decider, b->decider);
    ck_assert_str_eq(a->cluster, b->cluster);
    ck_assert_uint_eq(a->incarnation, b->incarnation);
    ck_assert_uint_eq(a->epoch, b->epoch);
    ck_assert(a->is_part == b->is_part && a->exactly_once == b->exactly_once);
    ck_assert_uint_eq(a->plan_hash, b->plan_hash);
    ck_assert_int_eq(a->wall_ms, b->wall_ms);
    ck_assert_uint_eq(a->max_parallelism, b->max_parallelism);
    ck_assert_uint_eq(a->generation, b->generation);
    ck_assert_int_eq(a->clock_ms, b->clock_ms);
    assert_frames_equal(&a->parent, &b->parent);
    ck_assert_uint_eq(a->source_count, b->source_count);
    for (size_t i = 0; i < a->source_count; i++) assert_sources_equal(&a->sources[i], &b->sources[i]);
    ck_assert_uint_eq(a->totals.count, b->totals.count);
    for (size_t i = 0; i < a->totals.count; i++) {
        ck_assert_str_eq(a->totals.items[i].name, b->totals.items[i].name);
        ck_assert_uint_eq(a->totals.items[i].count, b->totals.items[i].count);
        ck_assert_uint_eq(a->totals.items[i].digest.low, b->totals.items[i].digest.low);
        ck_assert_uint_eq(a->totals.items[i].digest.high, b->totals.items[i].digest.high);
    }
    ck_assert_uint_eq(a->cut_count, b->cut_count);
    for (size_t i = 0; i < a->cut_count; i++) {
        ck_assert_str_eq(a->cuts[i].source, b->cuts[i].source);
        ck_assert_str_eq(a->cuts[i].split, b->cuts[i].split);
        ck_assert_int_eq(a->cuts[i].end, b->cuts[i].end);
    }
    ck_assert_uint_eq(a->operator_count, b->operator_count);
    for (size_t i = 0; i < a->operator_count; i++)
        sample_assert_operators_equal(&a->operators[i], &b->operators[i]);
}

struct weir_frame_name sample_frame(struct buffer *frame, uint64_t incarnation, uint64_t epoch,
                                    const struct weir_frame_name *parent, bool is_part, struct weir_bytes delta)
{
    struct manifest_operator count = { .name = "count", .delta_count = 1, .deltas = &delta };
    struct manifest manifest = {
        .job = "sample", .slot = "0", .incarnation = incarnation, .epoch = epoch, .is_part = is_part,
        .max_parallelism = 128, .operator_count = 1, .operators = &count,
    };
    if (parent != NULL) manifest.parent = *parent;
    struct weir_frame_name name = { 0 };
    ck_assert(manifest_encode(&manifest, frame, &name));
    return name;
}

/* What an operation on keyed state costs on each backend, as an operator calls it, without a broker.
 *
 *     backend_bench BACKEND OPERATION DRAW KEYS MILLION-OPERATIONS BUDGET-MIB DIRECTORY
 *
 *   BACKEND    hashmap, rocksdb, or plain: a get and a put on RocksDB for each record, as by hand; `value` only
 *   OPERATION  value (add one in place), list-add, list-get, map-put, map-get, reducing-add, reducing-get,
 *              aggregating-add, aggregating-get
 *   DRAW       uniform, or zipf (exponent 1)
 *
 * Every key is written once before the clock runs. Keys have 16 bytes, values 8; a list that is read has one element,
 * a map is asked for one of 8. A checkpoint is encoded every 200,000 records and not written anywhere. BUDGET is for
 * tables and blocks together, as state.backend.memory. Prints: operations=N rate=N/S ns=NS reads=STORE-READS */
#include <inttypes.h>
#include <math.h>
#include <rocksdb/c.h>

#include "bench.h"
#include "chain_ends.h"
#include "graph/plan.h"
#include "state/store_rocksdb.h"

enum { KEY_BYTES = 16, BATCHES = 32, CHECKPOINT_RECORDS = 200000, ELEMENTS = 8, OPEN_FILES = 512 };

static struct {
    const char *directory;
    uint64_t keys, seed, budget_bytes;
    bool is_zipf;
    double seconds;
} bench = { .seed = BENCH_SEED };

/* ---- Operations -------------------------------------------------------------------------------------------------- */

static enum weir_code add_up(weir_keyed_task *task, void *so_far, const void *value)
{
    (void)task;
    *(int64_t *)so_far += *(const int64_t *)value;
    return WEIR_OK;
}
static enum weir_code result(weir_keyed_task *task, const void *accumulator, void *output)
{
    (void)task;
    *(int64_t *)output = *(const int64_t *)accumulator;
    return WEIR_OK;
}

static const struct weir_aggregator sum = { .add = add_up, .result = result };
static const struct weir_state value_state = { .name = "value", .kind = WEIR_STATE_VALUE, .codec = WEIR_I64 };
static const struct weir_state list_state = { .name = "list", .kind = WEIR_STATE_LIST, .codec = WEIR_I64 };
static const struct weir_state map_state = { .name = "map", .kind = WEIR_STATE_MAP, .codec = WEIR_I64 };
static const struct weir_state reducing_state = { .name = "reducing", .kind = WEIR_STATE_REDUCING, .codec = WEIR_I64,
                                                  .reduce = add_up };
static const struct weir_state aggregating_state = { .name = "aggregating", .kind = WEIR_STATE_AGGREGATING,
                                                     .codec = WEIR_I64, .aggregator = &sum };

static struct weir_bytes element_of(const struct weir_record *record)
{
    return (struct weir_bytes){ record->key.data + (unsigned char)record->key.data[0] % ELEMENTS, 1 };
}

static enum weir_code value_add(weir_keyed_task *task, const struct weir_record *record)
{
    (void)record;
    int64_t *value = weir_value_i64(task, &value_state);
    if (value != NULL) ++*value;
    return WEIR_OK;
}
static enum weir_code list_add(weir_keyed_task *task, const struct weir_record *record)
{
    (void)record;
    return weir_list_add_i64(task, &list_state, 1);
}
static enum weir_code list_get(weir_keyed_task *task, const struct weir_record *record)
{
    (void)record;
    struct weir_iterator at = { 0 };
    struct weir_bytes element;
    while (weir_list_next(task, &list_state, &at, &element)) continue;
    return WEIR_OK;
}
static enum weir_code map_put(weir_keyed_task *task, const struct weir_record *record)
{
    int64_t *value = weir_map_i64(task, &map_state, element_of(record));
    if (value != NULL) ++*value;
    return WEIR_OK;
}
static enum weir_code map_get(weir_keyed_task *task, const struct weir_record *record)
{
    (void)weir_map_get(task, &map_state, element_of(record));
    return WEIR_OK;
}
static enum weir_code reducing_add(weir_keyed_task *task, const struct weir_record *record)
{
    (void)record;
    return weir_reducing_add_i64(task, &reducing_state, 1);
}
static enum weir_code reducing_get(weir_keyed_task *task, const struct weir_record *record)
{
    (void)record;
    int64_t value;
    (void)weir_reducing_get(task, &reducing_state, &value);
    return WEIR_OK;
}
static enum weir_code aggregating_add(weir_keyed_task *task, const struct weir_record *record)
{
    (void)record;
    const int64_t one = 1;
    return weir_aggregating_add(task, &aggregating_state, &one);
}
static enum weir_code aggregating_get(weir_keyed_task *task, const struct weir_record *record)
{
    (void)record;
    int64_t value;
    (void)weir_aggregating_get(task, &aggregating_state, &value);
    return WEIR_OK;
}

struct operation {
    const char *name;
    const struct weir_state *state;
    weir_keyed_process_fn *write, *run; /* what every key is written with before, and what the clock sees */
};

static const struct operation operations[] = {
    { "value", &value_state, value_add, value_add },
    { "list-add", &list_state, list_add, list_add },
    { "list-get", &list_state, list_add, list_get },
    { "map-put", &map_state, map_put, map_put },
    { "map-get", &map_state, map_put, map_get },
    { "reducing-add", &reducing_state, reducing_add, reducing_add },
    { "reducing-get", &reducing_state, reducing_add, reducing_get },
    { "aggregating-add", &aggregating_state, aggregating_add, aggregating_add },
    { "aggregating-get", &aggregating_state, aggregating_add, aggregating_get },
};

static const struct operation *operation;
static weir_keyed_process_fn *running;
static enum weir_code run(weir_keyed_task *task, const struct weir_record *record) { return running(task, record); }

/* ---- Keys -------------------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static void key_of(uint64_t number, char key[KEY_BYTES])
{
    const uint64_t words[2] = { mix(number + 1), number };
    memcpy(key, words, KEY_BYTES);
}

static uint64_t draw(void)
{
    const uint64_t random = bench_draw(&bench.seed);
    if (!bench.is_zipf) return random % bench.keys;
    const double share = (double)(random >> 11) / 9007199254740992.0;
    return (uint64_t)exp(share * log((double)bench.keys)) - 1; /* the continuous Zipf distribution */
}

/* ---- The engine -------------------------------------------------------------------------------------------------- */

struct engine {
    weir_graph *graph;
    struct plan *plan;
    struct chain *chain;
    struct shard *shard;
    struct store_memory *memory;
    uint64_t epoch, records; /* since the last checkpoint */
};

static struct shard *shard_of(struct chain *chain, uint32_t stage_count)
{
    for (uint32_t i = 0; i < stage_count; i++)
        if (chain_shard(chain, i) != NULL) return chain_shard(chain, i);
    bench_die("plan", "no stage has state");
}

/* The shares are those of a job (runtime/job_stores.c). */
static void use_rocksdb(struct engine *engine)
{
    struct weir_error error;
    struct state_store *store;
    const struct operator_spec *spec = NULL;
    const struct chain_plan *plan = &engine->plan->vertices[0].chain;
    for (uint32_t i = 0; i < plan->stage_count; i++)
        if (plan->stages[i].spec->state_count > 0) spec = plan->stages[i].spec;
    engine->memory = store_memory_create(bench.budget_bytes / 4);
    if (engine->memory == NULL || spec == NULL) bench_die("store", "no memory");
    const struct store_rocksdb_options options = { .directory = bench.directory, .states = spec->states,
                                                   .state_count = spec->state_count,
                                                   .max_parallelism = engine->plan->max_parallelism,
                                                   .group_count = engine->plan->max_parallelism,
                                                   .memory = engine->memory, .open_files_max = OPEN_FILES };
    if (store_rocksdb_open(&options, &store, &error) != WEIR_OK) bench_die("store", error.text);
    shard_use(engine->shard, store, bench.budget_bytes / 2);
}

static void engine_begin(struct engine *engine, bool is_rocksdb)
{
    static struct weir_environment environment;
    static void *sinks[CHAIN_STAGES_MAX];
    struct weir_error error;
    engine->graph = weir_graph_create();
    struct weir_stream records = weir_source(engine->graph, .name = "records", .type = &chain_ends_source);
    struct weir_stream done = weir_keyed_process(weir_key_by(records, .key = NULL), .name = "state", .process = run,
                                                 .states = { operation->state });
    weir_sink(done, .name = "out", .type = &chain_ends_sink);
    const struct plan_options plan_options = { .parallelism = 1, .chaining = true };
    if (plan_create(engine->graph, &plan_options, &engine->plan, &error) != WEIR_OK) bench_die("plan", error.text);
    const struct plan_vertex *vertex = &engine->plan->vertices[0];
    const struct chain_options options = { .plan = &vertex->chain, .environment = &environment,
                                           .vertex_name = vertex->name, .parallelism = 1,
                                           .max_parallelism = engine->plan->max_parallelism, .epoch = 1,
                                           .sinks = sinks };
    if (chain_create(&options, &engine->chain, &error) != WEIR_OK) bench_die("chain", error.text);
    engine->shard = shard_of(engine->chain, vertex->chain.stage_count);
    engine->epoch = 1;
    if (is_rocksdb) use_rocksdb(engine);
    if (chain_open(engine->chain, &error) != WEIR_OK) bench_die("chain", error.text);
}

static void engine_end(struct engine *engine)
{
    chain_destroy(engine->chain);
    store_memory_destroy(engine->memory);
    plan_destroy(engine->plan);
    weir_graph_destroy(engine->graph);
}

static void checkpoint(struct engine *engine)
{
    struct chain_snapshot snapshot;
    if (chain_emit_on_commit(engine->chain, engine->epoch) != CHAIN_DONE ||
        chain_snapshot(engine->chain, engine->epoch, &snapshot) != CHAIN_DONE)
        bench_die("checkpoint", chain_error(engine->chain)->text);
    (void)chain_snapshot_step(engine->chain, SIZE_MAX);
    chain_snapshot_clear(&snapshot);
    engine->epoch++;
    engine->records = 0;
}

static void process(struct engine *engine, const struct weir_batch *batch)
{
    uint32_t cursor = 0;
    if (chain_process(engine->chain, 0, batch, &cursor) != CHAIN_DONE)
        bench_die("chain", chain_error(engine->chain)->text);
    engine->records += batch->count;
    if (engine->records >= CHECKPOINT_RECORDS) checkpoint(engine);
}

/* ---- By hand ----------------------------------------------------------------------------------------------------- */

struct plain {
    rocksdb_t *database;
    rocksdb_options_t *options;
    rocksdb_readoptions_t *read;
    rocksdb_writeoptions_t *write;
};

static void plain_begin(struct plain *plain)
{
    char *text = NULL;
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_cache_t *cache = rocksdb_cache_create_lru(bench.budget_bytes);
    plain->options = rocksdb_options_create();
    plain->read = rocksdb_readoptions_create();
    plain->write = rocksdb_writeoptions_create();
    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom(10));
    rocksdb_options_set_block_based_table_factory(plain->options, table);
    rocksdb_options_set_create_if_missing(plain->options, 1);
    rocksdb_options_set_max_open_files(plain->options, OPEN_FILES);
    rocksdb_writeoptions_disable_WAL(plain->write, 1);
    plain->database = rocksdb_open(plain->options, bench.directory, &text);
    if (text != NULL) bench_die(bench.directory, text);
    rocksdb_cache_destroy(cache);
    rocksdb_block_based_options_destroy(table);
}

static void plain_end(struct plain *plain)
{
    char *text = NULL;
    rocksdb_close(plain->database);
    rocksdb_destroy_db(plain->options, bench.directory, &text);
    rocksdb_options_destroy(plain->options);
    rocksdb_readoptions_destroy(plain->read);
    rocksdb_writeoptions_destroy(plain->write);
    free(text);
}

static void plain_process(const struct plain *plain, const struct weir_batch *batch, bool is_new)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        char *text = NULL;
        size_t size;
        int64_t number = 0;
        const struct weir_bytes key = batch->records[i].key;
        char *value = is_new ? NULL : rocksdb_get(plain->database, plain->read, key.data, key.size, &size, &text);
        if (value != NULL) memcpy(&number, value, sizeof number);
        if (value != NULL) rocksdb_free(value);
        number++;
        if (text == NULL)
            rocksdb_put(plain->database, plain->write, key.data, key.size, (const char *)&number, sizeof number, &text);
        if (text != NULL) bench_die("RocksDB", text);
    }
}

/* ---- The run ----------------------------------------------------------------------------------------------------- */

static struct weir_batch *make_batch(uint64_t *next)
{
    struct weir_batch *batch = batch_create();
    for (;;) {
        char key[KEY_BYTES];
        key_of(next != NULL ? *next : draw(), key);
        const struct weir_record record = { .key = { key, KEY_BYTES }, .value = WEIR_NULL };
        if (next != NULL && *next == bench.keys) return batch;
        if (!batch_add(batch, &record)) return batch;
        if (next != NULL) ++*next;
    }
}

/* Of every key once when `in_order`. Making the records is not measured. Answers how many there were. */
static uint64_t feed(struct engine *engine, const struct plain *plain, uint64_t records, bool in_order)
{
    uint64_t done = 0, next = 0;
    bench.seconds = 0;
    while (done < records) {
        struct weir_batch *batches[BATCHES];
        int count = 0;
        while (count < BATCHES && done < records) {
            batches[count] = make_batch(in_order ? &next : NULL);
            done += batches[count++]->count;
        }
        const int64_t begin_us = bench_now_us();
        for (int i = 0; i < count; i++) {
            if (plain != NULL) plain_process(plain, batches[i], in_order);
            else process(engine, batches[i]);
        }
        bench.seconds += (double)(bench_now_us() - begin_us) / 1e6;
        for (int i = 0; i < count; i++) batch_release(batches[i]);
    }
    return done;
}

int main(int argc, char **argv)
{
    if (argc != 8) bench_die("usage",
                  "backend_bench BACKEND OPERATION DRAW KEYS MILLION-OPERATIONS BUDGET-MIB DIRECTORY");
    const bool is_plain = strcmp(argv[1], "plain") == 0;
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (strcmp(argv[2], operations[i].name) == 0) operation = &operations[i];
    if (operation == NULL || (is_plain && operation->state != &value_state)) bench_die("OPERATION", argv[2]);
    bench.is_zipf = strcmp(argv[3], "zipf") == 0;
    bench.keys = strtoull(argv[4], NULL, 10);
    bench.budget_bytes = strtoull(argv[6], NULL, 10) << 20;
    bench.directory = argv[7];
    const uint64_t wanted = (uint64_t)(strtod(argv[5], NULL) * 1e6);
    if (bench.keys == 0 || wanted == 0) bench_die("KEYS and MILLION-OPERATIONS", "must be above 0");

    struct engine engine = { 0 };
    struct plain plain;
    uint64_t reads = 0;
    if (is_plain) plain_begin(&plain);
    else engine_begin(&engine, strcmp(argv[1], "rocksdb") == 0);
    running = operation->write;
    (void)feed(&engine, is_plain ? &plain : NULL, bench.keys, true);
    running = operation->run;
    if (!is_plain) reads = shard_store_reads(engine.shard);
    const uint64_t done = feed(&engine, is_plain ? &plain : NULL, wanted, false);
    if (!is_plain) reads = shard_store_reads(engine.shard) - reads;
    (void)printf("operations=%" PRIu64 " rate=%.0f ns=%.1f reads=%" PRIu64 "\n", done, (double)done / bench.seconds,
                 bench.seconds * 1e9 / (double)done, reads);
    if (is_plain) plain_end(&plain);
    else engine_end(&engine);
    return 0;
}

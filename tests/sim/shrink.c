#include "sim/shrink.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sim/child.h"

enum { RUNS_MAX = 500, SYMPTOM_SIZE = 600, PARALLELISM_MAX = 4, PARTITIONS_MAX = WEIR_TEST_PARTITIONS_MAX };

static char symptom[SYMPTOM_SIZE]; /* of the failure that is shrunk */

/* ---- The same failure -------------------------------------------------------------------------------------------- */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* "out has "k3" = "17" instead of "13"": each number and each quoted text becomes one mark. */
static void generalise(const char *sentence, char general[SYMPTOM_SIZE])
{
    size_t size = 0;
    for (const char *at = sentence; *at != '\0' && size + 1 < SYMPTOM_SIZE;) {
        const char *close = *at == '"' || *at == '\'' ? strchr(at + 1, *at) : NULL;
        if (close != NULL) {
            general[size++] = '"';
            at = close + 1;
        } else if (is_digit(*at)) {
            general[size++] = '#';
            while (is_digit(*at)) at++;
        } else {
            general[size++] = *at++;
        }
    }
    general[size] = '\0';
}

/* True when `candidate` fails in the same way: it is what has been found so far, then. */
static bool attempt(struct shrunk *shrunk, const struct world_options *candidate)
{
    struct world_report report;
    char general[SYMPTOM_SIZE];
    if (shrunk->runs == RUNS_MAX) return false;
    shrunk->runs++;
    if (!child_run(candidate, &report)) return false;
    generalise(report.violation, general);
    if (report.has_hung || strcmp(general, symptom) != 0) return false;
    shrunk->options = *candidate;
    shrunk->report = report;
    return true;
}

/* ---- What can be left out ---------------------------------------------------------------------------------------- */

static bool leave_classes_out(struct shrunk *shrunk)
{
    bool any = false;
    for (enum fate_class class = 0; class < FATE_CLASS_COUNT; class++) {
        struct world_options candidate = shrunk->options;
        if (shrunk->report.strokes.struck_of[class] == 0) continue;
        candidate.spared.classes[class] = true;
        any |= attempt(shrunk, &candidate);
    }
    return any;
}

/* Takes half of it away, then ever less. */
static bool lower(struct shrunk *shrunk, enum world_limit limit)
{
    const uint32_t drawn_max[] = { [WORLD_steps] = shrunk->report.steps, [WORLD_parallelism] = PARALLELISM_MAX,
                                   [WORLD_partitions] = PARTITIONS_MAX,
                                   [WORLD_records] = (uint32_t)shrunk->report.records };
    const uint32_t begin = shrunk->options.limits[limit] > 0 ? shrunk->options.limits[limit] : drawn_max[limit];
    uint32_t now = begin;
    for (uint32_t less = now / 2; less > 0; less /= 2) {
        while (now > less) {
            struct world_options candidate = shrunk->options;
            candidate.limits[limit] = now - less;
            if (!attempt(shrunk, &candidate)) break;
            now -= less;
        }
    }
    return now < begin;
}

/* The same from the other end: draws of a step do not depend on those before. */
static bool skip_steps(struct shrunk *shrunk)
{
    const uint32_t begin = shrunk->options.limits[WORLD_skip];
    uint32_t now = begin;
    for (uint32_t more = (shrunk->report.steps - now) / 2; more > 0; more /= 2) {
        while (now + more < shrunk->report.steps) {
            struct world_options candidate = shrunk->options;
            candidate.limits[WORLD_skip] = now + more;
            if (!attempt(shrunk, &candidate)) break;
            now += more;
        }
    }
    return now > begin;
}

static bool lower_limits(struct shrunk *shrunk)
{
    bool any = lower(shrunk, WORLD_steps);
    any |= skip_steps(shrunk);
    for (enum world_limit limit = WORLD_parallelism; limit < WORLD_LIMIT_COUNT; limit++) any |= lower(shrunk, limit);
    return any;
}

/* False when all of them are spared already. */
static bool spare_piece(struct fate_spared *spared, uint32_t begin, uint32_t end)
{
    bool any = false;
    for (uint32_t i = begin; i < end; i++) {
        any |= !spared->numbers[i];
        spared->numbers[i] = true;
    }
    return any;
}

/* From the end on: sparing a stroke changes what comes after it, and nothing before. */
static bool leave_strokes_out(struct shrunk *shrunk)
{
    bool any = false;
    uint32_t count = shrunk->report.strokes.numbers;
    if (count > FATE_MAX) count = FATE_MAX;
    for (uint32_t piece = (count + 1) / 2; piece > 0; piece /= 2) {
        for (uint32_t end = count; end > 0; end -= piece < end ? piece : end) {
            struct world_options candidate = shrunk->options;
            if (spare_piece(&candidate.spared, end > piece ? end - piece : 0, end)) any |= attempt(shrunk, &candidate);
        }
    }
    return any;
}

/* Numbers of what belongs to a class that is left out, or never comes, say nothing. */
static void leave_numbers_out(struct shrunk *shrunk)
{
    struct world_options candidate = shrunk->options;
    memset(candidate.spared.numbers, 0, sizeof candidate.spared.numbers);
    if (attempt(shrunk, &candidate)) return;
    for (uint32_t i = shrunk->report.strokes.numbers; i < FATE_MAX; i++) shrunk->options.spared.numbers[i] = false;
}

bool shrink(const struct world_options *options, const struct world_report *report, struct shrunk *shrunk)
{
    *shrunk = (struct shrunk){ .options = *options, .report = *report };
    shrunk->options.trace = false;
    generalise(report->violation, symptom);
    struct world_options same = shrunk->options;
    if (report->steps > 0) same.limits[WORLD_steps] = report->steps;
    if (report->has_hung || !attempt(shrunk, &same)) return false;
    bool any;
    do {
        any = leave_classes_out(shrunk);
        any |= lower_limits(shrunk);
        any |= leave_strokes_out(shrunk);
    } while (any && shrunk->runs < RUNS_MAX);
    leave_numbers_out(shrunk);
    return true;
}

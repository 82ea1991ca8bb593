#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "remote/json.h"
#include "remote/routes.h"
#include "remote/savepoint_target.h"
#include "weir/json.h"

/* ---- Triggers ------------------------------------------------------------------------------------------------------- */

/* The oldest makes room. Ids cannot be guessed, and are never used twice. */
static struct trigger *add_trigger(struct weir_remote *remote, enum trigger_kind kind)
{
    uint64_t id[2];
    if (getrandom(id, sizeof id, 0) != (ssize_t)sizeof id) return NULL;
    struct trigger *trigger = &remote->triggers[remote->trigger_count++ % REMOTE_TRIGGERS_KEPT];
    *trigger = (struct trigger){ .kind = kind };
    (void)snprintf(trigger->id, sizeof trigger->id, "%016" PRIx64 "%016" PRIx64, id[0], id[1]);
    return trigger;
}

static struct trigger *find_trigger(struct weir_remote *remote, const char *id)
{
    for (size_t i = 0; i < REMOTE_TRIGGERS_KEPT; i++)
        if (remote->triggers[i].id[0] != '\0' && strcmp(remote->triggers[i].id, id) == 0) return &remote->triggers[i];
    return NULL;
}

static void begun(const struct trigger *trigger, struct answer *answer)
{
    struct json json;
    json_begin(&json);
    json_object(&json, NULL);
    json_text(&json, "request-id", trigger->id);
    json_end(&json);
    answer_json(answer, 202, &json);
}

static void failed(struct trigger *trigger, const struct weir_error *error)
{
    trigger->is_done = true;
    trigger->error = *error;
}

static void fail(struct trigger *trigger, const char *why)
{
    struct weir_error error;
    (void)weir_error_set(&error, WEIR_FAILED, WEIR_REMEDY_STOP, "%s", why);
    failed(trigger, &error);
}

static void done(struct trigger *trigger)
{
    trigger->is_done = true;
    trigger->error = (struct weir_error){ .code = WEIR_OK };
}

/* ---- How they go on ------------------------------------------------------------------------------------------------- */

static void look_at_checkpoint(const struct weir_remote *remote, struct trigger *trigger)
{
    struct weir_job_status status = { .size = sizeof status };
    weir_job_status(remote->job, &status);
    if (status.checkpoints_done < trigger->ticket) return;
    trigger->epoch = status.epoch_committed;
    done(trigger);
}

static void look_at_savepoint(const struct weir_remote *remote, struct trigger *trigger)
{
    struct weir_savepoint_status status = { .size = sizeof status };
    weir_job_savepoint_status(remote->job, &status);
    if (status.number != trigger->ticket) {
        fail(trigger, "another savepoint was asked for since, and how this one went is not known any more");
    } else if (status.state == WEIR_SAVEPOINT_FAILED) {
        failed(trigger, &status.error);
    } else if (status.state == WEIR_SAVEPOINT_DONE) {
        (void)snprintf(trigger->location, sizeof trigger->location, "%s", status.path);
        trigger->epoch = status.epoch;
        done(trigger);
    }
}

static void look_at_rescale(const struct weir_remote *remote, struct trigger *trigger)
{
    struct weir_job_status status = { .size = sizeof status };
    weir_job_status(remote->job, &status);
    if (!trigger->restarting || !status.running) return;
    if (status.parallelism == trigger->parallelism) done(trigger);
    else fail(trigger, "the job goes on as it was, because the checkpoint to rescale it by failed: its log says why");
}

static void look(const struct weir_remote *remote, struct trigger *trigger)
{
    if (trigger->id[0] == '\0' || trigger->is_done || remote->job == NULL) return;
    if (trigger->kind == TRIGGER_CHECKPOINT) look_at_checkpoint(remote, trigger);
    else if (trigger->kind == TRIGGER_SAVEPOINT) look_at_savepoint(remote, trigger);
    else if (trigger->kind == TRIGGER_RESCALE) look_at_rescale(remote, trigger);
}

/* What was waited for came with the last commit, or never will. */
void act_settle(struct weir_remote *remote)
{
    for (size_t i = 0; i < REMOTE_TRIGGERS_KEPT; i++) {
        struct trigger *trigger = &remote->triggers[i];
        look(remote, trigger);
        if (trigger->id[0] == '\0' || trigger->is_done) continue;
        if (trigger->kind == TRIGGER_RESCALE) trigger->restarting = true;
        else fail(trigger, "the job ended before this was done");
    }
}

static void put_status(const struct trigger *trigger, struct answer *answer)
{
    struct json json;
    json_begin(&json);
    json_object(&json, NULL);
    json_object(&json, "status");
    json_text(&json, "id", trigger->is_done ? "COMPLETED" : "IN_PROGRESS");
    json_end(&json);
    if (trigger->is_done) {
        json_object(&json, "operation");
        if (trigger->error.code != WEIR_OK) {
            json_object(&json, "failure-cause");
            json_text(&json, "class", weir_code_name(trigger->error.code));
            json_text(&json, "stack-trace", trigger->error.text);
            json_end(&json);
        } else {
            if (trigger->location[0] != '\0') json_text(&json, "location", trigger->location);
            if (trigger->epoch > 0) json_u64(&json, "checkpointId", trigger->epoch);
        }
        json_end(&json);
    }
    json_end(&json);
    answer_json(answer, 200, &json);
}

static void tell_status(struct weir_remote *remote, const struct request *request, bool rescales, struct answer *answer)
{
    struct trigger *trigger = find_trigger(remote, request->item);
    if (trigger == NULL || (trigger->kind == TRIGGER_RESCALE) != rescales) {
        answer_problem(answer, 404, "no request '%s' is known: the last %d of this process are remembered", request->item,
                       (int)REMOTE_TRIGGERS_KEPT);
        return;
    }
    look(remote, trigger);
    put_status(trigger, answer);
}

void act_status(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    tell_status(remote, request, false, answer);
}

void act_rescale_status(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    tell_status(remote, request, true, answer);
}

/* ---- Bodies --------------------------------------------------------------------------------------------------------- */

/* A body is an object of the fields in `known` and of no others, or is not there. */
static bool read_body(const struct request *request, const char *const known[], struct weir_json_line *line,
                      struct answer *answer)
{
    line->count = 0;
    if (request->body.size == 0) return true;
    const char *problem = weir_json_read(line, (char *)(uintptr_t)request->body.data, request->body.size);
    if (problem != NULL) {
        answer_problem(answer, 400, "the body is no JSON object as it should be: %s", problem);
        return false;
    }
    for (size_t i = 0; i < line->count; i++) {
        size_t k = 0;
        while (known[k] != NULL && !weir_bytes_equal(line->fields[i].name, weir_text(known[k]))) k++;
        if (known[k] != NULL) continue;
        answer_problem(answer, 400, "the body has a field that is not known here; '%s' is", known[0]);
        return false;
    }
    return true;
}

/* "" when absent or null. A text with a NUL in it is none. */
static bool text_of(const struct weir_json_line *line, const char *name, char text[REMOTE_PATH_MAX], struct answer *answer)
{
    const struct weir_json_value value = weir_json_find(line, name);
    text[0] = '\0';
    if (value.type == WEIR_JSON_ABSENT || value.type == WEIR_JSON_NULL) return true;
    if (value.type != WEIR_JSON_BYTES || value.bytes.size >= REMOTE_PATH_MAX ||
        (value.bytes.size > 0 && memchr(value.bytes.data, '\0', value.bytes.size) != NULL)) {
        answer_problem(answer, 400, "'%s' must be a text of less than %d bytes", name, (int)REMOTE_PATH_MAX);
        return false;
    }
    if (value.bytes.size > 0) memcpy(text, value.bytes.data, value.bytes.size);
    text[value.bytes.size] = '\0';
    return true;
}

static bool truth_of(const struct weir_json_line *line, const char *name, bool *truth, struct answer *answer)
{
    const struct weir_json_value value = weir_json_find(line, name);
    *truth = value.type == WEIR_JSON_TRUTH && value.bytes.data[0] == 't';
    if (value.type == WEIR_JSON_ABSENT || value.type == WEIR_JSON_NULL || value.type == WEIR_JSON_TRUTH) return true;
    answer_problem(answer, 400, "'%s' must be true or false", name);
    return false;
}

/* ---- What can be begun ---------------------------------------------------------------------------------------------- */

void act_checkpoint(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    static const char *const known[] = { "checkpointType", NULL };
    struct weir_json_line line;
    char type[REMOTE_PATH_MAX];
    if (!read_body(request, known, &line, answer) || !text_of(&line, known[0], type, answer)) return;
    const bool is_given = weir_json_find(&line, known[0]).type == WEIR_JSON_BYTES;
    if (is_given && strcmp(type, "CONFIGURED") != 0 && strcmp(type, "INCREMENTAL") != 0) {
        answer_problem(answer, 400, "'checkpointType' must be CONFIGURED or INCREMENTAL: every checkpoint is incremental, and a "
                                    "savepoint is what holds everything");
        return;
    }
    const uint64_t ticket = weir_job_checkpoint(remote->job);
    struct trigger *trigger = ticket == 0 ? NULL : add_trigger(remote, TRIGGER_CHECKPOINT);
    if (trigger == NULL) {
        answer_problem(answer, 503, "the job has no memory for that");
        return;
    }
    trigger->ticket = ticket;
    begun(trigger, answer);
}

static void begin_savepoint(struct weir_remote *remote, const char *target, bool stops, struct answer *answer)
{
    char path[REMOTE_PATH_MAX];
    struct weir_error error;
    struct weir_savepoint_status status = { .size = sizeof status };
    const char *root = weir_config_text(remote->options.config, "execution.checkpointing.savepoint-dir");
    if (savepoint_target(root, target, path, sizeof path, &error) != WEIR_OK) {
        answer_problem(answer, root == NULL ? 409 : 400, "%s", error.text);
        return;
    }
    if (savepoint_target_make_parents(path, &error) != WEIR_OK ||
        weir_job_savepoint(remote->job, path, stops, &error) != WEIR_OK) {
        answer_problem(answer, 409, "%s", error.text);
        return;
    }
    struct trigger *trigger = add_trigger(remote, TRIGGER_SAVEPOINT);
    if (trigger == NULL) {
        answer_problem(answer, 503, "the savepoint is begun, but the system has no random number to call it by");
        return;
    }
    weir_job_savepoint_status(remote->job, &status);
    trigger->ticket = status.number;
    begun(trigger, answer);
}

void act_savepoint(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    static const char *const known[] = { "target-directory", "cancel-job", NULL };
    struct weir_json_line line;
    char target[REMOTE_PATH_MAX];
    bool stops;
    if (read_body(request, known, &line, answer) && text_of(&line, known[0], target, answer) &&
        truth_of(&line, known[1], &stops, answer))
        begin_savepoint(remote, target, stops, answer);
}

/* Flink's stop takes a savepoint always; here it does when it is told where, or told to. */
void act_stop(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    static const char *const known[] = { "targetDirectory", "savepoint", NULL };
    struct weir_json_line line;
    char target[REMOTE_PATH_MAX];
    bool saves;
    if (!read_body(request, known, &line, answer) || !text_of(&line, known[0], target, answer) ||
        !truth_of(&line, known[1], &saves, answer))
        return;
    if (saves || target[0] != '\0') {
        begin_savepoint(remote, target, true, answer);
        return;
    }
    struct trigger *trigger = add_trigger(remote, TRIGGER_STOP);
    if (trigger == NULL) {
        answer_problem(answer, 503, "the system has no random number");
        return;
    }
    weir_job_stop(remote->job);
    begun(trigger, answer);
}

static bool parallelism_of(const struct weir_json_line *line, uint32_t *parallelism)
{
    const struct weir_json_value value = weir_json_find(line, "parallelism");
    int64_t number;
    if (value.type != WEIR_JSON_NUMBER || !weir_bytes_to_i64(value.bytes, &number) || number < 1 || number > UINT32_MAX)
        return false;
    *parallelism = (uint32_t)number;
    return true;
}

void act_rescale(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    static const char *const known[] = { "parallelism", NULL };
    struct weir_json_line line;
    struct weir_error error;
    struct weir_job_status status = { .size = sizeof status };
    uint32_t parallelism;
    if (!read_body(request, known, &line, answer)) return;
    weir_job_status(remote->job, &status);
    if (!parallelism_of(&line, &parallelism) || parallelism > status.max_parallelism) {
        answer_problem(answer, 400, "'parallelism' must be a number from 1 to %u, the job's max_parallelism",
                       status.max_parallelism);
        return;
    }
    if (remote->options.rescale == NULL) {
        answer_problem(answer, 501, "this program cannot start its job anew: start it with another parallelism");
        return;
    }
    if (!status.running) {
        answer_problem(answer, 409, "the job does not run yet, or not just now: try again when it does");
        return;
    }
    struct trigger *trigger = add_trigger(remote, TRIGGER_RESCALE);
    if (trigger == NULL) {
        answer_problem(answer, 503, "the system has no random number");
        return;
    }
    trigger->parallelism = parallelism;
    if (remote->options.rescale(remote->options.user, parallelism, &error) != WEIR_OK) {
        trigger->id[0] = '\0';
        answer_problem(answer, 409, "%s", error.text);
        return;
    }
    begun(trigger, answer);
}

void act_patch(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    const char *mode = request->query(request->connection, "mode");
    struct json json;
    if (mode != NULL && strcmp(mode, "cancel") != 0) {
        answer_problem(answer, 400, "'mode' must be cancel");
        return;
    }
    weir_job_cancel(remote->job);
    json_begin(&json);
    json_object(&json, NULL);
    json_end(&json);
    answer_json(answer, 202, &json);
}

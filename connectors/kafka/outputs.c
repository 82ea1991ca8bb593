#include "outputs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void outputs_init(struct outputs *outputs)
{
    outputs->first = NULL;
    pthread_mutex_init(&outputs->mutex, NULL);
}

void outputs_deinit(struct outputs *outputs)
{
    for (struct output *output = outputs->first, *next; output != NULL; output = next) {
        next = output->next;
        free(output);
    }
    pthread_mutex_destroy(&outputs->mutex);
}

struct output *outputs_first(struct outputs *outputs)
{
    pthread_mutex_lock(&outputs->mutex);
    struct output *first = outputs->first;
    pthread_mutex_unlock(&outputs->mutex);
    return first;
}

struct output *outputs_find(struct outputs *outputs, const char *name)
{
    for (struct output *output = outputs_first(outputs); output != NULL; output = output->next)
        if (strcmp(output->name, name) == 0) return output;
    return NULL;
}

static struct output *create(const char *name, int32_t partition_count, int64_t record_bytes_max)
{
    struct output *output = calloc(1, sizeof *output + (size_t)partition_count * sizeof output->written[0]);
    if (output == NULL) return NULL;
    (void)snprintf(output->name, sizeof output->name, "%s", name);
    output->partition_count = partition_count;
    output->record_bytes_max = record_bytes_max;
    return output;
}

static struct output *add_locked(struct outputs *outputs, const char *name, int32_t partition_count,
                                 int64_t record_bytes_max)
{
    for (struct output *output = outputs->first; output != NULL; output = output->next)
        if (strcmp(output->name, name) == 0) return output;
    struct output *output = create(name, partition_count, record_bytes_max);
    if (output == NULL) return NULL;
    output->next = outputs->first;
    outputs->first = output;
    return output;
}

struct output *outputs_add(struct outputs *outputs, const char *name, int32_t partition_count,
                           int64_t record_bytes_max)
{
    pthread_mutex_lock(&outputs->mutex);
    struct output *output = add_locked(outputs, name, partition_count, record_bytes_max);
    pthread_mutex_unlock(&outputs->mutex);
    return output;
}

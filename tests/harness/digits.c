#include "harness/digits.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "weir/generator.h"
#include "weir/print.h"

struct digits digits = { .keys = DIGITS };

void digits_begin_with(unsigned keys)
{
    ck_assert_uint_le(keys, DIGITS_KEYS_MAX);
    memset(&digits, 0, sizeof digits);
    digits.keys = keys;
}

void digits_begin(void)
{
    digits_begin_with(DIGITS);
}

static enum weir_code to_key(weir_task *task, const struct weir_record *in)
{
    int64_t number = 0;
    ck_assert(weir_bytes_to_i64(in->value, &number));
    return weir_emit(task, .key = weir_format(task, "%u", (unsigned)(number % digits.keys)), .value = in->value);
}

struct weir_keyed_stream digits_by_key(weir_graph *graph, uint64_t count, uint64_t per_second)
{
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .count = count, .per_second = per_second);
    return weir_key_by(weir_flat_map(numbers, .name = "to-key", .process = to_key), .key = NULL);
}

enum weir_code digits_add_one(weir_keyed_task *task, void *count, const struct weir_record *record)
{
    (void)task, (void)record;
    ++*(int64_t *)count;
    return WEIR_OK;
}

static void take_line(void *user, const char *line, size_t size)
{
    (void)user;
    char text[64];
    long key, count;
    ck_assert_uint_lt(size, sizeof text);
    memcpy(text, line, size);
    text[size] = '\0';
    ck_assert_int_eq(sscanf(text, "%ld\t%ld", &key, &count), 2);
    ck_assert_int_lt(key, digits.keys);
    digits.last[key] = count;
    digits.lines++;
}

void digits_print(struct weir_stream counts, const char *name)
{
    weir_print(counts, .name = name, .line = take_line);
}

void digits_expect(int64_t each)
{
    for (unsigned key = 0; key < digits.keys; key++)
        ck_assert_msg(digits.last[key] == each, "key %u has %lld, not %lld", key, (long long)digits.last[key],
                      (long long)each);
}

/* Bytes of the public header: weir.h says what each call promises. */
#include <limits.h>
#include <string.h>

#include "weir/weir.h"

const char weir_null_data[1] = { 0 };

struct weir_bytes weir_text(const char *text)
{
    return (struct weir_bytes){ text, strlen(text) };
}

bool weir_bytes_equal(struct weir_bytes a, struct weir_bytes b)
{
    if (weir_is_set(a) != weir_is_set(b) || weir_is_null(a) != weir_is_null(b) || a.size != b.size) return false;
    return a.size == 0 || memcmp(a.data, b.data, a.size) == 0;
}

size_t weir_utf8_size(struct weir_bytes bytes)
{
    const unsigned char *at = (const unsigned char *)bytes.data;
    if (bytes.size == 0) return 0;
    if (at[0] < 0x80) return 1;
    const size_t size = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || size > bytes.size) return 0;
    for (size_t i = 1; i < size; i++)
        if ((at[i] & 0xc0) != 0x80) return 0;
    if (at[0] == 0xe0 && at[1] < 0xa0) return 0; /* overlong */
    if (at[0] == 0xed && at[1] > 0x9f) return 0; /* surrogates */
    if (at[0] == 0xf0 && at[1] < 0x90) return 0; /* overlong */
    if (at[0] == 0xf4 && at[1] > 0x8f) return 0; /* above U+10FFFF */
    return size;
}

bool weir_bytes_to_i64(struct weir_bytes bytes, int64_t *number)
{
    const bool negative = bytes.size > 0 && bytes.data[0] == '-';
    const uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    uint64_t sum = 0;
    for (size_t i = negative; i < bytes.size; i++) {
        const unsigned digit = (unsigned)(unsigned char)bytes.data[i] - '0';
        if (digit > 9 || sum > (limit - digit) / 10) return false;
        sum = sum * 10 + digit;
    }
    if (bytes.size == (size_t)negative) return false;
    *number = negative ? (int64_t)(0 - sum) : (int64_t)sum;
    return true;
}

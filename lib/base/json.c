#include "weir/json.h"

#include <string.h>

enum { DEPTH_MAX = 32 };

struct cursor {
    char *at;
    const char *end;
    const char *problem; /* sticky */
};

static void fail(struct cursor *in, const char *problem)
{
    if (in->problem == NULL) in->problem = problem;
    in->at = (char *)(uintptr_t)in->end;
}

static char peek(struct cursor *in)
{
    while (in->at < in->end && strchr(" \t\r\n", *in->at) != NULL) in->at++;
    return in->at < in->end ? *in->at : '\0';
}

static bool take(struct cursor *in, char wanted)
{
    if (peek(in) != wanted || in->at == in->end) return false;
    in->at++;
    return true;
}

static void expect(struct cursor *in, char wanted, const char *problem)
{
    if (!take(in, wanted)) fail(in, problem);
}

/* ---- Texts ------------------------------------------------------------------------------------------------------- */

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Four hexadecimal digits. */
static uint32_t take_unit(struct cursor *in)
{
    uint32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        const int digit = in->at < in->end ? digit_of(*in->at) : -1;
        if (digit < 0) {
            fail(in, "\\u is followed by something else than four hexadecimal digits");
            return 0;
        }
        unit = unit * 16 + (uint32_t)digit;
        in->at++;
    }
    return unit;
}

static char *put_utf8(char *out, uint32_t character)
{
    if (character < 0x80) {
        *out++ = (char)character;
    } else if (character < 0x800) {
        *out++ = (char)(0xc0 | character >> 6);
        *out++ = (char)(0x80 | (character & 0x3f));
    } else if (character < 0x10000) {
        *out++ = (char)(0xe0 | character >> 12);
        *out++ = (char)(0x80 | (character >> 6 & 0x3f));
        *out++ = (char)(0x80 | (character & 0x3f));
    } else {
        *out++ = (char)(0xf0 | character >> 18);
        *out++ = (char)(0x80 | (character >> 12 & 0x3f));
        *out++ = (char)(0x80 | (character >> 6 & 0x3f));
        *out++ = (char)(0x80 | (character & 0x3f));
    }
    return out;
}

static char *take_character(struct cursor *in, char *out)
{
    uint32_t character = take_unit(in);
    if (character >= 0xd800 && character < 0xdc00) {
        if (in->end - in->at < 6 || in->at[0] != '\\' || in->at[1] != 'u') {
            fail(in, "half of a surrogate pair");
            return out;
        }
        in->at += 2;
        const uint32_t low = take_unit(in);
        if (low < 0xdc00 || low > 0xdfff) fail(in, "half of a surrogate pair");
        character = 0x10000 + ((character - 0xd800) << 10) + (low - 0xdc00);
    } else if (character >= 0xdc00 && character < 0xe000) {
        fail(in, "half of a surrogate pair");
    }
    return in->problem == NULL ? put_utf8(out, character) : out;
}

/* Decoding never makes it longer. */
static struct weir_bytes take_text(struct cursor *in)
{
    static const char escaped[] = "\"\\/bfnrt", plain[] = "\"\\/\b\f\n\r\t";
    expect(in, '"', "a text is missing");
    char *const begin = in->at, *out = begin;
    while (in->at < in->end && *in->at != '"') {
        const char c = *in->at++;
        if ((unsigned char)c < 0x20) fail(in, "a control character in a text");
        if (c != '\\') {
            *out++ = c;
            continue;
        }
        const char *known = in->at < in->end ? strchr(escaped, *in->at) : NULL;
        if (known != NULL && *known != '\0') {
            *out++ = plain[known - escaped];
            in->at++;
        } else if (in->at < in->end && *in->at == 'u') {
            in->at++;
            out = take_character(in, out);
        } else {
            fail(in, "an unknown escape in a text");
        }
    }
    expect(in, '"', "a text does not end");
    return (struct weir_bytes){ begin, (size_t)(out - begin) };
}

static struct weir_bytes decode_hexadecimal(struct cursor *in, struct weir_bytes text)
{
    char *out = (char *)(uintptr_t)text.data;
    if (text.size % 2 != 0) fail(in, "an odd number of hexadecimal digits");
    for (size_t i = 0; i + 1 < text.size; i += 2) {
        const int high = digit_of(text.data[i]), low = digit_of(text.data[i + 1]);
        if (high < 0 || low < 0) fail(in, "something else than hexadecimal digits");
        out[i / 2] = (char)(high * 16 + low);
    }
    return (struct weir_bytes){ text.data, text.size / 2 };
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

static struct weir_bytes take_word(struct cursor *in)
{
    const char *const begin = in->at;
    while (in->at < in->end && strchr(" \t\r\n,:{}[]\"", *in->at) == NULL) in->at++;
    return (struct weir_bytes){ begin, (size_t)(in->at - begin) };
}

static bool is_number(struct weir_bytes word)
{
    static const char known[] = "+-.0123456789eE";
    for (size_t i = 0; i < word.size; i++)
        if (memchr(known, word.data[i], sizeof known - 1) == NULL) return false;
    return word.size > 0 && (word.data[0] == '-' || digit_of(word.data[0]) >= 0);
}

static struct weir_json_value take_plain(struct cursor *in)
{
    const struct weir_bytes word = take_word(in);
    if (weir_bytes_equal(word, weir_text("null"))) return (struct weir_json_value){ .type = WEIR_JSON_NULL };
    if (weir_bytes_equal(word, weir_text("true")) || weir_bytes_equal(word, weir_text("false")))
        return (struct weir_json_value){ WEIR_JSON_TRUTH, word };
    if (is_number(word)) return (struct weir_json_value){ WEIR_JSON_NUMBER, word };
    fail(in, "a value is missing");
    return (struct weir_json_value){ .type = WEIR_JSON_ABSENT };
}

/* The rest of an object or an array, whatever is in it, from inside `depth` of them. */
static void skip(struct cursor *in, int depth)
{
    do {
        const char c = peek(in);
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        if (c == '"') (void)take_text(in);
        else if (c != '\0' && strchr("{}[],:", c) != NULL) in->at++;
        else (void)take_plain(in);
        if (depth > DEPTH_MAX) fail(in, "too deep");
    } while (depth > 0 && in->at < in->end);
    if (depth > 0) fail(in, "it does not end");
}

static struct weir_json_value take_value(struct cursor *in)
{
    const char c = peek(in);
    if (c == '"') return (struct weir_json_value){ WEIR_JSON_BYTES, take_text(in) };
    if (c != '{' && c != '[') return take_plain(in);
    in->at++;
    if (c == '{' && peek(in) == '"' && weir_bytes_equal(take_text(in), weir_text("hex")) && take(in, ':') &&
        peek(in) == '"') {
        const struct weir_bytes bytes = decode_hexadecimal(in, take_text(in));
        expect(in, '}', "something follows hexadecimal digits");
        return (struct weir_json_value){ WEIR_JSON_BYTES, bytes };
    }
    skip(in, 1);
    return (struct weir_json_value){ .type = WEIR_JSON_SKIPPED };
}

const char *weir_json_read(struct weir_json_line *json, char *line, size_t size)
{
    struct cursor in = { .at = line, .end = line + size };
    json->count = 0;
    expect(&in, '{', "it is no object");
    while (in.problem == NULL && peek(&in) != '}') {
        if (json->count == WEIR_JSON_FIELDS_MAX) fail(&in, "too many fields");
        else {
            struct weir_json_field *field = &json->fields[json->count++];
            field->name = take_text(&in);
            expect(&in, ':', "a colon is missing");
            field->value = take_value(&in);
        }
        if (!take(&in, ',')) break;
    }
    expect(&in, '}', "it does not end");
    if (in.problem == NULL && peek(&in) != '\0') fail(&in, "something follows the object");
    return in.problem;
}

struct weir_json_value weir_json_find(const struct weir_json_line *json, const char *name)
{
    for (size_t i = 0; i < json->count; i++)
        if (weir_bytes_equal(json->fields[i].name, weir_text(name))) return json->fields[i].value;
    return (struct weir_json_value){ .type = WEIR_JSON_ABSENT };
}

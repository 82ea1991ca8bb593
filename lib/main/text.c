#include "main/text.h"

#include <stdio.h>
#include <string.h>

enum { ESCAPE_MAX = 8 };

/* Those of ASCII, and the other row of them, which terminals obey as well. */
static bool is_control(const unsigned char *at, size_t size)
{
    if (size == 1) return at[0] < 0x20 || at[0] == 0x7f;
    return size == 2 && at[0] == 0xc2 && at[1] < 0xa0;
}

static const char *short_escape(unsigned char byte, enum text_form form)
{
    switch (byte) {
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    case '"': return form == TEXT_PLAIN ? NULL : "\\\"";
    case '\\': return form == TEXT_PLAIN ? NULL : "\\\\";
    default: return NULL;
    }
}

/* The character of `size` bytes (0: a byte that is none) as it may stand; `escape` is where it is put together. */
static struct weir_bytes form_of(const unsigned char *at, size_t size, enum text_form form, char escape[ESCAPE_MAX])
{
    const char *known = size == 1 ? short_escape(at[0], form) : NULL;
    if (known != NULL) return weir_text(known);
    if (size > 0 && !is_control(at, size)) return (struct weir_bytes){ (const char *)at, size };
    const unsigned code = size == 2 ? 0x80u | (at[1] & 0x3fu) : at[0];
    if (form != TEXT_JSON) (void)snprintf(escape, ESCAPE_MAX, "\\x%02x", code);
    else (void)snprintf(escape, ESCAPE_MAX, "\\u%04x", size == 0 ? 0xfffdu : code);
    return weir_text(escape);
}

size_t text_escape(char *out, size_t room, struct weir_bytes text, enum text_form form)
{
    size_t used = 0, taken = 0;
    while (taken < text.size) {
        char escape[ESCAPE_MAX];
        const char *at = text.data + taken;
        const size_t size = weir_utf8_size((struct weir_bytes){ at, text.size - taken });
        const struct weir_bytes piece = form_of((const unsigned char *)at, size, form, escape);
        if (piece.size > room - used) break;
        memcpy(out + used, piece.data, piece.size);
        used += piece.size;
        taken += size == 0 ? 1 : size;
    }
    return used;
}

void text_print_json(FILE *file, const char *text)
{
    (void)fputc('"', file);
    for (size_t left = strlen(text); left > 0;) {
        char escape[ESCAPE_MAX];
        const size_t size = weir_utf8_size((struct weir_bytes){ text, left }), taken = size == 0 ? 1 : size;
        const struct weir_bytes piece = form_of((const unsigned char *)text, size, TEXT_JSON, escape);
        (void)fwrite(piece.data, 1, piece.size, file);
        text += taken;
        left -= taken;
    }
    (void)fputc('"', file);
}

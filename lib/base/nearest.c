#include <stdint.h>
#include <string.h>

#include "weir/weir.h"

enum { LENGTH_MAX = 127 };

/* Levenshtein's, row by row. SIZE_MAX for words that nobody types. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[LENGTH_MAX + 1];
    const size_t m = strlen(a), n = strlen(b);
    if (n > LENGTH_MAX) return SIZE_MAX;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; i <= m; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            const size_t above = row[j];
            const size_t changed = diagonal + (a[i - 1] != b[j - 1]);
            const size_t shorter = (above < row[j - 1] ? above : row[j - 1]) + 1;
            row[j] = changed < shorter ? changed : shorter;
            diagonal = above;
        }
    }
    return row[n];
}

void weir_nearest_consider(struct weir_nearest *nearest, const char *word)
{
    const size_t distance = edit_distance(nearest->wanted, word);
    if (distance > strlen(nearest->wanted) / 2 || (nearest->word != NULL && distance >= nearest->distance)) return;
    nearest->word = word;
    nearest->distance = distance;
}

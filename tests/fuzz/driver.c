/* Drives a fuzz target where there is no libFuzzer: inputs from files, or mutations of the corpus from a seed.
 *
 *   fuzz-config [--seed N] [--rounds N]      the seed is printed, and the round when it fails
 *   fuzz-config FILE...                      each as it is
 *
 * It knows nothing of coverage: it finds what is near, and libFuzzer the rest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "harness/unit.h"

enum { INPUT_MAX = 4096, MUTATIONS_MAX = 8 };

static uint8_t input[INPUT_MAX];
static size_t input_size;

/* What parsers look for. */
static const char *const morsels[] = { ":", ": ", "\n", "\n  ", "- ", "? ", "{", "}", "[", "]", "&a", "*a", "|", ">", "\"", "'",
                                       "#", "%", "!", "~", "---\n", "...\n", "=", "\t", "\r", "\xff", "\xc2\x85",
                                       "\xef\xbb\xbf", "9223372036854775808", "-1", "1e999", ".", "..", "kafka." };

static void insert(size_t at, const void *data, size_t size)
{
    if (input_size + size > INPUT_MAX) return;
    memmove(input + at + size, input + at, input_size - at);
    memcpy(input + at, data, size);
    input_size += size;
}

static void mutate(uint64_t *state)
{
    const size_t at = unit_random_below(state, (uint32_t)input_size + 1), left = input_size - at;
    const char *morsel = morsels[unit_random_below(state, sizeof morsels / sizeof morsels[0])];
    const size_t piece = left == 0 ? 0 : 1 + unit_random_below(state, (uint32_t)(left < 64 ? left : 64));
    uint8_t copy[64];
    switch (unit_random_below(state, 6)) {
    case 0: insert(at, morsel, strlen(morsel)); break;
    case 1: /* cut a piece out */
        memmove(input + at, input + at + piece, left - piece);
        input_size -= piece;
        break;
    case 2: /* say a piece twice */
        memcpy(copy, input + at, piece);
        insert(at, copy, piece);
        break;
    case 3:
        if (left > 0) input[at] = (uint8_t)unit_random(state);
        break;
    case 4:
        if (left > 0) input[at] ^= (uint8_t)(1u << unit_random_below(state, 8));
        break;
    case 5: input_size = at; break;
    }
}

static void begin_with(const char *text)
{
    input_size = strlen(text) < INPUT_MAX ? strlen(text) : INPUT_MAX;
    memcpy(input, text, input_size);
}

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        perror(path);
        return EXIT_FAILURE;
    }
    input_size = fread(input, 1, INPUT_MAX, file);
    (void)fclose(file);
    return LLVMFuzzerTestOneInput(input, input_size);
}

static void run_rounds(uint64_t state, long rounds)
{
    size_t corpus = 0;
    while (fuzz_corpus[corpus] != NULL) begin_with(fuzz_corpus[corpus++]), (void)LLVMFuzzerTestOneInput(input, input_size);
    for (long round = 0; round < rounds; round++) {
        begin_with(fuzz_corpus[unit_random_below(&state, (uint32_t)corpus)]);
        for (uint32_t i = unit_random_below(&state, MUTATIONS_MAX) + 1; i > 0; i--) mutate(&state);
        (void)LLVMFuzzerTestOneInput(input, input_size);
    }
    (void)printf("%ld rounds\n", rounds);
}

int main(int argc, char **argv)
{
    long rounds = 20000;
    int status = EXIT_SUCCESS, files = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) rounds = strtol(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) (void)setenv("WEIR_SEED", argv[++i], 1);
        else files++, status |= run_file(argv[i]);
    }
    if (files == 0) run_rounds(unit_seed(), rounds);
    return status;
}

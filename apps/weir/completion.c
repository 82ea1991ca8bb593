/* weir completion bash|zsh|fish: what a shell needs to complete a command line, out of the table of verbs: their usage and help
 * say which words and options there are. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verbs.h"
#include "weir/main.h"

enum { WORDS_MAX = 96 };

struct words {
    char items[WORDS_MAX][VERB_WORD_MAX];
    size_t count;
};

/* What may follow a verb. */
struct offer {
    struct words commands, options;
    bool takes_job;
};

static void add_word(struct words *words, const char *text, size_t size)
{
    char word[VERB_WORD_MAX];
    (void)snprintf(word, sizeof word, "%.*s", (int)size, text);
    for (size_t i = 0; i < words->count; i++)
        if (strcmp(words->items[i], word) == 0) return;
    if (words->count < WORDS_MAX) memcpy(words->items[words->count++], word, sizeof word);
}

static size_t option_size(const char *at) { return strspn(at, "-abcdefghijklmnopqrstuvwxyzX"); }

/* "bash|zsh|fish" */
static void take_commands(struct offer *offer, const char *at, size_t size)
{
    for (const char *end = at + size; at < end; at++) {
        const size_t one = strcspn(at, "| ]\n");
        add_word(&offer->commands, at, one);
        at += one;
    }
}

static void take_usage_word(struct offer *offer, int number, const char *at, size_t size)
{
    if (at[0] == '-' && size > 1) add_word(&offer->options, at, option_size(at));
    else if (number == 2 && islower((unsigned char)at[0])) take_commands(offer, at, size);
    else if (size == 3 && strncmp(at, "JOB", 3) == 0) offer->takes_job = true;
}

/* "weir VERB WORD [--option VALUE]": WORD is a command when it is written in small letters. */
static void take_usage(struct offer *offer, const char *usage)
{
    static const char around[] = " []";
    int number = 0;
    for (const char *at = usage + strspn(usage, around); *at != '\0'; number++) {
        const size_t size = strcspn(at, " []\n");
        take_usage_word(offer, number, at, size);
        at += size;
        if (at[strspn(at, around)] == '\n') number = -1, at = strchr(at, '\n') + 1;
        at += strspn(at, around);
    }
}

/* Lines that begin with "  -". */
static void take_help(struct offer *offer, const char *help)
{
    for (const char *line = help; *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n')
        if (strncmp(line, "  -", 3) == 0) add_word(&offer->options, line + 2, option_size(line + 2));
}

static struct offer offer_of(const struct verb *verb)
{
    struct offer offer = { .takes_job = false };
    struct weir_main_option option;
    take_usage(&offer, verb->usage);
    take_help(&offer, verb->help);
    for (size_t i = 0; verb->passes_on && weir_main_option_at(i, &option); i++) {
        char name[VERB_WORD_MAX];
        (void)snprintf(name, sizeof name, "--%s", option.name);
        add_word(&offer.options, name, strlen(name));
    }
    add_word(&offer.options, "--help", 6);
    return offer;
}

bool verb_suggests(const struct verb *verb, const char *word, char suggestion[static VERB_WORD_MAX])
{
    const struct offer offer = offer_of(verb);
    const struct words *words = word[0] == '-' ? &offer.options : &offer.commands;
    struct weir_nearest nearest = { .wanted = word };
    for (size_t i = 0; i < words->count; i++) weir_nearest_consider(&nearest, words->items[i]);
    if (nearest.word == NULL) return false;
    (void)snprintf(suggestion, VERB_WORD_MAX, "%s", nearest.word);
    return true;
}

static void print_words(const struct words *words, const char *before, const char *between)
{
    for (size_t i = 0; i < words->count; i++) (void)printf("%s%s", i == 0 ? before : between, words->items[i]);
}

/* For a shell, in single quotes. */
static void print_quoted(const char *text)
{
    (void)putchar('\'');
    for (; *text != '\0'; text++)
        if (*text == '\'') (void)fputs("'\\''", stdout);
        else (void)putchar(*text);
    (void)putchar('\'');
}

/* ---- Shells ------------------------------------------------------------------------------------------------------- */

static void print_bash(void)
{
    (void)puts("# bash completion of weir: source <(weir completion bash)\n"
               "_weir_jobs() { weir list 2>/dev/null | awk 'NR > 1 { print $1 }'; }\n"
               "_weir()\n{\n"
               "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} commands='' options='' jobs=''");
    (void)fputs("    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=($(compgen -W '", stdout);
    for (size_t i = 0; verb_at(i) != NULL; i++) (void)printf("%s ", verb_at(i)->name);
    (void)puts("--help --version' -- \"$word\"))\n        return\n    fi\n"
               "    if [ \"$before\" = -o ]; then\n"
               "        COMPREPLY=($(compgen -W 'table json' -- \"$word\"))\n        return\n    fi\n"
               "    case ${COMP_WORDS[1]} in");
    for (size_t i = 0; verb_at(i) != NULL; i++) {
        const struct offer offer = offer_of(verb_at(i));
        (void)printf("    %s)\n        commands='", verb_at(i)->name);
        print_words(&offer.commands, "", " ");
        (void)fputs("'\n        options='", stdout);
        print_words(&offer.options, "", " ");
        (void)printf("'\n        jobs=%d\n        ;;\n", offer.takes_job);
    }
    (void)puts("    esac\n"
               "    [ \"$COMP_CWORD\" -eq 2 ] || commands=''\n"
               "    [ \"$jobs\" != 1 ] || commands+=\" $(_weir_jobs)\"\n"
               "    case $word in\n"
               "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")) ;;\n"
               "    *) COMPREPLY=($(compgen -W \"$commands\" -- \"$word\")) ;;\n"
               "    esac\n}\n"
               "complete -o default -F _weir weir");
}

static void print_zsh(void)
{
    (void)puts("#compdef weir\n# zsh completion of weir: weir completion zsh > \"${fpath[1]}/_weir\"\n"
               "_weir()\n{\n    local -a verbs");
    (void)puts("    verbs=(");
    for (size_t i = 0; verb_at(i) != NULL; i++) {
        char text[256];
        (void)snprintf(text, sizeof text, "%s:%s", verb_at(i)->name, verb_at(i)->about);
        (void)fputs("        ", stdout);
        print_quoted(text);
        (void)putchar('\n');
    }
    (void)puts("    )\n    if (( CURRENT == 2 )); then\n        _describe verb verbs\n        return\n    fi\n"
               "    if [[ $words[CURRENT-1] == -o ]]; then\n        compadd table json\n        return\n    fi\n"
               "    case $words[2] in");
    for (size_t i = 0; verb_at(i) != NULL; i++) {
        const struct offer offer = offer_of(verb_at(i));
        (void)printf("    %s)\n        if [[ $words[CURRENT] == -* ]]; then compadd --", verb_at(i)->name);
        print_words(&offer.options, " ", " ");
        (void)puts("; return; fi");
        if (offer.commands.count > 0) {
            (void)fputs("        (( CURRENT == 3 )) && compadd --", stdout);
            print_words(&offer.commands, " ", " ");
            (void)putchar('\n');
        }
        if (offer.takes_job) (void)puts("        compadd -- ${(f)\"$(weir list 2>/dev/null | awk 'NR > 1 { print $1 }')\"}");
        (void)puts("        ;;");
    }
    (void)puts("    esac\n    _files\n}\ncompdef _weir weir");
}

static void print_fish(void)
{
    (void)puts("# fish completion of weir: weir completion fish > ~/.config/fish/completions/weir.fish");
    for (size_t i = 0; verb_at(i) != NULL; i++) {
        const char *name = verb_at(i)->name;
        const struct offer offer = offer_of(verb_at(i));
        (void)printf("complete -c weir -n __fish_use_subcommand -f -a %s -d ", name);
        print_quoted(verb_at(i)->about);
        (void)putchar('\n');
        for (size_t k = 0; k < offer.commands.count; k++)
            (void)printf("complete -c weir -n '__fish_seen_subcommand_from %s' -a %s\n", name, offer.commands.items[k]);
        for (size_t k = 0; k < offer.options.count; k++) {
            const char *option = offer.options.items[k];
            const bool is_long = option[1] == '-';
            (void)printf("complete -c weir -n '__fish_seen_subcommand_from %s' -%s %s\n", name, is_long ? "l" : "s",
                         option + (is_long ? 2 : 1));
        }
        if (offer.takes_job)
            (void)printf("complete -c weir -n '__fish_seen_subcommand_from %s' "
                         "-a \"(weir list 2>/dev/null | awk 'NR > 1 { print \\$1 }')\"\n", name);
    }
}

static int run(int argc, char **argv)
{
    static const struct { const char *name; void (*print)(void); } shells[] = {
        { "bash", print_bash }, { "zsh", print_zsh }, { "fish", print_fish },
    };
    for (size_t i = 0; argc == 2 && i < sizeof shells / sizeof shells[0]; i++) {
        if (strcmp(argv[1], shells[i].name) != 0) continue;
        shells[i].print();
        return EXIT_SUCCESS;
    }
    return verb_complain(&verb_completion, "name the shell: bash, zsh or fish", argc > 1 ? argv[1] : "");
}

const struct verb verb_completion = {
    .name = "completion",
    .usage = "weir completion bash|zsh|fish\n",
    .about = "what a shell needs to complete command lines of weir",
    .help = "Prints a script: for bash 'source <(weir completion bash)', for zsh a file _weir in $fpath, for fish a file\n"
            "weir.fish in ~/.config/fish/completions.\n",
    .run = run,
};

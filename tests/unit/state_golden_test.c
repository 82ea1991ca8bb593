/* A checkpoint directory of the first version of all formats, as golden text, and what the weir command says of it.
 *
 * When a format's version is raised on purpose: keep the golden files as they are, as long as the project promises to read
 * that version, and let the test that writes them anew go; add golden files of the new version beside them
 * (WEIR_GOLDEN_WRITE=yes, under a new name), with both tests. When a version is given up, its files' test becomes one that
 * wants the refusal. */
#include <stdio.h>
#include <sys/stat.h>

#include "harness/golden.h"
#include "harness/golden_store.h"
#include "harness/process.h"
#include "harness/unit.h"

#define WEIR WEIR_BINARY_DIR "/apps/weir"

/* Runs the command in this fact's folder. Its output is the text `name` there. */
static void run(const char *name, const char *arguments, int status)
{
    char command[1024];
    (void)snprintf(command, sizeof command, "cd '%s' && " WEIR " %s > %s", process_folder(), arguments, name);
    const int ended = system(command);
    ck_assert_msg(WIFEXITED(ended) && WEXITSTATUS(ended) == status, "weir %s ended with %d", arguments,
                  WEXITSTATUS(ended));
}

static void unpack(const char *folder)
{
    ck_assert_int_eq(mkdir(process_path("%s", folder), 0777), 0);
    golden_unpack("store-1.hex", process_path("%s", folder));
}

START_TEST(today_the_same_bytes_are_written)
{
    golden_store_write(process_folder(), "pointer");
    golden_compare("store-1.hex", process_path("golden"));
}
END_TEST

START_TEST(the_state_is_what_was_written)
{
    unpack("golden");
    run("dump", "state dump golden --json", 0);
    golden_compare_text("store-1-dump.json", process_folder(), "dump");
    run("ls", "state ls golden --json", 0);
    golden_compare_text("store-1-states.json", process_folder(), "ls");
    run("checkpoints", "checkpoint ls golden --json", 0);
    golden_compare_text("store-1-checkpoints.json", process_folder(), "checkpoints");
    run("positions", "checkpoint positions golden", 0);
    golden_compare_text("store-1-positions.txt", process_folder(), "positions");
    run("verify", "checkpoint verify golden --json", 0);
    golden_compare_text("store-1-verify.json", process_folder(), "verify");
}
END_TEST

START_TEST(older_checkpoints_and_differences_are_told)
{
    unpack("golden");
    run("text", "state dump golden notes recent --epoch 4", 0);
    golden_compare_text("store-1-epoch-4.txt", process_folder(), "text");
    unpack("copy");
    run("diff", "state diff golden copy", 0);
    run("get", "state get golden count total cherry", 0);
    run("get", "state get golden count total --hex fffe", 0);
    run("get", "state get golden count total gone", 1);
    run("none", "state ls golden --epoch 3", 7);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, today_the_same_bytes_are_written);
    tcase_add_test(tests, the_state_is_what_was_written);
    tcase_add_test(tests, older_checkpoints_and_differences_are_told);
}

int main(void)
{
    return unit_main("state_golden", add);
}

/* The weir command: jobs from their files, what it offers to shells, and what it says of itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/certificates.h"
#include "harness/process.h"
#include "harness/unit.h"
#include "weir/weir.h"

#define WEIR WEIR_BINARY_DIR "/apps/weir"
#define MODULE WEIR_BINARY_DIR "/apps/sample-module.so"

static char output[200000];

static struct process_output said = { .text = output, .room = sizeof output };

/* Runs a command of the shell; stdout goes to `output`. Answers the exit status. */
#define shell(...) process_shell(&said, __VA_ARGS__)

static void expect(const char *text)
{
    ck_assert_msg(strstr(output, text) != NULL, "'%s' is not in: %s", text, output);
}

/* ---- Jobs from their files ---------------------------------------------------------------------------------------- */

START_TEST(a_module_runs)
{
    ck_assert_int_eq(shell(WEIR " run " MODULE " --checkpoint-dir '%s' --bounded --records 1200 --parallelism 2 --quiet",
                           process_folder()), 0);
    expect("sensor-0\t239400\n"); /* 0 + 3 + ... + 1197 */
    expect("sensor-2\t240200\n");
    expect("sample-module: job 'sample-module' done: 1200 records in");
    ck_assert_int_eq(shell("ls '%s'", process_folder()), 0);
    expect("sample-module\n");
}
END_TEST

START_TEST(a_module_goes_on_where_it_stood)
{
    for (int records = 600; records <= 1200; records += 600)
        ck_assert_int_eq(shell(WEIR " run " MODULE " --checkpoint-dir '%s' --bounded --records %d --quiet", process_folder(),
                               records), 0);
    expect("600 records in");
    expect("sensor-0\t239400\n");
}
END_TEST

START_TEST(a_module_has_options_of_its_own)
{
    ck_assert_int_eq(shell(WEIR " run " MODULE " --help"), 0);
    expect("Sums what each sensor has counted.");
    expect("--records");
    expect("--checkpoint-dir");
    ck_assert_int_eq(shell(WEIR " run " MODULE " --recrods 1 2>&1"), 2);
    expect("'--recrods' is not an option; the nearest is --records");
}
END_TEST

START_TEST(a_program_runs)
{
    ck_assert_int_eq(shell(WEIR " run " WEIR_BINARY_DIR "/apps/sample-aggregating --checkpoint-dir '%s' --bounded --quiet",
                           process_folder()), 0);
    expect("sample-aggregating: job 'sample-aggregating' done: 1000 records in");
}
END_TEST

START_TEST(info_shows_the_plan_and_runs_nothing)
{
    ck_assert_int_eq(shell(WEIR " info " MODULE), 0);
    expect("sum");
    expect("numbers");
    ck_assert_int_eq(shell(WEIR " info " WEIR_BINARY_DIR "/apps/sample-list"), 0);
    expect("numbers");
    ck_assert_int_eq(shell(WEIR " info " MODULE " --parallelism 2 -o json"), 0);
    expect("{\"plan\":{\"jid\":\"sample-module\",\"name\":\"sample-module\",\"type\":\"STREAMING\",\"nodes\":[{\"id\":\"0\","
           "\"parallelism\":2,");
    expect("\"ship_strategy\":\"key_group\"");
    expect("{\"name\":\"sum\",\"kind\":\"aggregate\",");
    ck_assert_int_eq(shell(WEIR_BINARY_DIR "/apps/sample-list --show-config -o json"), 0);
    expect("{\"key\": \"parallelism.default\", \"value\": \"1\", \"origin\": \"default\", \"secret\": false, \"default\": true}");
}
END_TEST

START_TEST(validate_tells_what_is_wrong_and_runs_nothing)
{
    ck_assert_int_eq(shell(WEIR " validate " MODULE " --checkpoint-dir '%s' -o json", process_folder()), 0);
    expect("\"valid\": true");
    ck_assert_int_eq(shell(WEIR " validate " MODULE " --checkpoint-dir /nowhere/at/all"), 7);
    expect("checkpoint-directory-missing");
    expect("would not run: 1 error,");
    ck_assert_int_eq(shell(WEIR " validate " MODULE), 2);
    expect("has no checkpoint directory");
    ck_assert_int_eq(shell("ls -A '%s'", process_folder()), 0);
    ck_assert_ptr_null(strstr(output, "sample-module"));
}
END_TEST

/* A start refuses the first, and warns of the second. */
START_TEST(what_a_remote_interface_lacks_is_told_before_and_at_the_start)
{
    static const char open[] = "-X rest.port=0 -X rest.bind-address=0.0.0.0", token[] = "-X rest.read-token=0123456789abcdef";
    const char *folder = process_folder();
    ck_assert_int_eq(shell(WEIR " validate " MODULE " --checkpoint-dir '%s' %s", folder, open), 2);
    expect("rest-refused");
    expect("would not run: 1 error,");
    ck_assert_int_eq(shell(WEIR " validate " MODULE " --checkpoint-dir '%s' %s %s", folder, open, token), 0);
    expect("rest-unencrypted");
    expect("valid: 0 errors, 1 warning,");
    ck_assert_int_eq(shell(WEIR " run " MODULE " --checkpoint-dir '%s' --bounded --records 3 %s %s 2>&1", folder, open, token),
                     0);
    expect("warning: rest-unencrypted: rest.bind-address is '0.0.0.0' without HTTPS");
    ck_assert_ptr_null(strstr(output, "0123456789abcdef"));
}
END_TEST

START_TEST(what_is_no_job_is_refused)
{
    ck_assert_int_eq(shell(WEIR " run 2>&1"), 2);
    expect("name the job's file");
    ck_assert_int_eq(shell(WEIR " run /nowhere/job.so 2>&1"), 2);
    expect("/nowhere/job.so is not a job");
    ck_assert_int_eq(shell(WEIR " run /nowhere/job 2>&1"), 7);
    expect("cannot run /nowhere/job");
    ck_assert_int_eq(shell("cc -shared -fPIC -x c /dev/null -o '%s/empty.so' && " WEIR " run '%s/empty.so' 2>&1",
                           process_folder(), process_folder()), 2);
    expect("it has no function weir_define");
}
END_TEST

/* ---- The log ------------------------------------------------------------------------------------------------------ */

START_TEST(a_log_for_programs_is_one_object_a_line)
{
    ck_assert_int_eq(shell(WEIR " run " MODULE " --checkpoint-dir '%s' --bounded -X log.format=json 2>&1 >'%s/out'",
                           process_folder(), process_folder()), 0);
    expect("\"job\":\"sample-module\"");
    expect("\"message\":\"job 'sample-module': running, incarnation 1, epoch 1\"");
    for (char *line = strtok(output, "\n"); line != NULL; line = strtok(NULL, "\n"))
        ck_assert_msg(strncmp(line, "{\"time\":\"", 9) == 0 && line[strlen(line) - 1] == '}', "%s", line);
}
END_TEST

START_TEST(the_last_error_is_a_line_of_the_log_too)
{
    ck_assert_int_eq(shell(WEIR " run " MODULE " --checkpoint-dir /proc/nowhere/x -X log.format=logfmt 2>&1"), 7);
    expect(" level=error ");
    expect(" code=ENVIRONMENT ");
    ck_assert_ptr_null(strchr(strchr(output, '\n') + 1, '\n')); /* one line in all */
}
END_TEST

START_TEST(the_level_says_which_lines_are_written)
{
    ck_assert_int_eq(shell(WEIR " run " MODULE " --checkpoint-dir '%s' --bounded --progress 0 -X log.level=error 2>&1 >'%s/out'",
                           process_folder(), process_folder()), 0);
    ck_assert_str_eq(output, "");
}
END_TEST

/* ---- Completion --------------------------------------------------------------------------------------------------- */

/* What bash offers behind "weir WORDS...", the last of which is begun. */
static void complete(const char *words)
{
    ck_assert_int_eq(shell("WEIR_RUNTIME_DIR='%s' PATH=" WEIR_BINARY_DIR "/apps:$PATH bash -c 'source <(" WEIR
                           " completion bash); COMP_WORDS=(weir %s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _weir; "
                           "printf \"%%s\\n\" \"${COMPREPLY[@]}\"'",
                           process_folder(), words), 0);
}

START_TEST(bash_completes_verbs_commands_and_options)
{
    complete("led");
    ck_assert_str_eq(output, "ledger\n");
    complete("c");
    expect("checkpoint\n");
    expect("config\n");
    expect("completion\n");
    expect("cancel\n");
    complete("ledger \"\"");
    expect("show\n");
    expect("verify\n");
    complete("ledger show words --br");
    ck_assert_str_eq(output, "--brokers\n");
    complete("run job.so --checkpoint-d");
    ck_assert_str_eq(output, "--checkpoint-dir\n");
    complete("status words -o j");
    ck_assert_str_eq(output, "json\n");
    complete("completion z");
    ck_assert_str_eq(output, "zsh\n");
    complete("stop --save");
    ck_assert_str_eq(output, "--savepoint\n");
}
END_TEST

/* Only where there is such a shell. */
START_TEST(zsh_and_fish_accept_their_scripts)
{
    ck_assert_int_eq(shell("! command -v zsh || " WEIR " completion zsh | zsh -n /dev/stdin"), 0);
    ck_assert_int_eq(shell("! command -v fish || " WEIR " completion fish | fish -n"), 0);
    ck_assert_int_eq(shell(WEIR " completion zsh"), 0);
    expect("'ledger:");
    ck_assert_int_eq(shell(WEIR " completion fish"), 0);
    expect("-n '__fish_seen_subcommand_from ledger' -l brokers");
    ck_assert_int_eq(shell(WEIR " completion tcsh 2>&1"), 2);
}
END_TEST

/* ---- Verbs -------------------------------------------------------------------------------------------------------- */

static const char *const verbs[] = { "run", "info", "validate", "list", "status", "checkpoint", "savepoint", "rescale",
                                     "stop", "cancel", "state", "ledger", "config", "completion" };

START_TEST(every_verb_has_help_and_refuses_what_it_does_not_know)
{
    ck_assert_int_eq(shell(WEIR " --help"), 0);
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        ck_assert_int_eq(shell(WEIR " --help"), 0);
        expect(verbs[i]);
        ck_assert_int_eq(shell(WEIR " %s --help", verbs[i]), 0);
        expect("usage: weir ");
        ck_assert_int_eq(shell(WEIR " help %s | head -n 1", verbs[i]), 0);
        expect(verbs[i]);
        ck_assert_int_eq(shell(WEIR " %s --no-such-option 2>&1", verbs[i]), 2);
        expect("usage: weir ");
    }
}
END_TEST

START_TEST(what_is_misspelled_is_met_with_the_nearest_word)
{
    static const struct { const char *arguments, *sentence; } cases[] = {
        { "staus orders", "there is no verb 'staus'; the nearest is 'status'" },
        { "list --halp", "'--halp' is not understood; the nearest is --help" },
        { "ledger verfy orders", "'verfy' is not understood; the nearest is verify" },
        { "ledger show orders --broker x", "'--broker' is not understood; the nearest is --brokers" },
        { "state dmp x", "'dmp' is not understood; the nearest is dump" },
        { "config show --efective", "'--efective' is not understood; the nearest is --effective" },
        { "stop --savepont x orders", "'--savepont' is not understood; the nearest is --savepoint" },
        { "list -o xml", "-o takes table or json" },
        { "rescale orders -p", "a value is missing behind: -p" },
        { "config lst", "'lst' is not understood; the nearest is list" },
        { "frobnicate", "there is no verb 'frobnicate'; 'weir --help' lists them\n" },
        { "rescale orders -p many", "-p takes a number, from 1: many" },
        { "rescale orders -p 0", "-p takes a number, from 1: 0" },
        { "completion tcsh", "name the shell: bash, zsh or fish: tcsh" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ck_assert_int_eq(shell(WEIR " %s 2>&1", cases[i].arguments), 2);
        expect(cases[i].sentence);
    }
}
END_TEST

/* ---- Jobs elsewhere ------------------------------------------------------------------------------------------------ */

#define TOKEN "0123456789abcdef-test"

/* Starts a long job that answers over HTTP, with `options` beside, runs `script` with its address in $url, and waits for its end:
 * the exit status of the job. */
static int with_remote_job(const char *options, const char *script)
{
    const char *folder = process_folder();
    return shell("cd '%s'; export PATH=" WEIR_BINARY_DIR "/apps:$PATH; "
                 "sample-aggregating --records 3000000000 --bounded --job far --checkpoint-dir . -X rest.port=0 "
                 "-X rest.write-token=" TOKEN " %s >out 2>log & job=$!; "
                 "for i in $(seq 1 1000); do grep -q 'running, incarnation' log && break; sleep 0.02; done; "
                 "url=$(sed -n 's/.*remote interface at //p' log); exec 2>&1; %s; wait $job", folder, options, script);
}

START_TEST(a_job_is_asked_by_its_url)
{
    ck_assert_int_eq(with_remote_job("", "weir status $url; weir status -o json $url; export WEIR_TOKEN=" TOKEN "; "
                                     "weir checkpoint $url; echo checkpoint $?; weir rescale $url -p 2; echo rescale $?; "
                                     "weir stop $url; echo stop $?"), 0);
    expect("name                     far\n");
    expect("\"state\": \"RUNNING\"");
    expect("checkpointId ");
    expect("checkpoint 0\n");
    expect("rescale 0\n");
    expect("stop 0\n");
}
END_TEST

START_TEST(a_job_elsewhere_wants_its_token_to_be_changed)
{
    ck_assert_int_eq(with_remote_job("", "weir checkpoint $url; echo without $?; "
                                     "WEIR_TOKEN=wrong weir cancel $url; echo wrong $?; "
                                     "WEIR_TOKEN=" TOKEN " weir cancel $url; echo right $?"), 0);
    expect("WEIR_TOKEN takes the token");
    expect("without 7\n");
    expect("wrong 7\n");
    expect("right 0\n");
    ck_assert_ptr_null(strstr(output, TOKEN));
}
END_TEST

/* Its name must be right, its authority known, and what it asks for shown. */
START_TEST(a_job_is_asked_over_https)
{
    static const char options[] =
        "-X security.ssl.rest.enabled=true -X security.ssl.rest.certificate=server.pem -X security.ssl.rest.key.file=server.key "
        "-X security.ssl.rest.authentication-enabled=true -X security.ssl.rest.ca=ca.pem -X rest.bind-address=0.0.0.0";
    static const char script[] =
        "export WEIR_TOKEN=" TOKEN "; url=https://127.0.0.1:${url##*:}; weir status $url; echo unknown $?; "
        "weir status http${url#https}; echo plain $?; "
        "export WEIR_TLS_CA=ca.pem; weir status $url; echo bare $?; "
        "export WEIR_TLS_CERTIFICATE=client.pem; weir status $url; echo half $?; "
        "export WEIR_TLS_KEY=client.key; weir status $(echo $url | sed s/0.0.1:/0.0.2:/); echo name $?; "
        "weir status $url; weir checkpoint $url; echo checkpoint $?; weir cancel $url; echo cancel $?";
    certificates_make(process_folder());
    ck_assert_int_eq(with_remote_job(options, script), 0);
    expect("WEIR_TLS_CA takes a file with its authority.\nunknown 7\n");
    expect("plain 7\n");
    expect("WEIR_TLS_CERTIFICATE and WEIR_TLS_KEY take one\nbare 7\n");
    expect("WEIR_TLS_CERTIFICATE and WEIR_TLS_KEY belong together, and one of them is not set\nhalf 7\n");
    expect("does not match the expected.\nname 7\n");
    expect("name                     far\n");
    expect("checkpoint 0\n");
    expect("cancel 0\n");
}
END_TEST

START_TEST(a_url_where_nobody_answers_is_told)
{
    ck_assert_int_eq(shell(WEIR " status http://127.0.0.1:1 2>&1"), 7);
    expect("Connection refused: nobody listens there; a job does at its rest.port, when that is set");
    ck_assert_int_eq(shell(WEIR " status ftp://127.0.0.1:1 2>&1"), 2);
    expect("'ftp://127.0.0.1:1': a job is asked over http:// or https://");
    ck_assert_int_eq(shell(WEIR " status http://:x 2>&1"), 2);
    expect("is no URL such as");
}
END_TEST

/* ---- Pages -------------------------------------------------------------------------------------------------------- */

/* Of each key there is a row, as the build makes it. */
START_TEST(the_reference_page_has_every_key)
{
    struct weir_config_key key;
    char row[200];
    ck_assert_int_eq(shell("cat " WEIR_BINARY_DIR "/man/configuration.md"), 0);
    for (size_t i = 0; weir_config_key_at(i, &key); i++) {
        (void)snprintf(row, sizeof row, "| `%s` | %s |", key.name, key.sentence);
        expect(row);
    }
    ck_assert_int_eq(shell("cat " WEIR_BINARY_DIR "/man/weir.yaml.5"), 0);
    for (size_t i = 0; weir_config_key_at(i, &key); i++) {
        (void)snprintf(row, sizeof row, ".B %s\n%s\n", key.name, key.sentence);
        expect(row);
    }
}
END_TEST

START_TEST(manual_pages_are_well_formed)
{
    ck_assert_int_eq(shell(WEIR " config list -o man > '%s/weir.yaml.5'", process_folder()), 0);
    if (shell("command -v groff") != 0) return;
    ck_assert_int_eq(shell("for page in " WEIR_SOURCE_DIR "/config/man/*.[137] '%s/weir.yaml.5'; do "
                           "groff -man -Tutf8 -ww -z \"$page\" 2>&1; done", process_folder()), 0);
    ck_assert_str_eq(output, "");
}
END_TEST

/* In weir.1 each has its paragraph. */
START_TEST(every_verb_is_in_the_manual)
{
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        ck_assert_msg(shell("grep -E '^\\.BI? \"?%s' " WEIR_SOURCE_DIR "/config/man/weir.1", verbs[i]) == 0, "%s", verbs[i]);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_module_runs);
    tcase_add_test(tests, a_module_goes_on_where_it_stood);
    tcase_add_test(tests, a_module_has_options_of_its_own);
    tcase_add_test(tests, a_program_runs);
    tcase_add_test(tests, info_shows_the_plan_and_runs_nothing);
    tcase_add_test(tests, validate_tells_what_is_wrong_and_runs_nothing);
    tcase_add_test(tests, what_a_remote_interface_lacks_is_told_before_and_at_the_start);
    tcase_add_test(tests, what_is_no_job_is_refused);
    tcase_add_test(tests, a_log_for_programs_is_one_object_a_line);
    tcase_add_test(tests, the_last_error_is_a_line_of_the_log_too);
    tcase_add_test(tests, the_level_says_which_lines_are_written);
    tcase_add_test(tests, bash_completes_verbs_commands_and_options);
    tcase_add_test(tests, zsh_and_fish_accept_their_scripts);
    tcase_add_test(tests, every_verb_has_help_and_refuses_what_it_does_not_know);
    tcase_add_test(tests, what_is_misspelled_is_met_with_the_nearest_word);
    tcase_add_test(tests, a_job_is_asked_by_its_url);
    tcase_add_test(tests, a_job_elsewhere_wants_its_token_to_be_changed);
    tcase_add_test(tests, a_job_is_asked_over_https);
    tcase_add_test(tests, a_url_where_nobody_answers_is_told);
    tcase_add_test(tests, the_reference_page_has_every_key);
    tcase_add_test(tests, manual_pages_are_well_formed);
    tcase_add_test(tests, every_verb_is_in_the_manual);
}

int main(void) { return unit_main("the weir command", add); }

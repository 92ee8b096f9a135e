/* Hands the ends of two pipes to a program that it executes, and that one answers.
 *
 * The worker is this same file, executed with the argument `worker`, or the program that is named: the Rust example
 * exec_child does the same by the same names, so that either may be the parent of the other.
 *
 *     exec_child [PROGRAM]
 */
#include <ctype.h>
#include <shmpipe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(shmpipe_status status) {
    if (status != SHMPIPE_OK) {
        fprintf(stderr, "exec_child: %s\n", shmpipe_last_error());
        exit(1);
    }
}

/* What the executed program does: it knows nothing but the two names. */
static int worker(void) {
    shmpipe_connection *requests;
    shmpipe_sender *log;
    check(shmpipe_connection_from_env("REQUESTS", &requests));
    check(shmpipe_sender_from_env("LOG", &log));
    shmpipe_receiver *rx = shmpipe_connection_receiver(requests);
    shmpipe_sender *tx = shmpipe_connection_sender(requests);

    char request[100], line[40];
    size_t len;
    while (shmpipe_recv_into(rx, request, sizeof request, &len) == SHMPIPE_OK) {
        for (size_t i = 0; i < len; i++) {
            request[i] = (char)toupper((unsigned char)request[i]);
        }
        check(shmpipe_send(tx, request, len));
        check(shmpipe_send(log, line, (size_t)snprintf(line, sizeof line, "%zu bytes", len)));
    }
    check(shmpipe_send(log, "good bye", 8));
    shmpipe_sender_free(&log);
    shmpipe_connection_free(&requests);
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "worker") == 0) {
        return worker();
    }
    char *program = argc > 1 ? argv[1] : argv[0];
    shmpipe_connection *requests, *theirs;
    shmpipe_receiver *log;
    shmpipe_sender *log_theirs;
    check(shmpipe_duplex(NULL, &requests, &theirs));
    check(shmpipe_pipe(NULL, &log, &log_theirs));

    /* All that allocates is done before the fork. */
    shmpipe_inheritance *inheritance;
    char *const *envp;
    check(shmpipe_inheritance_new(&inheritance));
    check(shmpipe_connection_inherit(&theirs, inheritance, "REQUESTS"));
    check(shmpipe_sender_inherit(&log_theirs, inheritance, "LOG"));
    check(shmpipe_inheritance_envp(inheritance, &envp));
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        return 1;
    }
    if (child == 0) {
        char *arguments[] = {program, "worker", NULL};
        if (shmpipe_inheritance_keep(inheritance) == SHMPIPE_OK) {
            execve(program, arguments, envp);
        }
        _exit(127);
    }
    shmpipe_inheritance_free(&inheritance); /* it has our copies of the worker's ends */

    const char *words[] = {"one", "two", "three"};
    const void *data;
    size_t len;
    for (int i = 0; i < 3; i++) {
        check(shmpipe_send(shmpipe_connection_sender(requests), words[i], strlen(words[i])));
        check(shmpipe_recv(shmpipe_connection_receiver(requests), &data, &len));
        printf("%s -> %.*s\n", words[i], (int)len, (const char *)data);
    }
    shmpipe_connection_free(&requests); /* end-of-file for the worker, which then ends */
    while (shmpipe_recv(log, &data, &len) == SHMPIPE_OK) {
        printf("the worker said: %.*s\n", (int)len, (const char *)data);
    }
    shmpipe_receiver_free(&log);
    int outcome;
    return waitpid(child, &outcome, 0) == child && WIFEXITED(outcome) ? WEXITSTATUS(outcome) : 1;
}

/* Ends that other programs and processes get: over exec, by posix_spawn(3), as descriptors, in messages. */
#define _GNU_SOURCE
#include "check.h"

#include <fcntl.h>
#include <spawn.h>

static char *self;

/* What the executed program does: it answers, and says its length. */
static int worker(void) {
    shmpipe_connection *requests, *twice;
    shmpipe_sender *log, *other;
    const void *data;
    size_t len;
    GIVES(SHMPIPE_IO, shmpipe_sender_from_env("REQUESTS", &other)); /* of another kind; it can still be taken */
    CHECK(shmpipe_last_errno() == EBADMSG && other == NULL);
    OK(shmpipe_connection_from_env("REQUESTS", &requests));
    OK(shmpipe_sender_from_env("LOG", &log));
    GIVES(SHMPIPE_IO, shmpipe_connection_from_env("REQUESTS", &twice));
    CHECK(shmpipe_last_errno() == EEXIST);
    while (shmpipe_recv(shmpipe_connection_receiver(requests), &data, &len) == SHMPIPE_OK) {
        OK(shmpipe_send(log, &len, sizeof len));
        OK(shmpipe_send(shmpipe_connection_sender(requests), data, len));
    }
    OK(shmpipe_send(log, "good bye", 8));
    shmpipe_sender_free(&log);
    shmpipe_connection_free(&requests);
    return 0;
}

static void talk(shmpipe_connection **requests, shmpipe_receiver **log, pid_t child) {
    size_t len, got;
    OK(shmpipe_send(shmpipe_connection_sender(*requests), "one two", 7));
    received(shmpipe_connection_receiver(*requests), "one two");
    OK(shmpipe_recv_into(*log, &len, sizeof len, &got));
    CHECK(got == sizeof len && len == 7);
    shmpipe_connection_free(requests);
    received(*log, "good bye");
    const void *data;
    GIVES(SHMPIPE_DISCONNECTED, shmpipe_recv(*log, &data, &got));
    shmpipe_receiver_free(log);
    ended_well(child);
}

static void prepared(shmpipe_connection **requests, shmpipe_receiver **log, shmpipe_inheritance **inheritance) {
    shmpipe_connection *theirs;
    shmpipe_sender *log_theirs;
    OK(shmpipe_duplex(NULL, requests, &theirs));
    OK(shmpipe_pipe(NULL, log, &log_theirs));
    OK(shmpipe_inheritance_new(inheritance));
    OK(shmpipe_connection_inherit(&theirs, *inheritance, "REQUESTS"));
    CHECK(theirs == NULL);
    OK(shmpipe_sender_inherit(&log_theirs, *inheritance, "LOG"));
    CHECK(log_theirs == NULL);
}

static void an_executed_program_inherits_by_name(void) {
    shmpipe_connection *requests;
    shmpipe_receiver *log;
    shmpipe_inheritance *inheritance;
    char *const *envp;
    char *argv[] = {self, "worker", NULL};
    prepared(&requests, &log, &inheritance);
    OK(shmpipe_inheritance_envp(inheritance, &envp));
    pid_t child = forked();
    if (child == 0) {
        OK(shmpipe_inheritance_keep(inheritance));
        execve(self, argv, envp);
        _exit(127);
    }
    shmpipe_inheritance_free(&inheritance);
    CHECK(inheritance == NULL);
    talk(&requests, &log, child);
}

static void a_spawned_program_inherits_by_name(void) {
    shmpipe_connection *requests;
    shmpipe_receiver *log;
    shmpipe_inheritance *inheritance;
    char *const *envp;
    const int *fds;
    size_t count;
    char *argv[] = {self, "worker", NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;
    prepared(&requests, &log, &inheritance);
    OK(shmpipe_inheritance_envp(inheritance, &envp));
    OK(shmpipe_inheritance_fds(inheritance, &fds, &count));
    CHECK(count == 6);
    CHECK(posix_spawn_file_actions_init(&actions) == 0);
    for (size_t i = 0; i < count; i++) {
        CHECK(posix_spawn_file_actions_adddup2(&actions, fds[i], fds[i]) == 0);
    }
    CHECK(posix_spawn(&child, self, &actions, NULL, argv, envp) == 0);
    posix_spawn_file_actions_destroy(&actions);
    shmpipe_inheritance_free(&inheritance);
    talk(&requests, &log, child);
}

static void what_cannot_be_handed_over_is_refused(void) {
    shmpipe_inheritance *inheritance;
    shmpipe_connection *left, *right;
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    OK(shmpipe_inheritance_new(&inheritance));
    OK(shmpipe_duplex(NULL, &left, &right));
    shmpipe_sender *half = shmpipe_connection_sender(left);
    GIVES(SHMPIPE_INVALID, shmpipe_sender_inherit(&half, inheritance, "HALF"));
    CHECK(half != NULL && strstr(shmpipe_last_error(), "split") != NULL);
    OK(shmpipe_pipe(NULL, &rx, &tx));
    GIVES(SHMPIPE_INVALID, shmpipe_receiver_inherit(&rx, inheritance, "A=B"));
    CHECK(rx == NULL);
    OK(shmpipe_sender_inherit(&tx, inheritance, "SAME"));
    shmpipe_slot *slot;
    OK(shmpipe_reserve(shmpipe_connection_sender(left), 1, &slot));
    GIVES(SHMPIPE_LENT, shmpipe_connection_inherit(&left, inheritance, "LENT"));
    CHECK(left != NULL);
    GIVES(SHMPIPE_INVALID, shmpipe_connection_inherit(&right, inheritance, "SAME"));
    CHECK(strstr(shmpipe_last_error(), "SAME") != NULL && right == NULL);
    shmpipe_connection_free(&left);
    shmpipe_inheritance_free(&inheritance);
    GIVES(SHMPIPE_IO, shmpipe_receiver_from_env("NOBODY_SET_THIS", &rx));
    CHECK(shmpipe_last_errno() == ENOENT && strstr(shmpipe_last_error(), "NOBODY_SET_THIS") != NULL);
}

static void copies_of(int *fds, size_t count) {
    for (size_t i = 0; i < count; i++) {
        fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
        CHECK(fds[i] >= 0);
    }
}

static void descriptors_make_the_end_again(void) {
    shmpipe_receiver *rx, *made;
    shmpipe_sender *tx, *none;
    shmpipe_connection *left, *right, *again;
    int fds[SHMPIPE_MAX_FDS];
    size_t count = 0;
    OK(shmpipe_pipe(NULL, &rx, &tx));
    GIVES(SHMPIPE_BUFFER_TOO_SMALL, shmpipe_receiver_fds(rx, fds, &count));
    CHECK(count == 2);
    count = SHMPIPE_MAX_FDS;
    OK(shmpipe_receiver_fds(rx, fds, &count));
    CHECK(count == 2);
    copies_of(fds, count);

    int twice[2] = {fds[0], fds[0]};
    GIVES(SHMPIPE_INVALID, shmpipe_receiver_from_fds(twice, 2, &made));
    int closed[2] = {fds[0], -1};
    GIVES(SHMPIPE_INVALID, shmpipe_receiver_from_fds(closed, 2, &made));
    GIVES(SHMPIPE_INVALID, shmpipe_receiver_from_fds(fds, 7, &made));
    CHECK(fcntl(fds[0], F_GETFD) >= 0); /* nothing was taken */

    OK(shmpipe_receiver_from_fds(fds, count, &made));
    CHECK(shmpipe_receiver_same_pipe(rx, made) && shmpipe_receiver_backend(rx) == shmpipe_receiver_backend(made));
    shmpipe_receiver_free(&rx);
    OK(shmpipe_send(tx, "the same pipe", 13));
    received(made, "the same pipe");

    count = SHMPIPE_MAX_FDS;
    OK(shmpipe_sender_fds(tx, fds, &count));
    copies_of(fds, count);
    GIVES(SHMPIPE_IO, shmpipe_receiver_from_fds(fds, count, &rx)); /* those of a sender */
    CHECK(shmpipe_last_errno() == EBADMSG && rx == NULL && fcntl(fds[0], F_GETFD) < 0); /* closed */
    GIVES(SHMPIPE_IO, shmpipe_sender_from_fds(NULL, 0, &none));

    OK(shmpipe_duplex(NULL, &left, &right));
    count = SHMPIPE_MAX_FDS;
    OK(shmpipe_connection_fds(left, fds, &count));
    CHECK(count == 4);
    copies_of(fds, count);
    OK(shmpipe_connection_from_fds(fds, count, &again));
    shmpipe_connection_free(&left);
    OK(shmpipe_send(shmpipe_connection_sender(again), "hello", 5));
    received(shmpipe_connection_receiver(right), "hello");
    shmpipe_connection_free(&again);
    shmpipe_connection_free(&right);
    shmpipe_sender_free(&tx);
    shmpipe_receiver_free(&made);
}

static void messages_carry_descriptors_and_ends(void) {
    shmpipe_options *options;
    shmpipe_receiver *rx, *answers;
    shmpipe_sender *tx, *answer, *theirs;
    const void *data;
    size_t len, count;
    int fds[SHMPIPE_MAX_FDS], plain[2];
    OK(shmpipe_options_new(&options));
    OK(shmpipe_options_descriptors(options, true));
    OK(shmpipe_pipe(options, &rx, &tx));
    shmpipe_options_free(&options);
    CHECK(pipe(plain) == 0);
    OK(shmpipe_send_with_fds(tx, "write here", 10, &plain[1], 1, SHMPIPE_FOREVER));
    GIVES(SHMPIPE_CARRIES_DESCRIPTORS, shmpipe_recv(rx, &data, &len));
    count = SHMPIPE_MAX_FDS;
    OK(shmpipe_recv_with_fds(rx, &data, &len, fds, &count, SHMPIPE_SECOND));
    CHECK(count == 1 && len == 10 && fds[0] != plain[1]);
    CHECK(write(fds[0], "x", 1) == 1);
    close(fds[0]);

    /* Those without room are closed. */
    OK(shmpipe_try_send_with_fds(tx, "two", 3, plain, 2));
    count = 1;
    OK(shmpipe_try_recv_with_fds(rx, &data, &len, fds, &count));
    CHECK(count == 2);
    close(fds[0]);
    count = 5;
    GIVES(SHMPIPE_EMPTY, shmpipe_try_recv_with_fds(rx, &data, &len, fds, &count));
    CHECK(count == 0);
    int closed = -1;
    GIVES(SHMPIPE_INVALID, shmpipe_try_send_with_fds(tx, "x", 1, &closed, 1));

    /* A whole end goes as its descriptors. */
    OK(shmpipe_pipe(NULL, &answers, &answer));
    count = SHMPIPE_MAX_FDS;
    OK(shmpipe_sender_fds(answer, fds, &count));
    OK(shmpipe_send_with_fds(tx, "what is the time?", 17, fds, count, SHMPIPE_FOREVER));
    shmpipe_sender_free(&answer);
    count = SHMPIPE_MAX_FDS;
    OK(shmpipe_recv_with_fds(rx, &data, &len, fds, &count, SHMPIPE_FOREVER));
    OK(shmpipe_sender_from_fds(fds, count, &theirs));
    OK(shmpipe_send(theirs, "noon", 4));
    received(answers, "noon");

    /* A pipe that carries none says so. */
    GIVES(SHMPIPE_IO, shmpipe_send_with_fds(theirs, "x", 1, plain, 1, SHMPIPE_FOREVER));
    CHECK(shmpipe_last_errno() == EOPNOTSUPP);
    shmpipe_sender_free(&theirs);
    shmpipe_sender_free(&tx);
    shmpipe_receiver_free(&rx);
    shmpipe_receiver_free(&answers);
    close(plain[0]);
    close(plain[1]);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "worker") == 0) {
        return worker();
    }
    self = argv[0];
    RUN(an_executed_program_inherits_by_name);
    RUN(a_spawned_program_inherits_by_name);
    RUN(what_cannot_be_handed_over_is_refused);
    RUN(descriptors_make_the_end_again);
    RUN(messages_carry_descriptors_and_ends);
    return 0;
}

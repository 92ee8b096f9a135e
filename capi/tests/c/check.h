/* A small harness: each test is a function, and the first thing that is not as it should be ends the program. */
#ifndef CHECK_H
#define CHECK_H

#include <shmpipe.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            _exit(1);                                                                                        \
        }                                                                                                    \
    } while (0)

/* The status is the one that is expected, and an error has left a text and its number. */
#define GIVES(expected, call)                                                                                \
    do {                                                                                                     \
        int status_ = (call);                                                                                \
        if (status_ != (expected)) {                                                                         \
            fprintf(stderr, "%s:%d: %s is %d (%s), not %s; last error: %s\n", __FILE__, __LINE__, #call,     \
                    status_, shmpipe_strerror(status_), #expected, shmpipe_last_error());                    \
            _exit(1);                                                                                        \
        }                                                                                                    \
        CHECK(status_ == SHMPIPE_OK || shmpipe_last_error()[0] != 0);                                        \
    } while (0)

#define OK(call) GIVES(SHMPIPE_OK, call)

#define RUN(test)                                                                                            \
    do {                                                                                                     \
        alarm(60); /* for hangs */                                                                           \
        test();                                                                                              \
        printf("  %s\n", #test);                                                                             \
        fflush(stdout);                                                                                      \
    } while (0)

__attribute__((unused)) static pid_t forked(void) {
    fflush(stdout);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(60);
    }
    return pid;
}

__attribute__((unused)) static void ended_well(pid_t pid) {
    int status = -1;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

__attribute__((unused)) static int64_t now_ns(void) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (int64_t)now.tv_sec * SHMPIPE_SECOND + now.tv_nsec;
}

__attribute__((unused)) static void received(shmpipe_receiver *rx, const char *expected) {
    const void *data;
    size_t len;
    OK(shmpipe_recv(rx, &data, &len));
    CHECK(len == strlen(expected) && memcmp(data, expected, len) == 0);
}

__attribute__((unused)) static bool is_kernel(void) {
    const char *backend = getenv("SHMPIPE_BACKEND");
    return backend != NULL && strcmp(backend, "kernel") == 0;
}

#endif

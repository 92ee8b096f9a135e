/* A pool: three forked workers take lines from one pipe and answer through another, with a progress timer beside it.
 *
 * Each line goes to one of the workers. The parent waits for answers and for a timerfd(2) at once.
 */
#include <shmpipe.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 3, LINES = 1000 };

struct answer {
    int line;
    int words;
};

static void must(shmpipe_status status, const char *what) {
    if (status != SHMPIPE_OK) {
        fprintf(stderr, "%s: %s (%s)\n", what, shmpipe_strerror(status), shmpipe_last_error());
        exit(1);
    }
}

static int words_in(const char *text, size_t len) {
    int words = 0;
    for (size_t i = 0; i < len; i++) {
        words += text[i] != ' ' && (i == 0 || text[i - 1] == ' ');
    }
    return words;
}

static int work(shmpipe_receiver *jobs, shmpipe_sender *answers) {
    const void *data;
    size_t len;
    shmpipe_status status;
    while ((status = shmpipe_recv(jobs, &data, &len)) == SHMPIPE_OK) {
        struct answer answer;
        if (len < sizeof answer.line) {
            return 1;
        }
        memcpy(&answer.line, data, sizeof answer.line);
        answer.words = words_in((const char *)data + sizeof answer.line, len - sizeof answer.line);
        must(shmpipe_send(answers, &answer, sizeof answer), "answer");
    }
    return status == SHMPIPE_DISCONNECTED ? 0 : 1;
}

static int feed(shmpipe_sender *jobs) {
    for (int line = 0; line < LINES; line++) {
        char text[100] = "";
        for (int word = 0; word < line % 20; word++) {
            strcat(text, "word ");
        }
        struct iovec job[] = {
            {.iov_base = &line, .iov_len = sizeof line},
            {.iov_base = text, .iov_len = strlen(text)},
        };
        must(shmpipe_send_vectored(jobs, job, 2), "job");
    }
    return 0;
}

static pid_t fork_or_die(void) {
    pid_t pid = fork();
    if (pid < 0) {
        perror("fork");
        exit(1);
    }
    return pid;
}

int main(void) {
    shmpipe_options *options;
    shmpipe_receiver *jobs_rx, *answers_rx;
    shmpipe_sender *jobs_tx, *answers_tx;
    must(shmpipe_options_new(&options), "options");
    must(shmpipe_options_label(options, "jobs"), "label");
    must(shmpipe_options_capacity(options, 16 * 1024), "capacity");
    must(shmpipe_pipe(options, &jobs_rx, &jobs_tx), "pipe");
    must(shmpipe_pipe(NULL, &answers_rx, &answers_tx), "pipe");
    shmpipe_options_free(&options);

    for (int i = 0; i < WORKERS + 1; i++) {
        if (fork_or_die() == 0) {
            shmpipe_receiver_free(&answers_rx);
            int outcome;
            if (i < WORKERS) {
                shmpipe_sender_free(&jobs_tx);
                outcome = work(jobs_rx, answers_tx);
            } else {
                shmpipe_receiver_free(&jobs_rx);
                outcome = feed(jobs_tx);
            }
            shmpipe_sender_free(&jobs_tx);
            shmpipe_receiver_free(&jobs_rx);
            shmpipe_sender_free(&answers_tx);
            return outcome;
        }
    }
    shmpipe_sender_free(&jobs_tx);
    shmpipe_receiver_free(&jobs_rx);
    shmpipe_sender_free(&answers_tx);

    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    struct itimerspec often = {.it_interval = {.tv_nsec = 1000000}, .it_value = {.tv_nsec = 1}};
    if (timer < 0 || timerfd_settime(timer, 0, &often, NULL) < 0) {
        perror("timerfd");
        return 1;
    }
    static bool answered[LINES];
    int count = 0, ticks = 0;
    for (bool open = true; open;) {
        shmpipe_wait_item items[] = {{.receiver = answers_rx}, {.fd = timer, .events = POLLIN}};
        size_t ready;
        must(shmpipe_wait(items, 2, 10 * SHMPIPE_SECOND, &ready), "wait");
        if (ready == 0) {
            fputs("nothing came for ten seconds\n", stderr);
            return 1;
        }
        if (items[1].ready) {
            uint64_t expired;
            ticks += read(timer, &expired, sizeof expired) == sizeof expired;
        }
        if (items[0].ready) {
            const struct iovec *batch;
            size_t in_batch;
            shmpipe_status status = shmpipe_try_recv_batch(answers_rx, &batch, &in_batch);
            if (status == SHMPIPE_DISCONNECTED) {
                open = false;
            } else if (status != SHMPIPE_EMPTY) {
                must(status, "answers");
            }
            for (size_t i = 0; i < in_batch; i++) {
                struct answer answer;
                if (batch[i].iov_len != sizeof answer) {
                    return 1;
                }
                memcpy(&answer, batch[i].iov_base, sizeof answer);
                if (answer.line < 0 || answer.line >= LINES || answered[answer.line] ||
                    answer.words != answer.line % 20) {
                    fprintf(stderr, "line %d: %d words\n", answer.line, answer.words);
                    return 1;
                }
                answered[answer.line] = true;
                count++;
            }
        }
    }
    close(timer);
    shmpipe_receiver_free(&answers_rx);
    bool well = count == LINES && ticks > 0;
    for (int i = 0; i < WORKERS + 1; i++) {
        int outcome;
        well = wait(&outcome) > 0 && outcome == 0 && well;
    }
    printf("%d of %d lines were answered\n", count, LINES);
    return well ? 0 : 1;
}

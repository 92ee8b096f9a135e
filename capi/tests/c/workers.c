/* A user's program, written from the header alone: a pool of forked, executed and threaded workers which get jobs as
 * structs and send results back, beside a pipe for their log lines. */
#include "check.h"

#include <pthread.h>
#include <spawn.h>

enum { JOBS = 5000, BATCH = 16, FORKED = 3, EXECUTED = 2, THREADS = 2, WORKERS = FORKED + EXECUTED + THREADS };

struct job {
    uint32_t number;
    uint32_t rounds;
    double seed;
};

struct result {
    uint32_t number;
    uint32_t of;
    double value;
};

/* What one worker has. */
struct ends {
    shmpipe_receiver *jobs;
    shmpipe_sender *results;
    shmpipe_sender *log;
};

static double work(const struct job *job) {
    double value = job->seed;
    for (uint32_t round = 0; round < job->rounds; round++) {
        value = value * 0.5 + 1;
    }
    return value;
}

static struct job job(uint32_t number) {
    return (struct job){.number = number, .rounds = number % 7, .seed = number};
}

static void free_ends(struct ends *ends) {
    shmpipe_receiver_free(&ends->jobs);
    shmpipe_sender_free(&ends->results);
    shmpipe_sender_free(&ends->log);
}

/* Works until there are no more jobs, and has a word to say at the end. */
static void be_worker(struct ends *ends, uint32_t of) {
    struct job job;
    size_t len;
    unsigned done = 0;
    for (;;) {
        shmpipe_status status = shmpipe_recv_into_timeout(ends->jobs, &job, sizeof job, &len, 50 * SHMPIPE_MILLISECOND);
        if (status == SHMPIPE_TIMEOUT) {
            continue;
        }
        if (status == SHMPIPE_DISCONNECTED) {
            break;
        }
        OK(status);
        CHECK(len == sizeof job);
        struct result result = {.number = job.number, .of = of, .value = work(&job)};
        OK(shmpipe_send(ends->results, &result, sizeof result));
        done++;
    }
    char line[40];
    int length = snprintf(line, sizeof line, "worker %u: %u", (unsigned)of, done);
    OK(shmpipe_send(ends->log, line, (size_t)length));
    free_ends(ends);
}

/* Clones, for a worker that shares this process or is executed. */
static struct ends clones(const struct ends *ends) {
    struct ends clones;
    OK(shmpipe_receiver_clone(ends->jobs, &clones.jobs));
    OK(shmpipe_sender_clone(ends->results, &clones.results));
    OK(shmpipe_sender_clone(ends->log, &clones.log));
    return clones;
}

struct thread {
    struct ends ends;
    uint32_t of;
    pthread_t thread;
};

static void *be_thread(void *argument) {
    struct thread *thread = argument;
    be_worker(&thread->ends, thread->of);
    return NULL;
}

static const char *program;

/* Executes this program as worker number `of`, by fork(2) or by posix_spawn(3). */
static pid_t executed(const struct ends *ends, uint32_t of, bool by_spawn) {
    struct ends theirs = clones(ends);
    shmpipe_inheritance *inheritance;
    char *const *envp;
    pid_t pid;
    char number[12];
    snprintf(number, sizeof number, "%u", (unsigned)of);
    char *const argv[] = {(char *)program, number, NULL};
    OK(shmpipe_inheritance_new(&inheritance));
    OK(shmpipe_receiver_inherit(&theirs.jobs, inheritance, "WORKERS_JOBS"));
    OK(shmpipe_sender_inherit(&theirs.results, inheritance, "WORKERS_RESULTS"));
    OK(shmpipe_sender_inherit(&theirs.log, inheritance, "WORKERS_LOG"));
    CHECK(theirs.jobs == NULL && theirs.results == NULL && theirs.log == NULL);
    OK(shmpipe_inheritance_envp(inheritance, &envp));
    if (by_spawn) {
        posix_spawn_file_actions_t actions;
        const int *fds;
        size_t count;
        OK(shmpipe_inheritance_fds(inheritance, &fds, &count));
        CHECK(posix_spawn_file_actions_init(&actions) == 0);
        for (size_t at = 0; at < count; at++) {
            CHECK(posix_spawn_file_actions_adddup2(&actions, fds[at], fds[at]) == 0);
        }
        CHECK(posix_spawn(&pid, program, &actions, NULL, argv, envp) == 0);
        posix_spawn_file_actions_destroy(&actions);
    } else if ((pid = forked()) == 0) {
        shmpipe_inheritance_keep(inheritance);
        execve(program, argv, envp);
        _exit(127);
    }
    shmpipe_inheritance_free(&inheritance);
    return pid;
}

static int main_of_executed(uint32_t of) {
    struct ends ends;
    shmpipe_sender *none;
    OK(shmpipe_receiver_from_env("WORKERS_JOBS", &ends.jobs));
    OK(shmpipe_sender_from_env("WORKERS_RESULTS", &ends.results));
    OK(shmpipe_sender_from_env("WORKERS_LOG", &ends.log));
    GIVES(SHMPIPE_IO, shmpipe_sender_from_env("WORKERS_LOG", &none));
    CHECK(shmpipe_last_errno() == EEXIST && none == NULL);
    be_worker(&ends, of);
    return 0;
}

/* The parent's side. */
static uint32_t next_job, results, lines, done_by[WORKERS];
static bool is_done[JOBS];

static void send_jobs(shmpipe_wait_item *item, shmpipe_sender **tx) {
    struct job jobs[BATCH];
    struct iovec pieces[BATCH];
    size_t count = 0, sent;
    for (; count < BATCH && next_job + count < JOBS; count++) {
        jobs[count] = job(next_job + (uint32_t)count);
        pieces[count] = (struct iovec){.iov_base = &jobs[count], .iov_len = sizeof jobs[count]};
    }
    OK(shmpipe_send_batch(*tx, pieces, count, &sent));
    CHECK(sent == count);
    next_job += (uint32_t)sent;
    if (next_job == JOBS) {
        shmpipe_sender_free(tx);
        item->sender = NULL;
    }
}

static void take_results(shmpipe_wait_item *item) {
    const struct iovec *messages;
    size_t count;
    shmpipe_status status = shmpipe_try_recv_batch(item->receiver, &messages, &count);
    if (status == SHMPIPE_DISCONNECTED) {
        item->receiver = NULL;
    } else if (status != SHMPIPE_EMPTY) {
        OK(status);
        for (size_t at = 0; at < count; at++) {
            struct result result; /* copied, because messages have no alignment */
            CHECK(messages[at].iov_len == sizeof result);
            memcpy(&result, messages[at].iov_base, sizeof result);
            CHECK(result.number < JOBS && result.of < WORKERS && !is_done[result.number]);
            struct job done = job(result.number);
            CHECK(result.value == work(&done));
            is_done[result.number] = true;
            done_by[result.of]++;
            results++;
        }
    }
}

static void take_lines(shmpipe_wait_item *item) {
    const void *data;
    size_t len;
    shmpipe_message *message;
    unsigned of, done;
    char text[40] = "";
    shmpipe_status status = shmpipe_try_recv(item->receiver, &data, &len);
    if (status == SHMPIPE_DISCONNECTED) {
        item->receiver = NULL;
    } else if (status != SHMPIPE_EMPTY) {
        OK(status);
        OK(shmpipe_take_message(item->receiver, &message));
        CHECK(shmpipe_message_len(message) < sizeof text);
        memcpy(text, shmpipe_message_data(message), shmpipe_message_len(message));
        shmpipe_message_free(&message);
        CHECK(sscanf(text, "worker %u: %u", &of, &done) == 2 && of < WORKERS);
        lines++;
    }
}

static void a_pool_of_workers_of_every_kind_does_each_job_once(void) {
    struct ends theirs;
    shmpipe_sender *jobs;
    shmpipe_receiver *results_rx, *log_rx;
    pid_t children[FORKED + EXECUTED];
    struct thread threads[THREADS];
    uint32_t of = 0;
    OK(shmpipe_pipe(NULL, &theirs.jobs, &jobs));
    OK(shmpipe_pipe(NULL, &results_rx, &theirs.results));
    OK(shmpipe_pipe(NULL, &log_rx, &theirs.log));
    for (; of < FORKED; of++) {
        if ((children[of] = forked()) == 0) {
            shmpipe_sender_free(&jobs);
            shmpipe_receiver_free(&results_rx);
            shmpipe_receiver_free(&log_rx);
            be_worker(&theirs, of);
            _exit(0);
        }
    }
    for (; of < FORKED + EXECUTED; of++) {
        children[of] = executed(&theirs, of, of % 2 == 0);
    }
    for (struct thread *thread = threads; of < WORKERS; of++, thread++) {
        thread->of = of;
        thread->ends = clones(&theirs);
        CHECK(pthread_create(&thread->thread, NULL, be_thread, thread) == 0);
    }
    free_ends(&theirs);

    shmpipe_holder holders[WORKERS];
    size_t count = WORKERS;
    bool is_among = false;
    OK(shmpipe_sender_holders(jobs, holders, &count));
    CHECK(count == FORKED + EXECUTED + 1); /* the threads are one process, which is this one */
    for (size_t at = 0; at < count; at++) {
        is_among = is_among || holders[at].id == (uint32_t)getpid();
    }
    CHECK(is_among);

    shmpipe_wait_item items[] = {{.sender = jobs}, {.receiver = results_rx}, {.receiver = log_rx}};
    while (items[1].receiver != NULL || items[2].receiver != NULL) {
        size_t ready;
        OK(shmpipe_wait(items, 3, SHMPIPE_FOREVER, &ready));
        CHECK(ready == (size_t)(items[0].ready + items[1].ready + items[2].ready) && ready > 0);
        if (items[0].ready) {
            send_jobs(&items[0], &jobs);
        }
        if (items[1].ready) {
            take_results(&items[1]);
        }
        if (items[2].ready) {
            take_lines(&items[2]);
        }
    }
    CHECK(results == JOBS && lines == WORKERS);
    uint32_t sum = 0;
    for (of = 0; of < WORKERS; of++) {
        sum += done_by[of];
    }
    CHECK(sum == JOBS);
    for (size_t at = 0; at < FORKED + EXECUTED; at++) {
        ended_well(children[at]);
    }
    for (size_t at = 0; at < THREADS; at++) {
        CHECK(pthread_join(threads[at].thread, NULL) == 0);
    }
    shmpipe_receiver_free(&results_rx);
    shmpipe_receiver_free(&log_rx);
}

static void what_stays_ready_is_ready_in_every_call(void) {
    shmpipe_receiver *rx, *other;
    shmpipe_sender *tx, *gone;
    size_t ready;
    OK(shmpipe_pipe(NULL, &rx, &gone));
    OK(shmpipe_pipe(NULL, &other, &tx));
    shmpipe_sender_free(&gone);
    shmpipe_receiver_free(&other);
    shmpipe_wait_item items[] = {{.receiver = rx}, {.sender = tx}};
    for (int time = 0; time < 3; time++) {
        OK(shmpipe_wait(items, 2, SHMPIPE_FOREVER, &ready));
        CHECK(ready == 2 && items[0].ready && items[1].ready);
        GIVES(SHMPIPE_DISCONNECTED, shmpipe_send(tx, "x", 1));
        items[1].ready = false;
    }
    items[0].receiver = NULL;
    items[1].sender = NULL;
    OK(shmpipe_wait(items, 2, 0, &ready));
    CHECK(ready == 0);
    shmpipe_receiver_free(&rx);
    shmpipe_sender_free(&tx);
}

int main(int argc, char **argv) {
    program = argv[0];
    if (argc == 2) {
        return main_of_executed((uint32_t)atoi(argv[1]));
    }
    RUN(a_pool_of_workers_of_every_kind_does_each_job_once);
    RUN(what_stays_ready_is_ready_in_every_call);
    return 0;
}

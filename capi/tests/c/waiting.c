/* Waiting for many, descriptors for event loops, hooks and handlers. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/time.h>

static void the_ready_ones_of_many_are_found(void) {
    shmpipe_receiver *first, *second;
    shmpipe_sender *to_first, *to_second;
    int plain[2];
    size_t ready = 99;
    OK(shmpipe_pipe(NULL, &first, &to_first));
    OK(shmpipe_pipe(NULL, &second, &to_second));
    CHECK(pipe(plain) == 0);
    shmpipe_wait_item items[] = {
        {.receiver = first},
        {.receiver = second},
        {.fd = plain[0], .events = POLLIN},
        {.receiver = NULL}, /* nothing, and not descriptor 0 */
    };
    const int64_t wait = 20 * SHMPIPE_MILLISECOND;
    int64_t before = now_ns();
    OK(shmpipe_wait(items, 4, wait, &ready));
    CHECK(ready == 0 && now_ns() - before >= wait);

    OK(shmpipe_send(to_second, "x", 1));
    OK(shmpipe_wait(items, 4, SHMPIPE_FOREVER, &ready));
    CHECK(ready == 1 && !items[0].ready && items[1].ready && !items[2].ready && !items[3].ready);
    CHECK(write(plain[1], "x", 1) == 1);
    shmpipe_sender_free(&to_first); /* end-of-file is ready too */
    OK(shmpipe_wait(items, 4, SHMPIPE_FOREVER, NULL));
    CHECK(items[0].ready && items[1].ready && items[2].ready && !items[3].ready);

    shmpipe_wait_item senders[] = {{.sender = to_second}, {.fd = plain[1], .events = POLLIN | POLLOUT}};
    OK(shmpipe_wait(senders, 2, 0, &ready));
    CHECK(ready == 2);

    shmpipe_wait_item twice[] = {{.receiver = second}, {.receiver = second}};
    GIVES(SHMPIPE_INVALID, shmpipe_wait(twice, 2, 0, &ready));
    CHECK(ready == 0);
    shmpipe_wait_item odd[] = {{.fd = plain[0], .events = POLLPRI}};
    GIVES(SHMPIPE_INVALID, shmpipe_wait(odd, 1, 0, &ready));
    odd[0].events = POLLIN;
    odd[0].fd = -1;
    GIVES(SHMPIPE_INVALID, shmpipe_wait(odd, 1, 0, &ready));
    GIVES(SHMPIPE_INVALID, shmpipe_wait(NULL, 1, 0, &ready));
    OK(shmpipe_wait(NULL, 0, 0, &ready));
    shmpipe_view *view;
    OK(shmpipe_recv_in_place(second, &view));
    GIVES(SHMPIPE_LENT, shmpipe_wait(items, 4, 0, &ready));
    shmpipe_receiver_free(&first);
    shmpipe_receiver_free(&second);
    shmpipe_sender_free(&to_second);
    close(plain[0]);
    close(plain[1]);
}

static bool is_readable(int fd) {
    struct pollfd watched = {.fd = fd, .events = POLLIN};
    CHECK(poll(&watched, 1, 0) >= 0);
    return watched.revents != 0;
}

static void descriptors_show_what_is_ready(void) {
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    int readable, writable;
    char bytes[1000] = {0};
    OK(shmpipe_pipe(NULL, &rx, &tx));
    OK(shmpipe_receiver_fd(rx, &readable));
    OK(shmpipe_sender_fd(tx, &writable));
    CHECK(!is_readable(readable) && is_readable(writable));
    OK(shmpipe_send(tx, "x", 1));
    CHECK(is_readable(readable));
    received(rx, "x");
    CHECK(!is_readable(readable));
    while (shmpipe_try_send(tx, bytes, sizeof bytes) == SHMPIPE_OK) {
    }
    CHECK(!is_readable(writable));
    const void *data;
    size_t len;
    while (shmpipe_try_recv(rx, &data, &len) == SHMPIPE_OK) {
    }
    CHECK(is_readable(writable));
    shmpipe_sender_free(&tx);
    CHECK(is_readable(readable));
    shmpipe_receiver_free(&rx);
}

static shmpipe_receiver *asked_rx;
static shmpipe_status outcome;

static bool says_stop(void *asked) {
    ++*(int *)asked;
    return true;
}

static void receives(void *unused) {
    const void *data;
    size_t len;
    (void)unused;
    outcome = shmpipe_recv(asked_rx, &data, &len);
}

static void a_hook_ends_a_call(void) {
    shmpipe_sender *tx;
    int asked = 0, wake[2];
    OK(shmpipe_pipe(NULL, &asked_rx, &tx));
    OK(shmpipe_interrupt_during(says_stop, &asked, -1, receives, NULL));
    CHECK(outcome == SHMPIPE_INTERRUPTED && asked == 1 && shmpipe_last_errno() == EINTR);
    CHECK(pipe(wake) == 0 && write(wake[1], "!", 1) == 1);
    OK(shmpipe_interrupt_during(says_stop, &asked, wake[0], receives, NULL));
    CHECK(outcome == SHMPIPE_INTERRUPTED && asked == 2);
    OK(shmpipe_send(tx, "x", 1));
    OK(shmpipe_interrupt_during(says_stop, &asked, -1, receives, NULL));
    CHECK(outcome == SHMPIPE_OK && asked == 2);
    GIVES(SHMPIPE_INVALID, shmpipe_interrupt_during(NULL, NULL, -1, receives, NULL));
    GIVES(SHMPIPE_INVALID, shmpipe_interrupt_during(says_stop, &asked, -1, NULL, NULL));
    GIVES(SHMPIPE_INVALID, shmpipe_interrupt_during(says_stop, &asked, 1000000, receives, NULL));
    shmpipe_sender_free(&tx);
    shmpipe_receiver_free(&asked_rx);
    close(wake[0]);
    close(wake[1]);
}

static shmpipe_sender *handlers_tx;

static void sends_from_a_handler(int number) {
    int saved = errno;
    (void)number;
    shmpipe_status status = shmpipe_try_send(handlers_tx, "signal", 6);
    CHECK(status == SHMPIPE_OK || status == SHMPIPE_REENTRANT || status == SHMPIPE_FULL);
    errno = saved;
}

static void a_handler_sends_and_ends_no_wait(void) {
    shmpipe_receiver *rx, *empty;
    shmpipe_sender *tx;
    const void *data;
    size_t len;
    OK(shmpipe_pipe(NULL, &rx, &handlers_tx));
    OK(shmpipe_pipe(NULL, &empty, &tx));
    OK(shmpipe_sender_warm_up(handlers_tx));
    OK(shmpipe_receiver_warm_up(rx));
    struct sigaction action = {.sa_handler = sends_from_a_handler};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    struct itimerval soon = {.it_value = {.tv_usec = 5000}, .it_interval = {.tv_usec = 5000}};
    CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    const int64_t wait = 30 * SHMPIPE_MILLISECOND;
    int64_t before = now_ns();
    GIVES(SHMPIPE_TIMEOUT, shmpipe_recv_timeout(empty, &data, &len, wait));
    CHECK(now_ns() - before >= wait);
    received(rx, "signal");
    struct itimerval never = {0};
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    CHECK(signal(SIGALRM, SIG_IGN) != SIG_ERR); /* one may still be on its way, under valgrind */
    shmpipe_sender_free(&handlers_tx);
    shmpipe_sender_free(&tx);
    shmpipe_receiver_free(&rx);
    shmpipe_receiver_free(&empty);
}

int main(void) {
    RUN(the_ready_ones_of_many_are_found);
    RUN(descriptors_show_what_is_ready);
    RUN(a_hook_ends_a_call);
    RUN(a_handler_sends_and_ends_no_wait);
    return 0;
}

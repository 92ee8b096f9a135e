/* Sending and receiving: order, ends, times, lengths. */
#include "check.h"

#include <pthread.h>
#include <signal.h>

static void messages_come_whole_and_in_order_and_then_the_end(void) {
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    const void *data;
    size_t len;
    OK(shmpipe_pipe(NULL, &rx, &tx));
    pid_t child = forked();
    if (child == 0) {
        OK(shmpipe_send(tx, "one", 3));
        OK(shmpipe_send(tx, NULL, 0));
        OK(shmpipe_send(tx, "three", 5));
        _exit(0);
    }
    shmpipe_sender_free(&tx);
    CHECK(tx == NULL);
    received(rx, "one");
    received(rx, "");
    received(rx, "three");
    GIVES(SHMPIPE_DISCONNECTED, shmpipe_recv(rx, &data, &len));
    CHECK(data == NULL && len == 0 && shmpipe_last_errno() == 0);
    GIVES(SHMPIPE_DISCONNECTED, shmpipe_try_recv(rx, &data, &len));
    ended_well(child);
    shmpipe_receiver_free(&rx);
}

static void an_end_is_shared_by_several_processes(void) {
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    pid_t children[3];
    OK(shmpipe_pipe(NULL, &rx, &tx));
    for (int i = 0; i < 3; i++) {
        children[i] = forked();
        if (children[i] == 0) {
            for (int n = 0; n < 100; n++) {
                int message[2] = {i, n};
                OK(shmpipe_send(tx, message, sizeof message));
            }
            shmpipe_sender_free(&tx);
            shmpipe_receiver_free(&rx);
            _exit(0);
        }
    }
    shmpipe_sender_free(&tx);
    int next[3] = {0};
    int message[2];
    size_t len;
    shmpipe_status status;
    while ((status = shmpipe_recv_into(rx, message, sizeof message, &len)) == SHMPIPE_OK) {
        CHECK(len == sizeof message && message[1] == next[message[0]]++);
    }
    CHECK(status == SHMPIPE_DISCONNECTED);
    for (int i = 0; i < 3; i++) {
        CHECK(next[i] == 100);
        ended_well(children[i]);
    }
    shmpipe_receiver_free(&rx);
}

static void a_broken_pipe_is_a_status_and_no_signal(void) {
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    size_t written;
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR); /* would end the program */
    OK(shmpipe_pipe(NULL, &rx, &tx));
    shmpipe_receiver_free(&rx);
    GIVES(SHMPIPE_DISCONNECTED, shmpipe_send(tx, "x", 1));
    CHECK(shmpipe_last_errno() == EPIPE);
    GIVES(SHMPIPE_DISCONNECTED, shmpipe_send(tx, "", 0));
    GIVES(SHMPIPE_DISCONNECTED, shmpipe_try_send(tx, "x", 1));
    GIVES(SHMPIPE_DISCONNECTED, shmpipe_send_timeout(tx, "x", 1, SHMPIPE_FOREVER));
    GIVES(SHMPIPE_DISCONNECTED, shmpipe_write(tx, "x", 1, &written));
    CHECK(shmpipe_last_errno() == EPIPE);
    shmpipe_sender_free(&tx);
}

static void a_blocked_send_ends_when_the_last_receiver_goes(void) {
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    char bytes[1000] = {0};
    OK(shmpipe_pipe(NULL, &rx, &tx));
    pid_t child = forked();
    if (child == 0) {
        shmpipe_receiver_free(&rx);
        shmpipe_status status;
        while ((status = shmpipe_send(tx, bytes, sizeof bytes)) == SHMPIPE_OK) {
        }
        CHECK(status == SHMPIPE_DISCONNECTED);
        _exit(0);
    }
    const void *data;
    size_t len;
    OK(shmpipe_recv(rx, &data, &len));
    shmpipe_receiver_free(&rx);
    ended_well(child);
    shmpipe_sender_free(&tx);
}

static void time_outs_are_not_before_their_time(void) {
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    const void *data;
    size_t len;
    char bytes[1000] = {0};
    const int64_t wait = 20 * SHMPIPE_MILLISECOND;
    OK(shmpipe_pipe(NULL, &rx, &tx));

    int64_t before = now_ns();
    GIVES(SHMPIPE_TIMEOUT, shmpipe_recv_timeout(rx, &data, &len, wait));
    CHECK(now_ns() - before >= wait && shmpipe_last_errno() == ETIMEDOUT);
    before = now_ns();
    GIVES(SHMPIPE_TIMEOUT, shmpipe_recv_into_timeout(rx, bytes, sizeof bytes, &len, wait));
    CHECK(now_ns() - before >= wait);
    GIVES(SHMPIPE_TIMEOUT, shmpipe_recv_timeout(rx, &data, &len, 0));
    GIVES(SHMPIPE_EMPTY, shmpipe_try_recv(rx, &data, &len));
    CHECK(shmpipe_last_errno() == EAGAIN);
    GIVES(SHMPIPE_EMPTY, shmpipe_try_recv_into(rx, bytes, sizeof bytes, &len));
    bool ready = true;
    before = now_ns();
    OK(shmpipe_poll(rx, wait, &ready));
    CHECK(!ready && now_ns() - before >= wait);

    shmpipe_status status;
    while ((status = shmpipe_try_send(tx, bytes, sizeof bytes)) == SHMPIPE_OK) {
    }
    CHECK(status == SHMPIPE_FULL && shmpipe_last_errno() == EAGAIN);
    before = now_ns();
    GIVES(SHMPIPE_TIMEOUT, shmpipe_send_timeout(tx, bytes, sizeof bytes, wait));
    CHECK(now_ns() - before >= wait);
    OK(shmpipe_poll(rx, SHMPIPE_FOREVER, &ready));
    CHECK(ready);
    OK(shmpipe_recv_timeout(rx, &data, &len, SHMPIPE_FOREVER));
    CHECK(len == sizeof bytes);
    shmpipe_sender_free(&tx);
    shmpipe_receiver_free(&rx);
}

static void lengths_that_do_not_fit_are_refused_with_their_numbers(void) {
    shmpipe_options *options;
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    char small[4];
    size_t len;
    OK(shmpipe_options_new(&options));
    OK(shmpipe_options_max_message(options, 100));
    OK(shmpipe_pipe(options, &rx, &tx));
    shmpipe_options_free(&options);
    char bytes[101] = {0};
    GIVES(SHMPIPE_TOO_LARGE, shmpipe_send(tx, bytes, 101));
    CHECK(strstr(shmpipe_last_error(), "101") != NULL && strstr(shmpipe_last_error(), "100") != NULL);
    OK(shmpipe_send(tx, "seven b", 7));
    GIVES(SHMPIPE_BUFFER_TOO_SMALL, shmpipe_recv_into(rx, small, sizeof small, &len));
    CHECK(len == 7 && strstr(shmpipe_last_error(), "7") != NULL);
    GIVES(SHMPIPE_BUFFER_TOO_SMALL, shmpipe_try_recv_into(rx, small, sizeof small, &len));
    CHECK(len == 7);
    GIVES(SHMPIPE_BUFFER_TOO_SMALL, shmpipe_recv_into_timeout(rx, NULL, 0, &len, SHMPIPE_SECOND));
    CHECK(len == 7);
    received(rx, "seven b");
    OK(shmpipe_receiver_limit_messages(rx, 10));
    OK(shmpipe_send(tx, bytes, 11));
    const void *data;
    GIVES(SHMPIPE_CORRUPTED, shmpipe_recv(rx, &data, &len));
    shmpipe_sender_free(&tx);
    shmpipe_receiver_free(&rx);
}

static void a_message_longer_than_the_pipe_arrives_whole(void) {
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    const void *data;
    size_t len, size = 300000;
    OK(shmpipe_pipe(NULL, &rx, &tx));
    CHECK(shmpipe_sender_capacity(tx) < size);
    pid_t child = forked();
    unsigned char *bytes = malloc(size);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)(i % 251);
    }
    if (child == 0) {
        GIVES(SHMPIPE_TOO_LARGE_AT_ONCE, shmpipe_try_send(tx, bytes, size));
        OK(shmpipe_send(tx, bytes, size));
        OK(shmpipe_send(tx, "next", 4));
        free(bytes);
        _exit(0);
    }
    OK(shmpipe_recv(rx, &data, &len));
    CHECK(len == size && memcmp(data, bytes, size) == 0);

    /* Taken, it outlives its receiver. */
    shmpipe_message *message;
    OK(shmpipe_take_message(rx, &message));
    received(rx, "next");
    shmpipe_receiver_free(&rx);
    CHECK(shmpipe_message_len(message) == size && memcmp(shmpipe_message_data(message), bytes, size) == 0);
    shmpipe_message_free(&message);
    CHECK(message == NULL);
    ended_well(child);
    shmpipe_sender_free(&tx);
    free(bytes);
}

static void the_byte_stream_joins_messages(void) {
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    char bytes[16];
    size_t n, len;
    const void *data;
    OK(shmpipe_pipe(NULL, &rx, &tx));
    OK(shmpipe_write(tx, "abc", 3, &n));
    CHECK(n == 3);
    OK(shmpipe_write(tx, "defgh", 5, &n));
    OK(shmpipe_read(rx, bytes, 4, &n));
    CHECK(n == 4 && memcmp(bytes, "abcd", 4) == 0);
    OK(shmpipe_recv(rx, &data, &len)); /* the rest of the second */
    CHECK(len == 4 && memcmp(data, "efgh", 4) == 0);
    shmpipe_sender_free(&tx);
    OK(shmpipe_read(rx, bytes, sizeof bytes, &n));
    CHECK(n == 0);
    shmpipe_receiver_free(&rx);
}

static void *sends_hundred(void *tx) {
    shmpipe_sender *sender = tx;
    for (int i = 0; i < 100; i++) {
        OK(shmpipe_send(sender, &i, sizeof i));
    }
    shmpipe_sender_free(&sender);
    return NULL;
}

static void threads_have_clones(void) {
    shmpipe_receiver *rx, *second, *stranger;
    shmpipe_sender *tx, *clone, *other;
    pthread_t threads[2];
    OK(shmpipe_pipe(NULL, &rx, &tx));
    OK(shmpipe_sender_clone(tx, &clone));
    OK(shmpipe_receiver_clone(rx, &second));
    CHECK(shmpipe_sender_same_pipe(tx, clone) && shmpipe_receiver_same_pipe(rx, second));
    OK(shmpipe_pipe(NULL, &stranger, &other));
    CHECK(!shmpipe_receiver_same_pipe(rx, stranger) && !shmpipe_sender_same_pipe(tx, other));
    CHECK(pthread_create(&threads[0], NULL, sends_hundred, tx) == 0);
    CHECK(pthread_create(&threads[1], NULL, sends_hundred, clone) == 0);
    int count = 0, value;
    size_t len;
    while (shmpipe_recv_into(count % 2 ? rx : second, &value, sizeof value, &len) == SHMPIPE_OK) {
        count++;
    }
    CHECK(count == 200);
    CHECK(pthread_join(threads[0], NULL) == 0 && pthread_join(threads[1], NULL) == 0);
    shmpipe_receiver_free(&rx);
    shmpipe_receiver_free(&second);
    shmpipe_receiver_free(&stranger);
    shmpipe_sender_free(&other);
}

static void a_closed_end_is_gone_whatever_handles_there_are(void) {
    shmpipe_receiver *rx;
    shmpipe_sender *tx, *clone;
    const void *data;
    size_t len;
    OK(shmpipe_pipe(NULL, &rx, &tx));
    OK(shmpipe_sender_clone(tx, &clone));
    OK(shmpipe_send(clone, "last", 4));
    OK(shmpipe_sender_close(tx));
    OK(shmpipe_sender_close(tx));
    received(rx, "last");
    GIVES(SHMPIPE_DISCONNECTED, shmpipe_recv(rx, &data, &len));
    GIVES(SHMPIPE_IO, shmpipe_send(clone, "", 0));
    shmpipe_sender_free(&tx);
    shmpipe_sender_free(&clone);

    OK(shmpipe_receiver_close(rx));
    GIVES(SHMPIPE_IO, shmpipe_recv(rx, &data, &len));
    shmpipe_receiver_free(&rx);
}

static void a_connection_goes_both_ways_by_its_halves(void) {
    shmpipe_connection *left, *right;
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    const void *data;
    size_t len;
    OK(shmpipe_duplex(NULL, &left, &right));
    OK(shmpipe_send(shmpipe_connection_sender(left), "ping", 4));
    received(shmpipe_connection_receiver(right), "ping");
    OK(shmpipe_send(shmpipe_connection_sender(right), "pong", 4));
    received(shmpipe_connection_receiver(left), "pong");

    /* A half is not freed by itself. */
    shmpipe_sender *half = shmpipe_connection_sender(left);
    shmpipe_sender_free(&half);
    CHECK(half == NULL);
    OK(shmpipe_send(shmpipe_connection_sender(left), "still", 5));
    received(shmpipe_connection_receiver(right), "still");

    OK(shmpipe_connection_split(&left, &rx, &tx));
    CHECK(left == NULL);
    shmpipe_sender_free(&tx);
    GIVES(SHMPIPE_DISCONNECTED, shmpipe_recv(shmpipe_connection_receiver(right), &data, &len));
    OK(shmpipe_send(shmpipe_connection_sender(right), "open", 4));
    shmpipe_connection_free(&right);
    CHECK(right == NULL);
    received(rx, "open");
    GIVES(SHMPIPE_DISCONNECTED, shmpipe_recv(rx, &data, &len));
    shmpipe_receiver_free(&rx);
}

static void a_forgotten_sender_is_found(void) {
    shmpipe_options *options;
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    const void *data;
    size_t len, count = 2;
    shmpipe_holder holders[2];
    OK(shmpipe_options_new(&options));
    OK(shmpipe_options_detect_deadlock(options, true));
    OK(shmpipe_pipe(options, &rx, &tx));
    shmpipe_options_free(&options);
    GIVES(SHMPIPE_DEADLOCK, shmpipe_recv(rx, &data, &len));
    CHECK(shmpipe_last_errno() == EDEADLK);

    OK(shmpipe_receiver_holders(rx, holders, &count));
    CHECK(count == 1 && holders[0].id == (uint32_t)getpid() && holders[0].name[0] != 0);
    count = 0;
    OK(shmpipe_sender_holders(tx, NULL, &count));
    CHECK(count == 1);
    shmpipe_sender_free(&tx);
    OK(shmpipe_receiver_holders(rx, holders, &count));
    CHECK(count == 0);
    shmpipe_receiver_free(&rx);
}

int main(void) {
    RUN(messages_come_whole_and_in_order_and_then_the_end);
    RUN(an_end_is_shared_by_several_processes);
    RUN(a_broken_pipe_is_a_status_and_no_signal);
    RUN(a_blocked_send_ends_when_the_last_receiver_goes);
    RUN(time_outs_are_not_before_their_time);
    RUN(lengths_that_do_not_fit_are_refused_with_their_numbers);
    RUN(a_message_longer_than_the_pipe_arrives_whole);
    RUN(the_byte_stream_joins_messages);
    RUN(a_forgotten_sender_is_found); /* before there are threads */
    RUN(threads_have_clones);
    RUN(a_closed_end_is_gone_whatever_handles_there_are);
    RUN(a_connection_goes_both_ways_by_its_halves);
    return 0;
}

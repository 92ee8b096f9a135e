/* Messages in place, batches, and messages of pieces. */
#include "check.h"

static void open_pipe(shmpipe_receiver **rx, shmpipe_sender **tx) {
    OK(shmpipe_pipe(NULL, rx, tx));
}

static void a_slot_is_written_and_sent(void) {
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    shmpipe_slot *slot, *again;
    open_pipe(&rx, &tx);
    OK(shmpipe_reserve(tx, 10, &slot));
    CHECK(shmpipe_slot_len(slot) == 10 && shmpipe_slot_is_in_place(slot) == !is_kernel());
    OK(shmpipe_slot_write_at(slot, 0, "head", 4));
    void *memory;
    OK(shmpipe_slot_data(slot, &memory));
    memcpy((char *)memory + 4, ": body", 6);
    GIVES(SHMPIPE_INVALID, shmpipe_slot_write_at(slot, 5, "123456", 6));
    GIVES(SHMPIPE_INVALID, shmpipe_slot_write_at(slot, SIZE_MAX, "1", 1));

    /* The sender is lent to the slot. */
    GIVES(SHMPIPE_LENT, shmpipe_send(tx, "x", 1));
    CHECK(shmpipe_last_errno() == EBUSY);
    GIVES(SHMPIPE_LENT, shmpipe_reserve(tx, 1, &again));
    CHECK(again == NULL && shmpipe_sender_capacity(tx) == 65536);
    OK(shmpipe_slot_commit(slot));
    received(rx, "head: body");

    /* A closed one is found out, as long as its sender is there. */
    GIVES(SHMPIPE_INVALID, shmpipe_slot_commit(slot));
    GIVES(SHMPIPE_INVALID, shmpipe_slot_write_at(slot, 0, "x", 1));
    CHECK(shmpipe_slot_len(slot) == 0 && !shmpipe_slot_is_in_place(slot));
    shmpipe_slot_discard(slot);

    OK(shmpipe_reserve(tx, 3, &slot));
    shmpipe_slot_discard(slot);
    OK(shmpipe_send(tx, "after", 5));
    received(rx, "after");

    /* One that is open goes with its sender, and sends nothing. */
    OK(shmpipe_reserve(tx, 3, &slot));
    shmpipe_sender_free(&tx);
    const void *data;
    size_t len;
    GIVES(SHMPIPE_DISCONNECTED, shmpipe_recv(rx, &data, &len));
    shmpipe_receiver_free(&rx);
}

static void a_view_is_read_and_released(void) {
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    shmpipe_view *view, *none;
    char bytes[16];
    const void *data;
    size_t len;
    open_pipe(&rx, &tx);
    GIVES(SHMPIPE_EMPTY, shmpipe_try_recv_in_place(rx, &view));
    CHECK(view == NULL);
    GIVES(SHMPIPE_TIMEOUT, shmpipe_recv_in_place_timeout(rx, &view, SHMPIPE_MILLISECOND));
    OK(shmpipe_send(tx, "head: body", 10));
    OK(shmpipe_send(tx, "next", 4));
    OK(shmpipe_recv_in_place(rx, &view));
    CHECK(shmpipe_view_len(view) == 10 && shmpipe_view_is_in_place(view) == !is_kernel());
    OK(shmpipe_view_read_at(view, 6, bytes, 4));
    CHECK(memcmp(bytes, "body", 4) == 0);
    OK(shmpipe_view_data(view, &data));
    CHECK(memcmp(data, "head: body", 10) == 0);
    GIVES(SHMPIPE_INVALID, shmpipe_view_read_at(view, 7, bytes, 4));
    GIVES(SHMPIPE_LENT, shmpipe_recv(rx, &data, &len));
    GIVES(SHMPIPE_LENT, shmpipe_try_recv_in_place(rx, &none));
    shmpipe_view_release(view);
    GIVES(SHMPIPE_INVALID, shmpipe_view_read_at(view, 0, bytes, 1));
    CHECK(shmpipe_view_len(view) == 0);
    shmpipe_view_release(view);
    received(rx, "next");

    /* One that is open goes with its receiver. */
    OK(shmpipe_send(tx, "last", 4));
    OK(shmpipe_recv_in_place(rx, &view));
    shmpipe_receiver_free(&rx);
    GIVES(SHMPIPE_DISCONNECTED, shmpipe_send(tx, "x", 1));
    shmpipe_sender_free(&tx);
}

static void a_childs_copy_of_a_loan_does_no_harm(void) {
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    shmpipe_slot *slot;
    shmpipe_view *view;
    if (is_kernel()) {
        return; /* its loans are private memory */
    }
    open_pipe(&rx, &tx);
    OK(shmpipe_reserve(tx, 4, &slot));
    OK(shmpipe_slot_write_at(slot, 0, "mine", 4));
    pid_t child = forked();
    if (child == 0) {
        OK(shmpipe_slot_write_at(slot, 0, "his!", 4));
        GIVES(SHMPIPE_IO, shmpipe_slot_commit(slot));
        CHECK(shmpipe_last_errno() == EOPNOTSUPP);
        _exit(0);
    }
    ended_well(child);
    OK(shmpipe_slot_commit(slot));
    OK(shmpipe_recv_in_place(rx, &view));

    int seen[2], go[2];
    char bytes[4], byte;
    CHECK(pipe(seen) == 0 && pipe(go) == 0);
    child = forked();
    if (child == 0) {
        OK(shmpipe_view_read_at(view, 0, bytes, 4));
        CHECK(memcmp(bytes, "mine", 4) == 0);
        close(go[1]);
        CHECK(write(seen[1], "x", 1) == 1);
        CHECK(read(go[0], &byte, 1) == 0); /* until the parent has released its view */
        int kept = dup(2);
        close(2); /* where the library says what it gave up */
        shmpipe_status status = shmpipe_view_read_at(view, 0, bytes, 4);
        CHECK(dup2(kept, 2) == 2);
        GIVES(SHMPIPE_PANICKED, status);
        CHECK(strstr(shmpipe_last_error(), "forked") != NULL);
        _exit(0);
    }
    CHECK(read(seen[0], &byte, 1) == 1);
    shmpipe_view_release(view);
    close(go[0]);
    close(go[1]);
    ended_well(child);
    close(seen[0]);
    close(seen[1]);
    shmpipe_receiver_free(&rx);
    shmpipe_sender_free(&tx);
}

static void room_for_messages_in_place_can_be_asked_for(void) {
    shmpipe_options *options;
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    shmpipe_slot *slot;
    shmpipe_view *view;
    OK(shmpipe_options_new(&options));
    OK(shmpipe_options_in_place(options, 100000));
    if (is_kernel()) {
        GIVES(SHMPIPE_IO, shmpipe_pipe(options, &rx, &tx));
        CHECK(rx == NULL && tx == NULL && shmpipe_last_errno() == EOPNOTSUPP);
        shmpipe_options_free(&options);
        return;
    }
    OK(shmpipe_pipe(options, &rx, &tx));
    shmpipe_options_free(&options);
    CHECK(shmpipe_receiver_capacity(rx) == 1 << 20);
    OK(shmpipe_reserve(tx, 100000, &slot));
    CHECK(shmpipe_slot_is_in_place(slot));
    OK(shmpipe_slot_commit(slot));
    OK(shmpipe_recv_in_place(rx, &view));
    CHECK(shmpipe_view_is_in_place(view) && shmpipe_view_len(view) == 100000);
    shmpipe_view_release(view);
    shmpipe_sender_free(&tx);
    shmpipe_receiver_free(&rx);
}

static struct iovec piece(const char *text) {
    struct iovec piece = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    return piece;
}

static void pieces_are_one_message(void) {
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    open_pipe(&rx, &tx);
    struct iovec pieces[] = {piece("head: "), {.iov_base = NULL, .iov_len = 0}, piece("body")};
    OK(shmpipe_send_vectored(tx, pieces, 3));
    received(rx, "head: body");
    OK(shmpipe_try_send_vectored(tx, pieces, 1));
    received(rx, "head: ");
    OK(shmpipe_send_vectored(tx, NULL, 0));
    received(rx, "");
    struct iovec many[40];
    for (int i = 0; i < 40; i++) {
        many[i] = piece("ab");
    }
    const void *data;
    size_t len;
    OK(shmpipe_send_vectored(tx, many, 40));
    OK(shmpipe_recv(rx, &data, &len));
    CHECK(len == 80 && memcmp(data, "abababab", 8) == 0);
    pieces[1].iov_len = 1;
    GIVES(SHMPIPE_INVALID, shmpipe_send_vectored(tx, pieces, 3));
    shmpipe_sender_free(&tx);
    shmpipe_receiver_free(&rx);
}

static void a_batch_is_many_messages(void) {
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    const struct iovec *messages;
    size_t count, sent = 99;
    open_pipe(&rx, &tx);
    GIVES(SHMPIPE_EMPTY, shmpipe_try_recv_batch(rx, &messages, &count));
    CHECK(messages == NULL && count == 0);
    GIVES(SHMPIPE_TIMEOUT, shmpipe_recv_batch_timeout(rx, &messages, &count, SHMPIPE_MILLISECOND));
    struct iovec three[] = {piece("one"), piece(""), piece("three")};
    OK(shmpipe_send_batch(tx, three, 3, &sent));
    CHECK(sent == 3);
    OK(shmpipe_recv_batch(rx, &messages, &count));
    CHECK(count == 3);
    for (int i = 0; i < 3; i++) {
        CHECK(messages[i].iov_len == three[i].iov_len);
        CHECK(memcmp(messages[i].iov_base, three[i].iov_base, three[i].iov_len) == 0);
    }
    OK(shmpipe_send_batch(tx, three, 3, NULL));
    OK(shmpipe_send_batch(tx, NULL, 0, &sent));
    CHECK(sent == 0);
    shmpipe_receiver_free(&rx);
    GIVES(SHMPIPE_DISCONNECTED, shmpipe_send_batch(tx, three, 3, &sent));
    CHECK(sent == 0);
    shmpipe_sender_free(&tx);
}

int main(void) {
    RUN(a_slot_is_written_and_sent);
    RUN(a_view_is_read_and_released);
    RUN(a_childs_copy_of_a_loan_does_no_harm);
    RUN(room_for_messages_in_place_can_be_asked_for);
    RUN(pieces_are_one_message);
    RUN(a_batch_is_many_messages);
    return 0;
}

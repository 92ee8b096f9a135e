/* What a caller can do wrong gives a status and a text, and harms nothing. */
#include "check.h"

#define INVALID(call) GIVES(SHMPIPE_INVALID, call)

static const void *data;
static size_t len;
static char bytes[8];
static bool flag;
static int number;

static void every_call_takes_null_for_a_handle(void) {
    shmpipe_sender *tx = NULL;
    shmpipe_receiver *rx = NULL;
    shmpipe_connection *connection = NULL;
    shmpipe_message *message = NULL;
    shmpipe_slot *slot = NULL;
    shmpipe_view *view = NULL;
    shmpipe_inheritance *inheritance = NULL;
    shmpipe_options *options = NULL;
    const struct iovec *messages;
    char *const *envp;
    const int *fds;
    INVALID(shmpipe_send(NULL, "x", 1));
    INVALID(shmpipe_try_send(NULL, "x", 1));
    INVALID(shmpipe_send_timeout(NULL, "x", 1, 0));
    INVALID(shmpipe_send_vectored(NULL, NULL, 0));
    INVALID(shmpipe_try_send_vectored(NULL, NULL, 0));
    INVALID(shmpipe_send_batch(NULL, NULL, 0, NULL));
    INVALID(shmpipe_write(NULL, "x", 1, &len));
    INVALID(shmpipe_reserve(NULL, 1, &slot));
    INVALID(shmpipe_sender_clone(NULL, &tx));
    INVALID(shmpipe_sender_fd(NULL, &number));
    INVALID(shmpipe_sender_fds(NULL, NULL, &len));
    INVALID(shmpipe_sender_holders(NULL, NULL, &len));
    INVALID(shmpipe_sender_prefault(NULL));
    INVALID(shmpipe_sender_warm_up(NULL));
    INVALID(shmpipe_send_with_fds(NULL, "x", 1, NULL, 0, 0));
    INVALID(shmpipe_try_send_with_fds(NULL, "x", 1, NULL, 0));
    INVALID(shmpipe_recv(NULL, &data, &len));
    INVALID(shmpipe_try_recv(NULL, &data, &len));
    INVALID(shmpipe_recv_timeout(NULL, &data, &len, 0));
    INVALID(shmpipe_take_message(NULL, &message));
    INVALID(shmpipe_recv_into(NULL, bytes, 8, &len));
    INVALID(shmpipe_try_recv_into(NULL, bytes, 8, &len));
    INVALID(shmpipe_recv_into_timeout(NULL, bytes, 8, &len, 0));
    INVALID(shmpipe_recv_batch(NULL, &messages, &len));
    INVALID(shmpipe_try_recv_batch(NULL, &messages, &len));
    INVALID(shmpipe_recv_batch_timeout(NULL, &messages, &len, 0));
    INVALID(shmpipe_recv_in_place(NULL, &view));
    INVALID(shmpipe_try_recv_in_place(NULL, &view));
    INVALID(shmpipe_recv_in_place_timeout(NULL, &view, 0));
    INVALID(shmpipe_read(NULL, bytes, 8, &len));
    INVALID(shmpipe_poll(NULL, 0, &flag));
    INVALID(shmpipe_receiver_limit_messages(NULL, 1));
    INVALID(shmpipe_receiver_clone(NULL, &rx));
    INVALID(shmpipe_receiver_fd(NULL, &number));
    INVALID(shmpipe_receiver_fds(NULL, NULL, &len));
    INVALID(shmpipe_receiver_holders(NULL, NULL, &len));
    INVALID(shmpipe_receiver_prefault(NULL));
    INVALID(shmpipe_receiver_warm_up(NULL));
    INVALID(shmpipe_recv_with_fds(NULL, &data, &len, NULL, &len, 0));
    INVALID(shmpipe_try_recv_with_fds(NULL, &data, &len, NULL, &len));
    INVALID(shmpipe_slot_write_at(NULL, 0, "x", 1));
    INVALID(shmpipe_slot_commit(NULL));
    INVALID(shmpipe_view_read_at(NULL, 0, bytes, 1));
    INVALID(shmpipe_view_data(NULL, &data));
    INVALID(shmpipe_connection_split(NULL, &rx, &tx));
    INVALID(shmpipe_connection_split(&connection, &rx, &tx));
    INVALID(shmpipe_connection_fds(NULL, NULL, &len));
    INVALID(shmpipe_sender_inherit(&tx, NULL, "X"));
    OK(shmpipe_inheritance_new(&inheritance));
    INVALID(shmpipe_sender_inherit(NULL, inheritance, "X"));
    INVALID(shmpipe_sender_inherit(&tx, inheritance, "X"));
    INVALID(shmpipe_receiver_inherit(&rx, inheritance, NULL));
    INVALID(shmpipe_receiver_inherit(&rx, inheritance, "X"));
    INVALID(shmpipe_connection_inherit(&connection, inheritance, "X"));
    shmpipe_inheritance_free(&inheritance);
    INVALID(shmpipe_inheritance_envp(NULL, &envp));
    INVALID(shmpipe_inheritance_fds(NULL, &fds, &len));
    INVALID(shmpipe_inheritance_keep(NULL));
    INVALID(shmpipe_options_capacity(NULL, 1));
    INVALID(shmpipe_options_backend(NULL, SHMPIPE_KERNEL));
    INVALID(shmpipe_options_label(NULL, "x"));
    INVALID(shmpipe_sender_from_env(NULL, &tx));
    INVALID(shmpipe_sender_from_fds(NULL, 2, &tx));

    CHECK(shmpipe_sender_capacity(NULL) == 0 && shmpipe_receiver_capacity(NULL) == 0);
    CHECK(shmpipe_sender_backend(NULL) == SHMPIPE_NO_BACKEND);
    CHECK(shmpipe_receiver_backend(NULL) == SHMPIPE_NO_BACKEND);
    CHECK(shmpipe_sender_fallback_reason(NULL) == NULL && shmpipe_receiver_fallback_reason(NULL) == NULL);
    CHECK(!shmpipe_sender_same_pipe(NULL, NULL) && !shmpipe_receiver_same_pipe(NULL, NULL));
    CHECK(shmpipe_connection_receiver(NULL) == NULL && shmpipe_connection_sender(NULL) == NULL);
    CHECK(shmpipe_message_data(NULL) == NULL && shmpipe_message_len(NULL) == 0);
    CHECK(shmpipe_slot_len(NULL) == 0 && !shmpipe_slot_is_in_place(NULL));
    CHECK(shmpipe_view_len(NULL) == 0 && !shmpipe_view_is_in_place(NULL));

    shmpipe_sender_free(&tx);
    shmpipe_sender_free(NULL);
    shmpipe_receiver_free(&rx);
    shmpipe_receiver_free(NULL);
    shmpipe_connection_free(&connection);
    shmpipe_connection_free(NULL);
    shmpipe_message_free(&message);
    shmpipe_message_free(NULL);
    shmpipe_options_free(&options);
    shmpipe_options_free(NULL);
    shmpipe_inheritance_free(NULL);
    shmpipe_slot_discard(NULL);
    shmpipe_view_release(NULL);
}

static void a_missing_result_or_memory_loses_nothing(void) {
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    INVALID(shmpipe_pipe(NULL, NULL, &tx));
    INVALID(shmpipe_pipe(NULL, &rx, NULL));
    CHECK(rx == NULL);
    INVALID(shmpipe_duplex(NULL, NULL, NULL));
    INVALID(shmpipe_options_new(NULL));
    INVALID(shmpipe_inheritance_new(NULL));
    OK(shmpipe_pipe(NULL, &rx, &tx));
    INVALID(shmpipe_send(tx, NULL, 1));
    CHECK(strcmp(shmpipe_last_error(), "NULL with a length of 1") == 0 && shmpipe_last_errno() == EINVAL);
    INVALID(shmpipe_send(tx, "x", SIZE_MAX));
    INVALID(shmpipe_send_vectored(tx, NULL, 1));
    INVALID(shmpipe_send_batch(tx, NULL, SIZE_MAX, &len));
    shmpipe_wait_item item = {.receiver = rx};
    INVALID(shmpipe_wait(NULL, 1, 0, NULL));
    INVALID(shmpipe_wait(&item, SIZE_MAX, 0, &len));
    CHECK(len == 0);
    OK(shmpipe_send(tx, "kept", 4));
    INVALID(shmpipe_recv(rx, NULL, &len));
    INVALID(shmpipe_recv(rx, &data, NULL));
    INVALID(shmpipe_recv_into(rx, NULL, 4, &len));
    INVALID(shmpipe_recv_into(rx, bytes, 8, NULL));
    INVALID(shmpipe_recv_batch(rx, NULL, &len));
    INVALID(shmpipe_recv_in_place(rx, NULL));
    INVALID(shmpipe_poll(rx, 0, NULL));
    size_t places = 3;
    INVALID(shmpipe_recv_with_fds(rx, &data, &len, NULL, &places, 0));
    CHECK(places == 0);
    INVALID(shmpipe_receiver_holders(rx, NULL, NULL));
    received(rx, "kept");

    shmpipe_message *message, *none;
    OK(shmpipe_send(tx, "taken", 5));
    received(rx, "taken");
    shmpipe_sender_free(&tx);
    INVALID(shmpipe_take_message(rx, NULL));
    OK(shmpipe_take_message(rx, &message));
    INVALID(shmpipe_take_message(rx, &none));
    CHECK(none == NULL);
    shmpipe_message_free(&message);
    shmpipe_receiver_free(&rx);
}

static void a_handle_that_was_freed_is_null(void) {
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    OK(shmpipe_pipe(NULL, &rx, &tx));
    shmpipe_sender_free(&tx);
    shmpipe_sender_free(&tx);
    INVALID(shmpipe_send(tx, "x", 1));
    CHECK(strcmp(shmpipe_last_error(), "tx is NULL") == 0);
    shmpipe_receiver_free(&rx);
    shmpipe_receiver_free(&rx);
}

static void options_are_checked(void) {
    shmpipe_options *options;
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    OK(shmpipe_options_new(&options));
    INVALID(shmpipe_options_backend(options, 0));
    INVALID(shmpipe_options_backend(options, 77));
    CHECK(strstr(shmpipe_last_error(), "77") != NULL);
    INVALID(shmpipe_options_spin(options, -2));
    INVALID(shmpipe_options_label(options, NULL));
    INVALID(shmpipe_options_label(options, "\xff"));
    OK(shmpipe_options_capacity(options, 0));
    INVALID(shmpipe_pipe(options, &rx, &tx));
    CHECK(strcmp(shmpipe_last_error(), "a capacity of 0 bytes cannot hold a message") == 0);
    OK(shmpipe_options_capacity(options, 100000));
    OK(shmpipe_options_label(options, "a label"));
    OK(shmpipe_options_spin(options, SHMPIPE_SPIN_ADAPTIVE));
    OK(shmpipe_options_spin(options, 0));
    OK(shmpipe_options_spin(options, 5000));
    OK(shmpipe_options_prefault(options, false));
    OK(shmpipe_options_huge_pages(options, false));
    OK(shmpipe_options_exclude_from_core_dumps(options, true));
    OK(shmpipe_options_backend(options, SHMPIPE_KERNEL));
    OK(shmpipe_pipe(options, &rx, &tx));
    CHECK(shmpipe_sender_backend(tx) == SHMPIPE_KERNEL && shmpipe_receiver_capacity(rx) == 131072);
    CHECK(shmpipe_sender_fallback_reason(tx) == NULL);
    OK(shmpipe_sender_prefault(tx));
    OK(shmpipe_receiver_prefault(rx));
    shmpipe_sender_free(&tx);
    shmpipe_receiver_free(&rx);
    shmpipe_options_free(&options);
    CHECK(options == NULL);
}

static void a_backend_that_the_environment_misnames_is_an_error(void) {
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    const char *set = getenv("SHMPIPE_BACKEND");
    char kept[32];
    snprintf(kept, sizeof kept, "%s", set ? set : "");
    CHECK(setenv("SHMPIPE_BACKEND", "carrier pigeon", 1) == 0);
    INVALID(shmpipe_pipe(NULL, &rx, &tx));
    CHECK(rx == NULL && tx == NULL && strstr(shmpipe_last_error(), "carrier pigeon") != NULL);
    CHECK(setenv("SHMPIPE_BACKEND", kept, 1) == 0);
}

static void every_status_has_a_text_of_its_own(void) {
    for (int one = SHMPIPE_OK; one <= SHMPIPE_PANICKED; one++) {
        CHECK(shmpipe_strerror(one)[0] != 0);
        for (int other = SHMPIPE_OK; other < one; other++) {
            CHECK(strcmp(shmpipe_strerror(one), shmpipe_strerror(other)) != 0);
        }
        CHECK(strcmp(shmpipe_strerror(one), shmpipe_strerror(-1)) != 0);
    }
    CHECK(strcmp(shmpipe_strerror(-1), shmpipe_strerror(1000)) == 0);
    CHECK(shmpipe_version()[0] != 0);
}

int main(void) {
    CHECK(shmpipe_last_error()[0] == 0 && shmpipe_last_errno() == 0);
    RUN(every_call_takes_null_for_a_handle);
    RUN(a_missing_result_or_memory_loses_nothing);
    RUN(a_handle_that_was_freed_is_null);
    RUN(options_are_checked);
    RUN(a_backend_that_the_environment_misnames_is_an_error);
    RUN(every_status_has_a_text_of_its_own);
    return 0;
}

/* A forked child sends, its parent receives until end-of-file.
 *
 *     cc -o hello hello.c $(pkg-config --cflags --libs shmpipe)
 */
#include <shmpipe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(shmpipe_status status) {
    if (status != SHMPIPE_OK) {
        fprintf(stderr, "hello: %s\n", shmpipe_last_error());
        exit(1);
    }
}

int main(void) {
    shmpipe_receiver *rx;
    shmpipe_sender *tx;
    check(shmpipe_pipe(NULL, &rx, &tx));

    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        return 1;
    }
    if (child == 0) {
        const char *words[] = {"hello", "from", "the child"};
        for (int i = 0; i < 3; i++) {
            check(shmpipe_send(tx, words[i], strlen(words[i])));
        }
        shmpipe_sender_free(&tx);
        shmpipe_receiver_free(&rx);
        return 0;
    }
    shmpipe_sender_free(&tx); /* the child's copy is now the only sender */

    const void *data;
    size_t len;
    shmpipe_status status;
    while ((status = shmpipe_recv(rx, &data, &len)) == SHMPIPE_OK) {
        printf("%.*s\n", (int)len, (const char *)data);
    }
    if (status != SHMPIPE_DISCONNECTED) {
        check(status);
    }
    puts("the child has exited: end-of-file");
    shmpipe_receiver_free(&rx);
    int outcome;
    return waitpid(child, &outcome, 0) == child && WIFEXITED(outcome) ? WEXITSTATUS(outcome) : 1;
}

/**
 * shmpipe: a pipe between processes with the semantics of pipe(2) and the speed of shared memory.
 * For 64-bit little-endian Linux. MIT or Apache-2.0.
 *
 *     #include <shmpipe.h>
 *     #include <stdio.h>
 *     #include <unistd.h>
 *
 *     int main(void) {
 *         shmpipe_receiver *rx;
 *         shmpipe_sender *tx;
 *         const void *data;
 *         size_t len;
 *         if (shmpipe_pipe(NULL, &rx, &tx) != SHMPIPE_OK) {
 *             fprintf(stderr, "%s\n", shmpipe_last_error());
 *             return 1;
 *         }
 *         if (fork() == 0) {
 *             return shmpipe_send(tx, "hello", 5) != SHMPIPE_OK;
 *         }
 *         shmpipe_sender_free(&tx); // the child's copy is now the only sender
 *         while (shmpipe_recv(rx, &data, &len) == SHMPIPE_OK) {
 *             printf("%.*s\n", (int)len, (const char *)data);
 *         }
 *         shmpipe_receiver_free(&rx);
 *     }
 *
 *     cc hello.c $(pkg-config --cflags --libs shmpipe)
 *
 * Contents.
 *   make            shmpipe_pipe, shmpipe_duplex; shmpipe_options_*
 *   send            shmpipe_send, _try_send, _send_timeout, _send_vectored, _send_batch, _write
 *   receive         shmpipe_recv, _try_recv, _recv_timeout, _recv_into, _recv_batch, _read,
 *                   _take_message; of _recv_into and _recv_batch too the forms _try_... and ..._timeout
 *   without a copy  shmpipe_reserve and shmpipe_slot_*; shmpipe_recv_in_place and shmpipe_view_*
 *   wait            shmpipe_poll, shmpipe_wait; shmpipe_receiver_fd, shmpipe_sender_fd for event loops
 *   share           shmpipe_*_clone for threads; fork(2) by itself
 *   two-way         shmpipe_connection_receiver, _sender, _split
 *   hand over       shmpipe_*_inherit and _from_env; shmpipe_*_fds and _from_fds; _send_with_fds
 *   look            shmpipe_*_holders, _backend, _capacity
 *   end             shmpipe_*_free; shmpipe_*_close, whatever handles there are
 *
 * Words. An end is what a process holds of a pipe: a sender or a receiver; a connection is both, for a
 * pipe in each direction. A holder is a process that has an end. A message is the bytes of one send,
 * and is received whole, by one receiver. End-of-file comes when no holder of a sender is left
 * anywhere, in any process, and after all messages; a broken pipe when no holder of a receiver is.
 *
 * Structs. A message is bytes, and those that a call lends have no alignment that is promised. Copy a
 * struct out by memcpy(3), or receive it into one: shmpipe_recv_into(rx, &job, sizeof job, &len). Check
 * the length. Padding is sent as it is, so zero a struct with padding before it is filled.
 *
 * Errors. Calls that can fail return a shmpipe_status, SHMPIPE_OK (0) for success, and hand out
 * everything else through their last arguments. shmpipe_last_error() then has a text of what failed,
 * with the offending number, and shmpipe_last_errno() a number of errno(3), for each thread by itself.
 * shmpipe_strerror() has a text for each status. Each function lists what is peculiar to it. A status
 * without an explanation there is explained at shmpipe_status. No signal is raised, SIGPIPE included,
 * and no call ends or exits the process.
 *
 * Arguments. A NULL handle, or a NULL for a result, is SHMPIPE_INVALID and does nothing. So is NULL for
 * bytes, unless there are 0 of them. What a call hands out is NULL, 0 or -1 where it fails, unless it
 * says otherwise. So a variable that still has a handle is no place for another one: that would be lost.
 *
 * Ownership. Handles are made by this library and freed by the function that their maker names, once.
 * That function, and every other that takes a handle, gets a pointer to it and sets it to NULL. So a
 * second one of them, and every later call through the same variable, is harmless. A copy of the
 * variable is not reset: using it afterwards is as undefined as after free(3). Memory that a call lends
 * is not freed; its function says how long it stays. Everything of a process that ends is closed by the
 * system: end-of-file and broken pipe come without a free.
 *
 * Threads. A handle is used by one thread at a time, in all calls that name it so. Which thread that is
 * may change. Each thread takes a clone of its own (shmpipe_sender_clone(), shmpipe_receiver_clone()),
 * or several share a handle under a mutex of theirs. Different handles, clones of one end among them,
 * are independent. A thread is not cancelled (pthread_cancel(3)) inside a call, and no signal handler
 * leaves one by longjmp(3).
 *
 * Time. Lengths of time are nanoseconds in an int64_t. Negative is for ever (SHMPIPE_FOREVER), and 0
 * does not wait: `5 * SHMPIPE_MILLISECOND`. A signal lengthens and ends none.
 *
 * fork(2). Parent and child both have all ends, and may use them at once. Each frees in its process
 * what it does not use, first of all the sender in the process that receives: end-of-file comes when
 * the last sender is gone, and a copy in the receiver's own process counts. A child of a process with
 * several threads may, by the rules of fork(2), only call what is async-signal-safe until it executes a
 * program: of this library that is shmpipe_inheritance_keep(). A slot or a view belongs to the process
 * that made it. vfork(2) children call nothing.
 *
 * execve(2). All descriptors are close-on-exec. shmpipe_sender_inherit() and its like hand an end to a
 * program, in C or in Rust.
 *
 * Signal handlers. A handler may call shmpipe_send(), shmpipe_try_send(), shmpipe_send_timeout() with
 * messages of up to an eighth of the capacity, shmpipe_recv_into() and its like, and shmpipe_poll(),
 * through shared memory, with handles that nobody else uses meanwhile, warmed up before
 * (shmpipe_sender_warm_up()). It saves and restores errno, expects SHMPIPE_REENTRANT at any moment, and
 * overwrites its thread's shmpipe_last_error(). Everything else may allocate and is for ordinary code.
 *
 * Names that begin with shmpipe_ or SHMPIPE_ are reserved. Before version 1.0 a new minor version may
 * change what there is, and has another soname.
 */

#ifndef SHMPIPE_H
#define SHMPIPE_H

/* Made by cbindgen of the sources in capi/src, and not to be changed by hand. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/** A length of time without an end, for every call that has one. Any negative number is. */
#define SHMPIPE_FOREVER INT64_C(-1)

/** A millisecond, as all lengths of time are given. */
#define SHMPIPE_MILLISECOND INT64_C(1000000)

/** A second, as all lengths of time are given. */
#define SHMPIPE_SECOND INT64_C(1000000000)

/** A blocked call looks for as long as it has paid lately: the default of shmpipe_options_spin(). */
#define SHMPIPE_SPIN_ADAPTIVE INT64_C(-1)

/**
 * Most descriptors that an end is made of.
 */
#define SHMPIPE_MAX_FDS 6

/**
 * Most descriptors that a message carries.
 */
#define SHMPIPE_MAX_MESSAGE_FDS 253

/**
 * What carries the bytes of a pipe.
 */
typedef enum {
    /**
     * None: what a call returns that was given NULL.
     */
    SHMPIPE_NO_BACKEND = 0,
    /**
     * A ring in shared memory (memfd_create(2)) with futex(2) wake-up.
     */
    SHMPIPE_SHARED_MEMORY = 1,
    /**
     * A kernel pipe (pipe(2)).
     */
    SHMPIPE_KERNEL = 2,
} shmpipe_backend;

/**
 * What a call came to. New values may be added: treat one that you do not know as an error.
 */
typedef enum {
    /**
     * The call has done what it says. The only value that is no error.
     */
    SHMPIPE_OK = 0,
    /**
     * Every end of the opposite side, in every process, is gone. For a receiver that is end-of-file: all messages have
     * been received. For a sender it is a broken pipe; there is no SIGPIPE. It stays.
     */
    SHMPIPE_DISCONNECTED = 1,
    /**
     * There is no room now. Nothing was sent.
     */
    SHMPIPE_FULL = 2,
    /**
     * There is no message now.
     */
    SHMPIPE_EMPTY = 3,
    /**
     * The time is over. Nothing was sent, or received.
     */
    SHMPIPE_TIMEOUT = 4,
    /**
     * The message is over the limit of shmpipe_options_max_message(), or with descriptors longer than one piece. No
     * call can send it. Nothing was sent.
     */
    SHMPIPE_TOO_LARGE = 5,
    /**
     * The message is longer than an empty pipe takes at once. Only a call that may block can send it. Nothing was
     * sent.
     */
    SHMPIPE_TOO_LARGE_AT_ONCE = 6,
    /**
     * The caller's memory has no room for what there is. It stays where it was, and the call has said how much room
     * is needed.
     */
    SHMPIPE_BUFFER_TOO_SMALL = 7,
    /**
     * The message is lost with a process that had sent or received fragments of it. Reported once; the next call
     * receives the message after it.
     */
    SHMPIPE_ABORTED = 8,
    /**
     * The next message carries descriptors, which only shmpipe_recv_with_fds() hands out. It stays.
     */
    SHMPIPE_CARRIES_DESCRIPTORS = 9,
    /**
     * Only this process holds a sender, so that no message can ever come (shmpipe_options_detect_deadlock()).
     */
    SHMPIPE_DEADLOCK = 10,
    /**
     * A signal handler, or the hook of shmpipe_interrupt_during(), called while its thread is inside another call.
     * Nothing was sent or received. It can succeed when that other call has returned.
     */
    SHMPIPE_REENTRANT = 11,
    /**
     * The hook of shmpipe_interrupt_during() ended the call. Nothing is lost.
     */
    SHMPIPE_INTERRUPTED = 12,
    /**
     * The pipe holds a value that no correct process writes, or a message over the receiver's limit. It stays.
     */
    SHMPIPE_CORRUPTED = 13,
    /**
     * The operating system refused something. shmpipe_last_errno() has its number, shmpipe_last_error() the step.
     */
    SHMPIPE_IO = 14,
    /**
     * An argument or an option is not allowed, a NULL above all. Nothing was done.
     */
    SHMPIPE_INVALID = 15,
    /**
     * The handle has a loan open (a shmpipe_slot or a shmpipe_view). Nothing was done.
     */
    SHMPIPE_LENT = 16,
    /**
     * A bug in the library, or a forked child that reads a view which its parent has released. The call was given up.
     */
    SHMPIPE_PANICKED = 17,
} shmpipe_status;

/**
 * One end of a two-way pipe. All calls are made with its two halves, shmpipe_connection_receiver() and
 * shmpipe_connection_sender().
 */
typedef struct shmpipe_connection shmpipe_connection;

/**
 * The ends that a program is to inherit which is about to be executed.
 */
typedef struct shmpipe_inheritance shmpipe_inheritance;

/**
 * A message that was taken by shmpipe_take_message().
 */
typedef struct shmpipe_message shmpipe_message;

/**
 * What a pipe is to be like: capacity, backend, limits.
 */
typedef struct shmpipe_options shmpipe_options;

/**
 * The receiving end of a pipe, or the receiving half of a connection.
 */
typedef struct shmpipe_receiver shmpipe_receiver;

/**
 * The sending end of a pipe, or the sending half of a connection.
 */
typedef struct shmpipe_sender shmpipe_sender;

/**
 * Room for one message in the pipe: written piece by piece, then sent by shmpipe_slot_commit().
 *
 * It is part of the sender that it was made by, and goes with it. While it is open, all other calls with that sender
 * return SHMPIPE_LENT. When it is closed, all calls with it return SHMPIPE_INVALID until the sender's next
 * shmpipe_reserve(), which opens the same slot again.
 */
typedef struct shmpipe_slot shmpipe_slot;

/**
 * One whole message where it lies in the pipe. Releasing it is what receives it.
 *
 * It is part of the receiver that it was made by, and goes with it. While it is open, all other calls with that receiver
 * return SHMPIPE_LENT. When it is closed, all calls with it return SHMPIPE_INVALID until the receiver's next
 * shmpipe_recv_in_place(), which opens the same view again.
 */
typedef struct shmpipe_view shmpipe_view;

/**
 * What shmpipe_wait() waits for: a receiver, a sender, or a descriptor of any other kind. Set one of them, and the others
 * to NULL or 0, as an initialiser does with what it does not name:
 *
 *     shmpipe_wait_item items[] = {{.receiver = rx}, {.sender = tx}, {.fd = 0, .events = POLLIN}};
 *
 * One with nothing set is never ready. Where several are set, it is ready when one of them is.
 */
typedef struct {
    /**
     * Ready as shmpipe_poll() has it: a message or a fragment is there, or end-of-file.
     */
    shmpipe_receiver *receiver;
    /**
     * Ready when a short message can be sent, or no receiver is left.
     */
    shmpipe_sender *sender;
    /**
     * A descriptor, looked at only where `events` is not 0.
     */
    int fd;
    /**
     * POLLIN, POLLOUT or both (poll(2)). An error or hang-up is ready too.
     */
    short events;
    /**
     * What the call found.
     */
    bool ready;
} shmpipe_wait_item;

/**
 * A process that holds the other side of a pipe.
 */
typedef struct {
    /**
     * The process id, in the pid namespace of /proc.
     */
    uint32_t id;
    /**
     * What the process calls itself (proc_pid_comm(5)), zero-terminated; empty where that cannot be read.
     */
    char name[16];
} shmpipe_holder;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * What a status means, in English, lower case and without a full stop. Any number may be asked for.
 *
 * shmpipe_last_error() says more of the last error: which step failed, and the offending number.
 *
 * Threads: any. Ownership: the text is static.
 */
const char *shmpipe_strerror(int status);

/**
 * The text of the last error that a call of this thread returned: in English, lower case and without a full stop, with
 * the step that failed and the offending number. Empty where there was none. A call that succeeds leaves it as it is.
 *
 * Threads: any; each has its own. Ownership: the text is the library's. It stays until the next call of this thread that
 * fails.
 */
const char *shmpipe_last_error(void);

/**
 * The number (errno(3)) of the last error that a call of this thread returned: the operating system's where it refused
 * a call, otherwise the one that means about the same (EAGAIN for SHMPIPE_FULL and SHMPIPE_EMPTY, EPIPE for a broken
 * pipe). 0 for end-of-file, and where there was no error. A call that succeeds leaves it as it is.
 *
 * The variable errno itself says nothing after a call of this library.
 *
 * Threads: any; each has its own.
 */
int shmpipe_last_errno(void);

/**
 * Makes options with the defaults: 64 KiB for each direction, no limit on a message, the backend from the environment
 * variable SHMPIPE_BACKEND (`shm` or `kernel`) or else shared memory, with kernel pipes as the fall-back where the
 * operating system refuses it.
 *
 * Threads: any. Ownership: `*options` is the caller's, to be given to shmpipe_options_free().
 */
shmpipe_status shmpipe_options_new(shmpipe_options **options);

/**
 * Frees options and sets `*options` to NULL. NULL in either place does nothing. Pipes that were made with them stay.
 *
 * Threads: `*options` by one at a time.
 */
void shmpipe_options_free(shmpipe_options **options);

/**
 * Sets how many bytes each direction holds, framing included. The number is rounded up to a power of two of at least
 * one page. Messages may be longer than this, and are then received while they are still being sent.
 *
 * Threads: `options` by one at a time.
 */
shmpipe_status shmpipe_options_capacity(shmpipe_options *options,
                                        size_t bytes);

/**
 * Sets the backend, a shmpipe_backend. The choice is strict: SHMPIPE_BACKEND is not read, and where the backend is
 * refused, making the pipe is an error that says why.
 *
 * SHMPIPE_INVALID: `backend` is neither SHMPIPE_SHARED_MEMORY nor SHMPIPE_KERNEL.
 *
 * Threads: `options` by one at a time.
 */
shmpipe_status shmpipe_options_backend(shmpipe_options *options,
                                       int backend);

/**
 * Sets the length in bytes over which a send fails with SHMPIPE_TOO_LARGE and sends nothing. Without this call there is
 * no limit. 0 is a limit too, and allows only empty messages. Receivers refuse what is over it: SHMPIPE_CORRUPTED.
 *
 * Threads: `options` by one at a time.
 */
shmpipe_status shmpipe_options_max_message(shmpipe_options *options,
                                           size_t bytes);

/**
 * Sets a name that tools like `shmpipe ls` show, in UTF-8. What is not allowed is an error when the pipe is made, with
 * the reason in shmpipe_last_error().
 *
 * SHMPIPE_INVALID: NULL, or no UTF-8.
 *
 * Threads: `options` by one at a time. Ownership: the text is copied.
 */
shmpipe_status shmpipe_options_label(shmpipe_options *options,
                                     const char *label);

/**
 * Makes room for messages of up to `len` bytes in place, so that shmpipe_reserve() and shmpipe_recv_in_place() copy none
 * of them to private memory. That takes a capacity of eight times as much; a larger one that was set stays. Only
 * shared memory has messages in place, so there is no fall-back to kernel pipes.
 *
 * Threads: `options` by one at a time.
 */
shmpipe_status shmpipe_options_in_place(shmpipe_options *options,
                                        size_t len);

/**
 * Lets messages carry descriptors: shmpipe_send_with_fds(). Each end is then made of one descriptor more, a connection
 * of two more.
 *
 * Threads: `options` by one at a time.
 */
shmpipe_status shmpipe_options_descriptors(shmpipe_options *options,
                                           bool carry);

/**
 * Makes a receive that could never end an error, SHMPIPE_DEADLOCK: the pipe is empty, and only the calling process
 * holds a sender. It finds a sender that a parent forgot to free after fork(2). It does nothing in a process with
 * any other thread, and concerns the calls that wait without limit.
 *
 * Threads: `options` by one at a time.
 */
shmpipe_status shmpipe_options_detect_deadlock(shmpipe_options *options,
                                               bool detect);

/**
 * Sets how long a blocked call looks before it sleeps: 0 not at all, SHMPIPE_SPIN_ADAPTIVE as long as it has paid
 * lately (the default), another number so many nanoseconds, a millisecond at most.
 *
 * SHMPIPE_INVALID: another negative number.
 *
 * Threads: `options` by one at a time.
 */
shmpipe_status shmpipe_options_spin(shmpipe_options *options,
                                    int64_t nanoseconds);

/**
 * Whether the page tables of a pipe in shared memory are filled when it is made (the default), or as it is used.
 *
 * Threads: `options` by one at a time.
 */
shmpipe_status shmpipe_options_prefault(shmpipe_options *options,
                                        bool fill);

/**
 * Makes a pipe in shared memory of huge pages (memfd_create(2), MFD_HUGETLB), or not (the default).
 *
 * Threads: `options` by one at a time.
 */
shmpipe_status shmpipe_options_huge_pages(shmpipe_options *options, bool huge);

/**
 * Leaves the pipe's memory out of the core dumps of all who hold an end (madvise(2), MADV_DONTDUMP), or not (the
 * default).
 *
 * Threads: `options` by one at a time.
 */
shmpipe_status shmpipe_options_exclude_from_core_dumps(shmpipe_options *options,
                                                       bool exclude);

/**
 * Makes a one-way pipe, reader first as pipe(2). NULL for `options` means the defaults. All descriptors are
 * close-on-exec.
 *
 * SHMPIPE_INVALID: a capacity of 0 or over 2^40 bytes, a label that is not allowed, or a SHMPIPE_BACKEND in the
 * environment that names no backend. SHMPIPE_IO: shmpipe_last_errno() has ENOMEM where the capacity is beyond the free
 * memory, EMFILE where there are no descriptors left, or what else the system reports. Nothing stays open then.
 *
 * Threads: any; nobody changes `options` meanwhile. Ownership: `*rx` and `*tx` are the caller's, to be given to
 * shmpipe_receiver_free() and shmpipe_sender_free(), or to a call that takes them. `options` stays the caller's.
 */
shmpipe_status shmpipe_pipe(const shmpipe_options *options,
                            shmpipe_receiver **rx,
                            shmpipe_sender **tx);

/**
 * Makes a two-way pipe: what one connection sends the other receives, and the two directions do not wait for each other.
 * NULL for `options` means the defaults.
 *
 * Errors as for shmpipe_pipe().
 *
 * Threads: any; nobody changes `options` meanwhile. Ownership: `*left` and `*right` are the caller's, to be given to
 * shmpipe_connection_free() or to a call that takes them. `options` stays the caller's.
 */
shmpipe_status shmpipe_duplex(const shmpipe_options *options,
                              shmpipe_connection **left,
                              shmpipe_connection **right);

/**
 * Sends `len` bytes as one message, whole, blocking while the pipe is full. `data` may be NULL for an empty message,
 * which is a message too.
 *
 * A message longer than the capacity goes in fragments while it is being received. The call then returns only when a
 * receiver has taken most of it.
 *
 * SHMPIPE_DISCONNECTED: no receiver is left, also when the last one goes while the call is blocked.
 * SHMPIPE_TOO_LARGE, SHMPIPE_INTERRUPTED, SHMPIPE_REENTRANT, SHMPIPE_LENT, SHMPIPE_INVALID, SHMPIPE_IO.
 *
 * Threads: `tx` by one at a time; other clones at the same time. Ownership: `data` is copied.
 */
shmpipe_status shmpipe_send(shmpipe_sender *tx,
                            const void *data,
                            size_t len);

/**
 * Sends a message if there is room for all of it now; never blocks. Otherwise as shmpipe_send().
 *
 * SHMPIPE_FULL: no room, or another holder is in the middle of a send. SHMPIPE_TOO_LARGE_AT_ONCE: longer than an empty
 * pipe takes at once.
 *
 * Threads: `tx` by one at a time; other clones at the same time. Ownership: `data` is copied.
 */
shmpipe_status shmpipe_try_send(shmpipe_sender *tx,
                                const void *data,
                                size_t len);

/**
 * Sends a message, blocking while the pipe is full but no longer than `timeout_ns` nanoseconds; for ever where that is
 * negative (SHMPIPE_FOREVER). Otherwise as shmpipe_send().
 *
 * SHMPIPE_TIMEOUT: not before its time. No receiver gets any of the message.
 *
 * Threads: `tx` by one at a time; other clones at the same time. Ownership: `data` is copied.
 */
shmpipe_status shmpipe_send_timeout(shmpipe_sender *tx,
                                    const void *data,
                                    size_t len,
                                    int64_t timeout_ns);

/**
 * Sends one message that is made of `count` pieces, in their order; otherwise as shmpipe_send(). No pieces, or empty
 * ones only, are an empty message. A piece of no bytes may have a NULL base.
 *
 * Threads: `tx` by one at a time; other clones at the same time. Ownership: the pieces are copied.
 */
shmpipe_status shmpipe_send_vectored(shmpipe_sender *tx,
                                     const struct iovec *pieces,
                                     size_t count);

/**
 * As shmpipe_send_vectored(), but never blocks: errors as for shmpipe_try_send().
 *
 * Threads: `tx` by one at a time; other clones at the same time. Ownership: the pieces are copied.
 */
shmpipe_status shmpipe_try_send_vectored(shmpipe_sender *tx,
                                         const struct iovec *pieces,
                                         size_t count);

/**
 * Sends each of `count` pieces as one message, in their order, blocking while the pipe is full. Through shared memory a
 * run of up to 64 messages goes at the cost of one.
 *
 * `*sent`, which may be NULL, becomes the number of messages that were sent: `count`, or after an error the first ones.
 *
 * Errors as for shmpipe_send(), of the message at which the call ended.
 *
 * Threads: `tx` by one at a time; other clones at the same time. Ownership: the messages are copied.
 */
shmpipe_status shmpipe_send_batch(shmpipe_sender *tx,
                                  const struct iovec *messages,
                                  size_t count,
                                  size_t *sent);

/**
 * The byte-stream view, as write(2): sends bytes as one message, up to the limit of shmpipe_options_max_message(), and
 * sets `*written` to how many that were. No bytes send nothing. shmpipe_read() joins messages to a stream of bytes.
 *
 * Errors as for shmpipe_send().
 *
 * Threads: `tx` by one at a time; other clones at the same time. Ownership: `data` is copied.
 */
shmpipe_status shmpipe_write(shmpipe_sender *tx,
                             const void *data,
                             size_t len,
                             size_t *written);

/**
 * Makes another handle to the same end, for another thread for instance. It costs no descriptor. Freeing either changes
 * nothing for the other. A clone of a connection's half is the caller's and outlives the connection.
 *
 * Threads: `tx` by one at a time. Ownership: `*clone` is the caller's, to be given to shmpipe_sender_free().
 */
shmpipe_status shmpipe_sender_clone(shmpipe_sender *tx,
                                    shmpipe_sender **clone);

/**
 * Closes this process's end, whatever handles to it there are: receivers then see the end as when the process exits. For a
 * forked child in which a thread of the parent had a handle, or to end calls that block in other threads. Later calls of
 * every handle of the process to this end give SHMPIPE_IO. The handles are still to be freed.
 *
 * SHMPIPE_IO, EMFILE for one, if the descriptors that it takes for a moment are wanting: nothing is closed then.
 *
 * Threads: any, beside calls of other handles; `tx` by one at a time.
 */
shmpipe_status shmpipe_sender_close(shmpipe_sender *tx);

/**
 * Drops this handle and sets `*tx` to NULL. A slot that it has open is dropped first: nothing of it is sent. NULL in
 * either place does nothing, and so does a connection's half, which goes with its connection. When the last handle of
 * every process is gone, receivers get what was sent and then SHMPIPE_DISCONNECTED.
 *
 * Threads: `*tx` by one at a time.
 */
void shmpipe_sender_free(shmpipe_sender **tx);

/**
 * Bytes that the pipe holds, framing included: a message takes its length rounded up to 8 and 8 bytes more, and a long
 * one a little more than that. 0 for NULL.
 *
 * Threads: any.
 */
size_t shmpipe_sender_capacity(const shmpipe_sender *tx);

/**
 * What carries the bytes. SHMPIPE_NO_BACKEND for NULL.
 *
 * Threads: any.
 */
shmpipe_backend shmpipe_sender_backend(const shmpipe_sender *tx);

/**
 * Why this end is a kernel pipe although shared memory is the default: the error that making it of shared memory would
 * have been. NULL where it is of shared memory, where the backend was chosen, and for NULL.
 *
 * Threads: any. Ownership: the text is the handle's, and goes with it.
 */
const char *shmpipe_sender_fallback_reason(const shmpipe_sender *tx);

/**
 * Receives the next message, blocking while the pipe is empty, and sets `*data` and `*len` to its bytes. `*data` is
 * never NULL then, also for an empty message. After an error they are NULL and 0.
 *
 * SHMPIPE_DISCONNECTED: every sender is gone and every message has been received. SHMPIPE_ABORTED: this message was lost
 * with a process that died inside it; the next call receives the next one. SHMPIPE_CARRIES_DESCRIPTORS,
 * SHMPIPE_INTERRUPTED, SHMPIPE_REENTRANT, SHMPIPE_DEADLOCK, SHMPIPE_CORRUPTED, SHMPIPE_LENT, SHMPIPE_INVALID,
 * SHMPIPE_IO.
 *
 * Threads: `rx` by one at a time; other clones at the same time. Ownership: the bytes are the handle's, read-only. They
 * stay until the next call with `rx`, but for those that return its capacity, backend and fall-back reason.
 * shmpipe_take_message() makes them the caller's without a copy.
 */
shmpipe_status shmpipe_recv(shmpipe_receiver *rx,
                            const void **data,
                            size_t *len);

/**
 * Receives the next message if one is there; does not wait for a sender. Otherwise as shmpipe_recv().
 *
 * SHMPIPE_EMPTY: no message is there, or it is not whole yet, or another process is receiving it.
 *
 * Threads: `rx` by one at a time; other clones at the same time. Ownership: as for shmpipe_recv().
 */
shmpipe_status shmpipe_try_recv(shmpipe_receiver *rx,
                                const void **data,
                                size_t *len);

/**
 * Receives the next message, blocking no longer than `timeout_ns` nanoseconds; for ever where that is negative
 * (SHMPIPE_FOREVER). Otherwise as shmpipe_recv().
 *
 * SHMPIPE_TIMEOUT: not before its time. Nothing is lost.
 *
 * Threads: `rx` by one at a time; other clones at the same time. Ownership: as for shmpipe_recv().
 */
shmpipe_status shmpipe_recv_timeout(shmpipe_receiver *rx,
                                    const void **data,
                                    size_t *len,
                                    int64_t timeout_ns);

/**
 * Takes the message that the last call with `rx` has lent (shmpipe_recv() or one like it) for the caller to keep. Its
 * bytes stay where they are. The next receive allocates a buffer of its own.
 *
 * SHMPIPE_INVALID: no message is lent.
 *
 * Threads: `rx` by one at a time. Ownership: `*message` is the caller's, to be given to shmpipe_message_free(). It does
 * not depend on `rx`.
 */
shmpipe_status shmpipe_take_message(shmpipe_receiver *rx,
                                    shmpipe_message **message);

/**
 * Receives the next message into the caller's memory of `size` bytes, blocking while the pipe is empty, and sets `*len`
 * to its length. It allocates nothing.
 *
 * SHMPIPE_BUFFER_TOO_SMALL: the message stays, and `*len` is the length that is needed. What the memory holds after an
 * error is unspecified. Other errors as for shmpipe_recv().
 *
 * Threads: `rx` by one at a time; other clones at the same time. Ownership: the memory stays the caller's.
 */
shmpipe_status shmpipe_recv_into(shmpipe_receiver *rx,
                                 void *buffer,
                                 size_t size,
                                 size_t *len);

/**
 * As shmpipe_recv_into(), but does not wait for a sender: SHMPIPE_EMPTY as for shmpipe_try_recv().
 *
 * Threads: `rx` by one at a time; other clones at the same time. Ownership: the memory stays the caller's.
 */
shmpipe_status shmpipe_try_recv_into(shmpipe_receiver *rx,
                                     void *buffer,
                                     size_t size,
                                     size_t *len);

/**
 * As shmpipe_recv_into(), blocking no longer than `timeout_ns` nanoseconds; for ever where that is negative
 * (SHMPIPE_FOREVER). SHMPIPE_TIMEOUT as for shmpipe_recv_timeout().
 *
 * Threads: `rx` by one at a time; other clones at the same time. Ownership: the memory stays the caller's.
 */
shmpipe_status shmpipe_recv_into_timeout(shmpipe_receiver *rx,
                                         void *buffer,
                                         size_t size,
                                         size_t *len,
                                         int64_t timeout_ns);

/**
 * Receives all messages that are there, up to 256 KiB of them, blocking while there is none, and sets `*messages` and
 * `*count` to a list of them, in order. There is at least one. Through shared memory they are taken at the cost of one.
 *
 * Errors as for shmpipe_recv(). An error behind whole messages is reported by the next call.
 *
 * Threads: `rx` by one at a time; other clones at the same time. Ownership: the list and the bytes are the handle's,
 * read-only. They stay until the next call with `rx`, but for those that return its capacity, backend and fall-back
 * reason.
 */
shmpipe_status shmpipe_recv_batch(shmpipe_receiver *rx,
                                  const struct iovec **messages,
                                  size_t *count);

/**
 * As shmpipe_recv_batch(), but does not wait for a sender: SHMPIPE_EMPTY as for shmpipe_try_recv().
 *
 * Threads: `rx` by one at a time; other clones at the same time. Ownership: as for shmpipe_recv_batch().
 */
shmpipe_status shmpipe_try_recv_batch(shmpipe_receiver *rx,
                                      const struct iovec **messages,
                                      size_t *count);

/**
 * As shmpipe_recv_batch(), blocking no longer than `timeout_ns` nanoseconds; for ever where that is negative
 * (SHMPIPE_FOREVER). SHMPIPE_TIMEOUT as for shmpipe_recv_timeout().
 *
 * Threads: `rx` by one at a time; other clones at the same time. Ownership: as for shmpipe_recv_batch().
 */
shmpipe_status shmpipe_recv_batch_timeout(shmpipe_receiver *rx,
                                          const struct iovec **messages,
                                          size_t *count,
                                          int64_t timeout_ns);

/**
 * The byte-stream view, as read(2): fills the caller's memory with what is there, blocking while that is nothing, and
 * sets `*len` to how many bytes that were. `*len` is 0 with SHMPIPE_OK at end-of-file, and where `size` is 0. The edges
 * of messages vanish. The rest of a message that does not fit comes first in the next call, of any kind.
 *
 * Errors as for shmpipe_recv(), but for SHMPIPE_DISCONNECTED.
 *
 * Threads: `rx` by one at a time; other clones at the same time. Ownership: the memory stays the caller's.
 */
shmpipe_status shmpipe_read(shmpipe_receiver *rx,
                            void *buffer,
                            size_t size,
                            size_t *len);

/**
 * Waits until there is something to receive, and sets `*ready` to whether there is: a message, end-of-file, or an error
 * that shmpipe_recv() would report. It waits no longer than `timeout_ns` nanoseconds, for ever where that is negative
 * (SHMPIPE_FOREVER), and only looks where it is 0. That the time is over is no error: `*ready` is false.
 *
 * SHMPIPE_INTERRUPTED, SHMPIPE_REENTRANT, SHMPIPE_LENT, SHMPIPE_INVALID, SHMPIPE_IO.
 *
 * Threads: `rx` by one at a time; other clones at the same time, one of which may take the message first.
 */
shmpipe_status shmpipe_poll(shmpipe_receiver *rx,
                            int64_t timeout_ns,
                            bool *ready);

/**
 * Refuses messages of more than `bytes` bytes from now on: the end then reports SHMPIPE_CORRUPTED and stays unusable. The
 * limit holds for all handles of this process to this end. It can be lowered and not raised. Set one where a sender is
 * not trusted, since it is the sender that claims a length.
 *
 * Threads: `rx` by one at a time.
 */
shmpipe_status shmpipe_receiver_limit_messages(shmpipe_receiver *rx,
                                               size_t bytes);

/**
 * Makes another handle to the same end, for another thread for instance. It costs no descriptor. Each message goes to
 * one of the handles. Freeing either changes nothing for the other. A clone of a connection's half is the caller's and
 * outlives the connection.
 *
 * Threads: `rx` by one at a time. Ownership: `*clone` is the caller's, to be given to shmpipe_receiver_free().
 */
shmpipe_status shmpipe_receiver_clone(shmpipe_receiver *rx,
                                      shmpipe_receiver **clone);

/**
 * Closes this process's end, whatever handles to it there are: senders then see the end as when the process exits. For a
 * forked child in which a thread of the parent had a handle, or to end calls that block in other threads. Later calls of
 * every handle of the process to this end give SHMPIPE_IO. The handles are still to be freed.
 *
 * SHMPIPE_IO, EMFILE for one, if the descriptors that it takes for a moment are wanting: nothing is closed then.
 *
 * Threads: any, beside calls of other handles; `rx` by one at a time.
 */
shmpipe_status shmpipe_receiver_close(shmpipe_receiver *rx);

/**
 * Drops this handle, with what it has lent, and sets `*rx` to NULL. NULL in either place does nothing, and so does a
 * connection's half, which goes with its connection. When the last handle of every process is gone, senders get
 * SHMPIPE_DISCONNECTED.
 *
 * Threads: `*rx` by one at a time.
 */
void shmpipe_receiver_free(shmpipe_receiver **rx);

/**
 * As shmpipe_sender_capacity().
 *
 * Threads: any.
 */
size_t shmpipe_receiver_capacity(const shmpipe_receiver *rx);

/**
 * As shmpipe_sender_backend().
 *
 * Threads: any.
 */
shmpipe_backend shmpipe_receiver_backend(const shmpipe_receiver *rx);

/**
 * As shmpipe_sender_fallback_reason().
 *
 * Threads: any. Ownership: the text is the handle's, and goes with it.
 */
const char *shmpipe_receiver_fallback_reason(const shmpipe_receiver *rx);

/**
 * The bytes of a message. NULL for NULL only.
 *
 * Threads: any. Ownership: the bytes are the message's, and go with it.
 */
const void *shmpipe_message_data(const shmpipe_message *message);

/**
 * The length of a message in bytes. 0 for NULL.
 *
 * Threads: any.
 */
size_t shmpipe_message_len(const shmpipe_message *message);

/**
 * Frees a message and sets `*message` to NULL. NULL in either place does nothing.
 *
 * Threads: `*message` by one at a time, which need not be the one that received it.
 */
void shmpipe_message_free(shmpipe_message **message);

/**
 * The receiving half of a connection, for all calls that take a receiver. NULL for NULL.
 *
 * Threads: any. The two halves are handles of their own, which two threads may use at the same time. Ownership: the half
 * is part of the connection, and goes with it.
 */
shmpipe_receiver *shmpipe_connection_receiver(shmpipe_connection *connection);

/**
 * The sending half of a connection, for all calls that take a sender. NULL for NULL.
 *
 * Threads: any. The two halves are handles of their own, which two threads may use at the same time. Ownership: the half
 * is part of the connection, and goes with it.
 */
shmpipe_sender *shmpipe_connection_sender(shmpipe_connection *connection);

/**
 * Takes the two directions apart, and sets `*connection` to NULL. Each half then counts by itself: the peer gets
 * end-of-file when the last sender half is gone, and a broken pipe when the last receiver half is. Pointers to the halves
 * that were asked for before are no longer valid.
 *
 * SHMPIPE_LENT: a half has a slot or a view open. The connection stays then.
 *
 * Threads: both halves by one at a time. Ownership: `*connection` is taken. `*rx` and `*tx` are the caller's, to be given
 * to shmpipe_receiver_free() and shmpipe_sender_free().
 */
shmpipe_status shmpipe_connection_split(shmpipe_connection **connection,
                                        shmpipe_receiver **rx,
                                        shmpipe_sender **tx);

/**
 * Drops this connection with both its halves and what they have lent, and sets `*connection` to NULL. NULL in either
 * place does nothing. What the peer had sent is lost; what was sent to the peer is received there first.
 *
 * Threads: both halves by one at a time.
 */
void shmpipe_connection_free(shmpipe_connection **connection);

/**
 * Reserves room for one message of `len` bytes, blocking while the pipe is full.
 *
 * Through shared memory a message of up to 8 bytes less than an eighth of the capacity is then written in place. A
 * longer one, and any of a kernel pipe, is gathered in private memory and sent by the commit, which then blocks as
 * shmpipe_send() does. What is not written is unspecified.
 *
 * A slot in place keeps all other senders of this pipe waiting until it is committed or discarded. A blocking send
 * through another clone by the same thread waits for ever.
 *
 * Errors as for shmpipe_send().
 *
 * Threads: `tx` by one at a time; a slot counts as its sender. Ownership: `*slot` is part of `tx`. Close it by
 * shmpipe_slot_commit() or shmpipe_slot_discard(). It is not freed.
 */
shmpipe_status shmpipe_reserve(shmpipe_sender *tx,
                               size_t len,
                               shmpipe_slot **slot);

/**
 * Length of the message in bytes, as it was reserved. 0 for NULL, and where the slot is not open.
 *
 * Threads: the slot's sender by one at a time.
 */
size_t shmpipe_slot_len(shmpipe_slot *slot);

/**
 * Whether what is written goes straight into the pipe, and not by way of private memory.
 *
 * Threads: the slot's sender by one at a time.
 */
bool shmpipe_slot_is_in_place(shmpipe_slot *slot);

/**
 * Writes `len` bytes into the message from `offset` on; never blocks. In a forked child of the process that reserved
 * the slot this changes nothing of the pipe, and the commit is an error.
 *
 * SHMPIPE_INVALID: they do not fit there, or the slot is not open.
 *
 * Threads: the slot's sender by one at a time. Ownership: `data` is copied.
 */
shmpipe_status shmpipe_slot_write_at(shmpipe_slot *slot,
                                     size_t offset,
                                     const void *data,
                                     size_t len);

/**
 * Sets `*data` to the memory of the message, to be written directly: shmpipe_slot_len() bytes until the slot is closed.
 *
 * Every holder of any end of this pipe is trusted to leave these bytes alone while they are written, where the slot is
 * in place. A forked child does not use a pointer that was made before the fork.
 *
 * Threads: the slot's sender by one at a time. Ownership: `*data` is the slot's.
 */
shmpipe_status shmpipe_slot_data(shmpipe_slot *slot,
                                 void **data);

/**
 * Sends the message and closes the slot, also where it fails. If the process is killed inside this call, all of the
 * message was sent or nothing.
 *
 * Errors as for shmpipe_send(); SHMPIPE_IO with EOPNOTSUPP in a forked child of the process that reserved the slot.
 * SHMPIPE_INVALID: the slot is not open.
 *
 * Threads: the slot's sender by one at a time.
 */
shmpipe_status shmpipe_slot_commit(shmpipe_slot *slot);

/**
 * Closes the slot and sends nothing. NULL, and a slot that is not open, do nothing.
 *
 * Threads: the slot's sender by one at a time.
 */
void shmpipe_slot_discard(shmpipe_slot *slot);

/**
 * Receives the next message without copying it out, blocking while the pipe is empty. It is read by
 * shmpipe_view_read_at() and received when it is released.
 *
 * Through shared memory a message of up to 8 bytes less than an eighth of the capacity is read in place; one of over 256
 * KiB only if it was written by shmpipe_reserve(). Any other is first copied to private memory, as shmpipe_recv() does.
 *
 * A view in place keeps all other receivers of this pipe waiting until it is released. A blocking receive through
 * another clone by the same thread waits for ever. A process that is killed with a view open has not received the
 * message.
 *
 * Errors as for shmpipe_recv().
 *
 * Threads: `rx` by one at a time; a view counts as its receiver. Ownership: `*view` is part of `rx`. Close it by
 * shmpipe_view_release(). It is not freed.
 */
shmpipe_status shmpipe_recv_in_place(shmpipe_receiver *rx,
                                     shmpipe_view **view);

/**
 * As shmpipe_recv_in_place(), but does not wait for a sender: SHMPIPE_EMPTY as for shmpipe_try_recv().
 *
 * Threads: `rx` by one at a time; a view counts as its receiver. Ownership: as for shmpipe_recv_in_place().
 */
shmpipe_status shmpipe_try_recv_in_place(shmpipe_receiver *rx,
                                         shmpipe_view **view);

/**
 * As shmpipe_recv_in_place(), blocking no longer than `timeout_ns` nanoseconds; for ever where that is negative
 * (SHMPIPE_FOREVER). SHMPIPE_TIMEOUT as for shmpipe_recv_timeout().
 *
 * Threads: `rx` by one at a time; a view counts as its receiver. Ownership: as for shmpipe_recv_in_place().
 */
shmpipe_status shmpipe_recv_in_place_timeout(shmpipe_receiver *rx,
                                             shmpipe_view **view,
                                             int64_t timeout_ns);

/**
 * Length of the message in bytes. 0 for NULL, and where the view is not open.
 *
 * Threads: the view's receiver by one at a time.
 */
size_t shmpipe_view_len(const shmpipe_view *view);

/**
 * Whether the message still lies in the pipe, and not in private memory.
 *
 * Threads: the view's receiver by one at a time.
 */
bool shmpipe_view_is_in_place(const shmpipe_view *view);

/**
 * Copies `len` bytes of the message from `offset` on to the caller's memory. A hostile holder of the pipe may change the
 * bytes between two looks at one place, so copy first and check the copy.
 *
 * SHMPIPE_INVALID: the message has not so many bytes there, or the view is not open. SHMPIPE_PANICKED: in a forked child
 * whose parent has released the view.
 *
 * Threads: the view's receiver by one at a time. Ownership: the memory stays the caller's.
 */
shmpipe_status shmpipe_view_read_at(const shmpipe_view *view,
                                    size_t offset,
                                    void *buffer,
                                    size_t len);

/**
 * Sets `*data` to the bytes of the message, to be read directly: shmpipe_view_len() bytes until the view is released.
 *
 * Every holder of any end of this pipe is trusted to leave these bytes alone while they are read, where the view is in
 * place. Where one is not trusted, use shmpipe_view_read_at(). In a forked child they stay while the parent keeps the
 * view.
 *
 * Threads: the view's receiver by one at a time. Ownership: the bytes are the view's, read-only.
 */
shmpipe_status shmpipe_view_data(const shmpipe_view *view,
                                 const void **data);

/**
 * Receives the message and closes the view: its room in the pipe is given back. NULL, and a view that is not open, do
 * nothing.
 *
 * Threads: the view's receiver by one at a time.
 */
void shmpipe_view_release(shmpipe_view *view);

/**
 * Waits until one or more of `count` items are ready, sets `ready` of each, and sets `*ready`, which may be NULL, to how
 * many are. It waits no longer than `timeout_ns` nanoseconds, for ever where that is negative (SHMPIPE_FOREVER), and
 * only looks where it is 0. That the time is over is no error: `*ready` is 0.
 *
 * An item is ready in every call until what it is ready for has been received or the room filled. A receiver at
 * end-of-file and a sender without receivers stay so: set their pointers to NULL when a call has reported it.
 *
 * Ends of both backends may be mixed. For thousands of ends, register their descriptors with epoll(7) instead:
 * shmpipe_receiver_fd(), shmpipe_sender_fd().
 *
 * SHMPIPE_INVALID: the same handle twice (clones are different handles), or other events. SHMPIPE_INTERRUPTED,
 * SHMPIPE_REENTRANT, SHMPIPE_LENT, SHMPIPE_IO.
 *
 * Threads: each handle by one at a time; the call uses all of them. What their last calls have lent is over. Ownership:
 * the list and the handles stay the caller's.
 */
shmpipe_status shmpipe_wait(shmpipe_wait_item *items,
                            size_t count,
                            int64_t timeout_ns,
                            size_t *ready);

/**
 * Sets `*fd` to a descriptor that is readable (POLLIN) while shmpipe_try_recv() would find a message or end-of-file, for
 * poll(2), epoll(7) and event loops. It is level-triggered, and the same for all handles of this process to this end.
 * It may be readable although shmpipe_try_recv() then returns SHMPIPE_EMPTY: expect that, and wait again.
 *
 * The first call puts the receiving side, for all its holders, into a mode in which a receive that empties the pipe makes
 * a few system calls, and the send after it two.
 *
 * Threads: `rx` by one at a time. Ownership: the descriptor is the end's, for watching only: never read from it, write to
 * it or close it. It is open while this process has a handle to this end.
 */
shmpipe_status shmpipe_receiver_fd(shmpipe_receiver *rx,
                                   int *fd);

/**
 * Sets `*fd` to a descriptor that is *readable* (POLLIN, not POLLOUT) while a send of a short message would not block:
 * there is room, or no receiver is left. Short is up to 8 bytes less than an eighth of the capacity and at most 256 KiB;
 * on a kernel pipe up to 4080 bytes. Otherwise as shmpipe_receiver_fd().
 *
 * SHMPIPE_IO: on a kernel pipe where the descriptor cannot be made, EMFILE above all.
 *
 * Threads: `tx` by one at a time. Ownership: as for shmpipe_receiver_fd().
 */
shmpipe_status shmpipe_sender_fd(shmpipe_sender *tx,
                                 int *fd);

/**
 * Calls `calls(calls_argument)`, and has every call of this library in it that is about to sleep, on this thread, ask
 * `hook(hook_argument)` first, and again after each signal. Where the hook returns true, that call ends with
 * SHMPIPE_INTERRUPTED, and nothing is lost. Without a hook a signal ends no call.
 *
 * A signal that comes after the hook was asked and before the sleep would be too early. `wake_fd` is for that: a
 * descriptor, an eventfd(2) for instance, that the signal handler makes readable. While it is readable no call sleeps,
 * and the hook is asked; the hook reads it empty before it returns false. A negative number is none.
 *
 * The hook may use any handle but those of the call that asks it, which is still inside. Neither function may be left by
 * longjmp(3) or a C++ exception.
 *
 * SHMPIPE_INVALID: a function is NULL, or `wake_fd` is no open descriptor. Otherwise SHMPIPE_OK: what the calls returned
 * is for `calls` to keep.
 *
 * Threads: any; it concerns the calling thread alone. Ownership: `wake_fd` stays the caller's.
 */
shmpipe_status shmpipe_interrupt_during(bool (*hook)(void *hook_argument),
                                        void *hook_argument,
                                        int wake_fd,
                                        void (*calls)(void *calls_argument),
                                        void *calls_argument);

/**
 * Makes room for the ends that a program is to inherit. The order of things in the parent:
 *
 *     shmpipe_inheritance_new(&inheritance);
 *     shmpipe_sender_inherit(&tx, inheritance, "RESULTS");
 *     shmpipe_inheritance_envp(inheritance, &envp);
 *     if ((pid = fork()) == 0) {
 *         shmpipe_inheritance_keep(inheritance);
 *         execve(path, argv, envp);
 *         _exit(127);
 *     }
 *     shmpipe_inheritance_free(&inheritance);
 *
 * and in the program, in C by shmpipe_sender_from_env("RESULTS", &tx), in Rust by Sender::from_env("RESULTS").
 *
 * A child that is forked meanwhile and executes nothing has copies of these ends too, and frees them as well.
 *
 * Threads: any. Ownership: `*inheritance` is the caller's, to be given to shmpipe_inheritance_free().
 */
shmpipe_status shmpipe_inheritance_new(shmpipe_inheritance **inheritance);

/**
 * Hands a sender to the program that is going to be executed, which takes it by shmpipe_sender_from_env() of the same
 * name, or in Rust by `Sender::from_env`. Several ends go with one program under different names. Who goes on using the
 * end hands over a clone of it.
 *
 * SHMPIPE_INVALID: a name that no variable can have, or that is used for this program already, or a handle that cannot be
 * taken: NULL, or a connection's half. SHMPIPE_IO: there are no descriptors left for the copies.
 *
 * Threads: `*tx` and `inheritance` by one at a time. Ownership: `*tx` is taken, and becomes NULL, except with
 * SHMPIPE_LENT and where it cannot be taken.
 */
shmpipe_status shmpipe_sender_inherit(shmpipe_sender **tx,
                                      shmpipe_inheritance *inheritance,
                                      const char *name);

/**
 * Hands a receiver to the program that is going to be executed; otherwise as shmpipe_sender_inherit(). What it has
 * received and not yet handed out does not go with it.
 *
 * Threads: `*rx` and `inheritance` by one at a time. Ownership: `*rx` is taken, and becomes NULL, except with
 * SHMPIPE_LENT and where it cannot be taken.
 */
shmpipe_status shmpipe_receiver_inherit(shmpipe_receiver **rx,
                                        shmpipe_inheritance *inheritance,
                                        const char *name);

/**
 * Hands a connection to the program that is going to be executed; otherwise as shmpipe_receiver_inherit().
 *
 * Threads: both halves and `inheritance` by one at a time. Ownership: `*connection` is taken, and becomes NULL, except
 * with SHMPIPE_LENT and where it cannot be taken.
 */
shmpipe_status shmpipe_connection_inherit(shmpipe_connection **connection,
                                          shmpipe_inheritance *inheritance,
                                          const char *name);

/**
 * Sets `*envp` to the environment for execve(2): that of this process now, with a variable for each end. Call it before
 * fork(2), since it allocates.
 *
 * Threads: `inheritance` by one at a time; nobody changes the environment meanwhile. Ownership: the list is
 * `inheritance`'s. It stays until the next call of this kind, or its end.
 */
shmpipe_status shmpipe_inheritance_envp(shmpipe_inheritance *inheritance,
                                        char *const **envp);

/**
 * Sets `*fds` and `*count` to the descriptors that have to be open in the program, under the same numbers. For
 * posix_spawn(3): add posix_spawn_file_actions_adddup2(actions, fd, fd) for each, which clears the close-on-exec flag,
 * and call shmpipe_inheritance_keep() nowhere.
 *
 * Threads: `inheritance` by one at a time. Ownership: the list and the descriptors are `inheritance`'s. The list stays
 * until the next end is added.
 */
shmpipe_status shmpipe_inheritance_fds(const shmpipe_inheritance *inheritance,
                                       const int **fds,
                                       size_t *count);

/**
 * Lets the program that the calling process executes next inherit the descriptors: clears their close-on-exec flags. To
 * be called in the forked child. In the parent every program that any thread executes would inherit them.
 *
 * It makes system calls and allocates nothing, so that the child of a process with several threads may call it.
 *
 * Threads: any, in a forked child.
 */
shmpipe_status shmpipe_inheritance_keep(const shmpipe_inheritance *inheritance);

/**
 * Drops this process's copies of the ends and sets `*inheritance` to NULL. NULL in either place does nothing. Call it in
 * the parent as soon as the program runs: until then this process counts as a holder of the ends, so that their
 * end-of-file does not come.
 *
 * Threads: `*inheritance` by one at a time.
 */
void shmpipe_inheritance_free(shmpipe_inheritance **inheritance);

/**
 * Takes the sender that the parent process has handed to this program by shmpipe_sender_inherit() of the same name, or
 * in Rust by `Sender::inherit`. It can be taken once. Call it early: until then every program that this one starts
 * inherits the descriptors too.
 *
 * SHMPIPE_IO: shmpipe_last_errno() has ENOENT where the variable is not set, EEXIST where the end was taken before,
 * EBADMSG where the variable has another form, or names an end of another kind or descriptors that are closed or no
 * end's. Nothing is closed then.
 *
 * Threads: any; nobody changes the environment meanwhile. Ownership: `*tx` is the caller's, to be given to
 * shmpipe_sender_free().
 */
shmpipe_status shmpipe_sender_from_env(const char *name,
                                       shmpipe_sender **tx);

/**
 * As shmpipe_sender_from_env(), for a receiver.
 *
 * Threads: any; nobody changes the environment meanwhile. Ownership: `*rx` is the caller's, to be given to
 * shmpipe_receiver_free().
 */
shmpipe_status shmpipe_receiver_from_env(const char *name,
                                         shmpipe_receiver **rx);

/**
 * As shmpipe_sender_from_env(), for a connection.
 *
 * Threads: any; nobody changes the environment meanwhile. Ownership: `*connection` is the caller's, to be given to
 * shmpipe_connection_free().
 */
shmpipe_status shmpipe_connection_from_env(const char *name,
                                           shmpipe_connection **connection);

/**
 * Lends the descriptors that make up this end: 2, or 3 where messages carry descriptors. They serve to hand the end over
 * by a means of your own, a Unix socket for instance, and are not for reading, writing or closing. `*count` says for how
 * many there is room at `fds`, and becomes how many there are; SHMPIPE_MAX_FDS always suffice.
 *
 * A message can carry them too: shmpipe_send_with_fds(). In Rust that is `recv_with_end`.
 *
 * SHMPIPE_BUFFER_TOO_SMALL: `*count` is how many there are.
 *
 * Threads: `tx` by one at a time. Ownership: the descriptors are the handle's.
 */
shmpipe_status shmpipe_sender_fds(shmpipe_sender *tx,
                                  int *fds,
                                  size_t *count);

/**
 * As shmpipe_sender_fds(), for a receiver.
 *
 * Threads: `rx` by one at a time. Ownership: the descriptors are the handle's.
 */
shmpipe_status shmpipe_receiver_fds(shmpipe_receiver *rx, int *fds, size_t *count);

/**
 * As shmpipe_sender_fds(), for a connection: the receiver's descriptors and then the sender's, 4 or 6.
 *
 * Threads: both halves by one at a time. Ownership: the descriptors are the handle's.
 */
shmpipe_status shmpipe_connection_fds(shmpipe_connection *connection,
                                      int *fds,
                                      size_t *count);

/**
 * Makes a sender of the descriptors that shmpipe_sender_fds() lent, or copies of them, in the same order, in this process
 * or another. They are made close-on-exec.
 *
 * SHMPIPE_INVALID: a number that is no open descriptor or there twice, more than SHMPIPE_MAX_FDS, or a NULL; nothing is
 * taken. SHMPIPE_IO: they are not those of a sender of this version (EBADMSG), or the system refused something. They are
 * closed then.
 *
 * Threads: any. Ownership: the descriptors are taken, but for SHMPIPE_INVALID. `*tx` is the caller's, to be given to
 * shmpipe_sender_free().
 */
shmpipe_status shmpipe_sender_from_fds(const int *fds,
                                       size_t count,
                                       shmpipe_sender **tx);

/**
 * As shmpipe_sender_from_fds(), for a receiver. Set shmpipe_receiver_limit_messages() where the maker is not trusted.
 *
 * Threads: any. Ownership: the descriptors are taken, but for SHMPIPE_INVALID. `*rx` is the caller's, to be given to
 * shmpipe_receiver_free().
 */
shmpipe_status shmpipe_receiver_from_fds(const int *fds,
                                         size_t count,
                                         shmpipe_receiver **rx);

/**
 * As shmpipe_sender_from_fds(), for a connection.
 *
 * Threads: any. Ownership: the descriptors are taken, but for SHMPIPE_INVALID. `*connection` is the caller's, to be given
 * to shmpipe_connection_free().
 */
shmpipe_status shmpipe_connection_from_fds(const int *fds,
                                           size_t count,
                                           shmpipe_connection **connection);

/**
 * Sends a message and copies of `count` descriptors with it, whole or not at all, blocking while the pipe is full, but
 * no longer than `timeout_ns` nanoseconds; for ever where that is negative (SHMPIPE_FOREVER). The pipe is made with
 * shmpipe_options_descriptors().
 *
 * The receiver gets descriptors of its own for the same open files, close-on-exec and in the same order. The message goes
 * in one piece: it takes up to an eighth of the capacity less 16 bytes, 4080 bytes over kernel pipes.
 *
 * SHMPIPE_TIMEOUT: not before its time, and nothing was sent. SHMPIPE_TOO_LARGE: longer than one piece.
 * SHMPIPE_INVALID: a number that is no open descriptor, or more than SHMPIPE_MAX_MESSAGE_FDS. SHMPIPE_IO: a pipe without
 * shmpipe_options_descriptors() (EOPNOTSUPP), or what sendmsg(2) reports. Others as for shmpipe_send().
 *
 * Threads: `tx` by one at a time; other clones at the same time. Ownership: `data` is copied. The descriptors stay the
 * caller's, and may be closed at once.
 */
shmpipe_status shmpipe_send_with_fds(shmpipe_sender *tx,
                                     const void *data,
                                     size_t len,
                                     const int *fds,
                                     size_t count,
                                     int64_t timeout_ns);

/**
 * As shmpipe_send_with_fds(), but never blocks. SHMPIPE_FULL: no room for the message or for what it carries, or another
 * holder is in the middle of a send.
 *
 * Threads: `tx` by one at a time; other clones at the same time. Ownership: as for shmpipe_send_with_fds().
 */
shmpipe_status shmpipe_try_send_with_fds(shmpipe_sender *tx,
                                         const void *data,
                                         size_t len,
                                         const int *fds,
                                         size_t count);

/**
 * Receives the next message and the descriptors that it carries, none for most, blocking while the pipe is empty, but no
 * longer than `timeout_ns` nanoseconds; for ever where that is negative (SHMPIPE_FOREVER). `*data` and `*len` become the
 * message's as by shmpipe_recv().
 *
 * `*count` says for how many descriptors there is room at `fds`, and becomes how many came. Those for which there is no
 * room are closed; SHMPIPE_MAX_MESSAGE_FDS always suffice. After an error `*count` is 0.
 *
 * SHMPIPE_IO: with EMFILE, this process cannot open so many descriptors; the message and all that it carries stay. Others
 * as for shmpipe_recv_timeout().
 *
 * Threads: `rx` by one at a time; other clones at the same time. Ownership: the bytes are the handle's, as by
 * shmpipe_recv(). The descriptors are the caller's, to be closed by close(2) or given to a call that takes them.
 */
shmpipe_status shmpipe_recv_with_fds(shmpipe_receiver *rx,
                                     const void **data,
                                     size_t *len,
                                     int *fds,
                                     size_t *count,
                                     int64_t timeout_ns);

/**
 * As shmpipe_recv_with_fds(), but does not wait for a sender: SHMPIPE_EMPTY as for shmpipe_try_recv().
 *
 * Threads: `rx` by one at a time; other clones at the same time. Ownership: as for shmpipe_recv_with_fds().
 */
shmpipe_status shmpipe_try_recv_with_fds(shmpipe_receiver *rx,
                                         const void **data,
                                         size_t *len,
                                         int *fds,
                                         size_t *count);

/**
 * The processes that hold a sender of this pipe, lowest id first: end-of-file comes when all of them have freed it or
 * ended. `*count` says for how many there is room at `holders`, and becomes how many there are; the first ones are
 * written. A room of 0 only counts, and `holders` may be NULL then.
 *
 * The caller is among them where it holds one. They are found by a look at every process's descriptors in /proc, so the
 * list is a snapshot for people and logs. It lacks processes that the caller may not trace.
 *
 * Threads: `rx` by one at a time. Ownership: the memory stays the caller's.
 */
shmpipe_status shmpipe_receiver_holders(shmpipe_receiver *rx,
                                        shmpipe_holder *holders,
                                        size_t *count);

/**
 * The processes that hold a receiver of this pipe; otherwise as shmpipe_receiver_holders().
 *
 * Threads: `tx` by one at a time. Ownership: the memory stays the caller's.
 */
shmpipe_status shmpipe_sender_holders(shmpipe_sender *tx, shmpipe_holder *holders, size_t *count);

/**
 * Whether two handles are of the same side of the same pipe. False where one is NULL, or has a loan open.
 *
 * Threads: both by one at a time.
 */
bool shmpipe_receiver_same_pipe(shmpipe_receiver *one,
                                shmpipe_receiver *other);

/**
 * Whether two handles are of the same side of the same pipe. False where one is NULL, or has a loan open.
 *
 * Threads: both by one at a time.
 */
bool shmpipe_sender_same_pipe(shmpipe_sender *one,
                              shmpipe_sender *other);

/**
 * Fills the page tables of a pipe in shared memory now, and not as it is used. Does nothing to a kernel pipe.
 *
 * Threads: `rx` by one at a time.
 */
shmpipe_status shmpipe_receiver_prefault(shmpipe_receiver *rx);

/**
 * As shmpipe_receiver_prefault().
 *
 * Threads: `tx` by one at a time.
 */
shmpipe_status shmpipe_sender_prefault(shmpipe_sender *tx);

/**
 * Does at once what the first calls would do, so that this thread can close its sandbox (seccomp(2)) afterwards, and so
 * that a later call in a signal handler finds everything made. Call it in each thread that is to use the end so, and
 * again in a forked child.
 *
 * Threads: `rx` by one at a time.
 */
shmpipe_status shmpipe_receiver_warm_up(shmpipe_receiver *rx);

/**
 * As shmpipe_receiver_warm_up().
 *
 * Threads: `tx` by one at a time.
 */
shmpipe_status shmpipe_sender_warm_up(shmpipe_sender *tx);

/**
 * The version of the library, as `0.1.0`.
 *
 * Threads: any. Ownership: the text is static.
 */
const char *shmpipe_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SHMPIPE_H */

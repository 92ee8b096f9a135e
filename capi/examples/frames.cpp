// Frames without a copy, from a forked child, with handles that free themselves and statuses that are exceptions.
//
//     c++ -std=c++17 -o frames frames.cpp $(pkg-config --cflags --libs shmpipe)
#include <shmpipe.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <sys/wait.h>
#include <unistd.h>

namespace {

// A status with its text.
struct Error : std::runtime_error {
    explicit Error(shmpipe_status status) : std::runtime_error(shmpipe_last_error()), status(status) {}
    shmpipe_status status;
};

void check(shmpipe_status status) {
    if (status != SHMPIPE_OK) {
        throw Error(status);
    }
}

template <typename T, void (*release)(T **)>
struct Release {
    void operator()(T *handle) const noexcept { release(&handle); }
};
template <typename T, void (*release)(T **)>
using Handle = std::unique_ptr<T, Release<T, release>>;
using Sender = Handle<shmpipe_sender, shmpipe_sender_free>;
using Receiver = Handle<shmpipe_receiver, shmpipe_receiver_free>;
using Options = Handle<shmpipe_options, shmpipe_options_free>;

// Room for one message, given back unless it is committed.
class Slot {
  public:
    Slot(const Sender &tx, std::size_t len) { check(shmpipe_reserve(tx.get(), len, &slot)); }
    Slot(const Slot &) = delete;
    Slot &operator=(const Slot &) = delete;
    ~Slot() { shmpipe_slot_discard(slot); }
    std::uint8_t *data() {
        void *memory = nullptr;
        check(shmpipe_slot_data(slot, &memory));
        return static_cast<std::uint8_t *>(memory);
    }
    void commit() { check(shmpipe_slot_commit(slot)); }

  private:
    shmpipe_slot *slot = nullptr;
};

// A message where it lies, received when it goes.
class View {
  public:
    explicit View(const Receiver &rx) { check(shmpipe_recv_in_place(rx.get(), &view)); }
    View(const View &) = delete;
    View &operator=(const View &) = delete;
    ~View() { shmpipe_view_release(view); }
    std::size_t size() const { return shmpipe_view_len(view); }
    const std::uint8_t *data() const {
        const void *bytes = nullptr;
        check(shmpipe_view_data(view, &bytes));
        return static_cast<const std::uint8_t *>(bytes);
    }

  private:
    shmpipe_view *view = nullptr;
};

constexpr std::size_t frame_bytes = 320 * 240;
constexpr int frames = 20;

std::pair<Receiver, Sender> make_pipe() {
    shmpipe_options *raw = nullptr;
    check(shmpipe_options_new(&raw));
    const Options options(raw);
    check(shmpipe_options_label(options.get(), "frames"));
    check(shmpipe_options_capacity(options.get(), 8 * (frame_bytes + 8)));
    shmpipe_receiver *rx = nullptr;
    shmpipe_sender *tx = nullptr;
    check(shmpipe_pipe(options.get(), &rx, &tx));
    return {Receiver(rx), Sender(tx)};
}

void camera(Sender tx) {
    for (int number = 0; number < frames; number++) {
        Slot slot(tx, frame_bytes);
        std::memset(slot.data(), number, frame_bytes);
        slot.commit();
        Slot dropped(tx, frame_bytes); // sends nothing
    }
}

int encoder(Receiver rx) {
    int count = 0;
    try {
        for (;; count++) {
            const View view(rx);
            const auto sum = std::accumulate(view.data(), view.data() + view.size(), std::uint64_t{0});
            if (view.size() != frame_bytes || sum != std::uint64_t(count) * frame_bytes) {
                std::fprintf(stderr, "frame %d: %zu bytes, sum %llu\n", count, view.size(),
                             static_cast<unsigned long long>(sum));
                return 1;
            }
        }
    } catch (const Error &error) {
        if (error.status != SHMPIPE_DISCONNECTED) {
            throw;
        }
    }
    std::printf("%d frames of %zu bytes\n", count, frame_bytes);
    return count == frames ? 0 : 1;
}

} // namespace

int main() try {
    auto [rx, tx] = make_pipe();
    const pid_t child = fork();
    if (child < 0) {
        throw std::runtime_error("fork");
    }
    if (child == 0) {
        rx.reset();
        camera(std::move(tx));
        return 0;
    }
    tx.reset(); // the child's copy is now the only sender
    int outcome = encoder(std::move(rx));
    int status = 0;
    if (waitpid(child, &status, 0) != child || status != 0) {
        outcome = 1;
    }
    return outcome;
} catch (const std::exception &error) {
    std::fprintf(stderr, "frames: %s\n", error.what());
    return 1;
}

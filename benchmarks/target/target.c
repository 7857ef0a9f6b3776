// A web server that answers after a known delay and says when it did.
//
//   target PORT         listens on 127.0.0.1:PORT (0 chooses one) and prints "port N"
//   GET /d/USEC         1 KB after USEC microseconds; Server-Timing: app;dur=MS is the truth: from the
//                       kernel's receive stamp of the request to the moment before the answer's write
//   GET /truth          JSON: percentiles of all such times since the last /reset
//   GET /reset          forget them
//
// One thread, epoll, a timerfd and a heap of due answers.  It ends when its standard input does, so it
// never outlives whoever started it.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_FD 65536
#define MAX_REQUEST 4096
#define MAX_DUE (1 << 17)
#define MAX_TRUTHS (1 << 24)
#define BODY 1024

typedef struct { int64_t at, arrived; int fd; uint32_t life; } due_t;
typedef struct { char *data; int length; uint32_t life; } peer_t;

static due_t heap[MAX_DUE];
static int heap_size;
static peer_t peers[MAX_FD];
static uint32_t *truths;
static size_t truth_count;
static char answer[4096];
static int answer_length, stamp_at;
static int poll_fd, timer_fd;
static int64_t armed_for;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);  // the clock of the kernel's stamps
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void push(due_t item) {
    int i = heap_size++;
    while (i && heap[(i - 1) / 2].at > item.at) { heap[i] = heap[(i - 1) / 2]; i = (i - 1) / 2; }
    heap[i] = item;
}

static due_t pop(void) {
    due_t first = heap[0], last = heap[--heap_size];
    int i = 0, child;
    while ((child = 2 * i + 1) < heap_size) {
        if (child + 1 < heap_size && heap[child + 1].at < heap[child].at) child++;
        if (last.at <= heap[child].at) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return first;
}

static void hang_up(int fd) {
    peers[fd].life++;
    peers[fd].length = 0;
    close(fd);
}

static void send_all(int fd, const char *data, int length) {
    if (send(fd, data, length, MSG_NOSIGNAL) != length) hang_up(fd);
}

static void give(due_t due) {
    if (peers[due.fd].life != due.life) return;
    char text[32];
    int64_t took = now_ns() - due.arrived;
    if (truth_count < MAX_TRUTHS) truths[truth_count++] = took > UINT32_MAX ? UINT32_MAX : took;
    snprintf(text, sizeof text, "%06lld.%06lld", (long long)(took / 1000000), (long long)(took % 1000000));
    memcpy(answer + stamp_at, text, 13);
    send_all(due.fd, answer, answer_length);
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t rank(double share) {
    if (!truth_count) return 0;
    size_t k = (size_t)(share * truth_count);
    return truths[k < truth_count ? k : truth_count - 1];
}

static void tell_truth(int fd) {
    char body[256], out[512];
    qsort(truths, truth_count, sizeof *truths, ascending);
    snprintf(body, sizeof body, "{\"n\":%zu,\"p50_ns\":%u,\"p99_ns\":%u,\"p99.9_ns\":%u}", truth_count,
             rank(.5), rank(.99), rank(.999));
    int length = snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
    send_all(fd, out, length);
}

static void handle(int fd, char *request, int64_t arrived) {
    if (!strncmp(request, "GET /d/", 7)) {
        due_t due = {arrived + 1000LL * strtoll(request + 7, NULL, 10), arrived, fd, peers[fd].life};
        if (due.at <= now_ns() || heap_size == MAX_DUE) give(due);
        else push(due);
    } else if (!strncmp(request, "GET /truth", 10)) {
        tell_truth(fd);
    } else {
        if (!strncmp(request, "GET /reset", 10)) truth_count = 0;
        send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 38);
    }
}

static void take(int fd) {
    peer_t *peer = &peers[fd];
    char control[128];
    struct iovec part = {peer->data + peer->length, MAX_REQUEST - 1 - peer->length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(fd, &message, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) { hang_up(fd); return; }
    int64_t arrived = now_ns();
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
            struct timespec t;
            memcpy(&t, CMSG_DATA(c), sizeof t);
            arrived = t.tv_sec * 1000000000LL + t.tv_nsec;
        }
    peer->length += got;
    peer->data[peer->length] = 0;
    char *end = strstr(peer->data, "\r\n\r\n");
    if (end) { peer->length = 0; handle(fd, peer->data, arrived); }
    else if (peer->length == MAX_REQUEST - 1) hang_up(fd);
}

static void welcome(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= MAX_FD) { close(fd); continue; }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
        if (!peers[fd].data) peers[fd].data = malloc(MAX_REQUEST);
        peers[fd].length = 0;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

static void arm(void) {
    if (!heap_size || heap[0].at == armed_for) return;
    armed_for = heap[0].at;
    struct itimerspec when = {.it_value = {armed_for / 1000000000, armed_for % 1000000000}};
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
}

int main(int count, char **words) {
    struct rlimit files = {MAX_FD, MAX_FD};
    if (setrlimit(RLIMIT_NOFILE, &files)) {
        getrlimit(RLIMIT_NOFILE, &files);
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    truths = malloc(sizeof *truths * MAX_TRUTHS);
    answer_length = sprintf(answer, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer-Timing: app;dur=");
    stamp_at = answer_length;
    answer_length += sprintf(answer + stamp_at, "000000.000000\r\nContent-Length: %d\r\n\r\n", BODY);
    memset(answer + answer_length, 'x', BODY);
    answer_length += BODY;

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(count > 1 ? atoi(words[1]) : 0),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener, (void *)&address, size) || listen(listener, 8192)) { perror("target"); return 1; }
    getsockname(listener, (void *)&address, &size);
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);

    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    watch(listener);
    watch(timer_fd);
    watch(0);
    struct epoll_event events[512];
    for (;;) {
        arm();
        int ready = epoll_wait(poll_fd, events, 512, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            uint64_t ticks;
            if (fd == 0) { if (read(0, &ticks, sizeof ticks) <= 0) return 0; }
            else if (fd == listener) welcome(listener);
            else if (fd == timer_fd) { if (read(timer_fd, &ticks, sizeof ticks) > 0) armed_for = 0; }
            else take(fd);
        }
        while (heap_size && heap[0].at <= now_ns()) give(pop());
    }
}

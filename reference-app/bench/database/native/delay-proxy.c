/*
 * Forwards TCP connections on loopback and keeps every piece of data back for a while, in both directions, as a network
 * does. Usage: delay-proxy TARGET_PORT DELAY_US; prints the port that it listens on. Ends with its standard input.
 * In C because the delays are far below a millisecond, which no timer of Node.js can do without burning a core.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAIRS 256
#define CHUNK 65536

struct piece { struct piece *next; long long due; size_t from, length; char data[CHUNK]; };
struct way { int in, out; struct piece *first, *last; int ended, closed; };

static struct way ways[PAIRS * 2];
static int count;

static long long now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void prepare(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void take_connection(int listener, struct sockaddr_in *target)
{
    int client = accept(listener, NULL, NULL);
    if (client < 0) return;
    int server = socket(AF_INET, SOCK_STREAM, 0);
    if (count + 2 > PAIRS * 2 || connect(server, (struct sockaddr *)target, sizeof *target) < 0) {
        close(server);
        close(client);
        return;
    }
    prepare(client);
    prepare(server);
    ways[count++] = (struct way){.in = client, .out = server};
    ways[count++] = (struct way){.in = server, .out = client};
}

static void receive(struct way *way, long delay)
{
    struct piece *piece = malloc(sizeof *piece);
    ssize_t length = read(way->in, piece->data, CHUNK);
    if (length <= 0) {
        free(piece);
        if (length == 0 || (errno != EAGAIN && errno != EINTR)) way->ended = 1;
        return;
    }
    piece->due = now_us() + delay;
    piece->from = 0;
    piece->length = (size_t)length;
    piece->next = NULL;
    if (way->last) way->last->next = piece; else way->first = piece;
    way->last = piece;
}

int main(int argc, char **argv)
{
    if (argc != 3) return 2;
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    long delay = atol(argv[2]);
    prctl(PR_SET_TIMERSLACK, 1000);
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof own;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&own, sizeof own) < 0 || listen(listener, 128) < 0) return 1;
    getsockname(listener, (struct sockaddr *)&own, &size);
    printf("%d\n", ntohs(own.sin_port));
    fflush(stdout);

    for (;;) {
        static struct pollfd watched[PAIRS * 2 + 2];
        int index[PAIRS * 2], used = 2;
        long long next = -1, now = now_us();
        watched[0] = (struct pollfd){.fd = listener, .events = POLLIN};
        watched[1] = (struct pollfd){.fd = 0, .events = POLLIN};
        for (int i = 0; i < count; i++) {
            struct way *way = &ways[i];
            while (way->first && way->first->due <= now) {
                struct piece *piece = way->first;
                ssize_t sent = write(way->out, piece->data + piece->from, piece->length - piece->from);
                if (sent < 0) {
                    if (errno == EAGAIN || errno == EINTR) { piece->due = now + 100; break; }
                    way->ended = 1;
                    sent = (ssize_t)(piece->length - piece->from);
                }
                piece->from += (size_t)sent;
                if (piece->from < piece->length) { piece->due = now + 100; break; }
                way->first = piece->next;
                if (!way->first) way->last = NULL;
                free(piece);
            }
            if (way->first && (next < 0 || way->first->due < next)) next = way->first->due;
            if (way->ended && !way->first && !way->closed) { shutdown(way->out, SHUT_WR); way->closed = 1; }
            index[i] = -1;
            if (!way->ended) { index[i] = used; watched[used++] = (struct pollfd){.fd = way->in, .events = POLLIN}; }
        }
        struct timespec wait = {0, 0};
        if (next >= 0) {
            long long rest = next - now_us();
            if (rest < 0) rest = 0;
            wait = (struct timespec){rest / 1000000, (rest % 1000000) * 1000};
        }
        if (ppoll(watched, used, next < 0 ? NULL : &wait, NULL) < 0 && errno != EINTR) return 1;
        int before = count;
        for (int i = 0; i < before; i++) if (index[i] >= 0 && watched[index[i]].revents) receive(&ways[i], delay);
        if (watched[0].revents) take_connection(listener, &target);
        if (watched[1].revents) { char end; if (read(0, &end, 1) <= 0) return 0; }
    }
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// One loop: bytes from peers, a turn of each device, bytes to peers. While a device is busy nobody waits; while none
// is, the sockets are waited for, a few milliseconds at a time since a device may also do something on its own.
#include "bus_server.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    MOST_PEERS = 32,
    IDLE_MS = 5,
    RECEIVE_BYTES = 1 << 20,
    MOST_UNSENT = 64 << 20, // a peer that does not read is not listened to
    SHRINK_BYTES = 4 << 20,
};

// ---- Bytes on their way.

void systole_byte_queue_append(struct systole_byte_queue *queue, const void *bytes, size_t size) {
    if (size == 0 || queue->failed) {
        return;
    }
    if (queue->start + queue->count + size > queue->capacity) {
        if (queue->count != 0) {
            memmove(queue->bytes, queue->bytes + queue->start, queue->count);
        }
        queue->start = 0;
        if (queue->count + size > queue->capacity) {
            size_t capacity = 2 * (queue->count + size);
            uint8_t *grown = realloc(queue->bytes, capacity);
            if (grown == NULL) {
                queue->failed = true;
                return;
            }
            queue->bytes = grown;
            queue->capacity = capacity;
        }
    }
    memcpy(queue->bytes + queue->start + queue->count, bytes, size);
    queue->count += size;
}

void systole_byte_queue_take(struct systole_byte_queue *queue, size_t size) {
    queue->start += size;
    queue->count -= size;
    if (queue->count == 0) {
        queue->start = 0;
        if (queue->capacity > SHRINK_BYTES) {
            systole_byte_queue_free(queue);
        }
    }
}

void systole_byte_queue_free(struct systole_byte_queue *queue) {
    free(queue->bytes);
    *queue = (struct systole_byte_queue){.failed = queue->failed};
}

// ---- Peers.

struct peer {
    int socket; // -1: this place is free
    bool ending;
    void *session;
    struct systole_byte_queue out;
};

struct server {
    const struct systole_bus_protocol *protocol;
    struct systole_bus bus;
    int listener;
    struct peer peers[MOST_PEERS];
    uint8_t *received;
};

static volatile sig_atomic_t asked_to_end;

static void ask_to_end(int signal) {
    asked_to_end = signal;
}

static void dismiss(struct server *server, struct peer *peer) {
    server->protocol->close(peer->session);
    systole_byte_queue_free(&peer->out);
    (void)close(peer->socket);
    *peer = (struct peer){.socket = -1};
}

static void admit(struct server *server) {
    int on = 1;
    struct peer *peer = server->peers;
    int connection = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection < 0) {
        return;
    }
    while (peer < server->peers + MOST_PEERS && peer->socket >= 0) {
        peer++;
    }
    if (peer < server->peers + MOST_PEERS) {
        (void)setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on,
                         sizeof on); // of a Unix socket: an error, and no loss
        peer->session = server->protocol->open(&server->bus, &peer->out);
        if (peer->session != NULL) {
            peer->socket = connection;
            return;
        }
    }
    (void)close(connection);
}

// False: the peer is gone.
static bool receive(struct server *server, struct peer *peer) {
    ssize_t got = recv(peer->socket, server->received, RECEIVE_BYTES, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        return false;
    }
    if (got > 0 && !server->protocol->receive(peer->session, server->received, (size_t)got)) {
        peer->ending = true;
    }
    return true;
}

static bool send_out(struct peer *peer) {
    while (peer->out.count != 0) {
        ssize_t sent = send(peer->socket, peer->out.bytes + peer->out.start, peer->out.count, MSG_NOSIGNAL);
        if (sent < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        systole_byte_queue_take(&peer->out, (size_t)sent);
    }
    return true;
}

static void serve_peer(struct server *server, struct peer *peer, short events) {
    bool there = true;
    if ((events & (POLLIN | POLLHUP | POLLERR)) != 0 && !peer->ending && peer->out.count < MOST_UNSENT) {
        there = receive(server, peer);
    } else if ((events & (POLLHUP | POLLERR)) != 0) {
        there = false;
    }
    if (there && !peer->ending) {
        peer->ending = !server->protocol->advance(peer->session);
    }
    there = there && !peer->out.failed && send_out(peer);
    if (!there || (peer->ending && peer->out.count == 0)) {
        dismiss(server, peer);
    }
}

static void serve(struct server *server) {
    struct pollfd polled[1 + MOST_PEERS];
    while (asked_to_end == 0) {
        bool busy = false;
        for (uint32_t i = 0; i < server->bus.count; i++) {
            busy = systole_usb_port_run(&server->bus.ports[i]) || busy;
        }
        polled[0] = (struct pollfd){.fd = server->listener, .events = POLLIN};
        for (uint32_t i = 0; i < MOST_PEERS; i++) {
            struct peer *peer = &server->peers[i];
            if (peer->socket >= 0) { // what the devices made goes out at once
                serve_peer(server, peer, 0);
            }
            bool listens = !peer->ending && peer->out.count < MOST_UNSENT;
            polled[1 + i] = (struct pollfd){
                .fd = peer->socket,
                .events = (short)((listens ? POLLIN : 0) | (peer->out.count != 0 ? POLLOUT : 0)),
            };
        }
        if (poll(polled, 1 + MOST_PEERS, busy ? 0 : IDLE_MS) <= 0) {
            continue;
        }
        for (uint32_t i = 0; i < MOST_PEERS; i++) {
            if (server->peers[i].socket >= 0 && polled[1 + i].revents != 0) {
                serve_peer(server, &server->peers[i], polled[1 + i].revents);
            }
        }
        if ((polled[0].revents & POLLIN) != 0) {
            admit(server);
        }
    }
}

// ---- The listener.

static int listen_at(const struct sockaddr *address, socklen_t size) {
    int on = 1;
    int made = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (made >= 0) {
        if (address->sa_family != AF_UNIX) {
            (void)setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        }
        if (bind(made, address, size) != 0 || listen(made, MOST_PEERS) != 0) {
            int error = errno;
            (void)close(made);
            made = -1;
            errno = error;
        }
    }
    return made;
}

// Of a server that was killed: there is a socket, and nobody listens.
static bool is_abandoned(const struct sockaddr_un *address) {
    struct stat old;
    bool refused = false;
    if (stat(address->sun_path, &old) == 0 && S_ISSOCK(old.st_mode)) {
        int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        refused = probe >= 0 && connect(probe, (const struct sockaddr *)address, sizeof *address) != 0 &&
                  errno == ECONNREFUSED;
        if (probe >= 0) {
            (void)close(probe);
        }
    }
    return refused;
}

static enum systole_status listen_unix(const char *path, int *listener, struct systole_diagnostic *diagnostic) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, path, "choose a shorter one",
                            "the path is too long for a socket");
    }
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (is_abandoned(&address)) {
        (void)unlink(path);
    }
    *listener = listen_at((const struct sockaddr *)&address, sizeof address);
    if (*listener < 0) {
        const char *hint = errno == EADDRINUSE ? "another server may listen there; choose another path"
                                               : "choose a folder that you may write to";
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, path, hint, "cannot listen: %s", strerror(errno));
    }
    printf("listening on %s\n", path);
    return SYSTOLE_OK;
}

static void tell_address(int listener) {
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getsockname(listener, (struct sockaddr *)&address, &size) == 0 &&
        getnameinfo((struct sockaddr *)&address, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
        printf(strchr(host, ':') != NULL ? "listening on [%s]:%s\n" : "listening on %s:%s\n", host, port);
    }
}

// text: [HOST:]PORT, an IPv6 host in brackets.
static enum systole_status listen_inet(const char *text, int *listener, struct systole_diagnostic *diagnostic) {
    char host[256] = "127.0.0.1";
    const char *colon = strrchr(text, ':');
    const char *port = colon == NULL ? text : colon + 1;
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    if (colon != NULL && colon != text) {
        bool bracketed = text[0] == '[' && colon[-1] == ']';
        int length = (int)(colon - text) - (bracketed ? 2 : 0);
        (void)snprintf(host, sizeof host, "%.*s", length, text + (bracketed ? 1 : 0));
    }
    if (port[0] == '\0' || strspn(port, "0123456789") != strlen(port) || strlen(port) > 5 || atol(port) > 65535) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, text, "HOST:PORT, such as 127.0.0.1:3240",
                            "not an address to listen at");
    }
    int error = getaddrinfo(host, port, &wanted, &found);
    if (error != 0) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, text, "HOST:PORT, such as 127.0.0.1:3240",
                            "no such address: %s", gai_strerror(error));
    }
    *listener = listen_at(found->ai_addr, found->ai_addrlen);
    error = errno;
    freeaddrinfo(found);
    if (*listener < 0) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, text, "choose another with --listen HOST:PORT",
                            "cannot listen: %s", strerror(error));
    }
    tell_address(*listener);
    return SYSTOLE_OK;
}

static enum systole_status serve_devices(const struct systole_bus_protocol *protocol, const char *standard,
                                         struct systole_usb_device *const *devices, uint32_t count,
                                         const struct systole_listen_address *address,
                                         struct systole_diagnostic *diagnostic) {
    struct server server = {.protocol = protocol, .listener = -1};
    struct sigaction end = {.sa_handler = ask_to_end}, saved[2];
    const char *listen_text = address->listen != NULL ? address->listen : standard;
    enum systole_status status = SYSTOLE_OK;
    for (uint32_t i = 0; i < MOST_PEERS; i++) {
        server.peers[i].socket = -1;
    }
    server.received = malloc(RECEIVE_BYTES);
    server.bus = (struct systole_bus){calloc(count, sizeof *server.bus.ports), count};
    if (server.received == NULL || server.bus.ports == NULL) {
        status = systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, "", "", "no memory for a USB server");
        goto done;
    }
    for (uint32_t i = 0; i < count; i++) {
        server.bus.ports[i].device = devices[i];
    }
    asked_to_end = 0;
    (void)sigaction(SIGINT, &end, &saved[0]);
    (void)sigaction(SIGTERM, &end, &saved[1]);
    status = address->socket != NULL ? listen_unix(address->socket, &server.listener, diagnostic)
                                     : listen_inet(listen_text, &server.listener, diagnostic);
    if (status == SYSTOLE_OK) {
        (void)fflush(stdout);
        serve(&server);
    }
    (void)sigaction(SIGTERM, &saved[1], NULL);
    (void)sigaction(SIGINT, &saved[0], NULL);
    for (uint32_t i = 0; i < MOST_PEERS; i++) {
        if (server.peers[i].socket >= 0) {
            dismiss(&server, &server.peers[i]);
        }
    }
    if (server.listener >= 0) {
        (void)close(server.listener);
        if (address->socket != NULL) {
            (void)unlink(address->socket);
        }
    }
done:
    free(server.bus.ports);
    free(server.received);
    return status;
}

enum systole_status systole_serve_usbredir(struct systole_usb_device *const *devices, uint32_t count,
                                           const struct systole_listen_address *address,
                                           struct systole_diagnostic *diagnostic) {
    return serve_devices(&systole_usbredir_protocol, "127.0.0.1:4000", devices, count, address, diagnostic);
}

enum systole_status systole_serve_usbip(struct systole_usb_device *const *devices, uint32_t count,
                                        const struct systole_listen_address *address,
                                        struct systole_diagnostic *diagnostic) {
    return serve_devices(&systole_usbip_protocol, "127.0.0.1:3240", devices, count, address, diagnostic);
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Devices on a virtual USB bus: a FUSE file system at /dev/bus/usb, whose files answer the ioctls of usbfs, for a
// command that runs in the same private namespaces. The kernel hands over the ioctl's number, its argument and the
// caller; the memory that the argument points to is read and written through the caller's process.
//
// A server process of its own enters the namespaces, so that nothing of them is left in the caller. It is one loop:
// requests of the file system, bytes between transfers and device, a slice of the device's cycles.
#define FUSE_USE_VERSION 35
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device.h"
#include "usbfs.h"
#include "virtual_bus.h"

enum {
    TURNS_BETWEEN_WAITS = 64, // looks whether the command has ended, while the device is busy
    IDLE_MS = 5,              // the same, while it is not
    ROOT_NODE = 1,
    BUS_NODE = 2,
    FIRST_DEVICE_NODE = 16, // plus the device number
    NAME_BYTES = 8,
    CANNOT_RUN = 127,
};

// What the server process leaves for its parent.
struct outcome {
    enum systole_status status;
    struct systole_diagnostic diagnostic;
    int exit_status;
};

// A device at its port; numbers and whether it is plugged in are the bus's.
struct port {
    struct systole_usb_device *device;
    struct systole_usbfs *usbfs;
};

struct server {
    struct port ports[SYSTOLE_VIRTUAL_BUS_PORTS];
    uint32_t count;
    struct systole_virtual_bus bus;
    struct fuse_session *session;
    struct open_file *files;
    bool mounted;
};

struct open_file {
    struct open_file *next;
    const struct port *port;
    struct systole_usbfs_file *usbfs;
    struct fuse_pollhandle *waiter; // who waits for events, or NULL
    short told;                     // the events at that time
};

// ---- The file system: /001/NNN.

static struct server *server_of(fuse_req_t request) {
    return fuse_req_userdata(request);
}

// The port whose device a node is; NULL: it is none, or gone.
static struct port *port_of(struct server *server, fuse_ino_t node) {
    for (uint32_t i = 0; i < server->count; i++) {
        unsigned number = server->bus.device_numbers[i];
        if (number != 0 && node == FIRST_DEVICE_NODE + number) {
            return &server->ports[i];
        }
    }
    return NULL;
}

static bool node_exists(struct server *server, fuse_ino_t node) {
    return node == ROOT_NODE || node == BUS_NODE || port_of(server, node) != NULL;
}

// The i-th entry of a folder; 0: there are no more.
static fuse_ino_t child_of(const struct server *server, fuse_ino_t folder, uint32_t index, char name[NAME_BYTES]) {
    if (folder == ROOT_NODE) {
        (void)snprintf(name, NAME_BYTES, "%03u", SYSTOLE_VIRTUAL_BUS_NUMBER);
        return index == 0 ? BUS_NODE : 0;
    }
    for (uint32_t i = 0; folder == BUS_NODE && i < server->count; i++) {
        unsigned number = server->bus.device_numbers[i];
        if (number != 0 && index-- == 0) {
            (void)snprintf(name, NAME_BYTES, "%03u", number % 1000);
            return FIRST_DEVICE_NODE + number;
        }
    }
    return 0;
}

static struct stat attributes(fuse_ino_t node) {
    bool folder = node == ROOT_NODE || node == BUS_NODE;
    return (struct stat){.st_ino = node,
                         .st_mode = folder ? S_IFDIR | 0755 : S_IFREG | 0666,
                         .st_nlink = folder ? 2 : 1,
                         .st_size = folder ? 0 : 4096};
}

static void lookup(fuse_req_t request, fuse_ino_t parent, const char *name) {
    struct server *server = server_of(request);
    struct fuse_entry_param entry = {.ino = 0};
    char child[NAME_BYTES];
    uint32_t index = 0;
    do {
        entry.ino = child_of(server, parent, index++, child);
    } while (entry.ino != 0 && strcmp(name, child) != 0);
    if (entry.ino == 0) {
        (void)fuse_reply_err(request, ENOENT);
        return;
    }
    entry.attr = attributes(entry.ino);
    (void)fuse_reply_entry(request, &entry);
}

static void get_attributes(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *info) {
    (void)info;
    if (node_exists(server_of(request), node)) {
        struct stat status = attributes(node);
        (void)fuse_reply_attr(request, &status, 0);
    } else {
        (void)fuse_reply_err(request, ENOENT);
    }
}

static void read_folder(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *info) {
    (void)info;
    char buffer[1024];
    char name[NAME_BYTES];
    size_t used = 0, limit = size < sizeof buffer ? size : sizeof buffer;
    for (uint32_t index = (uint32_t)offset; offset >= 0; index++) {
        fuse_ino_t child = child_of(server_of(request), node, index, name);
        struct stat status = attributes(child);
        size_t wanted = child == 0 ? 0 : fuse_add_direntry(request, NULL, 0, name, NULL, 0);
        if (child == 0 || used + wanted > limit) {
            break;
        }
        used += fuse_add_direntry(request, buffer + used, limit - used, name, &status, (off_t)index + 1);
    }
    (void)fuse_reply_buf(request, buffer, used);
}

static void open_device(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *info) {
    struct server *server = server_of(request);
    struct port *port = port_of(server, node);
    struct open_file *file = NULL;
    int error = 0;
    if (port == NULL) {
        error = node == ROOT_NODE || node == BUS_NODE ? EISDIR : ENODEV;
        goto failed;
    }
    file = calloc(1, sizeof *file);
    if (file == NULL || (file->usbfs = systole_usbfs_open(port->usbfs)) == NULL) {
        error = ENOMEM;
        goto failed;
    }
    file->port = port;
    file->next = server->files;
    server->files = file;
    info->fh = (uint64_t)(uintptr_t)file;
    info->direct_io = 1;
    (void)fuse_reply_open(request, info);
    return;
failed:
    free(file);
    (void)fuse_reply_err(request, error);
}

static struct open_file *file_of(const struct fuse_file_info *info) {
    return (struct open_file *)(uintptr_t)info->fh;
}

static void close_file(struct server *server, struct open_file *file) {
    struct open_file **at = &server->files;
    while (*at != file) {
        at = &(*at)->next;
    }
    *at = file->next;
    if (file->waiter != NULL) {
        fuse_pollhandle_destroy(file->waiter);
    }
    systole_usbfs_close(file->usbfs);
    free(file);
}

static void release_device(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *info) {
    (void)node;
    close_file(server_of(request), file_of(info));
    (void)fuse_reply_err(request, 0);
}

// A device file reads as its descriptors.
static void read_device(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *info) {
    (void)node;
    uint8_t bytes[1024];
    size_t total = systole_usb_descriptors(file_of(info)->port->device, bytes, sizeof bytes);
    size_t start = offset < 0 || (size_t)offset > total ? total : (size_t)offset;
    (void)fuse_reply_buf(request, (const char *)bytes + start, total - start < size ? total - start : size);
}

static void control_device(fuse_req_t request, fuse_ino_t node, unsigned command, void *argument,
                           struct fuse_file_info *info, unsigned flags, const void *input, size_t input_size,
                           size_t output_size) {
    (void)node;
    (void)input;
    (void)input_size;
    (void)output_size;
    if ((flags & FUSE_IOCTL_COMPAT) != 0) { // 32-bit programs have other structures
        (void)fuse_reply_err(request, ENOTTY);
        return;
    }
    int result =
        systole_usbfs_ioctl(file_of(info)->usbfs, fuse_req_ctx(request)->pid, command, (uint64_t)(uintptr_t)argument);
    if (result < 0) {
        (void)fuse_reply_err(request, -result);
    } else {
        (void)fuse_reply_ioctl(request, result, NULL, 0);
    }
}

static void poll_device(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *info,
                        struct fuse_pollhandle *waiter) {
    (void)node;
    struct open_file *file = file_of(info);
    if (waiter != NULL) {
        if (file->waiter != NULL) {
            fuse_pollhandle_destroy(file->waiter);
        }
        file->waiter = waiter;
    }
    file->told = systole_usbfs_events(file->usbfs);
    (void)fuse_reply_poll(request, (unsigned)file->told);
}

static const struct fuse_lowlevel_ops operations = {
    .lookup = lookup,
    .getattr = get_attributes,
    .readdir = read_folder,
    .open = open_device,
    .release = release_device,
    .read = read_device,
    .ioctl = control_device,
    .poll = poll_device,
};

// Wakes those for whom something has changed since they looked.
static void notify_waiters(struct server *server) {
    for (struct open_file *file = server->files; file != NULL; file = file->next) {
        if (file->waiter != NULL && systole_usbfs_events(file->usbfs) != file->told) {
            (void)fuse_lowlevel_notify_poll(file->waiter);
            fuse_pollhandle_destroy(file->waiter);
            file->waiter = NULL;
        }
    }
}

// ---- The server process.

static enum systole_status mount_bus(struct server *server, struct systole_diagnostic *diagnostic) {
    static const char *const hint = "load the kernel module fuse, or use the in-process device";
    enum systole_status status = SYSTOLE_OK;
    char options[128];
    char name[] = "systole";
    char *arguments[] = {name, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, arguments);
    int file = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) {
        status =
            systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, "/dev/fuse", hint, "cannot open it: %s", strerror(errno));
        goto done;
    }
    (void)snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", file);
    if (mount("systole", SYSTOLE_VIRTUAL_BUS_FOLDER, "fuse", MS_NOSUID | MS_NODEV, options) != 0) {
        status = systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, SYSTOLE_VIRTUAL_BUS_FOLDER, hint,
                              "cannot mount a FUSE file system: %s", strerror(errno));
        goto done;
    }
    server->mounted = true;
    server->session = fuse_session_new(&args, &operations, sizeof operations, server);
    (void)snprintf(options, sizeof options, "/dev/fd/%d", file);
    if (server->session == NULL || fuse_session_mount(server->session, options) != 0) {
        status = systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, SYSTOLE_VIRTUAL_BUS_FOLDER, "",
                              "cannot start a FUSE session");
        goto done;
    }
    file = -1; // the session's now
done:
    if (file >= 0) {
        (void)close(file);
    }
    fuse_opt_free_args(&args);
    return status;
}

static void unmount_bus(struct server *server) {
    if (server->mounted) {
        (void)umount2(SYSTOLE_VIRTUAL_BUS_FOLDER, MNT_DETACH);
    }
    while (server->files != NULL) {
        close_file(server, server->files);
    }
    if (server->session != NULL) {
        fuse_session_destroy(server->session); // closes the file: who is left inside gets an error
    }
}

static volatile sig_atomic_t asked_to_end, abandoned;

static void ask_to_end(int signal) {
    asked_to_end = signal;
}

static void note_abandoned(int signal) {
    (void)signal;
    abandoned = 1;
}

// Starts the command; -1 and errno: it cannot be run.
static pid_t start(char *const *command) {
    int report[2];
    int error = 0;
    if (pipe2(report, O_CLOEXEC) != 0) {
        return -1;
    }
    pid_t server = getpid();
    pid_t child = fork();
    if (child == 0) {
        (void)signal(SIGINT, SIG_DFL);
        (void)signal(SIGQUIT, SIG_DFL);
        (void)signal(SIGTERM, SIG_DFL);
        (void)signal(SIGHUP, SIG_DFL);
        (void)signal(SIGUSR1, SIG_DFL);
        if (getppid() == server && setenv("SYSTEMD_DEVICE_VERIFY_SYSFS", "0", 1) == 0) {
            (void)execvp(command[0], command);
        }
        error = errno;
        (void)!write(report[1], &error, sizeof error);
        _exit(CANNOT_RUN);
    }
    error = child < 0 ? errno : 0;
    (void)close(report[1]);
    // The file system is not needed for this: the command is still on its way to exec.
    if (child > 0 && read(report[0], &error, sizeof error) == (ssize_t)sizeof error) {
        (void)waitpid(child, NULL, 0);
        child = -1;
    }
    (void)close(report[0]);
    errno = error;
    return child;
}

static bool has_ended(pid_t child, int *exit_status) {
    int state = 0;
    if (waitpid(child, &state, WNOHANG) != child) {
        return false;
    }
    *exit_status = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
    return true;
}

static enum systole_status plug(struct server *server, uint32_t port, struct systole_diagnostic *diagnostic) {
    const struct systole_usb_device *device = server->ports[port].device;
    return systole_usb_device_present(device) ? systole_virtual_bus_plug(&server->bus, port, device, diagnostic)
                                              : SYSTOLE_OK;
}

// A device that became another one is unplugged and plugged in again; one that was pulled out comes back later.
static enum systole_status notice_reenumeration(struct server *server, struct systole_diagnostic *diagnostic) {
    enum systole_status status = SYSTOLE_OK;
    for (uint32_t i = 0; i < server->count && status == SYSTOLE_OK; i++) {
        if (systole_usbfs_reenumerated(server->ports[i].usbfs)) {
            if (server->bus.device_numbers[i] != 0) {
                systole_virtual_bus_unplug(&server->bus, i);
            }
            status = plug(server, i, diagnostic);
        }
    }
    return status;
}

static bool run_turns(const struct server *server) {
    bool busy = false;
    for (uint32_t i = 0; i < server->count; i++) {
        busy = systole_usbfs_run(server->ports[i].usbfs) || busy;
    }
    return busy;
}

static enum systole_status serve(struct server *server, pid_t child, int *exit_status,
                                 struct systole_diagnostic *diagnostic) {
    struct fuse_buf buffer = {.mem = NULL};
    enum systole_status status = SYSTOLE_OK;
    bool ended = false;
    uint32_t turns = 0;
    int told = 0; // signal that was passed on
    while (!ended && !abandoned && status == SYSTOLE_OK) {
        bool busy = run_turns(server);
        struct pollfd request = {.fd = fuse_session_fd(server->session), .events = POLLIN};
        int ready = 0;
        status = notice_reenumeration(server, diagnostic);
        notify_waiters(server);
        if (asked_to_end != told) {
            told = asked_to_end;
            (void)kill(child, told);
        }
        ready = poll(&request, 1, busy ? 0 : IDLE_MS);
        while (ready > 0 && fuse_session_receive_buf(server->session, &buffer) > 0) {
            fuse_session_process_buf(server->session, &buffer);
            if (status == SYSTOLE_OK) {
                status = notice_reenumeration(server, diagnostic);
            }
            notify_waiters(server);
        }
        if (ready <= 0 && (!busy || ++turns % TURNS_BETWEEN_WAITS == 0)) {
            ended = has_ended(child, exit_status);
        }
    }
    free(buffer.mem);
    // Who started us was killed: the command sees its device go, and is not ours to end.
    if (!ended && !abandoned) {
        (void)kill(child, SIGKILL);
        (void)waitpid(child, NULL, 0);
    }
    return status;
}

static enum systole_status plug_all(struct server *server, struct systole_usb_device *const *devices, uint32_t count,
                                    struct systole_diagnostic *diagnostic) {
    enum systole_status status = SYSTOLE_OK;
    for (uint32_t i = 0; i < count && status == SYSTOLE_OK; i++) {
        server->ports[i] = (struct port){devices[i], systole_usbfs_create(devices[i])};
        server->count = i + 1;
        status = server->ports[i].usbfs != NULL
                     ? plug(server, i, diagnostic)
                     : systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, "", "", "no memory for a USB bus");
    }
    return status;
}

static void run_server(struct systole_usb_device *const *devices, uint32_t count, char *const *command,
                       struct outcome *outcome) {
    struct server server = {.count = 0};
    pid_t child = -1;
    (void)signal(SIGINT, SIG_IGN); // the command has it, too, and decides
    (void)signal(SIGQUIT, SIG_IGN);
    (void)signal(SIGUSR1, note_abandoned);
    (void)signal(SIGTERM, ask_to_end);
    (void)signal(SIGHUP, ask_to_end);
    outcome->status = systole_virtual_bus_enter(&server.bus, &outcome->diagnostic);
    if (outcome->status != SYSTOLE_OK) {
        goto done;
    }
    outcome->status = mount_bus(&server, &outcome->diagnostic);
    if (outcome->status == SYSTOLE_OK) {
        outcome->status = plug_all(&server, devices, count, &outcome->diagnostic);
    }
    if (outcome->status != SYSTOLE_OK) {
        goto done;
    }
    child = start(command);
    if (child < 0) {
        outcome->status =
            systole_fail(&outcome->diagnostic, SYSTOLE_BAD_ARGUMENT, command[0],
                         "give a program and its arguments behind --", "cannot run it: %s", strerror(errno));
        goto done;
    }
    outcome->status = serve(&server, child, &outcome->exit_status, &outcome->diagnostic);
done:
    unmount_bus(&server);
    for (uint32_t i = 0; i < server.count; i++) {
        systole_usbfs_free(server.ports[i].usbfs);
    }
    systole_virtual_bus_leave(&server.bus);
}

// ---- The caller.

static pid_t server_process; // to which signals are passed on

static void pass_on(int signal) {
    if (server_process > 0) {
        (void)kill(server_process, signal);
    }
}

enum systole_status systole_serve_fuse(struct systole_usb_device *const *devices, uint32_t count, char *const *command,
                                       int *exit_status, struct systole_diagnostic *diagnostic) {
    enum systole_status status = SYSTOLE_OK;
    int state = 0;
    struct sigaction saved[2];
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction pass = {.sa_handler = pass_on};
    *exit_status = 0;
    if (command == NULL || command[0] == NULL) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, "", "give a program and its arguments behind --",
                            "no command to run on the virtual USB bus");
    }
    if (count == 0 || count > SYSTOLE_VIRTUAL_BUS_PORTS) {
        return systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, "", "", "%u devices on a USB bus of %d ports", count,
                            SYSTOLE_VIRTUAL_BUS_PORTS);
    }
    struct outcome *outcome = mmap(NULL, sizeof *outcome, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (outcome == MAP_FAILED) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, "", "", "no memory for a USB server");
    }
    outcome->status = SYSTOLE_DEVICE_GONE; // should it end without a word
    (void)fflush(NULL);
    pid_t parent = getpid();
    server_process = fork();
    if (server_process == 0) {
        (void)signal(SIGUSR1, note_abandoned);
        (void)prctl(PR_SET_PDEATHSIG, SIGUSR1);
        if (getppid() == parent) {
            run_server(devices, count, command, outcome);
        }
        _exit(0);
    }
    if (server_process < 0) {
        status =
            systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, "", "", "cannot start a USB server: %s", strerror(errno));
        goto done;
    }
    (void)sigaction(SIGINT, &ignore, &saved[0]);
    (void)sigaction(SIGTERM, &pass, &saved[1]);
    while (waitpid(server_process, &state, 0) < 0 && errno == EINTR) {
    }
    server_process = 0;
    (void)sigaction(SIGTERM, &saved[1], NULL);
    (void)sigaction(SIGINT, &saved[0], NULL);
    status = outcome->status;
    *exit_status = outcome->exit_status;
    if (WIFSIGNALED(state)) {
        status = systole_fail(diagnostic, SYSTOLE_DEVICE_GONE, "", "this is a defect, please report it",
                              "the USB server ended by signal %d", WTERMSIG(state));
    } else if (status != SYSTOLE_OK && diagnostic != NULL) {
        *diagnostic = outcome->diagnostic;
    }
done:
    (void)munmap(outcome, sizeof *outcome);
    return status;
}

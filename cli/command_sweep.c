// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A worker process a processor takes point after point from a counter that all share; what it finds goes to the CSV at
// once. A worker that dies takes its point with it, not the sweep. Nothing is kept but the CSV: to go on after
// whatever ended a sweep, give the same command.
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sweep.h"

enum { SLURM_TASKS = 1000 }; // what an installation allows unless told otherwise

struct shared {
    _Atomic uint32_t next, finished, failures;
};

struct sweep {
    const struct sweep_study *study;
    bool *done;
    uint32_t first, last; // points of this process
    int file;
    struct shared *shared;
};

static void work(const struct sweep *sweep) {
    for (uint32_t i; (i = atomic_fetch_add(&sweep->shared->next, 1)) < sweep->last;) {
        if (sweep->done[i]) {
            continue;
        }
        struct sweep_point point;
        char key[SWEEP_LINE], result[SWEEP_LINE], line[2 * SWEEP_LINE];
        sweep_study_point(sweep->study, i, &point);
        sweep_point_key(sweep->study, &point, key);
        sweep_measure(sweep->study, &point, result);
        (void)snprintf(line, sizeof line, "%s%s\n", key, result);
        if (!sweep_results_append(sweep->file, line)) {
            atomic_fetch_add(&sweep->shared->failures, 1);
        }
        atomic_fetch_add(&sweep->shared->finished, 1);
    }
}

static void show_progress(const struct shared *shared, uint32_t total, double start, bool last) {
    uint32_t finished = atomic_load(&shared->finished);
    double seconds = cli_seconds() - start;
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%u of %u points, %.0f s", finished, total, seconds);
        if (finished > 0 && finished < total) {
            fprintf(stderr, ", about %.0f s to go", seconds / finished * (total - finished));
        }
        fprintf(stderr, "   %s", last ? "\n" : "");
    }
}

// Returns how many workers ended badly.
static uint32_t run_workers(const struct sweep *sweep, uint32_t todo) {
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t count = processors > 0 ? (uint32_t)processors : 1, alive = 0, bad = 0;
    count = count < todo ? count : todo;
    double start = cli_seconds();
    pid_t parent = getpid();
    fflush(NULL);
    for (uint32_t i = 0; i < count; i++) {
        pid_t child = fork();
        if (child == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() == parent) {
                work(sweep);
            }
            _exit(0);
        }
        alive += child > 0;
    }
    bad += alive == 0;
    while (alive > 0) {
        int state;
        pid_t ended = waitpid(-1, &state, WNOHANG);
        if (ended > 0) {
            alive--;
            bad += !(WIFEXITED(state) && WEXITSTATUS(state) == 0);
            continue;
        }
        show_progress(sweep->shared, todo, start, false);
        nanosleep(&(struct timespec){0, 100000000}, NULL);
    }
    show_progress(sweep->shared, todo, start, true);
    return bad;
}

// The study's name with another extension.
static char *beside(const char *study, const char *extension) {
    const char *slash = strrchr(study, '/'), *dot = strrchr(study, '.');
    size_t length = dot != NULL && (slash == NULL || dot > slash) ? (size_t)(dot - study) : strlen(study);
    char *path = malloc(length + strlen(extension) + 1);
    if (path != NULL) {
        (void)snprintf(path, length + strlen(extension) + 1, "%.*s%s", (int)length, study, extension);
    }
    return path;
}

// 'TEXT' as a shell reads it, whatever is in it.
static void write_quoted(FILE *file, const char *text, const char *suffix) {
    fputc('\'', file);
    for (; *text != '\0'; text++) {
        fputs(*text == '\'' ? "'\\''" : (const char[]){*text, '\0'}, file);
    }
    fprintf(file, "%s'", suffix);
}

// The tasks of an array append to one CSV; each takes the points whose number it is, modulo the number of tasks. What
// a task has to complain about goes to one file, too: Slurm's own output would be a file a task.
static enum systole_status write_slurm(const char *path, const char *study, const char *csv, uint32_t points,
                                       struct systole_diagnostic *diagnostic) {
    char self[4096] = "systole";
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 7] = '\0';
    char *study_path = realpath(study, NULL), *text = NULL;
    char *folder = realpath(".", NULL);
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    enum systole_status status = SYSTOLE_OUT_OF_MEMORY;
    if (file != NULL && study_path != NULL && folder != NULL) {
        uint32_t tasks = points < SLURM_TASKS ? points : SLURM_TASKS;
        fprintf(file,
                "#!/bin/bash\n#SBATCH --job-name=systole-sweep\n#SBATCH --array=0-%u\n#SBATCH --ntasks=1\n"
                "#SBATCH --cpus-per-task=1\n#SBATCH --output=/dev/null\n"
                "# Tasks append to one file under a lock; submit again to do what is missing.\ncd ",
                tasks - 1);
        write_quoted(file, folder, "");
        fprintf(file,
                " || exit 1\nfor ((point = SLURM_ARRAY_TASK_ID; point < %u; point += %u)); do\n"
                "    complaint=$(",
                points, tasks);
        write_quoted(file, self, "");
        fputs(" sweep ", file);
        write_quoted(file, study_path, "");
        fputs(" -o ", file);
        write_quoted(file, csv, "");
        fputs(" --point \"$point\" 2>&1 >/dev/null) || {\n"
              "        status=$?\n        echo \"point $point: $complaint\" >>",
              file);
        write_quoted(file, csv, ".errors");
        fputs("\n        exit $status\n    }\ndone\n", file);
        status = fclose(file) == 0 ? SYSTOLE_OK : SYSTOLE_OUT_OF_MEMORY;
    }
    status = status == SYSTOLE_OK ? cli_write_file(path, text, size, diagnostic)
                                  : systole_fail(diagnostic, status, path, "", "no memory");
    free(text);
    free(study_path);
    free(folder);
    return status;
}

// The closing line. Points that cannot be built are results, but a study of nothing else has gone wrong; who measures a
// point of many does not know.
static enum systole_status conclude(const struct sweep *sweep, const char *csv, const char *svg, uint32_t todo,
                                    struct systole_diagnostic *diagnostic) {
    uint32_t counts[SWEEP_ENDINGS];
    const char *separator = ": ";
    enum systole_status status = sweep_results_count(csv, sweep->study, sweep->first, sweep->last, counts, diagnostic);
    if (status != SYSTOLE_OK) {
        return status;
    }
    printf("%s: %u points, %u of them now", csv, sweep->last - sweep->first, todo);
    for (uint32_t i = 0; i < SWEEP_ENDINGS; i++) {
        if (counts[i] > 0) {
            printf("%s%u %s", separator, counts[i], sweep_ending_name(i));
            separator = ", ";
        }
    }
    printf("%s%s\n", svg != NULL ? "; " : "", svg != NULL ? svg : "");
    return svg == NULL || counts[SWEEP_OK] + counts[SWEEP_PARTIAL] > 0
               ? SYSTOLE_OK
               : systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, csv, "its column detail says why",
                              "none of the %u points could be measured", sweep->study->point_count);
}

static enum systole_status sweep_all(const struct sweep_study *study, const struct cli_arguments *arguments,
                                     const char *csv, const char *svg, struct systole_diagnostic *diagnostic) {
    struct sweep sweep = {.study = study, .last = study->point_count, .file = -1};
    uint32_t todo = 0;
    sweep.done = calloc(study->point_count, sizeof *sweep.done);
    sweep.shared = mmap(NULL, sizeof *sweep.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sweep.done == NULL || sweep.shared == MAP_FAILED) {
        free(sweep.done);
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, csv, "", "no memory for %u points", study->point_count);
    }
    enum systole_status status = sweep_results_open(csv, study, sweep.done, &sweep.file, diagnostic);
    if (arguments->point_given) {
        sweep.first = arguments->point;
        sweep.last = arguments->point + 1;
    }
    for (uint32_t i = sweep.first; i < sweep.last; i++) {
        todo += !sweep.done[i];
    }
    atomic_store(&sweep.shared->next, sweep.first);
    if (status == SYSTOLE_OK && todo > 0) {
        uint32_t bad = run_workers(&sweep, todo);
        uint32_t finished = atomic_load(&sweep.shared->finished);
        if (bad > 0 || finished != todo || atomic_load(&sweep.shared->failures) > 0) {
            status = systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, csv, "give the same command to go on",
                                  "%u of %u points were not measured or not written", todo - finished, todo);
        }
    }
    if (status == SYSTOLE_OK && !arguments->point_given) {
        status = sweep_plot(csv, svg, study, diagnostic);
    }
    if (status == SYSTOLE_OK) {
        status = conclude(&sweep, csv, arguments->point_given ? NULL : svg, todo, diagnostic);
    }
    if (sweep.file >= 0) {
        (void)close(sweep.file);
    }
    (void)munmap(sweep.shared, sizeof *sweep.shared);
    free(sweep.done);
    return status;
}

static int run(const struct cli_command *command, int argc, char **argv) {
    struct cli_arguments arguments;
    int exit_status;
    if (!cli_parse(command, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    struct systole_diagnostic diagnostic = {.what = ""};
    static struct sweep_study study;
    const char *path = arguments.positional[0];
    enum systole_status status = sweep_study_read(path, &study, &diagnostic);
    if (status != SYSTOLE_OK) {
        return cli_error(status, &diagnostic);
    }
    char *chosen = arguments.output != NULL ? strdup(arguments.output) : beside(path, ".csv");
    char *svg = chosen != NULL ? beside(chosen, ".svg") : NULL;
    if (svg == NULL) {
        status = systole_fail(&diagnostic, SYSTOLE_OUT_OF_MEMORY, path, "", "no memory");
    } else if (arguments.point_given && arguments.point >= study.point_count) {
        status = systole_fail(&diagnostic, SYSTOLE_BAD_ARGUMENT, path, "points count from 0",
                              "there is no point %u of %u", arguments.point, study.point_count);
    } else if (arguments.slurm != NULL) {
        status = write_slurm(arguments.slurm, path, chosen, study.point_count, &diagnostic);
        if (status == SYSTOLE_OK) {
            printf("%s: %u points; sbatch it, then `systole sweep` draws\n", arguments.slurm, study.point_count);
        }
    } else {
        status = sweep_all(&study, &arguments, chosen, svg, &diagnostic);
    }
    free(chosen);
    free(svg);
    sweep_study_free(&study);
    return status == SYSTOLE_OK ? 0 : cli_error(status, &diagnostic);
}

const struct cli_command cli_sweep = {
    .name = "sweep",
    .summary = "cycles of models over array shapes, memories, ports and links",
    .usage = "STUDY.json [options]",
    .help =
        "Measures every combination of a study's values (docs/sweep.md) on all processors, appends each result to\n"
        "a CSV and draws it. What the CSV already has is not measured again. Exit 2 when no point could be measured.\n",
    .options = CLI_OUTPUT | CLI_SLURM | CLI_POINT,
    .minimum = 1,
    .maximum = 1,
    .run = run,
};

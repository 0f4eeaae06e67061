/* SPDX-License-Identifier: Apache-2.0 */
/* The bench's table, its JSON, and the comparison with an earlier one. */
#include "cli/bench.h"

#include "sim/commit.h"
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NOISY 0.15 /* spread above which a figure is marked */

const char *const bench_figure_names[BENCH_FIGURES] = {"cpu_us_per_message",
                                                       "cpu_us_less",
                                                       "messages_per_s",
                                                       "percent_of_slots_by_latency",
                                                       "all_cpu_percent",
                                                       "machine_idle_percent",
                                                       "busiest_thread_percent",
                                                       "added_p50_ms",
                                                       "added_p99_ms",
                                                       "rss_idle_kib",
                                                       "rss_warm_kib",
                                                       "rss_peak_kib",
                                                       "kib_per_message",
                                                       "llm_connections",
                                                       "nats_messages_per_message",
                                                       "nats_bytes_per_message",
                                                       "llm_bytes_per_message",
                                                       "probe_ms",
                                                       "ready_ms"};
const char *const bench_store_names[BENCH_STORES] = {"null", "sqlite", "mongodb"};

void bench_add(struct bench_cell *cell, enum bench_figure figure, double value)
{
    struct bench_series *s = &cell->figures[figure];
    if (s->count < BENCH_RUNS_MAX) {
        s->values[s->count++] = value;
    }
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sorted(const struct bench_series *s, double *out)
{
    memcpy(out, s->values, (size_t)s->count * sizeof *out);
    qsort(out, (size_t)s->count, sizeof *out, compare_double);
}

double bench_median(const struct bench_series *s)
{
    double v[BENCH_RUNS_MAX] = {0};
    sorted(s, v);
    int n = s->count;
    return n == 0 ? 0 : n % 2 == 1 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

double bench_spread(const struct bench_series *s)
{
    double v[BENCH_RUNS_MAX] = {0};
    sorted(s, v);
    double median = bench_median(s);
    return s->count < 2 || median == 0 ? 0 : (v[s->count - 1] - v[0]) / 2 / median;
}

static void figure_print(const struct bench_cell *cell, enum bench_figure f, int width, int digits)
{
    const struct bench_series *s = &cell->figures[f];
    if (s->count == 0) {
        printf(" %*s ", width, "-");
    } else {
        printf(" %*.*f%c", width, digits, bench_median(s), bench_spread(s) > NOISY ? '~' : ' ');
    }
}

/* The cheapest raw program of a kind without latency that does all that the worker does; 0: there
 * was none. */
static double raw_cpu_us(const struct bench_cell *cells, int count, enum bench_kind kind)
{
    double least = 0;
    for (int i = 0; i < count; i++) {
        if (cells[i].kind == kind && cells[i].latency_us == 0 &&
            (kind != BENCH_RAW_NATS || cells[i].is_whole) &&
            cells[i].figures[BENCH_CPU_US].count > 0) {
            double one = bench_median(&cells[i].figures[BENCH_CPU_US]);
            least = least == 0 || one < least ? one : least;
        }
    }
    return least;
}

/* CPU time as a multiple of the raw programs' together: what no worker on these libraries can get
 * below. */
static void ratio_print(const struct bench_cell *cells, int count, const struct bench_cell *cell)
{
    double nats = raw_cpu_us(cells, count, BENCH_RAW_NATS);
    double curl = raw_cpu_us(cells, count, BENCH_RAW_CURL);
    if (nats == 0 || curl == 0 || cell->figures[BENCH_CPU_US].count == 0) {
        printf(" %6s", "-");
        return;
    }
    printf(" %5.2fx", bench_median(&cell->figures[BENCH_CPU_US]) / (nats + curl));
}

/* In microseconds, not in percent: a difference that is small may be anything in percent. */
static void guarantees_print(const struct bench_cell *cells, int count)
{
    int is_first = 1;
    for (int i = 0; i < count; i++) {
        const struct bench_series *s = &cells[i].figures[BENCH_CPU_LESS_US];
        double v[BENCH_RUNS_MAX] = {0};
        if (s->count == 0) {
            continue;
        }
        if (is_first) {
            printf("\n%-38s %11s %9s %7s\n", "", "CPU us less", "from", "to");
            is_first = 0;
        }
        sorted(s, v);
        printf("%-38s %11.1f %9.1f %7.1f\n", cells[i].name, bench_median(s), v[0], v[s->count - 1]);
    }
}

void bench_table(const struct bench_cell *cells, int count)
{
    printf("%-38s %8s  %6s %5s %7s  %6s  %6s  %6s  %6s  %7s  %7s  %7s  %7s  %6s  %6s  %7s  %7s \n",
           "", "CPU us", "of raw", "+-", "msg/s", "of max", "all %", "idle %", "busy %", "p50 ms",
           "p99 ms", "peak MB", "KiB/msg", "LLM cx", "NATS m", "NATS B", "LLM B");
    for (int i = 0; i < count; i++) {
        const struct bench_cell *c = &cells[i];
        if (c->kind == BENCH_BOOT) {
            continue;
        }
        printf("%-38s", c->name);
        figure_print(c, BENCH_CPU_US, 8, 1);
        ratio_print(cells, count, c);
        printf(" %4.0f%%", 100 * bench_spread(&c->figures[BENCH_CPU_US]));
        figure_print(c, BENCH_RATE, 7, 0);
        figure_print(c, BENCH_OF_MOST, 6, 0);
        figure_print(c, BENCH_ALL_CPU, 6, 0);
        figure_print(c, BENCH_IDLE, 6, 0);
        figure_print(c, BENCH_BUSIEST, 6, 0);
        figure_print(c, BENCH_ADDED_P50_MS, 7, 2);
        figure_print(c, BENCH_ADDED_P99_MS, 7, 2);
        if (c->figures[BENCH_RSS_PEAK_KIB].count > 0) {
            printf(" %7.1f ", bench_median(&c->figures[BENCH_RSS_PEAK_KIB]) / 1024);
        } else {
            printf(" %7s ", "-");
        }
        figure_print(c, BENCH_KIB_EACH, 7, 1);
        figure_print(c, BENCH_CONNECTIONS, 6, 0);
        figure_print(c, BENCH_NATS_MSGS, 6, 1);
        figure_print(c, BENCH_NATS_BYTES, 7, 0);
        figure_print(c, BENCH_LLM_BYTES, 7, 0);
        puts("");
    }
    printf("\n%-38s %9s %9s %12s\n", "", "probe ms", "ready ms", "idle RSS MB");
    for (int i = 0; i < count; i++) {
        const struct bench_cell *c = &cells[i];
        if (c->kind == BENCH_BOOT) {
            printf("%-38s", c->name);
            figure_print(c, BENCH_PROBE_MS, 8, 1);
            figure_print(c, BENCH_READY_MS, 8, 1);
            printf(" %11.1f\n", bench_median(&c->figures[BENCH_RSS_IDLE_KIB]) / 1024);
        }
    }
    guarantees_print(cells, count);
    puts("\nMedians. ~: the runs differ by more than 15 % from their median: repeat on a quieter "
         "machine.\n`of raw`: CPU as a multiple of the raw cnats program with the same round "
         "trips plus the cheaper\nraw curl. `of max`: rate as percent of in flight / LLM latency. "
         "`all %`: CPU of all processes together,\nservers and load included. `idle %`: what the "
         "machine's cores, together 100 % each, had nothing to do. `busy %`: how long the worker's "
         "busiest\nthread ran, or was ready to and waited for a core.");
}

/* Of what, when and where the figures are. */
static void origin_add(cJSON *root)
{
    char date[32] = "";
    struct tm utc;
    time_t now = time(NULL);
    if (gmtime_r(&now, &utc) != NULL) {
        (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    }
    (void)cJSON_AddStringToObject(root, "commit", SLUICE_COMMIT);
    (void)cJSON_AddStringToObject(root, "date", date);
    (void)cJSON_AddStringToObject(root, "build_type", SLUICE_BUILD_TYPE);
    (void)cJSON_AddNumberToObject(root, "cpus", (double)sysconf(_SC_NPROCESSORS_ONLN));
}

void bench_json(const struct bench_cell *cells, int count, double noise)
{
    cJSON *root = cJSON_CreateObject();
    origin_add(root);
    cJSON *rows = cJSON_AddArrayToObject(root, "rows");
    (void)cJSON_AddNumberToObject(root, "machine_noise", noise);
    for (int i = 0; i < count; i++) {
        cJSON *row = cJSON_CreateObject();
        (void)cJSON_AddStringToObject(row, "name", cells[i].name);
        for (int f = 0; f < BENCH_FIGURES; f++) {
            const struct bench_series *s = &cells[i].figures[f];
            if (s->count > 0) {
                cJSON *one = cJSON_AddObjectToObject(row, bench_figure_names[f]);
                (void)cJSON_AddNumberToObject(one, "median", bench_median(s));
                (void)cJSON_AddNumberToObject(one, "spread", bench_spread(s));
                (void)cJSON_AddNumberToObject(one, "runs", s->count);
            }
        }
        (void)cJSON_AddItemToArray(rows, row);
    }
    char *text = cJSON_Print(root);
    puts(text == NULL ? "{}" : text);
    free(text);
    cJSON_Delete(root);
}

cJSON *bench_earlier_read(const char *file)
{
    static char text[1u << 20];
    FILE *f = fopen(file, "re");
    if (f == NULL) {
        fprintf(stderr, "sluice bench: %s: %s\n", file, strerror(errno));
        return NULL;
    }
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    (void)fclose(f);
    cJSON *json = cJSON_Parse(text);
    if (!cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(json, "rows"))) {
        fprintf(stderr, "sluice bench: %s: expected what `sluice bench --json` prints\n", file);
        cJSON_Delete(json);
        return NULL;
    }
    return json;
}

void bench_compare(const struct bench_cell *cells, int count, cJSON *earlier, const char *file)
{
    const cJSON *row;
    printf("\nAgainst %s:\n", file);
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(earlier, "rows"))
    {
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, "name"));
        for (int i = 0; i < count && name != NULL; i++) {
            if (strcmp(cells[i].name, name) != 0) {
                continue;
            }
            for (int f = 0; f < BENCH_FIGURES; f++) {
                const cJSON *median = cJSON_GetObjectItemCaseSensitive(
                    cJSON_GetObjectItemCaseSensitive(row, bench_figure_names[f]), "median");
                if (cJSON_IsNumber(median) && median->valuedouble != 0 &&
                    cells[i].figures[f].count > 0) {
                    double now = bench_median(&cells[i].figures[f]);
                    printf("  %-38s %-28s %10.1f -> %10.1f  %+.0f %%\n", name,
                           bench_figure_names[f], median->valuedouble, now,
                           100 * (now / median->valuedouble - 1));
                }
            }
        }
    }
    cJSON_Delete(earlier);
}

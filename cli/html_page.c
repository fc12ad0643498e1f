// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The page of `run --html`: one file without anything from outside, drawings in SVG, a sortable table at its end.
#include <stdlib.h>
#include <string.h>

#include "html.h"
#include "target.h"

static const char *const style =
    ":root{color-scheme:light dark;--bg:#fff;--fg:#1c2430;--muted:#67717f;--line:#e3e7ec;--card:#f6f8fa;"
    "--b0:#2f6fd6;--b1:#d9822b;--b2:#2a9d74;--b3:#b0489e;--k0:#2f6fd6;--k1:#e0b14a;--k2:#cf5547;--k3:#b0489e;"
    "--k4:#e6eaef;--t0:#7fa9e8;--t1:#8fcfb6;--edge:#fff}"
    "@media(prefers-color-scheme:dark){:root{--bg:#12161c;--fg:#e4e9f0;--muted:#94a0ae;--line:#2a323d;--card:#1a2029;"
    "--b0:#5b94f0;--b1:#e79a4c;--b2:#43b98d;--b3:#cf70bf;--k0:#5b94f0;--k1:#d6a63f;--k2:#e0695b;--k3:#cf70bf;"
    "--k4:#2a323d;--t0:#34588f;--t1:#2b6b55;--edge:#12161c}}"
    "*{box-sizing:border-box}body{margin:0 auto;max-width:1200px;padding:28px 24px 60px;background:var(--bg);"
    "color:var(--fg);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}"
    "h1{font-size:24px;margin:0 0 2px}h2{font-size:18px;margin:38px 0 4px}p{margin:2px 0 10px;color:var(--muted);"
    "max-width:92ch}svg{width:100%;height:auto;display:block;font:11px system-ui,sans-serif}"
    ".cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(168px,1fr));gap:10px;margin:18px 0 0}"
    ".card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:9px 12px}"
    ".card b{display:block;font-size:20px;font-weight:600;font-variant-numeric:tabular-nums}"
    ".card span{color:var(--muted);font-size:13px}"
    ".key{display:flex;flex-wrap:wrap;gap:4px 18px;margin:4px 0 8px;font-size:13px;color:var(--muted)}"
    ".key i{display:inline-block;width:12px;height:12px;border-radius:2px;margin-right:6px;vertical-align:-1px}"
    ".grid{stroke:var(--line)}.tick{fill:var(--muted);text-anchor:middle}.label{fill:var(--fg)}"
    ".muted{fill:var(--muted)}.right{text-anchor:end}.left{text-anchor:start}"
    ".inside{fill:#fff;text-anchor:middle;pointer-events:none}.i4{fill:var(--fg)}.i1{fill:#1c2430}"
    ".hover{fill:transparent}.row:hover .hover{fill:var(--card)}.unit{fill:var(--muted);opacity:.55}"
    ".b0{fill:var(--b0)}.b1{fill:var(--b1)}.b2{fill:var(--b2)}.b3{fill:var(--b3)}"
    ".k0{fill:var(--k0)}.k1{fill:var(--k1)}.k2{fill:var(--k2)}.k3{fill:var(--k3)}.k4{fill:var(--k4)}"
    ".t0{fill:var(--t0);stroke:var(--edge)}.t1{fill:var(--t1);stroke:var(--edge)}.cell{stroke:var(--edge);"
    "stroke-width:.4}.roof{fill:none;stroke:var(--fg);stroke-width:1.5}.two{stroke-dasharray:5 4}"
    ".point{opacity:.8}.point:hover{opacity:1}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}"
    "th,td{padding:3px 9px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}"
    "th{cursor:pointer;color:var(--muted);font-weight:500}th:nth-child(2),td:nth-child(2),th:nth-child(3),"
    "td:nth-child(3),th:nth-child(4),td:nth-child(4),th:nth-child(5),td:nth-child(5){text-align:left}";

// Sorts the table by the column whose head was clicked.
static const char *const script =
    "document.querySelectorAll('th').forEach((h,c)=>h.onclick=()=>{const b=document.querySelector('tbody');"
    "const v=r=>{const t=r.children[c].textContent.replace(/[,% ]/g,'');return t===''?-1:isNaN(t)?t:+t};"
    "const s=h.dataset.up==='1'?-1:1;h.dataset.up=s===1?'1':'';"
    "[...b.rows].sort((x,y)=>{const p=v(x),q=v(y);return s*(p<q?1:p>q?-1:0)}).forEach(r=>b.append(r))});";

void html_text(FILE *page, const char *text) {
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", page);
            break;
        case '<':
            fputs("&lt;", page);
            break;
        case '>':
            fputs("&gt;", page);
            break;
        case '"':
            fputs("&quot;", page);
            break;
        default:
            fputc((unsigned char)*text < 32 ? ' ' : *text, page);
            break;
        }
    }
}

void html_number(FILE *page, uint64_t value) {
    if (value >= 1000) {
        html_number(page, value / 1000);
        fprintf(page, ",%03llu", (unsigned long long)(value % 1000));
    } else {
        fprintf(page, "%llu", (unsigned long long)value);
    }
}

const char *html_bound_name(enum html_bound bound) {
    static const char *const names[HTML_BOUNDS] = {"compute", "weights", "activations", "link"};
    return names[bound];
}

static void card(FILE *page, uint64_t value, const char *text) {
    fprintf(page, "<div class=card><b>");
    html_number(page, value);
    fprintf(page, "</b><span>%s</span></div>", text);
}

static void card_real(FILE *page, const char *format, double value, const char *text) {
    char number[48];
    (void)snprintf(number, sizeof number, format, value);
    fprintf(page, "<div class=card><b>%s</b><span>%s</span></div>", number, text);
}

// The file's name and its folder's.
static const char *short_path(const char *path) {
    const char *at = path + strlen(path);
    for (uint32_t slashes = 0; at > path; at--) {
        slashes += at[-1] == '/';
        if (slashes == 2) {
            break;
        }
    }
    return at;
}

static void write_summary(FILE *page, const struct html_analysis *a) {
    const struct cli_measurement *m = a->measurement;
    const struct systole_program *program = &m->subject->program;
    const struct systole_target *target = &program->target;
    double total = m->cycles->total > 0 ? (double)m->cycles->total : 1;
    uint64_t macs = 0, predicted = 0, parameters = 0, commands = 0;
    bool resident = true;
    for (uint32_t o = 0; o < program->operator_count; o++) {
        macs += program->operators[o].place == SYSTOLE_PLACE_DEVICE ? program->operators[o].macs : 0;
    }
    for (uint32_t s = 0; s < program->segment_count; s++) {
        predicted += program->segments[s].predicted_cycles;
        parameters += (uint64_t)program->segments[s].parameter_words * target->columns;
        commands += program->segments[s].command_count;
        resident = resident && program->segments[s].resident;
    }
    fprintf(page, "<h1>");
    html_text(page, short_path(m->path));
    fprintf(page, "</h1><p>on ");
    html_text(page, target->name);
    fprintf(page,
            " (%s): array %u x %u, %u taps, %llu KiB scratchpad in %u banks, weight port %u rows, link %g bytes a "
            "cycle, %g "
            "MHz. Parameters %s.</p><div class=cards>",
            strcmp(m->device, "model") == 0 ? "functional model, whose clock is the cycle model" : m->device,
            target->rows, target->columns, target->taps, (unsigned long long)(target->scratchpad_bytes / 1024),
            target->banks, target->weight_port_rows, target->link_millibytes_per_cycle / 1000.0, target->clock_hz / 1e6,
            resident ? "are resident" : "stream over the link");
    card(page, m->cycles->total, "cycles");
    card_real(page, "%.3f ms", total / target->clock_hz * 1e3, "at the target's clock");
    card_real(page, "%.1f %%", 100 * (double)macs / (systole_target_multipliers(target) * total),
              "of all multipliers used");
    card_real(page, "%.1f", (double)macs / total, "multiply-accumulates a cycle");
    card(page, predicted, "cycles predicted");
    card_real(page, "%+.2f %%", 100 * ((double)predicted - total) / total, "predicted against measured");
    card(page, m->cycles->cold, "cycles from an empty device");
    card(page, macs, "multiply-accumulates");
    card_real(page, "%.1f KiB", (double)parameters / 1024, "parameters");
    card_real(page, "%.1f KiB", (double)a->peak_words * target->columns / 1024, "tensors at their peak");
    card(page, commands, "commands");
    fprintf(page, "</div>");
}

static void write_key(FILE *page, const char *prefix, const char *const *names, uint32_t count) {
    fprintf(page, "<div class=key>");
    for (uint32_t i = 0; i < count; i++) {
        fprintf(page, "<span><i style=\"background:var(--%s%u)\"></i>%s</span>", prefix, i, names[i]);
    }
    fprintf(page, "</div>");
}

static void write_table(FILE *page, const struct html_analysis *a) {
    const struct cli_measurement *m = a->measurement;
    fprintf(
        page,
        "<div class=wide><table><thead><tr><th>#<th>operator<th>output<th>unit<th>bound by<th>cycles<th>predicted"
        "<th>unit's cycles<th>waits: token<th>memory<th>multiply-acc.<th>a cycle<th>utilisation</tr></thead><tbody>");
    for (uint32_t i = 0; i < a->layer_count; i++) {
        const struct html_layer *l = &a->layers[i];
        const struct systole_operator *operation = &m->subject->graph.operators[i];
        const struct systole_operator_info *info = &m->subject->program.operators[i];
        char shape[64] = "";
        if (operation->output_count != 0) {
            cli_format_shape(&m->subject->graph.tensors[operation->outputs[0]], shape, sizeof shape);
        }
        fprintf(page, "<tr><td>%u<td>%s<td>%s", i, systole_operator_name(operation->code), shape);
        if (!l->on_device) {
            fprintf(page, "<td>%s<td>", info->place == SYSTOLE_PLACE_CPU ? "CPU" : "");
            html_text(page, info->reason);
            fprintf(page, "<td><td><td><td><td><td><td><td></tr>");
            continue;
        }
        const uint64_t values[] = {l->cycles,
                                   info->predicted_cycles,
                                   l->unit_cycles,
                                   m->cycles->units[i][l->unit][SYSTOLE_COUNTER_WAIT_DEPENDENCY],
                                   m->cycles->units[i][l->unit][SYSTOLE_COUNTER_WAIT_MEMORY],
                                   l->macs};
        fprintf(page, "<td>%s<td>%s", systole_unit_name(l->unit), html_bound_name(l->bound));
        for (size_t k = 0; k < sizeof values / sizeof values[0]; k++) {
            fprintf(page, "<td>");
            html_number(page, values[k]);
        }
        if (l->utilisation > 0) {
            fprintf(page, "<td>%.1f<td>%.1f %%</tr>", (double)l->macs / (double)l->unit_cycles, 100 * l->utilisation);
        } else {
            fprintf(page, "<td><td></tr>");
        }
    }
    fprintf(page, "</tbody></table></div>");
}

static void write_page(FILE *page, const struct html_analysis *a) {
    static const char *const bounds[] = {"compute", "weights", "activations", "link"};
    static const char *const kinds[] = {"busy", "waits for a token", "waits for a bank", "waits for the link", "idle"};
    static const char *const tensors[] = {"activations", "inputs and outputs"};
    fprintf(
        page,
        "<!DOCTYPE html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>");
    html_text(page, short_path(a->measurement->path));
    fprintf(page, "</title><style>%s</style>", style);
    write_summary(page, a);
    fprintf(page, "<h2>Operators</h2><p>Wide bar: the cycles in which the operator was the oldest that had not "
                  "retired; they sum to the "
                  "total, and what runs hidden behind others has few. Thin bar: the cycles its unit worked for it. "
                  "Utilisation is of "
                  "that unit's multipliers in that time. The colour says what bounds it.</p>");
    write_key(page, "b", bounds, HTML_BOUNDS);
    html_layers_chart(page, a);
    fprintf(page, "<h2>Roofline</h2><p>Convolutions on the array are dots, depthwise ones triangles. Left of a roof's "
                  "edge the weights "
                  "cannot come fast enough; far below a roof, lanes are empty or the unit starves.</p>");
    write_key(page, "b", bounds, HTML_BOUNDS);
    html_roofline(page, a);
    fprintf(page, "<h2>What the units did</h2><p>Each cycle of each unit is exactly one of these.</p>");
    write_key(page, "k", kinds, SYSTOLE_COUNTER_KINDS);
    html_units_chart(page, a);
    fprintf(page, "<h2>Timeline</h2><p>Every command on its unit, from when the unit took it to its last write; "
                  "colours as above.</p>");
    html_timeline(page, a);
    fprintf(page, "<h2>Memory over time</h2><p>Tensors in the scratchpad, from the first command that writes one to "
                  "the last that reads "
                  "it. Numbers are tensors of the model.</p>");
    write_key(page, "t", tensors, 2);
    html_memory_map(page, a);
    fprintf(page, "<h2>Table</h2><p>A click on a head sorts.</p>");
    write_table(page, a);
    fprintf(page, "<script>%s</script></html>\n", script);
}

enum systole_status cli_write_html(const char *path, const struct cli_measurement *m,
                                   struct systole_diagnostic *diagnostic) {
    struct html_analysis analysis = {.layers = NULL};
    char *text = NULL;
    size_t size = 0;
    enum systole_status status = SYSTOLE_OUT_OF_MEMORY;
    if (m->cycles->trace != NULL && html_analyse(m, &analysis)) {
        FILE *page = open_memstream(&text, &size);
        if (page != NULL) {
            write_page(page, &analysis);
            status = fclose(page) == 0 ? SYSTOLE_OK : SYSTOLE_OUT_OF_MEMORY;
        }
    }
    status = status == SYSTOLE_OK ? cli_write_file(path, text, size, diagnostic)
                                  : systole_fail(diagnostic, status, path, "", "no memory for the page");
    html_analysis_free(&analysis);
    free(text);
    return status;
}

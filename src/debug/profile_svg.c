/*
 * A profile as a flame graph: one self-contained SVG file. Each function is a bar as wide as its
 * share of the samples, on top of its caller; a little script makes it possible to zoom and to
 * search, and without it the picture still has everything in it, shares as tooltips.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "debug/profile.h"

#define WIDTH     1200
#define MARGIN    10
#define BAR       17   /* height of a row */
#define HEAD      56   /* above the graph */
#define CHARACTER 7.0  /* width of one, on average */
#define BAR_MIN   0.05 /* narrower ones are left out, with all that is on top of them */

static const char script[] =
    "(function(){\n"
    "var W=1180,X=10,svg=document.documentElement,bars=[].slice.call(svg.querySelectorAll('.b')),\n"
    "found=document.getElementById('found'),reset=document.getElementById('reset'),word='';\n"
    "function n(e,a){return parseFloat(e.getAttribute(a))}\n"
    "function fit(g,x,w){var r=g.querySelector('rect'),t=g.querySelector('text'),\n"
    "s=g.getAttribute('data-n'),c=Math.floor((w-6)/7);\n"
    "r.setAttribute('x',x);r.setAttribute('width',Math.max(w,0.1));t.setAttribute('x',x+3);\n"
    "t.textContent=c<3?'':s.length>c?s.slice(0,c-2)+'..':s}\n"
    "function zoom(g){var x0=n(g,'data-x'),w0=n(g,'data-w'),y0=n(g,'data-d');\n"
    "reset.style.display=y0?'':'none';\n"
    "bars.forEach(function(b){var x=n(b,'data-x'),w=n(b,'data-w'),d=n(b,'data-d');\n"
    "var over=d<y0&&x<=x0+1e-9&&x+w>=x0+w0-1e-9,inside=d>=y0&&x>=x0-1e-9&&x+w<=x0+w0+1e-9;\n"
    "b.style.display=over||inside?'':'none';b.style.opacity=over?0.5:1;\n"
    "if(over)fit(b,X,W);else if(inside)fit(b,X+(x-x0)/w0*W,w/w0*W)})}\n"
    "function search(s){word=s;var sum=0,end=-1,all=n(bars[0],'data-w');\n"
    "bars.slice().sort(function(a,b){return n(a,'data-x')-n(b,'data-x')||n(b,'data-w')-n(a,'data-w')})"
    "\n.forEach(function(b){var hit=s&&b.getAttribute('data-n').indexOf(s)>=0;\n"
    "b.querySelector('rect').style.fill=hit?'#e0f':'';\n"
    "if(hit&&n(b,'data-x')>=end-1e-9){sum+=n(b,'data-w');end=n(b,'data-x')+n(b,'data-w')}});\n"
    "found.textContent=s?'found '+(100*sum/all).toFixed(2)+' %':''}\n"
    "bars.forEach(function(b){b.addEventListener('click',function(){zoom(b)})});\n"
    "reset.addEventListener('click',function(){zoom(bars[0])});\n"
    "function ask(){var s=prompt('Search for functions whose name contains:',word);"
    "if(s!==null)search(s)}\n"
    "document.getElementById('search').addEventListener('click',ask);\n"
    "window.addEventListener('keydown',function(e){if((e.ctrlKey||e.metaKey)&&e.key==='f')"
    "{e.preventDefault();ask()}});\n"
    "document.getElementById('search').style.display='';\n"
    "})();\n";

struct graph {
    const struct profile *profile;
    struct text *text;
    double scale; /* width of one sample */
    unsigned depth;
};

/* Names are printable ASCII, of which four characters mean something in XML. */
static void add_escaped(struct text *text, const char *name, size_t size)
{
    for (; size && *name; name++, size--) {
        switch (*name) {
        case '<':
            text_add(text, "&lt;");
            break;
        case '>':
            text_add(text, "&gt;");
            break;
        case '&':
            text_add(text, "&amp;");
            break;
        case '"':
            text_add(text, "&quot;");
            break;
        default:
            text_add_bytes(text, *name >= ' ' && *name <= '~' ? name : "?", 1);
        }
    }
}

/* A warm colour that is the same for a name in every graph; grey is for what is no function. */
static void add_colour(struct text *text, const char *name)
{
    uint32_t hash = 5381;

    if (*name == '[') {
        text_add(text, strcmp(name, "[idle]") == 0 ? "#dddddd" : "#a8c8e8");
        return;
    }
    for (; *name; name++)
        hash = hash * 33 ^ (unsigned char)*name;
    text_printf(text, "rgb(%u,%u,%u)", 205 + hash % 50, 90 + hash / 50 % 130, hash / 6500 % 55);
}

static unsigned tree_depth(const struct profile *profile)
{
    unsigned most = 0;
    for (uint32_t i = 0; i < profile->count; i++) {
        unsigned depth = 0;
        for (uint32_t up = i; up; up = profile->nodes[up].parent)
            depth++;
        most = depth > most ? depth : most;
    }
    return most;
}

static void add_bar(const struct graph *graph, uint32_t node, unsigned depth, double x)
{
    struct text *text = graph->text;
    const struct profile_node *at = &graph->profile->nodes[node];
    const char *name = graph->profile->names + at->name;
    double width = (double)at->total * graph->scale;
    double y = HEAD + (double)(graph->depth - depth) * BAR;
    size_t size = strlen(name),
           room = width > 6 + 3 * CHARACTER ? (size_t)((width - 6) / CHARACTER) : 0;

    text_printf(text, "<g class=\"b\" data-x=\"%.4f\" data-w=\"%.4f\" data-d=\"%u\" data-n=\"", x,
                width, depth);
    add_escaped(text, name, size);
    text_add(text, "\"><title>");
    add_escaped(text, name, size);
    text_printf(text,
                " (%" PRIu64 " samples, %.2f %%)</title><rect x=\"%.2f\" y=\"%.0f\" width=\"%.2f\" "
                "height=\"%d\" rx=\"2\" fill=\"",
                at->total, 100.0 * (double)at->total / (double)graph->profile->nodes[0].total,
                MARGIN + x, y, width, BAR - 1);
    add_colour(text, name);
    text_printf(text, "\"/><text x=\"%.2f\" y=\"%.0f\">", MARGIN + x + 3, y + BAR - 5);
    if (size <= room) {
        add_escaped(text, name, size);
    } else if (room) {
        add_escaped(text, name, room - 2);
        text_add(text, "..");
    }
    text_add(text, "</text></g>\n");
}

static int compare_names(const void *left, const void *right, void *context)
{
    const struct profile *profile = context;
    return strcmp(profile->names + profile->nodes[*(const uint32_t *)left].name,
                  profile->names + profile->nodes[*(const uint32_t *)right].name);
}

/* The node and what is on top of it: children from left to right in the order of their names. The
 * depth is that of sampled stacks. */
static void add_tree(const struct graph *graph, uint32_t node, unsigned depth, double x)
{
    const struct profile *profile = graph->profile;
    size_t count = 0, i = 0;

    add_bar(graph, node, depth, x);
    for (uint32_t at = profile->nodes[node].child; at; at = profile->nodes[at].sibling)
        count++;
    uint32_t *children = count ? calloc(count, sizeof *children) : NULL;
    if (!children) {
        graph->text->failed |= count != 0;
        return;
    }
    for (uint32_t at = profile->nodes[node].child; at; at = profile->nodes[at].sibling)
        children[i++] = at;
    qsort_r(children, count, sizeof *children, compare_names, (void *)(uintptr_t)profile);
    for (i = 0; i < count; i++) {
        double width = (double)profile->nodes[children[i]].total * graph->scale;
        if (width >= BAR_MIN)
            add_tree(graph, children[i], depth + 1, x);
        x += width;
    }
    free(children);
}

void profile_format_svg(const struct profile *profile, unsigned rate, struct text *text)
{
    uint64_t all = profile->count ? profile->nodes[0].total : 0;
    unsigned depth = tree_depth(profile);
    unsigned height = HEAD + (depth + 1) * BAR + MARGIN;

    text_printf(
        text,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%u\" "
        "viewBox=\"0 0 %d %u\" font-family=\"monospace\" font-size=\"11\">\n"
        "<style>.b{cursor:pointer}.b:hover rect{stroke:#000}.b text{pointer-events:none}"
        ".k{cursor:pointer;fill:#36c}</style>\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"#fffdf5\"/>\n"
        "<text x=\"%d\" y=\"22\" font-size=\"15\">Profile of a unikernel</text>\n"
        "<text x=\"%d\" y=\"40\">%" PRIu64 " samples at %u per second</text>\n"
        "<text id=\"reset\" class=\"k\" x=\"%d\" y=\"22\" style=\"display:none\">reset zoom</text>\n"
        "<text id=\"search\" class=\"k\" x=\"%d\" y=\"22\" style=\"display:none\">search</text>\n"
        "<text id=\"found\" x=\"%d\" y=\"40\"></text>\n",
        WIDTH, height, WIDTH, height, MARGIN, MARGIN, all, rate, WIDTH - 200, WIDTH - 80,
        WIDTH - 200);
    if (all) {
        const struct graph graph = {profile, text, (double)(WIDTH - 2 * MARGIN) / (double)all,
                                    depth};
        add_tree(&graph, 0, 0, 0);
        text_printf(text, "<script><![CDATA[\n%s]]></script>\n", script);
    }
    text_add(text, "</svg>\n");
}

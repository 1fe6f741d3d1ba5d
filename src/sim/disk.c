/* disk: inodes made of pages, each page with the sectors that were dirtied since the last sync and what they held before.
 *
 *      live names ---> inode { size, synced_size, pages[] } <--- durable names
 *          |                        page { data | undo: data as of the last sync | dirty, lost: one bit a sector }
 *          +---> pending ops (link, unlink, rename) -- dir_sync --> durable names
 *
 * Invariants: (1) undo of a dirty sector is what the platter holds. (2) A sector is lost only if it is dirty: a failed sync gave it up;
 * writing it again makes it an ordinary dirty one. (3) An inode lives while a name (live, durable or pending) or an opening refers to it.
 * (4) used counts whole pages that hold or once held data. (5) No decision depends on an address. */
#include "sim/disk.h"

#include "base/mem.h"
#include "rt/sys.h"
#include "sim/disk_names.h"

#define MILLION 1000000u

static bool fault(sim_disk *d, uint32_t per_million) { return per_million && prng_chance(d->rng, per_million, MILLION); }

void sim_disk_init(sim_disk *d, prng *rng) {
    memset(d, 0, sizeof *d);
    d->rng = rng;
    d->ops_tail = &d->ops;
}

void sim_disk_fini(sim_disk *d) {
    sim_disk_names_drop_ops(d);
    sim_disk_names_clear(d, &d->live);
    sim_disk_names_clear(d, &d->durable);
    if (d->inodes) panic("a simulated file is still open");
}

/* --- pages --------------------------------------------------------------------------------------------------------------------- */

static sim_page *page_of(sim_inode *f, uint64_t index) { return index < f->n_pages ? f->pages[index] : NULL; }

/* The page, made if it is not there; NULL when the disk is full. */
static sim_page *page_make(sim_disk *d, sim_inode *f, uint64_t index) {
    sim_page *p = page_of(f, index);
    if (p) return p;
    if (d->capacity && d->used + SIM_PAGE > d->capacity) return NULL;
    if (fault(d, d->faults.nospc)) return NULL;
    if (index >= f->n_pages) {
        size_t old = f->cap_pages;
        void *pages = f->pages;
        mem_grow(&pages, &f->cap_pages, (size_t)index + 1, sizeof *f->pages);
        f->pages = pages;
        memset(f->pages + old, 0, (f->cap_pages - old) * sizeof *f->pages);
        f->n_pages = (size_t)index + 1;
    }
    f->pages[index] = p = mem_zalloc(sizeof *p);
    d->used += SIM_PAGE;
    return p;
}

static void sector_dirty(sim_page *p, unsigned sector) {
    uint8_t bit = (uint8_t)(1u << sector);
    if (!p->undo) p->undo = mem_alloc(SIM_PAGE);
    if (!(p->dirty & bit)) memcpy(p->undo + sector * SIM_SECTOR, p->data + sector * SIM_SECTOR, SIM_SECTOR);
    p->dirty |= bit;
    p->lost &= (uint8_t)~bit;
}

/* Writes into one page; data NULL writes zeros. */
static void page_write(sim_page *p, size_t off, const uint8_t *data, size_t len) {
    for (unsigned s = (unsigned)(off / SIM_SECTOR); s <= (off + len - 1) / SIM_SECTOR; s++) sector_dirty(p, s);
    if (data)
        memcpy(p->data + off, data, len);
    else
        memset(p->data + off, 0, len);
}

static void page_settle(sim_page *p) {
    p->dirty = p->lost;
    if (p->dirty) return;
    mem_free(p->undo);
    p->undo = NULL;
}

static void inode_free_pages(sim_disk *d, sim_inode *f, uint64_t from) {
    for (uint64_t i = from; i < f->n_pages; i++) {
        if (!f->pages[i]) continue;
        mem_free(f->pages[i]->undo);
        mem_free(f->pages[i]);
        f->pages[i] = NULL;
        d->used -= SIM_PAGE;
    }
    if (from < f->n_pages) f->n_pages = (size_t)from;
}

void sim_disk_unref(sim_disk *d, sim_inode *f) {
    if (--f->refs) return;
    inode_free_pages(d, f, 0);
    mem_free(f->pages);
    if (f->next) f->next->prev = f->prev;
    *f->prev = f->next;
    mem_free(f);
}

sim_inode *sim_disk_inode_new(sim_disk *d, bool dir) {
    sim_inode *f = mem_zalloc(sizeof *f);
    f->refs = 1;
    f->dir = dir;
    f->mtime = d->wall;
    f->next = d->inodes;
    if (f->next) f->next->prev = &f->next;
    f->prev = &d->inodes;
    d->inodes = f;
    return f;
}

/* Pages past the new end stay, zeroed and dirty, until a power cut or a later sync: the platter still has them. */
static void set_size(sim_disk *d, sim_inode *f, uint64_t size) {
    for (uint64_t at = size; at < f->size;) {
        size_t off = (size_t)(at % SIM_PAGE), n = SIM_PAGE - off;
        sim_page *p = page_of(f, at / SIM_PAGE);
        if (p) page_write(p, off, NULL, n);
        at += n;
    }
    f->size = size;
    f->mtime = d->wall;
}

/* --- calls --------------------------------------------------------------------------------------------------------------------- */

err sim_disk_open(sim_disk *d, const char *path, unsigned flags, sim_inode **out) {
    sim_inode *f = sim_disk_names_find(&d->live, path);
    if (f && f->dir) return ERR_INVALID;
    if (f && (flags & SYS_OPEN_CREATE) && (flags & SYS_OPEN_EXCL)) return ERR_EXISTS;
    if (!f) {
        if (!(flags & SYS_OPEN_CREATE)) return ERR_NOT_FOUND;
        if (!sim_disk_names_parent_exists(&d->live, path)) return ERR_NOT_FOUND;
        if (fault(d, d->faults.nospc)) return ERR_NOSPC;
        f = sim_disk_inode_new(d, false);
        sim_disk_names_change(d, SIM_LINK, path, NULL, f);
    } else {
        f->refs++;
    }
    if (flags & SYS_OPEN_TRUNC) set_size(d, f, 0);
    *out = f;
    return ERR_OK;
}

void sim_disk_close(sim_disk *d, sim_inode *f, bool locked) {
    if (locked) f->locked = false;
    sim_disk_unref(d, f);
}

err sim_disk_read(sim_disk *d, sim_inode *f, void *out, size_t len, uint64_t at, size_t *out_n) {
    if (fault(d, d->faults.read_eio)) return ERR_IO;
    if (at >= f->size)
        len = 0;
    else if (len > f->size - at)
        len = (size_t)(f->size - at);
    uint8_t *o = out;
    for (size_t done = 0; done < len;) {
        size_t off = (size_t)((at + done) % SIM_PAGE), n = SIM_PAGE - off;
        if (n > len - done) n = len - done;
        sim_page *p = page_of(f, (at + done) / SIM_PAGE);
        if (p)
            memcpy(o + done, p->data + off, n);
        else
            memset(o + done, 0, n);
        done += n;
    }
    *out_n = len;
    return ERR_OK;
}

static err write_bytes(sim_disk *d, sim_inode *f, slice data, uint64_t at) {
    d->writes++;
    f->mtime = d->wall;
    for (size_t done = 0; done < data.len;) {
        size_t off = (size_t)((at + done) % SIM_PAGE), n = SIM_PAGE - off;
        if (n > data.len - done) n = data.len - done;
        sim_page *p = page_make(d, f, (at + done) / SIM_PAGE);
        if (!p) return ERR_NOSPC;
        page_write(p, off, data.p + done, n);
        done += n;
        if (at + done > f->size) f->size = at + done;
    }
    return ERR_OK;
}

void sim_disk_write_part(sim_disk *d, sim_inode *f, slice data, uint64_t at) {
    (void)write_bytes(d, f, slice_sub(data, 0, (size_t)prng_below(d->rng, data.len + 1)), at); /* it failed anyway */
}

err sim_disk_write(sim_disk *d, sim_inode *f, slice data, uint64_t at) {
    if (fault(d, d->faults.write_eio)) {
        sim_disk_write_part(d, f, data, at);
        return ERR_IO;
    }
    return write_bytes(d, f, data, at);
}

static void sync_pages(sim_disk *d, sim_inode *f, bool bad) {
    d->syncs++;
    d->failed_syncs += bad;
    for (size_t i = 0; i < f->n_pages; i++) {
        sim_page *p = f->pages[i];
        if (!p || !p->dirty) continue;
        if (bad) p->lost |= (uint8_t)(p->dirty & prng_next(d->rng));
        page_settle(p);
    }
    f->synced_size = f->size;
    if (!bad) inode_free_pages(d, f, (f->size + SIM_PAGE - 1) / SIM_PAGE);
}

void sim_disk_sync_badly(sim_disk *d, sim_inode *f) { sync_pages(d, f, true); }

err sim_disk_sync(sim_disk *d, sim_inode *f) {
    bool bad = fault(d, d->faults.sync_eio);
    sync_pages(d, f, bad);
    return bad ? ERR_IO : ERR_OK;
}

uint64_t sim_disk_size(const sim_inode *f) { return f->size; }

err sim_disk_truncate(sim_disk *d, sim_inode *f, uint64_t size) {
    set_size(d, f, size);
    return ERR_OK;
}

err sim_disk_allocate(sim_disk *d, sim_inode *f, uint64_t from, uint64_t len) {
    if (len == 0) return ERR_INVALID;
    for (uint64_t i = from / SIM_PAGE; i <= (from + len - 1) / SIM_PAGE; i++)
        if (!page_make(d, f, i)) return ERR_NOSPC;
    if (from + len > f->size) f->size = from + len;
    return ERR_OK;
}

err sim_disk_lock(sim_inode *f) {
    if (f->locked) return ERR_BUSY;
    f->locked = true;
    return ERR_OK;
}

err sim_disk_rename(sim_disk *d, const char *from, const char *to) {
    sim_inode *f = sim_disk_names_find(&d->live, from);
    if (!f || !sim_disk_names_parent_exists(&d->live, to)) return ERR_NOT_FOUND;
    sim_inode *old = sim_disk_names_find(&d->live, to);
    if (old && old->dir) return ERR_EXISTS;
    if (f->dir && sim_disk_names_has_children(&d->live, from)) return ERR_UNSUPPORTED;
    sim_disk_names_change(d, SIM_RENAME, to, from, f);
    return ERR_OK;
}

err sim_disk_unlink(sim_disk *d, const char *path) {
    sim_inode *f = sim_disk_names_find(&d->live, path);
    if (!f) return ERR_NOT_FOUND;
    if (f->dir) return ERR_INVALID;
    sim_disk_names_change(d, SIM_UNLINK, path, NULL, f);
    return ERR_OK;
}

err sim_disk_mkdir(sim_disk *d, const char *path) {
    if (sim_disk_names_is_root(path) || sim_disk_names_find(&d->live, path)) return ERR_EXISTS;
    if (!sim_disk_names_parent_exists(&d->live, path)) return ERR_NOT_FOUND;
    if (fault(d, d->faults.nospc)) return ERR_NOSPC;
    sim_inode *f = sim_disk_inode_new(d, true);
    sim_disk_names_change(d, SIM_LINK, path, NULL, f);
    sim_disk_unref(d, f); /* the name holds it */
    return ERR_OK;
}

err sim_disk_rmdir(sim_disk *d, const char *path) {
    sim_inode *f = sim_disk_names_find(&d->live, path);
    if (!f || !f->dir) return ERR_NOT_FOUND;
    if (sim_disk_names_has_children(&d->live, path)) return ERR_EXISTS;
    err e = sim_disk_names_sync(d, path); /* what went from it does not come back in another directory of that name */
    if (e) return e;
    sim_disk_names_change(d, SIM_UNLINK, path, NULL, f);
    return ERR_OK;
}

err sim_disk_stat(sim_disk *d, const char *path, uint64_t *out_size, usec *out_mtime) {
    sim_inode *f = sim_disk_names_find(&d->live, path);
    if (!f && !sim_disk_names_is_root(path)) return ERR_NOT_FOUND;
    *out_size = f ? f->size : 0;
    *out_mtime = f ? f->mtime : 0;
    return ERR_OK;
}

err sim_disk_list(sim_disk *d, const char *path, void (*fn)(void *arg, const char *name), void *arg) {
    return sim_disk_names_list(d, path, fn, arg);
}

err sim_disk_dir_sync(sim_disk *d, const char *path) {
    d->syncs++;
    if (fault(d, d->faults.sync_eio)) return ERR_IO;
    return sim_disk_names_sync(d, path);
}

/* --- power ---------------------------------------------------------------------------------------------------------------------- */

typedef enum fate { FATE_KEEP, FATE_DROP, FATE_MIX, FATE_COUNT } fate; /* of a file's dirty sectors; MIX draws for each */

static void cut_sector(sim_disk *d, sim_page *p, unsigned s, fate how) {
    uint8_t *now = p->data + s * SIM_SECTOR, *before = p->undo + s * SIM_SECTOR;
    if (how == FATE_MIX) how = (fate)prng_below(d->rng, FATE_COUNT);
    if (p->lost & (1u << s)) how = FATE_DROP;
    switch (how) {
    case FATE_KEEP: d->kept++; return;
    case FATE_DROP:
        d->dropped++;
        memcpy(now, before, SIM_SECTOR);
        return;
    case FATE_MIX: {
        d->torn++; /* the head or the tail of the sector made it to the platter */
        size_t at = (size_t)prng_below(d->rng, SIM_SECTOR);
        if (prng_chance(d->rng, 1, 2))
            memcpy(now + at, before + at, SIM_SECTOR - at);
        else
            memcpy(now, before, at);
        return;
    }
    case FATE_COUNT: return;
    }
}

static void cut_inode(sim_disk *d, sim_inode *f) {
    fate how = (fate)prng_below(d->rng, FATE_COUNT);
    if (f->size != f->synced_size) {
        uint64_t lo = f->size < f->synced_size ? f->size : f->synced_size, hi = f->size + f->synced_size - lo;
        switch (prng_below(d->rng, 3)) {
        case 0: f->size = f->synced_size; break;
        case 1: break;
        default: f->size = lo + prng_below(d->rng, hi - lo + 1);
        }
    }
    for (size_t i = 0; i < f->n_pages; i++) {
        sim_page *p = f->pages[i];
        if (!p || !p->dirty) continue;
        for (unsigned s = 0; s < SIM_PAGE / SIM_SECTOR; s++)
            if (p->dirty & (1u << s)) cut_sector(d, p, s, how);
        p->lost = 0;
        page_settle(p);
    }
    uint64_t end = f->size % SIM_PAGE; /* nothing may show through past the end when the file grows again */
    sim_page *last = end ? page_of(f, f->size / SIM_PAGE) : NULL;
    if (last) memset(last->data + end, 0, SIM_PAGE - end);
    inode_free_pages(d, f, (f->size + SIM_PAGE - 1) / SIM_PAGE);
    f->synced_size = f->size;
}

void sim_disk_power_cut(sim_disk *d) {
    d->failed_syncs = 0;
    sim_disk_names_power_cut(d);
    for (sim_inode *f = d->inodes; f; f = f->next) cut_inode(d, f);
}

void sim_disk_settle(sim_disk *d) {
    sim_disk_names_settle(d);
    for (sim_inode *f = d->inodes; f; f = f->next) {
        for (size_t i = 0; i < f->n_pages; i++) {
            if (!f->pages[i]) continue;
            f->pages[i]->lost = 0;
            page_settle(f->pages[i]);
        }
        f->synced_size = f->size;
    }
}

err sim_disk_flip(sim_disk *d, const char *path, uint64_t bit) {
    sim_inode *f = sim_disk_names_find(&d->live, path);
    if (!f) return ERR_NOT_FOUND;
    if (bit / 8 >= f->size) return ERR_EOF;
    sim_page *p = page_make(d, f, bit / 8 / SIM_PAGE);
    if (!p) return ERR_NOSPC;
    p->data[bit / 8 % SIM_PAGE] ^= (uint8_t)(1u << (bit % 8));
    if (p->undo) p->undo[bit / 8 % SIM_PAGE] ^= (uint8_t)(1u << (bit % 8));
    return ERR_OK;
}

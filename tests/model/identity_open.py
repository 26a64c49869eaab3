#!/usr/bin/env python3
"""Executable model, second part: announcements with locators, reconciled deltas with an under-approximated common version,
the row of a reconciliation, repair together with pruning, counters in the kernel, and a shared folder.

    python3 identity_open.py [SCHEDULES] [PART ...]      PART: deltas row repair counters folder (default: all)

It builds on identity_model.py: the same dots, births, lines, versions as heads, log of all writes and oracle.
"""
import random
import sys
import time

from identity_model import ROOT, KNOWN, Delta, Table, Version, World, Wrong, check, check_pairs, decode, p_covers, p_join, p_le


# ---------------------------------------------------------------- the kernel: every delta is cut and merged in one way
def covered(version, w):
    """How much of a writer a version covers. By lines: the last stretch of w on a line that the version reaches."""
    t = version.t
    segs = t.segs.get(w, [])
    for i in reversed(range(len(segs))):
        first, line = segs[i]
        reach = version.m.get(line, 0)
        if reach >= first:
            last = segs[i + 1][0] - 1 if i + 1 < len(segs) else t.known[w]
            return min(reach, last)
    return 0


def path_back(birth, d):
    """The last dot of each earlier writer on the path of d, nearest first."""
    out = []
    w, c = birth[d[0]]
    while w is not None:
        out.append((w, c))
        w, c = birth[w]
    return out


class Announcement:
    """What a replica says of itself: its heads, verbatim, and for each a list of dots on its path, cut short anywhere.
    `live` is what it held alive when it said so: a comparison of live dots is one with this state."""

    def __init__(self, r, rng):
        self.who, self.heads, self.v, self.loc = r, r.version.heads(), dict(r.v), {}
        self.live = {t for c in r.cells.values() for t, x in c.items() if x is not None}
        self.held = {t for c in r.cells.values() for t in c}
        for h in self.heads:
            back = path_back(r.t.birth, h)
            near = rng.randrange(4)
            pick = [i for i in range(len(back)) if i < near or (i - near + 1) & (i - near) == 0]
            self.loc[h] = [back[i] for i in pick][:rng.choice([0, 1, 2, 4, 99])]


def ends(d, t, k, upto, judged):
    """True if a delta that does not hold a dot takes it for dead, in this cell."""
    if k in d.cells or k[0] in d.entities:
        return upto.covers(t)
    return d.dead is not None and (t in d.dead or (upto.covers(t) and not judged.covers(t)))


class Kernel:
    """One opening of a replica. Deltas are incremental or reconciled; a complete one is reconciled with nothing in common."""
    settled, tells = frozenset(), False  # of no use here: see Cloned

    def __init__(self, world, left_out=None):
        self.world, self.left_out = world, left_out
        self.t = Table()
        self.version, self.pruned = Version(self.t), Version(self.t)
        self.v, self.p = {}, {}  # shadows
        self.cells, self.owner, self.me = {}, None, None
        self.differences = []  # of reconciliations; they end with the opening

    # -- opening and saving
    def save(self):
        r = type(self)(self.world, self.left_out)
        r.t = self.t.copy()
        r.version, r.pruned = self.version.copy(r.t), self.pruned.copy(r.t)
        r.v, r.p = dict(self.v), dict(self.p)
        r.cells = {k: dict(c) for k, c in self.cells.items()}
        r.owner, r.me = self.me or self.owner, None
        return r

    # -- writing
    def mint(self):
        if self.me is None:
            self.me = "%08x" % self.world.rng.getrandbits(32)
            parent, n = None, 0
            if self.owner is not None:
                line, _ = self.t.place((self.owner, self.v[self.owner]))
                parent, n = self.t.dot_at(line, self.version.m[line])
            self.world.birth[self.me] = self.t.birth[self.me] = (parent, n)
        return self.me, self.v.get(self.me, self.world.birth[self.me][1]) + 1

    def write(self, entity, field, value):
        dot = self.mint()
        self.world.record(dot, entity, field, value, dict(self.v))
        whole = field == ROOT and value is None
        for k in [k for k in self.cells if k == (entity, field) or (k[0] == entity and whole)]:
            del self.cells[k]
        self.cells[entity, field] = {dot: value}
        self.t.extend(dot)
        self.version.observe(dot)
        self.v[dot[0]] = dot[1]
        return dot

    def edit(self, *writes):
        before = self.version.copy()
        for w in writes:
            dot = self.write(*w)
        d = self.cut(before)
        d.dot = dot
        return d

    def prune(self, rng):
        for k, c in list(self.cells.items()):
            for d in [d for d, x in c.items() if x is None and rng.random() < 0.7]:
                del c[d]
                self.pruned.observe(d)
                self.p = p_join(self.p, {d[0]: d[1]})
            if not c:
                del self.cells[k]

    # -- standing of a peer
    def common(self, a):
        """At most what both cover: for each head of the peer the deepest dot listed for it whose writer we have seen."""
        since = Version(self.t)
        for h in a.heads:
            for w, c in [h] + a.loc[h]:
                have = covered(self.version, w)
                assert have == self.v.get(w, 0)
                if not have:
                    continue
                if self.left_out == "a common version stops at what we cover" and self.t.extend((w, c)):
                    have = c
                if self.left_out != "a common version stops at what is listed":
                    have = min(have, c)
                since.observe((w, have))
                break
        if not self.left_out:
            check(self.version.includes(since) and p_le(since.plain(), a.v), "more than what both cover")
        return since

    # -- deltas
    def cut(self, since, need=None, dead=None, peer_v=None):
        """Incremental if `dead` is None, else reconciled. `since` is any closed part of our version."""
        d = Delta()
        cells = {k: c for k, c in self.cells.items() if any(not since.covers(t) for t in c)}
        d.entities = {k[0] for k in cells if k[1] == ROOT}
        cells.update({k: c for k, c in self.cells.items() if k[0] in d.entities})
        d.cells = {k: {t: KNOWN if since.covers(t) else x for t, x in c.items()} for k, c in cells.items()}
        d.dead, d.need, d.since, d.news, d.pruned = dead, need, since.heads(), self.version.news(since), self.pruned.heads()
        d.since_v, d.upto_v, d.p, d.need_v = since.plain(), dict(self.v), dict(self.p), None
        given = d.since_v
        if self.left_out == "births are those of the writers that `since` lacks" and peer_v is not None:
            given = peer_v
        d.births = {w: self.t.birth[w] for w in self.v if w not in given}
        return d

    def complete(self):
        """A reconciled delta for nobody in particular. Tombstones left out count as pruned."""
        d = self.cut(Version(self.t), need=(), dead=set())
        d.need_v = {}
        pruned = self.pruned.copy()
        for c in self.cells.values():
            for t in [t for t, x in c.items() if x is None]:
                pruned.observe(t)
                d.p = p_join(d.p, {t[0]: t[1]})
        d.pruned = pruned.heads()
        d.cells = {k: {t: x for t, x in c.items() if x is not None} for k, c in d.cells.items()}
        return d

    # -- merging
    def judge(self, d):
        """What must hold before anything changes. None if the delta builds on what we have not seen."""
        since = decode(self.t, d.since, learn=False)
        fits = since is not None and self.version.includes(since)
        check(self.left_out or fits == p_le(d.since_v, self.v), "a gap is misjudged")
        if not fits:
            return None
        need = since
        if d.dead is not None:
            need = decode(self.t, d.need, learn=False)
            fits = need is not None and self.version.includes(need)
            check(self.left_out or fits == p_le(d.need_v, self.v), "`need` is misjudged")
            if not fits:
                return None
        for w, b in d.births.items():
            assert self.t.birth.setdefault(w, b) == b, "two births of one writer"
        upto, pruned = decode(self.t, d.news), decode(self.t, d.pruned)
        check(upto is not None and pruned is not None, "a birth is missing")
        upto.join(since)
        check(self.left_out or upto.plain() == d.upto_v, "`upto` is misread")
        return need if self.left_out == "what is silent is judged by the common version" else since, upto, pruned

    def merge(self, d):
        known = self.judge(d)
        if known is None:
            return False
        judged, upto, pruned = known
        for k in dict.fromkeys([*self.cells, *d.cells]):
            ours, theirs = self.cells.get(k, {}), d.cells.get(k, {})
            if k in d.cells or k[0] in d.entities:
                cell = {t: x for t, x in ours.items() if t in theirs or not upto.covers(t)}
            elif d.dead is not None:
                cell = {t: x for t, x in ours.items() if t not in d.dead and (judged.covers(t) or not upto.covers(t))}
            else:
                cell = dict(ours)
            for t, x in theirs.items():
                if t not in ours and not self.version.covers(t):
                    check(self.left_out or x != KNOWN, "a content is missing")
                    cell[t] = x
            self.cells.pop(k, None)
            if cell:
                self.cells[k] = cell
        self.version.join(upto)
        self.v = p_join(self.v, d.upto_v)
        self.pruned.join(pruned)
        self.p = p_join(self.p, d.p)
        return True

    def replay(self, d):
        self.merge(d)
        if self.version.covers(d.dot):
            self.owner = d.dot[0]

    def alive(self):
        return {(d, k): x for k, c in self.cells.items() for d, x in c.items() if x is not None}

    def look(self, stats):
        pass


def check_one(r):
    r.world.checks += 1
    check(r.left_out or r.version.plain() == r.v, "lines and plain map differ")
    have, true = r.alive(), r.world.alive(r.v)
    check(not have.keys() - true.keys(), "revived")
    check(have == true, "lost")


# ---------------------------------------------------------------- locators, and reconciling with what is surely common
def lower(version, rng):
    """Some closed part of a version."""
    out = Version(version.t)
    for h in version.heads():
        y = rng.random()
        if y < 0.3:
            continue
        w, c = h
        while y < 0.6 and w is not None and rng.random() < 0.7:
            c -= 1
            if c <= version.t.birth[w][1]:
                w, c = version.t.birth[w]
        if w is not None:
            out.observe((w, c))
    return out


class Difference:
    pass


def reconcile(r, a, rng, stats):
    """Compares live dots with the state that a peer announced. Both learn the difference: (for us, for the peer)."""
    common = r.common(a)
    y = rng.random()
    if y < 0.25:
        common = lower(common, rng)
    elif y < 0.35:
        common = Version(r.t)
    if r.left_out == "both cover the common version":
        common = r.version.copy()
    elif not p_le(common.plain(), a.v):
        return None  # the peer checks it
    stats["empty"] += not common.m
    heads, then, live = common.heads(), r.version.copy(), {t for c in r.cells.values() for t, x in c.items() if x is not None}
    peers = a.live
    if r.left_out == "live dots are those of the version that is named":
        peers = {t for c in a.who.cells.values() for t, x in c.items() if x is not None}
    held = {t for c in r.cells.values() for t in c}
    ours, theirs = Difference(), Difference()
    ours.at, ours.at_v, ours.common, ours.then_v, ours.ann = a.heads, a.v, heads, dict(r.v), a
    ours.dead = {t for t in peers if common.covers(t) and t not in held}
    theirs.at, theirs.at_v, theirs.common, theirs.then_v = then.heads(), dict(r.v), heads, dict(a.v)
    theirs.ann = Announcement(r, rng)
    theirs.dead = {t for t in live if common.covers(t) and t not in a.held}
    return ours, theirs


def cut_late(r, diff, stats):
    """A delta from a difference, perhaps long after. None: what killed some dot since may be pruned."""
    common = decode(r.t, diff.common, learn=False)
    if not r.left_out:
        check(common is not None and r.version.includes(common), "what was common is not ours")
    if common is None:
        return None
    then = Version(r.t)
    for d in diff.then_v.items():
        then.observe(d)
    then.join(r.common(diff.ann))
    if not then.includes(r.pruned):
        stats["too late"] += 1
        if r.left_out != "`pruned` lies within what was compared":
            return None
    need, need_v = diff.at, diff.at_v
    if r.left_out == "a reconciled delta needs all that the peer had seen":
        need, need_v = diff.common, common.plain()
    if not diff.common and r.left_out is None:
        need, need_v = (), {}  # nothing is silent: whoever merges it has every dot judged
    d = r.cut(common, need, set(diff.dead), diff.at_v)
    d.need_v = need_v
    return d


def delta_for(r, a, rng, stats, lowered=True):
    """What a replica sends to a peer that announced itself: incremental, or a comparison comes first."""
    since = r.common(a)
    if lowered and rng.random() < 0.25:
        since = lower(since, rng)
    if since.includes(r.pruned) or r.left_out == "`pruned` lies within `since`":
        stats["incremental"] += 1
        return r.cut(since, peer_v=a.v)
    if not since.m and r.left_out == "an empty common version is answered as reconciled":
        return r.cut(since)
    stats["reconciled"] += 1
    both = reconcile(r, a, rng, stats)
    if both is None:
        return None
    ours, theirs = both
    r.differences.append(ours)
    a.who.differences.append(theirs)  # of no use if that opening has ended
    return cut_late(r, ours, stats) if rng.random() < 0.5 else None


class Disk:
    def __init__(self):
        self.saves, self.appended = [], []


def some_writes(rng, step, entities="ab", alive=0.55):
    writes = []
    for k in range(1 if rng.random() < 0.8 else rng.randrange(2, 4)):
        y, e = rng.random(), rng.choice(entities)
        field = ROOT if y > 0.8 else rng.choice([ROOT, "f", "g"]) if y < alive else rng.choice("fg")
        writes.append((e, field, 10 * step + k if y < alive else None))
    return writes


def restart(rng, replicas, disks, i, fresh):
    """A crash loses what was not appended; a restore goes back further; a copy goes on elsewhere."""
    y, of = rng.random(), i
    if y < 0.25:
        of = rng.randrange(len(replicas))
    saves = disks[of].saves
    at = rng.randrange(len(saves)) if saves and y < 0.5 else -1
    new = saves[at].save() if saves else fresh()
    if at in (-1, len(saves) - 1):
        for delta in disks[of].appended:
            new.replay(delta)
    if new.left_out == "a difference ends with the opening":  # rather than with the state that it was made from
        new.differences = replicas[i].differences
    replicas[i] = new


def deltas_schedule(seed, left_out=None, steps=120, n=4, hard=False, make=Kernel, act=None, openings=0.0):
    """`hard`: a common history, then mostly removals, pruning, set-backs and copies; few ordinary deltas."""
    rng = random.Random(seed)
    world = World(rng)
    replicas, disks, flight, said = [make(world, left_out) for _ in range(n)], [Disk() for _ in range(n)], [], []
    at = [0.20, 0.32, 0.33, 0.43, 0.53, 0.76] if hard else [0.24, 0.33, 0.39, 0.45, 0.54, 0.74]
    stats = dict.fromkeys(["openings", "incremental", "reconciled", "empty", "too late",
                           "merged", "reconciled merged", "refused"], 0)
    try:
        if hard:
            for e in "abcd":
                for f in [ROOT, "f", "g"]:
                    rng.choice(replicas[:2]).edit((e, f, e + f))
            for a in replicas:
                for b in replicas[:2]:
                    a.merge(b.complete())
            for i in range(n):
                disks[i].saves.append(replicas[i].save())
        for step in range(steps):
            x, i = rng.random(), rng.randrange(n)
            r = replicas[i]
            if rng.random() < openings:  # an orderly restart
                disks[i].saves.append(r.save())
                disks[i].appended = []
                r = replicas[i] = r.save()
                stats["openings"] += 1
            if x < at[0]:
                what = ("abcd", 0.25) if hard else ("ab", 0.55)
                d = act(r, rng, step) if act else r.edit(*some_writes(rng, step, *what))
                if rng.random() < 0.85:  # else: not durable when the process dies
                    disks[i].appended.append(d)
                flight += [(j, d) for j in range(n) if j != i and rng.random() < (0.2 if hard else 0.4)]
            elif x < at[1]:
                r.prune(rng)
            elif x < at[2]:
                disks[i].saves.append(r.save())
                disks[i].appended = []
            elif x < at[3]:
                restart(rng, replicas, disks, i, lambda: make(world, left_out))
                stats["openings"] += 1
            elif x < at[4]:
                said.append((i, Announcement(r, rng)))
                if rng.random() < 0.5:
                    disks[i].saves.append(r.save())
                    disks[i].appended = []
            elif x < at[5]:
                d, j = None, rng.randrange(n)
                y = rng.random()
                if y < 0.15:
                    d = r.complete()
                elif y < (0.65 if hard else 0.45) and r.differences:
                    diff = rng.choice(r.differences)
                    j = next((k for k in range(n) if replicas[k] is diff.ann.who), j)
                    d = cut_late(r, diff, stats)
                elif said:
                    j, a = rng.choice(said[-6:])
                    d = delta_for(r, a, rng, stats)
                if d is not None:
                    flight.append((rng.randrange(n) if rng.random() < 0.4 else j, d))
            elif flight:
                k = rng.randrange(max(0, len(flight) - 12), len(flight)) if rng.random() < 0.7 else rng.randrange(len(flight))
                i, d = flight[k]
                done = replicas[i].merge(d)
                if rng.random() < (0.6 if done else 0.1):
                    flight.pop(k)
                stats["merged" if done else "refused"] += 1
                stats["reconciled merged"] += done and d.dead is not None
            check_one(replicas[i])
            check_pairs(replicas)
            replicas[i].look(stats)
        for _ in range(3):
            for a in replicas:
                for b in replicas:
                    if a is not b:
                        d = None
                        for _ in range(20):
                            d = d or delta_for(b, Announcement(a, rng), rng, stats, lowered=False)
                        check(d is not None, "no delta at all")
                        a.merge(d)
                        check_one(a)
                        check_pairs(replicas)
                        a.look(stats)
        check(all(a.v == replicas[0].v for a in replicas), "versions differ after full exchange")
        return None, stats
    except Wrong as e:
        return str(e), stats
    except (AssertionError, AttributeError, TypeError) as e:
        return type(e).__name__ + " " + str(e), stats


DELTAS = [
    "a common version stops at what we cover",
    "a common version stops at what is listed",
    "births are those of the writers that `since` lacks",
    "`pruned` lies within `since`",
    "an empty common version is answered as reconciled",
    "what is silent is judged by the common version",
    "a reconciled delta needs all that the peer had seen",
    "both cover the common version",
    "live dots are those of the version that is named",
    "`pruned` lies within what was compared",
    "a difference ends with the opening",
]


# ---------------------------------------------------------------- the row of a reconciliation
BLOCK = 4


class Index:
    """A table, learnt in some order, and the words of live dots under local lines: (line, block) -> word."""

    def __init__(self, birth, live):
        self.t, self.live, self.words = Table(), live, {}
        self.t.birth = birth

    def learn(self, d):
        before = dict(self.t.known)
        self.t.extend(d)
        for w, c in self.t.known.items():
            for k in range(before.get(w, self.t.birth[w][1]) + 1, c + 1):
                if (w, k) in self.live:
                    line, _ = self.t.place((w, k))
                    self.words[line, k // BLOCK] = self.words.get((line, k // BLOCK), 0) | 1 << k % BLOCK

    def row(self, heads, left_out=None):
        """For each head the stretches of local lines that make up what earlier heads did not contribute."""
        done, out = {}, []
        if left_out == "heads in the order of their ids":
            heads = sorted(heads, key=self.t.place)
        for h in heads:
            line, c = self.t.place(h)
            stretches = []
            while done.get(line, 0) < c:
                attach, had = self.t.lines[line][0], done.get(line, 0)
                stretches.append((line, had or (attach[1] if attach else 0), c))
                done[line] = c
                if had or attach is None:
                    break
                line, c = attach
            out.append(stretches)
        return out

    def words_of(self, row, left_out=None):
        out = []
        for stretches in row:
            if not stretches:
                continue
            low, high = stretches[-1][1], stretches[0][2]
            for block in range((low + 1) // BLOCK, high // BLOCK + 1):
                word = 0
                for line, lo, hi in stretches:
                    mask = sum(1 << k % BLOCK for k in range(max(lo + 1, block * BLOCK), min(hi, block * BLOCK + BLOCK - 1) + 1))
                    if left_out == "masks" and mask:
                        mask = (1 << BLOCK) - 1
                    word |= self.words.get((line, block), 0) & mask
                out.append((block, word))
        return out

    def dot(self, row, n, c):
        """The dot at a counter of the n-th contribution."""
        line = next(line for line, lo, hi in row[n] if lo < c <= hi)
        return self.t.dot_at(line, c)

    def depths(self, row, v):
        """A closed version within the row: how far below its end each contribution is covered."""
        out = []
        for stretches in row:
            if stretches:
                reach = max([stretches[-1][1]] + [min(hi, v.m.get(line, 0)) for line, lo, hi in stretches if v.m.get(line, 0) > lo])
                out.append(stretches[0][2] - reach)
        return out

    def version(self, row, depths):
        v, depths = Version(self.t), iter(depths)
        for n, stretches in enumerate(row):
            if stretches:
                c = stretches[0][2] - next(depths)
                if c > stretches[-1][1]:
                    v.observe(self.dot(row, n, c))
        return v


def row_schedule(seed, left_out=None):
    rng = random.Random(seed)
    birth, last, live = {}, {}, set()
    for _ in range(rng.randrange(1, 14)):
        w = "%04x" % rng.getrandbits(16)
        if w in birth:
            continue
        parent, n = None, 0
        if birth and rng.random() < 0.85:
            parent = rng.choice(list(birth))
            n = last[parent] if rng.random() < 0.5 else rng.randrange(birth[parent][1] + 1, last[parent] + 1)
        birth[w], last[w] = (parent, n), n + rng.randrange(1, 14)
        live |= {(w, c) for c in range(n + 1, last[w] + 1) if rng.random() < 0.5}
    dots = [(w, c) for w in birth for c in range(birth[w][1] + 1, last[w] + 1)]
    some = rng.sample(dots, min(len(dots), rng.randrange(1, 8)))
    sides = []
    for _ in range(2):
        side = Index(birth, live)
        order = some + rng.sample(dots, rng.randrange(len(dots) + 1))
        rng.shuffle(order)
        for d in order:
            side.learn(d)
        sides.append(side)
    stats = {"heads": 0, "words": 0, "lines": sum(len(x.t.lines) for x in sides)}
    try:
        versions = [decode(x.t, some, learn=False) for x in sides]
        heads = versions[0].heads()
        check(heads == versions[1].heads(), "heads")
        rows = [x.row(heads, left_out) for x in sides]
        words = [x.words_of(r, left_out) for x, r in zip(sides, rows)]
        seen, direct, paths = set(), [], []
        for h in heads:
            path, (w, c) = [], h
            while w is not None and (w, c) not in seen:
                path.append((w, c))
                seen.add((w, c))
                w, c = (w, c - 1) if c - 1 > birth[w][1] else birth[w]
            paths.append(path)
            if path:
                for block in range(path[-1][1] // BLOCK, path[0][1] // BLOCK + 1):
                    direct.append((block, sum(1 << c % BLOCK for w, c in path if c // BLOCK == block and (w, c) in live)))
        check(words[0] == words[1], "the two rows differ")
        check(words[0] == direct, "a row differs from an enumeration")
        for x, r in zip(sides, rows):
            for n, path in enumerate(paths):
                for d in path:
                    check(x.dot(r, n, d[1]) == d, "a bit means another dot")
        part = lower(versions[0], rng)
        there = sides[1].version(rows[1], sides[0].depths(rows[0], part))
        check(there.plain() == part.plain(), "a closed version along the row")
        stats["heads"], stats["words"] = len(heads), len(direct)
        return None, stats
    except Wrong as e:
        return str(e), stats
    except (StopIteration, IndexError) as e:
        return type(e).__name__, stats


# ---------------------------------------------------------------- one dot with two contents, together with pruning
class Ghost(World):
    """Contents are events, named by their value. A doubled dot has two of them."""

    def __init__(self, rng):
        super().__init__(rng)
        self.events, self.contents, self.killers, self.reported, self.rescues = {}, {}, {}, set(), 0
        self.silent = 0  # contents that a merge ended unseen

    def record(self, dot, entity, field, value, seen):
        self.contents.setdefault(dot, set()).add((entity, field, value))
        if value is not None:
            self.events[value] = dot


def derived(t, key, x):
    """The dot under which a content that lost its own is written again: a root, and the same for whoever does it."""
    return "derived %s %s %s %s" % (t[0], t[1], key, x), 1


# Tried in place of ending it: 2,493 for 1,449 contents are written again in 1,500 schedules, and of the thousand more a quarter had
# been removed by somebody who saw them, in a write whose own dot is doubled. The report leaves that to the app.
AGAIN = "what a repair finds dead ends"


class Cloned(Kernel):
    """A merge that meets two contents of one dot. Repair is such a merge, of a complete delta at an equal version."""
    limit = 64

    def __init__(self, world, left_out=None):
        super().__init__(world, left_out)
        self.settled = frozenset()  # dots that somebody in our past has settled
        self.rescued, self.rescues = [], []  # by this opening: what was rescued; and the deltas that say so, to send

    def save(self):
        r = super().save()
        r.settled = self.settled
        return r

    def cut(self, *args, **named):
        d = super().cut(*args, **named)
        d.settled = self.settled
        if self.tells:  # a delta always speaks of settled dots: with their content, or else they are dead
            for k, c in self.cells.items():
                if any(t in self.settled for t in c):
                    d.cells[k] = {t: x if t in self.settled else d.cells.get(k, {}).get(t, KNOWN) for t, x in c.items()}
        return d

    def clone(self):
        r = self.save()
        r.me, r.owner = self.me, self.owner
        return r

    def write(self, entity, field, value):
        whole, w = field == ROOT and value is None, self.world
        gone = [(t, x) for k, c in self.cells.items() if k == (entity, field) or (k[0] == entity and whole) for t, x in c.items()]
        dot = super().write(entity, field, value)
        for t, x in gone:
            w.killers.setdefault(x, []).append((t, dot))
        return dot

    def everything(self):
        """A complete delta with its tombstones."""
        d = self.cut(Version(self.t), need=(), dead=set())
        d.need_v = {}
        return d

    def held(self):
        return {t: (k, x) for k, c in self.cells.items() for t, x in c.items()}

    def drop(self, t, key):
        del self.cells[key][t]
        if not self.cells[key]:
            del self.cells[key]

    def report(self, x):
        if x is not None:
            self.world.reported.add(x)

    def differs(self, t):
        self.settled |= {t}
        if not self.tells and self.left_out != "what differed counts as pruned":
            self.pruned.observe(t)
            self.p = p_join(self.p, {t[0]: t[1]})

    def merge(self, d):
        known = self.judge(d)
        if known is None:
            return False
        judged, upto, pruned = known
        w, before, news = self.world, self.held(), not self.version.includes(upto)
        told, self.settled = d.settled if self.tells else (), self.settled | d.settled
        theirs = {t: (k, x) for k, c in d.cells.items() for t, x in c.items()}
        # Somebody else uses our writer: its dots beyond our counter, or other contents under them.
        if self.me is not None and d.upto_v.get(self.me, 0) > self.v[self.me]:
            self.owner, self.me = self.me, None
        lost = []
        for t in sorted(theirs):
            if t in before and before[t] != theirs[t] and theirs[t][1] != KNOWN:
                if self.left_out == "a merge settles two contents of one dot" and news:
                    continue
                (a, x), (b, y) = before[t], theirs[t]
                if t[0] == self.me:
                    self.owner, self.me = self.me, None
                # A removal is above every content, else the greater one keeps the dot.
                if (y is None, repr((b, y))) > (x is None, repr((a, x))):
                    (a, x), (b, y) = (b, y), (a, x)
                self.drop(t, before[t][0])
                self.cells.setdefault(a, {})[t] = x
                if y is not None:
                    lost.append((t, b, y))
                if self.left_out != "what differed in a merge counts as pruned":
                    self.differs(t)
        ours = self.held()
        for k in list(self.cells):
            for t in list(self.cells[k]):
                if t in theirs and (self.left_out != "a dot that a delta holds anywhere is not dead" or t in d.cells.get(k, {})):
                    continue
                dead = ends(d, t, k, upto, judged) or (t in told and upto.covers(t))
                if dead:
                    x = self.cells[k][t]
                    self.drop(t, k)
                    if t in told:
                        self.report(x)
                    elif not news:  # nothing new, and yet dead there: a divergence
                        if x is not None and self.left_out == AGAIN:
                            lost.append((t, k, x))
                        else:
                            self.report(x)
                        self.differs(t)
        for t, (k, x) in theirs.items():
            if t not in ours and t not in before and not self.version.covers(t):
                check(x != KNOWN, "a content is missing")
                self.cells.setdefault(k, {})[t] = x
        self.version.join(upto)
        self.v = p_join(self.v, d.upto_v)
        self.pruned.join(pruned)
        self.p = p_join(self.p, d.p)
        for t, k, y in lost:
            self.rescue(t, k, y)
        have = {x for _, x in self.held().values()}
        for t, (k, x) in before.items():
            if x is not None and x not in have and x not in w.reported and x not in w.killers:
                check(len(w.contents.get(t, ())) > 1, "lost without a report")
                w.silent += 1
        return True

    def rescue(self, t, k, y):
        new = derived(t, k, y)
        if self.left_out == "a rescue has a derived dot":
            new = ("%08x" % self.world.rng.getrandbits(32), 1)
        if self.left_out != "a removed rescue stays removed" and p_covers(self.v, new):
            return
        if t[0].startswith("derived") or sum(r[0] == t[0] for r in self.rescued) >= self.limit:
            return self.report(y)
        self.rescued.append(t)
        self.world.birth[new[0]] = self.t.birth[new[0]] = (None, 0)
        self.world.contents.setdefault(new, set()).add(k + (y,))
        self.world.rescues += 1
        self.t.extend(new)
        self.version.observe(new)
        self.v[new[0]] = 1
        self.cells.setdefault(k, {})[new] = y
        self.rescues.append(self.only(new, k, y))

    def only(self, new, k, y):
        """A rescue as a delta: it builds on nothing and claims nothing but itself, as if its writer had done nothing else."""
        d = Delta()
        d.cells, d.entities, d.dead, d.need, d.since, d.news, d.pruned = {k: {new: y}}, set(), None, None, (), (new,), ()
        d.since_v, d.upto_v, d.p, d.need_v, d.births = {}, {new[0]: 1}, {}, None, {new[0]: (None, 0)}
        d.settled = frozenset()
        return d


def same_state(a, b):
    return a.alive() == b.alive()


def repair(a, b):
    """Each merges all that the other holds. Who is first does not matter: both are cut before."""
    for_a, for_b = b.everything(), a.everything()
    a.merge(for_a)
    b.merge(for_b)


class Telling(Cloned):
    """Nothing counts as pruned; instead every delta speaks of the dots that were settled: content, or dead."""
    tells = True


def void(t, doubled):
    """A write that ends a dot, whatever it held: a root, in no cell. Its birth names the dot."""
    return "void %s %s %s" % (t[0], t[1], doubled), 1


def is_void(v, t):
    return p_covers(v, void(t, True)) or p_covers(v, void(t, False))


class Voiding(Cloned):
    """A doubled dot ends: *all* its contents are written again. Versions grow whenever something is settled, so equal versions
    mean equal states again, and ordinary deltas tell of it. Nothing counts as pruned."""

    def birth_of(self, w, parent, n):
        self.world.birth[w] = self.t.birth[w] = (parent, n)
        self.t.extend((w, n + 1))
        self.version.observe((w, n + 1))
        self.v[w] = n + 1

    def merge(self, d):
        known = self.judge(d)
        if known is None:
            return False
        judged, upto, pruned = known
        w, before, news = self.world, self.held(), not self.version.includes(upto)
        self.settled |= d.settled
        theirs = {t: (k, x) for k, c in d.cells.items() for t, x in c.items()}
        joined = p_join(self.v, d.upto_v)
        if self.me is not None and d.upto_v.get(self.me, 0) > self.v[self.me]:
            self.owner, self.me = self.me, None
        ended, again = [], []  # new voids; contents to write again
        for t in sorted(before):
            k, x = before[t]
            if t in theirs and theirs[t] != (k, x) and theirs[t][1] != KNOWN and not is_void(joined, t):
                if t[0] == self.me:
                    self.owner, self.me = self.me, None
                ended.append((t, True))
                self.drop(t, k)
                again += [(t, *c) for c in (before[t], theirs[t])]
            elif is_void(joined, t):
                self.drop(t, k)
                if p_covers(joined, void(t, True)):
                    again.append((t, k, x))
                else:
                    self.report(x)
            elif t not in theirs:
                if ends(d, t, k, upto, judged):
                    self.drop(t, k)
                    if not news:  # alive here, dead there: dead
                        self.report(x)
                        ended.append((t, False))
        for t, (k, x) in theirs.items():
            if t not in before and not self.version.covers(t) and not is_void(joined, t):
                check(x != KNOWN, "a content is missing")
                self.cells.setdefault(k, {})[t] = x
        self.version.join(upto)
        self.v = joined
        self.pruned.join(pruned)
        self.p = p_join(self.p, d.p)
        for t, doubled in ended:
            self.settled |= {t}
            if self.left_out != "what is settled is a write" and not p_covers(self.v, void(t, doubled)):
                self.birth_of(void(t, doubled)[0], None, 0)
        for t, k, x in again:
            self.rescue(t, k, x)
        have = {x for _, x in self.held().values()}
        for t, (k, x) in before.items():
            if x is not None and x not in have and x not in w.reported and x not in w.killers:
                check(len(w.contents.get(t, ())) > 1 or p_covers(self.v, derived(t, k, x)), "lost without a report")
                w.silent += 1
        return True

    def rescue(self, t, k, x):
        w = derived(t, k, x)[0]
        if x is None or p_covers(self.v, (w, 1)):
            return
        if t[0].startswith("derived") or sum(r[0] == t[0] for r in self.rescued) >= self.limit:
            return self.report(x)
        self.rescued.append(t)
        parent = void(t, True) if self.left_out != "what is settled is a write" else (None, 0)
        self.birth_of(w, *parent)
        new = (w, parent[1] + 1)
        self.world.contents.setdefault(new, set()).add(k + (x,))
        self.world.rescues += 1
        self.cells.setdefault(k, {})[new] = x
        d = self.only(new, k, x)
        if parent[0]:
            d.upto_v[parent[0]] = 1
            d.births = {w: parent, parent[0]: (None, 0)}
            d.upto_v[w] = 2
        self.rescues.append(d)


def repair_schedule(seed, left_out=None, steps=80, n=4, limit=64, make=Cloned):
    rng = random.Random(seed)
    world = Ghost(rng)
    kind = type(make.__name__, (make,), {"limit": limit})
    fresh = lambda: kind(world, left_out)
    replicas, disks, flight, said = [fresh() for _ in range(n)], [Disk() for _ in range(n)], [], []
    stats = dict.fromkeys(["clones", "doubled", "repairs", "final repairs", "rescues", "reported", "lost unseen", "newcomers",
                           "reconciled", "incremental", "empty", "too late", "doubled revived", "beside its rescue", "removed, and there", "never removed, and gone"], 0)
    try:
        for step in range(steps):
            x, i = rng.random(), rng.randrange(n)
            r = replicas[i]
            if x < 0.32:
                d = r.edit(*some_writes(rng, step, "ab", 0.75))
                if rng.random() < 0.85:
                    disks[i].appended.append(d)
                flight += [(j, d) for j in range(n) if j != i and rng.random() < 0.4]
            elif x < 0.37:
                r.prune(rng)
            elif x < 0.41:
                disks[i].saves.append(r.save())
                disks[i].appended = []
            elif x < 0.44:
                restart(rng, replicas, disks, i, fresh)
            elif x < 0.50 and step < steps - 20:
                j = rng.randrange(n)
                if j != i and r.me is not None:
                    replicas[j] = r.clone()
                    stats["clones"] += 1
            elif x < 0.56:
                said.append((i, Announcement(r, rng)))
            elif x < 0.72:
                d, j = None, rng.randrange(n)
                y = rng.random()
                if y < 0.1:
                    d = r.complete()
                elif y < 0.2:
                    d = r.everything()
                elif y < 0.35 and r.differences:
                    d = cut_late(r, rng.choice(r.differences), stats)
                elif said:
                    j, a = rng.choice(said[-6:])
                    d = delta_for(r, a, rng, stats)
                if d is not None:
                    flight.append((rng.randrange(n) if rng.random() < 0.4 else j, d))
            elif x < 0.76:
                for b in replicas:
                    if b is not r and b.version.heads() == r.version.heads() and not same_state(r, b):
                        stats["repairs"] += 1
                        repair(r, b)
            elif flight:
                k = rng.randrange(max(0, len(flight) - 12), len(flight)) if rng.random() < 0.7 else rng.randrange(len(flight))
                i, d = flight[k]
                done = replicas[i].merge(d)
                if rng.random() < (0.6 if done else 0.1):
                    flight.pop(k)
            r = replicas[i]
            flight += [(j, d) for d in r.rescues for j in range(n)]
            r.rescues = []
            check(r.version.plain() == r.v, "lines and plain map differ")
        for rounds in range(12):
            for a in replicas:
                for b in replicas:
                    if a is not b:
                        d = None
                        for _ in range(30):
                            d = d or delta_for(b, Announcement(a, rng), rng, stats, lowered=False)
                        check(d is not None, "no delta at all")
                        a.merge(d)
                        if a.version.heads() == b.version.heads() and not same_state(a, b):
                            stats["final repairs"] += 1
                            repair(a, b)
            if all(a.version.heads() == replicas[0].version.heads() and same_state(a, replicas[0]) for a in replicas):
                break
        check(all(a.v == replicas[0].v and same_state(a, replicas[0]) for a in replicas), "no agreement")
        r = replicas[0]
        values = {}
        for (t, k), x in r.alive().items():
            values.setdefault(x, []).append(t)
        for x, ts in values.items():
            # Both the content itself and its rescue: only if all who held the other content have lost it.
            stats["beside its rescue"] += len(ts) == 2 and world.events[x] in ts
            check(len(ts) == 1 or (len(ts) == 2 and world.events[x] in ts), "one content twice")
            for t, k in world.killers.get(x, ()):
                if p_covers(r.v, k) and len(world.contents[k]) == 1:
                    # Only a content of a doubled dot may show again, once, under either dot.
                    check(t not in ts or len(world.contents[t]) > 1, "revived")
                    stats["doubled revived"] += 1
        removed = {x for x, ks in world.killers.items() if any(p_covers(r.v, k) for _, k in ks)}
        stats["removed, and there"] = len(removed & values.keys())
        seen = {x for c in world.contents.values() for _, _, x in c if x is not None and p_covers(r.v, world.events[x])}
        stats["never removed, and gone"] = len(seen - removed - values.keys())
        stats["doubled"] = sum(len(c) > 1 for c in world.contents.values())
        stats["rescues"], stats["reported"], stats["lost unseen"] = world.rescues, len(world.reported), world.silent
        # Old backups that have seen nothing of what differed do not differ again.
        for disk in disks:
            for save in disk.saves:
                a = save.save()
                if any(p_covers(a.v, t) for t in r.settled):
                    continue
                stats["newcomers"] += 1
                said = Announcement(a, rng)
                for _ in range(rng.randrange(30)):
                    a.merge(rng.choice(flight)[1]) if flight else None
                d = None
                for _ in range(30):
                    d = d or delta_for(r, said, rng, stats, lowered=False)
                a.merge(d)
                for _ in range(30):
                    b = r.save()
                    d = delta_for(a, Announcement(b, rng), rng, stats, lowered=False)
                    if d and b.merge(d) and a.v == b.v:
                        break
                back = a.alive().items() - b.alive().items() if a.v == b.v else ()
                check(not any(t in r.settled for (t, _), _ in back), "a backup from before differs again")
        return None, stats
    except Wrong as e:
        return str(e), stats


REPAIR = [
    AGAIN,
    "a merge settles two contents of one dot",
    "a dot that a delta holds anywhere is not dead",
    "a rescue has a derived dot",
    "a removed rescue stays removed",
    "what differed counts as pruned",
    "what differed in a merge counts as pruned",
]


# ---------------------------------------------------------------- counters whose cells live in the kernel
class Counter(Kernel):
    """What both counters share. Everything is read from live cells and from the births that are known here."""
    keep, resets = 16, True

    def path(self, d):
        out = {}
        while d[0] is not None:
            out[d[0]] = d[1]
            d = self.t.birth[d[0]]
        return out

    def meet(self, a, b):
        there = self.path(b)
        for w, c in self.path(a).items():
            if w in there:
                return w, min(c, there[w])
        return None, 0

    def on(self, d, mine):
        return d[0] is None or mine.get(d[0], 0) >= d[1]

    def forks(self, mine):
        """Depths of the own path at which somebody else, seen here, leaves it."""
        births = [(w, self.t.birth[w]) for w in self.v if w not in mine]
        return [n for _, (p, n) in births if mine.get(p, 0) >= n] + [c for w, c in mine.items() if self.v.get(w, 0) > c]

    def before(self):
        """The last dot of the own path."""
        me, c = self.mint()
        return (me, c - 1) if c - 1 > self.t.birth[me][1] else self.t.birth[me]

    def counted(self):
        return {(t, k[1]): x for k, c in self.cells.items() if k[0] == "sum" for t, x in c.items() if x is not None}

    def reset(self):
        seen = dict(self.v)
        d = self.edit(("sum", ROOT, None))
        self.world.resets[d.dot] = seen
        return d

    def look(self, stats):
        low, high = self.value()
        w = self.world
        live = {d for (d, k), x in w.alive(self.v).items() if k[0] == "sum"}
        may = set().union(*(w.carried[d] for d in live))
        must = {i for i, (dot, _) in w.adds.items() if p_covers(self.v, dot)
                and not any(p_covers(self.v, r) and p_covers(s, dot) for r, s in w.resets.items())}
        check(must <= may, "an amount is in no live cell")
        total = lambda ids: sum(w.adds[i][1] for i in ids)
        if self.resets:
            check(low <= total(may) and total(must) <= high, "a wrong sum")
        else:
            check(low <= total(must) <= high, "a wrong sum")
        if low == high:
            check(total(must) <= low <= total(may), "a wrong sum, said to be exact")
        stats["reads"] = stats.get("reads", 0) + 1
        stats["exact"] = stats.get("exact", 0) + (low == high)
        stats["all that is live"] = stats.get("all that is live", 0) + (low == high == total(may))
        stats["cells"] = stats.get("cells", 0) + len(self.counted())
        mine = w.value_at.setdefault(self.version.heads(), (low, high))
        check(mine == (low, high), "equal versions, unequal sums")


class Sums(Counter):
    """One cell for each branch: the running total of the path, and what it was at earlier points."""

    def add(self, amount, i):
        seen, start, w = dict(self.v), self.version.copy(), self.world
        last = self.before()
        mine = self.path(last) if last[0] is not None else {}
        own = [(t, x) for (t, k), x in self.counted().items() if k == self.me]
        ids = frozenset()
        if own:
            (t, (base, total, marks)), = own
            ids = w.carried[t]
        else:
            cells = [(t, k, x) for (t, k), x in self.counted().items() if self.on(t, mine)]
            if self.left_out == "fold only what lies on the own path":
                cells = [(t, k, x) for (t, k), x in self.counted().items() if t[0] in mine]
            base, total, marks = last, 0, ()
            if cells:
                t, k, (base, total, marks) = max(cells, key=lambda c: c[0][1])
                ids = w.carried[t]
                last = self.write("sum", k, None)
                if self.left_out != "remember the sum at a birth":
                    marks += ((t[1], last[1], total),)
            if len(marks) > self.keep:
                forks, old = self.forks(mine), marks[:-self.keep]
                marks = tuple(m for m in old if any(m[0] <= f <= m[1] for f in forks)) + marks[-self.keep:]
        dot = self.write("sum", self.me, (base, total + amount, marks))
        w.adds_size += 2 + 3 * len(marks)
        w.adds[i] = (dot, amount)
        w.carried[dot] = ids | {i}
        d = self.cut(start)
        d.dot = dot
        return d

    def value(self):
        low = high = 0
        groups = {}
        for (t, _), p in self.counted().items():
            groups.setdefault(p[0], []).append((t, p))
        for base, cells in groups.items():
            done = []
            for d, (_, total, marks) in sorted(cells):
                low, high = low + total, high + total
                meets = [m[1] for m in (self.meet(d, e) for e, _ in done) if m[0] is not None]
                done.append((d, marks))
                if not meets:
                    continue
                depth = max(meets)
                through = [(d, total, marks)] + [(e, p[1], p[2]) for e, p in cells
                                                 if self.meet(d, e)[0] is not None and self.meet(d, e)[1] >= depth]
                know = {t for _, _, ms in through for k, m, t in ms if k <= depth <= m} | ({0} if base[1] >= depth else set())
                check(len(know) <= 1, "two sums at one point")
                if know:
                    t = know.pop()
                    low, high = low - t, high - t
                else:
                    below = max([0] + [t for _, _, ms in through for k, m, t in ms if m < depth])
                    above = min([t for _, t, _ in through] + [t for _, _, ms in through for k, m, t in ms if k > depth])
                    low, high = low - above, high - below
        return low, high


class Stretches(Counter):
    """One cell for each opening that counts: (from, to, total) of its own additions; and, once there are more than `keep` of
    them on the own path, the two oldest become one. Nothing is copied, so most adds write three numbers."""

    def add(self, amount, i):
        start, w = self.version.copy(), self.world
        last = self.before()
        own = [(t, x) for (t, k), x in self.counted().items() if k == "1" + self.me]
        if own:
            (t, (first, _, total)), = own
            ids = w.carried[t]
        else:
            first, total, ids = last, 0, frozenset()
            last = self.fold(self.path(last) if last[0] is not None else {}) or last
        dot = (self.me, last[1] + 1)
        w.adds[i] = (dot, amount)
        w.adds_size += 2  # `to` is the dot itself
        w.carried[dot] = ids | {i}
        assert self.write("sum", "1" + self.me, (first, dot, total + amount)) == dot
        d = self.cut(start)
        d.dot = dot
        return d

    def fold(self, mine):
        on = (lambda d: d[0] in mine) if self.left_out == "fold only what lies on the own path" else (lambda d: self.on(d, mine))
        cells = sorted(((x[1][1], x[0][1], t, k, x) for (t, k), x in self.counted().items() if on(x[1])), key=lambda c: c[:3])
        forks = self.forks(mine)
        if len(cells) <= self.keep or self.left_out == "fold":
            return None
        at = 0
        if self.left_out == "fold the oldest":
            at = self.world.rng.randrange(len(cells) - 1)
        pairs = range(at, len(cells) - 1)
        for a, b in [(cells[j], cells[j + 1]) for j in pairs]:
            (f, t, x), (g, u, y) = a[4], b[4]
            if t[1] > g[1] or any(f[1] < n < u[1] for n in forks):
                continue  # they overlap; or a branch is known that needs the sum between them
            last = None
            for c in sorted({a[3], b[3]}):
                last = self.write("sum", c, None)
            dot = (self.me, last[1] + 1)
            self.world.carried[dot] = self.world.carried[a[2]] | self.world.carried[b[2]]
            self.world.adds_size += 3
            assert self.write("sum", "2" + self.me, (f, u, x + y)) == dot
            return dot
        return None

    def value(self):
        cells = sorted({x for x in self.counted().values()}, key=lambda x: (x[0][1] - x[1][1], x[1], x[0]))  # longest first
        kept, low, high = [], 0, 0
        for f, t, x in cells:
            inside = over = False
            bound = 0
            for g, u, y in kept:
                m = self.meet(t, u)
                shared = m[0] is not None and m[1] > max(f[1], g[1])
                if shared and m == t and g[1] <= f[1] and self.left_out != "a stretch within another is in its total":
                    inside = True
                elif shared:
                    over, bound = True, bound + y
            if inside:
                continue
            kept.append((f, t, x))
            high += x
            low += x - (min(x, bound) if over else 0)
        return low, high


def counter_schedule(seed, make, keep=16, left_out=None, resets=True, **how):
    ids = iter(range(10**9))

    def act(r, rng, step):
        y = rng.random()
        if y < 0.75:
            return r.add(rng.randrange(1, 1000), next(ids))
        if y < 0.8 and resets:
            return r.reset()
        return r.edit(*some_writes(rng, step))

    def start(world, left_out=None):
        if not hasattr(world, "adds"):
            world.adds, world.resets, world.carried, world.value_at, world.adds_size = {}, {}, {}, {}, 0
            worlds.append(world)
        return kind(world, left_out)

    worlds = []
    kind = type(make.__name__, (make,), {"keep": keep, "resets": resets})
    error, stats = deltas_schedule(seed, left_out, make=start, act=act, **{"openings": 0.15, **how})
    stats["adds"], stats["numbers in them"] = len(worlds[0].adds), worlds[0].adds_size
    return error, stats


# ---------------------------------------------------------------- a shared folder
class File:
    """A delta, or None in a statement; the heads and the fingerprint of the state that it was cut from."""

    def __init__(self, r, delta, repair=False):
        self.delta, self.repair, self.heads, self.v = delta, repair, r.version.heads(), dict(r.v)
        self.print, self.settled, self.torn = frozenset(r.alive().items()), r.settled, False


def p_closed_reach(files):
    """What somebody who has nothing will have seen after reading these, in plain notation."""
    reach, todo = {}, [f for f in files if f.delta is not None and not f.torn]
    while True:
        ready = [f for f in todo if p_le(f.delta.since_v, reach)]
        if not ready:
            return reach
        for f in ready:
            reach = p_join(reach, f.v)
        todo = [f for f in todo if f not in ready]


class Folder:
    """(device, opening, number) -> file. `gone`: deleted, and still seen by some."""

    def __init__(self, rng, left_out):
        self.rng, self.left_out, self.files, self.gone = rng, left_out, {}, {}
        self.thrifty = rng.random() < 0.5

    def seen(self, often, late=0.0):
        out = {name: f for name, f in self.files.items() if self.rng.random() < often}
        out.update({name: f for name, f in self.gone.items() if name not in self.files and self.rng.random() < late})
        return out

    def reach(self, r, files):
        """A closed part of our version, and the settled dots, that the readers of these files will have."""
        reach, settled = Version(r.t), frozenset()
        todo = []
        for f in files:
            if f.delta is not None and not f.torn:
                upto = decode(r.t, f.heads, learn=False)
                if upto is not None and r.version.includes(upto):
                    todo.append((f, upto))
        while True:
            ready = [(f, upto) for f, upto in todo
                     if p_le(f.delta.since_v, reach.plain()) or self.left_out == "reach is what can be read in order"]
            if not ready:
                return reach, settled
            for f, upto in ready:
                reach.join(upto)
                settled |= f.settled
            todo = [x for x in todo if x not in ready]

    def push(self, r, often=0.9, torn=0.05, checkpoint=0.2):
        mine = {name: f for name, f in self.seen(often).items() if name[0] == r.device}
        reach, settled = self.reach(r, mine.values())
        news = not reach.includes(r.version)
        if self.thrifty and news:  # what a file of another device says need not be said again
            news = not self.reach(r, self.seen(often).values())[0].includes(r.version)
        if r.tells:
            news |= not r.settled <= settled
        y = self.rng.random()
        repair = r.diverged and self.left_out != "a divergence is answered by a checkpoint that all read"
        if repair or y < checkpoint or (news and not reach.includes(r.pruned) and self.left_out != "`pruned` lies within reach"):
            f = File(r, r.cut(Version(r.t), (), set()), repair)
            f.delta.need_v = {}
        elif news:
            f = File(r, r.cut(reach))
        elif r.version.heads() != r.said and self.left_out != "a statement after each change":
            f = File(r, None)
        else:
            return
        r.diverged, r.number, r.said = False, r.number + 1, r.version.heads()
        f.torn = self.rng.random() < torn
        name = r.device, r.opening, r.number
        self.files[name] = f
        if f.delta is not None and f.delta.dead is not None and not f.torn:
            r.checkpoint = name

    def superseded(self, r, often=0.9):
        """Some time after a checkpoint was made durable: the files of the device, of whichever opening, that say no more."""
        name, r.checkpoint = r.checkpoint, None
        c, out = self.files.get(name), []
        if c is None or (c.torn and self.left_out != "the checkpoint is intact when files go"):
            return out
        for n, f in self.seen(often).items():
            if n[0] != r.device or n == name or self.rng.random() < 0.1:  # a clearing may be cut off
                continue
            less = p_le(f.v, c.v) and f.settled <= c.settled
            same = f.v == c.v and f.settled == c.settled and f.delta is not None and f.delta.dead is not None
            if same and self.left_out != "of two equal checkpoints the later name stays":
                less = (f.repair, n) < (c.repair, name)
            if less:
                out.append(n)
        return out

    def clear(self, device, names):
        """Nothing that the directory says is lost."""
        mine = lambda: p_closed_reach([f for n, f in self.files.items() if n[0] == device])
        before = mine()
        for n in names:
            if n in self.files:
                self.gone[n] = self.files.pop(n)
                self.deleted += 1
        check(p_le(before, mine()), "deleted what nothing else says")

    def pull(self, r, often=0.75, late=0.2):
        files = list(self.seen(often, late).items())
        while True:
            self.rng.shuffle(files)
            progress = False
            for name, f in files:
                if f.torn or f.delta is None:
                    continue
                new = not p_le(f.v, r.v)
                if r.tells:
                    new |= not f.settled <= r.settled
                new |= f.repair and name not in r.repairs  # says nothing new, and yet what differs
                if new and r.merge(f.delta):
                    r.repairs.add(name)
                    progress = True
            if not progress:
                break
        for name, f in files:
            if not f.torn and f.heads == r.version.heads() and f.print != frozenset(r.alive().items()):
                if f.settled == r.settled or not r.tells:  # else it is from before something was settled, or is read yet
                    r.diverged = True
                    self.found += 1

    found = deleted = 0


def folder_schedule(seed, left_out=None, clones=False, steps=90, devices=3, make=None):
    rng = random.Random(seed)
    world = Ghost(rng) if clones else World(rng)
    kind = (make or Voiding) if clones else Kernel
    folder, names = Folder(rng, left_out), iter(range(10**6))
    stats = dict.fromkeys(["files", "deleted", "openings", "clones", "doubled", "divergences", "newly diverged", "left"], 0)

    def opened(r, device):
        r.device, r.opening, r.number, r.checkpoint = device, "%08x" % rng.getrandbits(32), 0, None
        r.diverged, r.said, r.repairs = False, None, set()
        return r

    def fresh(device):
        return opened(kind(world, left_out if clones else None), device)

    replicas = [fresh(i % devices) for i in range(devices + 1)]  # two openings of device 0 at once
    saves = [[] for _ in range(devices)]

    def look(r):
        if not clones:
            check_one(r)
            check_pairs(replicas)

    try:
        for step in range(steps):
            x, i = rng.random(), rng.randrange(len(replicas))
            r = replicas[i]
            if x < 0.22:
                r.edit(*some_writes(rng, step, "ab", 0.7))
            elif x < 0.28:
                r.prune(rng)
            elif x < 0.34:
                saves[r.device].append(r.save())
            elif x < 0.42:
                y, of = rng.random(), r.device
                if y < 0.2:
                    of = rng.randrange(devices)
                if saves[of]:
                    save = saves[of][-1] if y > 0.5 else rng.choice(saves[of])
                    replicas[i] = opened(save.save(), r.device)
                    stats["openings"] += 1
            elif x < 0.45 and clones and r.me is not None and stats["clones"] < 2:
                j = rng.randrange(len(replicas))
                if j != i:
                    replicas[j] = opened(r.clone(), replicas[j].device)
                    stats["clones"] += 1
            elif x < 0.62:
                folder.push(r)
            elif x < 0.68 and r.checkpoint:
                folder.clear(r.device, folder.superseded(r))
            elif x < 0.71 and folder.files:
                n = rng.choice(list(folder.files))
                if rng.random() < 0.5:
                    folder.files[n].torn = True
                else:
                    folder.gone[n] = folder.files.pop(n)
            elif x < 0.75:  # both openings of one device write at the same time
                both = [r for r in replicas if r.device == 0]
                for r in both:
                    folder.pull(r, 1, 0)
                    look(r)
                for r in rng.sample(both, 2):
                    folder.push(r, 1, checkpoint=0.6)
                for names in [folder.superseded(r) for r in both if r.checkpoint]:
                    folder.clear(0, names)
            else:
                folder.pull(r)
            look(replicas[i])
        stats["left"] = len(folder.files)
        for rounds in range(12):
            if all(r.v == replicas[0].v and r.alive() == replicas[0].alive() for r in replicas) and rounds > 1:
                break
            for r in rng.sample(replicas, len(replicas)):
                folder.pull(r, 1, 0)
                folder.push(r, 1, 0)
                look(r)
        if not folder.thrifty:
            for d in range(devices):
                said = p_closed_reach([f for n, f in folder.files.items() if n[0] == d])
                check(p_le(replicas[0].v, said), "a directory does not say what its device knows")
        check(all(r.v == replicas[0].v for r in replicas), "versions differ")
        check(all(r.alive() == replicas[0].alive() for r in replicas), "equal versions, unequal states: not found")
        # Whoever is new, and reads what is there in whatever order, stands where all stand.
        for _ in range(3):
            new = fresh(0)
            for _ in range(rng.randrange(3)):
                folder.pull(new, 0.5, 0.3)
            folder.pull(new, 1, 0)
            check(p_le(replicas[0].v, new.v), "a newcomer does not reach what is known")
            if new.v == replicas[0].v and new.alive() != replicas[0].alive():
                differ = {t for (t, _), _ in new.alive().items() ^ replicas[0].alive().items()}
                check(not differ & replicas[0].settled, "a newcomer reads what was settled otherwise")
                check(new.diverged, "a divergence that nobody notices")  # of what none of the others had read
                stats["newly diverged"] += 1
        stats["files"] = sum(r.number for r in replicas)
        stats["deleted"], stats["divergences"] = folder.deleted, folder.found
        stats["doubled"] = sum(len(c) > 1 for c in world.contents.values()) if clones else 0
        return None, stats
    except Wrong as e:
        return str(e), stats


# ---------------------------------------------------------------- a shared folder whose checkpoints are taken in: as it is built
class Taking(Cloned):
    """A merge settles what it meets, and leaves the rest of a divergence. A checkpoint that says nothing new is *taken in*:
    joined in the order in which death is above every content."""
    has_settled = False

    def merge(self, d):
        known = self.judge(d)
        if known is None:
            return False
        judged, upto, pruned = known
        before, news = self.held(), not self.version.includes(upto)
        theirs = {t: (k, x) for k, c in d.cells.items() for t, x in c.items()}
        if self.me is not None and d.upto_v.get(self.me, 0) > self.v[self.me]:
            self.owner, self.me = self.me, None
        lost, doubled = [], set()
        for t, (k, x) in sorted(theirs.items()):
            if t in before and x == KNOWN and before[t][0] != k:
                doubled.add(t)
            if t[0].startswith("derived") and not p_covers(self.v, t):
                # Written again there: its first dot may hold the other content there, in a cell that the delta leaves out.
                doubled |= {o for o, (a, y) in before.items() if a == k and y is not None and derived(o, k, y) == t}
            if t in before and x != KNOWN and before[t] != (k, x):
                lost += self.settle(t, before[t], (k, x))
                doubled.add(t)
        for k in list(self.cells) if news else ():
            for t in [t for t in self.cells[k] if t not in d.cells.get(k, {}) and t not in doubled]:
                if ends(d, t, k, upto, judged):
                    self.drop(t, k)
        for t, (k, x) in theirs.items():
            if t not in before and not self.version.covers(t):
                self.cells.setdefault(k, {})[t] = x
        self.version.join(upto)
        self.v = p_join(self.v, d.upto_v)
        self.pruned.join(pruned)
        self.p = p_join(self.p, d.p)
        for content in lost:
            self.rescue(*content)
        for t in doubled:
            self.differs(t)
        self.has_settled = bool(lost)
        return True

    def settle(self, t, ours, theirs):
        """The greater content keeps the dot. The other one, unless it is a removal."""
        if t[0] == self.me:
            self.owner, self.me = self.me, None
        (k, x), (a, y) = ours, theirs
        if (y is None, repr(theirs)) > (x is None, repr(ours)):
            self.drop(t, k)
            self.cells.setdefault(a, {})[t] = y
            (a, y) = ours
        return [(t, a, y)] if y is not None else []

    def take_in(self, u):
        """Joins a checkpoint whose news we have. True if anything that we held alive lost its dot or its life."""
        upto = decode(self.t, u.heads, learn=False)
        check(upto is not None and self.version.includes(upto), "a checkpoint with news is taken in")
        ours, theirs = ({t: e for t, e in held.items() if e[1] is not None} for held in (
            self.held(), {t: (k, x) for k, c in u.delta.cells.items() for t, x in c.items()}))
        here = {t: e for t, e in ours.items() if theirs.get(t) != e and upto.covers(t)}
        # Alive there and dead here: it may have died since. At equal versions it is a divergence.
        there = {t: e for t, e in theirs.items() if ours.get(t) != e and (t in here or upto.includes(self.version))}
        if here or there:
            self.pruned.join(decode(self.t, u.delta.pruned))
        for t in [*here, *there]:
            self.pruned.observe(t)
        if here.keys() != there.keys():
            self.pruned.join(self.version)
        self.p, lost = self.pruned.plain(), []
        for t, (k, x) in here.items():
            if t in there:
                lost += self.settle(t, (k, x), there[t])
                continue
            if t[0] == self.me:
                self.owner, self.me = self.me, None
            self.drop(t, k)
            self.report(x)
        for content in lost:
            self.rescue(*content)
        return bool(here)

    def statement(self):
        return self.version.heads(), frozenset(self.alive().items())


def contradicts(a, b):
    return a[0] == b[0] and a[1] != b[1]


class Written:
    """A file: immutable, and torn perhaps."""

    def __init__(self, r, delta, is_checkpoint):
        self.delta, self.is_checkpoint, self.torn = delta, is_checkpoint, False
        self.statement, self.heads, self.v, self.since_v = r.statement(), r.version.heads(), dict(r.v), delta.since_v
        self.is_bare = not is_checkpoint and self.since_v == self.v

    def copied(self, torn):
        copy = object.__new__(Written)
        copy.__dict__.update(self.__dict__, torn=self.torn or torn)
        return copy


class Handle:
    """A process: a replica, and what it remembers of the files of a directory, {(device, number, random): file}."""

    def __init__(self, r, device, disk, rng, left_out):
        self.r, self.device, self.disk, self.rng, self.left_out = r, device, disk, rng, left_out
        self.taken, self.settled = {}, False

    def whole(self, own=False):
        return {n: u for n, u in sorted(self.disk.items()) if not u.torn and (not own or n[0] == self.device)}

    def pull(self):
        self.taken = {n: t for n, t in self.taken.items() if n in self.disk}
        left, merged = list(self.whole()), 0
        while True:
            waiting, some = [], 0
            for n in left:
                u = self.disk[n]
                includes = p_le(u.v, self.r.v)
                if includes:
                    if u.is_checkpoint and n not in self.taken:
                        self.take_in(n)
                elif p_le(u.since_v, self.r.v) and self.r.merge(u.delta):
                    some += 1
                    self.settled |= self.r.has_settled
                    if u.is_checkpoint and self.left_out != "a checkpoint is taken in after its merge":
                        self.take_in(n)
                    self.taken[n] = self.r.statement()
                else:
                    waiting.append(n)
            merged += some
            if some == 0 and not self.settle():
                break
            left = waiting
        return merged

    def take_in(self, n):
        if self.disk[n].statement != self.r.statement():
            self.settled |= self.r.take_in(self.disk[n])
        self.taken[n] = self.r.statement()

    def diverged(self):
        here = self.r.statement()
        return [n for n, u in self.whole().items() if contradicts(u.statement, here)]

    def settle(self):
        before = self.r.statement()
        if not self.diverged():
            return False
        for n, u in self.whole().items():
            here = self.r.statement()
            if u.is_checkpoint and u.statement != here and self.taken.get(n) != here and p_le(u.v, self.r.v):
                self.take_in(n)
        return self.r.statement() != before

    def reach(self, device):
        reach, todo = {}, [u for n, u in self.whole().items() if n[0] == device and p_le(u.v, self.r.v)]
        while True:
            ready = [u for u in todo if p_le(u.since_v, reach)]
            if not ready:
                return reach
            for u in ready:
                reach = p_join(reach, u.v)
            todo = [u for u in todo if u not in ready]

    def push(self, checkpoints=0.5):
        r, here, own = self.r, self.r.statement(), self.whole(own=True)
        is_settled = any(u.is_checkpoint and u.statement == here for u in own.values())
        self.settled &= not is_settled
        reach = self.reach(self.device)
        is_written = any(p_le(r.v, self.reach(device)) for device in {self.device, *(n[0] for n in self.disk)})
        written = None
        if r.v and not is_settled and (self.settled or self.diverged()):
            written = Written(r, r.everything(), True)
        elif r.v and not is_written:
            since = Version(r.t)
            for t in reach.items():
                since.observe(t)
            whole = not reach or not since.includes(r.pruned) or self.rng.random() < checkpoints
            written = Written(r, r.everything() if whole else r.cut(since), whole)
        elif r.v and not any(u.statement == here for u in self.whole().values()):
            written = Written(r, r.cut(r.version.copy()), False)
        if written:
            name = self.device, max([n[1] for n in self.disk if n[0] == self.device], default=0) + 1, self.rng.getrandbits(32)
            for n in [n for n, u in own.items() if u.is_bare and p_le(u.v, r.v)]:
                del self.disk[n]
            self.disk[name], self.taken[name] = written, here
            self.settled &= not written.is_checkpoint
        self.delete_replaced(here)
        return written

    def delete_replaced(self, here):
        own, gone = self.whole(own=True), []
        for n, u in own.items():
            for m, c in own.items():
                if m == n or not c.is_checkpoint or not p_le(u.v, c.v) or decode(self.r.t, c.heads, learn=False) is None:
                    continue
                states_here = u.statement == here
                if self.left_out == "a checkpoint that contradicts goes whatever its name":
                    states_here = u.v == c.v
                if not u.is_checkpoint or (c.statement == here and (not states_here or n < m) and self.has_taken_in(u)):
                    gone.append(n)
                    break
        for n in gone:
            del self.disk[n]

    def has_taken_in(self, u):
        copy = self.r.save()
        copy.world = Ghost(random.Random(0))
        copy.world.birth = dict(self.r.world.birth)
        copy.take_in(u)
        return copy.statement() == self.r.statement()


def taking_schedule(seed, left_out=None):
    rng = random.Random(seed)
    world = Ghost(rng)
    written, twice = set(), set()

    class Process(Taking):
        def write(self, *args):
            dot = super().write(*args)
            (twice if dot in written else written).add(dot)
            return dot

    homes = [("ann", 0), ("ann", 0), ("bob", 0)] + [("cat", 1), ("dan", 1)] * (seed % 4 == 3)
    disks, saves, hard, blind = [{}, {}], [], seed % 2, seed % 8 < 4
    stats = dict.fromkeys(["clones", "doubled", "rescues", "reported", "rounds"], 0)
    opened = lambda i, r: Handle(r, homes[i][0], disks[homes[i][1]], rng, left_out)
    all_ = [opened(i, Process(world)) for i in range(len(homes))]

    def carry(home, often, torn, deletions):
        here, there = disks[home], disks[1 - home]
        names = {d for d, h in homes if h == home}
        for n in [n for n in here if n[0] in names and rng.random() < often]:
            there[n] = here[n].copied(torn)
        if deletions:
            for n in [n for n in there if n[0] in names and n not in here]:
                del there[n]

    def rest(handles):
        for rounds in range(16):
            quiet = True
            for h in handles:
                merged, diverged = h.pull(), h.diverged()
                quiet &= h.push(0.1) is None and not merged and not diverged
            before = [set(d) for d in disks]
            for home in (0, 1):
                carry(home, 2, False, True)
            if quiet and [set(d) for d in disks] == before:
                break
        check(quiet, "it never comes to rest")
        stats["rounds"] += rounds
        first = handles[0].r
        check(all(h.r.v == first.v and h.r.alive() == first.alive() for h in handles), "at rest, and not equal")

    try:
        for step in range(20 + rng.randrange(60)):
            x, i = rng.random(), rng.randrange(len(all_))
            h, r = all_[i], all_[i].r
            if x < 0.2:
                r.edit(*some_writes(rng, step, "a" if hard else "ab", 0.7))
            elif x < 0.24:
                r.prune(rng)
            elif x < 0.30:
                h.pull()
            elif x < (0.46 if blind else 0.36):
                h.push()
            elif x < 0.56:
                h.pull()
                h.push()
            elif x < 0.60:
                saves.append(r.save())
            elif x < 0.66 and saves:
                all_[i] = opened(i, rng.choice(saves).save())
            elif x < 0.74 and r.me is not None:
                j = rng.randrange(len(all_))
                if j != i:
                    all_[j] = opened(j, r.clone())
                    stats["clones"] += 1
                    for at, of in enumerate([r, all_[j].r] if hard else []):
                        of.edit(*some_writes(rng, 500 + 2 * step + at, "a", 0.8))
            elif x < 0.78:
                d = rng.choice(disks)
                if d:
                    n = rng.choice(sorted(d))
                    u = d.pop(n)
                    if rng.random() < 0.5:
                        d[n] = u.copied(True)
            else:
                carry(rng.randrange(2), 0.5, rng.random() < 0.2, rng.random() < 0.5)
        for h in all_:
            for n in [n for n, u in h.disk.items() if u.torn]:
                del h.disk[n]
        rest(all_)
        r, where = all_[0].r, {}
        for (t, k), x in r.alive().items():
            where.setdefault(x, []).append(t)
        for x, ts in where.items():
            check(len(ts) == 1 or (len(ts) == 2 and world.events[x] in ts), "one content twice")
            for t, k in world.killers.get(x, ()):
                # By a removal that its copy made under the same dot, not having seen the content, it may go on living.
                if p_covers(r.v, k) and k not in twice:
                    check(t not in ts or len(world.contents[t]) > 1, "revived")
        for x, t in world.events.items():
            # Dead, and nobody who saw it ended it: reported, or one of two contents of a dot.
            gone = p_covers(r.v, t) and x not in where and not any(p_covers(r.v, k) for _, k in world.killers.get(x, ()))
            check(not gone or x in world.reported or len(world.contents[t]) > 1, "lost without a report")
        # Whoever is new may find what a copy's writes ended unseen; then it tells the others, and all are equal again.
        rest(all_ + [Handle(Process(world), "new", disks[0], rng, left_out)])
        stats["doubled"] = sum(len(c) > 1 for c in world.contents.values())
        stats["rescues"], stats["reported"] = world.rescues, len(world.reported)
        return None, stats
    except Wrong as e:
        return str(e), stats


FOLDER = [
    "of two equal checkpoints the later name stays",
    "the checkpoint is intact when files go",
    "reach is what can be read in order",
    "`pruned` lies within reach",
]
FOLDER_CLONED = [
    "what is settled is a write",
    "a divergence is answered by a checkpoint that all read",
    "a statement after each change",
]
TAKING = [
    "a checkpoint is taken in after its merge",
    "a checkpoint that contradicts goes whatever its name",
]


def run(what, schedules, one):
    start, failures, sums = time.time(), {}, {}
    for seed in range(schedules):
        error, stats = one(seed)
        if error:
            failures[error] = failures.get(error, 0) + 1
        for k, x in stats.items():
            sums[k] = sums.get(k, 0) + x
    print(f"{what:74} {sum(failures.values())} of {schedules} {failures}; {sums} ({time.time() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    parts = sys.argv[2:] or ["deltas", "row", "repair", "counters", "folder"]
    few = max(1, n // 4)
    if "deltas" in parts:
        run("deltas", n, deltas_schedule)
        run("deltas, 3 replicas, 300 steps", n // 8, lambda s: deltas_schedule(10**6 + s, steps=300, n=3))
        run("deltas, 3 replicas, hard", n, lambda s: deltas_schedule(10**6 + s, hard=True, n=3))
        for rule in DELTAS:
            run("without: " + rule, few, lambda s: deltas_schedule(10**6 + s, rule))
            run("  hard", few, lambda s: deltas_schedule(10**6 + s, rule, hard=True, n=3))
    if "row" in parts:
        run("row", 5 * n, row_schedule)
        for rule in ["heads in the order of their ids", "masks"]:
            run("without: " + rule, n, lambda s: row_schedule(s, rule))
    if "repair" in parts:
        run("repair", n, repair_schedule)
        run("repair, deltas tell of settled dots", n, lambda s: repair_schedule(s, make=Telling))
        run("repair, what is settled is a write", n, lambda s: repair_schedule(s, make=Voiding))
        run("repair, 2 rescues for each writer", few, lambda s: repair_schedule(10**6 + s, limit=2))
        for rule in REPAIR:
            run("without: " + rule, n, lambda s: repair_schedule(10**6 + s, rule))
    if "counters" in parts:
        for make in [Sums, Stretches]:
            run(f"counters, {make.__name__}, 16 kept", n, lambda s: counter_schedule(s, make))
            run(f"  no resets", n, lambda s: counter_schedule(s, make, resets=False))
            run(f"  no resets, 1 kept, 300 steps", few, lambda s: counter_schedule(s, make, keep=1, resets=False, steps=300))
            run(f"  2 kept, 300 steps", few, lambda s: counter_schedule(s, make, keep=2, steps=300))
        often = {"keep": 1, "resets": False, "n": 3, "openings": 0.3}
        for make, rules in [(Sums, ["fold only what lies on the own path", "remember the sum at a birth"]), (Stretches, [
                "fold only what lies on the own path", "fold the oldest", "a stretch within another is in its total"])]:
            run(f"counters, {make.__name__}, no resets, 1 kept, many openings", few, lambda s: counter_schedule(s, make, **often))
            for rule in rules:
                run("  without: " + rule, few, lambda s: counter_schedule(s, make, left_out=rule, **often))
    if "folder" in parts:
        run("folder", n, folder_schedule)
        run("folder, a cloned process", n, lambda s: folder_schedule(s, clones=True))
        for rule in FOLDER:
            run("without: " + rule, few, lambda s: folder_schedule(10**6 + s, rule))
        for rule in FOLDER_CLONED:
            run("a cloned process, without: " + rule, n, lambda s: folder_schedule(10**6 + s, rule, clones=True))
        # Of the second rule a schedule in some 8,000 has need; the first that does is 457.
        run("folder, a cloned process, checkpoints are taken in", 4 * n, taking_schedule)
        for rule in TAKING:
            run("checkpoints are taken in, without: " + rule, 4 * n, lambda s: taking_schedule(s, rule))

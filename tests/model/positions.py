#!/usr/bin/env python3
"""Writes positions.txt: what the executable model of positions puts between given neighbours, spelled in bytes.

    pip install xxhash && python3 positions.py > positions.txt

Each line: left neighbour, right neighbour, what is still held behind the left one, the next dot, how many elements are put, and
their positions. A neighbour is its position in hexadecimal, `@` and its dot; `-` for none. The spelling is made here anew, so
it shares no code with what is tested by it.
"""
import random

import xxhash

import text_tree_model as M


class World:
    left_out, bits, depth, recent = None, 30, 12, 64


def tag(me, start, bits):
    return xxhash.xxh3_64_intdigest(bytes([me] * 10) + start.to_bytes(8, "big")) & ((1 << bits) - 1)


def number(n, prefix, taken):
    """A number of at least 0 in its fewest bytes, behind a prefix of so many bits."""
    length, least = 1, 0
    while n >= least + (1 << (8 - taken - length + 8 * (length - 1))):
        least += 1 << (8 - taken - length + 8 * (length - 1))
        length += 1
    bits = prefix + "1" * (length - 1) + "0"
    bits += format(n - least, "b").zfill(8 * length - len(bits)) if 8 * length > len(bits) else ""
    assert len(bits) == 8 * length
    return bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))


def flipped(b):
    return bytes(x ^ 255 for x in b)


def spell(p):
    out = b""
    for side, t, offset in p:
        if side in (0, 1):
            out += ((side + 1) << 30 | t).to_bytes(4, "big")
        else:
            out += (number(side - 2, "110", 3) if side > 1 else flipped(number(-1 - side, "110", 3))) + t.to_bytes(4, "big")
        out += number(offset, "1", 1) if offset >= 0 else flipped(number(-1 - offset, "1", 1))
    return out.hex()


def main():
    M.tag = tag
    for seed in range(30):
        rng, cells, counters = random.Random(seed), {}, {}
        hot, turns = rng.random() < 0.6, rng.choice([1, 3, 80])
        spot = 0
        for turn in range(rng.choice([30, 200, 400])):
            if turn % turns == 0:
                me = rng.randrange(1, 6)
            counter = counters.get(me, 0) + rng.choice([1, 1, 1, 2, 90])
            live = sorted(p for p, (_, alive) in cells.items() if alive)
            spot = min(len(live), max(0, spot + rng.choice([-1, 0, 0, 1]))) if hot else rng.randint(0, len(live))
            if seed % 5 == 0:
                spot = len(live) if seed % 2 else 0
            a, b = (live[spot - 1] if spot else None), (live[spot] if spot < len(live) else None)
            held = min((p for p in cells if (a is None or p > a) and (b is None or p <= b)), default=None)
            held = held if rng.random() < 0.7 else None
            n = rng.choice([1, 1, 1, 1, 2, 3])
            near = [x and (x, cells[x][0]) for x in (a, b, held)]
            out = M.place(near[0], near[1], me, counter, n, World, near[2])
            if turn % 13 == seed % 13:
                say = [f"{spell(x[0])}@{x[1][0]}:{x[1][1]}" if x else "-" for x in near]
                print(*say, f"{me}:{counter}", n, ",".join(map(spell, out)))
            for k, p in enumerate(out):
                cells[p] = ((me, counter + k), True)
            counters[me] = counter + n - 1
            if live and rng.random() < 0.3:
                gone = rng.choice(live)
                counters[me] += 1
                cells[gone] = ((me, counters[me]), False)
                if rng.random() < 0.3:
                    del cells[gone]


main()
